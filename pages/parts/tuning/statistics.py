"""The statistics that the tuning page stands on: found in the store, or made by a job once asked for."""

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.models.checkpoint import Checkpoint, find
from analysis.specs import CalibrateSpec, CalibrationParams, sentence
from cache.keys import content_key
from pages.parts import asking, controls
from pages.parts.acting import acting_button
from pages.parts.plain import plain
from pages.parts.pruning.calibration_presets import noise_note, preset_box
from pages.parts.session import engine, model_in_use

_TEXT = ("data", "samples", "seq_len", "seed", "diffusion_steps", "step_interval", "noise", "noise_eps")
_STORED = ("grouping", "layer_scope", "byte_budget", "heldout")
_ASKED = "statistics_asked"


def statistics_job() -> JobRecord | None:
    """The finished job of the statistics that the controls describe; None while there is none."""
    model = model_in_use()
    checkpoint = find(model.source, model.paradigm)
    if checkpoint is not None and checkpoint.architecture.noise is None:
        st.info(
            f"{plain(model.source)} writes from left to right: there is no noised text to discount sinks on. Choose a "
            "diffusion model in the sidebar."
        )
        return None
    keys = {name: f"calibrate_{name}" for name in _TEXT}
    preset = CalibrateSpec.model_fields["calibration"].default
    with controls.fold("Calibration text", preset, keys, always=("data", "samples", "seq_len", "seed")):
        spec = _spec(checkpoint)
    if spec is None:
        return None
    spec = spec.model_copy(update={"model": model})
    ready = engine().answered("calibrate", known_key("calibrate", spec))
    if ready is not None:
        return ready
    question = content_key(spec=spec.model_dump(mode="json"))[:12]
    if st.session_state.get(_ASKED) != question and not asking.at_hand("calibrate", spec):
        st.info(
            "Nothing is stored for this model and calibration yet. One job runs the dense model over noised text; from "
            "then on every setting is computed without the model."
        )
        if acting_button("Store statistics", key="tuning_calibrate", type="primary", icon=":material/database:"):
            st.session_state[_ASKED] = question
            st.rerun()
        return None
    return asking.ask("calibrate", spec, f"Storing statistics of {model.source}", by_hand=True)


def _spec(checkpoint: Checkpoint | None) -> CalibrateSpec | None:
    preset_box("calibrate", checkpoint)
    default = CalibrateSpec.model_fields["calibration"].default
    text, stored = {}, {}
    columns = st.columns(4)
    for index, name in enumerate(_TEXT):
        with columns[index % 4]:
            text[name] = controls.draw(
                CalibrationParams, name, f"calibrate_{name}", default=getattr(default, name), bind="query-params"
            )
    columns = st.columns(4)
    for index, name in enumerate(_STORED):
        with columns[index % 4]:
            stored[name] = controls.draw(CalibrateSpec, name, f"calibrate_{name}", bind="query-params")
    try:
        spec = CalibrateSpec(calibration=CalibrationParams(**text), **stored)
    except ValidationError as error:
        st.error(plain(sentence(error)))
        return None
    noise_note(spec.calibration, checkpoint)
    return spec
