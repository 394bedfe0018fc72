"""Figures of an evaluation: running accuracy with bands, running differences, and all differences at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import plotly.graph_objects as go

from analysis.figures.dynamics import SERIES_COLORS
from analysis.figures.style import REFERENCE, as_text, layout

MAX_POINTS = 400  # a curve; more would be finer than the screen


class Band(Protocol):
    """A running mean over items 1 … n with its interval, each (n,)."""

    @property
    def name(self) -> str: ...
    @property
    def items(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def low(self) -> np.ndarray: ...
    @property
    def high(self) -> np.ndarray: ...


def color_of(model: int) -> str:
    """The colour of a model by its number, the same in every figure of an evaluation."""
    return SERIES_COLORS[model % len(SERIES_COLORS)]


def running(bands: Sequence[Band], colors: Sequence[str], y_title: str, difference: bool = False) -> go.Figure:
    """One line and band a model over the items done. difference: around a zero line, in points."""
    figure = go.Figure()
    scale = 100 if difference else 1
    for band, color in zip(bands, colors, strict=True):
        at = thinned(len(band.items))
        if not len(at):
            continue
        x = band.items[at]
        mean, low, high = (scale * np.asarray(values)[at] for values in (band.mean, band.low, band.high))
        if not difference:
            low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
        there = np.isfinite(low) & np.isfinite(high)
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([x[there], x[there][::-1]]),
                y=np.concatenate([high[there], low[there][::-1]]).astype(np.float32),
                fill="toself",
                mode="none",
                fillcolor=color,
                opacity=0.16,
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=mean.astype(np.float32),
                mode="lines",
                name=as_text(band.name),
                line={"color": color, "width": 2},
                customdata=np.stack([low, high], axis=1).astype(np.float32),
                hovertemplate="%{y:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]"
                if difference
                else "%{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]",
            )
        )
    layout(figure, "items done", y_title, height=330)
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(rangemode="tozero")
    if difference:
        figure.add_hline(y=0, line={"color": REFERENCE, "width": 1, "dash": "dash"})
        figure.update_yaxes(range=_range(bands, scale))
    else:
        figure.update_yaxes(range=_shares(bands), tickformat=".0%")
    return figure


@dataclass(frozen=True)
class Whisker:
    """A difference in points with its interval. row: what it is on. clear: drawn full, else hollow.
    hover: text, its lines parted by <br>.
    """

    row: str
    model: str
    value: float
    low: float
    high: float
    clear: bool
    hover: str


def whiskers(found: Sequence[Whisker], colors: Mapping[str, str], x_title: str) -> go.Figure:
    """One line a row, top to bottom in the order given, and on it a dot with its interval for every model.

    colors: by model. The first row is written bold.
    """
    rows, models = (list(dict.fromkeys(getattr(one, name) for one in found)) for name in ("row", "model"))
    figure = go.Figure()
    for index, model in enumerate(models):
        mine = [one for one in found if one.model == model and np.isfinite(one.value)]
        values = np.array([[one.value, one.low, one.high] for one in mine], np.float32).reshape(-1, 3)
        shift = (index - (len(models) - 1) / 2) * 0.7 / len(models)
        figure.add_trace(
            go.Scatter(
                x=values[:, 0],
                y=[rows.index(one.row) + shift for one in mine],
                mode="markers",
                name=as_text(model),
                marker={
                    "color": colors[model],
                    "size": 9,
                    "line": {"color": colors[model], "width": 2},
                    "symbol": ["circle" if one.clear else "circle-open" for one in mine],
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": values[:, 2] - values[:, 0],
                    "arrayminus": values[:, 0] - values[:, 1],
                    "thickness": 2,
                    "width": 0,
                },
                text=["<br>".join(map(as_text, one.hover.split("<br>"))) for one in mine],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    names = [as_text(row) for row in rows]
    layout(figure, as_text(x_title), "", height=90 + len(rows) * (14 + 14 * len(models)))
    figure.add_vline(x=0, line={"color": REFERENCE, "width": 1, "dash": "dash"})
    figure.update_layout(showlegend=True)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[f"<b>{names[0]}</b>", *names[1:]] if names else [],
        range=[len(rows) - 0.5, -0.5],
        zeroline=False,
        showgrid=False,
    )
    for edge in range(1, len(rows)):
        figure.add_hline(y=edge - 0.5, line={"color": REFERENCE, "width": 0.5}, opacity=0.4)
    return figure


def thinned(count: int) -> np.ndarray:
    """Indices of at most `MAX_POINTS` of so many points, the last among them."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, MAX_POINTS).round().astype(int))


def _shares(bands: Sequence[Band]) -> list[float]:
    """The part of 0 … 1 that bands fill once the first few items are over."""
    ends = np.concatenate([np.zeros(0), *(end[len(end) // 8 :] for band in bands for end in (band.low, band.high))])
    ends = np.clip(ends[np.isfinite(ends)], 0, 1)
    if not len(ends):
        return [-0.02, 1.02]
    room = 0.02 + 0.05 * float(np.ptp(ends))
    return [max(float(ends.min()) - room, -0.02), min(float(ends.max()) + room, 1.02)]


def _range(bands: Sequence[Band], scale: float) -> list[float] | None:
    """What is left to see once the first few items, whose intervals cover everything, are over."""
    ends = [
        scale * np.abs(np.concatenate([band.low[len(band.low) // 8 :], band.high[len(band.high) // 8 :]]))
        for band in bands
    ]
    values = np.concatenate(ends) if ends else np.zeros(0)
    values = values[np.isfinite(values)]
    return None if not len(values) else [-1.1 * float(values.max()) - 0.5, 1.1 * float(values.max()) + 0.5]
