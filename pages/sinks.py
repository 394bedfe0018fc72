"""Every layer and head by a metric of its sinks; click one for its mass over the steps and its full attention map."""

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError
from safetensors.numpy import load_file

from analysis import sinks as sink_analysis
from analysis.engine import JobRecord
from analysis.figures import sinks as figures
from analysis.figures.dynamics import small_multiples
from analysis.figures.style import MASS_SCALE
from analysis.metrics import HEAD_METRICS, HeadMetric
from analysis.specs import AblateSpec, AttentionMapSpec, SinkParams, sentence
from analysis.trajectory import Trajectory
from pages.parts import comparisons, controls, measures
from pages.parts.charts import chart, export_button, heading, start_exhibits
from pages.parts.frame import run
from pages.parts.recordings import (
    among,
    definition_formula,
    recording_to_look_at,
    sink_controls,
    step_slider,
    within,
)
from pages.parts.session import engine, plain, recording_title

ONE_STEP, MEAN = "One step", "Mean over steps"
VIEWS = ("Heads", "Chosen steps", "Ranking", "Ablation")
HOVER_CELLS = 60_000  # above this many cells the tokens of every step are not sent for the hover
MOST_PINNED = 4


def main() -> None:
    """Draws the page."""
    st.title("Sinks")
    start_exhibits()
    looked_at = recording_to_look_at()
    if looked_at is None:
        return
    record, trajectory = looked_at
    params = sink_controls()
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        view = st.segmented_control(
            "View", VIEWS, default=VIEWS[0], required=True, key="sinks_view", bind="query-params"
        )
    with right:
        metric = st.selectbox(
            "Metric", list(HEAD_METRICS), key="metric", bind="query-params", disabled=view == "Ablation",
            format_func=lambda name: HEAD_METRICS[name].title,
        )  # fmt: skip
    if view == "Ablation":
        _ablation(record, trajectory, params)
    else:
        {"Heads": _heads, "Chosen steps": _chosen_steps, "Ranking": _ranking}[view](record, trajectory, params, metric)
    export_button(
        f"SinkScope: {HEAD_METRICS[metric].title}",
        {
            "recording": recording_title(record),
            "sinks": params.model_dump(),
            "model": trajectory.info.model.model_dump(),
        },
    )


def _formula(metric: HeadMetric, params: SinkParams) -> str:
    judged = "The sinks of a step are judged on mass averaged over all heads; a head's own sinks on its own mass."
    return f"$${metric.formula}$$\n\n{judged}\n\n{definition_formula(params)}"


def _cells(values: np.ndarray, name: str) -> pd.DataFrame:
    """A grid of heads as a table."""
    layer, head = (axis.ravel() for axis in np.indices(values.shape))
    return pd.DataFrame({"layer": layer, "head": head, name: values.ravel()})


# --- heads ------------------------------------------------------------------------------------------------------


def _heads(record: JobRecord, trajectory: Trajectory, params: SinkParams, name: str) -> None:
    metric = HEAD_METRICS[name]
    mode, slider = st.columns([2, 5], vertical_alignment="bottom")
    with mode:
        choices = [MEAN, ONE_STEP] if metric.per_step else [MEAN]
        view = st.segmented_control("Show", choices, default=MEAN, required=True, key="view", bind="query-params")
    with slider:
        step = step_slider(trajectory)
    values = measures.head_metric(trajectory, record.key or "", name, params.model_dump_json())
    shown = values if not metric.per_step else measures.over_steps(values) if view == MEAN else values[step]
    _numbers(record, trajectory, params, step, view)
    grid, head = st.columns([5, 6], gap="medium")
    with grid:
        layer_head = _grid(trajectory, shown, metric, params, step if view == ONE_STEP and metric.per_step else None)
    with head:
        _head(trajectory, params, step, *layer_head)
    _map(record, trajectory, step, *layer_head)


def _numbers(record: JobRecord, trajectory: Trajectory, params: SinkParams, step: int, view: str) -> None:
    key, rule = record.key or "", params.model_dump_json()
    sinks = measures.sinks(trajectory, key, rule)
    strength = measures.curve(trajectory, key, "strength", rule)
    lengths = np.isfinite(measures.mean_mass(trajectory, key)).sum(axis=1)
    uniform = sink_analysis.uniform_strength(sinks, lengths, trajectory.info.model.bidirectional)
    rows = slice(None) if view == MEAN else slice(step, step + 1)
    count = sinks[rows].sum(axis=1).mean()
    where = "mean over steps" if view == MEAN else f"step {step}"
    first, second, third = st.columns(3)
    first.metric(f"Sinks, {where}", f"{count:.2f}" if view == MEAN else f"{count:.0f}")
    if params.definition == "std":
        reference = np.mean(sink_analysis.gaussian_reference(lengths[rows], params.k))
        first.caption(f"Gaussian reference: {reference:.2f}")
    second.metric(
        f"Attention they take, {where}", f"{strength[rows].mean():.1%}",
        help="The share of all attention, over all layers and heads, that goes to the sinks of the step.",
    )  # fmt: skip
    second.caption(f"Uniform attention would give them {uniform[rows].mean():.1%}")
    ever = int(sinks.any(axis=0).sum())
    third.metric("Positions that are ever a sink", f"{ever} of {sinks.shape[1]}")
    third.caption(f"In {sinks.any(axis=1).mean():.0%} of the steps there is at least one")


