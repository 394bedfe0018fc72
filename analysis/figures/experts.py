"""Figures of mixtures of experts: their load, experts by group, turnover of routes, and one token's route."""

from collections.abc import Mapping, Sequence

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
    layout(figure, "expert", "layer", height=max(260, min(640, 110 + 24 * len(layers))))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False, dtick=1 if shares.shape[1] <= 16 else None)
    return figure


def layer_lines(values: Mapping[str, np.ndarray], layers: Sequence[int]) -> go.Figure:
    """Draw a line over the layers for each share (M,) from 0 to 1."""
    figure = go.Figure()
    for index, (name, shares) in enumerate(values.items()):
        figure.add_trace(
            go.Scatter(
                x=list(layers),
                y=100 * np.asarray(shares, np.float32),
                name=name,
                mode="lines+markers",
                line={"color": (TOKEN, SINK, REFERENCE)[index % 3], "dash": ("solid", "dash", "dot")[index % 3]},
                hovertemplate="layer %{x}: %{y:.1f}" + PER_CENT + "<extra>" + name + "</extra>",
            )
        )
    layout(figure, "layer", "share", height=320)
    figure.update_yaxes(ticksuffix=PER_CENT, rangemode="tozero")
    figure.update_xaxes(dtick=1 if len(layers) <= 24 else None)
    return figure


def group_bars(
    sinks: np.ndarray, others: np.ndarray, drawn: tuple[np.ndarray, np.ndarray, np.ndarray], experts: Sequence[int]
) -> go.Figure:
    """Draw one layer's load by expert (n,) of sinks, of other tokens, and the mean and range of random draws.

    drawn: mean, lowest and highest. experts (n,): their numbers.
    """
    mean, low, high = drawn
    names = [str(expert) for expert in experts]
    figure = go.Figure()
    for (name, color), values in zip(GROUPS.items(), (sinks, others, mean), strict=True):
        error = None
        if name == "as many random tokens":
            error = interval_bar(100 * mean, 100 * low, 100 * high, thickness=1.5, width=2, color=SELECTED)
        figure.add_trace(
            go.Bar(
                x=names,
                y=100 * np.asarray(values, np.float32),
                name=name,
                marker_color=color,
                error_y=error,
                hovertemplate="expert %{x}: %{y:.1f}" + PER_CENT + "<extra>" + name + "</extra>",
            )
        )
    layout(figure, "expert", "share of choices", height=360)
    figure.update_layout(barmode="group")
    figure.update_yaxes(ticksuffix=PER_CENT, rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure


def turnover_lines(mean: np.ndarray, one_layer: np.ndarray, layer: int) -> go.Figure:
    """Draw the share of experts that changed in each step, (T,): the mean over layers, and of one layer."""
    steps = np.arange(len(mean))
    figure = go.Figure()
    for name, values, color, dash in (
        ("mean over layers", mean, TOKEN, "solid"),
        (f"layer {layer}", one_layer, SINK, "dash"),
    ):
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=100 * np.asarray(values, np.float32),
                name=name,
                mode="lines+markers",
                line={"color": color, "dash": dash},
                hovertemplate="step %{x}: %{y:.1f}" + PER_CENT + "<extra>" + name + "</extra>",
            )
        )
    layout(figure, "denoising step", "experts changed", height=320)
    figure.update_yaxes(ticksuffix=PER_CENT, rangemode="tozero")
    return figure


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
    layout(figure, "denoising step", "layer", height=max(260, min(640, 110 + 26 * count)))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return write_cells(figure)
