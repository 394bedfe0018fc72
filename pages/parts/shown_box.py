"""The box that names what a page shows, from which another can be chosen."""

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
    """Draws a box of all there is to show, which holds what is shown; choosing another one calls `choose`.

    shown: its id, or None where there is none in the box. title: how an id reads. options: of `st.selectbox`.

    There is a box for each thing shown. While the page goes on to another one, the browser still says what the box of
    before held; of one single box that would be a choice, and bring the one before back.
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
