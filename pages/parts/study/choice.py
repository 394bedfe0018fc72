"""Which study the page shows: the one in hand, with the others to choose from."""

from datetime import datetime
from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from analysis.exhibits.story import discount_in_brief
from analysis.exhibits.story_parts import spec_of
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.plain import as_written, plain
from pages.parts.session import not_in_address
from pages.parts.shown_box import shown_box
from pages.parts.study.found import example, of_record
from pages.parts.study.in_hand import ADDRESS, EXAMPLE_TITLE, studies, study_in_hand, study_title
from pages.parts.user_errors import EXPECTED


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


def current_study() -> tuple[str, JobRecord | None, Findings] | None:
    """Return the study in hand as addresses call it, its record, none of the example, and what it has found; None where
    there is none, or none that can be read, which Start tells.
    """
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return None
    record = there[name]
    try:
        findings = example() if record is None else of_record(record)
    except EXPECTED:
        return None
    return None if findings is None else (name, record, findings)


def study_of_discount(source: str, seeds: int, place: Any = st) -> None:
    """Link to what the current study says of the discount, where it is of this model, can tell, and has more seeds for
    calibration than what the page shows. source: of the model. seeds: on the page. place: of the link.
    """
    current = current_study()
    if current is None:
        return
    name, record, findings = current
    if record is not None and record.state != "done":
        return
    spec = spec_of(findings)
    told = discount_in_brief(findings) if spec.model.source == source and len(spec.seeds) > seeds else ""
    if told:
        label = f"{'Shipped' if record is None else 'Current'} study, {told}"
        place.page_link(
            "pages/start.py", label=plain(label), icon=":material/auto_stories:", query_params={ADDRESS: name}
        )


def show(study_id: str) -> None:
    """Shows a study, and puts it in the address."""
    address.write(ADDRESS, study_id)


def _titled(record: JobRecord | None) -> str:
    """A study in one line: when, which model, how large."""
    if record is None:
        return EXAMPLE_TITLE
    return as_written(f"{datetime.fromtimestamp(record.created):%d %b %H:%M} · {study_title(record)} · {record.state}")
