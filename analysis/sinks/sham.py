"""Discounts of tokens that are no sinks, which tell whether a gain comes from the sinks. NumPy only.

They move the sink scores φ of a row to other tokens and change none of them, so that as many tokens count as little.
Shapes: N sequences, T noise levels, L layers, S positions.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

SURE = 0.5  # φ from which a token counts as a sink


def sham(
    scores: np.ndarray, mass: np.ndarray, state: np.ndarray, rng: np.random.Generator, sure: float = SURE
) -> np.ndarray:
    """Return φ of a row (S,) with each sink's score swapped with that of a random non-sink of its state.

    Where a state has too few others, the sinks left over keep their scores. sure: φ from which a token is a sink.
    """
    moved = scores.copy()
    for each in np.unique(state):
        here = np.flatnonzero(state == each)
        sinks, others = here[scores[here] >= sure], here[scores[here] < sure]
        count = min(len(sinks), len(others))
        from_, to = (rng.choice(among, count, replace=False) for among in (sinks, others))
        moved[to], moved[from_] = scores[from_], scores[to]
    return moved


def light(
    scores: np.ndarray, mass: np.ndarray, state: np.ndarray, rng: np.random.Generator, sure: float = SURE
) -> np.ndarray:
    """Return φ of a row (S,) turned around: the token of least mass gets the score of that of most, and so on."""
    order = np.argsort(mass, kind="stable")
    moved = scores.copy()
    moved[order] = scores[order[::-1]]
    return moved


Placebo = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator, float], np.ndarray]
"""φ, mass and state of a row, (S,) each, a generator, and φ from which a token is a sink -> φ in other places."""

PLACEBOS: Final[Mapping[str, Placebo]] = {"sham": sham, "light": light}


class Moved:
    """Mover of sink scores by a placebo, row by row. states: of tokens (N, T, S), numbers of the same shape.

    A row is drawn for by the seed and its tokens, so that it comes out the same in any batch.
    """

    def __init__(self, placebo: str, states: Callable[[np.ndarray], np.ndarray], seed: int) -> None:
        self._placebo, self._states, self._seed = PLACEBOS[placebo], states, seed

    def __call__(self, scores: np.ndarray, mass: np.ndarray, tokens: np.ndarray, sure: float = SURE) -> np.ndarray:
        """φ in other places. scores, mass (N, T, 1 or L, S); tokens (N, T, S). sure: φ from which a token is a sink."""
        states, moved = self._states(tokens), np.empty_like(scores)
        for sequence, level, layer in np.ndindex(scores.shape[:3]):
            row, at = tokens[sequence, level], (sequence, level, layer)
            rng = np.random.default_rng([self._seed, zlib.crc32(row.astype("<i8").tobytes()), layer])
            moved[at] = self._placebo(scores[at], mass[at], states[sequence, level], rng, sure)
        return moved
