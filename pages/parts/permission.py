"""Which models this visitor has run by hand: an address may show what is there, and never start a job.

Pages ask some questions of a model by themselves, as a visitor moves from one to the next. They do so only of a model
that the visitor has pressed a button for in this session; a link that was followed begins a session of its own.
"""

import streamlit as st

from pages.parts.session import engine

_ALLOWED = "models_run_by_hand"


def allow(*sources: str) -> None:
    """Notes that this visitor runs these models. Called by what a click calls, and nowhere else."""
    st.session_state.setdefault(_ALLOWED, set()).update(sources)


def allowed(source: str) -> bool:
    """Whether this visitor has run the model by hand; for one who may not run
    every job, pages ask nothing by themselves."""
    return engine().authorizer.may("run") and source in st.session_state.get(_ALLOWED, set())
