"""The ablation over a set of prompts: its controls and results."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from analysis.exhibits.ablation import (
    DETERMINISTIC,
    LACKS_MASKED,
    NUMBERS,
    RANDOM,
    effects_of,
    lacks_masked,
    levels_beside,
    means,
    single_prompts,
)
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.specs import INTERVENTIONS, TARGETS, AblateSetSpec, controls_drawn
from pages.parts import controls
from pages.parts.causes.latest import first_choice
from pages.parts.causes.over_prompts import OverPrompts
from pages.parts.causes.prompt_box import prompt_box
from pages.parts.causes.stated import ABLATION_ASKED
from pages.parts.charts import PER_CENT_CELLS
from pages.parts.columns import keyed_columns
from pages.parts.expander import keys_of
from pages.parts.plain import plain
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import seconds_of

FIELDS = ("count", "window", "first_layer", "last_layer")  # two per row
_DRAWN = ("aligned", "divergence")


def _title(rows: Mapping[str, Any], name: str) -> str:
    title: str = rows[name].title
    return title


def _controls(recording: Recording) -> dict[str, Any]:
    values: dict[str, Any] = {"prompts": prompt_box(recording, "ablate_set")}
    choices: dict[str, Mapping[str, Any]] = {"targets": TARGETS, "interventions": INTERVENTIONS}
    for field, rows in choices.items():
        values[field] = controls.draw_several(
            AblateSetSpec,
            field,
            f"ablate_set_{field}",
            rows,
            default=first_choice("ablate_set", recording.model.source, AblateSetSpec, field, rows),
            format_func=partial(_title, rows),
            help="\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in rows.values()),
        )
    columns = [*keyed_columns(2, "ablate_set"), *keyed_columns(2, "ablate_set_more")]
    return values | controls.draw_each(AblateSetSpec, keys_of("ablate_set", FIELDS), columns)


def _cost(spec: AblateSetSpec, recording: Recording) -> str:
    conditions = sum(1 + len(controls_drawn(name)) for name in spec.targets)
    written = len(spec.prompts) * (1 + conditions * len(spec.interventions))
    return f"Writes {written:,} texts, in batches. Recording one took {seconds_of(recording)}."


def _outcome(summary: Mapping[str, Any]) -> dict[str, Exhibit]:
    return _levels(summary, "aligned")


def _predictions(summary: Mapping[str, Any]) -> dict[str, Exhibit]:
    return _levels(summary, "divergence")


def _apart(summary: Mapping[str, Any]) -> str:
    told: str = finding_of("predictions apart", summary)
    return told


def _levels(summary: Mapping[str, Any], name: str) -> dict[str, Exhibit]:
    figure = levels_beside(summary, name)
    return {} if figure is None else {f"levels_{name}": figure}


def _more(summary: Mapping[str, Any]) -> dict[str, Exhibit]:
    figures = {f"effects_{name}": effects_of(summary, name) for name in _DRAWN}
    return {name: figure for name, figure in figures.items() if figure is not None}


ABLATION = OverPrompts(
    kind="ablate_set",
    name="ablation",
    button="Hide the sinks in {prompts}",
    address=ABLATION_ASKED,
    what="Ablating",
    about="Each of {prompts} is written again while no token attends to its sinks, then to control tokens.",
    lacks=lambda summary: LACKS_MASKED if lacks_masked(summary) else "",
    floor=lambda spec: DETERMINISTIC if spec.sampling.same_alone else RANDOM,
    spec=AblateSetSpec,
    controls=_controls,
    cost=_cost,
    outcome=_outcome,
    predictions=_predictions,
    more=_more,
    apart=_apart,
    means=means,
    single=single_prompts,
    columns={
        NUMBERS[name]: st.column_config.NumberColumn(label, format=form)
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
