"""A Plotly figure on a page, as our own component: it is changed in place, where Streamlit's chart is rebuilt with each
change, and it reports which point was clicked, also in heatmaps.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly

from analysis.figures.tool_bar import with_tool_bar
from pages.parts import plotly_script

_SCRIPT = with_tool_bar(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
_mount = st.components.v2.component(
    "sinkscope_plot", js=_SCRIPT.replace("%SCRIPT%", plotly_script.address()), isolate_styles=False
)


def plots_will_come() -> None:
    """Have the browser load the plot library in idle time: call it where a page waits for its figures."""
    _mount(key="plots_will_come")


class Point(NamedTuple):
    """A clicked point: its coordinates, and its trace's custom data."""

    x: Any
    y: Any
    customdata: Any

    @property
    def cell(self) -> tuple[int, int]:
        """Return the row and the column of a heatmap's cell, as of the array that it draws."""
        return int(self.y), int(self.x)


def plot(
    figure: go.Figure,
    key: str,
    alt: str,
    config: Mapping[str, Any] | None = None,
    on_click: Callable[[Point], None] | None = None,
) -> None:
    """Draw a figure in the colours of the visitor's theme. alt: what it shows, for people who cannot see it. config: as
    Plotly's own. on_click: called with the clicked point, before the page is redrawn.
    """

    def clicked() -> None:
        point = st.session_state[key]["click"]
        if on_click is not None:
            on_click(Point(point["x"], point["y"], point["customdata"]))

    content = figure.to_dict()
    content["layout"].pop("template", None)  # the browser's, who knows the theme
    told = json.dumps({"alt": alt, "config": dict(config or {}), "clicks": on_click is not None})
    data = f'{told[:-1]}, "figure": {to_json_plotly(content)}}}'.encode()
    _mount(key=key, data=data, on_click_change=clicked)
