"""Boxes whose choice is in the address by its id. Titles are for display alone, and may change."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.parts import address

_TAKEN = "taken_from_address_"  # by key: what the address said when it was last read or written


def linked_box(
    label: str,
    ids: Sequence[str],
    key: str,
    title: Callable[[str], str],
    default: str | None = None,
    first: str | None = None,
    required: bool = False,
    place: Any = st,
    typed: bool = False,
    read: Callable[[str], str] = str,
    **options: Any,
) -> str | None:
    """Draw a select box and return the id that is chosen; None while nothing is.

    title: what an id is called. default: chosen at first, and in no address. first: chosen at first, where it is to be
    in the address. required: whether the box cannot be emptied, as one with a default cannot. typed: whether text of
    one's own is taken, too. read: the id that an address or a typed text means, where it is none of `ids`; an older
    address names a title, and is followed where only one id has it. options: of `st.selectbox`.
    """
    _take(key, ids, title, default or first, typed, read)
    chosen: str | None = place.selectbox(
        label,
        list(ids),
        key=key,
        index=0 if required or default else None,
        format_func=lambda each: title(each) if each in ids else each,
        accept_new_options=typed,
        **options,
    )
    if chosen is not None and chosen != default:
        address.write(key, chosen)
    elif key in st.query_params:
        address.drop(key, stays=True)
    st.session_state[_TAKEN + key] = st.query_params.get(key)
    return chosen


def meant(text: str, ids: Sequence[str], title: Callable[[str], str], read: Callable[[str], str] = str) -> str:
    """Return the id that a text means: itself, what `read` finds, or the only one of that title; else the text."""
    if text in ids:
        return text
    if (found := read(text)) in ids:
        return found
    titled = [each for each in ids if title(each) == text]
    return titled[0] if len(titled) == 1 else text


def _take(
    key: str,
    ids: Sequence[str],
    title: Callable[[str], str],
    first: str | None,
    typed: bool,
    read: Callable[[str], str],
) -> None:
    """Put into the box what the address says, where it says something new, or what is there by its id."""
    stated = address.named(key)
    new = stated is not None and (key not in st.session_state or stated != st.session_state.get(_TAKEN + key))
    if not new and key in st.session_state and st.session_state[key] is None:
        return  # it was emptied
    value = stated if new else st.session_state.get(key)
    value = meant(value, ids, title, read) if value else first
    st.session_state[key] = value if typed or value in ids else first
