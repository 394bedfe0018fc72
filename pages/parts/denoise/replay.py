"""Playing a recording in the explorer, what could stand at a token of it, and the text beside the one it left."""

import streamlit as st

from pages.parts import address
from pages.parts.charts import exhibit_explorer
from pages.parts.denoise import branches
from pages.parts.recordings.explorer import NAMED, Token, explorer, explorer_data, sink_params, to_play
from pages.parts.recordings.one_token import to_sinks
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import stored_reference


@st.fragment
def replay(recording: Recording, beside: Recording | None) -> None:
    """Draw the explorer, and beneath it what a chosen token leads to."""
    address.keep()
    change, parent = recording.info.branch, branches.parent_of(recording)

    def choose(token: Token) -> None:
        of = recording if token["track"] == 0 else beside
        if of is not None:
            branches.choose(of, token["step"], token["position"], token["finished"])

    explorer(
        recording,
        "explorer",
        beside,
        play=to_play(recording),
        play_from=None if change is None else change.step,
        on_token=choose if branches.why_none(recording) == "" else None,
    )
    named = tuple((name, str(st.query_params[name])) for name in NAMED if name in st.query_params)
    exhibit_explorer(
        "The recording, step by step",
        "Point to look, click to pin, drag to select steps and positions.",
        lambda: explorer_data(recording, beside, stored_reference(recording), named),
        "explorer",
    )
    at = {name: value for name, value in named if name in ("step", "layer", "head", "position")}
    to_sinks(recording, "Show its sinks", **at)
    branches.alternatives(recording, beside)
    branches.compared(recording, parent, sink_params())
