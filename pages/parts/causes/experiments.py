"""The experiments over a set of prompts, hiding sinks and evicting keys and values: their controls and results."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from analysis.evaluation.eviction_effects import TESTED
from analysis.exhibits import ablation, eviction
from analysis.findings import finding_of
from analysis.specs import INTERVENTIONS, POLICIES, TARGETS, AblateSetSpec, EvictSpec, controls_drawn, keepings
from analysis.words import percent
from pages.parts import controls
from pages.parts.causes.over_prompts import ABLATION_ASKED, OverPrompts, choose, prompt_box
from pages.parts.charts import PER_CENT_CELLS
from pages.parts.columns import keyed_columns
from pages.parts.expander import keys_of
from pages.parts.plain import plain
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import seconds_of

FIELDS = ("count", "window", "first_layer", "last_layer")  # two per row
_BUDGETS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # offered on the page; the command takes any
_FORWARDS = 3  # of each text: an untouched one, one on the full run's inputs, one for its own text


def _listed(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a choice of rows."""
    told = "\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in rows.values())
    return {"format_func": lambda name: rows[name].title, "help": told}


def _ablation_controls(recording: Recording) -> dict[str, Any]:
    values: dict[str, Any] = {"prompts": prompt_box(recording, "ablate_set")}
    choices: dict[str, Mapping[str, Any]] = {"targets": TARGETS, "interventions": INTERVENTIONS}
    for field, rows in choices.items():
        source = recording.model.source
        values[field] = choose("ablate_set", source, AblateSetSpec, field, rows, **_listed(rows))
    columns = [*keyed_columns(2, "ablate_set"), *keyed_columns(2, "ablate_set_more")]
    return values | controls.draw_each(AblateSetSpec, keys_of("ablate_set", FIELDS), columns)


def _ablation_cost(spec: AblateSetSpec, recording: Recording) -> str:
    conditions = sum(1 + len(controls_drawn(name)) for name in spec.targets)
    written = len(spec.prompts) * (1 + conditions * len(spec.interventions))
    return f"Writes {written:,} texts, in batches. Recording one took {seconds_of(recording)}."


ABLATION = OverPrompts(
    kind="ablate_set",
    name="ablation",
    button="Hide the sinks in {prompts}",
    address=ABLATION_ASKED,
    what="Ablating",
    about="Each of {prompts} is written again while no token attends to its sinks, then to control tokens.",
    lacks=lambda summary: ablation.LACKS_MASKED if ablation.lacks_masked(summary) else "",
    floor=lambda spec: ablation.DETERMINISTIC if spec.sampling.same_alone else ablation.RANDOM,
    spec=AblateSetSpec,
    controls=_ablation_controls,
    cost=_ablation_cost,
    outcome=lambda summary: {"levels_aligned": ablation.levels_beside(summary, "aligned")},
    predictions=lambda summary: {
        "levels_divergence": ablation.levels_beside(summary, "divergence"),
        **{f"effects_{name}": ablation.effects_of(summary, name) for name in ("aligned", "divergence")},
    },
    apart=lambda summary: finding_of("predictions apart", summary),
    means=ablation.means,
    single=ablation.single_prompts,
    columns={
        ablation.NUMBERS[name]: st.column_config.NumberColumn(label, format=form)
        for name, label, form in (
            ("share", "attention", PER_CENT_CELLS),
            ("count", "positions", "%.1f"),
            ("undecided", "undecided", "%.1f"),
            ("divergence", "change (nats)", "%.3f"),
            ("aligned", "text kept", PER_CENT_CELLS),
            ("agreement", "in place", PER_CENT_CELLS),
            ("confidence", "confidence", PER_CENT_CELLS),
        )
    },
    note=lambda summary: (
        "Attention and positions: the share that untouched forwards paid to the positions hidden, "
        "and how many those were per step. Text kept: tokens in common with the untouched text, aligned; in place: at "
        "their position."
    ),
)


def _eviction_controls(recording: Recording) -> dict[str, Any]:
    prompts, source = prompt_box(recording, "evict"), recording.model.source
    offered = [name for name, row in POLICIES.items() if row.asked]
    policies = choose("evict", source, EvictSpec, "policies", offered, **_listed(POLICIES))
    budgets = choose("evict", source, EvictSpec, "budgets", _BUDGETS, format_func=lambda share: percent(share, 0))
    return {"prompts": prompts, "policies": policies, "budgets": tuple(sorted(budgets))}


def _eviction_cost(spec: EvictSpec, recording: Recording) -> str:
    written = len(spec.prompts) * len(keepings(spec))
    return f"Writes {written:,} texts: {seconds_of(recording, _FORWARDS * written)} one after another, less in batches."


EVICTION = OverPrompts(
    kind="evict",
    name="eviction",
    button="Run eviction",
    address="eviction_job",
    what="Evicting",
    about="Each of {prompts} is written again with a share of its keys and values kept.",
    spec=EvictSpec,
    controls=_eviction_controls,
    cost=_eviction_cost,
    outcome=lambda summary: {
        f"{kind}_{name}": drawn(summary, name)
        for kind, drawn in (("frontier", eviction.frontier_of), ("effects", eviction.effects_of))
        for name in TESTED
    },
    means=eviction.means,
    single=eviction.single_prompts,
    columns={"budget": st.column_config.NumberColumn(format=PER_CENT_CELLS)},
    note=eviction.conditions,
)
