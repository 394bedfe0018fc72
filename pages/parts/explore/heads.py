"""Heads by a metric: ranked in a table, and as layers × heads over all steps or at chosen ones."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import sinks as figures
from analysis.figures.dynamics import small_multiples
from analysis.figures.export import Exhibit
from analysis.figures.style import DIFFERENCE_SCALE, MASS_SCALE
from analysis.findings import finding_of
from analysis.sinks.metrics import HEAD_METRICS, HeadMetric
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL, counted
from pages.parts.charts import PER_CENT_CELLS, Point, cells, chart, table
from pages.parts.controls import pick
from pages.parts.recordings import measures
from pages.parts.recordings.choice import among, definition_formula
from pages.parts.recordings.explorer import go_to
from pages.parts.recordings.measures import reference_toggle
from pages.parts.recordings.recording import Recording

ALL_STEPS, CHOSEN = "All steps", "Chosen steps"
_EXPLORER_DRAWS = "strength"
_NO_NULL = " No baseline yet: switch on the untrained model."


def heads(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab; its controls in `side`."""
    with side:
        metric = HEAD_METRICS[
            pick("Metric", _metrics(recording), "metric", format_func=lambda name: HEAD_METRICS[name].title)
        ]
        choices = [ALL_STEPS, CHOSEN] if metric.per_step else [ALL_STEPS]
        view = st.segmented_control(
            "Steps", choices, default=ALL_STEPS, required=True, key="heads_view", bind="query-params"
        )
        drawn = reference_toggle(recording)
        if drawn is not None and metric.reads_values and not drawn.info.model.value_norms:
            drawn = None
    if view == CHOSEN:
        _chosen_steps(recording, drawn, params, split, metric, side)
        return
    if metric.name != _EXPLORER_DRAWS:
        _grid(recording, drawn, params, split, metric)
    _ranking(recording, drawn, params, split, metric)


def _metrics(recording: Recording) -> list[str]:
    """Return the head metrics that can be computed: those of values need norms, which some families lack."""
    norms = recording.info.model.value_norms
    return [name for name, metric in HEAD_METRICS.items() if norms or not metric.reads_values]


def _formula(metric: HeadMetric, params: SinkParams) -> str:
    judged = "The sinks of a step are judged on mass averaged over all heads; a head's own sinks on its own mass."
    return f"$${metric.formula}$$\n\n{judged}\n\n{definition_formula(params)}"


def _cells(values: np.ndarray, name: str) -> pd.DataFrame:
    """Return a grid of heads as a table."""
    return cells({"layer": range(len(values)), "head": range(values.shape[1])}, {name: values})


def _by_head(recording: Recording, params: SinkParams, split: str, metric: HeadMetric) -> np.ndarray:
    """Return a metric of every head over all steps, (L, H)."""
    values = measures.head_metric(recording, metric.name, params, split)
    return measures.over_steps(values) if metric.per_step else values


def _grid(recording: Recording, drawn: Recording | None, params: SinkParams, split: str, metric: HeadMetric) -> None:
    def clicked(point: Point) -> None:
        layer, head = point.cell
        go_to(layer=layer, head=head)

    values = _by_head(recording, params, split, metric)
    floor = _floor(recording, drawn, metric, params, split)
    names = recording.trajectory.names.over_steps()
    strongest = [[names[position] for position in row] for row in measures.strongest_position(recording, None).tolist()]
    chart(
        Exhibit(
            f"{metric.title} by layer and head, {_over(recording)}",
            f"{metric.sentence}.",
            figures.head_grid(
                values, metric.title.lower(), metric.percent, strongest, metric.centre, floor.get("null")
            ),
            _cells(values, metric.title),
            formula=_formula(metric, params),
            finding=finding_of("heads", values, metric.percent, **floor),
        ),
        "head_grid",
        hint=f"Select a cell to open its head in the explorer.{'' if floor else _NO_NULL}",
        on_click=clicked,
    )


def _floor(
    recording: Recording, drawn: Recording | None, metric: HeadMetric, params: SinkParams, split: str
) -> dict[str, Any]:
    """Return the baseline of a grid of heads, as `FINDINGS` takes it: random weights if observed; else, for sink
    strength, uniform attention.
    """
    if drawn is not None:
        return {"null": _by_head(drawn, params, split, metric)}
    if metric.name != "strength":
        return {}
    uniform = measures.uniform_strength(recording, measures.counted_sinks(recording, params, split=split))
    return {"floor": float(uniform.mean()), "name": "uniform attention"}


