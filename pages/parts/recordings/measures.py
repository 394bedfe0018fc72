"""Measures of a recording, computed once and kept: pages ask for numbers here and do no maths of their own. Its
references, too: the same inputs through an untrained model, and its text noised forward.
"""

import numpy as np
import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.recording import frames
from analysis.recording.inside_specs import noise_spec, reference_spec, why_not_inside
from analysis.sinks import definitions as sink_analysis
from analysis.sinks import metrics
from analysis.sinks.step_inputs import ALL, REGIONS
from analysis.specs import ModelSpec, ReferenceSpec, SinkParams
from pages.parts.asking import acting_button, allow, ask, ask_by_hand
from pages.parts.plain import plain
from pages.parts.recordings.recording import BY_KEY, Recording, cached, open_recording
from pages.parts.session import EXPECTED, engine, why

Scope = tuple[int | None, int | None]
"""A layer and a head; None for all of them."""
WHOLE: Scope = (None, None)


@cached(64, "Adding up the attention mass…")
def mean_mass(recording: Recording, scope: Scope = WHOLE) -> np.ndarray:
    """Return the mass averaged over the heads of a scope, (T, S)."""
    return frames.mean_mass(recording.trajectory, *scope)


@cached(64)
def sinks(recording: Recording, params: SinkParams, scope: Scope = WHOLE) -> np.ndarray:
    """Return the sinks of each step as a mask, (T, S) bool, judged on the mass of a scope."""
    return sink_analysis.find_sinks(mean_mass(recording, scope), params, _visible(recording, scope[0]))


def _visible(recording: Recording, layer: int | None) -> np.ndarray:
    return recording.trajectory.pattern.visible(layer)


def uniform_of_head(recording: Recording, step: int, layer: int) -> np.ndarray:
    """Return the share of a head's attention that each present token gets under uniform attention, (P,)."""
    trajectory = recording.trajectory
    uniform = trajectory.pattern.uniform_mass[step]
    there = trajectory.present[step]
    return uniform[layer if len(uniform) > 1 else 0, 0, there] / there.sum()


def uniform_strength(recording: Recording, flags: np.ndarray) -> np.ndarray:
    """Return the share that uniform attention would pay to these positions (T, S), by step, (T,)."""
    return sink_analysis.uniform_strength(flags, recording.trajectory.pattern.uniform_share)


@st.cache_resource(max_entries=4, hash_funcs=BY_KEY, show_spinner="Measuring every head…")
def _moments(recording: Recording) -> sink_analysis.Moments:
    return metrics.head_moments(recording.trajectory.mass)


@st.cache_resource(max_entries=4, hash_funcs=BY_KEY, show_spinner="Measuring every head…")
def _value_totals(recording: Recording) -> np.ndarray:
    norms = recording.trajectory.value_norm
    assert norms is not None  # pages offer metrics of values only where there are norms
    return metrics.value_totals(norms)


def counted(recording: Recording, split: str) -> np.ndarray:
    """Return the mask of a split's tokens, (T, S). split: here and elsewhere, a name of `SPLITS`."""
    return recording.trajectory.counted(split)


@cached(16)
def count_by_region(recording: Recording, params: SinkParams, scope: Scope = WHOLE) -> np.ndarray:
    """Count the sinks of each step in each region of the text, (T, len(REGIONS))."""
    flags = [counted_sinks(recording, params, scope, region) for region in REGIONS]
    return np.stack([in_region.sum(axis=1) for in_region in flags], axis=-1)


def head_metric(recording: Recording, name: str, params: SinkParams, split: str = ALL) -> np.ndarray:
    """Return a metric of every head: (T, L, H), or (L, H) for one over all steps. split: as in `curve`."""
    if metrics.HEAD_METRICS[name].reads_sinks:
        return _head_metric(recording, name, params, split)
    return _head_metric(recording, name, SinkParams(), ALL)


@cached(64, "Measuring every head…")
def _head_metric(recording: Recording, name: str, params: SinkParams, split: str) -> np.ndarray:
    heads = metrics.Heads(
        recording.trajectory.mass,
        counted_sinks(recording, params, WHOLE, split),
        params,
        recording.trajectory.pattern.largest_mass,
        recording.trajectory.value_norm,
        _moments(recording),
        _value_totals(recording) if metrics.HEAD_METRICS[name].reads_values else None,
        counted(recording, split),
    )
    return metrics.HEAD_METRICS[name].compute(heads)


