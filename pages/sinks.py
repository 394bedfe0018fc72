"""Every layer and head by a metric of its sinks; click one for its mass over the steps and its full attention map."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import sinks as figures
from analysis.figures.dynamics import small_multiples
from analysis.figures.style import DIFFERENCE_SCALE, MASS_SCALE, MAX_NAMED_CELLS
from analysis.readings import reading
from analysis.sinks import definitions as sink_analysis
from analysis.sinks.metrics import HEAD_METRICS, HeadMetric, highest
from analysis.sinks.token_states import ALL
from analysis.specs import SinkParams
from pages.parts.alone import alone
from pages.parts.charts import card, chart, export_button, start_exhibits, table
from pages.parts.frame import run
from pages.parts.keyed import keyed_columns
from pages.parts.plain import as_written
from pages.parts.plot import Point
from pages.parts.recordings import attention_maps, measures, one_token
from pages.parts.recordings.ablation import ablation
from pages.parts.recordings.choice import (
    among,
    definition_formula,
    recording_to_look_at,
    sink_and_split_controls,
    sink_controls,
    step_slider,
    within,
)
from pages.parts.recordings.measures import SplitName
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import stored_reference
from pages.parts.side import plots_and_controls

ONE_STEP, MEAN = "One step", "Mean over steps"
VIEWS = ("Heads", "Chosen steps", "Ranking", "Ablation")
MOST_PINNED = 4
SHOWS = (
    "Once a prompt is recorded, this page shows how much of its attention each layer and head pays to a few tokens; a "
    "click on a head opens its attention over the steps."
)


def main() -> None:
    """Draws the page."""
    st.title("Sinks")
    recording = recording_to_look_at(SHOWS)
    if recording is not None:
        _looked_at(recording)


@alone
def _looked_at(recording: Recording) -> None:
    """The plots and their controls, which draw these alone anew and not what stands around them."""
    start_exhibits()
    plots, side = plots_and_controls()
    with plots:
        view = st.segmented_control(
            "View", VIEWS, default=VIEWS[0], required=True, key="sinks_view", bind="query-params"
        )
    if view == "Ablation":
        with side:
            params = sink_controls(stacked=True)
        with plots:
            ablation(recording, params)
    else:
        with side:
            metric = st.selectbox(
                "Metric",
                _metrics(recording),
                key="metric",
                bind="query-params",
                format_func=lambda name: HEAD_METRICS[name].title,
            )
            moment = st.container(key="sinks_moment")  # what is chosen more often stands above the definition of a sink
            params, split = sink_and_split_controls(recording)
        body = {"Heads": _heads, "Chosen steps": _chosen_steps, "Ranking": _ranking}[view]
        with plots:
            body(recording, params, split, metric, moment)
    export_button(
        f"SinkScope: sinks, {view.lower()}",
        {**recording.settings(), "sinks": params.model_dump()},
        recording.info.prompt,
    )


def _metrics(recording: Recording) -> list[str]:
    """The metrics of heads that can be computed: those of values need their norms, which not every family's tell."""
    norms = recording.info.model.value_norms
    return [name for name, metric in HEAD_METRICS.items() if norms or not metric.reads_values]


def _formula(metric: HeadMetric, params: SinkParams) -> str:
    judged = "The sinks of a step are judged on mass averaged over all heads; a head's own sinks on its own mass."
    return f"$${metric.formula}$$\n\n{judged}\n\n{definition_formula(params)}"


def _cells(values: np.ndarray, name: str) -> pd.DataFrame:
    """A grid of heads as a table."""
    layer, head = (axis.ravel() for axis in np.indices(values.shape))
    return pd.DataFrame({"layer": layer, "head": head, name: values.ravel()})


# --- heads ------------------------------------------------------------------------------------------------------


