"""Attention mass by the state of the query that pays it. NumPy only.

Shapes: T steps, L layers, H heads, S positions.
"""

import numpy as np

from analysis.sinks.pairing import Paired, means_of_both


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the total-variation distance, 0 to 1, of two distributions over keys, each scaled to a sum of 1: half the
    sum of |p − q|.

    first, second (…, S): masses, NaN where there is no key. NaN where one of them is empty.
    """
    parts = [np.nan_to_num(mass).astype(np.float64) for mass in (first, second)]
    sums = [np.where(part.sum(axis=-1, keepdims=True) > 0, part.sum(axis=-1, keepdims=True), np.nan) for part in parts]
    return np.abs(parts[0] / sums[0] - parts[1] / sums[1]).sum(axis=-1) / 2


def queries_apart(mass: np.ndarray, undecided: np.ndarray, permuted: np.ndarray) -> Paired:
    """Return how far the keys that undecided queries attend to are from those of written queries, mean over the heads
    and the steps that have both, and the same with the states of the queries permuted within each step.

    mass (T, L, H, S): of all queries; undecided: of the undecided ones alone; permuted: of as many random queries. A
    distance between few queries is never 0, which is what the null is for.
    """
    return means_of_both(np.stack([_steps_apart(mass, group) for group in (undecided, permuted)]))


def _steps_apart(mass: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Distance of a group's keys from those of the other queries, mean over heads, (T, L); NaN without one of them."""
    others = np.maximum(mass.astype(np.float32) - group, 0)
    whole, paid = (np.nan_to_num(part).sum(axis=-1) for part in (mass, group))
    there = (paid > 0.5) & (whole - paid > 0.5)  # a rest below 0.5 is rounding, as each query pays 1
    return np.where(there, distance(group, others), np.nan).mean(axis=-1)
