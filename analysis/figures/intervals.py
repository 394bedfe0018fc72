"""The figure of estimates with their intervals, a row each: levels, differences, and what each seed gives alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
_SECTION = 8  # above the heading of a section but the first
_LANE, _LANES = 6, 3  # of dots beneath an estimate
_HALF = 9  # of a band, above and beneath an estimate
_CLEAR = 2  # from a name to a line
_AXIS = 34  # of the axis, beside the lines of its title
_LEGEND = 40
_EDGE = 6
_GAP, _LETTER = 12, 6.3  # from the axis to the numbers at its right, and of one of their letters

_WIDTH = 44  # characters of a name, which a phone holds
_TITLE = 40  # the same, of the axis
_DOT = 0.02  # of the axis that a dot takes
_WIDER = 8  # times what is near, from which on an interval is cut off at the edge
_ROOM = 0.06  # of the axis, at both ends
_FAINT, _GUIDE = 0.18, 0.35  # opacity of a band, and of the line from an estimate to its numbers


@dataclass(frozen=True)
class IntervalRow:
    """An estimate with its interval, in the unit of the axis; low and high are NaN where there is none. words: as it is
    written after its name. group: whose colour it has in the legend, '' for none. color: '' for that of the group.
    filled: significant, or not tested. points: what each seed gives alone. hover: further lines. section: the heading
    above it, once for all rows that follow with the same. held: lines beneath its name. beside: lines at the right of
    the axis, the first bold.
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
    section: str = ""
    held: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name as markup, with its words, beneath it where the line would be long."""
        if self.held:
            return "<br>".join((f"<b>{wrapped(self.name, _WIDTH)}</b>", *map(as_text, self.held)))
        if not self.words:
            return wrapped(self.name, _WIDTH)
        if len(self.name) + len(self.words) <= _WIDTH:
            return f"{as_text(self.name)} <b>{as_text(self.words)}</b>"
        return f"{wrapped(self.name, _WIDTH)}<br><b>{wrapped(self.words, _WIDTH)}</b>"


class Level(NamedTuple):
    """A value that all rows are held against, as a line. needed: it is in view; another one that lies far below the
    rows is named at the edge."""

    name: str
    value: float
    dash: str | None = None
    needed: bool = True


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
    levels: Sequence[Level] = (),
    heading: Sequence[str] = (),
) -> go.Figure:
    """Draw each estimate with its interval beneath its name; those of one name in a section share it, each in the
    colour of its group.

    even: rows are differences, and this is what 0 is, '' if that needs no name. margin: half of the band around 0 of
    differences that do not matter. unit: after the numbers of the axis. from_zero: begin the axis there. point: what a
    small dot is. heading: what the lines beside each row are. Of differences, an interval far wider than all else runs
    to the edge and ends there in an arrow.
    """
    levels = [*levels, *([Level(even, 0.0)] if even is not None else [])]
    span, far = _span(rows, even is not None, margin, from_zero, levels)
    groups = list(dict.fromkeys(row.group for row in rows))
    of_group = {group: SINK if len(groups) == 1 else series_color(place) for place, group in enumerate(groups)}
    colors = [row.color or of_group[row.group] for row in rows]
    figure = go.Figure()
    laid = _layout(rows, _DOT * (span[1] - span[0]), any(level.name for level in levels), heading)
    for begin, end in laid.pieces:  # of lines and bands, as names stand between them
        if margin:
            look = {"fillcolor": REFERENCE, "opacity": _FAINT, "line_width": 0, "layer": "below"}
            inset = {"y0": begin + _NAMED - _HALF - _CLEAR, "y1": end - _AFTER + _HALF}
            figure.add_shape(type="rect", x0=-margin, x1=margin, **inset, **look)
        for level in levels:
            if level not in far:
                ends_at = {"x0": level.value, "x1": level.value, "y0": begin, "y1": end}
                figure.add_shape(type="line", line=grey_line(level.dash), layer="below", **ends_at)
    for group, color in dict.fromkeys(zip((row.group for row in rows), colors, strict=True)):
        mine = [at for at, row in enumerate(rows) if (row.group, colors[at]) == (group, color)]
        _add_estimates(figure, [rows[at] for at in mine], [laid.places[at] for at in mine], group, color, span)
    _add_points(figure, rows, laid, colors, point)
    beside = [(row.beside, laid.places[at]) for at, row in enumerate(rows) if row.beside]
    for _, y in beside:
        guide = {"x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y, "layer": "below", "opacity": _GUIDE}
        figure.add_shape(type="line", line=grey_line(width=1), **guide)
    title, several = wrapped(x_title, _TITLE), len(groups) > 1
    beneath = _AXIS + _LINE * (title.count("<br>") + 1)
    layout(figure, title, "", round(laid.foot + beneath + (_LEGEND if several else _EDGE)), legend=several)
    add_notes(figure, [*laid.names, *_level_names(levels, far, span), *_numbers(beside, heading)])
    widest = max((len(line) for lines in (heading, *(lines for lines, _ in beside)) for line in lines), default=0)
    right = round(_GAP + _LETTER * widest) if widest else 14
    figure.update_layout(margin={"t": _LEGEND if several else _EDGE, "l": 14, "r": right})
    figure.update_xaxes(zeroline=False, ticksuffix=unit, tickformat="~g", nticks=6, range=list(span))
    figure.update_yaxes(visible=False, range=[laid.foot, 0], automargin=False)
    return figure


class _Layout(NamedTuple):
    """Where all stands, in pixels from the top. places: of the estimates; lanes: of the dots beneath each. names: as
    notes. pieces: beginnings and ends of what is drawn along the estimates of a name. foot: the end."""

    places: list[float]
    lanes: list[list[int]]
    names: list[dict[str, Any]]
    pieces: list[tuple[float, float]]
    foot: float


def _layout(rows: Sequence[IntervalRow], wide: float, has_head: bool, heading: Sequence[str]) -> _Layout:
    """Lay out rows. wide: of a dot. has_head: a line is kept above all."""
    at_left = {"x": 0, "xref": "paper", "xanchor": "left", "align": "left", "yanchor": "top", "showarrow": False}
    laid = _Layout([0.0] * len(rows), [_lanes(sorted(row.points), wide) for row in rows], [], [], 0.0)
    deep = _LANE * max((lane + 1 for lanes in laid.lanes for lane in lanes), default=0)
    beside = _LINE * max((len(row.beside) for row in rows), default=0) / 2
    y: float = _LINE if has_head else 0.0
    for first_row in rows[:1]:  # whose numbers stand beneath the heading
        above = _LINE * (first_row.label.count("<br>") + 1 + bool(first_row.section)) + _NAMED
        y = max(y, _LINE * (len(heading) + len(first_row.beside) / 2) + _EDGE - above)
    section = ""
    for alike in _by_name(rows):
        row = rows[alike[0]]
        if row.section != section:
            y += _SECTION if section else 0
            section = row.section
            laid.names.append({"y": y, "text": f"<b>{as_text(section)}</b>", "xshift": 4, **at_left})
            y += _LINE + 2
        label = row.label if len(alike) == 1 else wrapped(row.name, _WIDTH)
        laid.names.append({"y": y, "text": label, "xshift": 12 if section else 4, **at_left})
        y += _LINE * (label.count("<br>") + 1) + _NAMED
        first = y
        for at in alike:
            laid.places[at] = y
            y += _NEXT + deep
        y = max(y + _AFTER - _NEXT, first + beside)
        laid.pieces.append((first - _NAMED + _CLEAR, y))
    return laid._replace(foot=y)


def _by_name(rows: Sequence[IntervalRow]) -> list[list[int]]:
    """Return the rows that share a name in their section, by their indices."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault((row.section, row.name), []).append(at)
    return list(found.values())


