"""Parts of a page whose controls redraw them alone, without the sidebar and everything around."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st

from pages.parts import address
from pages.parts.user_errors import told

_Given = ParamSpec("_Given")


def alone(body: Callable[_Given, None]) -> Callable[_Given, None]:
    """Return a function that draws such a part. Its arguments stay the same until the whole page is redrawn."""

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
