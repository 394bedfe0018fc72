"""Sink strength of every layer and head; click one to see its mass over the steps and its full attention map."""

import numpy as np
import streamlit as st
from safetensors.numpy import load_file

from analysis import sinks as sink_analysis
from analysis.engine import JobRecord
from analysis.errors import UserError
from analysis.figures import sinks as figures
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import AttentionMapSpec, SinkParams
from analysis.trajectory import Trajectory
from pages.parts.charts import chart
from pages.parts.frame import run
from pages.parts.progress import progress_bar
from pages.parts.recordings import choose_recording, definition_formula, opened, sink_controls, step_slider
from pages.parts.session import engine, shown_recording

ONE_STEP, MEAN = "One step", "Mean over steps"
HOVER_CELLS = 60_000  # above this many cells the tokens of every step are not sent for the hover


def main() -> None:
    """Draws the page."""
    st.title("Sinks")
    record = shown_recording()
    if record is None or record.state != "done":
        waiting = record is not None and not record.ended
        st.info("The recording is still running." if waiting else "There is no recording to look at yet.")
        st.page_link("pages/denoise.py", label="**Record a prompt**", icon=":material/play_circle:")
        choose_recording(record)
        return
    choose_recording(record)
    trajectory = opened(record)
    if trajectory is None:
        return
    params = sink_controls()
    mode, slider = st.columns([2, 5], vertical_alignment="bottom")
    with mode:
        view = st.segmented_control(
            "Show", [MEAN, ONE_STEP], default=MEAN, required=True, key="view", bind="query-params"
        )
    with slider:
        step = step_slider(trajectory)
    mass = sink_analysis.mean_mass(trajectory.mass)
    sinks = sink_analysis.find_sinks(mass, params, trajectory.info.model.bidirectional)
    strength = _strength(trajectory, record.key or "", params)
    _numbers(strength, sinks, trajectory, params, step, view)
    grid, head = st.columns([5, 6], gap="medium")
    with grid:
        layer_head = _grid(trajectory, strength, params, step, view)
    with head:
        _head(trajectory, params, step, *layer_head)
    _map(record, trajectory, step, *layer_head)


def _strength(trajectory: Trajectory, key: str, params: SinkParams) -> np.ndarray:
    @st.cache_data(max_entries=64, show_spinner=False)
    def compute(key: str, parameters: str) -> np.ndarray:
        mass = sink_analysis.mean_mass(trajectory.mass)
        flags = sink_analysis.find_sinks(mass, params, trajectory.info.model.bidirectional)
        return sink_analysis.sink_strength(trajectory.mass, flags)

    return compute(key, params.model_dump_json())


def _numbers(
    strength: np.ndarray, sinks: np.ndarray, trajectory: Trajectory, params: SinkParams, step: int, view: str
) -> None:
    lengths = sink_analysis.lengths(trajectory.mass)
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
        help="Sink strength, averaged over all layers and heads.",
    )  # fmt: skip
    second.caption(f"Uniform attention would give them {uniform[rows].mean():.1%}")
    ever = int(sinks.any(axis=0).sum())
    third.metric("Positions that are ever a sink", f"{ever} of {sinks.shape[1]}")
    third.caption(f"In {sinks.any(axis=1).mean():.0%} of the steps there is at least one")


def _grid(trajectory: Trajectory, strength: np.ndarray, params: SinkParams, step: int, view: str) -> tuple[int, int]:
    for axis, size in (("layer", trajectory.layers), ("head", trajectory.heads)):
        if axis in st.session_state:
            st.session_state[axis] = min(st.session_state[axis], size - 1)
    values = strength.mean(axis=0) if view == MEAN else strength[step]
    strongest = np.unravel_index(np.nanargmax(values), values.shape)
    if "layer" not in st.session_state and "layer" not in st.query_params:
        st.session_state["layer"], st.session_state["head"] = int(strongest[0]), int(strongest[1])
    selected = (st.session_state.get("layer", 0), st.session_state.get("head", 0))

    def clicked() -> None:
        points = st.session_state["head_grid"].selection.points
        if points and points[0].get("customdata"):
            st.session_state["layer"], st.session_state["head"] = points[0]["customdata"]

    where = "averaged over all steps" if view == MEAN else f"in step {step}"
    chart(
        "Sink strength by layer and head",
        f"The share of each head's attention that goes to the sinks, {where}. Click a cell to open that head.",
        "$$\\text{strength}_{t,l,h} = \\frac{\\sum_{s \\in \\text{sinks}_t} m_{t,l,h,s}}{\\sum_s m_{t,l,h,s}}$$\n\n"
        "The sinks of a step are judged on mass averaged over all heads. (Our formula.)\n\n"
        + definition_formula(params),
        figures.head_grid(values, "sink strength", selected),
        "head_grid",
        on_select=clicked,
        selection_mode="points",
    )
    left, right = st.columns(2)
    layer = left.selectbox("Layer", range(trajectory.layers), key="layer", bind="query-params")
    head = right.selectbox("Head", range(trajectory.heads), key="head", bind="query-params")
    return layer, head


