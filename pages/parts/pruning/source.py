"""Source of the numbers on Prune, headline and figures alike: the current study, or the runs here."""

from collections.abc import Sequence

import streamlit as st

from analysis.engine.run_pairs import RunPair, has_setting
from analysis.specs import METHODS, PruneSpec, setting_key
from pages.parts import address
from pages.parts.accuracy.choice import evaluations
from pages.parts.study.choice import OfStudy, found_by_study
from pages.parts.sweeping import sweeps_at_work

_STUDY, _RUNS = "Study", "Runs here"  # as the address holds them
_SOURCE, _PRESET, _STARTED = "prune_source", "prune_source_preset", "prune_started"


def choose_source(specs: Sequence[PruneSpec], pairs: Sequence[RunPair]) -> OfStudy | None:
    """Draw the choice between the current study and the runs here, where both have the settings; return the study where
    it is shown, None where the runs are. Preset is the one with more calibration seeds, and the runs once they were
    started here or the address says so. pairs: of `matched_pairs`.
    """
    discounted = next((spec for spec in specs if METHODS[spec.method].control is not None), None)
    study = None if discounted is None else found_by_study(discounted)
    here = sum(has_setting(pair, specs) for pair in pairs)  # calibration seeds
    started = discounted is not None and setting_key(discounted) in st.session_state.get(_STARTED, ())
    scored = address.named("evaluation") or any(not record.ended for record in evaluations())
    first = started or scored or sweeps_at_work() or st.query_params.get(_SOURCE) == _RUNS
    if study is None or not (here or first):
        return study
    preset = _RUNS if first or study.contrast.effect.seeds < here else _STUDY
    chosen = st.session_state.get(_SOURCE, st.query_params.get(_SOURCE))
    if chosen not in (_STUDY, _RUNS) or st.session_state.get(_PRESET, preset) != preset:
        st.session_state[_SOURCE] = preset
    st.session_state[_PRESET] = preset
    shown = st.segmented_control(
        "Source of the numbers",
        [_STUDY, _RUNS],
        required=True,
        key=_SOURCE,
        bind="query-params",
        label_visibility="collapsed",
    )
    return study if shown == _STUDY else None


def note_start(specs: Sequence[PruneSpec]) -> None:
    """Remember that these prunings were started here, so that their runs are shown."""
    st.session_state[_STARTED] = {setting_key(spec) for spec in specs}
    st.session_state[_SOURCE] = _RUNS
