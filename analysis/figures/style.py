"""Colours and layout shared by every figure: one meaning, one colour, legible on light and dark pages."""

from html import escape
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go

# Attention mass and strength: dark = little, bright = much; even in lightness, safe for colour-blind readers.
MASS_SCALE = ["#141a3c", "#24418a", "#2477a8", "#36a796", "#8fce69", "#f8ee9a"]
# Differences of two masks: blue = the second keeps more, red = it prunes more. The grey middle reads on both themes.
DIFFERENCE_SCALE = ["#1b4fa0", "#5a90d8", "#cfd4dc", "#e27f6a", "#a81f2d"]
SINK = "#e8590c"
TOKEN = "#5b8def"
REFERENCE = "#8a94a6"
SELECTED = "#ff5fa2"
CLICK_HINT = "<br><i>click to open</i>"

MAX_CELLS = 1024  # a heatmap's side; more would be finer than the screen
MAX_TICK_LABELS = 64  # of tokens along the whole width of a page
NARROW_TICK_LABELS = 28  # the same along half of it
MAX_NAMED_CELLS = 30_000  # a heatmap's cells whose own tokens are sent for the hover


def layout(figure: go.Figure, x: str, y: str, height: int) -> go.Figure:
    """Axis titles, margins and a horizontal legend above the plot."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
        xaxis_title=x,
        yaxis_title=y,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
        hoverlabel={"align": "left"},
        uirevision="keep",
    )
    figure.update_xaxes(automargin=True, title_standoff=8)
    figure.update_yaxes(automargin=True, title_standoff=22, exponentformat="power")
    return figure


def color_bar(title: str, percent: bool = False) -> dict:
    """A colour bar with its title along the side, so that it takes no width from the plot."""
    return {
        "title": {"text": title, "side": "right"},
        "thickness": 12,
        "outlinewidth": 0,
        "tickformat": "~p" if percent else "~g",
    }


def token_axis(labels: list[str], most: int = MAX_TICK_LABELS) -> dict:
    """Ticks that read as position and token, as the hover does too; one at every position where `most` allows."""
    names = [f"{position} ‘{shorten(label)}’" for position, label in enumerate(labels)]
    if len(labels) > most:
        return {"labelalias": {str(position): name for position, name in enumerate(names)}}
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": names,
        "tickangle": -90,
        "tickfont": {"size": 10},
    }


def shorten(label: str, width: int = 10) -> str:
    """A token as a tick label: white space made visible, long ones cut, its own marks as text."""
    visible = label.replace("\n", "⏎").strip() or "␣"
    return as_text(visible if len(visible) <= width else visible[: width - 1] + "…")


def as_text(label: str) -> str:
    """Text from outside as Plotly shows it literally: it reads `<…>` as markup, and `%{…}` as a number's place."""
    return escape(label, quote=False).replace("%{", "%&#123;")


def wrapped(label: str, width: int) -> str:
    """Text from outside in lines of at most `width` characters: Plotly cuts titles that are wider than their plot."""
    return "<br>".join(as_text(line) for line in wrap(label, width))


def block_reduce(values: np.ndarray, limit: int = MAX_CELLS) -> tuple[np.ndarray, int, int]:
    """Averages blocks of a matrix until neither side exceeds `limit`. Returns it with the block's height and width.

    NaN cells are left out of their block's mean; a block of NaN alone stays NaN.
    """
    rows, columns = (-(-size // limit) for size in values.shape)
    if rows == columns == 1:
        return values, 1, 1
    padded = np.full((-(-values.shape[0] // rows) * rows, -(-values.shape[1] // columns) * columns), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    counts = np.isfinite(blocks).sum(axis=(1, 3))
    return np.nansum(blocks, axis=(1, 3)) / np.where(counts, counts, np.nan), rows, columns
