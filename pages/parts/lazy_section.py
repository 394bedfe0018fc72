"""Sections below the first screen. They are sent after the rest, when scrolled near or after a while: browsers take as
long to draw what is not seen.
"""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from pages.parts.alone import alone
from pages.parts.leaving import guarded

WAITS = True  # not where there is no browser that could ask for it
_mount = st.components.v2.component(
    "sinkscope_below", js=guarded(Path(__file__).with_suffix(".js").read_text(encoding="utf-8")), isolate_styles=False
)


@alone
def lazy_section(body: Callable[[], None], key: str, height: int) -> None:
    """Draw a part of the page that begins below the first screen. Its controls redraw it alone.

    key: of its place, which holds `height` pixels until the browser asks for it. From then on it is drawn with the rest
    until the visitor goes to another page.
    """
    asked = not WAITS or bool(st.session_state.get(key, {}).get("asked"))
    with st.container():
        _mount(key=key, data={"asked": asked, "height": height}, default={"asked": False}, on_asked_change=lambda: None)
        if asked:
            body()
