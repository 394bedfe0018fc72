"""Massive activations: the largest residual channels of a recording, their tokens, and whether sinks carry them."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits.inside import channels_by_layer, largest_channels
from analysis.specs import SinkParams
from pages.parts import permission
from pages.parts.acting import acting_button
from pages.parts.charts import PER_CENT_CELLS, chart, table
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.recording import Recording, show_recording

KEPT = 4


def massive_activations(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, which has no controls of its own."""
    trajectory = recording.trajectory
    if trajectory.largest_channel is None:
        _record_again(recording)
        return
    sinks = measures.sinks(recording, params)
    chart(channels_by_layer(trajectory, sinks, definition_formula(params)), "channel_map")
    table(
        "Channels that are the largest somewhere",
        "In which share of the layers and steps, and how often a sink carries them there, beside a random token of the "
        "same state.",
        largest_channels(trajectory, sinks),
        "channels",
        column_config={
            name: st.column_config.NumberColumn(format=PER_CENT_CELLS)
            for name in ("largest in", "on a sink", "by chance")
        }
        | {"times the median, at most": st.column_config.NumberColumn(format="%.1f")},
    )


def _record_again(recording: Recording) -> None:
    """Draw a button that records the same with channels."""
    if references.says_no_model(recording):
        return
    st.info(
        "This recording was made without its residual channels. With them, this tab shows which few channels grow far "
        "beyond the others in every layer and step, and whether sinks carry them."
    )

    def again() -> None:
        spec = recording.request().model_copy(update={"channels": KEPT})
        show_recording(permission.begin("record", spec).id)

    st.caption(
        f"Recording again takes {references.seconds_of(recording)} and stores a few bytes more per layer and step."
    )
    acting_button("Record with channels", "record_channels", on_click=again, icon=":material/fiber_manual_record:")