def _grid(
    trajectory: Trajectory, values: np.ndarray, metric: HeadMetric, params: SinkParams, step: int | None
) -> tuple[int, int]:
    within("layer", trajectory.layers - 1)
    within("head", trajectory.heads - 1)
    if "layer" not in st.session_state and "layer" not in st.query_params and np.isfinite(values).any():
        strongest = np.unravel_index(np.nanargmax(values), values.shape)
        st.session_state["layer"], st.session_state["head"] = (int(index) for index in strongest)
    plot = st.container()  # above the boxes, whose values it outlines
    left, right = st.columns(2)
    layer = left.selectbox("Layer", range(trajectory.layers), key="layer", bind="query-params")
    head = right.selectbox("Head", range(trajectory.heads), key="head", bind="query-params")

    def clicked() -> None:
        points = st.session_state["head_grid"].selection.points
        if points and points[0].get("customdata"):
            st.session_state["layer"], st.session_state["head"] = points[0]["customdata"]

    where = f"in step {step}" if step is not None else "over all steps"
    with plot:
        chart(
            f"{metric.title} by layer and head",
            f"{metric.sentence}, {where}. Click a cell to open that head.",
            _formula(metric, params),
            figures.head_grid(values, metric.title.lower(), (layer, head), metric.percent),
            "head_grid",
            _cells(values, metric.title),
            on_select=clicked,
            selection_mode="points",
        )
    return layer, head


def _head(
    trajectory: Trajectory, params: SinkParams, step: int | None, layer: int, head: int, key: str = "mass_over_steps"
) -> None:
    mass = trajectory.mass[:, layer, head]
    own = sink_analysis.find_sinks(mass, params, trajectory.info.model.bidirectional)
    names = [trajectory.labels(index) for index in range(trajectory.steps)] if mass.size <= HOVER_CELLS else None
    table = pd.DataFrame(mass, columns=[str(position) for position in range(mass.shape[1])])
    table.insert(0, "step", np.arange(len(mass)))
    chart(
        f"Layer {layer}, head {head}: attention over the steps",
        "Each row is a denoising step, each column a position; bright cells soak up this head's attention.",
        "Attention mass $m_{t,s} = \\sum_q p_t(q, s)$ of this head alone. Squares mark the positions that are sinks "
        "by this head's own mass.\n\n" + definition_formula(params),
        figures.mass_over_steps(mass, trajectory.labels(), own, names, step),
        key,
        table,
    )


def _map(record: JobRecord, trajectory: Trajectory, step: int, layer: int, head: int) -> None:
    st.divider()
    wanted = st.toggle(
        "Full attention map", key="full_map", bind="query-params",
        help="Recordings keep the mass, not the maps. One forward of the model fetches the map of a head at a step.",
    )  # fmt: skip
    if not wanted:
        return
    model = record.parameters().model
    problem = comparisons.why_no_model(trajectory, model.source)
    if problem:
        st.info(problem)
        return
    try:
        spec = AttentionMapSpec(model=model, tokens=trajectory.input_tokens(step), layer=layer, head=head)
    except ValidationError as error:
        st.info(f"This map cannot be fetched. {plain(sentence(error))}")
        return
    job = comparisons.ask("attention_map", spec, "Fetching the attention map")
    result = engine().result(job) if job is not None else None
    if result is None or result.file is None:
        return
    values = load_file(result.file)["map"]
    table = pd.DataFrame(values, columns=[str(position) for position in range(len(values))])
    table.insert(0, "query", np.arange(len(values)))
    chart(
        f"Full attention map of layer {layer}, head {head} at step {step}",
        "Row: the token that attends. Column: the token attended to. A bright column is a sink.",
        "$p(q, s) = \\operatorname{softmax}_s(q \\cdot k / \\sqrt{d})$; every row sums to 1.",
        figures.attention_map(values, trajectory.labels(step)[: len(spec.tokens)]),
        "attention_map",
        table,
    )


# --- chosen steps -----------------------------------------------------------------------------------------------


