"""The app around every page: navigation and sidebar; and that a page always appears inside it."""

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine.demonstration import ONLY_READ
from analysis.engine.permissions import NOBODY
from analysis.figures import tool_bar
from analysis.figures.style import PHONE_TICKS
from pages.parts import address, door, uploads
from pages.parts.acting import on_page
from pages.parts.expander import TITLES
from pages.parts.plain import plain
from pages.parts.session import engine, why_no_engine
from pages.parts.sidebar import show_what_began, sidebar
from pages.parts.user_errors import told
from pages.parts.who import is_verified, who

# A file of our own: the browser asks Google's servers for the shape of a `:material/…:` icon of a page.
ICON = Path(__file__).parents[1] / "icon.svg"
# Streamlit leaves wide margins; a page of plots needs them. It writes white on the theme's first colour, which is
# too bright for that where it is to be read as text on a dark page. A bar that glides on from refresh to refresh is
# redrawn all the time, by the processor that the job wants. The name beside the mark is text, so that it has the
# theme's colour whenever that changes. A row of choices is broken on a phone, so each has its own border.
STYLE = (
    f"<style>{PHONE_TICKS}{tool_bar.STYLE}{TITLES}"
    + """
[data-testid='stMainBlockContainer']{padding:3rem 3rem}
.st-key-demonstration{padding-top:1rem}
@media (max-width:640px){[data-testid='stMainBlockContainer']{padding:3rem 1rem}
[data-testid='stMain'] [role='radiogroup']:has([data-variant='segmented_control']){gap:.3rem}
[data-testid='stMain'] button[data-variant='segmented_control']{margin:0;border-radius:.5rem}
[data-testid='stMain'] button[data-variant='segmented_control']:not([data-selected]){
border:1px solid color-mix(in srgb,currentColor 25%,transparent)!important}}
[data-testid='stMain'] [data-testid='stButtonGroup'] [role='radiogroup']{flex-wrap:wrap;overflow:visible}
[data-testid='stMetricLabel'] *,[data-testid='stMetricDelta'] *,[data-testid='stMetricValue'] *{
white-space:normal!important;overflow:visible!important}[data-testid='stMetricValue']{font-size:1.6rem;line-height:1.2}
[data-testid='stSidebar'] [data-testid='stPageLink'] p{white-space:normal}
[data-testid='stApp'] a:focus-visible{outline:2px solid currentColor!important;outline-offset:-2px}
[data-testid='stMultiSelect'] button:is([aria-label='Clear all'],[aria-label='Open']){min-width:24px;min-height:24px}
[data-testid='stProgress'] *{transition:none!important}
[data-testid='stSidebarHeader']>:has(>[data-testid='stSidebarLogo']){display:flex;align-items:center;gap:.3rem;color:inherit}
[data-testid='stSidebarHeader']>:has(>[data-testid='stSidebarLogo'])::after{content:'SinkScope';font-size:1.4rem;font-weight:700}
button[kind='primary'],span[data-tag],button[kind='primaryFormSubmit']{background:#1f5fbf;border-color:#1f5fbf;color:#fff}
</style>"""
)

_mount = st.components.v2.component("sinkscope_frame", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
_inside: ContextVar[bool] = ContextVar("inside_app", default=False)


def show() -> None:
    """Navigation and sidebar; then the page that was asked for, or why there is no engine to serve it."""
    st.set_page_config(page_title="SinkScope", page_icon=str(ICON), layout="wide")
    page = st.navigation(_pages())
    st.logo(str(ICON), size="large")
    st.html(STYLE)
    _mount(key="frame")
    if door.wants_log_in():
        visitor, session = who(), get_script_run_ctx()
        if session is not None:
            uploads.allow(session.session_id, visitor.role)
        if visitor == NOBODY:
            _ask_log_in()
            return
    problem = why_no_engine()
    if problem:
        st.title(plain(page.title))
        st.error(plain(problem))
        return
    on_page(page.url_path)
    slides = page.url_path == "" and address.presenting()
    if not slides:
        with told():
            sidebar()
        if door.wants_log_in():
            with st.sidebar:
                st.caption(f"Logged in as {plain(st.user.get('email'))}")
                st.button("Log out", on_click=st.logout, key="log_out")
        if engine().authorizer.demo:
            st.container(key="demonstration").caption(f":material/lock: {plain(ONLY_READ)}")
    inside = _inside.set(True)
    try:
        page.run()
    finally:
        _inside.reset(inside)
    if not slides:
        show_what_began()


def _ask_log_in() -> None:
    """The page of a visitor who has not logged in, or is on no list."""
    st.title("SinkScope")
    if st.user.get("is_logged_in"):
        account, problem = plain(st.user.get("email") or "This account"), "is on no list of this server"
        if not is_verified():
            problem = "comes in by no list of this server, as the log-in does not say that the address is verified"
        st.error(f"{account} {problem}. Ask whoever runs it, or log in as somebody else.")
        st.button("Log out", on_click=st.logout, key="log_out")
    else:
        st.caption("This server asks you to log in.")
        st.button("Log in", on_click=st.login, type="primary", key="log_in")


def _pages() -> list[StreamlitPage]:
    """The pages, each of which answers one question."""
    return [
        st.Page("pages/start.py", title="Start", icon=":material/auto_stories:", default=True),
        st.Page("pages/explore.py", title="Explore", icon=":material/blur_on:"),
        st.Page("pages/evidence.py", title="Evidence", icon=":material/timeline:"),
        st.Page("pages/causes.py", title="Causes", icon=":material/science:"),
        st.Page("pages/prune.py", title="Prune", icon=":material/content_cut:"),
        st.Page("pages/runs.py", title="Runs", icon=":material/table_view:"),
        st.Page("pages/sweep.py", title="Sweep", icon=":material/stacked_line_chart:"),
    ]


def run(body: Callable[[], None]) -> None:
    """Runs a page's body; or the app around it, where Streamlit has opened the page's file on its own.

    It does so when the first visit of a fresh server goes straight to a page's address: it finds the `pages` folder
    before app.py has declared its navigation.
    """
    if _inside.get():
        with told():
            body()
    else:
        show()
