"""Columns: keyed ones, for figures, and for controls beside plots or to the left of their outcome.
On narrow windows they stack.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts.controls import segments


def keyed_columns(spec: int | Sequence[float], key: str, place: Any = st, **options: Any) -> Sequence[DeltaGenerator]:
    """Return columns that the browser recognises whatever is drawn above them.

    A block without a key is known by its place among its siblings. If one more or less precedes it, the browser makes
    its controls anew before it removes the old ones, and with these goes their tie to the address. options: of
    `st.columns`.
    """
    columns: Sequence[DeltaGenerator] = place.container(key=f"columns_{key}").columns(spec, **options)
    return columns


_BOTH, _BESIDE = "plots_and_controls", "beside_the_plots"
_PHONE = 640  # pixels, below which Streamlit sets columns one beneath the other
_STYLE = f"""<style>
@media (min-width:{_PHONE + 1}px){{
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_BESIDE}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
.st-key-{_BESIDE}{{gap:.6rem}}
</style>"""
_STEPS, _OPEN = "settings_preview_outcome", "settings_in_view"
_NARROW = 1180  # pixels of the window, below which the steps are stacked
_LEFT_TO_RIGHT = f"""<style>
@media (min-width:{_NARROW + 1}px){{
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_OPEN}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
@media (max-width:{_NARROW}px){{
.st-key-columns_{_STEPS}>*>[data-testid='stHorizontalBlock']{{flex-wrap:wrap}}
.st-key-columns_{_STEPS}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']{{min-width:100%}}}}
.st-key-{_OPEN}{{gap:.6rem}}
</style>"""

_PAIRS = "figures_of"
_PAIR = f"""<style>
@media (max-width:{_NARROW}px){{
[class*='st-key-columns_{_PAIRS}']>*>[data-testid='stHorizontalBlock']{{flex-wrap:wrap}}
[class*='st-key-columns_{_PAIRS}']>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']{{min-width:100%}}}}
</style>"""


def figures_beside(count: int | Sequence[float], key: str, **options: Any) -> Sequence[DeltaGenerator]:
    """Return containers for figures side by side, stacked on narrow windows. count: of them, or their widths. options:
    of `st.columns`.
    """
    st.html(_PAIR)
    return keyed_columns(count, f"{_PAIRS}_{key}", gap="medium", **options)


def plots_and_controls() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Return the two containers below a page's title: for its plots, and for their controls, which stay in view as the
    plots are scrolled. Draw the controls first, as the plots need their values.
    """
    st.html(_STYLE)
    plots, side = keyed_columns([3, 1], _BOTH, gap="medium")
    return plots, side.container(key=_BESIDE)


def settings_preview_outcome() -> tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator, DeltaGenerator]:
    """Return the containers of a page read from left to right: settings, which stay in view, preview, outcome; and one
    for rarer things beneath all three.
    """
    st.html(_LEFT_TO_RIGHT)
    settings, preview, outcome = keyed_columns([1.1, 1.4, 1.6], _STEPS, gap="medium")
    return settings.container(key=_OPEN), preview, outcome, st.container(key="beneath_the_steps")


def titled_views(page: str, views: Sequence[str]) -> str:
    """Draw a page's title and, in its row, the choice of a view; return it."""
    name = page.lower()
    with st.container(horizontal=True, vertical_alignment="center", key=f"{name}_title"):
        st.title(page, width="content")
        return segments("View", views, f"{name}_view", label_visibility="collapsed")


def views_row(views: Sequence[str], key: str) -> tuple[str, DeltaGenerator]:
    """Draw the choice of a view, the first unless the address names one; return it, and the room at its right."""
    left, right = keyed_columns([5, 4], f"{key}_row", vertical_alignment="center")
    view = segments("View", views, key, left, label_visibility="collapsed")
    return view, right.container(horizontal=True, horizontal_alignment="right", key=f"{key}_beside")
