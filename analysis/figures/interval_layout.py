"""Places of the rows of a figure of intervals: each name above its estimates, or at their left, numbers in columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from analysis.figures.style import as_text, wrapped

# In pixels, as the axis of rows counts them.
LINE = 17  # of a line of text
_NAMED = 14  # from a name to its first estimate
_NEXT = 16  # to the next of the same name
_AFTER = 16  # from the last to the next name
_SECTION = 8  # above the heading of a section but the first
LANE, _LANES = 6, 3  # of dots beneath an estimate
_HALF = 9  # of a band, above and beneath an estimate
_CLEAR = 2  # from a name to a line
EDGE = 6
_GAP, _LETTER = 12, 5.8  # from the axis to the numbers at its right, and of one of their letters
_NARROW, _NARROW_LETTER = 200, 5.2  # of the axis on a phone, and of a letter of a name above it
_ROW_GAP = 10  # between rows whose names stand at the left
_MOST_BESIDE = 2  # numbers of a row that stand at the right of the axis where it is narrow; more stand beneath its name
_BETWEEN, _LEAST_COLUMN = 16, 10  # between columns of numbers; characters of a title that begins no further line
_NONE = "–"  # in place of a number

_WIDTH = 44  # characters of a name, which a phone holds


@dataclass(frozen=True)
class IntervalRow:
    """An estimate with its interval, in the unit of the axis; low and high are NaN where there is none. words: as it is
    written after its name. group: whose colour it has in the legend, '' for none. color: '' for that of the group.
    filled: significant, or not tested. points: what each seed gives alone. hover: further lines. section: the heading
    above it, once for all rows that follow with the same. held: lines beneath its name. beside: what stands at the
    right of the axis, each in lines or a column of its own, the first bold.
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
    def in_a_line(self) -> bool:
        """Whether its name and its words have room in one line."""
        return not self.words or len(self.name) + len(self.words) <= _WIDTH

    def label(self, in_a_line: bool) -> str:
        """Return its name as markup, with its words. in_a_line: else they stand beneath it."""
        if self.held:
            return "<br>".join((f"<b>{wrapped(self.name, _WIDTH)}</b>", *map(as_text, self.held)))
        if not self.words:
            return wrapped(self.name, _WIDTH)
        if in_a_line:
            return f"{as_text(self.name)} <b>{as_text(self.words)}</b>"
        return f"{wrapped(self.name, _WIDTH)}<br><b>{wrapped(self.words, _WIDTH)}</b>"

    @property
    def left_lines(self) -> list[str]:
        """The lines of its name and of what it holds where they stand at the left."""
        return [*wrap(self.name, _WIDTH), *self.held]


class Layout(NamedTuple):
    """Where all stands, in pixels from the top. places: of the estimates. notes: names and numbers. guides: heights of
    lines along the axis. lines, bands: beginnings and ends of what is drawn along the estimates. foot: the end. left,
    right: of the axis. named: the share of the axis that names reach over, from which on a line crosses none. free:
    pixels at the right of the axis that nothing takes in the first line.
    """

    places: list[float]
    notes: list[dict[str, Any]]
    guides: list[float]
    lines: list[tuple[float, float]]
    bands: list[tuple[float, float]]
    foot: float
    left: int
    right: int
    named: float = 0.0
    free: int = 0


_AT_LEFT = {"x": 0, "xref": "paper", "xanchor": "left", "align": "left", "showarrow": False}
_AT_RIGHT = {"x": 1, "xref": "paper", "xanchor": "left", "align": "left", "showarrow": False}


