"""Figures of an evaluation: running accuracy with bands, and running differences between models."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import plotly.graph_objects as go

from analysis.figures.dynamics import SERIES_COLORS
from analysis.figures.style import REFERENCE, layout

MAX_POINTS = 400  # a curve; more would be finer than the screen


class Band(Protocol):
    """A running mean over items 1 … n with its interval, each (n,)."""

    name: str
    items: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


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
                fill="toself", mode="none", fillcolor=color, opacity=0.16, hoverinfo="skip", showlegend=False,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=x, y=mean.astype(np.float32), mode="lines", name=band.name, line={"color": color, "width": 2},
                customdata=np.stack([low, high], axis=1).astype(np.float32),
                hovertemplate="%{y:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]"
                if difference
                else "%{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]",
            )
        )  # fmt: skip
    layout(figure, "items done", y_title, height=330)
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(rangemode="tozero")
    if difference:
        figure.add_hline(y=0, line={"color": REFERENCE, "width": 1, "dash": "dash"})
        figure.update_yaxes(range=_range(bands, scale))
    else:
        figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


def thinned(count: int) -> np.ndarray:
    """Indices of at most `MAX_POINTS` of so many points, the last among them."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, MAX_POINTS).round().astype(int))


def _range(bands: Sequence[Band], scale: float) -> list[float] | None:
    """What is left to see once the first few items, whose intervals cover everything, are over."""
    ends = [
        scale * np.abs(np.concatenate([band.low[len(band.low) // 8 :], band.high[len(band.high) // 8 :]]))
        for band in bands
    ]
    values = np.concatenate(ends) if ends else np.zeros(0)
    values = values[np.isfinite(values)]
    return None if not len(values) else [-1.1 * float(values.max()) - 0.5, 1.1 * float(values.max()) + 0.5]
