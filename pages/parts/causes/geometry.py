"""Geometry: how many dimensions attention and token states take up, beside random weights and a pruned model."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from safetensors.numpy import load_file

from analysis.engine import JobRecord
from analysis.figures.dynamics import Series, curves
from analysis.sinks.geometry import MEASURES, by_layer, by_step, sentence
from analysis.specs import GeometrySpec, ModelSpec, SinkParams
from pages.parts import asking
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.recordings import references
from pages.parts.recordings.recording import Recording
from pages.parts.session import engine

STEPS = 6
OWN, RANDOM = "this model", "random weights"


def geometry(recording: Recording, params: SinkParams) -> None:
    """Draws the view. Nothing of it depends on what counts as a sink."""
    st.caption(
        f"How many dimensions each head's attention map and outputs take up, and the token states behind each layer, "
        f"at up to {STEPS} steps of this recording: beside models of the same shape with random weights, and a pruned "
        "model on the same inputs."
    )
    problem = references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    left, right = st.columns(2, gap="medium")
    name = left.selectbox(
        "Measure", list(MEASURES), key="geometry", bind="query-params", format_func=lambda name: MEASURES[name].title
    )
    pruned = {str(folder): title for title, folder in engine().pruned_models().items()}
    beside = right.selectbox(
        "Pruned model beside it",
        ["", *pruned],
        key="geometry_beside",
        bind="query-params",
        format_func=lambda folder: pruned.get(folder, "none"),
    )
    steps = sorted({round(share * (recording.trajectory.steps - 1)) for share in np.linspace(0, 1, STEPS)})
    job = asking.ask("geometry", _spec(recording, recording.model, steps), "Measuring the geometry of this model")
    other = None
    if beside:
        model = recording.model.model_copy(update={"source": beside})
        other = asking.ask(
            "geometry", _spec(recording, model, steps), "Measuring the geometry of the pruned model", "2"
        )
    if job is not None:
        _show(name, steps, _arrays(job), None if other is None else _arrays(other), pruned.get(beside, ""))


def _spec(recording: Recording, model: ModelSpec, steps: list[int]) -> GeometrySpec:
    trajectory, info = recording.trajectory, recording.info
    return GeometrySpec(
        model=model,
        inputs=tuple(trajectory.input_tokens(step) for step in steps),
        open_blocks=tuple(int(trajectory.open_block[step][0]) for step in steps) if info.by_blocks else (),
        prompt_length=info.prompt_length,
        block_length=info.block_length,
    )


def _arrays(job: JobRecord) -> dict[str, np.ndarray]:
    file = engine().result_file(job)
    return {} if file is None else load_file(file)


def _show(
    name: str, steps: list[int], found: dict[str, np.ndarray], other: dict[str, np.ndarray] | None, other_name: str
) -> None:
    measure = MEASURES[name]
    if f"own_{name}" not in found:
        st.warning("This measurement is no longer in the store.")
        return
    own, random = found[f"own_{name}"], found[f"random_{name}"]
    said = sentence(by_layer(own), np.stack([by_layer(row) for row in random]), measure.title)
    if said:
        st.markdown(plain(said))
    columns = st.columns(2, gap="large")
    views: tuple[tuple[str, str, Any, list[int]], ...] = (
        ("layer", "mean over the steps", by_layer, list(range(own.shape[1]))),
        ("denoising step", "mean over the layers", by_step, steps),
    )
    for column, (axis, over, mean, x) in zip(columns, views, strict=True):
        lines = {OWN: mean(own)[None], RANDOM: np.stack([mean(row) for row in random])}
        if other is not None and other[f"own_{name}"].shape == own.shape:
            lines[other_name] = mean(other[f"own_{name}"])[None]
        with column:
            chart(
                f"{measure.title} by {axis}",
                f"The {over}; the band is the range of {len(random)} models with random weights.",
                measure.formula,
                curves(
                    [Series(line, np.array(x), values, line == RANDOM) for line, values in lines.items()],
                    axis,
                    measure.axis,
                ),
                f"geometry_{axis.split()[-1]}",
                pd.concat(
                    [
                        pd.DataFrame({axis: x, "model": line, "number": number, measure.axis: row})
                        for line, values in lines.items()
                        for number, row in enumerate(values)
                    ]
                ),
            )
