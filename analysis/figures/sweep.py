"""Figures of a sweep: accuracy against sparsity or size, differences with their intervals, and maps of two axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import (
    FLAT_BAR,
    MASS_SCALE,
    PER_CENT,
    REFERENCE,
    Look,
    as_text,
    band,
    dots,
    ends_of,
    flat_color_bar,
    grey_line,
    interval_bar,
    layout,
    looks_by_method,
    wrapped,
    write_cells,
)
from analysis.statistics.differences import Difference
from analysis.words import percent

DENSE_DASH, CHANCE_DASH = "dash", "dot"
_HEIGHT = 360
_DELTA_HEIGHT = 300
_CELL = 34  # pixels a row of a map
_NAME = 56  # pixels beside a plot, for the names of its levels
_NAMED_SPARSITIES = 12  # up to this many each has a tick
_AROUND = 0.05  # of sparsity that is shown on both sides of a single one
_CLOSE = 0.1  # two levels whose names would lie upon each other
_BOTH_HEIGHT = 440  # of accuracies with their differences beneath
_UPPER = 0.58  # of it that the accuracies take
_BETWEEN = 0.13  # of it between both
_BESIDE = 122  # pixels at the right, for the names of lines
_LINE = 17  # pixels of a name
# Of the distance of two sparsities:
_APART = 0.17  # between two series
_SEEDS = 0.07  # from a mean to its seeds
_ROOM = 0.28  # on both sides of the axis
_FAINT = 0.18  # opacity of a band
_GAP = "\N{NO-BREAK SPACE}" * 2  # between a mark and its number
_WRITTEN = 6  # differences of a line whose values are written beside their marks, at most


@dataclass(frozen=True)
class Curve:
    """Accuracies along an axis, (N,) each, as shares. x: where; mean over seeds; low, high: the seeds' range, equal to
    the mean for one seed; seeds: how many. method: whose colour it has. reference: of another's table, drawn dotted
    and open.
    """

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: np.ndarray
    method: str = ""
    reference: bool = False


@dataclass(frozen=True)
class Delta:
    """Differences along an axis, one per x, as shares. shown: of a difference that is significant, drawn full, else
    hollow. words: what each shows. method: whose colour it has.
    """

    name: str
    x: Sequence[float]
    differences: Sequence[Difference]
    shown: Sequence[bool]
    words: Sequence[str]
    method: str = ""


Seeds = Sequence[Sequence[float] | np.ndarray]
"""Values of each calibration seed, at each sparsity."""


@dataclass(frozen=True)
class Change:
    """Differences of accuracy along sparsities, as shares, with the name of what they are of and each in words."""

    name: str
    x: np.ndarray
    differences: Sequence[Difference]
    words: Sequence[str]


@dataclass(frozen=True)
class Line:
    """Mean accuracies of a method along sparsities, (N,) each, as shares. seeds: of each calibration seed. lost: minus
    dense, whose intervals stand at the means.
    """

    name: str
    x: np.ndarray
    value: np.ndarray
    seeds: Seeds
    look: Look
    lost: Change | None = None


def accuracies_and_change(
    lines: Sequence[Line], gained: Change, dense: float, chance: float | None, margin: float, color: str
) -> go.Figure:
    """Draw accuracy along sparsity, the lines side by side, and what the discount changes beneath, each on a scale of
    its own over one axis of sparsities, the same for all lines.

    gained: with minus without the discount. margin: half of the band of differences that do not matter, a share. color:
    of the change.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[_UPPER, 1 - _UPPER], vertical_spacing=_BETWEEN)
    layout(figure, "", "", _BOTH_HEIGHT, legend=False)
    every, shift = gained.x, 0.0
    distance = float(np.diff(every).min()) if len(every) > 1 else 2 * _AROUND
    names = [("dense model", dense, REFERENCE)]
    for index, line in enumerate(lines):
        shift = (index + 0.5 - len(lines) / 2) * _APART + _SEEDS / 2
        _add_line(figure, line, shift * distance, (shift - _SEEDS) * distance)
        names.append((line.name, float(line.value[-1]), line.look.color))
    written = len(every) <= _WRITTEN
    for at in range(len(every) - 1) if written else ():  # the last are written with the names
        _add_numbers(figure, lines, at, every[at] + shift * distance)
    shown = [line.value for line in lines]
    shown += [np.asarray(seeds, float) for line in lines for seeds in line.seeds]
    shown += [dense + ends for line in lines if line.lost for ends in ends_of(line.lost.differences)[1:]]
    ends = np.concatenate([*shown, [level for _, level, _ in names]])
    ends = 100 * ends[np.isfinite(ends)]
    low, high = float(ends.min()) - 3, float(ends.max()) + 3
    beneath = chance is not None and 100 * chance < low
    if chance is not None:
        names.append(("↓ chance" if beneath else "chance", chance, REFERENCE))
    if beneath:  # room for its name
        low -= _LINE * (high - low) / (_UPPER * _BOTH_HEIGHT - 2 * _LINE)
    for level, dash in ((dense, DENSE_DASH), (None if beneath else chance, CHANCE_DASH)):
        if level is not None:
            _across(figure, 100 * level, 100 * level, "y", line=grey_line(dash))
    figure.update_yaxes(
        range=[low, high], ticksuffix=PER_CENT, zeroline=False, showgrid=not written, nticks=5, row=1, col=1
    )
    pixel = (high - low) / (_UPPER * (_BOTH_HEIGHT - 60))
    places = _spread([max(100 * level, low) for _, level, _ in names], _LINE * pixel)
    for (name, level, of), place in zip(names, places, strict=True):
        _name_beside(figure, f"{as_text(name)} {percent(level, 1)}", place, of)
    _add_change(figure, gained, margin, color)
    for axis, title in (("y", "Accuracy"), ("y2", "Change by the discount, points")):
        above = {"x": 0, "xref": "x domain", "xanchor": "left", "y": 1, "yref": f"{axis} domain", "yanchor": "bottom"}
        figure.add_annotation(text=f"<b>{title}</b>", showarrow=False, **above)
    figure.layout.margin.r, figure.layout.margin.t = _BESIDE, 24
    figure.update_xaxes(range=[every[0] - _ROOM * distance, every[-1] + _ROOM * distance])
    _sparsity_ticks(figure, [every])
    figure.update_xaxes(title_text="weights removed (sparsity)", row=2, col=1)
    return figure


