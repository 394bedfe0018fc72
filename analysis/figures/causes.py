"""Figures of the effects of sinks: two texts of one prompt side by side, looks inside the model, and changes when
attention to some positions is blocked.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    MASS_SCALE,
    PER_CENT,
    REFERENCE,
    SERIES_COLORS,
    SINK,
    TOKEN,
    as_text,
    band,
    color_bar,
    layout,
    log_ticks,
    series_color,
    tick_step,
    token_axis,
    without_grid,
    write_cells,
)

_FEW_POSITIONS = 40  # of more, marks are smaller
_GAPS = 32  # columns up to which cells are parted; of more, the gaps on a phone would be as wide as the cells


def filled_steps(
    filled: np.ndarray, differ: np.ndarray, labels: list[str], names: tuple[str, str] = ("this text", "the text beside")
) -> go.Figure:
    """Draw the step in which each position was filled in this text and in the one beside it, (2, S), −1 if in none;
    joined by a line, in another colour if the tokens differ in the end (S,). labels: of the first text. names: of both.
    """
    figure = go.Figure()
    there = (filled >= 0).all(axis=0)
    for name, color, flags in (("other token in the end", SINK, differ), ("same token", REFERENCE, ~differ)):
        at = np.flatnonzero(there & flags)
        gap = np.full(len(at), np.nan)
        figure.add_scatter(
            x=np.stack([at, at, gap], axis=1).ravel(),
            y=np.stack([*filled[:, at], gap], axis=1).ravel(),
            mode="lines",
            line={"color": color, "width": 3 if name != "same token" else 1.5},
            name=name,
            hoverinfo="skip",
        )
    size = 8 if there.sum() <= _FEW_POSITIONS else 6
    looks = (TOKEN, "circle"), (SERIES_COLORS[2], "diamond-open")
    for row, (name, (color, symbol)) in enumerate(zip(names, looks, strict=True)):
        at = np.flatnonzero(filled[row] >= 0)
        figure.add_scatter(
            x=at,
            y=filled[row, at],
            mode="markers",
            # Open, so that of two marks at one place both are seen.
            marker={"color": color, "symbol": symbol, "size": size + 3 * row, "line": {"width": 2 * row}},
            name=as_text(name),
            hovertemplate="position %{x}<br>filled in step %{y}<extra>%{fullData.name}</extra>",
        )
    layout(figure, f"position, with the token of {as_text(names[0])}", "step in which it was filled", 380, legend=True)
    figure.update_xaxes(zeroline=False, **token_axis(labels))
    return figure


def interval_curve(mean: np.ndarray, low: np.ndarray, high: np.ndarray, y_title: str) -> go.Figure:
    """Draw a mean over prompts at each step, (T,), with its interval as a band."""
    steps = np.arange(len(mean))
    figure = go.Figure(band(steps, low, high, TOKEN, 0.2, name="95 % interval", showlegend=True))
    figure.add_scatter(
        x=steps,
        y=mean,
        customdata=np.stack([low, high], axis=-1),
        mode="lines+markers" if len(mean) <= 64 else "lines",
        line={"color": TOKEN, "width": 2},
        name="mean over prompts",
        hovertemplate="step %{x}<br>%{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<extra></extra>",
    )
    layout(figure, "denoising step", y_title, 300, legend=True)
    figure.update_yaxes(rangemode="tozero")
    return figure


def channel_map(
    ratio: np.ndarray, channel: np.ndarray, carried: np.ndarray, names: Sequence[Sequence[str]]
) -> go.Figure:
    """Draw the largest residual channel of each layer and step, (T, L): its magnitude in units of the median, coloured
    on a logarithmic scale. carried (T, L) bool: its token is a sink. names[t][l]: of its position in the step, for the
    hover.
    """
    shown = np.log10(np.maximum(ratio, 1e-3)).T.astype(np.float32)
    ticks = log_ticks(float(np.nanmin(shown)), float(np.nanmax(shown)))
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            colorscale=MASS_SCALE,
            colorbar=color_bar("times the median")
            | {"tickvals": np.log10(ticks), "ticktext": [f"{tick:.3g}" for tick in ticks]},
            customdata=np.stack([ratio.T.round(2).astype(str), channel.T.astype(str)], axis=-1),
            text=[[as_text(row[layer]) for row in names] for layer in range(ratio.shape[1])],
            hovertemplate="step %{x}, layer %{y}<br>channel %{customdata[1]} on %{text}<br>"
            "%{customdata[0]} times the median<extra></extra>",
        )
    )
    step, layer = np.nonzero(carried)
    figure.add_scatter(
        x=step,
        y=layer,
        mode="markers",
        name="on a sink",
        marker={"symbol": "square-open", "size": 9, "color": SINK, "line": {"width": 2}},
        hoverinfo="skip",
    )
    layout(figure, "denoising step", "layer", max(300, min(620, 150 + 26 * ratio.shape[1])), legend=True)
    without_grid(figure, columns=len(ratio))
    figure.update_yaxes(autorange="reversed", dtick=tick_step(ratio.shape[1]))
    return figure


def lens_map(
    probability: np.ndarray, words: Sequence[Sequence[str]], labels: Sequence[str], sinks: np.ndarray
) -> go.Figure:
    """Draw layer × position: the probability (L, N) of the token that each position becomes. words (L, N): the
    likeliest token, for the cells and the hover. labels (N,): position and token; sinks (N,) bool are marked on top.
    """
    layers, count = probability.shape
    # Categories, of which Plotly names as many as have room on this screen.
    names = [as_text(label) for label in labels]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            z=100 * np.asarray(probability, np.float32),
            colorscale=MASS_SCALE,
            zmin=0,
            zmax=100,
            colorbar=color_bar("probability", percent=True),
            text=[[as_text(word) for word in row] for row in words],
            texttemplate="%{text}" if count <= 24 else None,
            customdata=[names] * layers,
            hovertemplate="layer %{y}<br>becomes %{customdata} with %{z:.1f}" + PER_CENT + "<br>likeliest here: "
            "‘%{text}’<extra></extra>",
            xgap=1 if count <= _GAPS else 0,
            ygap=1 if count <= _GAPS else 0,
        )
    )
    at = np.flatnonzero(sinks)
    figure.add_scatter(
        x=[names[position] for position in at],
        y=np.full(len(at), -0.85),
        mode="markers",
        name="sink of the step",
        marker={"symbol": "triangle-down", "size": 11, "color": SINK},
        hoverinfo="skip",
    )
    layout(figure, "undecided position", "layer", max(320, min(720, 170 + 30 * layers)), legend=True)
    without_grid(figure)
    figure.update_xaxes(type="category", tickangle=-90, tickfont_size=10)
    # Above the layers is the row of marks, which is none.
    figure.update_yaxes(range=[layers - 0.5, -1.2], tickvals=list(range(0, layers, tick_step(layers))))
    return write_cells(figure)


def outcome_bars(outcomes: Mapping[str, Mapping[str, float]], x_title: str, percent: bool) -> go.Figure:
    """Draw one bar per way of choosing what to block, in rows so that names have room; models next to each other.
    outcomes: model -> blocked -> value from 0 to 1.
    """
    figure = go.Figure()
    scale, unit = (100, PER_CENT) if percent else (1, "")
    for index, (model, values) in enumerate(outcomes.items()):
        figure.add_bar(
            x=[scale * value for value in values.values()],
            y=[as_text(name) for name in values],
            orientation="h",
            name=as_text(model),
            marker={"color": series_color(index), "line": {"width": 0}},
            texttemplate=f"%{{x:.0f}}{unit}" if percent else "%{x:.2f}",
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            hovertemplate=f"%{{y}}<br>%{{x:{'.1f' if percent else '.3f'}}}{unit}<extra>%{{fullData.name}}</extra>",
        )
    bars = sum(map(len, outcomes.values()))
    layout(figure, x_title, "hidden", max(220, 130 + 22 * bars), legend=True)
    figure.update_layout(barmode="group", bargap=0.25)
    # The first model's bar, and the first choice, on top.
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(
        range=[0, 1.18 * scale], ticksuffix=unit, tickvals=[scale * tick for tick in (0, 0.25, 0.5, 0.75, 1)]
    )
    return figure
