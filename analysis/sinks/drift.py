"""Drift of keys and values from step to step, and whether those of the most attended tokens move least. NumPy only.

Shapes: T steps, L layers, S positions.
"""

import numpy as np

from analysis.sinks.pairing import Paired, against_matched
from analysis.sinks.token_states import TokenState

DRIFTS = ("key_distance", "key_change", "value_distance", "value_change")
"""Drift of a token's key or value: 1 − cosine of it and that of the step before, and the norm of their difference over
the norm before. The key and value of a token are those of all heads in a row.
"""


def ages(tokens: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return for how many steps before each position has held the same token in the same state, (T, S); 0 in the first.

    tokens, state (T, S).
    """
    result = np.zeros(tokens.shape, np.int64)
    for step in range(1, len(tokens)):
        same = (tokens[step] == tokens[step - 1]) & (state[step] == state[step - 1])
        result[step] = np.where(same, result[step - 1] + 1, 0)
    return result


def most_attended(mass: np.ndarray, part: float = 0.1) -> np.ndarray:
    """Return which positions draw most attention in their step and layer, (T, L, S) bool: this part of them, at least
    one. mass (T, L, S), NaN where a token is absent.
    """
    known = np.where(np.isfinite(mass), mass, -np.inf)
    present = np.isfinite(mass).sum(axis=2, keepdims=True)
    count = np.maximum(1, np.round(part * present)).astype(np.int64)
    rank = np.argsort(np.argsort(-known, axis=2, kind="stable"), axis=2, kind="stable")
    return (rank < count) & np.isfinite(mass)


def drift_of_the_most_attended(
    drift: np.ndarray, attended: np.ndarray, tokens: np.ndarray, state: np.ndarray, age: np.ndarray | None = None
) -> Paired:
    """Return the mean drift of attended tokens, and of other tokens of the same state and age, whose token stays, in
    units of the mean drift of all tokens that stay in that step and layer.

    drift (T, L, S): from the step before to this one, NaN in the first and where a token is absent. attended (T, L, S)
    bool: chosen by the mass of the step before, in row t − 1. tokens, state (T, S). age (T, S): of `ages`, where
    these are only some of the steps of a recording. Ages count as alike between powers of two (0, 1–2, 3–6, …): every
    written token would otherwise have an age of its own.
    """
    age = ages(tokens, state) if age is None else age
    group = np.floor(np.log2(age + 1)).astype(np.int64)
    strata = np.where(state == TokenState.ABSENT, -1, state.astype(np.int64) * 64 + group)[:-1]
    stays = (tokens[1:] == tokens[:-1]) & (state[1:] == state[:-1])
    moved = np.where(stays[:, None] & np.isfinite(drift[1:]), drift[1:], np.nan)
    count = np.isfinite(moved).sum(axis=2, keepdims=True)
    mean = np.nansum(moved, axis=2, keepdims=True) / np.maximum(count, 1)
    return against_matched(moved / np.where(mean > 0, mean, np.nan), attended[:-1], np.where(stays, strata, -1))