def accuracy(curves: Sequence[Curve], x_title: str, dense: float | None, chance: float | None) -> go.Figure:
    """Draw one line per curve with a dot per point, and a band over its seeds; the dense and the chance level as
    lines.
    """
    figure = go.Figure()
    for curve, (color, symbol) in zip(curves, _looks(curves), strict=True):
        x = np.asarray(curve.x, np.float32)
        mean, low, high = 100 * np.array([curve.mean, curve.low, curve.high], np.float32)
        if (high > low).any():
            figure.add_trace(band(x, low, high, color))
        seeds = " (%{customdata[2]:d} seeds, %{customdata[0]:.1f} to %{customdata[1]:.1f} %)"
        figure.add_scatter(
            x=x,
            y=mean,
            mode="lines+markers",
            name=as_text(curve.name),
            line={"color": color, "width": 2, "dash": CHANCE_DASH if curve.reference else "solid"},
            marker={"size": 8, "symbol": f"{symbol}-open" if curve.reference else symbol},
            customdata=np.stack([low, high, np.asarray(curve.seeds, np.float32)], axis=1),
            hovertemplate=f"%{{y:.1f}}{PER_CENT}{'' if curve.reference else seeds}",
        )
    layout(figure, wrapped(x_title, 34), "accuracy", _HEIGHT, legend=True)
    figure.update_yaxes(ticksuffix=PER_CENT)
    _sparsity_ticks(figure, [curve.x for curve in curves])
    _add_levels(figure, dense, chance)
    return figure


