"""Measures of a recording's routes through its experts. NumPy only.

Shapes: T steps, M layers with experts, E experts, K experts of a token, S positions, D random draws.
"""

from dataclasses import dataclass

import numpy as np

from analysis.recording.trajectory import Trajectory
from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite

DRAWS = 20
SEED = 0
MOST_BARS = 32


@dataclass(frozen=True)
class SinkLoads:
    """Loads of sinks and of other tokens, mean over the steps, (M, E); those of random draws, (D, M, E); and how far
    each is from the other tokens', total variation, (M,) and (D, M). count: sinks over all steps.
    """

    sinks: np.ndarray
    others: np.ndarray
    drawn: np.ndarray
    distance: np.ndarray
    drawn_distance: np.ndarray
    count: int

    def of_layer(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the experts of a layer in whose load sinks and others differ most, at most `MOST_BARS`, in order of
        number, and for these the mean, the smallest and the largest of the draws.
        """
        shown = routing.most_different(self.sinks[index], self.others[index], MOST_BARS)
        drawn = self.drawn[:, index][:, shown]
        return shown, (drawn.mean(axis=0), drawn.min(axis=0), drawn.max(axis=0))


def routes_of(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return experts and weights, (T, M, K, S) each. Raises ValueError for a recording without experts."""
    experts, weights = trajectory.experts, trajectory.expert_weights
    if experts is None or weights is None:
        raise ValueError("This recording has no experts.")
    return experts, weights


def loads(trajectory: Trajectory) -> np.ndarray:
    """Return the load of every expert in each step, (T, M, E)."""
    experts, weights = routes_of(trajectory)
    return routing.load(experts, routing.routed(weights), trajectory.info.model.expert_count)


def choices_per_step(trajectory: Trajectory) -> int:
    """Count the choices of experts that a layer makes in a step: K of every routed token, the mean over the steps that
    route any.
    """
    experts, weights = routes_of(trajectory)
    tokens = routing.routed(weights).sum(axis=1)
    return int(tokens[tokens > 0].mean() * experts.shape[2]) if tokens.any() else 0


def sink_loads(trajectory: Trajectory, sinks: np.ndarray, counted: np.ndarray) -> SinkLoads | None:
    """Compare the load of sinks (T, S) with that of all other tokens and of as many random ones of the same states;
    None without sinks. counted (T, S): the tokens that are looked at.
    """
    experts, weights = routes_of(trajectory)
    count = trajectory.info.model.expert_count
    sent = routing.routed(weights)
    flags, among = sinks & sent, sent & counted
    others = among & ~flags
    # Only steps that have both are compared, so that both means are over the same steps.
    both = flags.any(axis=1) & others.any(axis=1)
    if not both.any():
        return None
    experts, flags, others, among = experts[both], flags[both], others[both], among[both]
    state, rng = trajectory.state[both], np.random.default_rng(SEED)

    def mean(where: np.ndarray) -> np.ndarray:
        return mean_of_finite(routing.load(experts, where, count))

    of_sinks, of_others = mean(flags), mean(others)
    drawn = np.stack([mean(routing.drawn_alike(flags, state, among, rng)) for _ in range(DRAWS)])
    distances = routing.distance(of_sinks, of_others), routing.distance(drawn, of_others)
    return SinkLoads(of_sinks, of_others, drawn, *distances, int(flags.sum()))


def turnover(trajectory: Trajectory) -> np.ndarray:
    """Return the share of a token's experts that changed since the step before, (T, M)."""
    experts, weights = routes_of(trajectory)
    return routing.turnover(experts, routing.routed(weights))


def route(trajectory: Trajectory, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a position's first expert and its weight by step and layer, (T, M) each, NaN where it was not routed."""
    experts, weights = routes_of(trajectory)
    weight = weights[:, :, 0, position].astype(np.float32)
    return np.where(np.isfinite(weight), experts[:, :, 0, position], np.nan), weight


def routed_positions(trajectory: Trajectory) -> list[int]:
    """Return the positions that were routed in some step."""
    _, weights = routes_of(trajectory)
    return [int(position) for position in np.flatnonzero(routing.routed(weights).any(axis=0))]
