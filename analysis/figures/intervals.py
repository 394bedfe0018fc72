"""The figure of estimates with their intervals, a row each: levels, differences, and what each seed gives alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    REFERENCE,
    SINK,
    add_notes,
    as_text,
    dots,
    ends,
    ends_of,
    grey_line,
    interval_bar,
    layout,
    series_color,
    wrapped,
)
from analysis.statistics.decisions import POINTS, Unit, interval_words
from analysis.statistics.differences import Difference

# In pixels, as the axis of rows counts them.
_LINE = 17  # of a line of text
_NAMED = 14  # from a name to its first estimate
_NEXT = 16  # to the next of the same name
_AFTER = 16  # from the last to the next name
_LANE, _LANES = 6, 3  # of dots beneath an estimate
_HALF = 9  # of the pieces of a band, above and beneath an estimate
_AXIS = 34  # of the axis, beside the lines of its title
_LEGEND = 40
_TOP = 6

_WIDTH = 44  # characters of a name, which a phone holds
_TITLE = 40  # the same, of the axis
_DOT = 0.02  # of the axis that a dot takes
_WIDER = 8  # times what is near, from which on an interval is cut off at the edge
_FAINT = 0.18  # opacity of a band


@dataclass(frozen=True)
class IntervalRow:
    """An estimate with its interval, in the unit of the axis; low and high are NaN where there is none. words: as it is
    written after its name. group: whose colour it has in the legend, '' for none. color: '' for that of the group.
    filled: significant, or not tested. points: what each seed gives alone. hover: further lines.
    """

    name: str
    value: float
    low: float
    high: float
    words: str = ""
    group: str = ""
    color: str = ""
    filled: bool = True
    points: tuple[float, ...] = ()
    hover: tuple[str, ...] = ()


def difference_row(name: str, difference: Difference, unit: Unit = POINTS, **look: Any) -> IntervalRow:
    """Return a difference as a row, in the unit. look: more of the row."""
    words = interval_words(difference, unit).replace(f" {unit.name}", "")
    return IntervalRow(name, *ends(difference, unit.scale), **{"words": words} | look)


def interval_rows(
    rows: Sequence[IntervalRow],
    x_title: str,
    *,
    even: str | None = None,
    margin: float = 0.0,
    unit: str = "",
    from_zero: bool = False,
    point: str = "one seed",
) -> go.Figure:
    """Draw each estimate with its interval beneath its name; those of one name share it, each in the colour of its
    group.

    even: rows are differences, and this is what 0 is, '' if that needs no name. margin: half of the band around 0 of
    differences that do not matter. unit: after the numbers of the axis. from_zero: begin the axis there. point: what a
    small dot is. Of differences, an interval far wider than all else runs to the edge and ends there in an arrow.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    colors = {group: SINK if len(groups) == 1 else series_color(place) for place, group in enumerate(groups)}
    span = _span(rows, even is not None, margin, from_zero)
    figure, notes, places, y = go.Figure(), list[dict[str, Any]](), list[float](), 0.0
    small: list[tuple[float, float, str]] = []
    named = {"x": 0, "xref": "paper", "xanchor": "left", "align": "left", "yanchor": "top", "showarrow": False}
    if even:
        notes.append({"x": 0, "y": 0, "text": as_text(even), "yanchor": "top", "showarrow": False})
        y += _LINE
    by_name = {row.name: [one for one in rows if one.name == row.name] for row in rows}
    for alike in by_name.values():
        label = _label(alike)
        notes.append({"y": y, "text": label, "xshift": 4, **named})
        y += _LINE * (label.count("<br>") + 1) + _NAMED
        first = y
        for row in alike:
            places.append(y)
            lanes = _lanes(sorted(row.points), _DOT * (span[1] - span[0]))
            color = row.color or colors[row.group]
            seeds = zip(sorted(row.points), lanes, strict=True)
            small += [(seed, y + _LANE * (2 + lane), color) for seed, lane in seeds]
            y += _NEXT + _LANE * (max(lanes) + 1 if lanes else 0)
        y += _AFTER - _NEXT
        ends_at = {"y0": first - _HALF, "y1": y - _AFTER + _HALF, "layer": "below"}
        if margin:  # in pieces, as names stand between the rows
            look = {"fillcolor": REFERENCE, "opacity": _FAINT, "line_width": 0}
            figure.add_shape(type="rect", x0=-margin, x1=margin, **ends_at, **look)
        if even is not None:
            figure.add_shape(type="line", x0=0, x1=0, line=grey_line(), **ends_at)
    ordered = [row for alike in by_name.values() for row in alike]
    for group, color in dict.fromkeys((row.group, row.color or colors[row.group]) for row in rows):
        mine = [
            (row, at)
            for row, at in zip(ordered, places, strict=True)
            if (row.group, row.color or colors[row.group]) == (group, color)
        ]
        _add_estimates(figure, mine, group, color, span)
    if small:
        x, at, shades = zip(*small, strict=True)
        look = {"size": 5, "color": shades, "opacity": 0.7}
        told = f"{point}: %{{x:.3~g}}<extra></extra>"
        figure.add_scatter(x=x, y=at, mode="markers", marker=look, hovertemplate=told, showlegend=False)
    title = wrapped(x_title, _TITLE)
    several = len(groups) > 1
    beneath = _AXIS + _LINE * (title.count("<br>") + 1)
    layout(figure, title, "", round(y + beneath + (_LEGEND if several else _TOP)), legend=several)
    add_notes(figure, notes)
    figure.update_layout(margin={"t": _LEGEND if several else _TOP, "l": 14, "r": 14})
    figure.update_xaxes(zeroline=False, ticksuffix=unit, tickformat="~g", nticks=6, range=list(span))
    figure.update_yaxes(visible=False, range=[y, 0], automargin=False)
    return figure


