"""Running means over the items of an evaluation, with their bands: what the live plots draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.comparing import paired
from analysis.evaluation.results import AVERAGE, Results, begun, clusters, scores
from analysis.statistics import clustered
from analysis.statistics.differences import LEVEL

_ROUNDING = 1e-9  # of sums of squares; less is no spread


@dataclass(frozen=True)
class RunningMean:
    """A running mean over items 1 … n with its band, each (n,)."""

    name: str
    items: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def running_accuracy(values: np.ndarray, clusters: np.ndarray, name: str) -> RunningMean:
    """The accuracy of the first 1 … n items with the band of `clustered.estimate`. clusters: numbers, (items,)."""
    running = _Running(values, clusters)
    if not len(values):
        return RunningMean(name, running.items, running.mean, running.mean, running.mean)
    if clustered.is_binary(values):
        effective = clustered.effective_items(
            running.mean, running.variance, running.items, running.clusters, running.unlike
        )
        low, high = clustered.wilson(running.mean * effective, effective)
        return RunningMean(name, running.items, running.mean, low, high)
    return running_mean(values, clusters, name, least=0)


def running_mean(values: np.ndarray, clusters: np.ndarray, name: str, least: float) -> RunningMean:
    """The mean of the first 1 … n values with Student's clustered band. least: of scores 0, of differences −1, as in
    `clustered.inside`.
    """
    running = _Running(values, clusters)
    half = np.where(running.items > 1, running.half, np.nan)
    ends = clustered.inside(running.mean - half, running.mean + half, values, least)
    return RunningMean(name, running.items, running.mean, *ends)


def average_curve(
    rows: Sequence[np.ndarray], clusters: Sequence[np.ndarray], name: str, least: float = 0
) -> RunningMean:
    """The mean over benchmarks of the running means, after the same number of items of each, with the band of
    `clustered.mean_of_means`.

    A benchmark that has no more items keeps its last mean. least: of scores 0, of differences −1.
    """
    from scipy import stats

    several = [_Running(row, of) for row, of in zip(rows, clusters, strict=True) if len(row)]
    if not several:
        return running_accuracy(np.zeros(0), np.zeros(0), name)
    items = np.arange(1, max(len(running.items) for running in several) + 1)
    normal = stats.norm.ppf(0.5 + LEVEL / 2)
    means, variances, estimated = [], [], []
    for running in several:
        at = np.minimum(items, len(running.items)) - 1
        variance = running.variance[at]
        known = np.isfinite(variance)
        means.append(running.mean[at])
        variances.append(np.where(known, variance, (running.half[at] / normal) ** 2))
        estimated.append(np.where(known, variance, 0) ** 2 / np.maximum(running.clusters[at] - 1, 1))
    mean, variance = np.mean(means, axis=0), np.sum(variances, axis=0)
    with np.errstate(divide="ignore"):
        freedom = variance**2 / np.sum(estimated, axis=0)
    half = stats.t.ppf(0.5 + LEVEL / 2, freedom) * np.sqrt(variance) / len(several)
    half = np.where(items > 1, half, np.nan)
    return RunningMean(name, items, mean, *clustered.inside(mean - half, mean + half, np.concatenate(rows), least))


class _Running:
    """The estimates of `clustered.clustered_mean` over the first 1 … n items, for every n at once, (items,) each.

    A sum over clusters changes with an item by what its own cluster's term changes, so running sums will do.
    """

    def __init__(self, values: np.ndarray, clusters: np.ndarray) -> None:
        values = np.asarray(values, float)
        self.items = np.arange(1, len(values) + 1)
        self.mean = np.cumsum(values) / self.items
        before, members = _before(values, clusters)
        self.clusters = np.cumsum(members == 0)
        sum_squares = np.cumsum((before + values) ** 2 - before**2)  # Σ (Σ x)² over the clusters, and so on
        products = np.cumsum((before + values) * (members + 1) - before * members)
        size_squares = np.cumsum(2.0 * members + 1)
        residuals = sum_squares - 2 * self.mean * products + self.mean**2 * size_squares
        spread = np.cumsum(values**2) / self.items - self.mean**2
        with np.errstate(all="ignore"):
            variance = self.clusters / (self.clusters - 1) * residuals / self.items**2
        some = (self.clusters > 1) & (spread > _ROUNDING) & (residuals > _ROUNDING)
        self.variance = np.where(some, variance, np.nan)
        self.unlike = self.items**2 / size_squares

    @property
    def half(self) -> np.ndarray:
        """Half the interval, (items,)."""
        from scipy import stats

        if not len(self.items):
            return np.zeros(0)
        student = stats.t.ppf(0.5 + LEVEL / 2, np.maximum(self.clusters - 1, 1)) * np.sqrt(self.variance)
        return np.where(np.isfinite(student), student, clustered.reach(self.unlike))


def _before(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every item, the sum and the number of those of its cluster that came before it, (items,) each."""
    order = np.argsort(clusters, kind="stable")
    first = np.flatnonzero(np.diff(np.asarray(clusters)[order], prepend=-1) != 0)
    lengths = np.diff(np.append(first, len(order)))
    sums = np.cumsum(values[order]) - values[order]
    before, members = np.zeros(len(order)), np.zeros(len(order), int)
    before[order] = sums - np.repeat(sums[first], lengths)
    members[order] = np.arange(len(order)) - np.repeat(first, lengths)
    return before, members


def accuracy_curves(results: Results, task: str) -> list[RunningMean]:
    """The running accuracy of every model on a benchmark, or averaged over those begun."""
    curves = []
    for model, name in enumerate(results.names):
        if task == AVERAGE:
            names = [benchmark.name for benchmark in begun(results)]
            rows = [scores(results, benchmark, model)[0] for benchmark in names]
            curves.append(average_curve(rows, [clusters(results, benchmark, [model]) for benchmark in names], name))
        else:
            curves.append(running_accuracy(scores(results, task, model)[0], clusters(results, task, [model]), name))
    return curves


def difference_curves(results: Results, task: str, some: Sequence[tuple[int, int]]) -> list[RunningMean]:
    """The running paired difference of pairs of models on a benchmark, or averaged over those begun."""
    curves = []
    for pair in some:
        name = results.names[pair[0]]
        if task == AVERAGE:
            names = [benchmark.name for benchmark in begun(results)]
            rows = [paired(results, benchmark, pair) for benchmark in names]
            curves.append(average_curve(rows, [clusters(results, benchmark, pair) for benchmark in names], name, -1))
        else:
            curves.append(running_mean(paired(results, task, pair), clusters(results, task, pair), name, least=-1))
    return curves
