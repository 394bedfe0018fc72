"""Buttons that start a job or change what is stored, and the models that this visitor has run by hand.

Visitors without permission see a sentence instead of each button. They protect nothing: the engine refuses the same
(`analysis.engine.permissions`). An address may show what is there, and never starts a job: some pages run jobs unasked
as a visitor moves from one to the next, but only for a model whose button the visitor has pressed in this session;
following a link begins a session of its own.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from pages.parts.session import engine, submit
from pages.parts.user_errors import refusal_kept, say_refusal

INSTEAD = ":material/lock: Switched off in this demonstration."
_PRESSED, _PAGE = "button_pressed", "page_drawn"
LOOKS_ONLY = ":material/lock: You may look at this server, and start or change nothing."


def acting_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draw a button that starts or changes something, and return whether it was pressed."""
    return may_act(place) and refusable_button(label, key, place, **options)


def refusable_button(
    label: str, key: str, place: Any = st, on_click: Callable[..., Any] | None = None, args: Any = (), **options: Any
) -> bool:
    """Draw a button, and return whether it was pressed. on_click: its expected errors are said where this is
    called, after the button."""

    def click() -> None:
        with refusal_kept(key):
            if on_click is not None:
                on_click(*args)

    pressed = bool(place.button(label, key=key, on_click=click, **options))
    say_refusal(key)
    return pressed


def kept_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draw a button, and return whether it holds a press that nothing has used yet.

    Streamlit forgets a press if another rerun ends the script before it reaches the button. This one is kept until the
    script gets here, or the visitor goes to another page.
    """
    place.button(label, key=key, on_click=_press, args=(key,), **options)
    pressed = st.session_state.get(_PRESSED) == key and not options.get("disabled")
    if pressed:
        del st.session_state[_PRESSED]
    return pressed


def _press(key: str) -> None:
    st.session_state[_PRESSED] = key


def on_page(path: str) -> None:
    """Forget a press on another page. path: of the page being drawn."""
    if st.session_state.get(_PAGE) != path:
        st.session_state[_PAGE] = path
        st.session_state.pop(_PRESSED, None)


def may_act(place: Any = st) -> bool:
    """Return whether the visitor may start or change anything; say so in `place` if not."""
    may = engine().authorizer.may("run")
    if not may:
        place.caption(INSTEAD if engine().authorizer.demo else LOOKS_ONLY)
    return may


def may_record() -> bool:
    """Return whether the visitor may record the bundled pair; say so where not."""
    may = engine().authorizer.may("record")
    if not may:
        st.caption(LOOKS_ONLY)
    return may


_ALLOWED = "models_run_by_hand"


def allow(*sources: str) -> None:
    """Record that this visitor runs these models. Only for functions called by a click."""
    st.session_state.setdefault(_ALLOWED, set()).update(sources)


def begin(kind: str, spec: Any) -> JobRecord:
    """Submit a job that this visitor asks for by a click, which allows its models. Raises UserError for a bad one."""
    allow(*(model.source for model in getattr(spec, "models", None) or [spec.model]))
    return submit(kind, spec)


def is_allowed(source: str) -> bool:
    """Return whether this visitor has run the model by hand; False without the right to run every job."""
    return engine().authorizer.may("run") and source in st.session_state.get(_ALLOWED, set())
