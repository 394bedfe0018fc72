"""Figures of what sinks do: levels of an ablation with their intervals, and two texts of one prompt side by side.

Figures of the changes when attention to some positions is blocked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    dots,
    ends_of,
    grey_line,
    interval_bar,
    layout,
    log_ticks,
    name_rows_above,
    series_color,
    tick_step,
    token_axis,
    without_grid,
    wrapped,
    write_cells,
)

_FEW_POSITIONS = 40  # of more, marks are smaller
_LINE = 16  # pixels of a line of a name beside its row
_ABOVE_ROW, _BELOW_ROW = 0.13, 0.28  # of the distance of two rows, over which a row's line of no difference reaches
_TOLD = 16  # characters of a difference that fits in one line beside its row
_GAPS = 32  # columns up to which cells are parted; of more, the gaps on a phone would be as wide as the cells


@dataclass(frozen=True)
class LevelRow:
    """The change without some positions, with its interval; NaN where there is none. held: what these positions are,
    and what else changes without them, in lines beneath their name. filled: differs significantly from the first row.
    told: the difference from it in words, beside the axis; of the first the title of these.
    """

    name: str
    held: tuple[str, ...]
    value: float
    low: float
    high: float
    filled: bool
    told: str


def levels_with_differences(
    rows: Sequence[LevelRow], x_title: str, reference: tuple[str, float] | None = None
) -> go.Figure:
    """Draw a row per hidden target, the sinks first: its level with the interval, and beside the axis the level and the
    difference in words. reference: a level to read all by, with its name.
    """
    figure = go.Figure()
    most = max(np.nanmax(ends_of(rows)), 0 if reference is None else reference[1])
    step = _tick_distance(most)
    last = step * max(np.ceil(most / step), 1)
    for first, some, color in ((0, rows[:1], SINK), (1, rows[1:], REFERENCE)):
        value, low, high = ends_of(some)
        figure.add_scatter(
            x=value,
            y=first + np.arange(len(some)),
            mode="markers",
            showlegend=False,
            cliponaxis=False,
            error_x=interval_bar(value, np.fmin(low, value), np.fmax(high, value), color=color),
            marker=dots(color, 11, [row.filled for row in some]),
            hovertext=[as_text(row.name) for row in some],
            customdata=[f" [{row.low:.3g}, {row.high:.3g}]" if np.isfinite(row.low) else "" for row in some],
            hovertemplate="%{hovertext}<br>%{x:.3g}%{customdata}<extra></extra>",
        )
    lines = max(len(row.held) for row in rows)
    layout(figure, wrapped(x_title, 40), "", 86 + (54 + _LINE * lines) * len(rows))
    beneath = 0.5 if reference is None else 0.8  # room for its name
    names = ["<br>".join((f"<b>{wrapped(row.name, 34)}</b>", *map(as_text, row.held))) for row in rows]
    name_rows_above(figure, names, 0.7, beneath)
    if reference is not None:
        name, level = reference
        for place in range(len(rows)):  # beneath the names, which it would cross
            until = place + (_BELOW_ROW if place < len(rows) - 1 else 0.55)
            ends = {"x0": level, "x1": level, "y0": place - _ABOVE_ROW, "y1": until}
            figure.add_shape(type="line", **ends, line=grey_line(), layer="below")
        figure.add_annotation(
            x=level,
            y=len(rows) - 0.45,
            xanchor="left" if level < last / 3 else "right",
            yanchor="top",
            showarrow=False,
            text=f"{as_text(name)}: {_level(level)}",
            xshift=-4 if level < last / 3 else 30,
        )
    for place, row in enumerate(rows):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=14,
            y=place,
            yanchor="middle",  # at the height of the dot
            align="left",
            showarrow=False,
            text=f"<b>{_level(row.value)}</b>{f'<br>{_told(row.told)}' if place else ''}",
        )
    figure.add_annotation(
        x=1,
        xref="paper",
        xanchor="left",
        xshift=14,
        y=0,
        yshift=31,
        yanchor="middle",
        align="left",
        showarrow=False,
        text=f"<b>{wrapped(rows[0].told, _TOLD)}</b>",
    )
    figure.update_layout(margin_l=14, margin_r=134, margin_t=24)
    figure.update_xaxes(zeroline=False, tickformat="~g", dtick=step, range=[0, 1.01 * last])
    return figure


def _level(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:#.2g}"


def _tick_distance(most: float) -> float:
    """Return the least of 1, 2, 5, 10 … times a power of ten of which at most five reach a value."""
    power = 10.0 ** np.floor(np.log10(most / 5)) if most > 0 else 1.0
    return next(power * digit for digit in (1, 2, 5, 10) if most <= 5 * power * digit)


def _told(difference: str) -> str:
    """Return a difference in one line, or a long one in two: below its estimate its interval."""
    return as_text(difference).replace(" [", "<br>[") if len(difference) > _TOLD else as_text(difference)


def filled_steps(filled: np.ndarray, differ: np.ndarray, labels: list[str]) -> go.Figure:
    """Draw the step in which each position was filled in this text and in the one beside it, (2, S), −1 if in none;
    joined by a line, in another colour if the tokens differ in the end (S,).
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
    looks = ("this", TOKEN, "circle"), ("beside", SERIES_COLORS[2], "diamond-open")
    for row, (name, color, symbol) in enumerate(looks):
        at = np.flatnonzero(filled[row] >= 0)
        figure.add_scatter(
            x=at,
            y=filled[row, at],
            mode="markers",
            # Open, so that of two marks at one place both are seen.
            marker={"color": color, "symbol": symbol, "size": size + 3 * row, "line": {"width": 2 * row}},
            name=name,
            hovertemplate="position %{x}<br>filled in step %{y}<extra>%{fullData.name}</extra>",
        )
    layout(figure, "position (text of the first)", "step in which it was filled", 380, legend=True)
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
