"""Choosing which positions of a context keep their keys and values under a budget, layer by layer. NumPy only.

A policy is one row of `POLICIES` (analysis/specs/eviction.py), which names its ranking. Shapes: L layers, K
positions held, S of the whole text.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from analysis.registry import Implementations
from analysis.specs import POLICIES, Keeping


@dataclass(frozen=True)
class Held:
    """The positions of one layer among which to choose, (K,) each.

    positions: in the text. state: the `TokenState`. sinks: which are sinks of the layer. distance: tokens to where text
    is written. Attention that each drew, mean over heads: now, from all queries of the forward that is looked at;
    masked, from its undecided queries, or all where there are none; accumulated, from all queries of all forwards.
    every: how many there would be if none had gone before, of which a budget is a share.
    """

    positions: np.ndarray
    state: np.ndarray
    sinks: np.ndarray
    distance: np.ndarray
    now: np.ndarray
    masked: np.ndarray
    accumulated: np.ndarray
    every: int


Ranking = Callable[[Held], np.ndarray]
"""Indices (K,) of the positions, those to keep first."""


RANKINGS: Implementations[Ranking] = Implementations(POLICIES)


def sinks_then_near(held: Held) -> np.ndarray:
    """The sinks, heaviest first, and then the nearest."""
    return np.lexsort((np.where(held.sinks, -held.now, held.distance), ~held.sinks))


def by_accumulated(held: Held) -> np.ndarray:
    """Those that drew most attention so far."""
    return np.argsort(-held.accumulated, kind="stable")


def by_masked_queries(held: Held) -> np.ndarray:
    """Those that undecided positions attend to most."""
    return np.argsort(-held.masked, kind="stable")


def nearest(held: Held) -> np.ndarray:
    """Those nearest to where text is written."""
    return np.argsort(held.distance, kind="stable")


def as_they_lie(held: Held) -> np.ndarray:
    """In the order of the text."""
    return np.arange(len(held.positions))


Counts = dict[int, int]
"""Positions of each state."""
KeptBefore = dict[tuple[str, float], list[list[Counts]]]
"""Counts that a `Keeper` takes from the policies before it."""


def count_kept(budget: float, positions: int) -> int:
    """Return how many of the positions a budget keeps: at least one, where there is one."""
    return min(positions, max(1, math.ceil(budget * positions - 1e-9)))


def states_of(state: np.ndarray) -> Counts:
    """Count the positions of each state (K,)."""
    return dict(sorted(Counter(state.tolist()).items()))


def matched_kept(held: Held, wanted: Mapping[int, int], priority: np.ndarray) -> np.ndarray:
    """Return indices of as many positions of each state as wanted, by priority (K,), lowest first.

    Where a state has too few, as in a text that went another way, the rest is of any state.
    """
    order = np.argsort(priority, kind="stable")
    taken = np.zeros(len(order), bool)
    for state, count in wanted.items():
        taken[order[held.state[order] == state][:count]] = True
    missing = min(sum(wanted.values()), len(order)) - int(taken.sum())
    taken[order[~taken[order]][:missing]] = True
    return np.flatnonzero(taken)


@dataclass
class Keeper:
    """Chooser for one text, by a policy at a budget, or by the control that is matched to it.

    kept_before: for each policy and budget the states that it kept in each decision and layer, to which the policy adds
    and by which its control draws; a control that has no such decision goes by what its policy would keep there. seed:
    of the draw, of this text alone.
    """

    keeping: Keeping
    seed: tuple[int, ...]
    kept_before: KeptBefore = field(default_factory=dict)
    decisions: int = 0
    _priority: dict[int, np.ndarray] = field(default_factory=dict)

    def choose(self, layers: list[Held]) -> list[np.ndarray]:
        """Return for each layer the indices of the positions that the budget keeps, or all if there are fewer, in
        order.
        """
        chosen = [
            np.sort(RANKINGS[self.keeping.policy](held)[: count_kept(self.keeping.budget, held.every)])
            for held in layers
        ]
        counts = [states_of(held.state[index]) for held, index in zip(layers, chosen, strict=True)]
        name = self.keeping.policy, self.keeping.budget
        if self.keeping.control:
            earlier = self.kept_before.get(name, [])[self.decisions : self.decisions + 1]
            wanted = earlier[0] if earlier and _as_many(earlier[0], counts) else counts
            chosen = [
                matched_kept(held, of_layer, self._priorities(layer, held.positions))
                for layer, (held, of_layer) in enumerate(zip(layers, wanted, strict=True))
            ]
        else:
            self.kept_before.setdefault(name, []).append(counts)
        self.decisions += 1
        return chosen

    def _priorities(self, layer: int, positions: np.ndarray) -> np.ndarray:
        """Random numbers of these positions (K,), the same whenever they are asked for."""
        known = self._priority.get(layer, np.empty(0))
        if len(known) <= positions.max(initial=-1):
            # Drawn anew from the start, so that a text that grows keeps the numbers of its first positions.
            length = 2 ** math.ceil(math.log2(positions.max() + 2))
            known = self._priority[layer] = np.random.default_rng((*self.seed, layer)).random(length)
        return known[positions]


def _as_many(first: list[Counts], second: list[Counts]) -> bool:
    return all(sum(one.values()) == sum(other.values()) for one, other in zip(first, second, strict=True))


def distances(positions: np.ndarray, queries: tuple[int, int], undecided: np.ndarray) -> np.ndarray:
    """Count the tokens from each position (K,) to where text is written, (…, K).

    queries: the first and one past the last of a forward behind a cache; of a whole forward text is written from the
    first undecided position on (undecided (…, S) bool), or at the end where all are decided.
    """
    first, end = queries
    if (first, end) == (0, undecided.shape[-1]):
        at = np.where(undecided.any(axis=-1), undecided.argmax(axis=-1), undecided.shape[-1])
        return np.abs(positions - at[..., None])
    return np.where(positions < first, first - positions, positions - end + 1)
