"""Accuracies of runs, setting by setting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import METHOD_LOOKS, PER_CENT, REFERENCE, as_text, interval_bar, layout, wrapped
from analysis.words import percent

_ROW = 27  # pixels
_BENEATH = 0.27  # of the distance of two rows: offset of the runs beneath their mean
_NAME = 26  # characters of a row's name in a line
_BELOW = 4.0  # points of the axis beneath the lowest accuracy
_COARSE = 60.0  # points, from which on every second ten has a tick
_CLOSE = 0.12  # of the axis, within which the names of two levels would touch


@dataclass(frozen=True)
class Scores:
    """The accuracy of a setting with its 95 % interval, NaN where that is not known, and of each run, as shares. group:
    what stands before its name. method: whose colour it has, '' for the grey of references.
    """

    group: str
    name: str
    method: str
    value: float
    low: float
    high: float
    runs: Sequence[float]


def accuracy_by_setting(rows: Sequence[Scores], dense: float | None, chance: float | None) -> go.Figure:
    """Draw a row for each setting: its mean with the interval, its runs as dots beneath; dense as a line, and chance
    where an accuracy comes near it."""
    figure = go.Figure()
    colors = [_color(row.method) for row in rows]
    places = list(range(len(rows)))
    value, low, high = 100 * np.array([(row.value, row.low, row.high) for row in rows], float).reshape(-1, 3).T
    known = np.isfinite(low)
    for at in places:
        bar = interval_bar(value[[at]], low[[at]], high[[at]], width=3, color=colors[at]) if known[at] else None
        ends = f" [{low[at]:.0f}, {high[at]:.0f}]" if known[at] else ""
        figure.add_trace(
            go.Scatter(
                x=[value[at]],
                y=[at],
                mode="markers",
                marker={"symbol": "diamond-tall", "size": 9, "color": colors[at]},
                error_x=bar,
                hovertemplate=f"{as_text(rows[at].name)}: {value[at]:.1f}{ends}{PER_CENT}<extra></extra>",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[100 * run for row in rows for run in row.runs],
            y=[at + _BENEATH for at, row in enumerate(rows) for _ in row.runs],
            mode="markers",
            marker={
                "size": 6,
                "opacity": 0.5,
                "color": [color for color, row in zip(colors, rows, strict=True) for _ in row.runs],
            },
            hovertemplate=f"one run: %{{x:.1f}}{PER_CENT}<extra></extra>",
        )
    )
    layout(figure, "accuracy", "", 84 + _ROW * len(rows))
    figure.update_layout(showlegend=False)
    runs = [100 * run for row in rows for run in row.runs]
    whole = [] if dense is None else [100 * dense]
    drawn = np.concatenate([value, low[known], high[known], runs, whole, np.zeros(0) if len(rows) else [0.0]])
    least = max(float(drawn.min()) - _BELOW, 0.0)
    _add_levels(figure, dense, chance if chance is not None and 100 * chance >= least else None)
    step = 20 if least < 100 - _COARSE else 10
    figure.update_xaxes(ticksuffix=PER_CENT, zeroline=False, dtick=step, range=[least, 101])
    figure.update_yaxes(
        tickmode="array",
        tickvals=places,
        ticktext=[f"{head}{wrapped(row.name, _NAME)}" for head, row in zip(_heads(rows), rows, strict=True)],
        range=[len(rows) - 0.4, -0.6],
        zeroline=False,
        showgrid=False,
    )
    return figure


def _heads(rows: Sequence[Scores]) -> list[str]:
    """Return what stands before the names: the group, in the first row of each."""
    before = ["", *(row.group for row in rows)]
    return [
        f"<b>{as_text(row.group)}</b>  " if row.group != last else "" for last, row in zip(before, rows, strict=False)
    ]


def _color(method: str) -> str:
    return METHOD_LOOKS[method].color if method in METHOD_LOOKS else REFERENCE


def _add_levels(figure: go.Figure, dense: float | None, chance: float | None) -> None:
    """Draw lines from top to bottom, each with its name above the plot."""
    known = {name: level for name, level in (("dense", dense), ("chance", chance)) if level is not None}
    close = len(known) == 2 and abs(known["dense"] - known["chance"]) < _CLOSE
    for name, level in known.items():
        line = {"color": REFERENCE, "width": 1.5, "dash": "dash" if name == "dense" else "dot"}
        figure.add_vline(x=100 * level, line=line)
        side = "center" if not close else "left" if level == max(known.values()) else "right"
        figure.add_annotation(
            text=f"{name} {percent(level, 1)}",
            showarrow=False,
            yanchor="bottom",
            **{"xref": "x", "x": 100 * level, "xanchor": side, "yref": "y domain", "y": 1},
        )
