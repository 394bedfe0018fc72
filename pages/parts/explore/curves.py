"""Curves and kinds of sinks over the steps, and the boxes of whose attention they count: drawn by several views."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import dynamics as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.sinks.definitions import KINDS, count_by_kind
from analysis.sinks.metrics import CURVES
from analysis.sinks.token_states import ALL, undecided_named
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL, in_sentence
from pages.parts.charts import chart
from pages.parts.controls import pick
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.measures import Scope
from pages.parts.recordings.recording import Recording


def scope_boxes(recording: Recording) -> Scope:
    """Draw the boxes for the attention to add up: all layers, one, or one head of one."""
    trajectory = recording.trajectory
    layers = ["whole model", *(f"layer {layer}" for layer in range(trajectory.layers))]
    chosen = pick("Judge sinks on", layers, "scope", help="Whose attention is added up.")
    if chosen == layers[0]:
        return measures.WHOLE
    heads = ["all heads", *(f"head {head}" for head in range(trajectory.heads))]
    head = pick("Head", heads, "scope_head")
    return layers.index(chosen) - 1, None if head == heads[0] else heads.index(head) - 1


def curve_names(split: str) -> list[str]:
    """Return the curves available under a split: entropy and Gini have none."""
    return [name for name, metric in CURVES.items() if split == ALL or metric.by_kind]


def in_pairs(names: list[str]) -> Iterator[tuple[DeltaGenerator, str]]:
    """Yield each name with its column, two per row, so that neighbours have the same height."""
    for index in range(0, len(names), 2):
        yield from zip(st.columns(2, gap="large"), names[index : index + 2], strict=False)


def curve(
    key: str,
    name: str,
    series: list[figures.Series],
    params: SinkParams,
    x_title: str,
    where: tuple[str, str] | None = None,
) -> None:
    """Draw one curve over the steps. key: of the chart. name: of `CURVES`. where: names of the plot's left and right
    third, unless its axis is the steps.
    """
    metric = CURVES[name]
    several = sum(not line.reference for line in series) > 1
    null = next((line.values.mean(axis=0) for line in series if line.name == UNTRAINED_LABEL), None)
    chart(
        Exhibit(
            metric.title,
            metric.sentence,
            figures.curves(series, x_title, metric.axis, percent=metric.percent),
            pd.concat(
                [
                    pd.DataFrame({"series": line.name, "recording": index, x_title: line.x, metric.axis: row})
                    for line in series
                    for index, row in enumerate(line.values)
                ]
            ),
            formula=f"$${metric.formula}$$\n\n{definition_formula(params)}",
            finding=finding_of(
                "curve",
                series[0].values.mean(axis=0)[np.argsort(series[0].x, kind="stable")],
                metric.percent,
                null,
                _subject(series[0].name) if several else "",
                **({"where": where} if where else {}),
            ),
        ),
        key,
    )


def _subject(name: str) -> str:
    """Return the name of a series as it begins a sentence."""
    within = in_sentence(name)
    return name if within == name else f"{within[0].upper()}{within[1:]}"


def kinds_of_sinks(panels: Mapping[str, Recording], params: SinkParams, scope: Scope, split: str, x_title: str) -> None:
    """Draw sinks by kind of token, one panel per recording. panels: title -> recording."""
    counts, tables = {}, []
    random_tokens = [panel.info.model.noise == "uniform" for panel in panels.values()]
    kinds = [undecided_named(kind, "uniform") for kind in KINDS] if all(random_tokens) else list(KINDS)
    for title, recording in panels.items():
        flags = measures.counted_sinks(recording, params, scope, split)
        counts[title] = count_by_kind(flags, measures.kinds(recording))
        table = pd.DataFrame(counts[title], columns=kinds)
        table.insert(0, "step", np.arange(len(table)))
        table.insert(0, "series", title)
        tables.append(table)
    beside = f" Beside it the same for {UNTRAINED_LABEL}." if UNTRAINED_LABEL in panels else ""
    moving = "Sinks on [MASK] move because masks get filled."
    if any(random_tokens):
        named = "" if all(random_tokens) else ", named [MASK] in the plot"
        moving = f"What is undecided is random tokens here{named}; its sinks move because it is decided."
    chart(
        Exhibit(
            "Which tokens are sinks",
            f"The sinks of every step by kind. {moving}{beside}",
            figures.kinds_over_steps(counts, kinds, x_title),
            pd.concat(tables),
            formula=f"An undecided token is {plain(kinds[0])} wherever it stands; then its position decides (first, "
            f"last), then its text.\n\n{definition_formula(params)}",
            finding=_kinds_readings(panels, params, scope, split),
        ),
        "kinds_over_steps",
    )


def _kinds_readings(panels: Mapping[str, Recording], params: SinkParams, scope: Scope, split: str) -> str:
    """Say what each panel shows, by name if there are several: what holds for one may not hold for another."""
    said = {title: _kinds_reading(recording, params, scope, split) for title, recording in panels.items()}
    if len(said) == 1:
        return next(iter(said.values()))
    return " ".join(f"{title[:1].upper()}{title[1:]}: {sentence}" for title, sentence in said.items() if sentence)


def _kinds_reading(recording: Recording, params: SinkParams, scope: Scope, split: str) -> str:
    kinds = measures.kinds(recording)
    names = [undecided_named(kind, recording.info.model.noise) for kind in KINDS]
    members = np.stack([kinds == kind for kind in range(len(KINDS))]) & measures.counted(recording, split)
    return finding_of("kinds of sinks", measures.counted_sinks(recording, params, scope, split), members, names)
