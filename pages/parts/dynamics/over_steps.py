"""Measures of each step of a recording, beside other recordings and references."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.figures import dynamics as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.sinks.definitions import gaussian_reference
from analysis.sinks.metrics import CURVES
from analysis.sinks.token_states import ALL, REGIONS, undecided_named
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL, model_title
from pages.parts.charts import chart
from pages.parts.dynamics.curves import curve, curve_names, in_pairs, kinds_of_sinks, scope_boxes
from pages.parts.plain import plain
from pages.parts.recordings import measures, references
from pages.parts.recordings.beside import autoregressive_reference, compared_recordings
from pages.parts.recordings.choice import definition_formula, opened
from pages.parts.recordings.measures import Scope
from pages.parts.recordings.recording import Recording, model_name, recording_title

_GAUSSIAN = "Gaussian reference"
EXPLORED = ("strength", "entropy")
"""Curves that the explorer draws with all their baselines, alone and beside one other recording."""


def over_steps(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        scope = scope_boxes(recording)
        others = compared_recordings(recording)
        drawn = references.reference_toggle(recording)
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
    changes = measures.changes(recording)
    counts = {
        "written": changes.written.sum(axis=1),
        "edited": changes.edited.sum(axis=1),
        "taken back": changes.taken_back.sum(axis=1),
    }
    if not counts["edited"].any() and not counts["taken back"].any():
        return
    steps = np.arange(recording.trajectory.steps)
    chart(
        Exhibit(
            "What each step changes",
            "How many tokens each step writes, edits and takes back.",
            figures.curves(
                [figures.Series(name, steps, count[None]) for name, count in counts.items()], "denoising step", "tokens"
            ),
            pd.DataFrame({"step": steps} | counts),
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
