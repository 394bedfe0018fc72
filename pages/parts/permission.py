"""Models that this visitor has run by hand: an address may show what is there, and never start a job.

Some pages run jobs unasked as a visitor moves from one to the next. They do so only for a model whose button the
visitor has pressed in this session; following a link begins a session of its own.
"""

import streamlit as st

from pages.parts.session import engine

_ALLOWED = "models_run_by_hand"


def allow(*sources: str) -> None:
    """Record that this visitor runs these models. Only for functions called by a click."""
    st.session_state.setdefault(_ALLOWED, set()).update(sources)


def allowed(source: str) -> bool:
    """Return whether this visitor has run the model by hand; False without the right to run every job."""
    return engine().authorizer.may("run") and source in st.session_state.get(_ALLOWED, set())
