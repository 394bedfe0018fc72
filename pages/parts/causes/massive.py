"""Massive activations: the largest residual channels of a recording, their tokens, and whether sinks carry them."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures.causes import channel_map
from analysis.sinks import massive as channels
from analysis.specs import SinkParams
from pages.parts import permission
from pages.parts.charts import chart, table
from pages.parts.plain import plain
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.recording import Recording, show_recording
from pages.parts.session import submit
from pages.parts.trouble import refusal_kept, say_refusal

KEPT = 4
_PLACE = "record_channels"


def massive_activations(recording: Recording, params: SinkParams) -> None:
    """Draws the view."""
    st.caption(
        "A few channels of the residual stream grow far beyond all others on a few tokens. See which they are in every "
        "layer and step, and whether those tokens are the sinks."
    )
    trajectory = recording.trajectory
    channel, position = trajectory.largest_channel, trajectory.largest_position
    value, median = trajectory.largest_value, trajectory.largest_median
    if channel is None or position is None or value is None or median is None:
        _record_again(recording)
        return
    sinks = measures.sinks(recording, params)
    found = channels.channels(channel, position, value, median, sinks, trajectory.state)
    carried = channels.on_sinks(position, sinks)[..., 0]
    chance = channels.chance_on_sinks(position, sinks, trajectory.state)[..., 0]
    said = channels.sentence(found, carried, chance, float(channels.massive(value, median).mean()))
    if said:
        st.markdown(plain(said))
    ratio = channels.ratios(value, median)
    names = [trajectory.labels(step) for step in range(trajectory.steps)]
    words = [[names[step][at] for at in position[step, :, 0]] for step in range(trajectory.steps)]
    step, layer = (axis.ravel() for axis in np.indices(ratio.shape))
    chart(
        "The largest residual channel of each layer and step",
        "How many times the median magnitude it reaches; squares where its token is a sink of the step.",
        "Behind each layer, $\\max_{s,c} |h_{s,c}| / \\operatorname{median}_{s,c} |h_{s,c}|$ of the residual stream. "
        "Massive: above 100 and 1,000 times the median (Sun et al., arXiv 2402.17762).\n\n"
        + definition_formula(params),
        channel_map(ratio, channel[..., 0], carried, words),
        "channel_map",
        pd.DataFrame(
            {
                "step": step,
                "layer": layer,
                "channel": channel[..., 0].ravel(),
                "position": position[..., 0].ravel(),
                "token": [word for row in words for word in row],
                "value": value[..., 0].ravel(),
                "times the median": ratio.ravel(),
                "on a sink": carried.ravel(),
            }
        ),
    )
    table(
        "Channels that are the largest somewhere",
        "In which share of the layers and steps, and how often a sink carries them there, beside a random token of the "
        "same state.",
        pd.DataFrame([vars(one) for one in found]).rename(
            columns={
                "number": "channel",
                "share": "largest in",
                "largest": "times the median, at most",
                "on_sinks": "on a sink",
                "chance": "by chance",
            }
        ),
        "channels",
        column_config={
            name: st.column_config.NumberColumn(format="percent") for name in ("largest in", "on a sink", "by chance")
        },
    )


def _record_again(recording: Recording) -> None:
    """A button that records the same with its channels."""
    problem = references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    st.info("This recording was made without its residual channels. They take a few bytes a layer and step.")

    def again() -> None:
        permission.allow(recording.model.source)
        with refusal_kept(_PLACE):
            show_recording(submit("record", recording.request().model_copy(update={"channels": KEPT})).id)

    st.button("Record it again with them", key="record_channels", on_click=again, icon=":material/fiber_manual_record:")
    say_refusal(_PLACE)
