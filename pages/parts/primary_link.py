"""A link to another page that looks like the button it is in the place of: pages lead to each other by links."""

from typing import Any

import streamlit as st

_STYLE = """<style>.st-key-primary_link{margin-top:.5rem}
.st-key-primary_link a{background:#1f5fbf;border-radius:.5rem;padding:.5rem .8rem}
.st-key-primary_link a *{color:#fff}.st-key-primary_link a:hover{background:#17499a}</style>"""


def primary_link(page: str, label: str, icon: str, **options: Any) -> None:
    """Draws the link to what is to be done next, of which a page has one. options go to `st.page_link`."""
    place = st.container(key="primary_link")
    place.html(_STYLE)
    place.page_link(page, label=label, icon=icon, **options)
