"""The ways on from a run: to a view of this page, and to its recordings."""

import streamlit as st

from analysis.engine.runs import Run
from pages.parts import address
from pages.parts.recordings.recording import finished_recordings

VIEW = "runs_view"
"""In the address: the view of the ticked runs."""


def view_button(view: str, label: str, icon: str) -> None:
    """Draw a button that shows another view of what is ticked."""
    st.button(label, key=f"to_{view.lower()}", icon=icon, on_click=_show, args=(view,))


def evaluation_button(evaluation: str, label: str) -> None:
    """Draw a button that shows an evaluation."""
    st.button(
        label, key=f"to_{evaluation}", icon=":material/monitoring:", on_click=_show_evaluation, args=(evaluation,)
    )


def _show(view: str) -> None:
    st.session_state[VIEW] = view


def _show_evaluation(evaluation: str) -> None:
    address.write("evaluation", evaluation)
    _show("Accuracy")


def to_recordings(run: Run) -> None:
    """Link to the newest recording of a run's model with its sinks, else to the page that records one."""
    recording = next((job for job in finished_recordings() if job.spec["model"]["source"] == run.source), None)
    if recording is not None:
        st.page_link(
            "pages/explore.py",
            label="**Its newest recording**",
            icon=":material/blur_on:",
            query_params={"recording": recording.id, "source": run.source},
        )
    st.page_link(
        "pages/explore.py",
        label="**Record a prompt with it**",
        icon=":material/play_circle:",
        query_params={"source": run.source},
    )
