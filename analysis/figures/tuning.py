"""Figures of tuning the discount: its curve over tokens' sink scores, and shifts of feature scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    PER_CENT,
    REFERENCE,
    SERIES_COLORS,
    SINK,
    TOKEN,
    as_text,
    band,
    cell_texts,
    grey_line,
    layout,
    tick_step,
)
from analysis.words import percent


def discount_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], counts: np.ndarray, threshold: float
) -> go.Figure:
    """Draw ω over z. curves: name -> z, low, median and high (Z,) each, the first the setting's; counts (Z − 1,) of
    tokens between two z of the first, as bars on a log axis of their own. threshold: k.
    """
    z = next(iter(curves.values()))[0]
    figure = go.Figure(
        go.Bar(
            x=(z[:-1] + z[1:]) / 2,
            y=counts,
            yaxis="y2",
            name="tokens",
            marker={"color": REFERENCE, "opacity": 0.45},
            hovertemplate="z ≈ %{x:.2f}<br>%{y:,} tokens<extra></extra>",
        )
    )
    for (name, (grid, low, median, high)), color in zip(curves.items(), (SINK, TOKEN), strict=False):
        figure.add_trace(band(grid, low, high, color, 0.2))
        figure.add_scatter(
            x=grid,
            y=median,
            name=as_text(name),
            mode="lines",
            line={"color": color, "width": 2.5},
            hovertemplate="z = %{x:.2f}<br>ω = %{y:.3f}<extra></extra>",
        )
    figure.add_vline(x=threshold, line=grey_line("dash", 1))
    layout(figure, "z: standard deviations above the mean attention mass", "token weight ω", 340)
    figure.update_layout(
        bargap=0,
        # The curve lies over the bars; an axis that does takes its ticks from the other unless told.
        yaxis={"range": [-0.03, 1.05], "overlaying": "y2", "tickmode": "linear", "dtick": 0.2},
        yaxis2={"side": "right", "type": "log", "dtick": 1, "title": "tokens", "showgrid": False},
    )
    return figure


def spread_lines(spread: np.ndarray) -> np.ndarray | None:
    """Return each cell's interval as a line for its hover; None if every row is stored and there is none."""
    return cell_texts(lambda value: f"± {percent(value, 3)} (95 %)", spread) if (spread > 0).any() else None


def score_shifts(
    quantiles: Sequence[Mapping[str, np.ndarray]], names: Mapping[str, str], reach: tuple[float, float] | None = None
) -> go.Figure:
    """Draw a box per input and layer, of the 1st, 25th, 50th, 75th and 99th percentile (5,) of its features' shifts.

    names: input -> its name. reach: ends of the axis, to compare figures.
    """
    figure = go.Figure()
    for (given, name), color in zip(names.items(), SERIES_COLORS, strict=False):
        points = 100 * np.array([layer[given] for layer in quantiles])
        figure.add_box(
            x=np.arange(len(points)),
            **dict(zip(("lowerfence", "q1", "median", "q3", "upperfence"), points.T, strict=True)),
            name=as_text(name),
            marker={"color": color},
            line={"width": 1.2},
        )
    layout(figure, "layer", "feature score, relative shift", 380)
    figure.update_layout(boxmode="group")
    figure.update_xaxes(dtick=tick_step(len(quantiles)))
    ends = None if reach is None else [100 * end for end in reach]
    figure.update_yaxes(tickformat=".1~f", ticksuffix=PER_CENT, range=ends)
    return figure
