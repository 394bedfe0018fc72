"""Measures of a recording, computed once and kept: pages ask for numbers here and do no maths of their own.

Arguments whose names begin with `_` are not part of a cache key; the recording's own key is.
"""

import numpy as np
import streamlit as st

from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions as sink_analysis
from analysis.sinks import metrics
from analysis.specs import SinkParams

Scope = tuple[int | None, int | None]
"""A layer and a head; None for all of them."""
WHOLE: Scope = (None, None)
Split = bool | None
"""Whether only what is (True) or is not (False) [MASK] is looked at; None for all."""


@st.cache_data(max_entries=64, show_spinner="Adding up the attention mass…")
def mean_mass(_trajectory: Trajectory, key: str, scope: Scope = WHOLE) -> np.ndarray:
    """Mass averaged over the heads of a scope, (T, S)."""
    layer, head = scope
    layers = slice(None) if layer is None else slice(layer, layer + 1)
    heads = slice(None) if head is None else slice(head, head + 1)
    return sink_analysis.mean_mass(_trajectory.mass[:, layers, heads])


@st.cache_data(max_entries=64, show_spinner=False)
def sinks(_trajectory: Trajectory, key: str, params: str, scope: Scope = WHOLE) -> np.ndarray:
    """Which positions are sinks in each step, (T, S) bool, judged on the mass of a scope."""
    mass = mean_mass(_trajectory, key, scope)
    return sink_analysis.find_sinks(mass, SinkParams.model_validate_json(params), _trajectory.info.model.bidirectional)


@st.cache_resource(max_entries=4, show_spinner="Measuring every head…")
def _moments(_trajectory: Trajectory, key: str) -> sink_analysis.Moments:
    return metrics.head_moments(_trajectory.mass)


@st.cache_resource(max_entries=4, show_spinner="Measuring every head…")
def _value_totals(_trajectory: Trajectory, key: str) -> np.ndarray:
    return metrics.value_totals(_trajectory.value_norm)


def counted(trajectory: Trajectory, masked: bool | None) -> np.ndarray | None:
    """Where tokens are (True) or are not (False) [MASK], (T, S); None for everywhere."""
    return None if masked is None else trajectory.masked == masked


def head_metric(trajectory: Trajectory, key: str, name: str, params: str, masked: bool | None = None) -> np.ndarray:
    """A metric of every head: (T, L, H), or (L, H) for one over all steps. masked: as in `curve`."""
    if metrics.HEAD_METRICS[name].reads_sinks:
        return _head_metric(trajectory, key, name, params, masked)
    return _head_metric(trajectory, key, name, SinkParams().model_dump_json(), None)


@st.cache_data(max_entries=64, show_spinner="Measuring every head…")
def _head_metric(_trajectory: Trajectory, key: str, name: str, params: str, masked: bool | None) -> np.ndarray:
    heads = metrics.Heads(
        _trajectory.mass,
        counted_sinks(_trajectory, key, params, WHOLE, masked),
        SinkParams.model_validate_json(params),
        _trajectory.info.model.bidirectional,
        _trajectory.value_norm,
        _moments(_trajectory, key),
        _value_totals(_trajectory, key) if name == "value-norm" else None,
        counted(_trajectory, masked),
    )
    return metrics.HEAD_METRICS[name].compute(heads)


@st.cache_data(max_entries=8, show_spinner=False)
def kinds(_trajectory: Trajectory, key: str) -> np.ndarray:
    """The kind of every token, (T, S) indices into `analysis.sinks.definitions.KINDS`."""
    info = _trajectory.info
    return sink_analysis.token_kinds(_trajectory.tokens, _trajectory.masked, info.tokens, info.model.end_tokens)


def counted_sinks(
    trajectory: Trajectory, key: str, params: str, scope: Scope = WHOLE, masked: bool | None = None
) -> np.ndarray:
    """The sinks that are (True) or are not (False) [MASK] in their step, (T, S); all of them for None."""
    flags, where = sinks(trajectory, key, params, scope), counted(trajectory, masked)
    return flags if where is None else flags & where


@st.cache_data(max_entries=256, show_spinner=False)
def curve(
    _trajectory: Trajectory, key: str, name: str, params: str, scope: Scope = WHOLE, masked: bool | None = None
) -> np.ndarray:
    """A number a step, (T,). masked: look only at what is (True) or is not (False) [MASK]; None looks at all."""
    flags = counted_sinks(_trajectory, key, params, scope, masked)
    where = counted(_trajectory, masked)
    looked_at = np.ones_like(flags) if where is None else where
    return metrics.CURVES[name].compute(mean_mass(_trajectory, key, scope), flags, looked_at)


@st.cache_data(max_entries=32, show_spinner=False)
def strength_at(_trajectory: Trajectory, key: str, _dense: Trajectory, dense_key: str, params: str) -> np.ndarray:
    """Share of attention a recording pays, by step, to the sinks of another, dense one, (T,)."""
    return sink_analysis.strength_at(mean_mass(_trajectory, key), sinks(_dense, dense_key, params))


@st.cache_data(max_entries=32, show_spinner="Measuring every layer…")
def layer_strength_at(_trajectory: Trajectory, key: str, _dense: Trajectory, dense_key: str, params: str) -> np.ndarray:
    """The same for each layer, averaged over the steps, (L,)."""
    flags = sinks(_dense, dense_key, params)
    rows = [
        sink_analysis.strength_at(mean_mass(_trajectory, key, (layer, None)), flags)
        for layer in range(_trajectory.layers)
    ]
    return np.mean(rows, axis=1)


@st.cache_data(max_entries=16, show_spinner="Measuring how sinks move…")
def variances(
    _trajectory: Trajectory, key: str, params: str, by_head: bool, masked: bool | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Spatial variance of the corrected share and temporal variance of the centroid of each layer or head, and names.

    Sinks are judged on the corrected share, so that causal and bidirectional models compare. masked: as in `curve`.
    """
    rule, bidirectional = SinkParams.model_validate_json(params), _trajectory.info.model.bidirectional
    known = _moments(_trajectory, key) if by_head and bidirectional else None
    return metrics.variance_points(_trajectory.mass, rule, bidirectional, by_head, counted(_trajectory, masked), known)


@st.cache_data(max_entries=64, show_spinner=False)
def strongest_position(_trajectory: Trajectory, key: str, step: int | None) -> np.ndarray:
    """The position each head pays most attention to, in a step or over all of them, (L, H)."""
    return metrics.strongest_position(_trajectory.mass if step is None else _trajectory.mass[step : step + 1])


def sinks_of_head(
    trajectory: Trajectory, params: SinkParams, layer: int, head: int, masked: bool | None = None
) -> np.ndarray:
    """The sinks of one head by its own mass, (T, S). masked: as in `curve`."""
    mass = trajectory.mass[:, layer, head]
    own, where = (
        sink_analysis.find_sinks(mass, params, trajectory.info.model.bidirectional),
        counted(trajectory, masked),
    )
    return own if where is None else own & where


def over_steps(values: np.ndarray) -> np.ndarray:
    """The mean over steps of a metric of every head, (T, L, H) -> (L, H), leaving steps without a value out."""
    return metrics.mean_over_steps(values)
