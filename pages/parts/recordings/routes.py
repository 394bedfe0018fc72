"""Measures of a recording's routes through its experts, computed once and kept."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from analysis.sinks import routing
from analysis.specs import SinkParams
from pages.parts.recordings import measures
from pages.parts.recordings.measures import SplitName
from pages.parts.recordings.recording import BY_KEY, Recording

DRAWS = 20
SEED = 0


@dataclass(frozen=True)
class SinkLoads:
    """Loads of sinks and of other tokens, mean over the steps, (M, E); those of random draws, (D, M, E); and how far
    each is from the other tokens', total variation, (M,) and (D, M). sinks: how many there were over all steps.
    """

    sinks: np.ndarray
    others: np.ndarray
    drawn: np.ndarray
    distance: np.ndarray
    drawn_distance: np.ndarray
    count: int


def _routes(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    experts, weights = recording.trajectory.experts, recording.trajectory.expert_weights
    assert experts is not None and weights is not None
    return experts, weights


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner="Counting where tokens go…")
def loads(recording: Recording) -> np.ndarray:
    """The load of every expert in each step, (T, M, E)."""
    experts, weights = _routes(recording)
    return routing.load(experts, routing.routed(weights), recording.info.model.expert_count)


def mean_load(recording: Recording) -> np.ndarray:
    """The same, mean over the steps, (M, E)."""
    return routing.over_steps(loads(recording))


def experts_a_token(recording: Recording) -> int:
    """K, how many experts a token is sent to."""
    return int(_routes(recording)[0].shape[2])


def choices_a_step(recording: Recording) -> int:
    """How many choices of experts a layer makes in a step: K of every routed token, the mean over the steps that route
    any.
    """
    tokens = routing.routed(_routes(recording)[1]).sum(axis=1)
    return int(tokens[tokens > 0].mean() * experts_a_token(recording)) if tokens.any() else 0


def unevenness(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """By layer, (M,): the entropy of the load over all steps as a share of the largest, and the share of experts that
    no token went to.
    """
    shares = mean_load(recording)
    return routing.entropy(shares), routing.unused(shares)


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner="Comparing sinks with other tokens…")
def sink_loads(recording: Recording, params: SinkParams, split: SplitName) -> SinkLoads | None:
    """Where sinks go, beside all other tokens and beside as many random ones of the same states; None without sinks."""
    experts, weights = _routes(recording)
    count = recording.info.model.expert_count
    sent = routing.routed(weights)
    flags = measures.counted_sinks(recording, params, split=split) & sent
    looked_at = measures.counted(recording, split)
    among = sent if looked_at is None else sent & looked_at
    others = among & ~flags
    # Only steps that have both are compared, so that both means are over the same steps.
    both = flags.any(axis=1) & others.any(axis=1)
    if not both.any():
        return None
    experts, flags, others, among = experts[both], flags[both], others[both], among[both]
    state, rng = recording.trajectory.state[both], np.random.default_rng(SEED)

    def mean(where: np.ndarray) -> np.ndarray:
        return routing.over_steps(routing.load(experts, where, count))

    of_sinks, of_others = mean(flags), mean(others)
    drawn = np.stack([mean(routing.drawn_alike(flags, state, among, rng)) for _ in range(DRAWS)])
    distances = routing.distance(of_sinks, of_others), routing.distance(drawn, of_others)
    return SinkLoads(of_sinks, of_others, drawn, *distances, int(flags.sum()))


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner=False)
def turnover(recording: Recording) -> np.ndarray:
    """The share of a token's experts that changed since the step before, (T, M)."""
    experts, weights = _routes(recording)
    return routing.turnover(experts, routing.routed(weights))


def route(recording: Recording, position: int) -> tuple[np.ndarray, np.ndarray]:
    """A position's first expert and its weight by step and layer, (T, M) each, NaN where it was not routed."""
    experts, weights = _routes(recording)
    weight = weights[:, :, 0, position].astype(np.float32)
    return np.where(np.isfinite(weight), experts[:, :, 0, position], np.nan), weight


def routed_positions(recording: Recording) -> list[int]:
    """The positions that were routed in some step."""
    _, weights = _routes(recording)
    return [int(position) for position in np.flatnonzero(routing.routed(weights).any(axis=0))]
