"""Cells that can be clicked: heatmaps send no clicks, points that nobody sees over them do."""

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import FEW_MARKS

MOST_CELLS = 12_000  # more points would make a figure heavy


def add_cells(figure: go.Figure, rows: int, columns: int, text: list[str] | None, hover: str, size: int = 12) -> None:
    """Adds an unseen point to each cell of a heatmap (rows, columns); a click gives its x, the column, and its y, the
    row. text: a line a cell, row by row. hover: the template of what is shown at the point.

    Figures of more cells than `MOST_CELLS` stay as they are.
    """
    if rows * columns > MOST_CELLS:
        return
    row, column = (axis.ravel() for axis in np.indices((rows, columns), np.int32))
    marks = go.Scatter if rows * columns <= FEW_MARKS else go.Scattergl
    figure.add_trace(
        marks(
            x=column,
            y=row,
            mode="markers",
            marker={"symbol": "square", "size": size, "opacity": 0},
            text=None if text is None else np.array(text),  # Plotly looks at each entry of a list
            hovertemplate=hover,
            showlegend=False,
        )
    )


def is_seen_in_webgl(figure: go.Figure) -> bool:
    """Whether WebGL draws anything of it that can be seen; of unseen cells it matters little how finely it draws."""
    return any(isinstance(trace, go.Scattergl) and trace.marker.opacity != 0 for trace in figure.data)


def keep_unselected(figure: go.Figure) -> go.Figure:
    """Keeps what is not clicked as bright as it was; returns the figure."""
    for trace in figure.data:
        if isinstance(trace, go.Scatter | go.Scattergl | go.Bar):
            opacity = getattr(trace.marker, "opacity", None)
            opacity = 1 if opacity is None else opacity
            trace.update(unselected={"marker": {"opacity": opacity}}, selected={"marker": {"opacity": opacity}})
    return figure