def _heads(recording: Recording, params: SinkParams, split: SplitName, name: str, side: DeltaGenerator) -> None:
    metric = HEAD_METRICS[name]
    with side:
        choices = [MEAN, ONE_STEP] if metric.per_step else [MEAN]
        view = st.segmented_control("Show", choices, default=MEAN, required=True, key="view", bind="query-params")
        step = step_slider(recording)
        position = _token_box(recording)
    values = measures.head_metric(recording, name, params, split)
    shown = values if not metric.per_step else measures.over_steps(values) if view == MEAN else values[step]
    grid, head = keyed_columns([5, 6], "head_grid", gap="medium")
    with grid:
        one_step = step if view == ONE_STEP and metric.per_step else None
        layer_head = _grid(recording, shown, metric, params, one_step, split)
    with head:
        _head(recording, params, split, step, *layer_head, position=position)
    if position is not None:
        _token(recording, params, position, *layer_head, step)
        attention_maps.lines_from_token(recording, step, position, *layer_head)
    _numbers(recording, params, split, step, view)
    attention_maps.full_map(recording, step, *layer_head)


def _numbers(recording: Recording, params: SinkParams, split: SplitName, step: int, view: str) -> None:
    sinks = measures.counted_sinks(recording, params, split=split)
    strength = measures.curve(recording, "strength", params, split=split)
    lengths = recording.trajectory.present.sum(axis=1)
    uniform = measures.uniform_strength(recording, sinks)
    rows = slice(None) if view == MEAN else slice(step, step + 1)
    count = sinks[rows].sum(axis=1).mean()
    where = "mean over steps" if view == MEAN else f"step {step}"
    first, second, third = keyed_columns(3, "head")
    references: list[str] = []
    drawn = stored_reference(recording)
    if drawn is not None:
        counts = measures.counted_sinks(drawn, params, split=split).sum(axis=1)
        references.append(f"Random weights: {counts[rows].mean():.2f}")
    expected = sink_analysis.gaussian_reference(lengths[rows], params)
    if expected is not None and split == ALL:
        references.append(f"Gaussian reference: {expected.mean():.2f}")
    card(
        first,
        f"Sinks, {where}",
        f"{count:.2f}" if view == MEAN else f"{count:.0f}",
        note=" · ".join(references) or "of the chosen kind",
    )
    card(
        second,
        f"Attention they take, {where}",
        f"{strength[rows].mean():.1%}",
        note=f"Uniform attention would give them {uniform[rows].mean():.1%}",
        help="The share of all attention, over all layers and heads, that goes to the sinks of the step.",
    )
    ever = int(sinks.any(axis=0).sum())
    card(
        third,
        "Positions that are ever a sink",
        f"{ever} of {sinks.shape[1]}",
        note=f"In {sinks.any(axis=1).mean():.0%} of the steps there is at least one",
    )


def _grid(
    recording: Recording, values: np.ndarray, metric: HeadMetric, params: SinkParams, step: int | None, split: SplitName
) -> tuple[int, int]:
    trajectory = recording.trajectory
    plot = st.container()  # above the boxes, whose values it outlines
    left, right = keyed_columns(2, "chosen_steps")
    strongest = highest(values, st.session_state.get("layer"), st.session_state.get("head"))
    layer = _axis_box(left, "layer", trajectory.layers, strongest[0])
    head = _axis_box(right, "head", trajectory.heads, strongest[1])

    def clicked(point: Point) -> None:
        st.session_state["layer"], st.session_state["head"] = point.cell

    where = f"in step {step}" if step is not None else "over all steps"
    names = trajectory.names.over_steps() if step is None else trajectory.names.at(step)
    strongest_tokens = [
        [names[position] for position in row] for row in measures.strongest_position(recording, step).tolist()
    ]
    with plot:
        chart(
            f"{metric.title} by layer and head",
            f"{metric.sentence}, {where}.",
            _formula(metric, params),
            figures.head_grid(
                values, metric.title.lower(), (layer, head), metric.percent, strongest_tokens, metric.centre
            ),
            "head_grid",
            _cells(values, metric.title),
            hint="Click a cell to open that head.",
            finding=reading("heads", values, metric.percent, **_floor(recording, metric, params, split, step)),
            on_click=clicked,
        )
    return layer, head


def _floor(
    recording: Recording, metric: HeadMetric, params: SinkParams, split: SplitName, step: int | None
) -> dict[str, Any]:
    """What a grid of heads stands beside, as `READINGS` takes it: random weights where they were observed; of sink
    strength else what uniform attention gives.
    """
    values = _random_by_step(recording, metric, params, split)
    if values is not None:
        if metric.per_step:
            values = measures.over_steps(values) if step is None else values[step]
        return {"null": values}
    if metric.name != "strength":
        return {}
    uniform = measures.uniform_strength(recording, measures.counted_sinks(recording, params, split=split))
    return {"floor": float(uniform.mean() if step is None else uniform[step]), "name": "uniform attention"}


