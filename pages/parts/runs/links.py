"""The ways from runs to the other pages: their masks, their recordings and their accuracy."""

import streamlit as st

from analysis.engine.runs import Run
from pages.parts.recordings.recording import finished_recordings


def to_masks(runs: list[Run]) -> None:
    """Two runs side by side, with all of them among the several."""
    ids = [run.id for run in runs if run.has_masks]
    if not ids:
        return
    parameters: dict[str, str | list[str]] = {"first": ids[0]}
    if len(ids) > 1:
        parameters |= {"second": ids[1]}
    if len(ids) > 2:
        parameters |= {"masks_view": "Several runs", "runs": ids}
    st.page_link("pages/masks.py", label="**Masks**", icon=":material/grid_on:", query_params=parameters)


def to_recordings(run: Run) -> None:
    """The newest recording of a run's model with its sinks, else the page that records one."""
    recording = next((job for job in finished_recordings() if job.spec["model"]["source"] == run.source), None)
    if recording is not None:
        st.page_link(
            "pages/sinks.py",
            label="**Sinks of its newest recording**",
            icon=":material/grid_view:",
            query_params={"recording": recording.id, "source": run.source},
        )
    st.page_link(
        "pages/denoise.py",
        label="**Record a prompt with it**",
        icon=":material/play_circle:",
        query_params={"source": run.source},
    )


def to_accuracy(evaluation: str, label: str) -> None:
    """An evaluation on the page of accuracy. label: Markdown."""
    st.page_link(
        "pages/accuracy.py", label=label, icon=":material/monitoring:", query_params={"evaluation": evaluation}
    )
