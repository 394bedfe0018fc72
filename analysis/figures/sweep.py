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
_BOTH_HEIGHT = 540  # of differences with the accuracies beneath
_CHANGES = 0.5  # of it that the differences take
_BETWEEN = 0.15  # of it between both
_TOP, _FOOT = 46, 66  # pixels above both, and beneath
_LINE = 17  # pixels of a line of text
_SMALL, _SMALL_LINE, _SHORT = 10, 13, 13  # a small text: its size, pixels of a line, and characters of one
_APART, _CLOSER = 0.25, 0.08  # of the distance of two sparsities, between two marks, where their values are written
_BESIDE = 0.5  # of it at both ends
_NEAR = 3  # points beneath what is drawn, from which on chance is told at the edge
_ALL_NAMED = 2  # sparsities up to which each mark has its value and each difference its interval
_FAINT = 0.18  # opacity of a band
_PLAIN = Look(REFERENCE, "circle")
_WRITTEN = 6  # differences whose estimates are written beside their marks, at most


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


@dataclass(frozen=True)
class Change:
    """Differences of accuracy along sparsities, as shares, with the name of what they are from, such as `minus without
    discount`, and each in words."""

    name: str
    x: np.ndarray
    differences: Sequence[Difference]
    words: Sequence[str]
    look: Look = _PLAIN


@dataclass(frozen=True)
class Line:
    """Mean accuracies of a method along sparsities, (N,) each, as shares. lost: minus dense, whose intervals stand at
    the means; None where they are not known.
    """

    name: str
    x: np.ndarray
    value: np.ndarray
    look: Look
    lost: Change | None = None


