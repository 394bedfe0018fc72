"""Buttons that start a job or change what is stored. A demonstration shows one sentence in the place of each.

They say no more than the engine does, which refuses the same (`analysis.engine.demonstration`).
"""

from typing import Any, Protocol

import streamlit as st

from pages.parts.session import engine

INSTEAD = ":material/lock: Not in this demonstration: it only records short prompts with the bundled pair."


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


def may_act(place: Any = st) -> bool:
    """Whether anything may be started or changed here; says so in the place where it may not."""
    if engine().demo:
        place.caption(INSTEAD)
    return not engine().demo
