"""Links to other pages that look like the buttons they are in the place of: pages lead to each other by links."""

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

_STYLE = """<style>.st-key-primary_link{margin-top:.5rem}
.st-key-primary_link a{background:#1f5fbf;border-radius:.5rem;padding:.5rem .8rem}
.st-key-primary_link a *{color:#fff}.st-key-primary_link a:hover{background:#17499a}</style>"""
_BUTTONS = """<style>[class*='st-key-buttons_'] [data-testid='stPageLink'] a{border-radius:.5rem;padding:.25rem .6rem;
min-height:2.25rem;border:1px solid color-mix(in srgb,currentColor 25%,transparent)}
[class*='st-key-buttons_'] [data-testid='stPageLink'] p{font-size:.88rem;white-space:nowrap}</style>"""


def primary_link(page: str, label: str, icon: str, **options: Any) -> None:
    """Draw the link to the next thing to do, one per page. options go to `st.page_link`."""
    place = st.container(key="primary_link")
    place.html(_STYLE)
    place.page_link(page, label=label, icon=icon, **options)


def link_buttons(key: str) -> DeltaGenerator:
    """Return a row whose links look like buttons. key: of this row alone."""
    st.html(_BUTTONS)
    return st.container(horizontal=True, gap="small", key=f"buttons_{key}")
