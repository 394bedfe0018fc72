"""Figures of an evaluation: accuracy and differences as items come in, differences at a glance, and step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.evaluation.curves import RunningMean
from analysis.figures.causes import effect_intervals
from analysis.figures.style import (
    PER_CENT,
    REFERENCE,
    as_text,
    band,
    dots,
    ends_of,
    grey_line,
    interval_bar,
    layout,
    name_rows_above,
    named_ticks,
    shorten,
    wrapped,
)
from analysis.words import p_words, percent

ONE_COLUMN = 4  # most panels in one column
PANEL = 128  # pixels of a panel's height
TITLE = 48  # characters of a panel's title
MAX_POINTS = 400  # a curve; more would be finer than the screen
_WIDER = 8  # times what is near, from which on an interval is cut off at the edge
_BENEATH = 0.24  # of the distance of two rows: offset of the seeds beneath their row
_FAINT = 0.18  # opacity of a band
_ROW = 56  # pixels
_LEVEL = 44  # the same, of an accuracy
_UNDER = 0.19  # offset of an accuracy's seeds
_HALF_BAND = 0.18  # of a row: the band around no change, on both sides of its line
_DOT, _LANE, _LANES = 0.02, 0.08, 3  # of a seed: its width as part of the axis, and lanes, as part of a row


def running(
    bands: Sequence[RunningMean],
    colors: Sequence[str],
    y_title: str,
    difference: bool = False,
    chance: float | None = None,
) -> go.Figure:
    """Draw one panel per model, its line and band over the items done, with the others' lines faint behind it.

    difference: around a zero line, in points. chance: the accuracy of choosing at random, as a dotted line. All panels
    share both axes.
    """
    columns = 1 if len(bands) <= ONE_COLUMN else 2
    rows = max(1, -(-len(bands) // columns))
    height = 60 + PANEL * rows
    figure = make_subplots(
        rows,
        columns,
        shared_xaxes="all",
        shared_yaxes="all",
        vertical_spacing=26 / height if rows > 1 else 0,
        horizontal_spacing=0.03,
        subplot_titles=[shorten(band.name, TITLE) for band in bands] or None,
    )
    layout(figure, "", "", height, legend=False)
    begun = [one for one in bands if len(one.items)]
    for place, (one, color) in enumerate(zip(bands, colors, strict=True)):
        if len(one.items):
            x, _, low, high = _ends(one, difference)
            traces = [_line(other, REFERENCE, difference) for other in begun if other is not one]
            traces += [band(x, low, high, color, 0.2), _line(one, color, difference, told=True)]
            for trace in traces:
                figure.add_trace(trace, place // columns + 1, place % columns + 1)
    figure.update_annotations(font_size=13, yshift=-2)
    figure.update_layout(hovermode="x", margin_t=30)
    figure.update_xaxes(rangemode="tozero")
    for column in range(columns):
        last = max(place for place in range(max(len(bands), 1)) if place % columns == column or place == 0)
        figure.update_xaxes(
            title_text="items done per task", showticklabels=True, row=last // columns + 1, col=column + 1
        )
    figure.update_yaxes(title_text=y_title, col=1, title_standoff=8)
    if difference:
        figure.add_hline(y=0, line=grey_line("dash", 1))
        figure.update_yaxes(range=_range(bands))
    else:
        figure.update_yaxes(range=_shares(bands, chance), ticksuffix=PER_CENT)
        if chance is not None and begun:
            figure.add_hline(y=100 * chance, line=grey_line("dot"))
            figure.add_annotation(
                x=1,
                xref="x domain",
                y=100 * chance,
                yref="y",
                text=f"chance {percent(chance, 0)}",
                showarrow=False,
                xanchor="right",
                yanchor="bottom",
                font={"size": 11},
            )
    return figure


def _ends(running: RunningMean, difference: bool) -> tuple[np.ndarray, ...]:
    """Return items, mean, low and high at the points drawn, in points or per cent."""
    at = thinned(len(running.items))
    mean, low, high = (100 * np.asarray(values)[at] for values in (running.mean, running.low, running.high))
    if not difference:
        low, high = np.clip(low, 0, 100), np.clip(high, 0, 100)
    return running.items[at], mean, low, high


def _line(running: RunningMean, color: str, difference: bool, told: bool = False) -> go.Scatter:
    """Draw a model's line. told: with a hover; else in the background."""
    x, mean, low, high = _ends(running, difference)
    sign, unit = ("+", "") if difference else ("", PER_CENT)
    hover = f"%{{y:{sign}.1f}} [%{{customdata[0]:{sign}.1f}}, %{{customdata[1]:{sign}.1f}}]{unit}"
    return go.Scatter(
        x=x,
        y=mean.astype(np.float32),
        mode="lines",
        name=as_text(running.name),
        line={"color": color, "width": 2 if told else 1},
        opacity=1 if told else 0.45,
        hovertemplate=hover if told else None,
        hoverinfo=None if told else "skip",
        customdata=np.stack([low, high], axis=1).astype(np.float32) if told else None,
    )


