"""Makes a page always appear inside the app, with its navigation and sidebar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pages.parts.trouble import told

_inside: ContextVar[bool] = ContextVar("inside_app", default=False)


@contextmanager
def inside_app() -> Iterator[None]:
    """Around the running of a page by the app."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def run(body: Callable[[], None]) -> None:
    """Runs a page's body; or the app around it, where Streamlit has opened the page's file on its own.

    It does so when the first visit of a fresh server goes straight to a page's address: it finds the `pages` folder
    before app.py has declared its navigation.
    """
    if _inside.get():
        with told():
            body()
    else:
        from app import main

        main()