def _chosen_steps(
    recording: Recording,
    drawn: Recording | None,
    params: SinkParams,
    split: str,
    metric: HeadMetric,
    side: DeltaGenerator,
) -> None:
    every_step = range(recording.trajectory.steps)
    default = sorted({round(share * (len(every_step) - 1)) for share in (0, 1 / 3, 2 / 3, 1)})
    among("steps", every_step)
    steps = side.multiselect(
        "Steps side by side", every_step, default=default, key="steps", bind="query-params", max_selections=12
    )
    if not steps:
        st.info("Choose at least one step.")
        return
    values = measures.head_metric(recording, metric.name, params, split)
    steps = sorted(steps)
    grids = {f"step {step}": values[step] for step in steps}
    null = None if drawn is None else measures.head_metric(drawn, metric.name, params, split)[steps]
    if null is not None:
        grids |= {f"step {step}, {UNTRAINED_LABEL}": grid for step, grid in zip(steps, null, strict=True)}
    frame = pd.concat([_cells(grid, metric.title).assign(step=title) for title, grid in grids.items()])
    chart(
        Exhibit(
            f"{metric.title} at chosen steps",
            f"{metric.sentence}, step by step on one colour scale.",
            small_multiples(
                grids,
                metric.title.lower(),
                MASS_SCALE if metric.centre is None else DIFFERENCE_SCALE,
                metric.percent,
                metric.centre,
            ),
            frame,
            formula=_formula(metric, params),
            finding=finding_of("chosen steps", values[steps], steps, metric.percent, null),
        ),
        "chosen_steps",
        hint="" if drawn is not None else _NO_NULL.strip(),
    )


def _ranking(recording: Recording, drawn: Recording | None, params: SinkParams, split: str, metric: HeadMetric) -> None:
    numbers = {
        HEAD_METRICS[name].title: _by_head(recording, params, split, HEAD_METRICS[name]) for name in _metrics(recording)
    }
    axes = {"layer": range(recording.trajectory.layers), "head": range(recording.trajectory.heads)}
    frame = cells(axes, numbers)
    floor = _floor(recording, drawn, metric, params, split)
    if "null" in floor:  # beside the metric
        frame.insert(list(frame.columns).index(metric.title) + 1, UNTRAINED_LABEL, floor["null"].ravel())
    frame = frame.sort_values(metric.title, ascending=False, na_position="last", ignore_index=True)

    def chosen() -> None:
        rows = st.session_state["ranking"].selection.rows
        if rows and rows[0] < len(frame):
            go_to(layer=int(frame["layer"][rows[0]]), head=int(frame["head"][rows[0]]))

    table(
        f"Heads by {metric.title.lower()}, {_over(recording)}",
        f"{metric.sentence}.",
        frame,
        "ranking",
        _formula(metric, params),
        finding=finding_of("heads", numbers[metric.title], metric.percent, **floor),
        hint=f"Select a row to open its head in the explorer. Bars end at the highest head.{'' if floor else _NO_NULL}",
        height=320,
        on_select=chosen,
        selection_mode="single-row",
        column_order=["layer", "head", metric.title, UNTRAINED_LABEL],  # the files hold every metric
        column_config={
            HEAD_METRICS[name].title: _bar(HEAD_METRICS[name], frame[HEAD_METRICS[name].title])
            for name in _metrics(recording)
        }
        | {
            UNTRAINED_LABEL: st.column_config.NumberColumn(
                format=PER_CENT_CELLS if metric.percent else "%.3g", width=170
            )
        },
    )


def _over(recording: Recording) -> str:
    return f"mean over all {counted(recording.trajectory.steps, 'step')}"


def _bar(metric: HeadMetric, values: pd.Series) -> Any:
    """Return a column of bars from 0 to the highest head; plain numbers for a ratio, which has no zero to start
    from.
    """
    if metric.centre is not None or not (values > 0).any():
        return st.column_config.NumberColumn(format="%.3g")
    form = PER_CENT_CELLS if metric.percent else "%.3g"
    most = float(values.max()) * (100 if metric.percent else 1)
    return st.column_config.ProgressColumn(format=form, min_value=0, max_value=most)
