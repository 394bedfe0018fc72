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


def enlarged(figure: go.Figure) -> go.Figure:
    """A copy of a figure whose texts can be read from the back of a room."""
    shown = go.Figure(figure)
    height, panels = shown.layout.height or 400, sum(1 for _ in shown.select_xaxes())
    larger = _LARGER if panels < 3 else _LARGER_IN_PANELS
    shown.update_layout(font_size=12 * larger, height=max(height, min(_TALLEST, 1.35 * height)))
    if (shown.layout.legend.y or 1) > 1:  # above the panels' titles, which are higher as well
        shown.update_layout(legend_y=1 + _LARGER * (shown.layout.legend.y - 1))
    shown.for_each_annotation(lambda text: text.update(font_size=larger * (text.font.size or 12)))
    for axes in (shown.for_each_xaxis, shown.for_each_yaxis):
        axes(lambda axis: axis.tickfont.size and axis.update(tickfont_size=1.3 * axis.tickfont.size))
    return shown
