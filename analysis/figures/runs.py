"""Accuracies of runs, setting by setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import (
    METHOD_LOOKS,
    PER_CENT,
    REFERENCE,
    as_text,
    grey_line,
    interval_bar,
    layout,
    named_ticks,
    wrapped,
)
from analysis.words import percent

_ROW = 64  # pixels
_LINE = 92  # pixels of a line of panels beside its rows: titles and axis
_BESIDE = 4  # panels in a line, at most
_BENEATH = 0.3  # of the distance of two rows: offset of the runs beneath their mean
_TEXT = 14  # pixels of a line of text
_NAME = 20  # characters of a row's name in a line
_AROUND = 3.0  # points of the axis on both sides of what is drawn
_HEAD = 18  # pixels of a line above a panel
_OVER = 8  # pixels between a panel and its head
_APART = 0.05  # of the width, between panels
_WIDE = 25.0  # points, from which on ticks are 20 apart
_NO_HEADS: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Scores:
    """The accuracy of a setting with its 95 % interval, NaN where that is not known, and of each run, as shares. group:
    of the panel it stands in. method: whose colour it has, '' for the grey of references.
    """

    group: str
    name: str
    method: str
    value: float
    low: float
    high: float
    runs: Sequence[float]


def accuracy_by_setting(
    rows: Sequence[Scores], dense: float | None, chance: float | None, heads: Mapping[str, Sequence[str]] = _NO_HEADS
) -> go.Figure:
    """Draw a panel for each group on one axis of accuracies, in it a row for each name: its mean with the interval, its
    runs as dots beneath; dense as a line, and chance where an accuracy comes near it.

    heads: lines that are written above each panel, by group, and in the same order what they are, by ''.
    """
    groups, names = (list(dict.fromkeys(each)) for each in zip(*((row.group, row.name) for row in rows), strict=True))
    columns = min(len(groups), _BESIDE)
    lines = -(-len(groups) // columns)
    titles = [[f"<b>{as_text(group)}</b>", *map(as_text, heads.get(group, ()))] for group in groups]
    head = _HEAD * (max(map(len, titles)) - 1)
    height = lines * (_LINE + head + _ROW * len(names))
    figure = make_subplots(
        lines,
        columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=["<br>".join(each) for each in titles],
        horizontal_spacing=_APART,
        vertical_spacing=(0.7 * _LINE + head) / height,
    )
    layout(figure, "", "", height, legend=False)
    figure.layout.margin.t += head + _OVER
    figure.update_annotations(font_size=13, yshift=_OVER)
    if "" in heads:
        beside = {"x": 0, "xref": "x domain", "xanchor": "right", "xshift": -6, "font": {"size": 13}, "align": "right"}
        above = {"y": 1, "yref": "y domain", "yanchor": "bottom", "yshift": _OVER}
        figure.add_annotation(text="<br>".join(map(as_text, heads[""])), showarrow=False, **beside, **above)
    for row in rows:
        at = groups.index(row.group)
        for trace in _marks(row, names.index(row.name)):
            figure.add_trace(trace, at // columns + 1, at % columns + 1)
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high, *row.runs)]
    drawn = np.array([*ends, *([] if dense is None else [100 * dense])])
    low, high = max(np.nanmin(drawn) - _AROUND, 0.0), min(np.nanmax(drawn) + _AROUND, 101.0)
    near = chance if chance is not None and 100 * chance >= low else None
    for raised, (name, level, dash) in enumerate((("dense", dense, "dash"), ("chance", near, "dot"))):
        if level is not None:
            level *= 100
            figure.add_vline(x=level, line=grey_line(dash))
            # Beside its line, at the foot of every panel.
            side = {"xanchor": "left", "xshift": 4}
            if level > (low + high) / 2:
                side = {"xanchor": "right", "xshift": -4}
            side |= {"x": level, "y": 0, "yanchor": "bottom", "yshift": _TEXT * raised}
            for panel in range(1, len(groups) + 1):
                number = "" if panel == 1 else panel
                axes = {"xref": f"x{number}", "yref": f"y{number} domain"}
                told = name if number else f"{name} {percent(level / 100, 1)}"
                figure.add_annotation(text=told, showarrow=False, **axes, **side)
    figure.update_xaxes(
        tickangle=0, showgrid=True, zeroline=False, range=[low, high], dtick=20 if high - low > 2 * _WIDE else 10
    )
    figure.update_xaxes(title_text="accuracy, %", row=lines)
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(showline=True, mirror=True, linewidth=1, linecolor=REFERENCE)
    figure.update_yaxes(range=[len(names) - 0.2, -0.6], zeroline=False, showgrid=False)
    figure.update_yaxes(**named_ticks([wrapped(name, _NAME) for name in names]), col=1)
    return figure


def _marks(row: Scores, at: int) -> list[go.Scatter]:
    """Return the mean of a setting with its interval, and its runs beneath."""
    value, low, high = 100 * np.array([[row.value], [row.low], [row.high]])
    color = METHOD_LOOKS[row.method].color if row.method in METHOD_LOOKS else REFERENCE
    known = bool(np.isfinite(low[0]))
    ends = f" [{low[0]:.0f}, {high[0]:.0f}]" if known else ""
    mean = go.Scatter(
        x=value,
        y=[at],
        mode="markers+text",
        text=[f"{value[0]:.1f}"],
        textposition="top center",
        marker={"symbol": "diamond-tall", "size": 11, "color": color},
        error_x=interval_bar(value, low, high, width=4, color=color) if known else None,
        hovertemplate=f"{as_text(row.name)}: {value[0]:.1f}{ends}{PER_CENT}<extra></extra>",
    )
    runs = go.Scatter(
        x=[100 * run for run in row.runs],
        y=[at + _BENEATH for _ in row.runs],
        mode="markers",
        marker={"size": 7, "opacity": 0.5, "color": color},
        hovertemplate=f"one run: %{{x:.1f}}{PER_CENT}<extra></extra>",
    )
    return [mean, runs] if len(row.runs) else [mean]
