"""Appearance, movement and end of a recording's sinks over its steps, beside other recordings and references."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.figures import dynamics as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.sinks.definitions import KINDS, attention_share, count_by_kind, gaussian_reference
from analysis.sinks.metrics import CURVES, lifetimes, position_variance
from analysis.sinks.step_inputs import ALL, REGIONS, undecided_named
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL, in_sentence, model_title
from pages.parts.charts import Point, chart
from pages.parts.controls import pick, segments
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import autoregressive_reference, compared_recordings, definition_formula, opened
from pages.parts.recordings.explorer import go_to
from pages.parts.recordings.measures import Scope
from pages.parts.recordings.recording import Recording, recording_title, short_title
from pages.parts.session import model_name


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


_GAUSSIAN = "Gaussian reference"
EXPLORED = ("strength", "entropy")
"""Curves that the explorer draws with all their baselines, alone and beside one other recording."""


def over_steps(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        scope = scope_boxes(recording)
        others = compared_recordings(recording)
        drawn = measures.reference_toggle(recording)
        beside = autoregressive_reference(recording)
    groups = _groups([recording.job, *others, *([beside] if beside is not None else [])], scope)
    if drawn is not None:
        groups[UNTRAINED_LABEL] = [drawn]
    panels = {"this recording": recording} | ({UNTRAINED_LABEL: drawn} if drawn is not None else {})
    kinds_of_sinks(panels, params, scope, split, "denoising step")
    if recording.info.by_blocks:  # else the parts of the text are the kinds above
        _regions(recording, params, scope)
    _writing(recording)
    several = len({member.trajectory.steps for members in groups.values() for member in members}) > 1
    names = [name for name in curve_names(split) if others or name not in EXPLORED]
    for column, name in in_pairs(names):
        series = [_series(label, members, name, params, scope, split, several) for label, members in groups.items()]
        if CURVES[name].counts_sinks and split == ALL:
            expected = gaussian_reference(recording.trajectory.present.sum(axis=1), params)
            if expected is not None:
                series.append(figures.Series(_GAUSSIAN, _axis(len(expected), several), expected[None], True))
        if name == "strength":
            flags = measures.counted_sinks(recording, params, scope, split)
            even = measures.uniform_strength(recording, flags)
            series.append(figures.Series("even split", _axis(len(even), several), even[None], True))
        with column:
            curve(f"curve_{name}", name, series, params, "share of the steps" if several else "denoising step")


def _groups(jobs: list[JobRecord], scope: Scope) -> dict[str, list[Recording]]:
    """Group recordings by model, leaving out models that lack the layer or head."""
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
    names = [model_title(model_name(source)) for source in groups]
    unlike = [name if names.count(name) == 1 else source for name, source in zip(names, groups, strict=True)]
    return dict(zip(unlike, groups.values(), strict=True))


def _axis(steps: int, relative: bool) -> np.ndarray:
    return np.linspace(0, 1, steps) if relative else np.arange(steps)


def _series(
    label: str, members: list[Recording], name: str, params: SinkParams, scope: Scope, split: str, relative: bool
) -> figures.Series:
    """Return one group's curves on a common grid; where lengths differ, steps are put on a scale from 0 to 1."""
    rows = [measures.curve(member, name, params, scope, split) for member in members]
    x = _axis(max(len(row) for row in rows), relative)
    values = np.stack([row if len(row) == len(x) else np.interp(x, _axis(len(row), True), row) for row in rows])
    return figures.Series(label, x, values, reference=label == UNTRAINED_LABEL)


def _regions(recording: Recording, params: SinkParams, scope: Scope) -> None:
    """Draw sinks by part of the text."""
    counts = measures.count_by_region(recording, params, scope)
    regions = [undecided_named(title, recording.info.model.noise) for title in REGIONS.values()]
    table = pd.DataFrame(counts, columns=regions)
    table.insert(0, "step", np.arange(len(table)))
    chart(
        Exhibit(
            "Where in the text the sinks stand",
            "The sinks of every step by what has become of their token: all of them, whatever is counted above.",
            figures.kinds_over_steps({"": counts}, regions),
            table,
            formula="Finished blocks: what was written in blocks before the open one, the block that the step writes "
            "in. A text that is written as one block has none.\n\n" + definition_formula(params),
            finding=finding_of(
                "kinds of sinks",
                measures.sinks(recording, params, scope),
                np.stack([measures.counted(recording, region) for region in REGIONS]),
                [f"on {title}" for title in regions],
            ),
        ),
        "regions_over_steps",
    )


