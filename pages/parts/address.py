"""Values in the page's address, as the server last wrote them.

A refresh under way while the server writes the address still carries the old value, and the rerun it causes would show
that again. So for a short while a value just replaced counts as stale, unless the visitor goes back in the browser. In
a fragment's refresh it always does: going back redraws the whole page.
"""

import time

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

_WRITTEN = "address_written"
_PRESENT = "present"  # the story as slides
LATE = 15.0  # seconds within which a refresh arrives


def write(name: str, value: str) -> None:
    """Put a value into the address, unless it is there already."""
    before = st.query_params.get(name)
    if before != value:
        st.session_state.setdefault(_WRITTEN, {})[name] = (before, value, time.monotonic())
        st.query_params[name] = value


def presenting() -> bool:
    """Return whether the address asks for the story as slides."""
    return named(_PRESENT) == "true"


def present() -> None:
    """Mark slides as shown in the browser's address: a link to the current page does not change it."""
    st.session_state.setdefault(_WRITTEN, {}).setdefault(_PRESENT, (None, "true", time.monotonic()))
    st.query_params[_PRESENT] = "true"


def leave_slides() -> None:
    """Show the page again."""
    drop(_PRESENT)


def to_slides(**query: str) -> dict[str, str]:
    """Return the query parameters of a link to the slides."""
    return {**query, _PRESENT: "true"}


def drop(name: str, stays: bool = False) -> None:
    """Take a value out of the address. stays: also keep a refresh under way from restoring it; a link to the same value
    then works only after a while.
    """
    written = st.session_state.setdefault(_WRITTEN, {})
    written.pop(name, None)
    before = st.query_params.pop(name, None)
    if stays and before is not None:
        written[name] = (before, None, time.monotonic())


def named(name: str) -> str | None:
    """Return the value in the address, or None."""
    value = st.query_params.get(name)
    before, written, at = st.session_state.get(_WRITTEN, {}).get(name, (None, None, 0.0))
    if at and value == before and value != written and time.monotonic() - at < LATE and not _went_back():
        _put(name, written)
        return None if written is None else str(written)
    if value != written:
        st.session_state.get(_WRITTEN, {}).pop(name, None)  # the visitor went elsewhere
    return value


def keep() -> None:
    """Restore what the server wrote where a late refresh of a fragment brought back the value before.

    Called first in fragments that refresh themselves.
    """
    for name, (before, written, _) in st.session_state.get(_WRITTEN, {}).items():
        if before is not None and st.query_params.get(name) == before:
            _put(name, written)


def _went_back() -> bool:
    """Return whether the visitor navigates the browser's history."""
    context = get_script_run_ctx()
    return context is not None and bool(getattr(context, "is_history_navigation", False))


def _put(name: str, value: str | None) -> None:
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value
