"""One token of a recording: how its attention went over the steps, and which heads feed it."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import sinks as figures
from analysis.figures.dynamics import Series, curves
from analysis.readings import reading
from analysis.specs import SinkParams
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.plot import Point
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.recording import Recording

_MASS = "Attention mass $m_{t,s} = \\sum_q p_t(q, s)$, in units in which uniform attention gives 1 on average."


def to_sinks(recording: Recording, label: str, **at: str) -> None:
    """A link to the page Sinks at a step, position, layer or head of a recording."""
    query = {"recording": recording.job.id, **at}
    st.page_link("pages/sinks.py", label=f"**{plain(label)}**", icon=":material/grid_view:", query_params=query)


def history(recording: Recording, params: SinkParams, position: int, layer: int, head: int, step: int) -> None:
    """What a position received over the steps, from one head and from all."""
    trajectory = recording.trajectory
    of_head, of_all = trajectory.mass[:, layer, head, position], measures.mean_mass(recording)[:, position]
    steps = np.arange(trajectory.steps)
    name = f"layer {layer}, head {head}"
    written = np.flatnonzero(measures.changes(recording).written[:, position])
    when = f" It was written in step {written[-1]}." if len(written) else " It was given." if len(steps) else ""
    series = [Series(name, steps, of_head[None]), Series("all heads, mean", steps, of_all[None])]
    chart(
        f"Attention to {trajectory.names.over_steps()[position]}, step by step",
        f"From this head and from all.{when} The line marks step {step}.",
        f"{_MASS}\n\n{definition_formula(params)}",
        curves(series, "denoising step", "mass (uniform = 1)", step),
        "token_history",
        pd.DataFrame({"step": steps, name: of_head, "all heads": of_all}),
        finding=reading("curve", of_all, False, note=" over all heads; uniform attention gives 1"),
    )


def feeding_heads(
    recording: Recording, step: int, position: int, key: str, opens: Callable[[int, int], None] | None = None
) -> None:
    """Which heads pay a position their attention in a step. opens: called with layer and head where one is clicked."""
    trajectory = recording.trajectory
    mass = trajectory.mass[step, :, :, position]
    layer, head = (axis.ravel() for axis in np.indices(mass.shape))

    def clicked(point: Point) -> None:
        if opens is not None:
            opens(*point.cell)

    chart(
        f"Heads that feed {trajectory.names.at(step)[position]} in step {step}",
        "How much of its attention each head pays to this token; uniform attention gives 1.",
        _MASS,
        figures.head_grid(mass, "mass", percent=False),
        key,
        pd.DataFrame({"layer": layer, "head": head, "mass": mass.ravel()}),
        hint="Click a cell to open that head." if opens is not None else "",
        finding=reading("heads", mass, False, floor=1.0, name="uniform attention"),
        on_click=clicked if opens is not None else None,
    )
