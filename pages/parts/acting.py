"""Buttons that start a job or change what is stored. A visitor who may not sees one sentence in the place of each.

They say no more than the engine does, which refuses the same (`analysis.engine.permissions`).
"""

from typing import Any, Protocol

import streamlit as st

from pages.parts.session import engine

INSTEAD = ":material/lock: Switched off in this demonstration."
_PRESSED, _PAGE = "button_pressed", "page_drawn"
LOOKS_ONLY = ":material/lock: You may look at this server, and start or change nothing."


class Place(Protocol):
    """Where something is drawn: a column, a container, or the page itself."""

    def button(self, label: str, **options: Any) -> bool: ...
    def caption(self, body: str) -> Any: ...


def acting_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draws a button for what starts or changes something, and returns whether it was pressed."""
    if not may_act(place):
        return False
    drawn: Place = place
    return bool(drawn.button(label, key=key, **options))


def kept_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draws a button, and returns whether it was pressed and nothing has come of it yet.

    Streamlit forgets a press where another rerun ends the script on its way to the button. This one is kept until the
    script gets here, or the visitor goes to another page.
    """
    drawn: Place = place
    drawn.button(label, key=key, on_click=_press, args=(key,), **options)
    pressed = st.session_state.get(_PRESSED) == key and not options.get("disabled")
    if pressed:
        del st.session_state[_PRESSED]
    return pressed


def _press(key: str) -> None:
    st.session_state[_PRESSED] = key


def on_page(path: str) -> None:
    """Forgets a press on another page. path: of the page that is drawn."""
    if st.session_state.get(_PAGE) != path:
        st.session_state[_PAGE] = path
        st.session_state.pop(_PRESSED, None)


def may_act(place: Any = st) -> bool:
    """Whether the visitor may start or change anything here; says so in the place where not."""
    allowed = engine().authorizer.may("run")
    if not allowed:
        place.caption(INSTEAD if engine().authorizer.demo else LOOKS_ONLY)
    return allowed


def may_record() -> bool:
    """Return whether the visitor may record the bundled pair; say so where not."""
    allowed = engine().authorizer.may("record")
    if not allowed:
        st.caption(LOOKS_ONLY)
    return allowed
