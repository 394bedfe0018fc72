"""Models that this visitor has run by hand: an address may show what is there, and never start a job.

Some pages run jobs unasked as a visitor moves from one to the next. They do so only for a model whose button the
visitor has pressed in this session; following a link begins a session of its own.
"""

from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from pages.parts.session import engine, submit

_ALLOWED = "models_run_by_hand"


def allow(*sources: str) -> None:
    """Record that this visitor runs these models. Only for functions called by a click."""
    st.session_state.setdefault(_ALLOWED, set()).update(sources)


def begin(kind: str, spec: Any) -> JobRecord:
    """Submit a job that this visitor asks for by a click, which allows its models. Raises UserError for a bad one."""
    allow(*(model.source for model in getattr(spec, "models", None) or [spec.model]))
    return submit(kind, spec)


def allowed(source: str) -> bool:
    """Return whether this visitor has run the model by hand; False without the right to run every job."""
    return engine().authorizer.may("run") and source in st.session_state.get(_ALLOWED, set())
