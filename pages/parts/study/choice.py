"""Which study the page shows: the one in hand, with the others to choose from."""

from datetime import datetime

from analysis.engine import JobRecord
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.plain import as_written
from pages.parts.session import not_in_address
from pages.parts.shown_box import shown_box
from pages.parts.study.found import example
from pages.parts.study.in_hand import ADDRESS, EXAMPLE_TITLE, studies, study_in_hand, study_title


def shown_study(boxed: bool = True) -> JobRecord | Findings | None:
    """The study in hand, whose name then stands in the address; the example by what was found in it. boxed: with a box
    of all studies."""
    there = studies()
    named = address.named(ADDRESS)
    if named and named not in there:
        not_in_address("a study that is not in the store." + (" Here is another one." if there else ""))
    shown = study_in_hand(there)
    if shown is None:
        return None
    if boxed and len(there) > 1:
        shown_box("Study", "study_shown", shown, there, lambda name: _titled(there[name]), show)
    record = there[shown]
    if record is None:
        return example()
    show(record.id)
    return record


def show(study_id: str) -> None:
    """Shows a study, and puts it in the address."""
    address.write(ADDRESS, study_id)


def _titled(record: JobRecord | None) -> str:
    """A study in one line: when, which model, how large."""
    if record is None:
        return EXAMPLE_TITLE
    return as_written(f"{datetime.fromtimestamp(record.created):%d %b %H:%M} · {study_title(record)} · {record.state}")
