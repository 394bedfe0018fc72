"""Where a page's controls stand: beside its plots in a column that stays in view, or above what came out. On a phone
they come after either.
"""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts.keyed import keyed_columns

_BOTH, _BESIDE, _PAGE = "plots_and_controls", "beside_the_plots", "asked_and_shown"
_ASKED, _RESULTS = "what_is_asked", "what_came_out"
_FORM, _DOWN = "what-to-ask", "down_to_form"
_PHONE = 640  # pixels, below which Streamlit sets columns one beneath the other
_STYLE = f"""<style>
@media (min-width:{_PHONE + 1}px){{
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_BESIDE}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
.st-key-{_BESIDE}{{gap:.6rem}}
</style>"""
# Once there is a plot or a table: a page without any begins with what can be asked.
_SHOWN = f".st-key-{_RESULTS} :is(.sinkscope-plot,[data-testid='stDataFrame'])"
_RESULTS_FIRST = f"""<style>
@media (max-width:{_PHONE}px){{.st-key-{_PAGE}>:has(>{_SHOWN}){{order:-1}}
.st-key-{_PAGE}:has({_SHOWN}) .st-key-{_ASKED}{{border-top:1px solid rgba(128,128,128,.4);padding-top:1.5rem}}
.st-key-{_PAGE}:has({_SHOWN}) .st-key-{_ASKED}>:last-child:has(hr){{display:none}}
.st-key-{_PAGE}:has({_SHOWN}) .st-key-{_RESULTS}>:has(.{_DOWN}){{display:block}}}}
.st-key-{_RESULTS}>:has(.{_DOWN}){{display:none}}
.st-key-{_ASKED}>:has(#{_FORM}){{position:absolute}}
#{_FORM}{{scroll-margin-top:4rem}}
.{_DOWN}{{color:inherit;font-size:.9rem}}
</style>"""


def plots_and_controls() -> tuple[DeltaGenerator, DeltaGenerator]:
    """The two places of a page below its title: for its plots, and for their controls, which stay in view as the plots
    are scrolled. Draw the controls first, as the plots need their values.
    """
    st.html(_STYLE)
    plots, side = keyed_columns([3, 1], _BOTH, gap="medium")
    return plots, side.container(key=_BESIDE)


def controls_and_results() -> tuple[DeltaGenerator, DeltaGenerator]:
    """The two places of a page that is mostly a form, below its title: for what is asked, and beneath it for what came
    out, which on a phone stands above, with a link down to the form.
    """
    st.html(_RESULTS_FIRST)
    page = st.container(key=_PAGE)
    asked, results = page.container(key=_ASKED), page.container(key=_RESULTS)
    asked.html(f'<span id="{_FORM}"></span>')
    results.html(f'<a class="{_DOWN}" href="#{_FORM}">↓ Down to the settings</a>')
    return asked, results
