"""Quality against bytes kept: a line per policy, each of its points joined to its control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import REFERENCE, SERIES_COLORS, SYMBOLS, as_text, layout, wrapped

_APART = 0.012  # of the axis between the points of two lines, which stand at equal cost


@dataclass(frozen=True)
class Points:
    """Qualities with their intervals at costs, (N,) each; NaN where a point is missing."""

    cost: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Saving:
    """A way of saving, at several costs. control: the same points of its control, drawn hollow in its colour, where it
    has one.
    """

    name: str
    points: Points
    control: Points | None = None


def frontier(
    savings: Sequence[Saving],
    full: tuple[float, float] | None,
    cost_title: str,
    value_title: str,
    percent: bool = False,
    control_name: str = "its control",
) -> go.Figure:
    """Draw a line per saving with a dot and an interval per point, and a thin line from each to its control. full: cost
    and quality of saving nothing, as a dashed level that begins at its dot.
    """
    figure = go.Figure()
    costs = np.concatenate([saving.points.cost for saving in savings] or [np.zeros(1)])
    if full is not None:
        costs = np.append(costs, full[0])
    reach = float(np.nanmax(costs) - np.nanmin(costs)) or 1.0
    for index, saving in enumerate(savings):
        color, shift = SERIES_COLORS[index % len(SERIES_COLORS)], reach * _APART * (index - (len(savings) - 1) / 2)
        if saving.control is not None:
            _join(figure, saving, shift, color)
            _add(figure, saving.control, f"{saving.name}: {control_name}", color, shift, index, percent, hollow=True)
        _add(figure, saving.points, saving.name, color, shift, index, percent)
    if full is not None:
        figure.add_hline(y=full[1], line={"color": REFERENCE, "width": 1.5, "dash": "dash"})
        _add(
            figure,
            Points(*(np.array([part]) for part in (*full, *full[1:] * 2))),
            "everything",
            REFERENCE,
            0,
            0,
            percent,
        )
    layout(figure, wrapped(cost_title, 40), wrapped(value_title, 34), height=460)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(rangemode="tozero", zeroline=False)
    figure.update_yaxes(zeroline=False, tickformat="~p" if percent else "~g")
    return figure


def _add(
    figure: go.Figure,
    points: Points,
    name: str,
    color: str,
    shift: float,
    index: int,
    percent: bool,
    hollow: bool = False,
) -> None:
    """Add a line with its dots. hollow: of a control, whose dotted line says whose it is."""
    number = ".1%" if percent else ".3g"
    symbol = SYMBOLS[index % len(SYMBOLS)]
    figure.add_trace(
        go.Scatter(
            x=points.cost + shift,
            y=points.value,
            mode="markers" if hollow else "lines+markers",
            name=as_text(name),
            line={"color": color, "width": 2},
            marker={
                "color": color,
                "size": 9,
                "symbol": f"{symbol}-open" if hollow else symbol,
                "line": {"width": 2, "color": color},
            },
            error_y=None
            if hollow
            else {
                "type": "data",
                "symmetric": False,
                "array": points.high - points.value,
                "arrayminus": points.value - points.low,
                "thickness": 1.5,
                "width": 4,
            },
            showlegend=not hollow,
            customdata=np.stack([points.cost, points.low, points.high], axis=-1),
            hovertemplate=f"%{{customdata[0]:.3s}}<br>%{{y:{number}}} (%{{customdata[1]:{number}}} to "
            f"%{{customdata[2]:{number}}})<extra>{as_text(name)}</extra>",
        )
    )


def _join(figure: go.Figure, saving: Saving, shift: float, color: str) -> None:
    """Add a thin line from each point to its control."""
    control = saving.control
    assert control is not None
    gap = np.full(len(control.cost), np.nan)
    figure.add_trace(
        go.Scatter(
            x=np.stack([saving.points.cost + shift, control.cost + shift, gap], axis=1).ravel(),
            y=np.stack([saving.points.value, control.value, gap], axis=1).ravel(),
            mode="lines",
            line={"color": color, "width": 1.5, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
        )
    )
