"""Accuracies of runs, setting by setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import METHOD_LOOKS, PER_CENT, REFERENCE, as_text, grey_line, interval_bar, layout
from analysis.words import percent

# In pixels, as the axis of rows counts them.
_LINE = 18  # of a line of text
_NAMED = 24  # from a row's name to its mean
_RUNS = 10  # from a mean to its runs
_ROW = 44
_GROUP = 12  # above a group but the first
_FOOT = 12  # beneath the last row
_AXIS = 46  # of the axis with its title
_AROUND = 3.0  # points of the axis on both sides of what is drawn


@dataclass(frozen=True)
class Scores:
    """The accuracy of a setting with its 95 % interval, NaN where that is not known, and of each run, as shares. group:
    of rows that it stands in. method: whose colour it has, '' for the grey of references. words: the numbers as they
    are written after the name.
    """

    group: str
    name: str
    method: str
    value: float
    low: float
    high: float
    runs: Sequence[float]
    words: str


def accuracy_by_setting(
    rows: Sequence[Scores], dense: float | None, chance: float | None, heads: Mapping[str, Sequence[str]]
) -> go.Figure:
    """Draw a row for each setting beneath its name, group by group on one axis of accuracies: a bar from the dense
    model's to the mean with its interval, and its runs as dots; dense as a line, and chance where an accuracy comes
    near it.

    heads: lines that are written above each group, the first bold.
    """
    figure = go.Figure()
    y, above = 0, {"x": 0, "xref": "paper", "xanchor": "left", "yanchor": "top", "align": "left", "showarrow": False}
    for group in dict.fromkeys(row.group for row in rows):
        first, *more = map(as_text, heads[group])
        y += _GROUP if y else 0
        figure.add_annotation(y=y, text="<br>".join([f"<b>{first}</b>", *more]), **above)
        y += _LINE * (1 + len(more)) + _GROUP // 2
        for row in (one for one in rows if one.group == group):
            figure.add_annotation(y=y, text=f"{as_text(row.name)} <b>{as_text(row.words)}</b>", xshift=8, **above)
            figure.add_traces(_marks(row, y + _NAMED, dense))
            y += _ROW
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high, *row.runs)]
    drawn = np.array([*ends, *([] if dense is None else [100 * dense])])
    low, high = max(np.nanmin(drawn) - _AROUND, 0.0), min(np.nanmax(drawn) + _AROUND, 101.0)
    y += _FOOT
    layout(figure, "accuracy, %", "", y + _LINE + _AXIS, legend=False)
    figure.layout.margin.t, figure.layout.margin.l = _LINE, 14
    near = chance if chance is not None and 100 * chance >= low else None
    for name, level, dash in (("dense", dense, "dash"), ("chance", near, "dot")):
        if level is not None:
            at = {"x": 100 * level, "xanchor": "right" if 100 * level > (low + high) / 2 else "left"}
            figure.add_vline(x=100 * level, line=grey_line(dash), layer="below")
            figure.add_annotation(
                text=f"{name} {percent(level, 1)}", y=1, yref="paper", yanchor="bottom", showarrow=False, **at
            )
    figure.update_xaxes(zeroline=False, range=[low, high], nticks=6)
    figure.update_yaxes(visible=False, range=[y, 0], automargin=False)
    return figure


def _marks(row: Scores, y: float, dense: float | None) -> list[go.Scatter]:
    """Return the mean of a setting with its interval, the bar from the dense model to it, and its runs beneath."""
    value, low, high = 100 * np.array([[row.value], [row.low], [row.high]])
    color = METHOD_LOOKS[row.method].color if row.method in METHOD_LOOKS else REFERENCE
    known = bool(np.isfinite(low[0]))
    mean = go.Scatter(
        x=value,
        y=[y],
        mode="markers",
        marker={"symbol": "diamond-tall", "size": 11, "color": color},
        error_x=interval_bar(value, low, high, width=4, color=color) if known else None,
        hovertemplate=f"{as_text(row.name)}: {as_text(row.words)}<extra></extra>",
    )
    bar = go.Scatter(
        x=[100 * (dense or 0.0), *value],
        y=[y, y],
        mode="lines",
        line={"width": 7, "color": color},
        opacity=0.25,
        hoverinfo="skip",
    )
    runs = go.Scatter(
        x=[100 * run for run in row.runs],
        y=[y + _RUNS for _ in row.runs],
        mode="markers",
        marker={"size": 6, "opacity": 0.5, "color": color},
        hovertemplate=f"one run: %{{x:.1f}}{PER_CENT}<extra></extra>",
    )
    return [*([] if dense is None else [bar]), mean, *([runs] if len(row.runs) else [])]
