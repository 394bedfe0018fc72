"""Where sinks are and how they move: over many prompts, and in one recording beside others and its references."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.figures import dynamics as figures
from analysis.readings import reading
from analysis.sinks.definitions import KINDS, attention_share, count_by_kind, gaussian_reference
from analysis.sinks.metrics import CURVES, lifetimes, position_variance
from analysis.sinks.token_states import ALL, REGIONS, undecided_named
from analysis.specs import SinkParams
from pages.parts.charts import chart, export_button, start_exhibits
from pages.parts.frame import run
from pages.parts.plain import plain
from pages.parts.recordings import measures, references
from pages.parts.recordings.beside import autoregressive_reference, compared_recordings
from pages.parts.recordings.by_layer import by_layer
from pages.parts.recordings.choice import definition_formula, opened, recording_to_look_at, sink_and_split_controls
from pages.parts.recordings.measures import Scope, SplitName
from pages.parts.recordings.one_token import to_sinks
from pages.parts.recordings.recording import Recording, recording_title, short_title
from pages.parts.side import plots_and_controls

BY_LAYER = "By layer"
VIEWS = ("Over the steps", "Stable or moving", "Positions", "Noised against real")
RANDOM, GAUSSIAN = "random weights", "Gaussian reference"


def main() -> None:
    """Draws the page."""
    st.title("Dynamics")
    start_exhibits()
    # An address that names a recording, and no set, is of a single prompt.
    if "dynamics_view" not in st.session_state and "recording" in st.query_params:
        st.session_state["dynamics_view"] = st.query_params.get("dynamics_view", VIEWS[0])
    views = (BY_LAYER, *VIEWS)
    view = st.segmented_control(
        "View", views, default=BY_LAYER, required=True, key="dynamics_view", bind="query-params"
    )
    if view == BY_LAYER:
        settings = by_layer()
        if settings is not None:
            export_button("SinkScope: dynamics, by layer", settings, " ".join(settings))
        return
    recording = recording_to_look_at()
    if recording is None:
        return
    plots, side = plots_and_controls()
    with side:
        params, split = sink_and_split_controls(recording)
    body = {VIEWS[0]: _over_steps, VIEWS[1]: _stable_or_moving, VIEWS[2]: _positions, VIEWS[3]: _noised_against_real}[
        view
    ]
    with plots:
        body(recording, params, split, side)
    export_button(
        f"SinkScope: dynamics, {view.lower()}",
        {**recording.settings(), "sinks": params.model_dump()},
        recording.info.prompt,
    )


def _scope(recording: Recording) -> Scope:
    """The boxes of whose attention is added up: all layers, one, or one head of one."""
    trajectory = recording.trajectory
    layers = ["whole model", *(f"layer {layer}" for layer in range(trajectory.layers))]
    chosen = st.selectbox(
        "Judge sinks on", layers, key="scope", bind="query-params", help="Whose attention is added up."
    )
    heads = ["all heads", *(f"head {head}" for head in range(trajectory.heads))]
    whole = chosen == layers[0]
    head = st.selectbox("Head", heads, key="scope_head", bind="query-params", disabled=whole)
    if whole:
        return measures.WHOLE
    return layers.index(chosen) - 1, None if head == heads[0] else heads.index(head) - 1


# --- over the steps ---------------------------------------------------------------------------------------------


def _over_steps(recording: Recording, params: SinkParams, split: SplitName, side: DeltaGenerator) -> None:
    with side:
        scope = _scope(recording)
        others = compared_recordings(recording)
        drawn = references.reference_toggle(recording)
        beside = autoregressive_reference(recording)
    groups = _groups([recording.job, *others, *([beside] if beside is not None else [])], scope)
    if drawn is not None:
        groups[RANDOM] = [drawn]
    panels = {"this recording": recording} | ({RANDOM: drawn} if drawn is not None else {})
    _kinds(panels, params, scope, split, "denoising step")
    left, right = st.columns(2, gap="large")
    with left:
        _regions(recording, params, scope)
    with right:
        _writing(recording)
    several = len({member.trajectory.steps for members in groups.values() for member in members}) > 1
    for column, name in _in_pairs(_curve_names(split)):
        series = [_series(label, members, name, params, scope, split, several) for label, members in groups.items()]
        if CURVES[name].counts_sinks and split == ALL:
            expected = gaussian_reference(recording.trajectory.present.sum(axis=1), params)
            if expected is not None:
                series.append(figures.Series(GAUSSIAN, _axis(len(expected), several), expected[None], True))
        with column:
            _curve(f"curve_{name}", name, series, params, "share of the steps" if several else "denoising step")


def _curve_names(split: SplitName) -> list[str]:
    """The curves that can be drawn under a split: entropy and Gini have none."""
    return [name for name, metric in CURVES.items() if split == ALL or metric.by_kind]


def _in_pairs(names: list[str]) -> Iterator[tuple[DeltaGenerator, str]]:
    """Each name with the column it is drawn in, two a row, so that neighbours stand at the same height."""
    for index in range(0, len(names), 2):
        yield from zip(st.columns(2, gap="large"), names[index : index + 2], strict=False)


def _curve(key: str, name: str, series: list[figures.Series], params: SinkParams, x_title: str) -> None:
    metric = CURVES[name]
    null = next((line.values.mean(axis=0) for line in series if line.name == RANDOM), None)
    chart(
        metric.title,
        metric.sentence,
        f"$${metric.formula}$$\n\n{definition_formula(params)}",
        figures.curves(series, x_title, metric.axis, percent=metric.percent),
        key,
        pd.concat(
            [
                pd.DataFrame({"series": line.name, "recording": index, x_title: line.x, metric.axis: row})
                for line in series
                for index, row in enumerate(line.values)
            ]
        ),
        finding=reading("curve", series[0].values.mean(axis=0), metric.percent, null),
    )


def _groups(jobs: list[JobRecord], scope: Scope) -> dict[str, list[Recording]]:
    """Recordings by model. A layer or head that another model lacks leaves that model out."""
    groups: dict[str, list[Recording]] = {}
    for job in {job.id: job for job in jobs}.values():
        recording = opened(job)
        if recording is None:
            continue
        layer, head = scope
        if (layer or 0) >= recording.trajectory.layers or (head or 0) >= recording.trajectory.heads:
            st.caption(f"{plain(recording_title(job))} has no such layer or head and is left out.")
            continue
        groups.setdefault(recording.model.source, []).append(recording)
    return groups


def _axis(steps: int, relative: bool) -> np.ndarray:
    return np.linspace(0, 1, steps) if relative else np.arange(steps)


def _series(
    label: str, members: list[Recording], name: str, params: SinkParams, scope: Scope, split: SplitName, relative: bool
) -> figures.Series:
    """One group's curves on a common grid; where lengths differ, steps are put on a scale from 0 to 1."""
    rows = [measures.curve(member, name, params, scope, split) for member in members]
    x = _axis(max(len(row) for row in rows), relative)
    values = np.stack([row if len(row) == len(x) else np.interp(x, _axis(len(row), True), row) for row in rows])
    return figures.Series(label, x, values, reference=label == RANDOM)


