"""Figures of tuning the discount: its curve over tokens' sink scores, shifts of feature scores, the course of a search,
and the importance of each parameter.
"""

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
        band = {"fillcolor": REFERENCE, "opacity": 0.25, "line_width": 0, "layer": "below", "showlegend": True}
        figure.add_hrect(*floor, name="another calibration seed", **band)
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
