"""Measures of a recording's routes through its experts, computed once and kept."""

import numpy as np

from analysis.recording import expert_routes
from analysis.recording.expert_routes import SinkLoads
from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite
from analysis.specs import SinkParams
from pages.parts.recordings import measures
from pages.parts.recordings.recording import Recording, cached


@cached(16, "Counting where tokens go…")
def loads(recording: Recording) -> np.ndarray:
    """Return the load of every expert in each step, (T, M, E)."""
    return expert_routes.loads(recording.trajectory)


def mean_load(recording: Recording) -> np.ndarray:
    """Return the same, mean over the steps, (M, E)."""
    return mean_of_finite(loads(recording))


def experts_a_token(recording: Recording) -> int:
    """Return K, the number of experts per token."""
    return int(expert_routes.routes_of(recording.trajectory)[0].shape[2])


def choices_a_step(recording: Recording) -> int:
    """Count the choices of experts that a layer makes in a step."""
    return expert_routes.choices_per_step(recording.trajectory)


def unevenness(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Return by layer, (M,): the entropy of the load over all steps as a share of the largest, and the share of experts
    that no token went to.
    """
    shares = mean_load(recording)
    return routing.entropy(shares), routing.unused(shares)


@cached(16, "Comparing sinks with other tokens…")
def sink_loads(recording: Recording, params: SinkParams, split: str) -> SinkLoads | None:
    """Compare where sinks go with all other tokens and with as many random ones of the same states; None without
    sinks.
    """
    sinks = measures.counted_sinks(recording, params, split=split)
    return expert_routes.sink_loads(recording.trajectory, sinks, measures.counted(recording, split))


@cached(16)
def turnover(recording: Recording) -> np.ndarray:
    """Return the share of a token's experts that changed since the step before, (T, M)."""
    return expert_routes.turnover(recording.trajectory)


def route(recording: Recording, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a position's first expert and its weight by step and layer, (T, M) each, NaN where it was not routed."""
    return expert_routes.route(recording.trajectory, position)


def routed_positions(recording: Recording) -> list[int]:
    """Return the positions that were routed in some step."""
    return expert_routes.routed_positions(recording.trajectory)
