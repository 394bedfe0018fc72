"""The figure of estimates with their intervals, a row each: levels, differences, and what each seed gives alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from analysis.figures.interval_layout import (
    EDGE,
    LANE,
    LINE,
    IntervalRow,
    Layout,
    lanes_of,
    lines_of,
    rows_beside_names,
    stacked_rows,
)
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

_AXIS = 34  # of the axis, beside the lines of its title
_LEGEND = 40
_PLOT = 210  # of the axis, the least between names and columns
_TITLE = 40  # characters of a line of the axis' title
_DOT = 0.02  # of the axis that a dot takes
_WIDER = 8  # times what is near, from which on an interval is cut off at the edge
_ROOM = 0.06  # of the axis, at both ends
_LETTER = 5.5  # pixels of a letter of a level's name
FAINT, _GUIDE = 0.18, 0.35  # opacity of a band, and of lines from an estimate to its numbers
_NAMES, _BESIDE = 13, 12  # pixels of the letters, where names stand above rows as on a phone, and at their left


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
    """Draw each estimate with its interval; those of one name in a section share it, each in the colour of its group.

    Names stand above their estimates. Where a page has room, names stand at the left and numbers in columns at the
    right: `layout.meta.wide` holds the width in pixels from which on that holds, what of the layout is different then,
    and each trace's y.

    even: rows are differences, and this is what 0 is, '' if that needs no name. margin: half of the band around 0 of
    differences that do not matter. unit: after the numbers of the axis. from_zero: begin the axis there. point: what a
    small dot is. heading: of the numbers beside each row. Of differences, an interval far wider than all else runs
    to the edge and ends there in an arrow.
    """
    levels = [*levels, *([Level(even, 0.0)] if even is not None else [])]
    span, far = _span(rows, even is not None, margin, from_zero, levels)
    groups = list(dict.fromkeys(row.group for row in rows))
    of_group = {group: SINK if len(groups) == 1 else series_color(place) for place, group in enumerate(groups)}
    colors = [row.color or of_group[row.group] for row in rows]
    lanes = [lanes_of(sorted(row.points), _DOT * (span[1] - span[0])) for row in rows]
    has_head = any(level.name for level in levels)
    in_view = any(level.name for level in levels if level not in far)
    head_lines = has_head + (in_view and bool(far))  # where it is narrow, two names in a line would meet
    stacked, beside = stacked_rows(rows, lanes, head_lines, heading), rows_beside_names(rows, lanes, has_head, heading)
    title, several = wrapped(x_title, _TITLE), len(groups) > 1
    beneath = _AXIS + LINE * (title.count("<br>") + 1)
    traces, wide = (_traces(rows, laid, colors, lanes, span, point) for laid in (stacked, beside))
    shapes, notes = _marks(stacked, levels, far, span, margin, LINE)
    figure = go.Figure(traces)
    top = _LEGEND if several else EDGE
    layout(figure, title, "", round(stacked.foot + beneath + top), legend=several)
    figure.layout.shapes = shapes
    add_notes(figure, notes)
    # A single row is lower than Plotly's least height, which would leave no room between ticks and title.
    figure.update_layout(margin={"t": top, "l": stacked.left, "r": stacked.right}, minreducedheight=2)
    figure.update_xaxes(zeroline=False, ticksuffix=unit, tickformat="~g", nticks=6, range=list(span))
    figure.update_yaxes(visible=False, range=[stacked.foot, 0], automargin=False)
    figure.layout.font.size = _NAMES
    shapes, notes = _marks(beside, levels, far, span, margin)
    changed = {
        "height": round(beside.foot + beneath + top),
        "font": {"size": _BESIDE},
        "shapes": shapes,
        "annotations": notes,
        "margin": figure.layout.margin.to_plotly_json() | {"l": beside.left, "r": beside.right},
        "yaxis": figure.layout.yaxis.to_plotly_json() | {"range": [beside.foot, 0]},
    }
    room = beside.left + beside.right + _PLOT
    figure.layout.meta = {
        "wide": {"from": room, "layout": changed, "y": [np.asarray(trace["y"], float).tolist() for trace in wide]}
    }
    return figure


def _marks(
    laid: Layout,
    levels: Sequence[Level],
    far: Sequence[Level],
    span: tuple[float, float],
    margin: float,
    beneath: float = 0.0,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return bands, levels and guides as shapes, and all texts as notes. beneath: as of `_level_names`."""
    shapes: list[dict[str, Any]] = []
    for top, foot in laid.bands if margin else ():
        look = {"fillcolor": REFERENCE, "opacity": FAINT, "line": {"width": 0}, "layer": "below"}
        shapes.append({"type": "rect", "x0": -margin, "x1": margin, "y0": top, "y1": foot, **look})
    for level in levels:
        pieces = [] if level in far else laid.lines
        if pieces and (level.value - span[0]) / (span[1] - span[0]) >= laid.named:  # it crosses no name
            pieces = [(pieces[0][0], pieces[-1][1])]
        for begin, end in pieces:
            ends_at = {"x0": level.value, "x1": level.value, "y0": begin, "y1": end}
            shapes.append({"type": "line", "line": grey_line(level.dash), "layer": "below", **ends_at})
    for y in laid.guides:
        guide = {"x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y, "layer": "below", "opacity": _GUIDE}
        shapes.append({"type": "line", "line": grey_line(width=1), **guide})
    return shapes, [*laid.notes, *_level_names(levels, far, span, laid, beneath)]


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


def _level_names(
    levels: Sequence[Level], far: Sequence[Level], span: tuple[float, float], laid: Layout, beneath: float
) -> list[dict[str, Any]]:
    """Return the names of levels as notes above all rows, each over the middle of its line unless it would leave the
    figure. beneath: how far below those of far levels others stand."""
    notes = []
    for level in levels:
        if level.name:
            half, place = _LETTER * len(level.name) / 2, _PLOT * (level.value - span[0]) / (span[1] - span[0])
            shift = max(half - place - laid.left, 0) - max(half - (_PLOT - place) - laid.free, 0)
            at = {"x": level.value, "xanchor": "center", "xshift": round(shift)}
            if level in far:
                at = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": 4}
            text = f"← {level.name}" if level in far else level.name
            y = beneath if far and level not in far else 0
            notes.append({"y": y, "text": as_text(text), "yanchor": "top", "showarrow": False, **at})
    return notes


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


def _traces(
    rows: Sequence[IntervalRow],
    laid: Layout,
    colors: Sequence[str],
    lanes: Sequence[Sequence[int]],
    span: tuple[float, float],
    point: str,
) -> list[dict[str, Any]]:
    """Return the estimates, a trace per look, and the small dots beneath them. point: what a dot is."""
    traces = []
    for group, color in dict.fromkeys(zip((row.group for row in rows), colors, strict=True)):
        mine = [at for at, row in enumerate(rows) if (row.group, colors[at]) == (group, color)]
        traces += _estimates([rows[at] for at in mine], [laid.places[at] for at in mine], group, color, span)
    small = [
        (seed, laid.places[at] + LANE * (2 + lane), colors[at])
        for at, row in enumerate(rows)
        for seed, lane in zip(sorted(row.points), lanes[at], strict=True)
    ]
    if small:
        x, y, shades = zip(*small, strict=True)
        look = {"size": 5, "color": shades}
        told = f"{point}: %{{x:.3~g}}<extra></extra>"
        dot = {"x": x, "y": y, "mode": "markers", "marker": look, "hovertemplate": told, "showlegend": False}
        traces.append({"type": "scatter", **dot})
    return traces


def _estimates(
    rows: Sequence[IntervalRow], places: Sequence[float], group: str, color: str, span: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return rows of one look at their places as traces. span: of the axis, at whose ends wider intervals end in
    arrows."""
    value, low, high = ends_of(rows)
    y = np.array(places)
    room = 0.01 * (span[1] - span[0])
    left, right = span[0] + room, span[1] - room
    ends = np.fmax(np.fmin(low, value), np.fmin(left, value)), np.fmin(np.fmax(high, value), np.fmax(right, value))
    told = [[row.name, row.words, *lines_of(row.beside), *row.hover] for row in rows]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": value,
            "y": y,
            "mode": "markers",
            "name": as_text(group),
            "marker": dots(color, 10, [row.filled for row in rows]),
            "error_x": interval_bar(value, *ends, color=color),
            "text": ["<br>".join(map(as_text, filter(None, lines))) for lines in told],
            "hovertemplate": "%{text}<extra></extra>",
            "cliponaxis": False,
        }
    ]
    for cut, edge, symbol in ((low < span[0], left, "triangle-left"), (high > span[1], right, "triangle-right")):
        if cut.any():
            look = {"symbol": symbol, "size": 11, "color": color}
            arrow = {"x": np.full(cut.sum(), edge), "y": y[cut], "mode": "markers", "marker": look}
            traces.append({"type": "scatter", "hoverinfo": "skip", "showlegend": False, **arrow})
    return traces
