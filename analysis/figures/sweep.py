"""Figures of a sweep: accuracy against sparsity or size, and maps of two axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    FLAT_BAR,
    MASS_SCALE,
    PER_CENT,
    Look,
    as_text,
    band,
    flat_color_bar,
    grey_line,
    interval_bar,
    layout,
    looks_by_method,
    wrapped,
    write_cells,
)
from analysis.words import percent

DENSE_DASH, CHANCE_DASH = "dash", "dot"
_HEIGHT = 360
_CELL = 34  # pixels a row of a map
_NAME = 56  # pixels beside a plot, for the names of its levels
_NAMED_SPARSITIES = 12  # up to this many each has a tick
_AROUND = 0.05  # of sparsity that is shown on both sides of a single one
_APART = 0.06  # of the axis, from one curve to the next where they are drawn apart
_FEW = 3  # points of a curve, up to which nothing joins them where they are drawn apart
_LOW = 0.25  # of what is drawn, up to which a level's name takes the foot of the plot
_LINE = 52  # letters of names that fit a line of a phone
_SIGNS = {"circle": "●", "diamond": "◆", "square": "■", "triangle-up": "▲", "cross": "✚", "star": "★", "hexagon": "⬢"}
_CLOSE = 0.1  # two levels whose names would lie upon each other


@dataclass(frozen=True)
class Curve:
    """Accuracies along an axis, (N,) each, as shares. x: where; mean over seeds; low, high: the seeds' range, equal to
    the mean for one seed, or an interval; seeds: how many. method: whose colour it has, but for a color. reference: of
    another's table, drawn dotted and open.
    """

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: np.ndarray
    method: str = ""
    reference: bool = False
    color: str = ""


def accuracy(
    curves: Sequence[Curve], x_title: str, dense: float | None, chance: float | None, intervals: bool = False
) -> go.Figure:
    """Draw one line per curve with a dot per point, and a band over its seeds; the dense and the chance level as
    lines. intervals: draw a bar for each instead of the band, and the curves a little apart.
    """
    figure = go.Figure()
    every = np.concatenate([curve.x for curve in curves])
    apart = _APART * (np.ptp(every) or _AROUND) if intervals else 0.0
    for place, (curve, (color, symbol)) in enumerate(zip(curves, _looks(curves), strict=True)):
        x = np.asarray(curve.x, np.float32)
        mean, low, high = 100 * np.array([curve.mean, curve.low, curve.high], np.float32)
        if (high > low).any() and not intervals:
            figure.add_trace(band(x, low, high, color))
        seeds = " (%{customdata[2]:d} seeds, %{customdata[0]:.1f} to %{customdata[1]:.1f} %)"
        figure.add_scatter(
            x=x + apart * (place - (len(curves) - 1) / 2),
            error_y=interval_bar(mean, low, high) if intervals else None,
            y=mean,
            mode="markers" if intervals and len(x) <= _FEW else "lines+markers",
            name=as_text(curve.name),
            line={"color": color, "width": 2, "dash": CHANCE_DASH if curve.reference else "solid"},
            marker={"size": 8, "symbol": f"{symbol}-open" if curve.reference else symbol},
            customdata=np.stack([low, high, np.asarray(curve.seeds, np.float32)], axis=1),
            hovertemplate=f"%{{y:.1f}}{PER_CENT}{'' if curve.reference else seeds}",
        )
    layout(figure, wrapped(x_title, 34), "accuracy", _HEIGHT, legend=True)
    figure.update_yaxes(ticksuffix=PER_CENT)
    _sparsity_ticks(figure, [curve.x for curve in curves])
    drawn = np.concatenate(
        [*(each for curve in curves for each in (curve.low, curve.high)), [dense or curves[0].low[0]]]
    )
    span = float(np.ptp(drawn))
    if not span:
        figure.update_yaxes(rangemode="tozero")  # else it spans two points around the one accuracy
    far = chance is not None and bool(drawn.min() - chance > span > 0)
    _add_levels(figure, dense, chance, far, low=bool(dense is not None and dense - drawn.min() < _LOW * span))
    if intervals and sum(len(curve.name) for curve in curves) <= _LINE:
        _name_in_a_line(figure, curves)
    return figure


def _name_in_a_line(figure: go.Figure, curves: Sequence[Curve]) -> None:
    """Name the curves in a line of the whole figure's width; a legend is as wide as the plot."""
    named = [
        f'<span style="color:{color}">{_SIGNS[symbol]}</span> {as_text(curve.name)}'
        for curve, (color, symbol) in zip(curves, _looks(curves), strict=True)
    ]
    look = {"showarrow": False, "xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right"}
    figure.add_annotation(text="\u2003".join(named), xshift=figure.layout.margin.r, yshift=8, yanchor="bottom", **look)
    figure.layout.showlegend = False


