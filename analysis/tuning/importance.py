"""How much each searched parameter matters to being among the best trials: PED-ANOVA (arXiv 2304.10255).

    share_d ∝ Σ_x p_d(x) · (p*_d(x) / p_d(x) − 1)²

p_d is the density of a parameter's values in all trials and p*_d in the best of them, both on a grid, from a kernel a
value that occurs and one as wide as the range. Optuna's own evaluator gives the same shares; importing it brings
scikit-learn, which takes longer than most trials. NumPy and SciPy's distribution function only.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.special import ndtr

GRID = 50  # points that a parameter's range is divided into at most
LEAST_WIDTH = 0.5 / 1.64  # of a kernel in points of the grid: nine tenths of it lie within one
LEAST_DENSITY = 1e-12


def shares(
    ranges: Mapping[str, BaseDistribution],
    settings: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    top: float,
    maximise: bool,
) -> dict[str, float]:
    """By parameter its share, which sum to 1, the largest first; empty where the best trials are spread as all are.

    settings: of each trial, the value of every parameter in `ranges`. values: what each was worth. top: the share of
    the trials that count as the best; those as good as the last of them count, too.
    """
    losses = np.array(values) * (-1 if maximise else 1)
    best = losses <= np.sort(losses)[ceil(top * len(losses)) - 1]
    divergence = {}
    for name, distribution in ranges.items():
        points, count = _on_grid(distribution, [setting[name] for setting in settings])
        numeric = not isinstance(distribution, CategoricalDistribution)
        among_best, in_all = (_density(some, count, numeric) + LEAST_DENSITY for some in (points[best], points))
        divergence[name] = float(in_all @ (among_best / in_all - 1) ** 2)
    total = sum(divergence.values())
    if total <= 0:
        return {}
    return {name: divergence[name] / total for name in sorted(divergence, key=divergence.__getitem__, reverse=True)}


def _on_grid(distribution: BaseDistribution, values: Sequence[Any]) -> tuple[np.ndarray, int]:
    """The point of the grid that each value lies nearest to, of two the lower, and how many points there are."""
    if isinstance(distribution, CategoricalDistribution):
        return np.array([distribution.choices.index(value) for value in values]), len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution) and distribution.step
    low, high = distribution.low, distribution.high
    count = min(round((high - low) / distribution.step) + 1, GRID)
    points = np.ceil((np.array(values) - low) / ((high - low) / (count - 1)) - 0.5).astype(int)
    return np.clip(points, 0, count - 1), count


def _density(points: np.ndarray, count: int, numeric: bool) -> np.ndarray:
    """Of every point of a grid of `count`, (count,): kernels at the points that occur weigh as often as they do, and
    one over all of the grid as much as one trial.
    """
    times = np.bincount(points, minlength=count)
    centres = np.flatnonzero(times)
    times = times[centres]
    weights = np.append(times, 1) / (times.sum() + 1)
    kernels = _normal_kernels(centres, times, count) if numeric else _choice_kernels(centres, count)
    return weights @ kernels


def _choice_kernels(centres: np.ndarray, count: int) -> np.ndarray:
    """(centres + 1, count): each choice with a little of all others, which is the less the more choices occur."""
    kernels = np.full((len(centres) + 1, count), 1 / (len(centres) + 1))
    kernels[np.arange(len(centres)), centres] += 1
    return kernels / kernels.sum(axis=1, keepdims=True)


def _normal_kernels(centres: np.ndarray, times: np.ndarray, count: int) -> np.ndarray:
    """(centres + 1, count): normal distributions cut off at the grid's ends, as wide as Scott's rule says of points
    that occur so many times.
    """
    number, seen = times.sum(), np.cumsum(times)
    mean = centres @ times / number
    deviation = np.sqrt((centres - mean) ** 2 @ times / max(1, number - 1))
    quarter = centres[np.searchsorted(seen, number // 4)]
    last = min(len(centres) - 1, int(np.searchsorted(seen, number * 3 // 4, side="right")))
    width = max(1.059 * min((centres[last] - quarter) / 1.34, deviation) * number**-0.2, LEAST_WIDTH)
    middle = np.append(centres, (count - 1) / 2)[:, None]
    scale = np.append(np.full(len(centres), width), count)[:, None]
    edges = ndtr((np.arange(count + 1) - 0.5 - middle) / scale)
    return np.diff(edges, axis=1) / (edges[:, -1:] - edges[:, :1])
