"""Running means over the items of an evaluation, with their bands: what the live plots draw."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evaluation.comparing import Pairs, paired
from analysis.evaluation.results import AVERAGE, Results, clusters, names_of, once, scores
from analysis.statistics import clustered
from analysis.statistics.clustered import ByTask

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


def average_curve(rows: ByTask, clusters: ByTask, name: str, least: float = 0) -> RunningMean:
    """The mean over benchmarks of the running means, after the same number of items of each, with the band of
    `clustered.mean_of_means`.

    A benchmark that has no more items keeps its last mean. least: of scores 0, of differences −1.
    """
    several = [_Running(row, of) for row, of in zip(rows, clusters, strict=True) if len(row)]
    if not several:
        return running_accuracy(np.zeros(0), np.zeros(0), name)
    items = np.arange(1, max(len(running.items) for running in several) + 1)
    normal = clustered.normal_quantile()
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
    half = clustered.student_quantile(freedom) * np.sqrt(variance) / len(several)
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
        grouped = pd.Series(values).groupby(np.asarray(clusters))
        before, members = (grouped.cumsum() - values).to_numpy(), grouped.cumcount().to_numpy()
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
        if not len(self.items):
            return np.zeros(0)
        student = clustered.student_quantile(np.maximum(self.clusters - 1, 1)) * np.sqrt(self.variance)
        return np.where(np.isfinite(student), student, clustered.reach(self.unlike))


@once
def accuracy_curves(results: Results, task: str) -> list[RunningMean]:
    """The running accuracy of every model on a benchmark, or averaged over those begun."""
    return [_curve(results, task, model) for model in range(len(results.names))]


@once
def difference_curves(results: Results, task: str, some: Pairs) -> list[RunningMean]:
    """The running paired difference of pairs of models on a benchmark, or averaged over those begun."""
    return [_curve(results, task, *pair) for pair in some]


def _curve(results: Results, task: str, model: int, than: int | None = None) -> RunningMean:
    """The curve of a model, or of its difference from another."""
    names = names_of(results, task)
    if than is None:
        models, least, rows = [model], 0, [scores(results, benchmark, model)[0] for benchmark in names]
    else:
        models, least, rows = [model, than], -1, [paired(results, benchmark, (model, than)) for benchmark in names]
    of, name = [clusters(results, benchmark, models) for benchmark in names], results.names[model]
    if task == AVERAGE:
        return average_curve(rows, of, name, least)
    if than is None:
        return running_accuracy(rows[0], of[0], name)
    return running_mean(rows[0], of[0], name, least)
