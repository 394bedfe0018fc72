"""What the address names, as the server last wrote it.

A refresh that is on its way while the server writes the address still carries the one of before, and the rerun that
follows would show that again. So for a short while the value that was replaced is taken for such a latecomer, unless
the visitor goes back in the browser. In a fragment's refresh it is always one: whoever goes back has the whole page
drawn.
"""

import time

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

_WRITTEN = "address_written"
_PRESENT = "present"  # the story as slides
LATE = 15.0  # seconds within which a refresh arrives


def write(name: str, value: str) -> None:
    """Puts a value into the address, where another stands there."""
    before = st.query_params.get(name)
    if before != value:
        st.session_state.setdefault(_WRITTEN, {})[name] = (before, value, time.monotonic())
        st.query_params[name] = value


def presenting() -> bool:
    """Whether the address asks for the story as slides."""
    return named(_PRESENT) == "true"


def present() -> None:
    """Puts into the browser's address that slides are shown: a link to the page that is shown leaves it as it was."""
    st.session_state.setdefault(_WRITTEN, {}).setdefault(_PRESENT, (None, "true", time.monotonic()))
    st.query_params[_PRESENT] = "true"


def leave_slides() -> None:
    """Shows the page again."""
    drop(_PRESENT)


def to_slides(**query: str) -> dict[str, str]:
    """What a link to the slides names in the address."""
    return {**query, _PRESENT: "true"}


def drop(name: str, stays: bool = False) -> None:
    """Takes a value out of the address, where the visitor wants none. stays: also what a refresh that is on its way
    brings back; a link to the same value is then followed only after a while."""
    written = st.session_state.setdefault(_WRITTEN, {})
    written.pop(name, None)
    before = st.query_params.pop(name, None)
    if stays and before is not None:
        written[name] = (before, None, time.monotonic())


def named(name: str) -> str | None:
    """The value in the address, or None."""
    value = st.query_params.get(name)
    before, written, at = st.session_state.get(_WRITTEN, {}).get(name, (None, None, 0.0))
    if at and value == before and value != written and time.monotonic() - at < LATE and not _went_back():
        _put(name, written)
        return None if written is None else str(written)
    if value != written:
        st.session_state.get(_WRITTEN, {}).pop(name, None)  # the visitor went elsewhere
    return value


def keep() -> None:
    """Puts back what the server wrote where a fragment's refresh that was late has brought the value of before.

    Called first in fragments that refresh themselves.
    """
    for name, (before, written, _) in st.session_state.get(_WRITTEN, {}).items():
        if before is not None and st.query_params.get(name) == before:
            _put(name, written)


def _went_back() -> bool:
    """Whether the visitor goes back or forth in the browser's history."""
    context = get_script_run_ctx()
    return context is not None and bool(getattr(context, "is_history_navigation", False))


def _put(name: str, value: str | None) -> None:
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value
