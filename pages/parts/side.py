"""Controls beside the plots that they change: a column that stays in view, and comes after the plots on a phone."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

_KEY = "beside_the_plots"
_PHONE = 640  # pixels, below which Streamlit sets columns one beneath the other
_STYLE = f"""<style>
@media (min-width:{_PHONE + 1}px){{
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_KEY}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
.st-key-{_KEY}{{gap:.6rem}}
</style>"""


def plots_and_controls() -> tuple[DeltaGenerator, DeltaGenerator]:
    """The two places of a page below its title: for its plots, and for their controls, which stay in view as the plots
    are scrolled. Draw the controls first, as the plots need their values.
    """
    st.html(_STYLE)
    plots, side = st.columns([3, 1], gap="medium")
    return plots, side.container(key=_KEY)
