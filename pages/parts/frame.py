"""Makes a page always appear inside the app, with its navigation and sidebar."""

from collections.abc import Callable

import streamlit as st

STARTED = "app_started"


def run(body: Callable[[], None]) -> None:
    """Runs a page's body; first the app around it, where Streamlit has opened the page's file on its own.

    It does so when the first visit of a fresh server goes straight to a page's address: it finds the `pages` folder
    before app.py has declared its navigation.
    """
    if st.session_state.get(STARTED):
        body()
    else:
        from app import main

        main()