def _random_by_step(
    recording: Recording, metric: HeadMetric, params: SinkParams, split: SplitName
) -> np.ndarray | None:
    """A metric of the same shape with random weights, (T, L, H) or (L, H); None where they were not observed."""
    drawn = stored_reference(recording)
    if drawn is None or (metric.reads_values and not drawn.info.model.value_norms):
        return None
    return measures.head_metric(drawn, metric.name, params, split)


def _axis_box(column: DeltaGenerator, name: str, size: int, strongest: int) -> int:
    """The box of layers or heads. Left empty, which keeps it out of the address, it stands for the strongest."""
    within(name, size - 1)
    chosen = column.selectbox(
        name.capitalize(), range(size), index=None, key=name, bind="query-params", placeholder=f"{strongest}: highest"
    )
    return strongest if chosen is None else chosen


def _head(
    recording: Recording,
    params: SinkParams,
    split: SplitName,
    step: int | None,
    layer: int,
    head: int,
    key: str = "mass_over_steps",
    position: int | None = None,
) -> None:
    def clicked(point: Point) -> None:
        st.session_state["step"], st.session_state["position"] = point.cell

    top = None if st.session_state.get("own_colours") else measures.ceiling(recording)
    trajectory = recording.trajectory
    mass = trajectory.mass[:, layer, head]
    flags = measures.sinks_of_head(recording, params, layer, head, split)
    names = [trajectory.names.at(index) for index in range(trajectory.steps)] if mass.size <= MAX_NAMED_CELLS else None
    frame = pd.DataFrame(mass, columns=[str(position) for position in range(mass.shape[1])])
    frame.insert(0, "step", np.arange(len(mass)))
    chart(
        f"Layer {layer}, head {head}: attention over the steps",
        "Each row is a denoising step, each column a position; bright cells draw most of this head's attention. Dots: "
        "where a step writes.",
        "Attention mass $m_{t,s} = \\sum_q p_t(q, s)$ of this head alone, in units in which uniform attention gives 1 "
        "on average. Squares mark the positions that are sinks by this head's own mass. The colours end at the 99.5th "
        "percentile of all heads, or of this head where it has its own.\n\n" + definition_formula(params),
        measures.with_writing(
            recording, figures.mass_over_steps(mass, trajectory.labels(), flags, names, step, position, top)
        ),
        key,
        frame,
        hint="Click a cell for its step and its token.",
        on_click=clicked,
        finding=reading("attention of a head", mass, flags, trajectory.names.over_steps()),
    )


def _token_box(recording: Recording) -> int | None:
    """The token looked at, or none; and whether heads have colours of their own."""
    names = recording.trajectory.names.short()
    named = st.query_params.get("position", "")
    if "position" not in st.session_state and named.isdecimal():
        st.session_state["position"] = int(named)
    within("position", len(names) - 1)
    position = st.selectbox(
        "Token",
        range(len(names)),
        index=None,
        key="position",
        persist_state="session",
        format_func=lambda at: as_written(names[at]),
        placeholder="none: click one in the map",
        help="Its attention over the steps, and the heads that feed it.",
    )
    if position is not None:
        st.query_params["position"] = str(position)
    elif named:
        del st.query_params["position"]
    st.toggle(
        "Each head its own colours",
        key="own_colours",
        bind="query-params",
        help="Otherwise the maps of all heads share one scale, so that bright means the same in each.",
    )
    return position


def _token(recording: Recording, params: SinkParams, position: int, layer: int, head: int, step: int) -> None:
    def opens(layer: int, head: int) -> None:
        st.session_state["layer"], st.session_state["head"] = layer, head

    left, right = keyed_columns([6, 5], "attention_map", gap="medium")
    with left:
        one_token.history(recording, params, position, layer, head, step)
    with right:
        one_token.feeding_heads(recording, step, position, "token_heads", opens)


# --- chosen steps -----------------------------------------------------------------------------------------------


