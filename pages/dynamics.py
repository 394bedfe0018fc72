"""Where sinks are and how they move: over many prompts, and in one recording beside others and its references."""

import streamlit as st

from pages.parts.alone import alone
from pages.parts.charts import export_button, start_exhibits
from pages.parts.dynamics.noised import noised_against_real
from pages.parts.dynamics.over_steps import over_steps
from pages.parts.dynamics.positions import positions
from pages.parts.dynamics.stable_or_moving import stable_or_moving
from pages.parts.frame import run
from pages.parts.recordings.by_layer import by_layer
from pages.parts.recordings.choice import recording_to_look_at, sink_and_split_controls
from pages.parts.recordings.recording import Recording
from pages.parts.side import plots_and_controls

BY_LAYER = "By layer"
VIEWS = {
    "Over the steps": over_steps,
    "Stable or moving": stable_or_moving,
    "Positions": positions,
    "Noised against real": noised_against_real,
}

SHOWS = (
    "Once a prompt is recorded, this view shows how its sinks come, move and go from step to step, beside what chance "
    "would give."
)


def main() -> None:
    """Draws the page."""
    st.title("Dynamics")
    # An address that names a recording, and no set, is of a single prompt.
    if "dynamics_view" not in st.session_state and "recording" in st.query_params:
        st.session_state["dynamics_view"] = st.query_params.get("dynamics_view", next(iter(VIEWS)))
    views = (BY_LAYER, *VIEWS)
    view = st.segmented_control(
        "View", views, default=BY_LAYER, required=True, key="dynamics_view", bind="query-params"
    )
    if view == BY_LAYER:
        start_exhibits()
        settings = by_layer()
        if settings is not None:
            export_button("SinkScope: dynamics, by layer", settings, ", ".join(settings))
        return
    recording = recording_to_look_at(SHOWS)
    if recording is not None:
        _looked_at(recording, view)


@alone
def _looked_at(recording: Recording, view: str) -> None:
    """The plots of a view and their controls, which draw these alone anew and not what stands around them."""
    start_exhibits()
    plots, side = plots_and_controls()
    with side:
        params, split = sink_and_split_controls(recording)
    with plots:
        VIEWS[view](recording, params, split, side)
    export_button(
        f"SinkScope: dynamics, {view.lower()}",
        {**recording.settings(), "sinks": params.model_dump()},
        recording.info.prompt,
    )


if __name__ == "__main__":
    run(main)
