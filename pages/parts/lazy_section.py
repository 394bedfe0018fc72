"""What lies below what is seen of a page as it opens. It is sent after the rest, as it comes near or after a while: the
browser takes as long for what is not seen.
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
    """Draws a part of the page that begins below what is seen. Its controls draw it alone.

    key: of its place, which keeps so many pixels of height until the browser has asked for it. Once it has, it is drawn
    with the rest until the visitor goes to another page.
    """
    asked = not WAITS or bool(st.session_state.get(key, {}).get("asked"))
    with st.container():
        _mount(key=key, data={"asked": asked, "height": height}, default={"asked": False}, on_asked_change=lambda: None)
        if asked:
            body()