def _head(trajectory: Trajectory, params: SinkParams, step: int, layer: int, head: int) -> None:
    mass = trajectory.mass[:, layer, head].astype(np.float32)
    own = sink_analysis.find_sinks(mass, params, trajectory.info.model.bidirectional)
    cells = mass.size
    names = [trajectory.labels(index) for index in range(trajectory.steps)] if cells <= HOVER_CELLS else None
    chart(
        f"Layer {layer}, head {head}: attention over the steps",
        "Each row is a denoising step, each column a position; bright cells soak up this head's attention.",
        "Attention mass $m_{t,s} = \\sum_q p_t(q, s)$ of this head alone. Squares mark the positions that are sinks "
        "by this head's own mass.\n\n" + definition_formula(params),
        figures.mass_over_steps(mass, trajectory.labels(), own, names, step),
        "mass_over_steps",
    )


# --- the full map -----------------------------------------------------------------------------------------------


def _map(record: JobRecord, trajectory: Trajectory, step: int, layer: int, head: int) -> None:
    st.divider()
    wanted = st.toggle(
        "Full attention map", key="full_map", bind="query-params",
        help="Recordings keep the mass, not the maps. One forward of the model fetches the map of a head at a step.",
    )  # fmt: skip
    if not wanted:
        return
    model = record.parameters().model
    problem = _why_no_model(trajectory, model.source)
    if problem:
        st.info(problem)
        return
    spec = AttentionMapSpec(model=model, tokens=trajectory.input_tokens(step), layer=layer, head=head)
    asked = st.session_state.setdefault("map_jobs", {})
    question = spec.model_dump_json()
    try:
        # Asked once: a question that failed is not asked again by every rerun of the page.
        job = engine().job(asked[question]) if question in asked else engine().submit("attention_map", spec)
    except UserError as error:
        st.error(str(error))
        return
    asked[question] = job.id
    if not job.ended:
        _waiting(job.id)
        return
    result = engine().result(job)
    if result is None or result.file is None:
        st.error(job.reason or "The map was not fetched.")
        if st.button("Try again", key="retry_map", icon=":material/refresh:"):
            del asked[question]
            st.rerun()
        return
    labels = trajectory.labels(step)[: len(spec.tokens)]
    chart(
        f"Full attention map of layer {layer}, head {head} at step {step}",
        "Row: the token that attends. Column: the token attended to. A bright column is a sink.",
        "$p(q, s) = \\operatorname{softmax}_s(q \\cdot k / \\sqrt{d})$; every row sums to 1.",
        figures.attention_map(load_file(result.file)["map"], labels),
        "attention_map",
    )


def _why_no_model(trajectory: Trajectory, source: str) -> str:
    """Why the map cannot be fetched, or nothing."""
    try:
        found = find(source)
    except UserError as error:
        return f"The map needs the recorded model. {error}"
    if found is None:
        return f"The map needs the recorded model, and '{source}' is not on this disk. Load it in the sidebar first."
    if fingerprint(found) != trajectory.info.model.fingerprint:
        return f"The map needs the recorded model, and '{source}' has changed since. Record again to look into it."
    return ""


@st.fragment(run_every=0.4)
def _waiting(job_id: str) -> None:
    record = engine().job(job_id)
    if record is None or record.ended:
        st.rerun()
    progress_bar(record)


if __name__ == "__main__":
    run(main)
