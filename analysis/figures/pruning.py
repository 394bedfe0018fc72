"""Figures of a pruning run: weights removed by matrix, and where the time went.

Accuracies of runs, setting by setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    FLAT_BAR,
    MASS_SCALE,
    METHOD_LOOKS,
    PER_CENT,
    REFERENCE,
    SYMBOLS,
    TOKEN,
    add_notes,
    as_text,
    color_bar,
    flat_color_bar,
    grey_line,
    interval_bar,
    layout,
    series_color,
    write_cells,
)
from analysis.words import percent

_WRITTEN_LAYERS = 16  # up to this many layers every cell carries its number


def sparsity_grid(sparsity: np.ndarray, projections: Sequence[str]) -> go.Figure:
    """Draw the share of weights removed by layer × projection, (L, P), NaN where nothing was pruned (yet)."""
    layers = sparsity.shape[0]
    written = layers <= _WRITTEN_LAYERS
    figure = go.Figure(
        go.Heatmap(
            z=(100 * sparsity.T).astype(np.float32),
            x=list(range(layers)),
            y=[as_text(projection) for projection in projections],
            zmin=0,
            zmax=100,
            colorscale=MASS_SCALE,
            colorbar=(flat_color_bar if written else color_bar)("sparsity", percent=True),
            xgap=1,
            ygap=1,
            texttemplate=f"%{{z:.0f}}{PER_CENT}" if written else None,
            hovertemplate=f"layer %{{x}}, %{{y}}<br>%{{z:.2f}}{PER_CENT} removed<extra></extra>",
            hoverongaps=False,
        )
    )
    layout(figure, "layer", "projection", 260 + FLAT_BAR * written)
    figure.layout.margin.t = FLAT_BAR if written else figure.layout.margin.t
    figure.update_xaxes(dtick=1 if layers <= 32 else None, range=[-0.5, layers - 0.5])
    figure.update_yaxes(autorange="reversed")
    return write_cells(figure)


def layer_profiles(profiles: Mapping[str, np.ndarray]) -> go.Figure:
    """Draw sparsity over depth, one line per run: by name the share of weights removed in each layer, (L,)."""
    figure = go.Figure()
    for place, (name, profile) in enumerate(profiles.items()):
        figure.add_scatter(
            x=list(range(len(profile))),
            y=100 * np.asarray(profile, np.float32),
            mode="lines+markers",
            name=as_text(name),
            line={"color": series_color(place), "width": 2},
            marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8},
            hovertemplate=f"layer %{{x}}<br>%{{y:.2f}}{PER_CENT} removed",
        )
    layout(figure, "layer", "sparsity", 300, legend=True)
    figure.update_xaxes(dtick=1 if all(len(profile) <= 32 for profile in profiles.values()) else None)
    ends = 100 * np.concatenate([np.zeros(0), *profiles.values()])
    if len(ends):  # flat lines would get an axis beyond 0–100 %
        figure.update_yaxes(range=[max(float(ends.min()) - 5, -1), min(float(ends.max()) + 5, 101)])
    figure.update_yaxes(ticksuffix=PER_CENT)
    return figure


def phase_bar(phases: Sequence[tuple[str, float]]) -> go.Figure:
    """Draw a horizontal bar per phase of a run, (name, seconds) in order from the top."""
    figure = go.Figure(
        go.Bar(
            y=[as_text(name) for name, _ in phases],
            x=[seconds for _, seconds in phases],
            orientation="h",
            marker={"color": TOKEN},
            text=[f"{seconds:.1f}" for _, seconds in phases],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}<br>%{x:.2f} s<extra></extra>",
        )
    )
    layout(figure, "seconds", "", 90 + 26 * len(phases), legend=False)
    figure.update_layout(bargap=0.35, margin_r=40)
    figure.update_yaxes(autorange="reversed")
    return figure


# In pixels, as the axis of rows counts them.
_LINE = 18  # of a line of text
_NAMED = 29  # from a row's name to its mean
_RUNS = 10  # from a mean to its runs
_ROW, _ROW_OF_THREE = 46, 52
_NUMBER = 16  # of a line of numbers
_GROUP = 10  # above a group but the first
_FOOT = 8  # beneath the last row
_AXIS = 46  # of the axis with its title
_INDENT = 8  # of the names of rows
_NUMBERS, _CHANGES, _GAINS = 64, 134, 150  # at the right, for accuracies, and with what stands beneath each
_AROUND = 3.0  # points of the axis on both sides of what is drawn
_GUIDE = 0.35  # opacity of the line from a name to its numbers


@dataclass(frozen=True)
class Scores:
    """The accuracy of a setting with its 95 % interval, NaN where that is not known, and of each run, as shares. group:
    of rows that it stands in. text: what it was calibrated on, '' for none. method: whose colour it has, '' for the
    grey of references. words: the accuracy as it is written. change: the difference to the dense model likewise, and
    gain: the method with the discount minus this one; '' where they are not known.
    """

    group: str
    name: str
    text: str
    method: str
    value: float
    low: float
    high: float
    runs: Sequence[float]
    words: str
    change: str = ""
    gain: str = ""


def accuracy_by_setting(
    rows: Sequence[Scores], dense: float | None, chance: float | None, gain_of: str = ""
) -> go.Figure:
    """Draw a row for each setting beneath its name, group by group on one axis of accuracies: the mean with its
    interval, its runs as dots, and outside the axis the numbers; dense as a line, and chance where an accuracy comes
    near it, else its name at the edge.

    gain_of: the method with the discount, in whose colour gains are marked.
    """
    figure, notes = go.Figure(), list[dict[str, Any]]()
    beside = {"xref": "paper", "xanchor": "left", "align": "left", "showarrow": False}
    above, right = {"x": 0, "yanchor": "top", **beside}, {"x": 1, "xshift": 12, **beside}
    changes, gains = any(row.change for row in rows), any(row.gain for row in rows)
    color = METHOD_LOOKS[gain_of].color if gain_of in METHOD_LOOKS else REFERENCE
    mark = f'<span style="color:{color}">◆</span> '
    row_height = _ROW_OF_THREE if gains else _ROW
    title = ["<b>accuracy</b>", *["minus dense, points"] * changes, *[f"{mark}discount minus this"] * gains]
    first = _GROUP // 2 + _LINE + _NAMED - _NUMBER * len(title) // 2  # where the numbers of the first row begin
    y = start = max(0, _NUMBER * len(title) + 2 * _GROUP - _LINE - first)  # they begin above the plot
    for group in dict.fromkeys(row.group for row in rows):
        y += _GROUP if y > start else 0
        head = f"{group} of the weights removed" if group else "No weights removed"
        notes.append({"y": y, "text": f"<b>{as_text(head)}</b>", **above})
        y += _LINE + _GROUP // 2
        for row in (one for one in rows if one.group == group):
            name = " · ".join(filter(None, (row.name, row.text)))
            notes.append({"y": y, "text": as_text(name), "xshift": _INDENT, **above})
            mean = y + _NAMED
            guide = {"x0": 0, "x1": 1, "xref": "paper", "y0": mean, "y1": mean, "layer": "below", "opacity": _GUIDE}
            figure.add_shape(type="line", line=grey_line(width=1), **guide)
            numbers = [f"<b>{as_text(row.words)}</b>", *filter(None, [as_text(row.change)])]
            numbers += [f"{mark}{as_text(row.gain)}"] if row.gain else []
            notes.append({"y": mean, "text": "<br>".join(numbers), "yanchor": "middle", **right})
            figure.add_traces(_marks(row, mean))
            y += row_height
    add_notes(figure, [*notes, {"y": 0, "text": "<br>".join(title), "yanchor": "top", "yshift": _LINE, **right}])
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high, *row.runs)]
    drawn = np.array([*ends, *([] if dense is None else [100 * dense])])
    low, high = max(np.nanmin(drawn) - _AROUND, 0.0), min(np.nanmax(drawn) + _AROUND, 101.0)
    y += _FOOT
    layout(figure, "accuracy, %", "", y + _LINE + _AXIS, legend=False)
    figure.update_layout(margin={"t": _LINE, "l": 14, "r": _GAINS if gains else _CHANGES if changes else _NUMBERS})
    note = {"y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    if chance is not None and 100 * chance < low:
        figure.add_annotation(text=f"← chance {percent(chance, 1)}", x=low, xanchor="left", **note)
        chance = None
    for name, level, dash in (("dense", dense, "dash"), ("chance", chance, "dot")):
        if level is not None:
            at = {"x": 100 * level, "xanchor": "right" if 100 * level > (low + high) / 2 else "left"}
            figure.add_vline(x=100 * level, line=grey_line(dash), layer="below")
            figure.add_annotation(text=f"{name} {percent(level, 1)}", **note, **at)
    figure.update_xaxes(zeroline=False, range=[low, high], nticks=6)
    figure.update_yaxes(visible=False, range=[y, 0], automargin=False)
    return figure


def _marks(row: Scores, y: float) -> list[go.Scatter]:
    """Return the mean of a setting with its interval, and its runs beneath."""
    value, low, high = 100 * np.array([[row.value], [row.low], [row.high]])
    color = METHOD_LOOKS[row.method].color if row.method in METHOD_LOOKS else REFERENCE
    known = bool(np.isfinite(low[0]))
    mean = go.Scatter(
        x=value,
        y=[y],
        mode="markers",
        marker={"symbol": "diamond-tall", "size": 11, "color": color},
        error_x=interval_bar(value, low, high, width=4, color=color) if known else None,
        hovertemplate=" · ".join(map(as_text, filter(None, (row.name, row.words, row.change)))) + "<extra></extra>",
    )
    runs = go.Scatter(
        x=[100 * run for run in row.runs],
        y=[y + _RUNS for _ in row.runs],
        mode="markers",
        marker={"size": 6, "opacity": 0.5, "color": color},
        hovertemplate=f"one run: %{{x:.1f}}{PER_CENT}<extra></extra>",
    )
    return [mean, *([runs] if len(row.runs) else [])]
