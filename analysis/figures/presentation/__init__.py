"""Presenting a story: what leads through its slides by the keyboard, on a page and in an exported file, and figures in
larger type.
"""

from functools import cache
from pathlib import Path

import plotly.graph_objects as go

_LARGER = 1.6
_TALLEST = 620  # pixels, so that a figure with its title and sentence fits a projector


@cache
def presenter_js() -> str:
    """The script: a module with `present`, and as default export what `st.components.v2` wants of a component."""
    return (Path(__file__).parent / "presenter.js").read_text(encoding="utf-8")


def enlarged(figure: go.Figure) -> go.Figure:
    """A copy of a figure whose texts can be read from the back of a room."""
    shown = go.Figure(figure)
    shown.update_layout(font_size=12 * _LARGER, height=min(_TALLEST, 1.35 * (shown.layout.height or 400)))
    shown.for_each_annotation(lambda text: text.update(font_size=_LARGER * (text.font.size or 12)))
    for axes in (shown.for_each_xaxis, shown.for_each_yaxis):
        axes(lambda axis: axis.tickfont.size and axis.update(tickfont_size=1.3 * axis.tickfont.size))
    return shown
