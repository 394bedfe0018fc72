"""References of a recording: the same inputs through an untrained model, and its text noised forward."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.models.checkpoint import find, fingerprint
from analysis.recording.inside_specs import noise_spec, reference_spec, why_not_inside
from analysis.specs import ModelSpec, ReferenceSpec
from pages.parts.acting import acting_button, allow, is_allowed
from pages.parts.asking import ask, ask_by_hand
from pages.parts.plain import plain
from pages.parts.recordings.recording import BY_KEY, Recording, cached, open_recording
from pages.parts.session import engine
from pages.parts.user_errors import EXPECTED, why

_OBSERVING = "Observing the same inputs in an untrained model"
_MATCHING = 1.5  # times the forwards of a recording, with those that bring attention to its sharpness
QUICK = 100e6  # bytes of weights up to which the random-weight reference is drawn without being asked for


def why_no_model(recording: Recording) -> str:
    """Return why the recorded model cannot run, or ''."""
    source = recording.model.source
    try:
        engine().authorizer.check_source(source)
        checkpoint = find(source, recording.model.paradigm)
    except EXPECTED as error:
        return f"This needs the recorded model. {why(error)}"
    if checkpoint is None:
        return f"This needs the recorded model, and '{source}' is not on this disk. Load it in the sidebar first."
    if fingerprint(checkpoint) != recording.info.model.fingerprint:
        return f"This needs the recorded model, and '{source}' has changed since. Record again to look into it."
    return ""


def says_no_model(recording: Recording, inside: bool = False) -> bool:
    """Say why the recorded model cannot run, if so, and return that. inside: or why states inside it cannot be read."""
    problem = (why_not_inside(recording.trajectory) if inside else "") or why_no_model(recording)
    if problem:
        st.info(plain(problem))
    return bool(problem)


def seconds_of(recording: Recording, share: float = 1.0) -> str:
    """Say how long `share` times the forwards of a recording take, as measured when it was recorded."""
    seconds = recording.info.seconds * share
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.0f} h"


# --- random weights ---------------------------------------------------------------------------------------------


def reference_toggle(recording: Recording) -> Recording | None:
    """Draw the switch for the random-weight reference, and return it; None if it is off or not there (yet).

    It starts on if the reference is stored, or if the model is small and the visitor has run it; otherwise switching it
    on requests the reference.
    """
    problem = why_no_model(recording)
    stored = stored_reference(recording)
    quick = not problem and is_allowed(recording.model.source) and is_small(recording.model)
    wanted = st.toggle(
        "Untrained model",
        value=stored is not None or quick,
        key="random_reference",
        bind="query-params",
        on_change=allow,
        args=(recording.model.source,),
        help="The same inputs through the same shape of model with random weights and equally sharp attention: what an "
        f"untrained model shows. Takes {seconds_of(recording, _MATCHING)} where it is not stored.",
    )
    if not wanted or stored is not None:
        return stored if wanted else None
    if problem:
        st.info(plain(problem))
        return None
    spec = _reference_spec(recording, recording.model)
    return _opened(ask("reference", spec, _OBSERVING))


def reference_offer(recording: Recording) -> None:
    """Draw the button that observes the random-weight reference, and its progress; nothing where it is stored or the
    model is not there.
    """
    if why_no_model(recording) or stored_reference(recording) is not None:
        return
    asked, source = f"reference_of_{recording.key}", recording.model.source

    def observe() -> None:
        allow(source)
        st.session_state[asked] = True

    acting_button(
        "Add an untrained model",
        "observe_random_weights",
        icon=":material/balance:",
        on_click=observe,
        width="stretch",
        help="The same inputs through the same shape of model with random weights and equally sharp attention: the "
        f"baseline of every head, from one draw of weights. Takes {seconds_of(recording, _MATCHING)}.",
    )
    if st.session_state.get(asked):
        ask("reference", _reference_spec(recording, recording.model), _OBSERVING, by_hand=True)


def stored_reference(recording: Recording) -> Recording | None:
    """Return a recording's random-weight reference if it was observed before; runs nothing."""
    if why_no_model(recording):
        return None
    key = _reference_key(recording, recording.model, recording.info.model.fingerprint)
    return _opened(engine().answered("reference", key))


def is_small(model: ModelSpec) -> bool:
    """Return whether a model on this disk is small enough for instant forwards."""
    engine().authorizer.check_source(model.source)
    checkpoint = find(model.source, model.paradigm)
    return checkpoint is not None and sum(file.stat().st_size for file in checkpoint.weight_files) <= QUICK


@st.cache_resource(max_entries=16, hash_funcs=BY_KEY, show_spinner=False)
def _reference_spec(recording: Recording, model: ModelSpec) -> ReferenceSpec:
    return reference_spec(recording.trajectory, model)


@cached(64)
def _reference_key(recording: Recording, model: ModelSpec, content: str) -> str | None:
    """Return the name of a reference's result. content: the fingerprint of the model there now, on which it depends."""
    return known_key("reference", _reference_spec(recording, model))


# --- noised text ------------------------------------------------------------------------------------------------


def noised(recording: Recording) -> Recording | None:
    """Return the finished text noised forward, once its button is pressed; None until it is there."""
    spec = noise_spec(recording.trajectory, recording.model)
    jobs = ask_by_hand(
        "noise",
        [spec],
        "Observing the noised text",
        "Observe the noised text",
        f"Masks random tokens of the finished text and runs one forward per noise level: {seconds_of(recording)}.",
    )
    return None if jobs is None else _opened(jobs[0])


def _opened(job: JobRecord | None) -> Recording | None:
    return None if job is None else open_recording(job)
