"""Figures of mixtures of experts: their load, experts by group, turnover of routes, and one token's route."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    MASS_SCALE,
    PER_CENT,
    REFERENCE,
    SELECTED,
    SINK,
    TOKEN,
    block_reduce,
    color_bar,
    interval_bar,
    layout,
    write_cells,
)

GROUPS = {"sinks": SINK, "all other tokens": TOKEN, "as many random tokens": REFERENCE}
"""Groups compared, and their colours."""


def load_grid(shares: np.ndarray, layers: Sequence[int]) -> go.Figure:
    """Draw an expert × layer heatmap of the load, (M, E), in units of an even load. layers (M,): their numbers."""
    relative = np.asarray(shares, np.float32) * shares.shape[1]
    reduced, _, columns = block_reduce(relative)
    figure = go.Figure(
        go.Heatmap(
            z=reduced,
            x0=(columns - 1) / 2,
            dx=columns,
            y=[str(layer) for layer in layers],
            colorscale=MASS_SCALE,
            zmin=0,
            zmax=float(np.nanmax(reduced)) if np.isfinite(reduced).any() else 1,
            colorbar=color_bar("load (even = 1)"),
            hovertemplate="layer %{y}, expert %{x}<br>load %{z:.2f} of even<extra></extra>",
        )
    )
    layout(figure, "expert", "layer", max(260, min(640, 110 + 24 * len(layers))))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False, dtick=1 if shares.shape[1] <= 16 else None)
    return figure


def layer_lines(values: Mapping[str, np.ndarray], layers: Sequence[int]) -> go.Figure:
    """Draw a line over the layers for each share (M,) from 0 to 1."""
    figure = _share_lines(values, layers, "layer", "share")
    figure.update_xaxes(dtick=1 if len(layers) <= 24 else None)
    return figure


def _share_lines(values: Mapping[str, np.ndarray], x: Sequence[int], x_title: str, y_title: str) -> go.Figure:
    """Draw a line for each share (N,) from 0 to 1 over x (N,)."""
    figure = go.Figure()
    looks = zip((TOKEN, SINK, REFERENCE), ("solid", "dash", "dot"), strict=True)
    for (name, shares), (color, dash) in zip(values.items(), cycle(looks), strict=False):
        figure.add_scatter(
            x=list(x),
            y=100 * np.asarray(shares, np.float32),
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash},
            hovertemplate=f"{x_title.split()[-1]} %{{x}}: %{{y:.1f}}{PER_CENT}<extra>{name}</extra>",
        )
    layout(figure, x_title, y_title, 320)
    figure.update_yaxes(ticksuffix=PER_CENT, rangemode="tozero")
    return figure


def group_bars(
    sinks: np.ndarray, others: np.ndarray, drawn: tuple[np.ndarray, np.ndarray, np.ndarray], experts: Sequence[int]
) -> go.Figure:
    """Draw one layer's load by expert (n,) of sinks, of other tokens, and the mean and range of random draws.

    drawn: mean, lowest and highest. experts (n,): their numbers.
    """
    names = [str(expert) for expert in experts]
    figure = go.Figure()
    ranges = interval_bar(*(100 * np.stack(drawn)), thickness=1.5, width=2, color=SELECTED)
    for (name, color), values, error in zip(
        GROUPS.items(), (sinks, others, drawn[0]), (None, None, ranges), strict=True
    ):
        figure.add_bar(
            x=names,
            y=100 * np.asarray(values, np.float32),
            name=name,
            marker_color=color,
            error_y=error,
            hovertemplate=f"expert %{{x}}: %{{y:.1f}}{PER_CENT}<extra>{name}</extra>",
        )
    layout(figure, "expert", "share of choices", 360)
    figure.update_layout(barmode="group")
    figure.update_yaxes(ticksuffix=PER_CENT, rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure


def turnover_lines(mean: np.ndarray, one_layer: np.ndarray, layer: int) -> go.Figure:
    """Draw the share of experts that changed in each step, (T,): the mean over layers, and of one layer."""
    lines = {"mean over layers": mean, f"layer {layer}": one_layer}
    return _share_lines(lines, range(len(mean)), "denoising step", "experts changed")


def route(experts: np.ndarray, weights: np.ndarray, layers: Sequence[int], tokens: Sequence[str]) -> go.Figure:
    """Draw one position's first expert by step and layer: experts and weights (T, M), NaN if not routed.

    tokens (T,): the token there, as text for the hover.
    """
    steps, count = experts.shape
    named = steps <= 40 and count <= 32  # else the numbers overlap
    figure = go.Figure(
        go.Heatmap(
            z=np.asarray(weights, np.float32).T,
            y=[str(layer) for layer in layers],
            text=[["" if np.isnan(value) else f"{value:.0f}" for value in row] for row in experts.T],
            texttemplate="%{text}" if named else None,
            customdata=[list(tokens)] * count,
            colorscale=MASS_SCALE,
            zmin=0,
            colorbar=color_bar("weight of its first expert"),
            hovertemplate="step %{x}, layer %{y}, ‘%{customdata}’<br>expert %{text}, weight %{z:.2f}<extra></extra>",
        )
    )
    layout(figure, "denoising step", "layer", max(260, min(640, 110 + 26 * count)))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return write_cells(figure)