def _writing(recording: Recording) -> None:
    """Draw how many tokens each step wrote, edited and took back; nothing if no step edits or takes back any: the tab
    Parallel writing shows what each one wrote.
    """
    changes = recording.trajectory.changes
    counts = {
        "written": changes.written.sum(axis=1),
        "edited": changes.edited.sum(axis=1),
        "taken back": changes.taken_back.sum(axis=1),
    }
    if not counts["edited"].any() and not counts["taken back"].any():
        return
    chart(
        Exhibit(
            "What each step changes",
            "How many tokens each step writes, edits and takes back.",
            figures.curves(figures.lines(counts), "denoising step", "tokens"),
            pd.DataFrame({"step": np.arange(recording.trajectory.steps)} | counts),
            formula="Written: undecided before the step, decided after it. Edited: decided before and after, by "
            "another token. Taken back: decided before, undecided after. LLaDA and Dream write every token once.",
            finding=f"{_tokens(counts['written'])} written, {_tokens(counts['edited'])} edited and "
            f"{_tokens(counts['taken back'])} taken back in all.",
        ),
        "changes_over_steps",
    )


def _tokens(counts: np.ndarray) -> str:
    total = int(counts.sum())
    return f"{total:d} token{'' if total == 1 else 's'}"


def stable_or_moving(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        by_head = segments("One point per", ["layer", "head"], "point") == "head"
        others = compared_recordings(recording)
        drawn = measures.reference_toggle(recording)
        beside = autoregressive_reference(recording)
        log = st.toggle("Log axes", value=True, key="log_axes", bind="query-params")
    jobs = {job.id: job for job in (recording.job, *([beside] if beside is not None else []), *others)}
    recordings = [(short_title(job), member) for job in jobs.values() if (member := opened(job)) is not None]
    if drawn is not None:
        recordings.append((UNTRAINED_LABEL, drawn))
    variances(recordings, params, split, by_head, log)
    if beside is None and recording.info.model.mask_token is not None:
        st.caption("To compare with the left-to-right model, choose or record its reference.")


def variances(
    recordings: list[tuple[str, Recording]], params: SinkParams, split: str, by_head: bool, log: bool
) -> None:
    """Draw spatial against temporal variance. recordings: with titles. by_head: one point per head, else per layer."""
    clouds, tables = [], []
    for title, recording in recordings:
        spatial, temporal, names = measures.variances(recording, params, by_head, split)
        layers = np.arange(len(names)) // (len(names) // recording.trajectory.layers)
        clouds.append(
            figures.Cloud(title, spatial, temporal, names, layers.tolist(), reference=title == UNTRAINED_LABEL)
        )
        tables.append(pd.DataFrame({"recording": title, "what": names, "spatial": spatial, "temporal": temporal}))

    def clicked(point: Point) -> None:
        if point.customdata:
            _open(recordings, by_head, *point.customdata)

    null = next((cloud.temporal for cloud in clouds if cloud.reference), None)
    said = finding_of("variances", clouds[0].temporal, clouds[0].labels, null)
    # Among others, name the recording.
    finding = (
        f"{clouds[0].name}: {said[0].lower()}{said[1:]}" if said and len(clouds) - (null is not None) > 1 else said
    )
    chart(
        Exhibit(
            "Spatial against temporal variance",
            "Right: attention is concentrated on few positions. Up: its sinks move over the steps, so they are "
            "unstable.",
            figures.variances(clouds, log),
            pd.concat(tables),
            formula="Spatial: $\\operatorname{Var}_i(\\operatorname{mean}_t r_{t,i})$. Temporal: "
            "$\\operatorname{Var}_t(c_t/S)$. Both on the corrected share $r$, the share divided by what uniform "
            "attention gives under the model's mask; sinks are the positions with $r$ above mean + k·std. So models "
            "that attend differently can be compared.",
            finding=finding,
        ),
        "variances",
        hint="Select a point of this recording to open it in the explorer.",
        on_click=clicked,
    )
    missing = sum(int(np.isnan(cloud.temporal).sum()) for cloud in clouds)
    still = sum(int((cloud.temporal == 0).sum()) for cloud in clouds) if log else 0
    if missing:
        st.caption(f"Not drawn, with sinks in fewer than two steps and so no temporal variance: {_points(missing)}.")
    if still:
        st.caption(f"Not on log axes, with sinks that never move and so a temporal variance of 0: {_points(still)}.")


def _open(recordings: list[tuple[str, Recording]], by_head: bool, which: int, point: int) -> None:
    """Show the layer or head of a point in the explorer, where it is one of the recording there: the first one."""
    if which != 0:
        return
    layer, head = divmod(point, recordings[0][1].trajectory.heads if by_head else 1)
    go_to(layer=layer, head=head if by_head else None)


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"


def positions(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        scope = scope_boxes(recording)
        drawn = measures.reference_toggle(recording)
    trajectory = recording.trajectory
    flags = measures.counted_sinks(recording, params, scope, split)
    labels, over_steps = trajectory.labels(), trajectory.names.over_steps()

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
        table = pd.DataFrame({"position": np.arange(trajectory.positions), "finished token": labels, unit: values})
        if random is not None:
            table[f"{unit}, {UNTRAINED_LABEL}"] = random
        with column:
            chart(
                Exhibit(
                    title,
                    sentence,
                    figures.position_bars(
                        values, labels, over_steps, unit, measure is alive, random, trajectory.names.later()
                    ),
                    table,
                    formula=formula,
                    finding=" ".join(
                        filter(
                            None, (finding_of("lifetimes", flags, over_steps), finding_of("long-lived sinks", flags))
                        )
                    )
                    if measure is alive
                    else finding_of("varying positions", values, over_steps, random),
                ),
                name,
            )


_WHERE = "where fewest tokens are masked", "where most are"


def noised_against_real(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    st.caption(
        "Calibration for pruning sees finished text with random tokens masked; the model lives on its own half-written "
        "text. Both are here, at the same share of masked tokens."
    )
    if recording.info.model.noise == "uniform":
        st.info("This model's noise is random tokens, drawn anew in every step, which its recording shows already.")
        return
    if recording.info.model.mask_token is None:
        st.info("This recording is of a left-to-right model, which has no forward noise.")
        return
    if recording.info.by_blocks:
        st.info("This model was trained on noise inside a block over clean text, which its recording shows already.")
        return
    if measures.says_no_model(recording, inside=True):
        return
    with side:
        scope = scope_boxes(recording)
    noised = measures.noised(recording)
    if noised is None:
        return
    pair = {"Real trajectory": recording, "Noised text": noised}
    kinds_of_sinks(pair, params, scope, split, "step, from most to fewest masks")
    # Noised steps are drawn independently: they have no step before.
    for column, name in in_pairs([name for name in curve_names(split) if not CURVES[name].compares_steps]):
        series = [
            figures.Series(
                label, member.trajectory.share_undecided, measures.curve(member, name, params, scope, split)[None]
            )
            for label, member in pair.items()
        ]
        with column:
            curve(f"noised_{name}", name, series, params, "share of tokens masked", _WHERE)
    variances(list(pair.items()), params, split, by_head=False, log=True)


VIEWS = {
    "Over the steps": over_steps,
    "Stable or moving": stable_or_moving,
    "Positions": positions,
    "Noised against real": noised_against_real,
}


def dynamics(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, with its controls in `side`."""
    with side:
        view = pick("View", VIEWS, "dynamics_view")
    VIEWS[view](recording, params, split, side)