def stacked_rows(
    rows: Sequence[IntervalRow], lanes: Sequence[Sequence[int]], head_lines: int, heading: Sequence[str]
) -> Layout:
    """Lay out rows with each name above its estimates, and numbers in lines, at the right or, of many, in columns
    beneath the name of a row. head_lines: kept above all.
    """
    lines = [lines_of(row.beside) for row in rows]
    head, y = lines_of(heading), float(LINE * head_lines)
    groups, notes = _by_name(rows), list[dict[str, Any]]()
    in_a_line, columns = all(row.in_a_line for row in rows), None
    if max((len(row.beside) for row in rows), default=0) > _MOST_BESIDE and len(groups) == len(rows):
        columns = _Columns.of(rows, heading, _NARROW_LETTER, _AT_LEFT)
        y += EDGE * bool(head_lines) + LINE * columns.head_lines
        notes += columns.head(y)
        y += _SECTION
        lines, head = [[] for _ in rows], []
    deep, beside = _deep(lanes), LINE * max(map(len, lines), default=0) / 2
    for first_row in rows[:1]:  # whose numbers stand beneath the heading
        above = LINE * (first_row.label(in_a_line).count("<br>") + 1 + bool(first_row.section)) + _NAMED
        y = max(y, LINE * len(head) + beside + EDGE - above)
    section, places = "", [0.0] * len(rows)
    pieces: list[tuple[float, float]] = []
    for alike in groups:
        row = rows[alike[0]]
        if row.section != section:
            y += _SECTION if section else 0
            section = row.section
            notes.append({"y": y, "text": f"<b>{as_text(section)}</b>", "xshift": 4, "yanchor": "top", **_AT_LEFT})
            y += LINE + 2
        label = row.label(in_a_line) if len(alike) == 1 else wrapped(row.name, _WIDTH)
        notes.append({"y": y, "text": label, "xshift": 12 if section else 4, "yanchor": "top", **_AT_LEFT})
        y += LINE * (label.count("<br>") + 1)
        if columns is not None:
            notes += columns.of_row(alike[0], y + LINE / 2)
            y += LINE
        y += _NAMED
        first = y
        for at in alike:
            places[at] = y
            y += _NEXT + deep
        y = max(y + _AFTER - _NEXT, first + beside)
        pieces.append((first - _NAMED + _CLEAR, y - _AFTER + _NAMED - _CLEAR))
    ends = _NAMED - _HALF - _CLEAR  # of a line, beyond a band
    bands = [(begin + ends, end - ends) for begin, end in pieces]
    numbers = [
        {"y": places[at] - beside, "text": _first_bold(told), "yanchor": "top", "xshift": _GAP, **_AT_RIGHT}
        for at, told in enumerate(lines)
        if told
    ]
    if head:
        numbers.append({"y": 0, "text": _first_bold(head), "yanchor": "top", "xshift": _GAP, **_AT_RIGHT})
    widest = max((len(line) for told in (head, *lines) for line in told), default=0)
    right = round(_GAP + _LETTER * widest) if widest else 14
    guides = [places[at] for at, row in enumerate(rows) if row.beside]
    free = _GAP if head else right
    letters = [len(row.name) + (len(row.words) + 1) * (in_a_line and not row.held and bool(row.words)) for row in rows]
    longest = max([*letters, *(len(line) for row in rows for line in (row.section, *row.held))], default=0)
    reach = max(_NARROW_LETTER * longest + 12, 0 if columns is None else columns.width)
    return Layout(places, [*notes, *numbers], guides, pieces, bands, y, 14, right, reach / _NARROW, free)


def rows_beside_names(
    rows: Sequence[IntervalRow], lanes: Sequence[Sequence[int]], has_head: bool, heading: Sequence[str]
) -> Layout:
    """Lay out rows with each name at the left of its estimates, and numbers in columns."""
    deep = _deep(lanes)
    columns = _Columns.of(rows, heading, _LETTER, _AT_RIGHT)
    y = float(max(LINE * max(has_head, columns.head_lines) + _SECTION, EDGE))
    free = -2 * _GAP if columns.titles else _GAP  # no name of a level runs into the first title
    places, notes, bands = [0.0] * len(rows), columns.head(LINE * columns.head_lines), [(y, y)]
    left = _LETTER * max((len(line) for row in rows for line in row.left_lines), default=0) + 2 * _GAP
    section = ""
    for alike in _by_name(rows):
        row = rows[alike[0]]
        if row.section != section:
            y += _SECTION if section else 0
            section = row.section
            text = f"<b>{as_text(section)}</b>"
            notes.append({"y": y, "text": text, "xshift": 4 - left, "yanchor": "top", **_AT_LEFT})
            y += LINE + 2
            bands.append((y, y))
        lines, step = row.left_lines, 2 * _HALF + deep
        reach, named = (len(alike) - 1) * step / 2, LINE * len(lines) / 2
        middle = y + _ROW_GAP / 2 + max(named, reach + _HALF)
        label = _first_bold(lines) if row.held else "<br>".join(map(as_text, lines))
        shift = (12 if section else 4) - left
        notes.append({"y": middle, "text": label, "xshift": shift, "yanchor": "middle", **_AT_LEFT})
        for place, at in enumerate(alike):
            places[at] = middle - reach + place * step
            notes += columns.of_row(at, places[at])
        y = middle + max(named, reach + _HALF + deep) + _ROW_GAP / 2
        bands[-1] = (bands[-1][0], y)
    bands = [(begin, end) for begin, end in bands if begin < end]
    return Layout(places, notes, places, bands, bands, y, round(left), columns.width, free=free)


