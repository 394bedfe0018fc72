"""Measures of a recording, computed once and kept: pages ask for numbers here and do no maths of their own.

Arguments whose names begin with `_` are not part of a cache key; the recording's own key is.
"""

import numpy as np
import streamlit as st

from analysis import metrics
from analysis import sinks as sink_analysis
from analysis.specs import SinkParams
from analysis.trajectory import Trajectory

Scope = tuple[int | None, int | None]
"""A layer and a head; None for all of them."""
WHOLE: Scope = (None, None)


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
def _moments(_trajectory: Trajectory, key: str) -> tuple[np.ndarray, np.ndarray]:
    parts = [sink_analysis.moments(step) for step in _trajectory.mass]
    return np.stack([mean for mean, _ in parts]), np.stack([std for _, std in parts])


def head_metric(trajectory: Trajectory, key: str, name: str, params: str) -> np.ndarray:
    """A metric of every head: (T, L, H), or (L, H) for one over all steps."""
    reads = metrics.HEAD_METRICS[name].reads_sinks
    return _head_metric(trajectory, key, name, params if reads else SinkParams().model_dump_json())


@st.cache_data(max_entries=32, show_spinner="Measuring every head…")
def _head_metric(_trajectory: Trajectory, key: str, name: str, params: str) -> np.ndarray:
    heads = metrics.Heads(
        _trajectory.mass,
        sinks(_trajectory, key, params),
        SinkParams.model_validate_json(params),
        _trajectory.info.model.bidirectional,
        _trajectory.value_norm,
        _moments(_trajectory, key),
    )
    return metrics.HEAD_METRICS[name].compute(heads)


@st.cache_data(max_entries=8, show_spinner=False)
def kinds(_trajectory: Trajectory, key: str) -> np.ndarray:
    """The kind of every token, (T, S) indices into `analysis.sinks.KINDS`."""
    info = _trajectory.info
    return sink_analysis.token_kinds(_trajectory.tokens, _trajectory.masked, info.tokens, info.model.end_tokens)


@st.cache_data(max_entries=128, show_spinner=False)
def curve(
    _trajectory: Trajectory, key: str, name: str, params: str, scope: Scope = WHOLE, masked: bool | None = None
) -> np.ndarray:
    """A number a step, (T,). masked: count only sinks that are (True) or are not (False) [MASK]; None counts all."""
    flags = sinks(_trajectory, key, params, scope)
    if masked is not None:
        flags = flags & (_trajectory.masked == masked)
    return metrics.CURVES[name].compute(mean_mass(_trajectory, key, scope), flags)


@st.cache_data(max_entries=16, show_spinner="Measuring how sinks move…")
def variances(
    _trajectory: Trajectory, key: str, params: str, by_head: bool, masked: bool | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Spatial variance of the corrected share and temporal variance of the centroid of each layer or head, and names.

    Sinks are judged on the corrected share, so that causal and bidirectional models compare. masked: as in `curve`.
    """
    rule, bidirectional = SinkParams.model_validate_json(params), _trajectory.info.model.bidirectional
    counted = None if masked is None else _trajectory.masked == masked
    return metrics.variance_points(_trajectory.mass, rule, bidirectional, by_head, counted)


def over_steps(values: np.ndarray) -> np.ndarray:
    """The mean over steps of a metric of every head, (T, L, H) -> (L, H), leaving steps without a value out."""
    return metrics.mean_over_steps(values)