def way(titles: Sequence[str], points: np.ndarray, x_title: str, floor: float = 0.0) -> go.Figure:
    """Draw a row for each change on the way from one model to another, and the last for the whole way.

    points (N, 3): each difference with the ends of its own interval, around no change; hollow if that holds 0. floor:
    difference of two calibration seeds of the control, in points, as a grey band around no change.
    """
    rows = [
        IntervalRow(
            title, value, low, high, f"{value:+.1f}".replace("-", "−"), "one change", filled=low > 0 or high < 0
        )
        for title, (value, low, high) in zip(titles, np.asarray(points, float).tolist(), strict=True)
    ]
    rows[-1] = replace(rows[-1], group="the whole way")
    return interval_rows(rows, x_title, even="", margin=floor)


def _label(alike: Sequence[IntervalRow]) -> str:
    """Return the name of rows as markup, with the words of a single one, beneath it where the line would be long."""
    name, words = alike[0].name, alike[0].words if len(alike) == 1 else ""
    if len(name) + len(words) <= _WIDTH:
        return f"{as_text(name)} <b>{as_text(words)}</b>" if words else as_text(name)
    return f"{wrapped(name, _WIDTH)}<br><b>{wrapped(words, _WIDTH)}</b>" if words else wrapped(name, _WIDTH)


def _span(rows: Sequence[IntervalRow], around: bool, margin: float, from_zero: bool) -> tuple[float, float]:
    """Return the ends of the axis. around: of differences."""
    near = [*(row.value for row in rows), *(point for row in rows for point in row.points)]
    marks = [0.0] * (around or from_zero) + [-margin, margin] * (margin > 0)
    ends = np.array([*near, *ends_of(rows)[1:].ravel()])
    ends = ends[np.isfinite(ends)]
    reach = _WIDER * max([margin, *map(abs, near)], default=0.0)
    if around and reach:
        ends = np.clip(ends, -reach, reach)
    ends = np.array([*ends, *marks]) if len(ends) else np.array([0.0, 1.0])
    room = 0.06 * float(np.ptp(ends)) or 1.0
    return float(ends.min()) - (0.0 if from_zero else room), float(ends.max()) + room


def _add_estimates(
    figure: go.Figure, rows: Sequence[tuple[IntervalRow, float]], group: str, color: str, span: tuple[float, float]
) -> None:
    """Add rows of one look, each with its place. span: of the axis, at whose ends wider intervals end in arrows."""
    value, low, high = ends_of(row for row, _ in rows)
    y = np.array([at for _, at in rows])
    room = 0.01 * (span[1] - span[0])
    left, right = span[0] + room, span[1] - room
    ends = np.fmax(np.fmin(low, value), left), np.fmin(np.fmax(high, value), right)
    lines = [(row.name, *filter(None, (row.words, *row.hover))) for row, _ in rows]
    figure.add_scatter(
        x=value,
        y=y,
        mode="markers",
        name=as_text(group),
        marker=dots(color, 10, [row.filled for row, _ in rows]),
        error_x=interval_bar(value, *ends, color=color),
        text=["<br>".join(map(as_text, told)) for told in lines],
        hovertemplate="%{text}<extra></extra>",
        cliponaxis=False,
    )
    for cut, edge, symbol in ((low < span[0], left, "triangle-left"), (high > span[1], right, "triangle-right")):
        if cut.any():
            look = {"symbol": symbol, "size": 11, "color": color}
            figure.add_scatter(
                x=np.full(cut.sum(), edge), y=y[cut], mode="markers", marker=look, hoverinfo="skip", showlegend=False
            )


def _lanes(values: Sequence[float], wide: float) -> list[int]:
    """Return for each of sorted values the lane in which its dot, this wide, touches none before it: of `_LANES`, so
    that all can be counted."""
    free, lanes = [-np.inf] * _LANES, []
    for value in values:
        lane = next((lane for lane, end in enumerate(free) if value >= end), int(np.argmin(free)))
        free[lane] = value + wide
        lanes.append(lane)
    return lanes