@dataclass(frozen=True)
class _Columns:
    """Numbers in columns. cells: of each row, of each column. titles: lines of each one's title, none where no column
    has one. starts: of each column, in pixels. width: of all. at: where notes begin."""

    cells: list[list[str]]
    titles: list[list[str]]
    starts: list[float]
    width: int
    at: Mapping[str, Any]

    @classmethod
    def of(
        cls, rows: Sequence[IntervalRow], heading: Sequence[str], letter: float, at: Mapping[str, Any]
    ) -> "_Columns":
        """Return the columns that hold anything. letter: width of one of their letters."""
        cells = [[part.replace("\n", " ") for part in row.beside or (row.words,)] for row in rows]
        count = max(map(len, cells), default=0)
        cells = [[*line, *[""] * (count - len(line))] for line in cells]
        used = [column for column in range(count) if any(line[column] for line in cells)]
        titles, starts, x = [], [], float(_GAP)
        for column in used:
            widest = max(len(line[column]) for line in cells)
            title = heading[column].replace("\n", " ") if column < len(heading) else ""
            titles.append(wrap(title, max(widest, _LEAST_COLUMN)))
            starts.append(x)
            x += letter * max([widest, *map(len, titles[-1])]) + _BETWEEN
        cells = [[line[column] or _NONE * (len(used) > 1) for column in used] for line in cells]
        titles = titles if any(titles) else []
        return cls(cells, titles, starts, round(x - _BETWEEN + EDGE) if used else 14, at)

    @property
    def head_lines(self) -> int:
        """Lines of the tallest title."""
        return max(map(len, self.titles), default=0)

    def head(self, foot: float) -> list[dict[str, Any]]:
        """Return the titles as notes. foot: where they end."""
        return [
            {"y": foot, "text": "<br>".join(map(as_text, lines)), "yanchor": "bottom", "xshift": start, **self.at}
            for lines, start in zip(self.titles, self.starts, strict=False)
            if lines
        ]

    def of_row(self, at: int, y: float) -> list[dict[str, Any]]:
        """Return the numbers of a row as notes, the first bold."""
        return [
            {
                "y": y,
                "text": as_text(cell) if place else f"<b>{as_text(cell)}</b>",
                "yanchor": "middle",
                "xshift": start,
                **self.at,
            }
            for place, (cell, start) in enumerate(zip(self.cells[at], self.starts, strict=True))
            if cell
        ]


def lines_of(parts: Sequence[str]) -> list[str]:
    return [line for part in parts for line in part.split("\n") if line]


def _deep(lanes: Sequence[Sequence[int]]) -> int:
    """Return the height of the dots beneath each estimate."""
    return LANE * max((lane + 1 for taken in lanes for lane in taken), default=0)


def _by_name(rows: Sequence[IntervalRow]) -> list[list[int]]:
    """Return the rows that share a name in their section, by their indices."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault((row.section, row.name), []).append(at)
    return list(found.values())


def _first_bold(lines: Sequence[str]) -> str:
    first, *others = map(as_text, lines)
    return "<br>".join((f"<b>{first}</b>", *others))


def lanes_of(values: Sequence[float], wide: float) -> list[int]:
    """Return for each of sorted values the lane in which its dot, this wide, touches none before it: of `_LANES`, so
    that all can be counted."""
    free, lanes = [-np.inf] * _LANES, []
    for value in values:
        lane = next((lane for lane, end in enumerate(free) if value >= end), int(np.argmin(free)))
        free[lane] = value + wide
        lanes.append(lane)
    return lanes