def way(titles: Sequence[str], points: np.ndarray, x_title: str, floor: float | None = None) -> go.Figure:
    """Draw a row for each change on the way from one model to another, and the last for the whole way.

    points (N, 3): each difference with the ends of its own interval, around no change; hollow if that holds 0. floor:
    difference of two calibration seeds of the control, in points, as a grey band around no change.
    """
    value, low, high = np.asarray(points, float).T
    changes = [f"{change:+.1f}".replace("-", "−") for change in value]
    names = [f"{title}: {change}" for title, change in zip(titles, changes, strict=True)]
    groups = ["one change"] * (len(names) - 1) + ["the whole way"]
    figure = effect_intervals(names, groups, value, low, high, ((low > 0) | (high < 0)).tolist(), x_title)
    if floor is not None:
        _add_range(figure, floor, 0.25, "two seeds of the control")
    return figure


def _add_range(figure: go.Figure, half: float, opacity: float = _FAINT, name: str = "") -> None:
    """Draw a grey band around no difference. name: in the legend."""
    figure.add_vrect(x0=-half, x1=half, fillcolor=REFERENCE, opacity=opacity, line_width=0, layer="below")
    if name:
        marker = {"symbol": "square", "size": 12, "color": REFERENCE, "opacity": opacity}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name)


@dataclass(frozen=True)
class Whisker:
    """A difference in points with its interval. row: what it is on. clear: drawn full, else hollow.
    hover: text, its lines parted by <br>.
    """

    row: str
    model: str
    value: float
    low: float
    high: float
    clear: bool
    hover: str


def whisker(row: Mapping[str, Any], label: str, clear: bool) -> Whisker:
    """Return a row of a table of differences (`analysis.evaluation.tables.difference_table`) as a whisker."""
    clusters = f" in {row['clusters']:,} clusters" if row["clusters"] != row["items"] else ""
    told = f"{row['points']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}] on {row['items']:,} items{clusters}"
    p = row.get("p (Holm)")
    tested = f", {p_words(p)} (Holm)" if p is not None and np.isfinite(p) else ""
    hover = f"{label}, {row['task']}<br>{told}<br>{row['in words']}{tested}"
    return Whisker(row["task"], label, row["points"], row["low"], row["high"], clear, hover)


def whiskers(shown: Sequence[Whisker], colors: Mapping[str, str], x_title: str) -> go.Figure:
    """Draw one line per row, in order from the top, and on it a dot with its interval for every model.

    colors: by model. The first row is written bold.
    """
    rows, models = (list(dict.fromkeys(getattr(whisker, name) for whisker in shown)) for name in ("row", "model"))
    figure = go.Figure()
    for index, model in enumerate(models):
        of_model = [whisker for whisker in shown if whisker.model == model and np.isfinite(whisker.value)]
        ends = ends_of(of_model).astype(np.float32)
        shift = (index - (len(models) - 1) / 2) * 0.7 / len(models)
        figure.add_scatter(
            x=ends[0],
            y=[rows.index(whisker.row) + shift for whisker in of_model],
            mode="markers",
            name=as_text(model),
            marker=dots(colors[model], 9, [whisker.clear for whisker in of_model]),
            error_x=interval_bar(*ends, width=0),
            text=[_hover(whisker.hover) for whisker in of_model],
            hovertemplate="%{text}<extra></extra>",
        )
    names = [f"<b>{as_text(row)}</b>" if row == rows[0] else as_text(row) for row in rows]
    layout(figure, as_text(x_title), "", 90 + len(rows) * (14 + 14 * len(models)), legend=True)
    figure.add_vline(x=0, line=grey_line("dash", 1))
    figure.update_yaxes(**named_ticks(names), range=[len(rows) - 0.5, -0.5], zeroline=False, showgrid=False)
    edge: dict[str, Any] = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y", "opacity": 0.4}
    edges = [edge | {"y0": row - 0.5, "y1": row - 0.5, "line": grey_line(None, 0.5)} for row in range(1, len(rows))]
    figure.layout.shapes = [*figure.layout.shapes, *edges]
    return figure


