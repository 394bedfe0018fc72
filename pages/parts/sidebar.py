"""The sidebar of every page: the product's mark, the study in hand, the model in use, the link to the page, and what
the engine is doing.
"""

import time

import streamlit as st

from analysis.engine import JobRecord
from pages.parts import address
from pages.parts.model_panel import model_panel
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, job_title, log_drawer, progress_bar, restart_button
from pages.parts.session import engine
from pages.parts.share import share_panel
from pages.parts.study.in_hand import study_in_hand, study_panel

_DISMISSED, _SHOWN_BUSY = "dismissed_troubles", "shown_busy"
# Seconds. A job that this visitor begins is shown at once (`show_what_began`), others' at the next look.
BUSY_REFRESH, IDLE_REFRESH = 1.0, 0.8
RECENT = 86400  # seconds for which a job that was cut off is shown
SHOWN_TROUBLES = 5


def sidebar() -> None:
    """Draws the sidebar."""
    with st.sidebar:
        study_panel()
        model_panel()
        share_panel()
        _jobs_panel()


def show_what_began() -> None:
    """Called when the page is drawn: draws the app anew where the page began a job after the sidebar said "Idle"."""
    if not st.session_state.get(_SHOWN_BUSY, True) and active_jobs():
        st.rerun()


def _jobs_panel() -> None:
    st.divider()
    st.markdown("**Engine**")
    active = st.session_state[_SHOWN_BUSY] = bool(active_jobs())
    st.fragment(_jobs, run_every=BUSY_REFRESH if active else IDLE_REFRESH)(active, study_in_hand())


def active_jobs() -> list[JobRecord]:
    """Jobs that run or wait, in the order in which they were asked."""
    return [record for record in reversed(engine().jobs()) if not record.ended]


def recent_troubles() -> list[JobRecord]:
    """Jobs that were cut off within a day and not asked again since with better luck, newest first."""
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


def _jobs(was_busy: bool, in_hand: str | None) -> None:
    """in_hand: the study that is told of at the top of the sidebar."""
    address.keep()
    active = active_jobs()
    if bool(active) != was_busy:
        st.rerun()  # polls faster or slower from here on, and lets every page show what has finished
    for notice in engine().notices():
        st.warning(plain(notice))
    running = [record for record in active if record.state == "running" and record.id != in_hand]
    waiting = [record for record in active if record.state == "queued" and record.id != in_hand]
    for record in running:
        _running(record)
    if len(waiting) == 1:
        _waiting(waiting[0])
    elif waiting:
        with st.expander(f"{len(waiting)} jobs queued", icon=":material/hourglass_empty:", key="jobs_waiting"):
            for record in waiting:
                _waiting(record)
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


def _running(record: JobRecord) -> None:
    where = "between the steps of another job" if record.between else record.device
    st.caption(f"**{plain(job_title(record))}**{f' · {plain(where)}' if where else ''}")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}")


def _waiting(record: JobRecord) -> None:
    st.caption(f"**{plain(job_title(record))}**")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}", "Remove")


def _trouble(record: JobRecord) -> None:
    reason = plain(record.reason) if record.reason else "SinkScope was stopped while this job ran."
    st.caption(f"**{plain(job_title(record))}** · {plain(record.state)}  \n{reason}")
    if record.traceback:
        with st.popover("Traceback", icon=":material/bug_report:"):
            st.code(record.traceback, language=None)
    log_drawer(record)
    restart_button(record, f"restart_{record.id}")
