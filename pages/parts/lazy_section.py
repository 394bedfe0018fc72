"""Parts of a page that are drawn alone or late, and scripts that are silent once the visitor leaves.

Sections below the first screen are sent after the rest, when scrolled near or after a while: browsers take as long to
draw what is not seen.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import streamlit as st

from pages.parts import address
from pages.parts.session import told

_GUARD = Path(__file__).with_name("leaving.js").read_text(encoding="utf-8")
_EXPORTED = "export default function component("


def guarded(script: str) -> str:
    """Return a component's script so that it tells the server nothing once the visitor leaves the page.

    Raises ValueError where the script exports no function `component`.
    """
    before, exported, after = script.partition(_EXPORTED)
    if not exported:
        raise ValueError(f"The script of a component is expected to hold {_EXPORTED!r}.")
    return f"{before}function component({after}\n{_GUARD}"


_Given = ParamSpec("_Given")


def alone(body: Callable[_Given, None]) -> Callable[_Given, None]:
    """Return a function that draws a part whose controls redraw it alone, without the sidebar and all around it. Its
    arguments stay the same until the whole page is redrawn.
    """

    @st.fragment
    def drawn(*args: _Given.args, **options: _Given.kwargs) -> None:
        address.keep()
        with told():
            body(*args, **options)

    @wraps(body)
    def placed(*args: _Given.args, **options: _Given.kwargs) -> None:
        with st.container(key=f"alone_{body.__name__}"):  # what stands above it may come and go
            drawn(*args, **options)

    return placed


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
