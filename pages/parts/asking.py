"""Jobs that pages run on a model: the buttons that start, stop and restart them, their progress and log, and the models
that this visitor has run by hand.

Visitors without permission see a sentence instead of each button. That protects nothing: the engine refuses the same
(`analysis.engine.permissions`). An address may show what is there, and never starts a job: some pages run jobs unasked
as a visitor moves from one to the next, but only for a model whose button the visitor has pressed in this session;
following a link begins a session of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import JOBS
from analysis.pruned.report_file import quantization_title
from analysis.specs import JobSpec
from analysis.words import model_title, percent
from pages.parts import address
from pages.parts.plain import plain, shortened
from pages.parts.session import (
    EXPECTED,
    REDRAW,
    SOON,
    engine,
    leave,
    model_name,
    others_wait,
    refusal_kept,
    restart,
    say_refusal,
    submit,
    tell,
    told,
    why,
)


def job_title(record: JobRecord) -> str:
    """Return a title of what a job does."""
    spec = record.spec
    if isinstance(spec.get("prompt"), str):
        subject = f"“{shortened(spec['prompt'])}”"
    elif "method" in spec and "sparsity" in spec:
        subject = " ".join(
            filter(None, (f"{spec['method']} {percent(spec.get('sparsity', 0), 0)}", quantization_title(spec)))
        )
    elif "folders" in spec:
        subject = shortened(", ".join(spec["folders"]))
    else:
        subject = shortened(model_title(model_name(spec.get("model", {}).get("source", ""))))
    return f"{JOBS[record.kind].title} · {subject}" if subject else JOBS[record.kind].title


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    seconds = max(1, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def progress_bar(record: JobRecord) -> None:
    """Draw one bar: the phase, step of steps, rate and time left; or what it waits for."""
    place = engine().place(record.id)
    if place is not None:
        if record.waits_for:
            text = f"waits for {record.waits_for}"
        elif place:
            text = f"Queued ({place} ahead)"
        else:
            text = "next in the queue" if engine().has_worker() else "starting the worker"
        again = f"; {len(record.losses)} tries ended with their worker" if record.losses else ""
        st.progress(0.0, text=plain(text + again))
        return
    now = engine().progress(record.id)
    text = now.phase or "starting"
    share = now.details.get("share_decided")  # of a text whose steps are not known beforehand
    most = "at most " if share is not None else ""
    if now.total:
        text += f" · step {now.done} of {most}{now.total}"
    if now.rate:
        text += f" · {now.rate:.1f} steps/s" if now.rate >= 1 else f" · {1 / now.rate:.1f} s per step"
    if now.left is not None and now.done < now.total:
        text += f" · {most}{duration(now.left)} left"
    part = share if isinstance(share, float) else now.done / now.total if now.total else 0.0
    st.progress(min(part, 1.0), text=plain(text))


def parts_progress(job_id: str, title: Callable[[str], str]) -> None:
    """Draw progress of a job with parts, those that failed, and its button. title: of a part by name."""
    address.keep()
    record = running(job_id)
    progress_bar(record)
    for part in engine().parts(record):
        if part.state == "failed":
            st.caption(f":material/error: {plain(title(part.name))}: {plain(part.reason)}")
    cancel_button(record, f"cancel_{record.kind}_{job_id}")


def how_it_ended(record: JobRecord, what: str, kept: str = "", failed: str = "failed") -> str:
    """Say how a job ended that was not done, for the page. what: as in 'This {what}'; kept: a sentence on what
    stays.
    """
    ending = {"cancelled": "was cancelled", "interrupted": "was interrupted"}.get(record.state, failed)
    return " ".join(filter(None, (f"This {what} {ending}.", plain(record.reason), kept)))


def cut_short(record: JobRecord, what: str, parts: str) -> None:
    """Say how a job with many parts ended early, and offer to resume it. parts: what these are called."""
    st.warning(how_it_ended(record, what, "What was found is kept.", f"has failed {parts}"))
    label = f"Try failed {parts} again" if record.state == "failed" else "Resume"
    restart_button(record, f"restart_{what}_{record.id}", label)


def log_drawer(record: JobRecord) -> None:
    """Draw a job's last log lines, newest last, in a fold; nothing if it logged none."""
    lines = engine().log(record.id)
    if lines:
        with st.expander(f"Log ({len(lines)} line{'s' if len(lines) > 1 else ''})", icon=":material/notes:"):
            written = (f"{datetime.fromtimestamp(line.time):%H:%M:%S}  {line.text}" for line in lines)
            st.code("\n".join(written), language=None, height=240)


