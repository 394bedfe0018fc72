"""A part of a page whose controls draw it alone anew, and not the sidebar and what else stands around it."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st

from pages.parts import address
from pages.parts.user_errors import told

_Given = ParamSpec("_Given")


def alone(body: Callable[_Given, None]) -> Callable[_Given, None]:
    """A function that draws such a part. What it is given stays as it is until the whole page is drawn again."""

    @st.fragment
    def drawn(*args: _Given.args, **options: _Given.kwargs) -> None:
        address.keep()
        with told():
            body(*args, **options)

    @wraps(body)
    def placed(*args: _Given.args, **options: _Given.kwargs) -> None:
        with st.container(key=f"alone_{body.__name__}"):  # what stands above it may come and go
            drawn(*args, **options)

    return placed