def grid_map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], x: str, y: str, whole: bool = False
) -> go.Figure:
    """Draw accuracies (rows, columns) as a map with numbers in its cells; NaN if there is none yet. whole: colours run
    from 0 to 100 %, else from the lowest to the highest shown.
    """
    values = 100 * np.asarray(values, np.float32)
    text = [["" if not np.isfinite(cell) else f"{cell:.1f}" for cell in row] for row in values]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[as_text(name) for name in columns],
            y=[wrapped(name, 14) for name in rows],
            text=text,
            texttemplate="%{text}",
            colorscale=MASS_SCALE,
            zmin=0 if whole else None,
            zmax=100 if whole else None,
            colorbar=flat_color_bar("accuracy, %"),
            hovertemplate=f"%{{y}}<br>%{{x}}<br>%{{z:.1f}}{PER_CENT}<extra></extra>",
            hoverongaps=False,
            xgap=1,
            ygap=1,
        )
    )
    layout(figure, x, y, 110 + FLAT_BAR + _CELL * len(rows))
    figure.layout.margin.t = FLAT_BAR
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category", title_standoff=18)  # names of tasks have two lines where they are long
    return write_cells(figure)


def _across(figure: go.Figure, low: float, high: float, axis: str, **look: Any) -> None:
    """Add a line or a band across the plot of a vertical axis."""
    place = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": axis, "y0": low, "y1": high}
    figure.add_shape(**place | look)


_BESIDE_PLOT = {"showarrow": False, "align": "left", "xref": "x domain", "x": 1, "xanchor": "left", "xshift": 5}


def _looks(drawn: Sequence[Curve]) -> list[Look]:
    """Return a look for each series; those of one name look alike."""
    methods = {series.name: series.method for series in drawn}
    looks = dict(zip(methods, looks_by_method(list(methods.values())), strict=True))
    return [Look(series.color or looks[series.name].color, looks[series.name].symbol) for series in drawn]


def _sparsity_ticks(figure: go.Figure, sparsities: Sequence[np.ndarray | Sequence[float]]) -> None:
    """Set ticks at the sparsities measured, or at round ones if there are many."""
    measured = np.unique(np.concatenate([np.zeros(0), *sparsities]))
    if len(measured) <= _NAMED_SPARSITIES:
        figure.update_xaxes(tickmode="array", tickvals=measured, ticktext=[percent(each) for each in measured])
    if len(measured) == 1:
        figure.update_xaxes(range=[measured[0] - _AROUND, measured[0] + _AROUND])


def _add_levels(figure: go.Figure, dense: float | None, chance: float | None, far: bool, low: bool = False) -> None:
    """Draw lines across the plot, each with its name beside its end, where no grid line and no curve crosses it. far:
    chance lies so far below the curves that it is named alone, at the foot of the plot or, where the dense level is as
    low, beneath."""
    close = dense is not None and chance is not None and abs(dense - chance) < _CLOSE
    if far and chance is not None:
        foot = {"yref": "y domain", "y": 0, "yanchor": "top" if low else "bottom", "yshift": -14 if low else 0}
        figure.add_annotation(text=f"chance ↓<br>{percent(chance, 1)}", **_BESIDE_PLOT | {"xshift": 4}, **foot)
        figure.layout.margin.r = _NAME
        chance = None
    for name, level, dash in (("dense", dense, DENSE_DASH), ("chance", chance, CHANCE_DASH)):
        if level is None:
            continue
        _across(figure, 100 * level, 100 * level, "y", line=grey_line(dash))
        figure.add_annotation(
            text=f"{name}<br>{percent(level, 1)}",
            yanchor="middle" if not close else "bottom" if level == max(dense or 0, chance or 0) else "top",
            **_BESIDE_PLOT | {"xshift": 4},
            yref="y",
            y=100 * level,
        )
        figure.layout.margin.r = _NAME
