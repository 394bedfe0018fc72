"""Figures of heads: the grid of all of them, one head over the steps, and one attention map."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis import words
from analysis.figures.style import (
    CLICK_HINT,
    DIFFERENCE_SCALE,
    FLAT_BAR,
    MASS_SCALE,
    NARROW_TICK_LABELS,
    PER_CENT,
    REFERENCE,
    SINK,
    as_text,
    block_reduce,
    color_bar,
    flat_color_bar,
    layout,
    tick_step,
    token_axis,
    without_grid,
    write_cells,
)

_WRITTEN = 64  # up to this many cells carry their numbers
_MOST_MARKS = 20_000
_NAMED_ROWS = 36  # of a map of tokens, which has room for as many names; of more, every second or third is named


def head_grid(
    values: np.ndarray,
    name: str,
    percent: bool = True,
    names: Sequence[Sequence[str]] | None = None,
    centre: float | None = None,
    null: np.ndarray | None = None,
) -> go.Figure:
    """Draw a layer × head heatmap of one number per head, (L, H): x is the head, y the layer. names (L, H): the
    position each head attends to most, by name, for the hover. centre: where the colours diverge from. null (L, H): the
    same with random weights; heads that do not exceed all of it are marked.
    """
    values = np.asarray(values, np.float32)
    layers, heads = values.shape
    written = layers * heads <= _WRITTEN
    large = np.nanmax(np.abs(values), initial=0) >= 1  # then far smaller ones read as 0.0
    number = f"%{{z:.0f}}{PER_CENT}" if percent else "%{z:.1f}" if large else "%{z:.2g}"
    shown = [[words.percent(value, 1) if percent else f"{value:.3g}" for value in row] for row in values.tolist()]
    if names is not None:
        named = [[f"<br>most attention: {as_text(each)}" for each in row] for row in names]
        shown = [list(map("".join, zip(*rows, strict=True))) for rows in zip(shown, named, strict=True)]
    figure = go.Figure(
        go.Heatmap(
            z=100 * values if percent else values,
            text=shown,
            hovertemplate="layer %{y}, head %{x}<br>" + name + " %{text}" + CLICK_HINT + "<extra></extra>",
            colorscale=MASS_SCALE if centre is None else DIFFERENCE_SCALE,
            zmin=0 if percent else None,
            zmid=100 * centre if percent and centre is not None else centre,
            colorbar=(flat_color_bar if written else color_bar)(name, percent),
            texttemplate=number if written else None,
            xgap=1 if layers * heads <= 256 else 0,
            ygap=1 if layers * heads <= 256 else 0,
        )
    )
    if null is not None and np.isfinite(null).any():
        most = float(np.nanmax(null))
        layer, head = np.nonzero(~(values > most))
        figure.add_scatter(
            x=head + 0.38,
            y=layer - 0.36,
            mode="markers",
            name=f"not above {words.UNTRAINED_LABEL} (at most {words.number(most, percent)})",
            marker={"symbol": "x", "size": 7, "color": REFERENCE},
            hoverinfo="skip",
            showlegend=True,
        )
    layout(figure, "head", "layer", max(300, min(640, 90 + 44 * layers)) + FLAT_BAR * written)
    figure.update_layout(margin_t=FLAT_BAR if written else 10, dragmode=False)
    without_grid(figure, layers, heads)
    figure.update_xaxes(dtick=tick_step(heads))
    figure.update_yaxes(dtick=tick_step(layers))
    return write_cells(figure)


def _heatmap(values: np.ndarray, title: str) -> go.Heatmap:
    """Draw a heatmap of (rows, columns) from 0 up; cells too fine for a screen are averaged and stay where they were.

    The colours end at the 99.5th percentile, as a few very strong cells would leave all others black.
    """
    top = float(np.nanpercentile(values, 99.5)) if np.isfinite(values).any() else 0.0
    reduced, rows, columns = block_reduce(np.asarray(values, np.float32))
    return go.Heatmap(
        z=reduced,
        x0=(columns - 1) / 2,
        dx=columns,
        y0=(rows - 1) / 2,
        dy=rows,
        colorscale=MASS_SCALE,
        zmin=0,
        zmax=top if top > 0 else None,
        colorbar=color_bar(title),
    )


def attention_map(values: np.ndarray, labels: list[str]) -> go.Figure:
    """Draw one head's attention, query × key, (S, S); rows sum to 1."""
    size = len(labels)
    name = "attention paid by the query"
    heatmap = _heatmap(values, name).update(colorbar=flat_color_bar(name))
    figure = go.Figure(heatmap.update(hovertemplate="query %{y}, key %{x}<br>attention %{z:.3f}<extra></extra>"))
    layout(figure, "key (attended to)", "query (attending)", max(420, min(600, 140 + 12 * size)))
    without_grid(figure, size, size)
    ticks = token_axis(labels, every=-(-size // _NAMED_ROWS))
    figure.update_xaxes(**ticks)
    figure.update_yaxes(**{**ticks, "tickangle": 0})
    figure.update_layout(margin_t=FLAT_BAR)
    return figure


def mass_over_steps(mass: np.ndarray, labels: list[str], sinks: np.ndarray, names: list[list[str]] | None) -> go.Figure:
    """Draw one head's attention mass, position × step: mass (T, S), sinks (T, S) marked; x is the position, y the step.

    labels: the finished text, for the axis. names: of each cell's position in its step, for the hover; None if there
    are too many cells.
    """
    heatmap = _heatmap(mass, "mass (uniform = 1)")
    named = names is not None and heatmap.z.shape == mass.shape
    # Written as a number, the position has not the name that the axis gives it, of the finished text.
    who = "%{text}" if named else "position %{x:d}"
    heatmap.update(
        text=[[as_text(name) for name in row] for row in names or ()] if named else None,
        hovertemplate="step %{y}, " + who + "<br>mass %{z:.2f}<extra></extra>",
        hoverongaps=False,
    )
    figure = go.Figure(heatmap)
    at_step, at_position = np.nonzero(sinks)
    if 0 < len(at_step) <= _MOST_MARKS:
        marker = {"symbol": "square-open", "size": 7 if len(mass) <= 64 else 5, "color": SINK, "line": {"width": 1.5}}
        figure.add_scatter(
            x=at_position, y=at_step, mode="markers", name="sink of this head", marker=marker, hoverinfo="skip"
        )
    height = max(340, min(500, 150 + 7 * len(mass)))
    layout(figure, "position (finished text)", "denoising step", height, legend=len(figure.data) > 1)
    without_grid(figure, *mass.shape)
    figure.update_xaxes(**token_axis(labels, NARROW_TICK_LABELS))
    return figure
