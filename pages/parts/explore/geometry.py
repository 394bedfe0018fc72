"""Geometry: how many dimensions attention and token states take up, beside random weights and a pruned model."""

import numpy as np
import streamlit as st
from safetensors.numpy import load_file
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.exhibits.inside import geometry_over
from analysis.recording.inside_specs import geometry_spec, geometry_steps
from analysis.sinks.geometry import MEASURES
from analysis.specs import SinkParams
from analysis.words import counted
from pages.parts import asking
from pages.parts.charts import chart
from pages.parts.linked import linked_box
from pages.parts.masks.pruned_models import known_pruned, read_address, titled
from pages.parts.recordings import references
from pages.parts.recordings.recording import Recording
from pages.parts.session import engine

OWN = "this model"


def geometry(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab; its controls in `side`. Nothing here depends on the definition of a sink."""
    if references.says_no_model(recording, inside=True):
        return
    name = side.selectbox(
        "Measure", list(MEASURES), key="geometry", bind="query-params", format_func=lambda name: MEASURES[name].title
    )
    pruned = {run_id: run for run_id, run in known_pruned().items() if run.runs}
    beside = linked_box(
        "Pruned model beside it",
        list(pruned),
        "geometry_beside",
        titled(pruned),
        place=side,
        read=read_address(pruned),
        placeholder="none",
    )
    trajectory = recording.trajectory
    steps = geometry_steps(trajectory)
    specs = [geometry_spec(trajectory, recording.model)]
    if beside:
        specs.append(geometry_spec(trajectory, recording.model.model_copy(update={"source": pruned[beside].source})))
    forwards = sum(len(steps) * (1 + spec.random_models) for spec in specs) / trajectory.steps
    jobs = asking.ask_by_hand(
        "geometry",
        specs,
        "Measuring the geometry",
        "Measure the geometry",
        "Measures how many dimensions each head's attention map and outputs take up, and the token states behind each "
        "layer, compared with models of the same shape with random weights. Runs "
        f"{counted(len(steps), 'step')} of this recording through each: {references.seconds_of(recording, forwards)}, "
        "or several times that on long texts.",
    )
    if jobs is not None:
        first, *second = [_arrays(job) for job in jobs]
        _show(name, steps, first, second[0] if second else None, pruned[beside].name if beside else "")


def _arrays(job: JobRecord) -> dict[str, np.ndarray]:
    file = engine().result_file(job)
    return {} if file is None else load_file(file)


def _show(
    name: str, steps: list[int], shapes: dict[str, np.ndarray], other: dict[str, np.ndarray] | None, other_name: str
) -> None:
    if f"own_{name}" not in shapes:
        st.warning("This measurement is no longer in the store.")
        return
    own, random = shapes[f"own_{name}"], shapes[f"random_{name}"]
    models = {OWN: own}
    if other is not None and f"own_{name}" in other and other[f"own_{name}"].shape == own.shape:
        models[other_name] = other[f"own_{name}"]
    for column, axis in zip(
        st.columns(2, gap="large", vertical_alignment="bottom"), ("layer", "denoising step"), strict=True
    ):
        shown = geometry_over(name, axis, steps, models, random)
        with column:
            chart(shown, f"geometry_{axis.split()[-1]}")
