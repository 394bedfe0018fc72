"""Figures of a search over the discount's parameters: its course, and which of them matter."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import PER_CENT, REFERENCE, SERIES_COLORS, SINK, TOKEN, as_text, grey_line, layout
from analysis.words import percent

_DASHES = ("dash", "dot")


def seed_band(no_discount: float | None, other_seed: float | None) -> tuple[float, float] | None:
    """Return the values no further from no discount than another calibration seed; None if either is unknown."""
    if no_discount is None or other_seed is None:
        return None
    reach = abs(other_seed - no_discount)
    return no_discount - reach, no_discount + reach


def history(
    values: Sequence[float],
    settings: Sequence[str],
    references: Mapping[str, float],
    y_title: str,
    maximise: bool,
    planned: int,
    decimals: int,
    least_height: float,
    floor: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw value by trial (N,), the best so far, and a level per reference by name. settings: each trial in words.

    decimals: of a value in per cent. least_height: of the axis, as a share of the largest value. planned: trials in the
    end, so that the axis stays as the history grows. Trials far worse than the rest, which would flatten it, are
    triangles at the edge; their hover has the value. floor: range of no discount with another calibration seed, a grey
    band.
    """
    numbers, worth = np.arange(len(values)), 100 * np.asarray(values, float)
    references = {name: 100 * level for name, level in references.items()}
    floor = None if floor is None else (100 * floor[0], 100 * floor[1])
    best = (np.maximum if maximise else np.minimum).accumulate(worth)
    low, high = _window(worth, [*references.values(), *(floor or ())], maximise, least_height)
    outside = (worth < low) | (worth > high)
    ends = [0, max(planned, 2) - 1]
    form = f".{decimals}f"
    figure = go.Figure()
    if floor is not None:
        figure.add_hrect(y0=floor[0], y1=floor[1], fillcolor=REFERENCE, opacity=0.25, line_width=0, layer="below")
    for (name, level), dash in zip(references.items(), _DASHES, strict=False):
        figure.add_scatter(
            x=ends,
            y=[level, level],
            name=name,
            mode="lines",
            line=grey_line(dash),
            hovertemplate=f"{name}: %{{y:{form}}}{PER_CENT}<extra></extra>",
        )
    line = {"color": SINK, "width": 2, "shape": "hv"}
    figure.add_scatter(x=numbers, y=best, name="best so far", mode="lines", line=line, hoverinfo="skip")
    figure.add_scatter(
        x=numbers,
        y=np.clip(worth, low, high),
        name="trial",
        mode="markers",
        marker={
            "color": TOKEN,
            "size": 8,
            "line": {"width": 0},
            "symbol": np.where(outside, "triangle-down" if maximise else "triangle-up", "circle"),
        },
        customdata=[
            f"{value:{form}}{PER_CENT}<br>{as_text(words)}" for value, words in zip(worth, settings, strict=True)
        ],
        hovertemplate="trial %{x}: %{customdata}<extra></extra>",
    )
    layout(figure, "trial", y_title, 360)
    figure.update_xaxes(range=[-0.8, ends[1] + 0.8], rangemode="nonnegative")
    margin = 0.06 * (high - low)
    figure.update_yaxes(
        tickformat=f".{max(decimals - 1, 0)}f",
        ticksuffix=PER_CENT,
        exponentformat=None,
        range=[low - margin, high + margin],
    )
    return figure


def _window(worth: np.ndarray, references: Sequence[float], maximise: bool, least_height: float) -> tuple[float, float]:
    """Return the range of values to show: all except those beyond the quartiles on the bad side by 1.5 times their
    distance (Tukey's fences).
    """
    first, third = np.quantile(worth, [0.25, 0.75])
    reach = 1.5 * (third - first)
    inside = worth[worth >= first - reach] if maximise else worth[worth <= third + reach]
    shown = np.concatenate([inside, references])
    low, high = float(shown.min()), float(shown.max())
    least = least_height * max(abs(low), abs(high), 1e-9)
    spare = max(least - (high - low), 0.0) / 2
    return low - spare, high + spare


def importances(shares: Mapping[str, float]) -> go.Figure:
    """Draw a bar for each parameter by name, the most important on top. shares: of a sum of one."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = go.Figure(
        go.Bar(
            x=[100 * shares[name] for name in names],
            y=names,
            orientation="h",
            marker={"color": SERIES_COLORS[0]},
            text=[percent(shares[name], 0) for name in names],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{y}}: %{{x:.1f}}{PER_CENT}<extra></extra>",
        )
    )
    layout(figure, "importance", "", 360)
    figure.update_xaxes(ticksuffix=PER_CENT, range=[0, 112 * max(shares.values(), default=1)])
    return figure
