"""The verdicts of a run of the claims, kept while nothing of it changes."""

import streamlit as st

from analysis.claims.found import found_by
from analysis.claims.verdicts import ClaimVerdict, claim_verdicts
from analysis.engine import JobRecord
from analysis.specs import ClaimsSpec
from pages.parts.session import engine
from pages.parts.study.found import read_point


def verdicts_of(record: JobRecord, model: str) -> list[ClaimVerdict]:
    """What a run has found by now. model: as sentences call it. Raises UserError for a damaged file."""
    states = tuple(f"{job.id} {job.state}" for part in engine().parts(record) for job in part.jobs.values())
    return _judged(record.id, record.state, states, model)


@st.cache_resource(max_entries=8, show_spinner=False)
def _judged(record_id: str, state: str, states: tuple[str, ...], model: str) -> list[ClaimVerdict]:
    record = engine().job(record_id)
    assert record is not None
    return claim_verdicts(record.parameters(ClaimsSpec).claims, found_by(record, engine(), read_point), model)