def _kinds(panels: Mapping[str, Recording], params: SinkParams, scope: Scope, split: SplitName, x_title: str) -> None:
    """Which tokens are sinks, a panel a recording. panels: title -> recording."""
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
    beside = f" Beside it the same for {RANDOM}." if RANDOM in panels else ""
    moving = "Sinks on [MASK] move because masks get filled."
    if any(random_tokens):
        named = "" if all(random_tokens) else ", named [MASK] in the plot"
        moving = f"What is undecided is random tokens here{named}; its sinks move because it is decided."
    chart(
        "Which tokens are sinks",
        f"The sinks of every step by kind. {moving}{beside}",
        f"An undecided token is {plain(kinds[0])} wherever it stands; then its position decides (first, last), then "
        f"its text.\n\n{definition_formula(params)}",
        figures.kinds_over_steps(counts, kinds, x_title),
        "kinds_over_steps",
        pd.concat(tables),
        finding=_kinds_reading(next(iter(panels.values())), params, scope, split),
    )


def _kinds_reading(recording: Recording, params: SinkParams, scope: Scope, split: SplitName) -> str:
    kinds = measures.kinds(recording)
    names = [undecided_named(kind, recording.info.model.noise) for kind in KINDS]
    members = np.stack([kinds == kind for kind in range(len(KINDS))]) & measures.tokens_of(recording, split)
    return reading("kinds of sinks", measures.counted_sinks(recording, params, scope, split), members, names)


def _regions(recording: Recording, params: SinkParams, scope: Scope) -> None:
    """In which part of the text the sinks stand."""
    counts = measures.count_by_region(recording, params, scope)
    regions = [undecided_named(title, recording.info.model.noise) for title in REGIONS.values()]
    table = pd.DataFrame(counts, columns=regions)
    table.insert(0, "step", np.arange(len(table)))
    chart(
        "Where in the text the sinks stand",
        "The sinks of every step by what has become of their token: all of them, whatever is counted above.",
        "Finished blocks: what was written in blocks before the open one, the block that the step writes in. A text "
        "that is written as one block has none.\n\n" + definition_formula(params),
        figures.kinds_over_steps({"": counts}, regions),
        "regions_over_steps",
        table,
        finding=reading(
            "kinds of sinks",
            measures.sinks(recording, params, scope),
            np.stack([measures.tokens_of(recording, region) for region in REGIONS]),
            [f"on {title}" for title in regions],
        ),
    )