OTHERS_ASKED = "Someone else, or you from another browser, asked for this job, too. It goes on while they wait for it."


def cancel_button(record: JobRecord, key: str, label: str = "Cancel") -> None:
    """Draw the button that cancels the job, after a warning if another tab waits for it. Nothing without
    permission.

    On a shared server, a visitor can only leave a job that others asked for, too.
    """
    if not engine().authorizer.may_leave(record):
        return
    icon = ":material/stop_circle:"
    if not engine().authorizer.is_theirs_alone(record):
        if st.button("Leave", key=key, icon=icon, help=OTHERS_ASKED):
            leave(record.id)
            st.rerun()
        return
    if not others_wait(record.id):
        pressed = st.button(label, key=key, icon=icon, help="Cancels this job.")
    else:
        with st.popover(label, icon=icon, key=f"{key}_shared"):
            st.caption("Another tab, yours or another visitor's, waits for this job, too.")
            pressed = st.button(f"{label} for everyone", key=key)
    if pressed:
        engine().cancel(record.id)
        st.rerun()


def stop_button(record: JobRecord, key: str) -> None:
    """Draw the button that ends a job with what it has, if job and visitor allow it."""
    if not JOBS[record.kind].stops_early or not engine().authorizer.may_leave(record):
        return
    if acting_button(
        "Stop here",
        key,
        icon=":material/stop:",
        disabled=not engine().authorizer.is_theirs_alone(record) or not engine().progress(record.id).done,
        help="Ends it and keeps what is finished, once that is two prompts. It can be gone on with.",
    ):
        engine().finish_early(record.id)


def restart_button(record: JobRecord, key: str, label: str = "Start again") -> None:
    """Draw the button that reruns an interrupted job; what it had finished is reused."""
    if acting_button(label, key, icon=":material/replay:", help="Finished phases are used again."):
        with told():
            restart(record.id)
            st.rerun()


def running(job_id: str) -> JobRecord:
    """Return a job that has not ended; where it has, the whole page is drawn anew."""
    record = engine().job(job_id)
    if record is None or record.ended:
        st.rerun()
    return record


INSTEAD = ":material/lock: Switched off in this demonstration."
_PRESSED, _PAGE, _VISIT = "button_pressed", "page_drawn", "page_visit"
LOOKS_ONLY = ":material/lock: You may look at this server, and start or change nothing."


