"""Appearance, movement and end of a recording's sinks over its steps, beside other recordings and references."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.specs import SinkParams
from pages.parts.dynamics.noised import noised_against_real
from pages.parts.dynamics.over_steps import over_steps
from pages.parts.dynamics.positions import positions
from pages.parts.dynamics.stable_or_moving import stable_or_moving
from pages.parts.recordings.recording import Recording

VIEWS = {
    "Over the steps": over_steps,
    "Stable or moving": stable_or_moving,
    "Positions": positions,
    "Noised against real": noised_against_real,
}


def dynamics(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, with its controls in `side`."""
    with side:
        view = st.selectbox("View", list(VIEWS), key="dynamics_view", bind="query-params")
    VIEWS[view](recording, params, split, side)