def _chosen_steps(recording: Recording, params: SinkParams, split: SplitName, name: str, side: DeltaGenerator) -> None:
    metric = HEAD_METRICS[name]
    if not metric.per_step:
        st.info(f"{metric.title} is measured over all steps together. Choose another metric to compare steps.")
        return
    every_step = range(recording.trajectory.steps)
    default = sorted({round(share * (len(every_step) - 1)) for share in (0, 1 / 3, 2 / 3, 1)})
    among("steps", every_step)
    steps = st.multiselect(
        "Steps",
        every_step,
        default=default,
        key="steps",
        bind="query-params",
        max_selections=12,
        help="The denoising steps shown side by side.",
    )
    if not steps:
        st.info("Choose at least one step.")
        return
    values = measures.head_metric(recording, name, params, split)
    steps = sorted(steps)
    grids = {f"step {step}": values[step] for step in steps}
    drawn = _random_by_step(recording, metric, params, split)
    frame = pd.concat([_cells(grid, metric.title).assign(step=title) for title, grid in grids.items()])
    chart(
        f"{metric.title} at chosen steps",
        f"{metric.sentence}, step by step on one colour scale.",
        _formula(metric, params),
        small_multiples(
            grids,
            metric.title.lower(),
            MASS_SCALE if metric.centre is None else DIFFERENCE_SCALE,
            metric.percent,
            metric.centre,
        ),
        "chosen_steps",
        frame,
        finding=reading("chosen steps", values[steps], steps, metric.percent, None if drawn is None else drawn[steps]),
    )


# --- ranking ----------------------------------------------------------------------------------------------------


def _ranking(recording: Recording, params: SinkParams, split: SplitName, name: str, side: DeltaGenerator) -> None:
    metric = HEAD_METRICS[name]
    columns: dict[str, HeadMetric] = {}
    numbers: dict[str, np.ndarray] = {}
    for other in _metrics(recording):
        column_metric = HEAD_METRICS[other]
        values = measures.head_metric(recording, other, params, split)
        columns[column_metric.title] = column_metric
        numbers[column_metric.title] = (measures.over_steps(values) if column_metric.per_step else values).ravel()
    grid = np.zeros((recording.trajectory.layers, recording.trajectory.heads))
    frame = _cells(grid, "unused").drop(columns="unused").assign(**numbers)
    frame = frame.sort_values(metric.title, ascending=False, na_position="last", ignore_index=True)
    names = [f"layer {layer}, head {head}" for layer, head in zip(frame["layer"], frame["head"], strict=True)]

    def pin() -> None:
        rows = st.session_state["ranking"].selection.rows
        st.session_state["pinned"] = [names[row] for row in rows if row < len(names)][:MOST_PINNED]

    ranked = numbers[metric.title].reshape(grid.shape)
    table(
        f"Heads by {metric.title.lower()}",
        f"{metric.sentence}. Means over all steps; click a column to sort by another metric, a row to pin its head.",
        frame,
        "ranking",
        _formula(metric, params),
        finding=reading("heads", ranked, metric.percent, **_floor(recording, metric, params, split, None)),
        height=320,
        on_select=pin,
        selection_mode="multi-row",
        column_config={title: _bar(column_metric, frame[title]) for title, column_metric in columns.items()},
    )
    st.caption("Bars reach the highest head.")
    heads = {
        f"layer {layer}, head {head}": (layer, head) for layer, head in zip(frame["layer"], frame["head"], strict=True)
    }
    among("pinned", heads)
    pinned = st.multiselect(
        "Pinned heads",
        list(heads),
        key="pinned",
        bind="query-params",
        max_selections=MOST_PINNED,
        placeholder="none: the first two are shown",
        help="Shown side by side, whatever the ranking.",
    )
    pinned = pinned or list(heads)[:2]
    for column, name in zip(st.columns(len(pinned), gap="medium"), pinned, strict=True):
        layer, head = heads[name]
        with column:
            _head(recording, params, split, None, int(layer), int(head), f"pinned_{layer}_{head}")


def _bar(metric: HeadMetric, values: pd.Series) -> Any:
    """A column of bars from 0 to the highest head; of a ratio, which has no zero to start from, plain numbers."""
    if metric.centre is not None or not (values > 0).any():
        return st.column_config.NumberColumn(format="%.3g")
    form = "percent" if metric.percent else "%.3g"
    return st.column_config.ProgressColumn(format=form, min_value=0, max_value=float(values.max()))


if __name__ == "__main__":
    run(main)