def _writing(recording: Recording) -> None:
    """How many tokens each step wrote, edited and took back."""
    changes = measures.changes(recording)
    counts = {
        "written": changes.written.sum(axis=1),
        "edited": changes.edited.sum(axis=1),
        "taken back": changes.taken_back.sum(axis=1),
    }
    steps = np.arange(recording.trajectory.steps)
    chart(
        "What each step changes",
        "How many tokens each step writes, edits and takes back.",
        "Written: undecided before the step, decided after it. Edited: decided before and after, by another token. "
        "Taken back: decided before, undecided after. LLaDA and Dream write every token once.",
        figures.curves(
            [figures.Series(name, steps, count[None]) for name, count in counts.items()], "denoising step", "tokens"
        ),
        "changes_over_steps",
        pd.DataFrame({"step": steps} | counts),
        finding=f"{_tokens(counts['written'])} written, {_tokens(counts['edited'])} edited and "
        f"{_tokens(counts['taken back'])} taken back in all.",
    )


def _tokens(counts: np.ndarray) -> str:
    total = int(counts.sum())
    return f"{total:d} token{'' if total == 1 else 's'}"


# --- stable or moving -------------------------------------------------------------------------------------------


def _stable_or_moving(recording: Recording, params: SinkParams, split: SplitName, side: DeltaGenerator) -> None:
    with side:
        by_head = (
            st.segmented_control(
                "One point a", ["layer", "head"], default="layer", required=True, key="point", bind="query-params"
            )
            == "head"
        )
        others = compared_recordings(recording)
        drawn = references.reference_toggle(recording)
        beside = autoregressive_reference(recording)
        log = st.toggle("Log axes", value=True, key="log_axes", bind="query-params")
    jobs = {job.id: job for job in (recording.job, *([beside] if beside is not None else []), *others)}
    recordings = [(short_title(job), member) for job in jobs.values() if (member := opened(job)) is not None]
    if drawn is not None:
        recordings.append((RANDOM, drawn))
    _variances(recordings, params, split, by_head, log)
    if beside is None and recording.info.model.mask_token is not None:
        st.caption("For the autoregressive model beside it, choose or record its reference at the side.")


def _variances(
    recordings: list[tuple[str, Recording]], params: SinkParams, split: SplitName, by_head: bool, log: bool
) -> None:
    clouds, tables = [], []
    for title, recording in recordings:
        spatial, temporal, names = measures.variances(recording, params, by_head, split)
        layers = np.arange(len(names)) // (len(names) // recording.trajectory.layers)
        clouds.append(figures.Cloud(title, spatial, temporal, names, layers.tolist(), reference=title == RANDOM))
        tables.append(pd.DataFrame({"recording": title, "what": names, "spatial": spatial, "temporal": temporal}))
    null = next((cloud.temporal for cloud in clouds if cloud.reference), None)
    chart(
        "Spatial against temporal variance",
        "Right: attention is concentrated on few positions. Up: its sinks move over the steps, so they are unstable.",
        "Spatial: $\\operatorname{Var}_i(\\operatorname{mean}_t r_{t,i})$. Temporal: $\\operatorname{Var}_t(c_t/S)$. "
        "Both on the corrected share $r$, the share divided by what uniform attention gives under the model's mask; "
        "sinks are the positions with $r$ above mean + k·std. So models that attend differently can be compared.",
        figures.variances(clouds, log),
        "variances",
        pd.concat(tables),
        hint="Click a point for a way to it.",
        on_select="rerun",
        selection_mode="points",
        finding=reading("variances", clouds[0].temporal, clouds[0].labels, null),
    )
    _point_chosen(recordings, by_head)
    missing = sum(int(np.isnan(cloud.temporal).sum()) for cloud in clouds)
    still = sum(int((cloud.temporal == 0).sum()) for cloud in clouds) if log else 0
    if missing:
        st.caption(f"Not drawn, with sinks in fewer than two steps and so no temporal variance: {_points(missing)}.")
    if still:
        st.caption(f"Not on log axes, with sinks that never move and so a temporal variance of 0: {_points(still)}.")


def _point_chosen(recordings: list[tuple[str, Recording]], by_head: bool) -> None:
    """The way to the layer or head of a point that was clicked."""
    points = st.session_state["variances"].selection.points if "variances" in st.session_state else []
    chosen = points[0].get("customdata") if points else None
    if not chosen or chosen[0] >= len(recordings):
        return
    title, recording = recordings[chosen[0]]
    heads = recording.trajectory.heads if by_head else 1
    layer, head = divmod(chosen[1], heads)
    if title == RANDOM or layer >= recording.trajectory.layers:
        return
    at = {"layer": str(layer), "head": str(head)} if by_head else {"layer": str(layer)}
    name = f"layer {layer}, head {head}" if by_head else f"layer {layer}"
    to_sinks(recording, f"Open {name} on Sinks", **at)


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"