@cached(8)
def kinds(recording: Recording) -> np.ndarray:
    """Return the kind of every token, (T, S) indices into `analysis.sinks.definitions.KINDS`."""
    trajectory, info = recording.trajectory, recording.info
    return sink_analysis.token_kinds(trajectory.tokens, trajectory.undecided, info.tokens, info.model.end_tokens)


def counted_sinks(recording: Recording, params: SinkParams, scope: Scope = WHOLE, split: str = ALL) -> np.ndarray:
    """Return the sinks among the tokens of a split, (T, S)."""
    return sinks(recording, params, scope) & counted(recording, split)


@cached(256)
def curve(recording: Recording, name: str, params: SinkParams, scope: Scope = WHOLE, split: str = ALL) -> np.ndarray:
    """Return a number per step, (T,). split: the tokens looked at."""
    flags, looked_at = counted_sinks(recording, params, scope, split), counted(recording, split)
    return metrics.CURVES[name].compute(mean_mass(recording, scope), flags, looked_at)


@cached(32)
def strength_at(recording: Recording, dense: Recording, params: SinkParams) -> np.ndarray:
    """Return the share of attention a recording pays, by step, to the sinks of another, dense one, (T,)."""
    return sink_analysis.strength_at(mean_mass(recording), sinks(dense, params))


@cached(32, "Measuring every layer…")
def layer_strength_at(recording: Recording, dense: Recording, params: SinkParams) -> np.ndarray:
    """Return the same for each layer, averaged over the steps, (L,)."""
    flags = sinks(dense, params)
    rows = [
        sink_analysis.strength_at(mean_mass(recording, (layer, None)), flags)
        for layer in range(recording.trajectory.layers)
    ]
    return np.mean(rows, axis=1)


@cached(16, "Measuring how sinks move…")
def variances(
    recording: Recording, params: SinkParams, by_head: bool, split: str = ALL
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return spatial variance of the corrected share and temporal variance of the centroid of each layer or head, and
    names.

    Sinks are judged on the corrected share, so that models with different attention compare. split: as in `curve`.
    """
    mass, pattern = recording.trajectory.mass, recording.trajectory.pattern
    moments = _moments(recording) if by_head and pattern.is_even else None
    uniform = None if pattern.is_even else pattern.uniform_mass
    return metrics.variance_points(mass, params, by_head, uniform, counted(recording, split), moments)


@cached(64)
def strongest_position(recording: Recording, step: int | None) -> np.ndarray:
    """Return the position each head attends to most, in a step or over all of them, (L, H)."""
    mass = recording.trajectory.mass
    return metrics.strongest_position(mass if step is None else mass[step : step + 1])


def over_steps(values: np.ndarray) -> np.ndarray:
    """Average a metric of every head over steps, (T, L, H) -> (L, H), leaving steps without a value out."""
    return sink_analysis.mean_of_finite(values)


_OBSERVING = "Observing the same inputs in an untrained model"
_MATCHING = 1.5  # times the forwards of a recording, with those that bring attention to its sharpness
QUICK = 100e6  # bytes of weights up to which the random-weight reference is drawn without being asked for


def why_no_model(recording: Recording) -> str:
    """Return why the recorded model cannot run, or ''."""
    source = recording.model.source
    try:
        engine().authorizer.check_source(source)
        checkpoint = checkpoint_of(recording.model)
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
    """Say how long a job of `share` times the forwards of a recording takes, as measured when it was recorded, with the
    start of the first worker.
    """
    seconds = recording.info.seconds * share + engine().seconds_to_start()
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.0f} h"


# --- random weights ---------------------------------------------------------------------------------------------


def reference_toggle(recording: Recording) -> Recording | None:
    """Draw the switch for the random-weight reference, and return it; None if it is off or not there (yet).

    It starts on if the reference is stored; otherwise switching it on requests the reference.
    """
    problem = why_no_model(recording)
    stored = stored_reference(recording)
    wanted = st.toggle(
        "Untrained model",
        value=stored is not None,
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
    checkpoint = checkpoint_of(model)
    return checkpoint is not None and checkpoint.file_bytes <= QUICK


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
