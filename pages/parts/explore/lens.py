"""The logit lens at the undecided tokens of a step: what sinks among them are about to become, layer by layer."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits.inside import lens_by_layer
from analysis.recording.inside_specs import lens_spec, undecided
from analysis.specs import SinkParams
from pages.parts import asking
from pages.parts.charts import chart
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.explorer import place_in
from pages.parts.recordings.recording import Recording


def logit_lens(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, at the step of the explorer."""
    if references.says_no_model(recording, inside=True):
        return
    trajectory, step = recording.trajectory, place_in(recording).step
    at = undecided(trajectory, step)
    if not len(at):
        st.info(f"No token of step {step:d} is undecided. Choose an earlier step in the explorer.")
        return
    jobs = asking.ask_by_hand(
        "lens",
        [lens_spec(trajectory, recording.model, step)],
        f"Reading every layer at step {step:d}",
        f"Read every layer at step {step:d}",
        "Reads the states behind every layer with the model's own last norm and head: which token each undecided "
        "position would become, sinks compared with the others. One forward of the model: "
        f"{references.seconds_of(recording, 1 / trajectory.steps)}.",
    )
    if jobs is None:
        return
    (job,) = jobs
    sinks = measures.sinks(recording, params)[step][at]
    chart(lens_by_layer(trajectory, step, at, job.summary, sinks, definition_formula(params)), "lens")
