"""Figures of an evaluation: accuracy and differences as items come in, and the rows of its differences; of a study over
calibration seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.evaluation.curves import RunningMean
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.style import (
    PER_CENT,
    REFERENCE,
    as_text,
    band,
    colors_by_method,
    grey_line,
    layout,
    named_ticks,
    shorten,
)
from analysis.words import p_words, percent

ONE_COLUMN = 4  # most panels in one column
PANEL = 128  # pixels of a panel's height
TITLE = 48  # characters of a panel's title
MAX_POINTS = 400  # a curve; more would be finer than the screen


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


def difference_rows(
    table: Sequence[Mapping[str, Any]], labels: Sequence[str], filled: Sequence[bool], colors: Mapping[str, str]
) -> list[IntervalRow]:
    """Return the rows of a table of differences (`analysis.evaluation.tables.difference_table`) as they are drawn.
    labels: of the models compared, by which `colors` are. filled: which are significant."""
    return [
        IntervalRow(
            row["task"],
            row["points"],
            row["low"],
            row["high"],
            f"{row['points']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]".replace("-", "−"),
            label,
            colors[label],
            clear,
            hover=(label, _told(row), row["in words"] + _tested(row)),
        )
        for row, label, clear in zip(table, labels, filled, strict=True)
        if np.isfinite(row["points"])
    ]


def _told(row: Mapping[str, Any]) -> str:
    clusters = f" in {row['clusters']:,} clusters" if row["clusters"] != row["items"] else ""
    return f"{row['items']:,} items{clusters}"


def _tested(row: Mapping[str, Any]) -> str:
    p = row.get("p (Holm)")
    return f", {p_words(p)} (Holm)" if p is not None and np.isfinite(p) else ""


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


# --- a study's accuracies over calibration seeds ---------------------------------------------------------------------


@dataclass(frozen=True)
class Dots:
    """A method at one sparsity: its title, its mean, and the accuracy of every seed, as shares."""

    method: str
    name: str
    sparsity: float
    mean: float
    seeds: Sequence[float]


def seed_dots(dots: Sequence[Dots], dense: float, chance: float | None) -> go.Figure:
    """Draw the accuracy of every calibration seed as a dot and the mean as a bar mark, grouped by sparsity."""
    figure = go.Figure()
    methods = {group.name: group.method for group in dots}
    names = list(methods)
    sparsities = sorted({group.sparsity for group in dots})
    colors = dict(zip(names, colors_by_method(list(methods.values())), strict=True))
    for place, name in enumerate(names):
        of_name = [group for group in dots if group.name == name]
        x = [sparsities.index(group.sparsity) + 0.22 * (place - (len(names) - 1) / 2) for group in of_name]
        figure.add_scatter(
            x=[at for at, group in zip(x, of_name, strict=True) for _ in group.seeds],
            y=[100 * value for group in of_name for value in group.seeds],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            marker={"color": colors[name], "size": 8, "opacity": 0.65},
            hovertemplate=f"%{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}, one seed</extra>",
        )
        figure.add_scatter(
            x=x,
            y=[100 * group.mean for group in of_name],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            showlegend=False,
            marker={"symbol": "line-ew", "size": 22, "line": {"width": 3, "color": colors[name]}},
            hovertemplate=f"mean %{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}</extra>",
        )
    for level, dash, label in ((dense, "dash", "dense"), (chance, "dot", "chance")):
        if level is not None:
            figure.add_hline(
                y=100 * level,
                line=grey_line(dash),
                annotation_text=f"{label} {percent(level, 1)}",
                annotation_position="bottom right" if label == "dense" else "top right",
            )
    layout(figure, "sparsity", "accuracy", 340, legend=True)
    ticks = named_ticks([percent(sparsity, 0) for sparsity in sparsities])
    figure.update_xaxes(range=[-0.6, len(sparsities) - 0.4], **ticks)
    figure.update_yaxes(ticksuffix=PER_CENT)
    return figure
