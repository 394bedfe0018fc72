"""Presenting a story: what leads through its slides by the keyboard, on a page and in an exported file, and figures in
larger type.
"""

from functools import cache
from pathlib import Path

import plotly.graph_objects as go

_LARGER, _LARGER_IN_PANELS = 1.6, 1.2  # panels have less room for their titles
_TALLEST = 620  # pixels to which a figure grows, so that it fits a projector with its title and sentence


@cache
def presenter_js() -> str:
    """The script: a module with `present`, and as default export what `st.components.v2` wants of a component."""
    return (Path(__file__).parent / "presenter.js").read_text(encoding="utf-8")


def larger(figure: go.Figure) -> dict[str, float]:
    """What changes in a figure's layout so that its texts can be read from the back of a room: path -> value."""
    layout = figure.layout
    height, axes = layout.height or 400, [name for name in layout if name.startswith(("xaxis", "yaxis"))]
    factor = _LARGER if sum(name.startswith("x") for name in axes) < 3 else _LARGER_IN_PANELS
    values = {"font.size": 12 * factor, "height": max(height, min(_TALLEST, 1.35 * height))}
    if (layout.legend.y or 1) > 1:  # above the panels' titles, which are higher as well
        values["legend.y"] = 1 + _LARGER * (layout.legend.y - 1)
    for number, text in enumerate(layout.annotations):
        values[f"annotations[{number}].font.size"] = factor * (text.font.size or 12)
    return values | {
        f"{name}.tickfont.size": 1.3 * layout[name].tickfont.size for name in axes if layout[name].tickfont.size
    }


def enlarged(figure: go.Figure) -> go.Figure:
    """A copy of a figure with what is `larger`."""
    shown = go.Figure(figure)
    for path, value in larger(figure).items():
        shown.layout[path] = value
    return shown
