"""Errors in what a user typed or opened, told in one sentence: the one way in which pages catch errors."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from pydantic import ValidationError

from analysis.errors import UserError
from analysis.specs import sentence
from cache.opening import StoreError
from pages.parts.plain import plain

EXPECTED = (OSError, ValueError)
"""Errors of opening, reading and validating: UserError, ValidationError and UnicodeError are ValueErrors."""
_REFUSED = "refused"
_SHOWN = 120  # characters of a path that are shown


def why(error: Exception) -> str:
    """Return one sentence for the user. Raises the error again if user input did not cause it."""
    match error:
        case UserError() | StoreError():
            return str(error)
        case ValidationError():
            return sentence(error)
        case json.JSONDecodeError():
            return f"This is not readable JSON (line {error.lineno}, column {error.colno})."
        case UnicodeDecodeError() | UnicodeEncodeError():
            return f"This text is not readable as UTF-8 ({error.reason}). Save it as UTF-8 and try again."
        case OSError():
            return _of_system(error)
        case ValueError() if "null" in str(error):
            return "A name or path holds a character (NUL) that no file can have. Type it again."
    raise error


def _of_system(error: OSError) -> str:
    name = error.filename if isinstance(error.filename, str) else ""
    if len(name) > _SHOWN:
        name = f"{name[:_SHOWN]}…"
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return f"{f'‘{name}’: ' if name else ''}{reason}. Check that it exists and may be read and written."


@contextmanager
def told() -> Iterator[None]:
    """Wrap code that reads user input: an expected error ends the block and is said on the page."""
    try:
        yield
    except EXPECTED as error:
        st.error(plain(why(error)))


@contextmanager
def refusal_kept(place: str) -> Iterator[None]:
    """Wrap a click's callback: an expected error ends the block, and `say_refusal` of the same place says it as the
    page is drawn. place: what was clicked, one name for each.
    """
    try:
        yield
    except EXPECTED as error:
        st.session_state[f"{_REFUSED}_{place}"] = why(error)


def say_refusal(place: str) -> None:
    """Say once why the last click at this place was refused, if it was."""
    message = st.session_state.pop(f"{_REFUSED}_{place}", "")
    if message:
        st.error(plain(message))
