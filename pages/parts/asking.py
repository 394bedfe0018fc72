"""Jobs that pages run on a model: submitting them, and following them until the answer is there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.specs import JobSpec
from pages.parts import address
from pages.parts.acting import acting_button, allow, is_allowed
from pages.parts.plain import model_called, plain
from pages.parts.progress import cancel_button, progress_bar, running, stop_button
from pages.parts.session import engine, leave, model_name, submit
from pages.parts.user_errors import EXPECTED, why

_ASKED, _REFUSED, _BY_HAND = "comparison_jobs", "questions_refused", "questions_by_hand"


def at_hand(kind: str, spec: JobSpec) -> bool:
    """Return whether submitting starts nothing: the answer is stored, or its job is queued or running. Raises UserError
    for a bad model source.
    """
    return engine().knows(kind, known_key(kind, spec))


def begins(kind: str, spec: JobSpec, place: str = "") -> bool:
    """Return whether submitting would start something: this visitor has not asked, and no answer is at hand. Raises
    UserError for a bad model source.
    """
    question = _question(kind, spec, place)
    asked = (*st.session_state.get(_ASKED, {}), *st.session_state.get(_REFUSED, {}))
    return question not in asked and not at_hand(kind, spec)


def _question(kind: str, spec: JobSpec, place: str) -> str:
    return f"{kind}:{place}:{spec.model_dump_json()}"


def ask(
    kind: str,
    spec: JobSpec,
    what: str,
    place: str = "",
    by_hand: bool = False,
    meanwhile: Callable[[Mapping[str, Any]], None] | None = None,
) -> JobRecord | None:
    """Return the finished job that answers a question, submitting it if need be; None while it runs or after it failed.

    by_hand: the visitor pressed a button for it. Otherwise, for a model that the visitor has not run by hand, a
    question without a stored answer is only offered as a button, as it may come from a link. A question that failed, or
    that the page asked unprompted and was refused, is only repeated by its button, not by each rerun. This visitor's
    earlier unanswered question of the same kind at the same place is cancelled. meanwhile: draws a running job's
    partial results.
    """
    questions, refused = st.session_state.setdefault(_ASKED, {}), st.session_state.setdefault(_REFUSED, {})
    question = _question(kind, spec, place)
    for earlier, job_id in questions.items():
        if earlier != question and earlier.startswith(f"{kind}:{place}:"):
            leave(job_id)
    try:
        job = engine().job(questions[question]) if question in questions else None
        may_run = by_hand or is_allowed(spec.model.source)
        if job is None and not may_run and not at_hand(kind, spec):
            _offer(f"offer_{kind}_{place}", spec.model.source, what)
            return None
        if question in refused and not at_hand(kind, spec):
            _say_refused(f"retry_{kind}_{place}", refused, question)
            return None
        job = job or submit(kind, spec)
    except EXPECTED as error:
        if by_hand:
            st.error(plain(why(error)))
        else:
            refused[question] = why(error)
            _say_refused(f"retry_{kind}_{place}", refused, question)
        return None
    refused.pop(question, None)
    questions[question] = job.id
    if not job.ended:
        follow(job.id, what)
        if meanwhile is not None:
            _interim(job.id, meanwhile)
        return None
    if job.state == "done" and engine().result(job) is not None:
        return job
    st.error(plain(job.reason) if job.reason else "This was cancelled, or is no longer in the store.")
    if meanwhile is not None:
        meanwhile(engine().progress(job.id).details)
    if acting_button("Try again", f"retry_{job.id}", icon=":material/refresh:"):
        allow(spec.model.source)
        del questions[question]
        st.rerun()
    return None


def ask_by_hand(kind: str, specs: Sequence[JobSpec], what: str, label: str, cost: str) -> list[JobRecord] | None:
    """Return the finished jobs that answer questions of one kind, submitted only by a button; None until then.

    label: of the button. cost: a sentence beside it on what it takes. Stored answers need no button.
    """
    places = [f"{number or ''}" for number in range(len(specs))]
    questions = [_question(kind, spec, at) for spec, at in zip(specs, places, strict=True)]
    asked = st.session_state.get(_BY_HAND, set())
    if not all(question in asked or at_hand(kind, spec) for question, spec in zip(questions, specs, strict=True)):
        st.caption(plain(cost))
        acting_button(
            label, f"ask_{kind}_", type="primary", icon=":material/play_arrow:", on_click=_ask, args=(questions,)
        )
        return None
    answers = [
        ask(kind, spec, what, at, by_hand=question in asked)
        for question, spec, at in zip(questions, specs, places, strict=True)
    ]
    jobs = [job for job in answers if job is not None]
    return jobs if len(jobs) == len(specs) else None


def _ask(questions: Sequence[str]) -> None:
    st.session_state.setdefault(_BY_HAND, set()).update(questions)


def go_on(kind: str, spec: JobSpec, label: str) -> None:
    """Draw a button that resumes a job stopped early; what was finished is reused."""
    if acting_button(label, f"go_on_{kind}", icon=":material/replay:"):
        allow(spec.model.source)
        st.session_state.get(_ASKED, {}).pop(_question(kind, spec, ""), None)
        st.rerun()


def _say_refused(key: str, refused: dict[str, str], question: str) -> None:
    """Say why the engine refused a job that the page submitted unasked, with a button to retry."""
    st.error(plain(refused[question]))
    if acting_button("Try again", key, icon=":material/refresh:"):
        del refused[question]
        st.rerun()


def _offer(key: str, source: str, what: str) -> None:
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    row.caption(f"{plain(what)}: not run yet with {model_called(model_name(source))}.", width="stretch")
    acting_button("Run", key, row, icon=":material/play_arrow:", on_click=allow, args=(source,))


@st.fragment(run_every=0.4)
def follow(job_id: str, what: str) -> None:
    """Draw a job's progress, with a button to cancel it; the page is redrawn at its end."""
    address.keep()
    record = running(job_id)
    st.caption(plain(what))
    progress_bar(record)
    with st.container(horizontal=True):
        stop_button(record, f"stop_{job_id}")
        cancel_button(record, f"cancel_{job_id}")


@st.fragment(run_every=5)
def _interim(job_id: str, draw: Callable[[Mapping[str, Any]], None]) -> None:
    """Draw a job's results so far. Slower than its progress, as figures are redrawn each time."""
    record = engine().job(job_id)
    if record is not None and not record.ended:
        draw(engine().progress(job_id).details)
