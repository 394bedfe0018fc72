"""Bootstrap intervals over the prompts of a set. A prompt is the unit: what it adds to a sum is drawn as a whole. NumPy
only.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
LEAST_PROMPTS = 10  # below, a bootstrap over prompts is too sure of itself
FEW_PROMPTS = f" Of fewer than {LEAST_PROMPTS} prompts such intervals are too narrow."


@dataclass(frozen=True)
class Estimates:
    """Values with the ends of their intervals, arrays of one shape; NaN where nothing was there to measure."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def quotient(numerator: np.ndarray, denominator: np.ndarray | None = None, seed: int = 0) -> Estimates:
    """Σ_n numerator / Σ_n denominator over the prompts n, with its percentile bootstrap interval (95 %, 2,000 draws).

    numerator (N, …), and denominator that broadcasts to it; where there is none, the mean over the prompts that have a
    finite value. A prompt without a finite numerator or denominator takes no part.
    """
    numerator = np.asarray(numerator, np.float64)
    denominator = np.ones_like(numerator) if denominator is None else np.asarray(denominator, np.float64)
    denominator = np.broadcast_to(denominator, numerator.shape)
    there = np.isfinite(numerator) & np.isfinite(denominator)
    above, below = (np.where(there, part, 0).reshape(len(part), -1) for part in (numerator, denominator))
    times = resamples(len(numerator), seed)
    drawn = _divided(times @ above, times @ below)
    low, high = _ends(drawn)
    shape = numerator.shape[1:]
    value = _divided(above.sum(axis=0), below.sum(axis=0))
    return Estimates(value.reshape(shape), low.reshape(shape), high.reshape(shape))


def paired_difference(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], seed: int = 0
) -> Estimates:
    """The difference of two quotients over the same prompts, (numerator, denominator) each of (N, G), with intervals
    that hold for all G together with 95 %: the largest of the differences' bootstrap deviations, each in units of its
    standard error (max-t; Westfall and Young 1993).

    Only prompts on which both can be told count. NaN where fewer than two are left.
    """
    parts = [np.asarray(part, np.float64) for part in (*first, *second)]
    parts = [np.broadcast_to(part, parts[0].shape) for part in parts]
    there = np.all([np.isfinite(part) for part in parts], axis=0)
    above, below, other_above, other_below = (np.where(there, part, 0) for part in parts)
    times = resamples(len(above), seed)
    value = _divided(above.sum(axis=0), below.sum(axis=0)) - _divided(other_above.sum(axis=0), other_below.sum(axis=0))
    drawn = _divided(times @ above, times @ below) - _divided(times @ other_above, times @ other_below)
    told = there.sum(axis=0) >= 2
    error = np.ma.masked_invalid(drawn).std(axis=0).filled(np.nan)
    value, error = (np.where(told, part, np.nan) for part in (value, error))
    deviations = np.abs(drawn - value) / np.where(error > 0, error, np.nan)
    largest = np.fmax.reduce(deviations, axis=1, initial=0.0)
    width = np.quantile(largest, LEVEL) * error
    return Estimates(value, value - width, value + width)


def resamples(count: int, seed: int = 0) -> np.ndarray:
    """How often each of `count` prompts is in each bootstrap sample, (RESAMPLES, count) float64."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.where(below > 0, below, np.nan)


def _ends(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the intervals of resampled values (RESAMPLES, M); a resample without a value takes no part."""
    tail = (1 - LEVEL) / 2
    if np.isfinite(drawn).all():
        low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
        return low, high
    low, high = (np.full(drawn.shape[1], np.nan) for _ in range(2))
    for column in range(drawn.shape[1]):
        values = drawn[np.isfinite(drawn[:, column]), column]
        if len(values):
            low[column], high[column] = np.quantile(values, [tail, 1 - tail])
    return low, high
