"""The logit lens at the undecided tokens of a step: what sinks among them are about to become, layer by layer."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.recording.cause_exhibits import lens_by_layer
from analysis.recording.inside_specs import lens_spec, undecided, why_not_inside
from analysis.specs import SinkParams
from pages.parts import asking
from pages.parts.charts import show
from pages.parts.plain import plain
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula, step_slider
from pages.parts.recordings.recording import Recording


def logit_lens(recording: Recording, params: SinkParams, side: DeltaGenerator) -> None:
    """Draws the view; its controls in `side`."""
    st.caption(
        "What does an undecided sink already know? The states behind every layer are read by the model's own last norm "
        "and head: which token each undecided position would become, sinks beside the others."
    )
    problem = why_not_inside(recording.trajectory) or references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    with side:
        step = step_slider(recording)
    trajectory = recording.trajectory
    at = undecided(trajectory, step)
    if not len(at):
        st.info("No token of this step is undecided. Choose an earlier one.")
        return
    job = asking.ask("lens", lens_spec(trajectory, recording.model, step), "Reading every layer")
    if job is None:
        return
    sinks = measures.sinks(recording, params)[step][at]
    show(lens_by_layer(trajectory, step, at, job.summary, sinks, definition_formula(params)), "lens")
