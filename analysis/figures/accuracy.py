"""Figures of an evaluation: accuracy and differences as items come in, differences at a glance, and step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.causes import effect_intervals
from analysis.figures.style import PER_CENT, REFERENCE, as_text, interval_bar, layout, name_above, shorten, wrapped
from analysis.words import p_words, percent

ONE_COLUMN = 4  # most panels in one column
PANEL = 128  # pixels of a panel's height
TITLE = 48  # characters of a panel's title
MAX_POINTS = 400  # a curve; more would be finer than the screen
_WIDER = 8  # times what is near, from which on an interval is cut off at the edge
_BENEATH = 0.24  # of the distance of two rows: offset of the seeds beneath their row
_FAINT = 0.18  # opacity of a band
_ROW = 56  # pixels
_LEVEL = 48  # the same, of an accuracy
_UNDER = 0.19  # offset of an accuracy's seeds
_DOT, _LANE, _LANES = 0.02, 0.08, 3  # of a seed: its width as part of the axis, and lanes, as part of a row


class Band(Protocol):
    """A running mean over items 1 … n with its interval, each (n,)."""

    @property
    def name(self) -> str: ...
    @property
    def items(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def low(self) -> np.ndarray: ...
    @property
    def high(self) -> np.ndarray: ...


def running(
    bands: Sequence[Band], colors: Sequence[str], y_title: str, difference: bool = False, chance: float | None = None
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
    layout(figure, "", "", height=height)
    begun = [band for band in bands if len(band.items)]
    for place, (band, color) in enumerate(zip(bands, colors, strict=True)):
        row, column = place // columns + 1, place % columns + 1
        if not len(band.items):
            continue
        for other in begun:
            if other is not band:
                _line(figure, other, REFERENCE, difference, row, column)
        _band(figure, band, color, difference, row, column)
        _line(figure, band, color, difference, row, column, told="points" if difference else "share")
    figure.update_annotations(font_size=13, yshift=-2)
    figure.update_layout(hovermode="x", showlegend=False, margin={"t": 30})
    figure.update_xaxes(rangemode="tozero")
    for column in range(columns):
        last = max(place for place in range(max(len(bands), 1)) if place % columns == column or place == 0)
        figure.update_xaxes(
            title_text="items done per task", showticklabels=True, row=last // columns + 1, col=column + 1
        )
    figure.update_yaxes(title_text=y_title, col=1, title_standoff=8)
    if difference:
        figure.add_hline(y=0, line={"color": REFERENCE, "width": 1, "dash": "dash"})
        figure.update_yaxes(range=_range(bands))
    else:
        figure.update_yaxes(range=_shares(bands, chance), ticksuffix=PER_CENT)
        if chance is not None and begun:
            figure.add_hline(y=100 * chance, line={"color": REFERENCE, "width": 1.5, "dash": "dot"})
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


def _ends(band: Band, difference: bool) -> tuple[np.ndarray, ...]:
    """Return items, mean, low and high at the points drawn, in points or per cent."""
    at = thinned(len(band.items))
    mean, low, high = (100 * np.asarray(values)[at] for values in (band.mean, band.low, band.high))
    if not difference:
        low, high = np.clip(low, 0, 100), np.clip(high, 0, 100)
    return band.items[at], mean, low, high


def _band(figure: go.Figure, band: Band, color: str, difference: bool, row: int, column: int) -> None:
    x, _, low, high = _ends(band, difference)
    there = np.isfinite(low) & np.isfinite(high)
    trace = go.Scatter(
        x=np.concatenate([x[there], x[there][::-1]]),
        y=np.concatenate([high[there], low[there][::-1]]).astype(np.float32),
        fill="toself",
        mode="none",
        fillcolor=color,
        opacity=0.2,
        hoverinfo="skip",
    )
    figure.add_trace(trace, row, column)


def _line(figure: go.Figure, band: Band, color: str, difference: bool, row: int, column: int, told: str = "") -> None:
    """Draw a model's line. told: its hover, in points or as a share; '' for one in the background."""
    x, mean, low, high = _ends(band, difference)
    hover = {
        "": None,
        "points": "%{y:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]",
        "share": f"%{{y:.1f}} [%{{customdata[0]:.1f}}, %{{customdata[1]:.1f}}]{PER_CENT}",
    }[told]
    trace = go.Scatter(
        x=x,
        y=mean.astype(np.float32),
        mode="lines",
        name=as_text(band.name),
        line={"color": color, "width": 2 if told else 1},
        opacity=1 if told else 0.45,
        hovertemplate=hover,
        hoverinfo=None if told else "skip",
        customdata=np.stack([low, high], axis=1).astype(np.float32) if told else None,
    )
    figure.add_trace(trace, row, column)


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
        figure.add_vrect(x0=-floor, x1=floor, fillcolor=REFERENCE, opacity=0.25, line_width=0, layer="below")
        band = {"symbol": "square", "size": 12, "color": REFERENCE, "opacity": 0.25}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=band, name="two seeds of the control"))
    return figure


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
        values = np.array([[whisker.value, whisker.low, whisker.high] for whisker in of_model], np.float32).reshape(
            -1, 3
        )
        shift = (index - (len(models) - 1) / 2) * 0.7 / len(models)
        figure.add_trace(
            go.Scatter(
                x=values[:, 0],
                y=[rows.index(whisker.row) + shift for whisker in of_model],
                mode="markers",
                name=as_text(model),
                marker={
                    "color": colors[model],
                    "size": 9,
                    "line": {"color": colors[model], "width": 2},
                    "symbol": ["circle" if whisker.clear else "circle-open" for whisker in of_model],
                },
                error_x=interval_bar(*values.T, width=0),
                text=["<br>".join(map(as_text, whisker.hover.split("<br>"))) for whisker in of_model],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    names = [as_text(row) for row in rows]
    layout(figure, as_text(x_title), "", height=90 + len(rows) * (14 + 14 * len(models)))
    figure.add_vline(x=0, line={"color": REFERENCE, "width": 1, "dash": "dash"})
    figure.update_layout(showlegend=True)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[f"<b>{names[0]}</b>", *names[1:]] if names else [],
        range=[len(rows) - 0.5, -0.5],
        zeroline=False,
        showgrid=False,
    )
    edges = [
        {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y", "y0": edge - 0.5, "y1": edge - 0.5}
        | {"line": {"color": REFERENCE, "width": 0.5}, "opacity": 0.4}
        for edge in range(1, len(rows))
    ]
    figure.layout.shapes = [*figure.layout.shapes, *edges]
    return figure


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
    places = list(range(len(shown)))
    low, high = (np.clip([getattr(row, end) for row in shown], -reach, reach) for end in ("low", "high"))
    values = np.array([row.value for row in shown])
    hovers = ["<br>".join(map(as_text, row.hover.split("<br>"))) for row in shown]
    figure.add_trace(
        go.Scatter(
            x=values,
            y=places,
            mode="markers",
            name="all seeds, 95 % interval" if any(row.seeds for row in shown) else "95 % interval over items",
            marker={"symbol": "diamond", "size": 12, "color": color},
            error_x=interval_bar(values, low, high, thickness=3, width=0),
            text=hovers,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    dots = [(seed, place) for place, row in enumerate(shown) for seed in row.seeds]
    if dots:
        x, y = zip(*dots, strict=True)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=np.asarray(y) + _BENEATH,
                mode="markers",
                name="one seed",
                marker={"size": 8, "color": color, "opacity": 0.45},
                hovertemplate="one seed: %{x:+.1f} points<extra></extra>",
            )
        )
    for ends, side, symbol in ((low, -reach, "triangle-left"), (high, reach, "triangle-right")):
        cut = [place for place in places if ends[place] == side]
        figure.add_trace(
            go.Scatter(
                x=[side] * len(cut),
                y=cut,
                mode="markers",
                marker={"symbol": symbol, "size": 12, "color": color},
                cliponaxis=False,
                hoverinfo="skip",
                showlegend=False,
            )
        )
    band = {"symbol": "square", "size": 12, "color": REFERENCE, "opacity": _FAINT}
    within = f"less than {margin:g} points either way"
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=band, name=within))
    figure.add_vrect(x0=-margin, x1=margin, fillcolor=REFERENCE, opacity=_FAINT, line_width=0, layer="below")
    layout(figure, as_text(x_title), "", height=104 + _ROW * len(shown))
    figure.add_vline(x=0, line={"color": REFERENCE, "width": 1.5})
    figure.update_layout(showlegend=True)
    figure.update_xaxes(range=[-1.04 * reach, 1.04 * reach], zeroline=False)
    figure.update_yaxes(
        tickmode="array",
        tickvals=places,
        ticktext=[f"<b>{wrapped(row.row, 16)}</b><br>{as_text(row.words)}" for row in shown],
        range=[len(shown) - 0.4, -0.6],
        zeroline=False,
        showgrid=False,
    )
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
    figure, places = go.Figure(), np.arange(len(rows))
    value, low, high = (np.array([getattr(row, end) for row in rows]) for end in ("value", "low", "high"))
    ends = np.array([*low, *high, *(seed for row in rows for seed in row.seeds)])
    ends = ends[np.isfinite(ends)] if np.isfinite(ends).any() else np.array([0.0, 100.0])
    ends = np.concatenate([ends, [0.0] if from_zero else [], [-margin, margin] if margin else []])
    room = 0.06 * float(np.ptp(ends))
    unit = " points" if margin else PER_CENT
    for place, row in enumerate(rows):
        figure.add_trace(
            go.Scatter(
                x=value[[place]],
                y=[place],
                mode="markers",
                marker={"size": 11, "color": row.color},
                error_x=interval_bar(*(ends[[place]] for ends in (value, low, high)), color=row.color),
                hovertemplate=f"{as_text(row.name)}: {as_text(row.words)}<extra></extra>",
            )
        )
    wide = (float(np.ptp(ends)) or 1.0) * _DOT
    dots = [
        (seed, place + _UNDER + lane * _LANE, row.color)
        for place, row in enumerate(rows)
        for seed, lane in zip(sorted(row.seeds), _lanes(sorted(row.seeds), wide), strict=True)
    ]
    if dots:
        x, y, shades = zip(*dots, strict=True)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="markers",
                marker={"size": 5, "color": shades, "opacity": 0.7},
                hovertemplate=f"one seed: %{{x:.{decimals}f}}{unit}<extra></extra>",
            )
        )
    layout(figure, wrapped(x_title, 44), "", height=66 + _LEVEL * len(rows))
    for place, row in enumerate(rows):
        name_above(figure, place, f"{as_text(row.name)} <b>{as_text(row.words)}</b>", xshift=4)
    if margin:
        figure.add_vrect(x0=-margin, x1=margin, fillcolor=REFERENCE, opacity=_FAINT, line_width=0, layer="below")
        figure.add_vline(x=0, line={"color": REFERENCE, "width": 1.5})
    figure.update_layout(showlegend=False, margin_t=4, margin_l=14)
    figure.update_xaxes(
        zeroline=False,
        ticksuffix="" if margin else PER_CENT,
        nticks=6,
        range=[float(ends.min()) - room, float(ends.max()) + room],
    )
    figure.update_yaxes(tickvals=places, showticklabels=False, ticks="", range=[len(rows) - 0.55, -0.75])
    figure.update_yaxes(automargin=False, zeroline=False)
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


def _shares(bands: Sequence[Band], chance: float | None) -> list[float]:
    """Return the part of 0 … 100 % that bands fill after the first few items, with the chance level."""
    ends = np.concatenate([np.zeros(0), *(end[len(end) // 8 :] for band in bands for end in (band.low, band.high))])
    ends = np.clip(ends[np.isfinite(ends)], 0, 1)
    if chance is not None and len(ends):
        ends = np.append(ends, chance)
    if not len(ends):
        return [-2.0, 102.0]
    room = 0.02 + 0.05 * float(np.ptp(ends))
    return [100 * max(float(ends.min()) - room, -0.02), 100 * min(float(ends.max()) + room, 1.02)]


def _range(bands: Sequence[Band]) -> list[float] | None:
    """Return the range of values after the first few items, whose intervals cover everything."""
    ends = [
        100 * np.abs(np.concatenate([band.low[len(band.low) // 8 :], band.high[len(band.high) // 8 :]]))
        for band in bands
    ]
    values = np.concatenate(ends) if ends else np.zeros(0)
    values = values[np.isfinite(values)]
    return None if not len(values) else [-1.1 * float(values.max()) - 0.5, 1.1 * float(values.max()) + 0.5]
