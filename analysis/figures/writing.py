"""What is written when, drawn over a plot whose rows are steps and whose columns are positions."""

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import SELECTED, TOKEN

MOST_MARKS = 20_000
_LEGEND_LINE = 10  # pixels added a name
_MARKS = {
    "written in this step": ("circle", "#ffffff", 4),
    "edited in this step": ("diamond", "#ffb000", 8),
    "taken back in this step": ("x", SELECTED, 8),
}


def mark_writing(
    figure: go.Figure, open_block: np.ndarray, written: np.ndarray, edited: np.ndarray, taken_back: np.ndarray
) -> go.Figure:
    """Adds the open block's border and marks where a step writes, edits or takes back a token; returns the figure.

    open_block (T, 2): the positions each step writes in, from and to. written, edited, taken_back (T, S) bool.
    """
    x, y = _border(open_block)
    if x:
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="lines", name="open block", line={"color": TOKEN, "width": 1.5}, hoverinfo="skip")
        )
    for (name, (symbol, color, size)), flags in zip(_MARKS.items(), (written, edited, taken_back), strict=True):
        step, position = np.nonzero(flags)
        if 0 < len(step) <= MOST_MARKS:
            figure.add_trace(
                go.Scatter(
                    x=position,
                    y=step,
                    mode="markers",
                    name=name,
                    marker={"symbol": symbol, "size": size, "color": color, "line": {"width": 1, "color": "#24418a"}},
                    hoverinfo="skip",
                )
            )
    # On a narrow screen every name in the legend takes a line of its own, from the height of the plot.
    height = (figure.layout.height or 400) + _LEGEND_LINE * len(figure.data)
    figure.update_layout(showlegend=True, height=height)
    return figure


def _border(open_block: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    """The outline of the open block over the steps, one rectangle for each stretch of steps that write in it."""
    x: list[float | None] = []
    y: list[float | None] = []
    changed = np.flatnonzero((np.diff(open_block, axis=0) != 0).any(axis=1)) + 1
    for steps in np.split(np.arange(len(open_block)), changed):
        start, end = open_block[steps[0]].tolist()
        if end - start > 1 or len(steps) > 1:  # else the one token that is appended, as in autoregressive writing
            left, right, top, bottom = start - 0.5, end - 0.5, steps[0] - 0.5, steps[-1] + 0.5
            x += [left, right, right, left, left, None]
            y += [top, top, bottom, bottom, top, None]
    return x, y