def _span(
    rows: Sequence[IntervalRow], around: bool, margin: float, from_zero: bool, levels: Sequence[Level]
) -> tuple[tuple[float, float], list[Level]]:
    """Return the ends of the axis, and the levels that are far below them. around: of differences."""
    near = [*(row.value for row in rows), *(point for row in rows for point in row.points)]
    ends = np.array([*near, *ends_of(rows)[1:].ravel()])
    ends = ends[np.isfinite(ends)]
    reach = _WIDER * max([margin, *map(abs, near)], default=0.0)
    if around and reach:
        ends = np.clip(ends, -reach, reach)
    needed = [0.0] * (around or from_zero) + [-margin, margin] * (margin > 0)
    needed += [level.value for level in levels if level.needed]
    ends = np.array([*ends, *needed]) if len(ends) else np.array([0.0, 1.0])
    room = _ROOM * float(np.ptp(ends)) or 1.0
    low, high = float(ends.min()) - (0.0 if from_zero else room), float(ends.max()) + room
    far = [level for level in levels if not level.needed and level.value < low - room]
    least = min([low, *(level.value - room for level in levels if level not in far and not level.needed)])
    return (least, high), far


def _level_names(levels: Sequence[Level], far: Sequence[Level], span: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the names of levels as notes above all rows."""
    notes = []
    for level in levels:
        if level.name:
            to_left = level.value > sum(span) / 2
            at = {"x": level.value, "xanchor": "right" if to_left else "left", "xshift": 10 if to_left else -14}
            if level in far:
                at = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": 4}
            text = f"← {level.name}" if level in far else level.name
            notes.append({"y": 0, "text": as_text(text), "yanchor": "top", "showarrow": False, **at})
    return notes


def _numbers(beside: Sequence[tuple[Sequence[str], float]], heading: Sequence[str]) -> list[dict[str, Any]]:
    """Return what stands at the right of the axis as notes."""
    right = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": _GAP, "align": "left", "showarrow": False}
    notes = [{"y": y, "text": _first_bold(lines), "yanchor": "middle", **right} for lines, y in beside]
    return [*notes, *([{"y": 0, "text": _first_bold(heading), "yanchor": "top", **right}] if heading else [])]


def _first_bold(lines: Sequence[str]) -> str:
    first, *others = map(as_text, lines)
    return "<br>".join((f"<b>{first}</b>", *others))


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


def _add_estimates(
    figure: go.Figure,
    rows: Sequence[IntervalRow],
    places: Sequence[float],
    group: str,
    color: str,
    span: tuple[float, float],
) -> None:
    """Add rows of one look at their places. span: of the axis, at whose ends wider intervals end in arrows."""
    value, low, high = ends_of(rows)
    y = np.array(places)
    room = 0.01 * (span[1] - span[0])
    left, right = span[0] + room, span[1] - room
    ends = np.fmax(np.fmin(low, value), np.fmin(left, value)), np.fmin(np.fmax(high, value), np.fmax(right, value))
    figure.add_scatter(
        x=value,
        y=y,
        mode="markers",
        name=as_text(group),
        marker=dots(color, 10, [row.filled for row in rows]),
        error_x=interval_bar(value, *ends, color=color),
        text=["<br>".join(map(as_text, filter(None, (row.name, row.words, *row.beside, *row.hover)))) for row in rows],
        hovertemplate="%{text}<extra></extra>",
        cliponaxis=False,
    )
    for cut, edge, symbol in ((low < span[0], left, "triangle-left"), (high > span[1], right, "triangle-right")):
        if cut.any():
            look = {"symbol": symbol, "size": 11, "color": color}
            figure.add_scatter(
                x=np.full(cut.sum(), edge), y=y[cut], mode="markers", marker=look, hoverinfo="skip", showlegend=False
            )


def _add_points(
    figure: go.Figure, rows: Sequence[IntervalRow], laid: _Layout, colors: Sequence[str], called: str
) -> None:
    """Add the small dots beneath all estimates."""
    small = [
        (seed, laid.places[at] + _LANE * (2 + lane), colors[at])
        for at, row in enumerate(rows)
        for seed, lane in zip(sorted(row.points), laid.lanes[at], strict=True)
    ]
    if small:
        x, y, shades = zip(*small, strict=True)
        look = {"size": 5, "color": shades, "opacity": 0.7}
        told = f"{called}: %{{x:.3~g}}<extra></extra>"
        figure.add_scatter(x=x, y=y, mode="markers", marker=look, hovertemplate=told, showlegend=False)


def _lanes(values: Sequence[float], wide: float) -> list[int]:
    """Return for each of sorted values the lane in which its dot, this wide, touches none before it: of `_LANES`, so
    that all can be counted."""
    free, lanes = [-np.inf] * _LANES, []
    for value in values:
        lane = next((lane for lane, end in enumerate(free) if value >= end), int(np.argmin(free)))
        free[lane] = value + wide
        lanes.append(lane)
    return lanes