def _hover(lines: str) -> str:
    """Return lines from outside, parted by <br>, as text."""
    return "<br>".join(map(as_text, lines.split("<br>")))


@dataclass(frozen=True)
class OverSeeds:
    """A difference in points over calibration seeds with its interval, and what each seed gives alone. words: the
    difference as it is written beneath the row's name. hover: text, its lines parted by <br>."""

    row: str
    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    words: str
    hover: str


def over_seeds(shown: Sequence[OverSeeds], margin: float, color: str, x_title: str) -> go.Figure:
    """Draw a row for each difference with its interval, the dots of its seeds beneath, around no difference and a band
    of differences that do not matter. margin: half of the band, in points.

    The axis holds band and dots; a far wider interval runs to its edge and ends there in an arrow.
    """
    inner = max([margin, *(abs(end) for row in shown for end in (row.value, *row.seeds))])
    whole = max([inner, *(abs(end) for row in shown for end in (row.low, row.high))])
    reach = 1.15 * (whole if whole <= _WIDER * inner else _WIDER * inner)
    figure = go.Figure()
    values, *ends = ends_of(shown)
    low, high = np.clip(ends, -reach, reach)
    figure.add_scatter(
        x=values,
        y=list(range(len(shown))),
        mode="markers",
        name="all seeds, 95 % interval" if any(row.seeds for row in shown) else "95 % interval over items",
        marker={"symbol": "diamond", "size": 12, "color": color},
        error_x=interval_bar(values, low, high, thickness=3, width=0),
        text=[_hover(row.hover) for row in shown],
        hovertemplate="%{text}<extra></extra>",
    )
    seeds = [(seed, place + _BENEATH) for place, row in enumerate(shown) for seed in row.seeds]
    if seeds:
        x, y = zip(*seeds, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name="one seed",
            marker={"size": 8, "color": color, "opacity": 0.45},
            hovertemplate="one seed: %{x:+.1f} points<extra></extra>",
        )
    for end, side, symbol in ((low, -reach, "triangle-left"), (high, reach, "triangle-right")):
        cut = np.flatnonzero(end == side)
        figure.add_scatter(
            x=np.full(len(cut), side),
            y=cut,
            mode="markers",
            marker={"symbol": symbol, "size": 12, "color": color},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
        )
    _add_range(figure, margin, name=f"less than {margin:g} points either way")
    layout(figure, as_text(x_title), "", 104 + _ROW * len(shown), legend=True)
    figure.add_vline(x=0, line=grey_line())
    figure.update_xaxes(range=[-1.04 * reach, 1.04 * reach], zeroline=False)
    names = [f"<b>{wrapped(row.row, 16)}</b><br>{as_text(row.words)}" for row in shown]
    figure.update_yaxes(**named_ticks(names), range=[len(shown) - 0.4, -0.6], zeroline=False, showgrid=False)
    return figure


@dataclass(frozen=True)
class Accuracy:
    """An accuracy, another share or a change of it, in per cent or points with its interval, and what each seed gives
    alone; of chance no interval. words: the numbers as they are written after the name."""

    name: str
    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    words: str
    color: str


