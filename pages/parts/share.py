"""Sharing what a page shows, from one place in the sidebar: the link to it, and how its figures are saved."""

from pathlib import Path
from typing import Any

import streamlit as st

from analysis.figures.export import figure_name

_FORMAT, _FORMATS = "figure_format", ("PNG", "SVG")
_SCALE = 3  # pixels of a saved PNG for one on the screen
_STYLE = """
button, input { font: inherit; color: inherit; box-sizing: border-box; width: 100%; border-radius: .5rem;
  border: 1px solid var(--st-border-color); background: transparent; padding: .35rem .6rem; min-height: 2.4rem;
  font-size: .875rem }
button { cursor: pointer }
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color) }
input { margin-top: .3rem }
span { display: block; min-height: 1.3em; font-size: .85rem; opacity: .8 }
div { font-family: var(--st-font); color: var(--st-text-color) }
"""
_link = st.components.v2.component(
    "sinkscope_copy_link", js=Path(__file__).with_name("copy_link.js").read_text(encoding="utf-8"), css=_STYLE
)


def share_panel() -> None:
    """Draws the button that copies the address, and the choice of a format for figures."""
    st.divider()
    st.markdown("**Share**")
    _link(key="copy_link")
    st.segmented_control(
        "Save figures as",
        _FORMATS,
        default=_FORMATS[0],
        required=True,
        key=_FORMAT,
        persist_state="session",
        help="What the camera above each figure saves, named after the figure.",
    )


def saving(title: str) -> dict[str, Any]:
    """What Plotly's tool bar is told of saving a figure: the format chosen, and a file named after its title."""
    chosen = str(st.session_state.get(_FORMAT, _FORMATS[0])).lower()
    return {"toImageButtonOptions": {"format": chosen, "filename": figure_name(title), "scale": _SCALE}}
