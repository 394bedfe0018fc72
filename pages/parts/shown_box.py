"""The box that names what a page shows, to choose another from."""

from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st


def shown_box(
    label: str,
    key: str,
    shown: str | None,
    ids: Iterable[str],
    title: Callable[[str], str],
    choose: Callable[[str], None],
    **options: Any,
) -> None:
    """Draw a box of everything that can be shown, set to what is shown; choosing another calls `choose`.

    shown: its id, or None if the box lacks it. title: text of an id. options: of `st.selectbox`.

    Each thing shown has its own box. While the page moves on to another, the browser still reports the value of the box
    before; with a single box that would count as a choice, and bring the old one back.
    """
    drawn, box = f"{key}_drawn", f"{key}_{shown}"

    def chosen() -> None:
        choice = st.session_state.get(box)
        if choice not in (None, shown) and st.session_state.get(drawn) == box:
            choose(choice)

    st.session_state[drawn] = box
    st.session_state[box] = shown
    index = 0 if shown is not None else None
    st.selectbox(label, list(ids), key=box, index=index, format_func=title, on_change=chosen, **options)
