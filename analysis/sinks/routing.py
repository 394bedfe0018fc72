"""Routing of tokens in mixtures of experts, from recorded routes. NumPy only.

Shapes: T steps, M layers with experts, K experts per token, S positions, E experts. Routes are `experts` (T, M, K, S),
the expert of largest weight first, and `weights`, the same, NaN where a position was not routed in a step.
"""

import numpy as np


def routed(weights: np.ndarray) -> np.ndarray:
    """Flag the positions routed in each step, (T, S) bool."""
    return np.isfinite(weights[:, 0, 0])


def load(experts: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """The share of its choices that each expert of a layer gets in each step, (T, M, E); NaN in a step of nothing.

    where (T, S): the tokens that are counted. Shares of a layer sum to 1; evenly spread, each is 1/E.
    """
    steps, layers = experts.shape[:2]
    shares = np.full((steps, layers, count), np.nan)
    for step in range(steps):
        here = experts[step][:, :, where[step]].reshape(layers, -1).astype(np.int64)
        if here.shape[1]:
            flat = (here + count * np.arange(layers)[:, None]).ravel()
            shares[step] = np.bincount(flat, minlength=layers * count).reshape(layers, count) / here.shape[1]
    return shares


def entropy(shares: np.ndarray) -> np.ndarray:
    """The entropy of a load as a share of log E, (..., E) -> (...): 1 where it is even, 0 where one expert has all."""
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return -(shares * logs).sum(axis=-1) / np.log(shares.shape[-1])


def unused(shares: np.ndarray) -> np.ndarray:
    """The share of experts that no token went to, (..., E) -> (...)."""
    return np.where(np.isnan(shares).any(axis=-1), np.nan, (shares == 0).mean(axis=-1))


def distance(shares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The total variation distance of two loads, (..., E) -> (...): the share of choices that would have to move."""
    return np.abs(shares - others).sum(axis=-1) / 2


def drawn_alike(flags: np.ndarray, state: np.ndarray, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many other tokens as `flags` (T, S) in each step, of the same states, drawn at random among `among` (T, S).

    state (T, S). Where fewer others of a state are there, all of them are taken.
    """
    drawn = np.zeros_like(flags)
    for step in range(len(flags)):
        for kind in np.unique(state[step][flags[step]]):
            wanted = int((flags[step] & (state[step] == kind)).sum())
            others = np.flatnonzero(among[step] & ~flags[step] & (state[step] == kind))
            drawn[step, rng.permutation(others)[:wanted]] = True
    return drawn


def turnover(experts: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The share of a token's K experts that the step before did not choose for its position, (T, M).

    where (T, S): the tokens that were routed. Mean over the positions routed in both steps; NaN in the first step and
    where there is none.
    """
    steps, layers = experts.shape[:2]
    changed = np.full((steps, layers), np.nan)
    for step in range(1, steps):
        both = where[step] & where[step - 1]
        if both.any():
            now, before = experts[step][:, :, both], experts[step - 1][:, :, both]
            kept = (now[:, :, None] == before[:, None]).any(axis=2)
            changed[step] = 1 - kept.mean(axis=(1, 2))
    return changed


def most_different(shares: np.ndarray, others: np.ndarray, most: int) -> np.ndarray:
    """The experts (n,), at most `most`, in order of number, in whose load (E,) two groups differ most."""
    return np.sort(np.argsort(-np.abs(shares - others), kind="stable")[:most])
