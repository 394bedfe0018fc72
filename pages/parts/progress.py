"""Progress of a job, in words and as a bar; its log; the buttons that stop and restart it."""

from collections.abc import Callable
from datetime import datetime

import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import JOBS
from analysis.pruned.naming import quantization_title
from analysis.words import percent
from pages.parts import address
from pages.parts.acting import acting_button
from pages.parts.plain import plain, shortened
from pages.parts.session import engine, leave, model_name, others_wait, restart
from pages.parts.user_errors import told


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
        subject = shortened(model_name(spec.get("model", {}).get("source", "")))
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
    cancel_button(record, f"cancel_{record.kind}_{job_id}", "Stop")


def how_it_ended(record: JobRecord, what: str, kept: str = "", failed: str = "failed") -> str:
    """Say how a job ended that was not done, for the page. what: as in 'This {what}'; kept: a sentence on what
    stays.
    """
    ending = {"cancelled": "was cancelled", "interrupted": "was interrupted"}.get(record.state, failed)
    return " ".join(filter(None, (f"This {what} {ending}.", plain(record.reason), kept)))


def cut_short(record: JobRecord, what: str, parts: str) -> None:
    """Say how a job with many parts ended early, and offer to resume it. parts: what these are called."""
    st.warning(how_it_ended(record, what, "What was found is kept.", f"has failed {parts}"))
    label = f"Try failed {parts} again" if record.state == "failed" else "Go on"
    restart_button(record, f"restart_{what}_{record.id}", label)


def log_drawer(record: JobRecord) -> None:
    """Draw a job's last log lines, newest last, in a fold; nothing if it logged none."""
    lines = engine().log(record.id)
    if lines:
        with st.expander(f"Log ({len(lines)} line{'s' if len(lines) > 1 else ''})", icon=":material/notes:"):
            written = (f"{datetime.fromtimestamp(line.time):%H:%M:%S}  {line.text}" for line in lines)
            st.code("\n".join(written), language=None, height=240)


def cancel_button(record: JobRecord, key: str, label: str = "Cancel") -> None:
    """Draw the button that cancels the job, after a warning if another visitor waits for it. Nothing without
    permission.

    On a shared server, a visitor can only leave a job that others asked for, too.
    """
    if not engine().authorizer.may_leave(record):
        return
    icon = ":material/stop_circle:"
    if not engine().authorizer.is_theirs_alone(record):
        if st.button("Leave", key=key, icon=icon, help="Another visitor asked for this job, too; it runs on for them."):
            leave(record.id)
            st.rerun()
        return
    if not others_wait(record.id):
        pressed = st.button(label, key=key, icon=icon, help="Stops this job.")
    else:
        with st.popover(label, icon=icon, key=f"{key}_shared"):
            st.caption("Another visitor waits for this job, too.")
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
