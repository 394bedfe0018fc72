"""Add a figure of a result in Python: one row in `FIGURES` under the type of the result."""

import plotly.graph_objects as go

import sinkscope
from analysis.recording.trajectory import Trajectory
from sinkscope.drawing import FIGURES, Drawn


def total_mass(recording: Trajectory, layer: int = 0) -> go.Figure:
    return go.Figure(go.Bar(y=recording.mass[:, layer].sum(axis=(0, 1)), name="mass"))


FIGURES[Trajectory]["total mass"] = Drawn("Mass by position, summed over steps and heads. layer", total_mass)

recording = sinkscope.record("mia has 3 apples .", gen_length=4, steps=2, block_length=4)
bars = sinkscope.figure(recording, "total mass", layer=1).data[0]
assert len(bars.y) == recording.positions