def deltas(comparisons: Sequence[Delta]) -> go.Figure:
    """Draw differences in points with their intervals around zero, by sparsity."""
    figure = go.Figure()
    for index, (delta, look) in enumerate(zip(comparisons, _looks(comparisons), strict=True)):
        shift = 0.004 * (index - (len(comparisons) - 1) / 2)  # side by side where they share a sparsity
        ends = ends_of(delta.differences, 100)
        figure.add_scatter(
            x=(np.asarray(delta.x) + shift).astype(np.float32),
            y=ends[0].astype(np.float32),
            mode="markers",
            name=as_text(delta.name),
            marker=dots(look.color, 10, delta.shown, look.symbol),
            error_y=interval_bar(*ends, width=4),
            text=[as_text(words) for words in delta.words],
            hovertemplate="%{text}<extra></extra>",
        )
    layout(figure, "sparsity", "difference of accuracy (points)", _DELTA_HEIGHT, legend=True)
    figure.add_hline(y=0, line=grey_line(DENSE_DASH))
    figure.update_yaxes(zeroline=False)
    _sparsity_ticks(figure, [each.x for each in comparisons])
    return figure


def grid_map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], x: str, y: str, bar: str, whole: bool = False
) -> go.Figure:
    """Draw shares (rows, columns) as a map with numbers in its cells; NaN if there is none yet. whole: colours run from
    0 to 100 %, else from the lowest to the highest shown.
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
            colorbar=flat_color_bar(f"{bar}, %"),
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


def _add_line(figure: go.Figure, line: Line, shift: float, seeds_shift: float) -> None:
    """Add the means of a line with the intervals of what is lost, and beside them a faint dot for each calibration
    seed. shift, seeds_shift: from the sparsities.
    """
    look, lost = line.look, line.lost
    seeds = go.Scatter(
        x=np.repeat(line.x + seeds_shift, [len(each) for each in line.seeds]),
        y=100 * np.concatenate([np.zeros(0), *(np.asarray(each, float) for each in line.seeds)]),
        mode="markers",
        name="one seed",
        marker={"color": look.color, "size": 6, "opacity": 0.5},
        hovertemplate=f"one seed: %{{y:.1f}}{PER_CENT}<extra></extra>",
    )
    told = "" if lost is None else f"<br>{as_text(lost.name)}: %{{customdata}}"
    means = go.Scatter(
        x=line.x + shift,
        y=100 * np.asarray(line.value, float),
        mode="lines+markers" if len(line.x) > 2 else "markers",  # two points are no trend
        name=as_text(line.name),
        line={"color": look.color, "width": 1.5, "dash": "dot"},  # nothing is measured between the sparsities
        marker={"color": look.color, "size": 9, "symbol": look.symbol},
        error_y=None if lost is None else interval_bar(*ends_of(lost.differences, 100), width=4),
        customdata=None if lost is None else lost.words,
        hovertemplate=f"{as_text(line.name)}: %{{y:.1f}}{PER_CENT}{told}<extra></extra>",
    )
    for trace in (seeds, means) if any(len(each) > 1 for each in line.seeds) else (means,):
        figure.add_trace(trace, 1, 1)


def _add_numbers(figure: go.Figure, lines: Sequence[Line], at: int, x: float) -> None:
    """Write the means at a sparsity one below the other, at the right of their marks, in their colours. at: its place.
    x: of the last mark.
    """
    means = [(100 * float(line.value[at]), line.look.color) for line in lines]
    written = [
        f"{mean:.1f}" if color == REFERENCE else f'<span style="color:{color}">{mean:.1f}</span>'
        for mean, color in sorted(means, reverse=True)
    ]
    place = {"xref": "x", "x": x, "xanchor": "left", "xshift": 8, "yref": "y", "y": max(means)[0], "yanchor": "top"}
    figure.add_annotation(text="<br>".join(written), showarrow=False, align="left", yshift=8, **place)


def _add_change(figure: go.Figure, change: Change, margin: float, color: str) -> None:
    """Add the lower plot: differences in points with their intervals around a band."""
    even = {"fillcolor": REFERENCE, "opacity": _FAINT, "line_width": 0, "layer": "below"}
    _across(figure, -100 * margin, 100 * margin, "y2", type="rect", **even)
    _across(figure, 0, 0, "y2", line=grey_line(width=1))
    value, low, high = ends_of(change.differences, 100)
    figure.add_scatter(
        x=change.x,
        y=value,
        mode="markers+text" if len(value) <= _WRITTEN else "markers",
        text=[f"{_GAP}{words}" for words in change.words],
        textposition="top right",
        cliponaxis=False,
        name=as_text(change.name),
        marker={"color": color, "size": 10, "symbol": "diamond"},
        error_y=interval_bar(value, low, high, width=4),
        customdata=change.words,
        hovertemplate=f"{as_text(change.name)}: %{{customdata}} points<extra></extra>",
        row=2,
        col=1,
    )
    ends = [-150 * margin, 150 * margin, *low, *high]
    room = 0.05 * (max(ends) - min(ends))
    figure.update_yaxes(range=[min(ends) - room, max(ends) + room], nticks=5, zeroline=False, row=2, col=1)


def _across(figure: go.Figure, low: float, high: float, axis: str, **look: Any) -> None:
    """Add a line or a band across the plot of a vertical axis."""
    place = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": axis, "y0": low, "y1": high}
    figure.add_shape(**place | look)


_BESIDE_PLOT = {"showarrow": False, "align": "left", "xref": "x domain", "x": 1, "xanchor": "left", "xshift": 5}


def _name_beside(figure: go.Figure, text: str, y: float, color: str) -> None:
    """Add a name at the right of the upper plot, in its colour; in that of all text where that is the grey of
    references.
    """
    font = None if color == REFERENCE else {"color": color}
    figure.add_annotation(text=text, font=font, **_BESIDE_PLOT, yref="y", y=y, yanchor="middle")


def _spread(values: Sequence[float], least: float) -> list[float]:
    """Return values moved apart, in their order, so that no two are closer than `least`; about where they were."""
    from scipy.optimize import isotonic_regression

    order, apart = np.argsort(values, kind="stable"), least * np.arange(len(values))
    moved = np.empty(len(values))
    moved[order] = isotonic_regression(np.asarray(values, float)[order] - apart).x + apart
    return moved.tolist()


def _looks(drawn: Sequence[Curve | Delta]) -> list[Look]:
    """Return a look for each series; those of one name look alike."""
    methods = {series.name: series.method for series in drawn}
    looks = dict(zip(methods, looks_by_method(list(methods.values())), strict=True))
    return [looks[series.name] for series in drawn]


def _sparsity_ticks(figure: go.Figure, sparsities: Sequence[np.ndarray | Sequence[float]]) -> None:
    """Set ticks at the sparsities measured, or at round ones if there are many."""
    measured = np.unique(np.concatenate([np.zeros(0), *sparsities]))
    if len(measured) <= _NAMED_SPARSITIES:
        figure.update_xaxes(tickmode="array", tickvals=measured, ticktext=[percent(each) for each in measured])
    if len(measured) == 1:
        figure.update_xaxes(range=[measured[0] - _AROUND, measured[0] + _AROUND])


def _add_levels(figure: go.Figure, dense: float | None, chance: float | None) -> None:
    """Draw lines across the plot, each with its name beside its end, where no grid line and no curve crosses it."""
    close = dense is not None and chance is not None and abs(dense - chance) < _CLOSE
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