# --- positions --------------------------------------------------------------------------------------------------


def _positions(recording: Recording, params: SinkParams, split: SplitName, side: DeltaGenerator) -> None:
    with side:
        scope = _scope(recording)
        drawn = references.reference_toggle(recording)
    trajectory = recording.trajectory
    flags = measures.counted_sinks(recording, params, scope, split)
    labels = trajectory.labels()
    step, position = np.nonzero(flags)
    kinds = measures.kinds(recording)
    names = recording.info.tokens
    chart(
        "Where the sinks are",
        "Each row is a step, each square a sink, coloured by what the token was in that step. "
        "Dots: where a step writes.",
        definition_formula(params),
        measures.with_writing(
            recording,
            figures.raster(flags, kinds, KINDS, labels, lambda at, where: names[int(trajectory.tokens[at, where])]),
        ),
        "raster",
        pd.DataFrame(
            {
                "step": step,
                "position": position,
                "token": [names[token] for token in trajectory.tokens[step, position].tolist()],
                "kind": [KINDS[kind] for kind in kinds[step, position]],
            }
        ),
        finding=reading("lifetimes", flags, labels),
        hint="Click a square for a way to its step and token.",
        on_select="rerun",
        selection_mode="points",
    )
    clicked = st.session_state["raster"].selection.points if "raster" in st.session_state else []
    if clicked:
        at, where = int(clicked[0]["y"]), int(clicked[0]["x"])
        chosen = {"layer": scope[0], "head": scope[1]}
        named = {name: str(value) for name, value in chosen.items() if value is not None}
        if at < trajectory.steps and where < trajectory.positions:
            to_sinks(
                recording, f"Open step {at}, position {where} on Sinks", step=str(at), position=str(where), **named
            )

    def alive(member: Recording) -> np.ndarray:
        return lifetimes(measures.counted_sinks(member, params, scope, split))

    def spread(member: Recording) -> np.ndarray:
        share = attention_share(measures.mean_mass(member, scope))
        return position_variance(share, measures.counted(member, split))

    left, right = st.columns(2, gap="large")
    for column, name, title, sentence, formula, unit, measure in (
        (
            left,
            "lifetime",
            "Lifetime of each sink",
            "In how many steps each position is a sink.",
            definition_formula(params),
            "steps as a sink",
            alive,
        ),
        (
            right,
            "position_variance",
            "How much each position's share varies",
            "The variance over the steps of the share of attention each position gets.",
            "$\\operatorname{Var}_t(a_{t,s})$ with the share $a = m/S$.",
            "variance of the share",
            spread,
        ),
    ):
        values = measure(recording)
        random = measure(drawn) if drawn is not None else None
        table = pd.DataFrame({"position": np.arange(trajectory.positions), "token": labels, unit: values})
        if random is not None:
            table[f"{unit}, {RANDOM}"] = random
        with column:
            chart(
                title,
                sentence,
                formula,
                figures.position_bars(values, labels, unit, measure is alive, random),
                name,
                table,
                finding="" if measure is alive else reading("varying positions", values, labels, random),
            )


# --- noised against real ----------------------------------------------------------------------------------------


def _noised_against_real(recording: Recording, params: SinkParams, split: SplitName, side: DeltaGenerator) -> None:
    st.caption(
        "Calibration for pruning sees finished text with random tokens masked; the model lives on its own half-written "
        "text. Both are here, at the same share of masked tokens."
    )
    if recording.info.model.noise == "uniform":
        st.info("This model's noise is random tokens, drawn anew in every step, which its recording shows already.")
        return
    if recording.info.model.mask_token is None:
        st.info("This recording is of an autoregressive model, which has no forward noise.")
        return
    if recording.info.by_blocks:
        st.info("This model was trained on noise inside a block over clean text, which its recording shows already.")
        return
    problem = references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    with side:
        scope = _scope(recording)
    noised = references.noised(recording)
    if noised is None:
        return
    pair = {"real trajectory": recording, "noised text": noised}
    _kinds(pair, params, scope, split, "step, from most to fewest masks")
    # Noised steps are drawn independently: they have no step before.
    for column, name in _in_pairs([name for name in _curve_names(split) if not CURVES[name].compares_steps]):
        series = [
            figures.Series(
                label, member.trajectory.share_undecided, measures.curve(member, name, params, scope, split)[None]
            )
            for label, member in pair.items()
        ]
        with column:
            _curve(f"noised_{name}", name, series, params, "share of tokens masked")
    _variances(list(pair.items()), params, split, by_head=False, log=True)


if __name__ == "__main__":
    run(main)
