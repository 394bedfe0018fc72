"""How far a job is, in words and as a bar, and the button that stops it."""

import streamlit as st

from analysis.engine import JobRecord
from pages.parts.session import engine


def progress_bar(record: JobRecord) -> None:
    """One bar: the phase, the step of steps, the rate and the time left; or the place in the queue."""
    place = engine().place(record.id)
    if place is not None:
        st.progress(0.0, text="next in the queue" if place == 0 else f"waiting, {place} before it")
        return
    now = engine().progress(record.id)
    text = now.phase or "starting"
    if now.total:
        text += f" · step {now.done} of {now.total}"
    if now.rate:
        text += f" · {now.rate:.1f} steps/s"
    if now.left is not None and now.done < now.total:
        text += f" · {max(now.left, 1):.0f} s left"
    st.progress(min(now.done / now.total, 1.0) if now.total else 0.0, text=text)


def cancel_button(record: JobRecord, key: str) -> None:
    """Stops the job."""
    if st.button("Cancel", key=key, icon=":material/stop_circle:"):
        engine().cancel(record.id)
        st.rerun()
