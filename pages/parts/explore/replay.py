"""Playback of a recording in the explorer, alternatives to a token, and the text beside the one it left."""

import streamlit as st

from analysis.figures.export import Exhibit
from analysis.specs import DEFINITIONS
from pages.parts import address
from pages.parts.charts import put_into_export
from pages.parts.explore import branches
from pages.parts.primary_link import link_buttons
from pages.parts.recordings.explorer import NAMED, Token, explorer, explorer_data, redraw_beneath, sink_params, to_play
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import stored_reference

NEXT = "explore_next"
"""Row of buttons for the sinks shown."""
_DEFINITION = ("definition", *(row.parameter for row in DEFINITIONS.values()))


@st.fragment
def replay(recording: Recording, beside: Recording | None) -> None:
    """Draw the explorer with the buttons for its sinks, and beneath it what a chosen token leads to."""
    address.keep()
    change, parent = recording.info.branch, branches.parent_of(recording)

    def choose(token: Token) -> None:
        of = recording if token["track"] == 0 else beside
        if of is not None:
            branches.choose(of, token["step"], token["position"], token["finished"])

    named = tuple((name, str(st.query_params[name])) for name in NAMED if name in st.query_params)
    shown = beside if beside is not None and address.named("show") == "second" else recording
    _hand_over(shown, {name: value for name, value in named if name in _DEFINITION})
    explorer(
        recording,
        "explorer",
        beside,
        play=to_play(recording),
        play_from=None if change is None else change.step,
        on_token=choose if branches.why_none(recording) == "" else None,
    )
    redraw_beneath()
    exhibit = Exhibit(
        "The recording, step by step",
        "Pin a token, head or step to follow it; drag to select steps and positions.",
        explorer=lambda: explorer_data(recording, beside, stored_reference(recording), named),
    )
    put_into_export(exhibit, "explorer")
    branches.alternatives(recording, beside)
    branches.compared(recording, parent, sink_params())


def _hand_over(recording: Recording, definition: dict[str, str]) -> None:
    """Draw the buttons for what can be done with these sinks, by the definition that the explorer shows."""
    with link_buttons(NEXT):
        st.page_link(
            "pages/causes.py",
            label="**Hide these sinks**",
            icon=":material/visibility_off:",
            query_params={"recording": recording.job.id, "causes_view": "One prompt", **definition},
            help="Writes the prompt's text again while no token attends to the sinks of each step. "
            + (
                "They are those shown of the whole model."
                if recording.trajectory.pattern.is_even
                else "There they are judged on raw attention, so some differ from those shown."
            ),
        )
        st.page_link(
            "pages/prune.py",
            label="**Discount these sinks**",
            icon=":material/content_cut:",
            query_params={
                "source": recording.model.source,
                "prune_sink_std": definition.get("k", f"{sink_params().k:g}"),
            },
            help="Prunes with weights that count less where only sinks use them, from the same threshold k.",
        )
