"""Figures of a sweep: accuracy against sparsity or size, differences with their intervals, and maps of two axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    FLAT_BAR,
    MASS_SCALE,
    PER_CENT,
    REFERENCE,
    Look,
    as_text,
    flat_color_bar,
    interval_bar,
    layout,
    looks_by_method,
    wrapped,
    write_cells,
)
from analysis.statistics.differences import Difference
from analysis.words import percent

DENSE_DASH, CHANCE_DASH = "dash", "dot"
_HEIGHT = 360
_DELTA_HEIGHT = 300
_CELL = 34  # pixels a row of a map
_NAME = 56  # pixels beside a plot, for the names of its levels
_NAMED_SPARSITIES = 12  # up to this many each has a tick
_AROUND = 0.05  # of sparsity that is shown on both sides of a single one
_CLOSE = 0.1  # two levels whose names would lie upon each other


@dataclass(frozen=True)
class Curve:
    """Accuracies along an axis, (N,) each, as shares. x: where; mean over seeds; low, high: the seeds' range, equal to
    the mean for one seed; seeds: how many. method: whose colour it has. reference: of another's table, drawn dotted
    and open.
    """

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: np.ndarray
    method: str = ""
    reference: bool = False


@dataclass(frozen=True)
class Delta:
    """Differences along an axis, one per x, as shares. shown: of a difference that is significant, drawn full, else
    hollow. words: what each shows. method: whose colour it has.
    """

    name: str
    x: Sequence[float]
    differences: Sequence[Difference]
    shown: Sequence[bool]
    words: Sequence[str]
    method: str = ""


def accuracy(curves: Sequence[Curve], x_title: str, dense: float | None, chance: float | None) -> go.Figure:
    """A line a curve with a dot a point, and a band over its seeds; the dense and the chance level as lines."""
    figure = go.Figure()
    _add_curves(figure, curves, _looks(curves))
    layout(figure, wrapped(x_title, 34), "accuracy", _HEIGHT)
    figure.update_yaxes(ticksuffix=PER_CENT)
    _sparsity_ticks(figure, [curve.x for curve in curves])
    figure.update_layout(showlegend=True)
    _add_levels(figure, dense, chance)
    return figure


def deltas(comparisons: Sequence[Delta]) -> go.Figure:
    """Differences in points with their intervals around zero, by sparsity."""
    figure = go.Figure()
    looks = _looks(comparisons)
    for index, delta in enumerate(comparisons):
        shift = 0.004 * (index - (len(comparisons) - 1) / 2)  # side by side where they share a sparsity
        color, symbol = looks[delta.name]
        value, low, high = 100 * np.array([(one.value, one.low, one.high) for one in delta.differences]).T
        figure.add_trace(
            go.Scatter(
                x=(np.asarray(delta.x) + shift).astype(np.float32),
                y=value.astype(np.float32),
                mode="markers",
                name=as_text(delta.name),
                marker={
                    "color": color,
                    "size": 10,
                    "line": {"color": color, "width": 2},
                    "symbol": [_symbol(symbol, shown) for shown in delta.shown],
                },
                error_y=interval_bar(value, low, high, width=4),
                text=[as_text(words) for words in delta.words],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    layout(figure, "sparsity", "difference of accuracy (points)", _DELTA_HEIGHT)
    figure.add_hline(y=0, line={"color": REFERENCE, "width": 1.5, "dash": DENSE_DASH})
    figure.update_yaxes(zeroline=False)
    _sparsity_ticks(figure, [each.x for each in comparisons])
    figure.update_layout(showlegend=True)
    return figure


def grid_map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], x: str, y: str, bar: str, whole: bool = False
) -> go.Figure:
    """Shares (rows, columns) as a map with its numbers in its cells; NaN where there is none yet. whole: colours run
    from 0 to 100 %, else from the lowest to the highest shown.
    """
    values = 100 * np.asarray(values, np.float32)
    text = [["" if not np.isfinite(cell) else f"{cell:.1f}" for cell in row] for row in values]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[as_text(name) for name in columns],
            y=[wrapped(name, 14) for name in rows],
            text=text,
            texttemplate="%{text}",
            colorscale=MASS_SCALE,
            zmin=0 if whole else None,
            zmax=100 if whole else None,
            colorbar=flat_color_bar(f"{bar}, %"),
            hovertemplate=f"%{{y}}<br>%{{x}}<br>%{{z:.1f}}{PER_CENT}<extra></extra>",
            hoverongaps=False,
            xgap=1,
            ygap=1,
        )
    )
    layout(figure, x, y, 110 + FLAT_BAR + _CELL * len(rows))
    figure.layout.margin.t = FLAT_BAR
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category", title_standoff=18)  # names of tasks have two lines where they are long
    return write_cells(figure)


def _looks(drawn: Sequence[Curve | Delta]) -> dict[str, Look]:
    methods = {series.name: series.method for series in drawn}
    return dict(zip(methods, looks_by_method(list(methods.values())), strict=True))


def _sparsity_ticks(figure: go.Figure, sparsities: Sequence[np.ndarray | Sequence[float]]) -> None:
    """Ticks at the sparsities that were measured, or at round ones where there are many."""
    measured = np.unique(np.concatenate([np.zeros(0), *sparsities]))
    if len(measured) <= _NAMED_SPARSITIES:
        figure.update_xaxes(tickmode="array", tickvals=measured, ticktext=[percent(each) for each in measured])
    if len(measured) == 1:
        figure.update_xaxes(range=[measured[0] - _AROUND, measured[0] + _AROUND])


def _symbol(symbol: str, shown: bool) -> str:
    return symbol if shown else f"{symbol}-open"


def _add_curves(figure: go.Figure, curves: Sequence[Curve], looks: Mapping[str, Look]) -> None:
    for curve in curves:
        color, symbol = looks[curve.name]
        x = np.asarray(curve.x, np.float32)
        mean, low, high = (100 * np.asarray(values, np.float32) for values in (curve.mean, curve.low, curve.high))
        if (high > low).any():
            figure.add_trace(
                go.Scatter(
                    x=np.concatenate([x, x[::-1]]),
                    y=np.concatenate([high, low[::-1]]),
                    fill="toself",
                    mode="none",
                    fillcolor=color,
                    opacity=0.18,
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=mean,
                mode="lines+markers",
                name=as_text(curve.name),
                line={"color": color, "width": 2, "dash": CHANCE_DASH if curve.reference else "solid"},
                marker={"size": 8, "symbol": _symbol(symbol, not curve.reference)},
                customdata=np.stack([low, high, np.asarray(curve.seeds, np.float32)], axis=1),
                hovertemplate=f"%{{y:.1f}}{PER_CENT}"
                + (
                    ""
                    if curve.reference
                    else " (%{customdata[2]:d} seeds, %{customdata[0]:.1f} to %{customdata[1]:.1f} %)"
                ),
            )
        )


def _add_levels(figure: go.Figure, dense: float | None, chance: float | None) -> None:
    """Draw lines across the plot, each with its name beside its end, where no grid line and no curve crosses it."""
    levels = {"dense": (dense, DENSE_DASH), "chance": (chance, CHANCE_DASH)}
    known = {name: (level, dash) for name, (level, dash) in levels.items() if level is not None}
    close = dense is not None and chance is not None and abs(dense - chance) < _CLOSE
    for name, (level, dash) in known.items():
        line = {"color": REFERENCE, "width": 1.5, "dash": dash}
        figure.add_shape(type="line", xref="x domain", x0=0, x1=1, yref="y", y0=100 * level, y1=100 * level, line=line)
        figure.add_annotation(
            text=f"{name}<br>{percent(level, 1)}",
            showarrow=False,
            align="left",
            yanchor="middle" if not close else "bottom" if level == max(dense or 0, chance or 0) else "top",
            **{"xref": "x domain", "x": 1, "xanchor": "left", "xshift": 4, "yref": "y", "y": 100 * level},
        )
    if known:
        figure.layout.margin.r = _NAME
