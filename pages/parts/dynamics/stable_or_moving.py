"""Concentration of attention against movement of its sinks."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import dynamics as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL
from pages.parts.charts import chart
from pages.parts.controls import segments
from pages.parts.plot import Point
from pages.parts.recordings import measures, references
from pages.parts.recordings.beside import autoregressive_reference, compared_recordings
from pages.parts.recordings.choice import opened
from pages.parts.recordings.explorer import go_to
from pages.parts.recordings.recording import Recording, short_title


def stable_or_moving(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        by_head = segments("One point per", ["layer", "head"], "point") == "head"
        others = compared_recordings(recording)
        drawn = references.reference_toggle(recording)
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
