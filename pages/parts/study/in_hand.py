"""The current study: the one in the address, else the visitor's last, else the newest, else the example that ships. The
sidebar of every page shows it and links to it.
"""

from datetime import datetime

import streamlit as st

from analysis.engine import JobRecord
from analysis.specs import StudySpec
from analysis.study import findings
from analysis.words import percent
from pages.parts import address
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, progress_bar, running
from pages.parts.session import engine

ADDRESS = "study"
EXAMPLE = "example"
EXAMPLE_TITLE, _EXAMPLE_SHORT = "Example that comes with SinkScope", "Shipped example"
_OPENED = "study_opened"
_REFRESH = 1.0  # seconds between looks at how far it is


def studies() -> dict[str, JobRecord | None]:
    """Return the studies that can be shown, newest first, by name in the address; the example has no record."""
    records: dict[str, JobRecord | None] = {record.id: record for record in engine().jobs("study")}
    return records | ({EXAMPLE: None} if findings.EXAMPLE.is_file() else {})


def study_in_hand(among: dict[str, JobRecord | None] | None = None) -> str | None:
    """Return the current study's name in the address; None if there is none. among: `studies`, if known already."""
    there = studies() if among is None else among
    named = address.named(ADDRESS)
    if named in there:
        st.session_state[_OPENED] = named
    opened = st.session_state.get(_OPENED)
    return opened if opened in there else next(iter(there), None)


def study_title(record: JobRecord) -> str:
    """Return what a study covers, in a few words."""
    spec = record.parameters(StudySpec)
    sparsities = ", ".join(percent(sparsity, 0) for sparsity in spec.sparsities)
    return f"{spec.model.source} · {sparsities} · {len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''}"


def study_panel() -> None:
    """Draw the current study: its name, as a link to it, and its state."""
    there = studies()
    name = study_in_hand(there)
    record = there.get(name or "")
    st.markdown("**Current study**")
    if name is None:
        st.caption("No study yet.")
        return
    st.page_link(
        "pages/start.py",
        label=plain(_EXAMPLE_SHORT if record is None else study_title(record)),
        icon=":material/auto_stories:",
        query_params={ADDRESS: name},
    )
    if record is not None and not record.ended:
        st.fragment(_running, run_every=_REFRESH)(record.id)
    else:
        icon = "check_circle" if record is None or record.state == "done" else "error"
        st.caption(f":material/{icon}: {plain(_state(record))}")


def _running(study_id: str) -> None:
    address.keep()
    record = running(study_id)
    progress_bar(record)
    cancel_button(record, f"stop_{study_id}", "Stop")


def _state(record: JobRecord | None) -> str:
    """Say how it ended, and when."""
    if record is None:
        return "Finished."
    ended = {"done": "Finished", "failed": "Parts of it failed", "cancelled": "Stopped"}.get(record.state, "Cut off")
    when = datetime.fromtimestamp(record.finished or record.created)
    return f"{ended}, {when:%d %b %H:%M}."