def accuracies_and_changes(
    lines: Sequence[Line], changes: Sequence[Change], dense: float, chance: float | None, margin: float
) -> go.Figure:
    """Draw differences along sparsity, and the accuracies beneath, the lines side by side, each on a scale of its own
    over one axis of sparsities, the same for all lines.

    changes: of the last line minus others, each named by that other. margin: half of the band of differences
    that do not matter, a share.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[_CHANGES, 1 - _CHANGES], vertical_spacing=_BETWEEN)
    layout(figure, "", "", _BOTH_HEIGHT, legend=True)
    every = lines[0].x
    distance = float(np.diff(every).min()) if len(every) > 1 else 2 * _AROUND
    is_named = len(every) <= _ALL_NAMED
    apart = (_APART if is_named else _CLOSER) * distance
    shifts = _shifts(len(lines), apart)
    if len(changes) > 1 and len(lines) == len(changes) + 1:  # each difference stands above what it is from
        shifts = [*_shifts(len(changes), 2 * apart), 0.0]
    for line, shift in sorted(zip(lines, shifts, strict=True), key=lambda each: each[1]):
        _add_line(figure, line, shift)
    bottoms, tops = 100 * np.array([_reach(line, dense) for line in lines]).swapaxes(0, 1)  # (lines, sparsities)
    levels = {DENSE_DASH: 100 * dense}
    if chance is not None and 100 * chance > bottoms.min() - _NEAR:
        levels[CHANCE_DASH] = 100 * chance
    below = chance is not None and len(levels) == 1
    low, high = min(bottoms.min(), *levels.values()), max(tops.max(), *levels.values())
    plot_height = _BOTH_HEIGHT - _TOP - _FOOT
    line_height = _LINE * max(high - low, 1.0) / ((1 - _BETWEEN) * (1 - _CHANGES) * plot_height - _LINE * (2.5 + below))
    range_of = [low - line_height * (0.5 + below), high + 2 * line_height]
    look = {"zeroline": False, "showgrid": not is_named, "nticks": 5}
    figure.update_yaxes(range=range_of, **look, row=2, col=1)
    for dash, level in levels.items():
        _across(figure, level, level, "y2", line=grey_line(dash))
    for line, shift, ends in zip(lines, shifts, tops, strict=True) if is_named else ():
        for x, value, end in zip(line.x + shift, line.value, ends, strict=True):
            crossed = [level for level in levels.values() if end < level < end + line_height]
            above = {"y": max([end, *crossed]), "yanchor": "bottom", "yshift": 2}
            figure.add_annotation(text=f"{100 * value:.1f}", x=x, showarrow=False, **above, row=2, col=1)
    if chance is not None:
        at_left = {"xref": "x2 domain", "x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        name, y = f"{'↓ ' * below}chance {100 * chance:.1f}", range_of[0] if below else 100 * chance
        figure.add_annotation(text=name, y=y, yref="y2", **at_left)
    _add_changes(figure, changes, margin, apart, lines[-1].look if is_named else None)
    minus = as_text(changes[0].name) if len(changes) == 1 else "minus the others"
    titles = (f"<b>With discount {minus}, points</b>", f"<b>Accuracy, %</b> (dashed: dense model {100 * dense:.1f})")
    for axis, title in zip(("y", "y2"), titles, strict=True):
        above = {"x": 0, "xref": "x domain", "xanchor": "left", "y": 1, "yref": f"{axis} domain", "yanchor": "bottom"}
        figure.add_annotation(text=title, showarrow=False, **above)
    figure.layout.margin.r, figure.layout.margin.t = 4, _TOP
    figure.layout.legend.y = 1 + _LINE / plot_height  # above the title
    _sparsity_ticks(figure, [every])
    figure.update_xaxes(range=[every[0] - _BESIDE * distance, every[-1] + _BESIDE * distance])
    figure.update_xaxes(showticklabels=True, row=1, col=1)
    figure.update_xaxes(title_text="weights removed (sparsity)", row=2, col=1)
    return figure


def _shifts(count: int, apart: float) -> list[float]:
    """Return where each of as many marks stands beside their sparsity."""
    return [(index - (count - 1) / 2) * apart for index in range(count)]


def _reach(line: Line, dense: float) -> np.ndarray:
    """Return the ends of the intervals that stand at the means, (2, N); the means where they are not known."""
    return np.stack([line.value] * 2) if line.lost is None else dense + ends_of(line.lost.differences)[1:]


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


def _add_line(figure: go.Figure, line: Line, shift: float) -> None:
    """Add the means of a line with the intervals of what is lost. shift: from the sparsities."""
    look, lost = line.look, line.lost
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
    figure.add_trace(means, 2, 1)


def _add_changes(
    figure: go.Figure, changes: Sequence[Change], margin: float, apart: float, named_as: Look | None
) -> None:
    """Add the upper plot: differences in points with their intervals around a band. apart: of two marks in the lower
    plot. named_as: the look of all, each written above its interval, and of several beneath it what it is from; None
    to write the estimates of a few, and name several in the legend, each in its own look."""
    is_named = named_as is not None
    even = {"fillcolor": REFERENCE, "opacity": _FAINT, "line_width": 0, "layer": "below"}
    _across(figure, -100 * margin, 100 * margin, "y", type="rect", **even)
    _across(figure, 0, 0, "y", line=grey_line(width=1))
    ends = [-110 * margin, 110 * margin]
    is_parted = len(changes) > 1
    is_told = is_named or (len(changes) == 1 and len(changes[0].x) <= _WRITTEN)
    for change, shift in zip(changes, _shifts(len(changes), 2 * apart), strict=True):
        value, low, high = ends_of(change.differences, 100)
        look = named_as or change.look
        ends += [*low, *high]
        figure.add_scatter(
            x=change.x + shift,
            y=value,
            mode="markers",
            cliponaxis=False,
            name=as_text(change.name),
            showlegend=is_parted and not is_named,
            marker={"color": look.color, "size": 9, "symbol": look.symbol},
            error_y=interval_bar(value, low, high, width=4),
            customdata=change.words,
            hovertemplate=f"{as_text(change.name)}: %{{customdata}} points<extra></extra>",
            row=1,
            col=1,
        )
        for x, end, words in zip(change.x + shift, high, change.words, strict=True) if is_told else ():
            estimate, _, interval = words.partition(" ")
            text = f"<b>{estimate}</b><br>{interval}" if is_named else estimate
            above = {"y": end, "yanchor": "bottom", "yshift": 1}
            figure.add_annotation(text=text, x=x, showarrow=False, **above, row=1, col=1)
        for x in change.x + shift if is_parted and is_named else ():
            foot = {"xref": "x", "y": 0, "yref": "y domain", "yanchor": "bottom", "font_size": _SMALL}
            figure.add_annotation(text=wrapped(change.name, _SHORT), x=x, showarrow=False, **foot)
    height = (1 - _BETWEEN) * _CHANGES * (_BOTH_HEIGHT - _TOP - _FOOT)
    room = 0.05 * (max(ends) - min(ends))
    low, high = min(ends) - room, max(ends) + room
    told, named = 2 * _LINE * is_told, 2 * _SMALL_LINE * (is_parted and is_named)
    pixel = (high - low) / (height - told - named)
    low, high = low - pixel * named, high + pixel * told
    figure.update_yaxes(range=[low, high], nticks=6, zeroline=False, showgrid=not is_named, row=1, col=1)


def _across(figure: go.Figure, low: float, high: float, axis: str, **look: Any) -> None:
    """Add a line or a band across the plot of a vertical axis."""
    place = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": axis, "y0": low, "y1": high}
    figure.add_shape(**place | look)


_BESIDE_PLOT = {"showarrow": False, "align": "left", "xref": "x domain", "x": 1, "xanchor": "left", "xshift": 5}


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
