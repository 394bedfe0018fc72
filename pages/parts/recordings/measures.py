"""Measures of a recording, computed once and kept: pages ask for numbers here and do no maths of their own."""

import numpy as np
import streamlit as st

from analysis.sinks import definitions as sink_analysis
from analysis.sinks import metrics
from analysis.sinks.token_states import ALL, REGIONS
from analysis.specs import SinkParams
from pages.parts.recordings.recording import BY_KEY, Recording, cached

Scope = tuple[int | None, int | None]
"""A layer and a head; None for all of them."""
WHOLE: Scope = (None, None)


@cached(64, "Adding up the attention mass…")
def mean_mass(recording: Recording, scope: Scope = WHOLE) -> np.ndarray:
    """Return the mass averaged over the heads of a scope, (T, S)."""
    layer, head = scope
    layers = slice(None) if layer is None else slice(layer, layer + 1)
    heads = slice(None) if head is None else slice(head, head + 1)
    return sink_analysis.mean_mass(recording.trajectory.mass[:, layers, heads])


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
