"""The eviction over a set of prompts: its controls and results."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from analysis.evaluation.eviction_effects import TESTED
from analysis.exhibits.eviction import conditions, effects_of, frontier_of, means, single_prompts
from analysis.figures.export import Exhibit
from analysis.specs import POLICIES, EvictSpec, keepings
from analysis.words import percent
from pages.parts import controls
from pages.parts.causes.latest import first_choice
from pages.parts.causes.over_prompts import OverPrompts
from pages.parts.causes.prompt_box import prompt_box
from pages.parts.causes.stated import EVICTION_ASKED
from pages.parts.charts import PER_CENT_CELLS
from pages.parts.plain import plain
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import seconds_of

_BUDGETS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # offered on the page; the command takes any
_FORWARDS = 3  # of each text: an untouched one, one on the full run's inputs, one for its own text


def _controls(recording: Recording) -> dict[str, Any]:
    lines = prompt_box(recording, "evict")
    first = partial(first_choice, "evict", recording.model.source, EvictSpec)
    offered = [name for name, row in POLICIES.items() if row.asked]
    policies = controls.draw_several(
        EvictSpec,
        "policies",
        "evict_policies",
        offered,
        default=first("policies", offered),
        format_func=lambda name: POLICIES[name].title,
        help="\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in POLICIES.values()),
    )
    budgets = controls.draw_several(
        EvictSpec,
        "budgets",
        "evict_budgets",
        _BUDGETS,
        default=first("budgets", _BUDGETS),
        format_func=lambda share: percent(share, 0),
    )
    return {"prompts": lines, "policies": policies, "budgets": tuple(sorted(budgets))}


def _cost(spec: EvictSpec, recording: Recording) -> str:
    written = len(spec.prompts) * len(keepings(spec))
    return f"Writes {written:,} texts: {seconds_of(recording, _FORWARDS * written)} one after another, less in batches."


def _outcome(summary: Mapping[str, Any]) -> dict[str, Exhibit]:
    figures = {
        f"{kind}_{name}": drawn(summary, name)
        for kind, drawn in (("frontier", frontier_of), ("effects", effects_of))
        for name in TESTED
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


EVICTION = OverPrompts(
    kind="evict",
    name="eviction",
    button="Run eviction",
    address=EVICTION_ASKED,
    what="Evicting",
    about="Each of {prompts} is written again with a share of its keys and values kept.",
    spec=EvictSpec,
    controls=_controls,
    cost=_cost,
    outcome=_outcome,
    means=means,
    single=single_prompts,
    columns={"budget": st.column_config.NumberColumn(format=PER_CENT_CELLS)},
    note=conditions,
)
