"""Quality against cost: a line per way of saving, each of its points joined to its control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import REFERENCE, SERIES_COLORS, SYMBOLS, as_text, layout, wrapped

_APART = 0.02  # of the axis between the points of two lines, which stand at equal cost


@dataclass(frozen=True)
class Points:
    """Qualities with their intervals at costs, (N,) each; NaN where a point is missing. names: of each point, which a
    click tells; none where a point has no name.
    """

    cost: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: Sequence[str] = ()


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
    best: Points | None = None,
    full_name: str = "everything",
) -> go.Figure:
    """Draw a line per saving with a dot and an interval per point, and a thin line from each to its control. full: cost
    and quality of saving nothing, as a dashed level that begins at its dot. best: the points that no other beats,
    joined by steps.
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
    if best is not None:
        figure.add_trace(
            go.Scatter(
                x=best.cost,
                y=best.value,
                mode="lines",
                line={"color": REFERENCE, "width": 1.5, "shape": "hv"},
                name="frontier",
                hoverinfo="skip",
            )
        )
    if full is not None:
        figure.add_hline(y=full[1], line={"color": REFERENCE, "width": 1.5, "dash": "dash"})
        cost, value = (np.array([part]) for part in full)
        _add(figure, Points(cost, value, value, value), full_name, REFERENCE, 0, 0, percent)
    layout(
        figure, wrapped(cost_title, 40), wrapped(value_title, 34), height=400 + 10 * len(savings)
    )  # the legend takes the rest
    figure.update_layout(showlegend=True)
    figure.update_xaxes(zeroline=False)
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
    number, names = ".1%" if percent else ".3g", points.names or [name] * len(points.cost)
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
            customdata=[
                *zip(points.cost.tolist(), points.low.tolist(), points.high.tolist(), map(as_text, names), strict=True)
            ],
            hovertemplate=f"%{{customdata[3]}}<br>%{{customdata[0]:.3s}}<br>%{{y:{number}}} "
            f"(%{{customdata[1]:{number}}} to %{{customdata[2]:{number}}})<extra>{as_text(name)}</extra>",
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