def accuracy_levels(
    rows: Sequence[Accuracy], x_title: str, decimals: int = 1, from_zero: bool = False, margin: float = 0.0
) -> go.Figure:
    """Draw a row for each accuracy with its interval, beneath its name, and dots of its seeds. decimals: of a seed.
    from_zero: start the axis there. margin: of changes, half of the band around none that do not matter, in points.
    """
    figure = go.Figure()
    value, low, high = ends_of(rows)
    ends = np.array([*low, *high, *(seed for row in rows for seed in row.seeds)])
    ends = ends[np.isfinite(ends)] if np.isfinite(ends).any() else np.array([0.0, 100.0])
    ends = np.concatenate([ends, [0.0] if from_zero else [], [-margin, margin] if margin else []])
    room = 0.06 * float(np.ptp(ends))
    unit = " points" if margin else PER_CENT
    for place, row in enumerate(rows):
        figure.add_scatter(
            x=value[[place]],
            y=[place],
            mode="markers",
            marker={"size": 11, "color": row.color},
            error_x=interval_bar(*ends_of([row]), color=row.color),
            hovertemplate=f"{as_text(row.name)}: {as_text(row.words)}<extra></extra>",
        )
    wide = (float(np.ptp(ends)) or 1.0) * _DOT
    seeds = [
        (seed, place + _UNDER + lane * _LANE, row.color)
        for place, row in enumerate(rows)
        for seed, lane in zip(sorted(row.seeds), _lanes(sorted(row.seeds), wide), strict=True)
    ]
    if seeds:
        x, y, shades = zip(*seeds, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            marker={"size": 5, "color": shades, "opacity": 0.7},
            hovertemplate=f"one seed: %{{x:.{decimals}f}}{unit}<extra></extra>",
        )
    layout(figure, wrapped(x_title, 44), "", 66 + _LEVEL * len(rows), legend=False)
    names = [f"{as_text(row.name)} <b>{as_text(row.words)}</b>" for row in rows]
    name_rows_above(figure, names, 0.75, 0.45, xshift=4)
    if margin:
        even = {"fillcolor": REFERENCE, "opacity": _FAINT, "line_width": 0, "layer": "below"}
        for place in range(len(rows)):  # in pieces, as names stand between the rows
            ends_at = {"y0": place - _HALF_BAND, "y1": place + _HALF_BAND}
            figure.add_shape(type="rect", x0=-margin, x1=margin, **ends_at, **even)
            figure.add_shape(type="line", x0=0, x1=0, **ends_at, line=grey_line(), layer="below")
    figure.update_layout(margin_t=4, margin_l=14)
    figure.update_xaxes(
        zeroline=False,
        ticksuffix="" if margin else PER_CENT,
        nticks=6,
        range=[float(ends.min()) - room, float(ends.max()) + room],
    )
    return figure


def _lanes(values: Sequence[float], wide: float) -> list[int]:
    """Return for each of sorted values the lane in which its dot, this wide, touches none before it: of `_LANES`, so
    that all can be counted."""
    free, lanes = [-np.inf] * _LANES, []
    for value in values:
        lane = next((lane for lane, end in enumerate(free) if value >= end), int(np.argmin(free)))
        free[lane] = value + wide
        lanes.append(lane)
    return lanes


def thinned(count: int) -> np.ndarray:
    """Return indices of at most `MAX_POINTS` of `count` points, including the last."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, MAX_POINTS).round().astype(int))


def _settled(bands: Sequence[RunningMean]) -> np.ndarray:
    """Return the ends of intervals after the first few items, which cover everything."""
    ends = np.concatenate([np.zeros(0), *(end[len(end) // 8 :] for one in bands for end in (one.low, one.high))])
    return ends[np.isfinite(ends)]


def _shares(bands: Sequence[RunningMean], chance: float | None) -> list[float]:
    """Return the part of 0 … 100 % that bands fill, with the chance level."""
    ends = np.clip(_settled(bands), 0, 1)
    if chance is not None and len(ends):
        ends = np.append(ends, chance)
    if not len(ends):
        return [-2.0, 102.0]
    room = 0.02 + 0.05 * float(np.ptp(ends))
    return [100 * max(float(ends.min()) - room, -0.02), 100 * min(float(ends.max()) + room, 1.02)]


def _range(bands: Sequence[RunningMean]) -> list[float] | None:
    """Return the range of differences in points that bands fill."""
    ends = 100 * np.abs(_settled(bands))
    return [-1.1 * ends.max() - 0.5, 1.1 * ends.max() + 0.5] if len(ends) else None
