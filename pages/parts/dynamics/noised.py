"""Sinks on noised text, as calibration sees it, beside those of the model's own half-written text."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import dynamics as figures
from analysis.sinks.metrics import CURVES
from analysis.specs import SinkParams
from pages.parts.dynamics.curves import curve, curve_names, in_pairs, kinds_of_sinks, scope_boxes
from pages.parts.dynamics.stable_or_moving import variances
from pages.parts.recordings import measures, references
from pages.parts.recordings.recording import Recording

_WHERE = "where fewest tokens are masked", "where most are"


def noised_against_real(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    st.caption(
        "Calibration for pruning sees finished text with random tokens masked; the model lives on its own half-written "
        "text. Both are here, at the same share of masked tokens."
    )
    if recording.info.model.noise == "uniform":
        st.info("This model's noise is random tokens, drawn anew in every step, which its recording shows already.")
        return
    if recording.info.model.mask_token is None:
        st.info("This recording is of a left-to-right model, which has no forward noise.")
        return
    if recording.info.by_blocks:
        st.info("This model was trained on noise inside a block over clean text, which its recording shows already.")
        return
    if references.says_no_model(recording, inside=True):
        return
    with side:
        scope = scope_boxes(recording)
    noised = references.noised(recording)
    if noised is None:
        return
    pair = {"Real trajectory": recording, "Noised text": noised}
    kinds_of_sinks(pair, params, scope, split, "step, from most to fewest masks")
    # Noised steps are drawn independently: they have no step before.
    for column, name in in_pairs([name for name in curve_names(split) if not CURVES[name].compares_steps]):
        series = [
            figures.Series(
                label, member.trajectory.share_undecided, measures.curve(member, name, params, scope, split)[None]
            )
            for label, member in pair.items()
        ]
        with column:
            curve(f"noised_{name}", name, series, params, "share of tokens masked", _WHERE)
    variances(list(pair.items()), params, split, by_head=False, log=True)