def acting_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draw a button that starts or changes something, and return whether it was pressed."""
    return may_act(place) and refusable_button(label, key, place, **options)


def refusable_button(
    label: str, key: str, place: Any = st, on_click: Callable[..., Any] | None = None, args: Any = (), **options: Any
) -> bool:
    """Draw a button, and return whether it was pressed. on_click: its expected errors are said where this is
    called, after the button."""

    def click() -> None:
        with refusal_kept(key):
            if on_click is not None:
                on_click(*args)

    pressed = bool(place.button(label, key=key, on_click=click, **options))
    say_refusal(key)
    return pressed


def kept_button(label: str, key: str, place: Any = st, **options: Any) -> bool:
    """Draw a button, and return whether it holds a press that nothing has used yet.

    Streamlit forgets a press if another rerun ends the script before it reaches the button. This one is kept until the
    script gets here, or the visitor goes to another page.
    """
    place.button(label, key=key, on_click=_press, args=(key,), **options)
    pressed = st.session_state.get(_PRESSED) == key
    if pressed:
        del st.session_state[_PRESSED]
    return pressed and not options.get("disabled")


def starting_button(
    label: str, key: str, start: Callable[..., Any], place: Any = st, args: Any = (), **options: Any
) -> None:
    """Draw a button that starts something with the settings on the page, those changed just before the press included,
    and draws the page anew. Its expected errors are said after the button."""
    if not may_act(place):
        return
    if kept_button(label, key, place, **options):
        with refusal_kept(key):
            start(*args)
        st.rerun()
    say_refusal(key)


def _press(key: str) -> None:
    st.session_state[_PRESSED] = key


def on_page(path: str) -> None:
    """Forget a press on another page, and count the visit to this one. path: of the page being drawn."""
    if st.session_state.get(_PAGE) != path:
        st.session_state[_PAGE] = path
        st.session_state[_VISIT] = visit() + 1
        st.session_state.pop(_PRESSED, None)


def visit() -> int:
    """Return the number of the visit to the page being drawn: the browser drops a page that is left."""
    return int(st.session_state.get(_VISIT, 0))


def may_act(place: Any = st) -> bool:
    """Return whether the visitor may start or change anything; say so in `place` if not."""
    may = engine().authorizer.may("run")
    if not may:
        place.caption(INSTEAD if engine().authorizer.demo else LOOKS_ONLY)
    return may


def may_record() -> bool:
    """Return whether the visitor may record the bundled pair; say so where not."""
    may = engine().authorizer.may("record")
    if not may:
        st.caption(LOOKS_ONLY)
    return may


_ALLOWED = "models_run_by_hand"


def allow(*sources: str) -> None:
    """Record that this visitor runs these models. Only for functions called by a click."""
    st.session_state.setdefault(_ALLOWED, set()).update(sources)


def begin(kind: str, spec: Any) -> JobRecord:
    """Submit a job that this visitor asks for by a click, which allows its models. Raises UserError for a bad one."""
    allow(*(model.source for model in getattr(spec, "models", None) or [spec.model]))
    return submit(kind, spec)


def is_allowed(source: str) -> bool:
    """Return whether this visitor has run the model by hand; False without the right to run every job."""
    return engine().authorizer.may("run") and source in st.session_state.get(_ALLOWED, set())


_ASKED, _REFUSED, _BY_HAND = "comparison_jobs", "questions_refused", "questions_by_hand"


def at_hand(kind: str, spec: JobSpec) -> bool:
    """Return whether submitting starts nothing: the answer is stored, or its job is queued or running. Raises UserError
    for a bad model source.
    """
    return engine().knows(kind, spec)


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
            tell(error)
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
    if job.state == "cancelled" and not job.reason:
        st.info("This was cancelled.")
    else:
        st.error(plain(job.reason) or "This is no longer in the store.")
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
        starting_button(label, f"ask_{kind}_", _ask, type="primary", icon=":material/play_arrow:", args=(questions,))
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
    acting_button(
        plain(what), key, icon=":material/play_arrow:", help="Not run here yet.", on_click=allow, args=(source,)
    )


@st.fragment(run_every=SOON)
def follow(job_id: str, what: str) -> None:
    """Draw a job's progress, with a button to cancel it; the page is redrawn at its end."""
    address.keep()
    record = running(job_id)
    st.caption(plain(what))
    progress_bar(record)
    with st.container(horizontal=True):
        stop_button(record, f"stop_here_{job_id}")
        cancel_button(record, f"cancel_{job_id}")


@st.fragment(run_every=REDRAW)
def _interim(job_id: str, draw: Callable[[Mapping[str, Any]], None]) -> None:
    """Draw a job's results so far. Slower than its progress, as figures are redrawn each time."""
    record = engine().job(job_id)
    if record is not None and not record.ended:
        draw(engine().progress(job_id).details)
