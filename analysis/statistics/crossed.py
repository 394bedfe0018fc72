"""Methods calibrated with several seeds: differences between methods, and between seeds of one.

A calibration seed is one draw of the method, as a cluster of items is one of the task. The two are crossed, since every
run is scored on the same items, so the variance of a mean is that of two-way clustering (Cameron, Gelbach and Miller,
Journal of Business & Economic Statistics 29, 2011): V = V_seeds + V_clusters − V_seeds×clusters. Both of the first
contain the last, the interaction, which is estimated from the residual of each cell after removing its seed's and its
item's means. For unrelated items it is (MS_seeds + MS_items − MS_rest) / (S · n), the textbook's for two crossed
factors.

A variance estimated from two or three seeds is imprecise, and its degrees of freedom depend on which part is the
larger. So each part is multiplied by its own Student quantile (Banerjee, Sankhya 22, 1960), and half an interval is
√(t²(S − 1) · V_seeds + t²(G − tasks) · (V_clusters − V_seeds×clusters)). Its coverage is at least the nominal one,
whatever the parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from analysis.statistics import clustered
from analysis.statistics.clustered import ByTask
from analysis.statistics.differences import LEVEL, Difference, half_interval

_LEAST = -69.0  # logarithm of the smallest reported p, 1e-30


@dataclass(frozen=True)
class SeedFloor:
    """Differences between two calibration seeds of one method, on the mean over tasks, as shares.

    typical: root mean square over all pairs of seeds. largest: the largest difference. beside: number of pairs whose
    interval over items alone excludes 0, out of `pairs`. disagreement: share of items on which two seeds score
    differently, the mean over tasks.
    """

    typical: float
    largest: float
    beside: int
    pairs: int
    seeds: int
    n: int
    clusters: int
    disagreement: float


def crossed_difference(first: ByTask, second: ByTask, clusters: ByTask, test: bool) -> Difference:
    """Return the mean over tasks of the mean differences of two methods, over seeds and clusters crossed.

    first, second: scores (seeds, items), one array per task, their seeds in the same order and on the same calibration
    text, so that differences are taken seed by seed. clusters: of the items, (items,) each. test: True if the items are
    those fixed before the start. p is the level at which the interval ends at 0, or the sign flip's over clusters if
    few of them differ and it is larger. Raises ValueError for mismatched tasks, seeds or items.
    """
    _check(first, clusters)
    _check(second, clusters)
    seeds, other_seeds = len(first[0]), len(second[0])
    if seeds != other_seeds:
        raise ValueError(f"{seeds} and {other_seeds} seeds are no pairs")
    by_task = [left - right for left, right in zip(first, second, strict=True)]
    means = [clustered.clustered_mean(row.mean(axis=0), of) for row, of in zip(by_task, clusters, strict=True)]
    by_cluster = clustered.mean_of_means(means)
    ends = [extreme(task) for task in (*first, *second) for extreme in (np.min, np.max)]
    within = np.array([min(ends) - max(ends), max(ends) - min(ends)])
    crossed = Difference(
        by_cluster.value,
        np.nan,
        np.nan,
        n=by_cluster.items,
        clusters=by_cluster.clusters,
        final=test,
        seeds=seeds,
        cluster_variance=by_cluster.variance,
        cluster_freedom=clustered.finite(by_cluster.freedom),
        **_by_seed(by_task, clusters),
    )
    half = crossed.half(1 - LEVEL)
    low, high = clustered.inside(crossed.value - half, crossed.value + half, within, -1)
    p = clustered.where_few(_p(crossed.value, crossed.parts), by_cluster.shares) if test else None
    return replace(crossed, low=float(low), high=float(high), p=p)


def seed_floor(runs: ByTask, clusters: ByTask) -> SeedFloor:
    """Return the differences between seeds of one method. runs: scores (seeds, items), one array per task; clusters:
    (items,) each.

    Raises ValueError for fewer than two seeds, and for mismatched tasks or items.
    """
    _check(runs, clusters)
    seeds = len(runs[0])
    if seeds < 2:
        raise ValueError("One seed has nothing to differ from")
    beside, differences, disagreements = 0, [], []
    for one, other in combinations(range(seeds), 2):
        rows = [task[one] - task[other] for task in runs]
        mean = clustered.average_difference(rows, clusters, test=False)
        beside += not mean.low <= 0 <= mean.high
        differences.append(abs(mean.value))
        disagreements.append(np.mean([np.mean(row != 0) for row in rows]))
    return SeedFloor(
        typical=float(np.sqrt(np.mean(np.square(differences)))),
        largest=float(max(differences)),
        beside=beside,
        pairs=len(differences),
        seeds=seeds,
        n=sum(task.shape[1] for task in runs),
        clusters=sum(len(np.unique(of)) for of in clusters),
        disagreement=float(np.mean(disagreements)),
    )


def _by_seed(differences: ByTask, clusters: ByTask) -> dict[str, Any]:
    """Fields of the difference: the variance of the mean over tasks by seeds, and the part of it that is of seeds and
    clusters together; none of one seed. differences: (seeds, items), one array per task.
    """
    seeds = len(differences[0])
    if seeds < 2:
        return {}
    of_seed = np.mean([task.mean(axis=1) for task in differences], axis=0)
    shared = 0.0
    for task, of in zip(differences, clusters, strict=True):
        _, codes, sizes = np.unique(of, return_inverse=True, return_counts=True)
        count = len(sizes)
        if count < 2:
            continue
        rest = task - task.mean(axis=1, keepdims=True) - task.mean(axis=0, keepdims=True) + task.mean()
        sums = np.stack([np.bincount(codes, weights=row, minlength=count) for row in rest]) / task.shape[1]
        unbiased = seeds / (seeds - 1) * count / (count - 1)
        shared += unbiased * float((sums**2).sum()) / seeds**2 / len(differences) ** 2
    variance = float(of_seed.var(ddof=1)) / seeds
    return {"seed_variance": variance, "seed_freedom": seeds - 1, "shared_variance": shared}


def _p(value: float, parts: Sequence[tuple[float, float]]) -> float:
    """The level at which half an interval is the value."""
    from scipy import optimize

    def beyond(log_level: float) -> float:
        return half_interval(parts, float(np.exp(log_level))) - abs(value)

    if beyond(_LEAST) <= 0:
        return float(np.exp(_LEAST))
    return float(np.exp(optimize.brentq(beyond, _LEAST, 0.0))) if value else 1.0


def _check(runs: ByTask, clusters: ByTask) -> None:
    """Raise ValueError unless runs are (seeds, items) with equal numbers of seeds on every task and a cluster per
    item.
    """
    if not runs or len(runs) != len(clusters):
        raise ValueError(f"{len(runs)} tasks and the clusters of {len(clusters)} do not fit together")
    for task, of in zip(runs, clusters, strict=True):
        if np.ndim(task) != 2 or np.shape(task) != (len(runs[0]), len(of)) or not np.size(task):
            raise ValueError(f"Scores of shape {np.shape(task)} are not of {len(runs[0])} seeds and {len(of)} items")
        if not np.isfinite(task).all():
            raise ValueError("A run has no score on some item; take the items that all have answered")
