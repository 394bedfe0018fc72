"""Intervals over the prompts of a set, studentised. A cluster of prompts is the unit: prompts of one template are
alike, and what they add to a sum counts as one. NumPy only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
LEAST_PROMPTS = 30  # below, no claim is made
FEW_PROMPTS = f" A claim needs at least {LEAST_PROMPTS} prompts."

Parts = tuple[np.ndarray, np.ndarray]
"""Numerator and denominator of a quotient of sums over prompts."""


@dataclass(frozen=True)
class Estimates:
    """Values with the ends of their intervals, arrays of one shape; NaN where nothing was there to measure."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> "Estimates":
        """Return them with values and ends changed alike, as to another shape."""
        return Estimates(change(self.value), change(self.low), change(self.high))


def quotient(
    numerator: np.ndarray, denominator: np.ndarray | None = None, clusters: np.ndarray | None = None
) -> Estimates:
    """Return Σ_n numerator / Σ_n denominator over the prompts n with its 95 % interval: Student's, on the linearised
    quotient's standard error between clusters.

    numerator (N, …), and denominator that broadcasts to it; where there is none, the mean over the prompts that have a
    finite value. A prompt without a finite numerator or denominator takes no part. clusters (N,): numbers of the
    prompts' clusters; each prompt is its own where not given. The interval has no end where there is one cluster, and
    does not go below 0 where nothing that is added up does.
    """
    numerator = np.asarray(numerator, np.float64)
    denominator = np.ones_like(numerator) if denominator is None else np.asarray(denominator, np.float64)
    denominator = np.broadcast_to(denominator, numerator.shape)
    there = np.isfinite(numerator) & np.isfinite(denominator)
    above, below = (np.where(there, part, 0).reshape(len(part), -1) for part in (numerator, denominator))
    flat = there.reshape(len(there), -1)
    value, influence = _linearised(above, below)
    error, count = _standard_error(influence, flat, clusters)
    width = np.where(count > 1, _student(count), np.nan) * error
    low, high = value - width, value + width
    if (above >= 0).all() and (below >= 0).all():
        low = np.maximum(low, 0)
    return Estimates(value, low, high).each(lambda part: part.reshape(numerator.shape[1:]))


def _linearised(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The quotient of sums (N, M), (M,), and each prompt's influence on it, (N, M)."""
    whole = below.sum(axis=0)
    value = _divided(above.sum(axis=0), whole)
    return value, _divided(above - value * below, whole)


def paired_difference(first: Parts, second: Parts, clusters: np.ndarray | None = None) -> Estimates:
    """Return the difference of two quotients over the same prompts, as one family: see `paired_differences`."""
    return paired_differences([(first, second)], clusters)[0]


def paired_differences(
    pairs: Sequence[tuple[Parts, Parts]], clusters: np.ndarray | None = None, seed: int = 0, level: float = LEVEL
) -> list[Estimates]:
    """Return the differences of pairs of quotients over the same prompts, each (numerator, denominator) of (N, G), with
    intervals that hold for all of them together at `level`.

    A difference is studentised by its standard error between clusters. The width of the intervals is the quantile of
    the largest studentised difference once the sign of each cluster's part is drawn at random, the same for all
    differences (max-t; Westfall and Young 1993, Winkler et al. 2014). Only prompts on which both quotients can be told
    count. NaN where fewer than two clusters are left. clusters: as in `quotient`.
    """
    told = [_paired(first, second) for first, second in pairs]
    value = np.concatenate([values for values, _, _ in told])
    influence = np.concatenate([part for _, part, _ in told], axis=1)
    there = np.concatenate([flags for _, _, flags in told], axis=1)
    error, count = _standard_error(influence, there, clusters)
    value = np.where(count > 1, value, np.nan)
    error = np.where(count > 1, error, np.nan)
    # What each cluster adds to a difference: its influence, and its even part of the value.
    number = _numbered(clusters, len(there))
    inside = _summed(there, number) > 0
    added = _summed(influence, number) + np.where(inside, np.nan_to_num(value) / np.maximum(count, 1), 0)
    width = _widest(added, count, level, seed) * error
    ends = np.cumsum([len(values) for values, _, _ in told])[:-1]
    parts = (np.split(array, ends) for array in (value, value - width, value + width))
    return [Estimates(*one) for one in zip(*parts, strict=True)]


def _paired(first: Parts, second: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference of two quotients (G,), each prompt's influence on it (N, G), and which prompts count (N, G)."""
    parts = [np.asarray(part, np.float64) for part in (*first, *second)]
    parts = [np.broadcast_to(part, parts[0].shape) for part in parts]
    there = np.all([np.isfinite(part) for part in parts], axis=0)
    above, below, other_above, other_below = (np.where(there, part, 0) for part in parts)
    (value, influence), (other, of_other) = _linearised(above, below), _linearised(other_above, other_below)
    return value - other, np.nan_to_num(influence - of_other), there


def _widest(added: np.ndarray, count: np.ndarray, level: float, seed: int) -> float:
    """The quantile of the largest studentised sum of the clusters' parts (C, M) under random signs."""
    rng = np.random.default_rng(seed)
    signs = rng.choice((-1.0, 1.0), size=(RESAMPLES, len(added)))
    largest = np.zeros(RESAMPLES)
    squares = np.square(added).sum(axis=0)
    for start in range(0, added.shape[1], 512):
        part = slice(start, start + 512)
        sums = signs @ added[:, part]
        many = np.maximum(count[part], 2)
        variance = many / (many - 1) * (squares[part] - sums**2 / many)
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.abs(sums) / np.sqrt(np.where(variance > 1e-12 * squares[part], variance, np.nan))
        largest = np.fmax(largest, np.fmax.reduce(each, axis=1, initial=0.0))
    return float(np.quantile(largest, level))


def _standard_error(
    influence: np.ndarray, there: np.ndarray, clusters: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The standard error of what prompts influence by (N, M), between clusters, and how many clusters count, (M,)."""
    number = _numbered(clusters, len(influence))
    sums = _summed(np.where(there, np.nan_to_num(influence), 0), number)
    count = (_summed(there, number) > 0).sum(axis=0)
    many = np.maximum(count, 2)
    return np.sqrt(many / (many - 1) * np.square(sums).sum(axis=0)), count


def _student(count: np.ndarray) -> np.ndarray:
    """The quantile of Student's distribution that an interval over so many clusters takes."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.maximum(count - 1, 1), (1 + LEVEL) / 2))


def _numbered(clusters: np.ndarray | None, prompts: int) -> np.ndarray:
    return np.arange(prompts) if clusters is None else np.unique(clusters, return_inverse=True)[1]


def _summed(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Values (N, M) added up within clusters numbered from 0, (C, M)."""
    sums = np.zeros((int(clusters.max()) + 1, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.where(below > 0, below, np.nan)