def _chosen_steps(record: JobRecord, trajectory: Trajectory, params: SinkParams, name: str) -> None:
    metric = HEAD_METRICS[name]
    if not metric.per_step:
        st.info(f"{metric.title} is measured over all steps together. Choose another metric to compare steps.")
        return
    default = sorted({round(share * (trajectory.steps - 1)) for share in (0, 1 / 3, 2 / 3, 1)})
    among("steps", range(trajectory.steps))
    steps = st.multiselect(
        "Steps", range(trajectory.steps), default=default, key="steps", bind="query-params", max_selections=12,
        help="The denoising steps shown side by side.",
    )  # fmt: skip
    if not steps:
        st.info("Choose at least one step.")
        return
    values = measures.head_metric(trajectory, record.key or "", name, params.model_dump_json())
    grids = {f"step {step}": values[step] for step in sorted(steps)}
    table = pd.concat([_cells(grid, metric.title).assign(step=title) for title, grid in grids.items()])
    chart(
        f"{metric.title} at chosen steps",
        f"{metric.sentence}, step by step on one colour scale.",
        _formula(metric, params),
        small_multiples(grids, metric.title.lower(), MASS_SCALE, metric.percent),
        "chosen_steps",
        table,
    )


# --- ranking ----------------------------------------------------------------------------------------------------


def _ranking(record: JobRecord, trajectory: Trajectory, params: SinkParams, name: str) -> None:
    metric = HEAD_METRICS[name]
    columns = {}
    for other, one in HEAD_METRICS.items():
        values = measures.head_metric(trajectory, record.key or "", other, params.model_dump_json())
        columns[one.title] = (measures.over_steps(values) if one.per_step else values).ravel()
    table = _cells(np.zeros((trajectory.layers, trajectory.heads)), "unused").drop(columns="unused").assign(**columns)
    table = table.sort_values(metric.title, ascending=False, na_position="last", ignore_index=True)
    heading(
        f"Heads by {metric.title.lower()}",
        f"{metric.sentence}. Means over all steps; click a column to sort by another metric.",
        _formula(metric, params),
    )
    st.dataframe(
        table, key="ranking", height=320,
        column_config={title: st.column_config.NumberColumn(format="%.4g") for title in columns},
    )  # fmt: skip
    st.download_button("CSV", lambda: table.to_csv(index=False), "heads.csv", "text/csv", icon=":material/download:")
    heads = {
        f"layer {layer}, head {head}": (layer, head) for layer, head in zip(table["layer"], table["head"], strict=True)
    }
    among("pinned", heads)
    pinned = st.multiselect(
        "Pinned heads", list(heads), default=list(heads)[:2], key="pinned", bind="query-params",
        max_selections=MOST_PINNED, help="Shown side by side, whatever the ranking.",
    )  # fmt: skip
    if not pinned:
        st.info("Pin a head to see its attention over the steps.")
        return
    for column, name in zip(st.columns(len(pinned), gap="medium"), pinned, strict=True):
        layer, head = heads[name]
        with column:
            _head(trajectory, params, None, int(layer), int(head), f"pinned_{layer}_{head}")


# --- ablation ---------------------------------------------------------------------------------------------------


def _ablation(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    st.caption(
        "Denoises the prompt again while no token may attend to the strongest sinks of each step, and compares with "
        "controls: as many random positions, as many of the heaviest non-sinks, and the first token alone. Reports say "
        "that diffusion models barely care and autoregressive ones break: see whether yours does."
    )
    problem = comparisons.why_no_model(trajectory, record.spec["model"]["source"])
    if problem:
        st.info(problem)
        return
    count, button = st.columns([1, 3], vertical_alignment="bottom")
    with count:
        blocked = controls.draw(AblateSpec, "count", "ablate_count", bind="query-params")
    spec = AblateSpec(
        model=record.parameters().model,
        prompt=tuple(trajectory.final[: trajectory.info.prompt_length].tolist()),
        sampling=trajectory.info.sampling,
        count=blocked,
        sinks=params,
        seed=trajectory.info.seed,
    )
    wanted = f"ablate_{spec.model_dump_json()}"
    if button.button("Run the ablation", key="run_ablation", icon=":material/science:"):
        st.session_state[wanted] = True
    if not st.session_state.get(wanted):
        return
    job = comparisons.ask("ablate", spec, "Denoising with positions blocked")
    if job is None:
        return
    table = pd.DataFrame(job.summary["rows"])[["title", "agreement", "confidence", "text"]]
    heading(
        f"Attention to {blocked} position{'s' if blocked > 1 else ''} of every step blocked",
        "Agreement: the share of new tokens equal to the untouched run. Confidence: mean probability of chosen tokens.",
        "Positions are chosen in every step from an untouched forward of the same input; attention to them is zero in "
        "all layers and heads of a second forward, which predicts the tokens.",
    )
    st.dataframe(
        table, hide_index=True, key="ablation_table",
        column_config={
            "title": st.column_config.TextColumn("blocked"),
            "agreement": st.column_config.ProgressColumn("agreement", min_value=0, max_value=1, format="percent"),
            "confidence": st.column_config.NumberColumn("mean confidence", format="%.3f"),
            "text": st.column_config.TextColumn("what the model wrote", width="large"),
        },
    )  # fmt: skip
    st.download_button("CSV", lambda: table.to_csv(index=False), "ablation.csv", "text/csv", icon=":material/download:")


if __name__ == "__main__":
    run(main)
