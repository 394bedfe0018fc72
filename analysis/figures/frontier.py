"""Quality against cost: a line per way of saving, each of its points joined to its control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    METHOD_LOOKS,
    PER_CENT,
    REFERENCE,
    Look,
    as_text,
    dots,
    grey_line,
    interval_bar,
    layout,
    looks_by_method,
    wrapped,
)

_APART = 0.01  # of the axis, between points of two lines at equal cost
_BEYOND = 0.04  # of the span of the values that the axis shows on both sides of them


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
    """A way of saving, at several costs. control: the same points of its control, drawn hollow, where it has one.
    method, control_method: whose looks they have; a control whose method has none has the colour of its saving.
    """

    name: str
    points: Points
    control: Points | None = None
    method: str = ""
    control_method: str = ""


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
    scale = 100 if percent else 1
    looks = looks_by_method([saving.method for saving in savings])
    for index, (saving, look) in enumerate(zip(savings, looks, strict=True)):
        shift = reach * _APART * (index - (len(savings) - 1) / 2)
        if saving.control is not None:
            own = METHOD_LOOKS.get(saving.control_method, look)
            _join(figure, saving, shift, look.color, scale)
            _add(figure, saving.control, f"{saving.name}: {control_name}", own, shift, percent, hollow=True)
        _add(figure, saving.points, saving.name, look, shift, percent)
    if best is not None:
        line = {**grey_line(), "shape": "hv"}
        figure.add_scatter(
            x=best.cost, y=scale * best.value, mode="lines", line=line, name="frontier", hoverinfo="skip"
        )
    if full is not None:
        figure.add_hline(y=scale * full[1], line=grey_line("dash"))
        cost, value = np.array(full)[:, None]
        _add(figure, Points(cost, value, value, value), full_name, Look(REFERENCE, "circle"), 0, percent)
    height = 400 + 10 * len(savings)  # the legend takes the rest
    layout(figure, wrapped(cost_title, 40), wrapped(value_title, 34), height, legend=True)
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False, tickformat="~g", ticksuffix=PER_CENT if percent else "")
    shown = [part for saving in savings for part in (saving.points, saving.control) if part is not None]
    ends = scale * np.concatenate([np.zeros(0), *(end for part in shown for end in (part.value, part.low, part.high))])
    ends = np.append(ends[np.isfinite(ends)], [scale * full[1]] if full else [])
    if len(ends):  # an interval that ends at 100 % shows its end
        beyond = _BEYOND * (np.ptp(ends) or 1.0)
        figure.update_yaxes(range=[ends.min() - beyond, ends.max() + beyond])
    return figure


def _add(
    figure: go.Figure, points: Points, name: str, look: Look, shift: float, percent: bool, hollow: bool = False
) -> None:
    """Add a line with its dots. hollow: of a control, whose dotted line says whose it is."""
    number, names = ".1f" if percent else ".3g", points.names or [name] * len(points.cost)
    (color, symbol), (scale, unit) = look, (100, PER_CENT) if percent else (1, "")
    value, low, high = scale * points.value, scale * points.low, scale * points.high
    figure.add_scatter(
        x=points.cost + shift,
        y=value,
        mode="markers" if hollow else "lines+markers",
        name=as_text(name),
        line={"color": color, "width": 2},
        marker=dots(color, 9, symbol=f"{symbol}-open" if hollow else symbol),
        error_y=None if hollow else interval_bar(value, low, high, thickness=1.5, width=4),
        customdata=[*zip(points.cost.tolist(), low.tolist(), high.tolist(), map(as_text, names), strict=True)],
        hovertemplate=f"%{{customdata[3]}}<br>%{{customdata[0]:.3s}}<br>%{{y:{number}}}{unit} "
        f"(%{{customdata[1]:{number}}} to %{{customdata[2]:{number}}}{unit})<extra>{as_text(name)}</extra>",
    )


def _join(figure: go.Figure, saving: Saving, shift: float, color: str, scale: float) -> None:
    """Add a thin line from each point to its control."""
    control = saving.control
    assert control is not None
    gap = np.full(len(control.cost), np.nan)
    figure.add_scatter(
        x=np.stack([saving.points.cost + shift, control.cost + shift, gap], axis=1).ravel(),
        y=scale * np.stack([saving.points.value, control.value, gap], axis=1).ravel(),
        mode="lines",
        line={"color": color, "width": 1.5, "dash": "dot"},
        showlegend=False,
        hoverinfo="skip",
    )
