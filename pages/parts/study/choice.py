"""Which study is shown: the one in the address, else the newest, else the example that ships."""

from datetime import datetime

import streamlit as st

from analysis.engine import JobRecord
from analysis.specs import StudySpec
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.plain import plain
from pages.parts.session import engine, not_in_address
from pages.parts.study.found import example

_ADDRESS, _CHOSEN = "study", "study_shown"
EXAMPLE = "example"


def shown_study(boxed: bool = True) -> JobRecord | Findings | None:
    """The study in the address, else the newest, else the example. boxed: with the others to choose from."""
    records = {record.id: record for record in engine().jobs("study")}
    shipped = example()
    options = [*records, *([EXAMPLE] if shipped is not None else [])]
    named = address.named(_ADDRESS)
    if named and named not in options:
        not_in_address("a study that is not in the store." + (" Here is another one." if options else ""))
    if not options:
        return None
    shown = named if named in options else options[0]
    if boxed and len(options) > 1:
        st.session_state[_CHOSEN] = shown
        shown = st.selectbox(
            "Study",
            options,
            key=_CHOSEN,
            on_change=_choose,
            format_func=lambda name: _title(records[name]) if name in records else "Example that comes with SinkScope",
        )
    return records.get(shown, shipped)


def show(study_id: str) -> None:
    """Shows a study, and puts it in the address."""
    address.write(_ADDRESS, study_id)


def _choose() -> None:
    address.write(_ADDRESS, st.session_state[_CHOSEN])


def _title(record: JobRecord) -> str:
    """A study in one line: when, which model, how large."""
    spec = record.parameters(StudySpec)
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M")
    sparsities = ", ".join(f"{sparsity:.0%}" for sparsity in spec.sparsities)
    return plain(f"{when} · {spec.model.source} · {sparsities} · {len(spec.seeds)} seeds · {record.state}")
