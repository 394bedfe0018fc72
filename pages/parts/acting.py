"""Buttons that start a job or change what is stored. A visitor who may not sees one sentence in the place of each.

They say no more than the engine does, which refuses the same (`analysis.engine.permissions`).
"""

from typing import Any, Protocol

import streamlit as st

from pages.parts.session import engine

INSTEAD = ":material/lock: Not in this demonstration: it only records short prompts with the bundled pair."
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


def may_act(place: Any = st) -> bool:
    """Whether the visitor may start or change anything here; says so in the place where not."""
    allowed = engine().may("run")
    if not allowed:
        place.caption(INSTEAD if engine().demo else LOOKS_ONLY)
    return allowed


def may_record(place: Any = st) -> bool:
    """Whether the visitor may record the bundled pair; says so in the place where not."""
    allowed = engine().may("record")
    if not allowed:
        place.caption(LOOKS_ONLY)
    return allowed
