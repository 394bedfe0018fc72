"""The app around every page: navigation, sidebar and the link to the page."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine import JobRecord
from analysis.engine.permissions import NOBODY, ONLY_READ
from analysis.figures.style import PAGE_STYLE
from pages.parts import address, door, guards
from pages.parts.asking import cancel_button, job_title, log_drawer, on_page, progress_bar, restart_button
from pages.parts.charts import share_panel
from pages.parts.controls import TITLES
from pages.parts.model_panel import model_panel
from pages.parts.plain import plain
from pages.parts.session import engine, is_verified, told, who, why_no_engine
from pages.parts.study.choice import study_in_hand, study_panel

_DISMISSED, _SHOWN_BUSY = "dismissed_troubles", "shown_busy"
# Seconds. A job that this visitor begins is shown at once (`show_what_began`), others' at the next look.
BUSY_REFRESH, IDLE_REFRESH = 1.0, 2.0
RECENT = 86400  # seconds for which a job that was cut off is shown
SHOWN_TROUBLES = 5


def sidebar(page: StreamlitPage) -> None:
    """Draw the sidebar beside this page."""
    with st.sidebar:
        study_panel()
        model_panel()
        share_panel()
        _jobs_panel(page)


def show_what_began() -> None:
    """Redraw the app if the page started a job after the sidebar said "Idle". Called when the page is drawn."""
    if not st.session_state.get(_SHOWN_BUSY, True) and active_jobs():
        st.rerun()


def _jobs_panel(page: StreamlitPage) -> None:
    st.divider()
    st.markdown("**Engine**")
    active = st.session_state[_SHOWN_BUSY] = bool(active_jobs())
    opened = _Opened(page, _page_hash(), st.query_params.to_dict())
    st.fragment(_jobs, run_every=BUSY_REFRESH if active else IDLE_REFRESH)(active, study_in_hand(), opened)


@dataclass(frozen=True)
class _Opened:
    """The page that was opened last, with the address that opened it. hash: by which browser and server name it."""

    page: StreamlitPage
    hash: str
    query: dict[str, str]

    def hold(self) -> None:
        """Draw this page again where the browser has gone back to another one.

        A slow browser may ask for the sidebar in the name of the page it has just left. It takes the answer for a way
        back, and is left there, or with nothing.
        """
        if _page_hash() != self.hash:
            st.switch_page(self.page, query_params={**self.query, **st.query_params.to_dict()})


def _page_hash() -> str:
    session = get_script_run_ctx()
    return "" if session is None else session.page_script_hash


def active_jobs() -> list[JobRecord]:
    """Return running and queued jobs, oldest first."""
    return [record for record in reversed(engine().jobs()) if not record.ended]


def recent_troubles() -> list[JobRecord]:
    """Return jobs that failed or were interrupted within a day and not run again since, newest first."""
    since = time.time() - RECENT
    answered: list[tuple[str, dict]] = []
    troubles = []
    for record in engine().jobs():
        question = (record.kind, record.spec)
        fresh = record.state in ("failed", "interrupted") and (record.finished or 0) > since
        if fresh and question not in answered and record.id not in _dismissed():
            troubles.append(record)
        answered.append(question)
    return troubles


def _dismissed() -> set[str]:
    return st.session_state.setdefault(_DISMISSED, set())


def _jobs(was_busy: bool, in_hand: str | None, opened: _Opened) -> None:
    """Draw the jobs. in_hand: the study shown at the top of the sidebar."""
    opened.hold()
    address.keep()
    active = active_jobs()
    if bool(active) != was_busy:
        st.rerun()  # changes the polling rate, and lets every page show finished results
    for notice in engine().notices():
        st.warning(plain(notice))
    running = [record for record in active if record.state == "running" and record.id != in_hand]
    waiting = [record for record in active if record.state == "queued" and record.id != in_hand]
    for record in running:
        where = "between the steps of another job" if record.between else record.device
        _job(record, f" · {plain(where)}" if where else "", "Cancel")
    if len(waiting) == 1:
        _job(waiting[0])
    elif waiting:
        with st.expander(f"{len(waiting)} jobs queued", icon=":material/hourglass_empty:", key="jobs_waiting"):
            for record in waiting:
                _job(record)
    if not active:
        st.caption(":material/check_circle: Idle. Nothing is running.")
    troubles = recent_troubles()
    if troubles:
        label = f"{len(troubles)} job{'s' if len(troubles) > 1 else ''} cut off"
        with st.expander(label, icon=":material/error:", key="jobs_cut_off"):
            for record in troubles[:SHOWN_TROUBLES]:
                _trouble(record)
            if st.button("Dismiss all", key="dismiss_troubles", type="tertiary"):
                _dismissed().update(record.id for record in troubles)
                st.rerun()


def _job(record: JobRecord, where: str = "", ends: str = "Remove") -> None:
    """Draw a job's progress. where: it runs. ends: the words on the button that ends it."""
    st.caption(f"**{plain(job_title(record))}**{where}")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}", ends)


def _trouble(record: JobRecord) -> None:
    reason = plain(record.reason) if record.reason else "SinkScope was stopped while this job ran."
    st.caption(f"**{plain(job_title(record))}** · {plain(record.state)}  \n{reason}")
    if record.traceback:
        with st.popover("Traceback", icon=":material/bug_report:"):
            st.code(record.traceback, language=None)
    log_drawer(record)
    restart_button(record, f"restart_{record.id}")


# A file of our own: the browser asks Google's servers for the shape of a `:material/…:` icon of a page.
ICON = Path(__file__).parents[1] / "icon.svg"
# Streamlit leaves wide margins; a page of plots needs them. It writes white on the theme's first colour, which is
# too bright for that where it is to be read as text on a dark page. A bar that glides on from refresh to refresh is
# redrawn all the time, by the processor that the job wants. The name beside the mark is text, so that it has the
# theme's colour whenever that changes. A row of choices is broken on a phone, so each has its own border.
STYLE = (
    f"<style>{PAGE_STYLE}{TITLES}"
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
[data-testid='stPageLink'] p{white-space:normal}
[data-testid='stMain'] h5{text-wrap:balance}
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
    """Draw navigation and sidebar; then the requested page, or why there is no engine to serve it."""
    st.set_page_config(page_title="SinkScope", page_icon=str(ICON), layout="wide")
    page = st.navigation(_pages())
    st.logo(str(ICON), size="large")
    st.html(STYLE)
    _mount(key="frame", on_lost_change=lambda: None)  # the page is drawn again
    if door.wants_log_in():
        visitor, session = who(), get_script_run_ctx()
        if session is not None:
            guards.allow(session.session_id, visitor.role)
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
            sidebar(page)
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
    """Draw the page of a visitor who has not logged in, or is on no list."""
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


PAGES = {
    "start": "auto_stories",
    "explore": "blur_on",
    "evidence": "timeline",
    "causes": "science",
    "prune": "content_cut",
    "runs": "table_view",
    "sweep": "stacked_line_chart",
}
"""The pages, each of which answers one question, and their icons."""


def _pages() -> list[StreamlitPage]:
    return [
        st.Page(f"pages/{name}.py", title=name.capitalize(), icon=f":material/{icon}:", default=name == "start")
        for name, icon in PAGES.items()
    ]


def run(body: Callable[[], None]) -> None:
    """Run a page's body; or the app around it, where Streamlit opened the page's file on its own.

    It does so when the first visit to a fresh server goes straight to a page's address: it finds the `pages` folder
    before app.py has declared its navigation.
    """
    if _inside.get():
        with told():
            body()
    else:
        show()
