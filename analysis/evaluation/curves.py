"""Running means over the items of an evaluation, with their bands: what the live plots draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation import significance
from analysis.evaluation.comparing import paired
from analysis.evaluation.results import AVERAGE, Results, begun, scores


@dataclass(frozen=True)
class RunningMean:
    """A running mean over items 1 … n with its band, each (n,)."""

    name: str
    items: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def running_accuracy(values: np.ndarray, name: str) -> RunningMean:
    """The accuracy of the first 1 … n items with Wilson's band."""
    items = np.arange(1, len(values) + 1)
    sums = np.cumsum(values)
    if not len(values):
        return RunningMean(name, items, sums, sums, sums)
    if significance.is_binary(values):
        low, high = significance.wilson(sums, items)
        return RunningMean(name, items, sums / items, low, high)
    return running_mean(values, name, least=0)


def running_mean(values: np.ndarray, name: str, least: float) -> RunningMean:
    """The mean of the first 1 … n values with Student's band. least: of scores 0, of differences −1, as in
    `significance.inside`.
    """
    from scipy import stats

    items = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / items
    squares = np.cumsum(values**2) / items
    spread = np.sqrt(np.maximum(squares - mean**2, 0) / np.maximum(items - 1, 1))
    half = stats.t.ppf(0.5 + significance.LEVEL / 2, np.maximum(items - 1, 1)) * spread
    if len(items):
        half = np.where(spread > 1e-9, half, significance.reach(items))
    half = np.where(items > 1, half, np.nan)
    return RunningMean(name, items, mean, *significance.inside(mean - half, mean + half, values, least))


def average_curve(rows: Sequence[np.ndarray], name: str, least: float = 0) -> RunningMean:
    """The mean over benchmarks of the running means, after the same number of items of each, with a normal band.

    A benchmark that has no more items keeps its last mean. least: of scores 0, of differences −1.
    """
    from scipy import stats

    rows = [row for row in rows if len(row)]
    if not rows:
        return running_accuracy(np.zeros(0), name)
    longest = max(len(row) for row in rows)
    items = np.arange(1, longest + 1)
    normal = stats.norm.ppf(0.5 + significance.LEVEL / 2)
    means, variances = [], []
    for row in rows:
        curve = running_mean(row, "", least)
        own = np.minimum(items, len(row)) - 1
        squares = (np.cumsum(row**2) / curve.items)[own]
        means.append(curve.mean[own])
        spread = np.maximum(squares - means[-1] ** 2, 0) / np.maximum(own, 1)
        variances.append(np.where(spread > 1e-12, spread, (significance.reach(own + 1) / normal) ** 2))
    mean = np.mean(means, axis=0)
    half = normal * np.sqrt(np.sum(variances, axis=0)) / len(rows)
    half = np.where(items > 1, half, np.nan)
    return RunningMean(name, items, mean, *significance.inside(mean - half, mean + half, np.concatenate(rows), least))


def accuracy_curves(results: Results, task: str) -> list[RunningMean]:
    """The running accuracy of every model on a benchmark, or averaged over those begun."""
    curves = []
    for model, name in enumerate(results.names):
        if task == AVERAGE:
            curves.append(average_curve([scores(results, b.name, model)[0] for b in begun(results)], name))
        else:
            curves.append(running_accuracy(scores(results, task, model)[0], name))
    return curves


def difference_curves(results: Results, task: str, some: Sequence[tuple[int, int]]) -> list[RunningMean]:
    """The running paired difference of pairs of models on a benchmark, or averaged over those begun."""
    curves = []
    for pair in some:
        name = results.names[pair[0]]
        if task == AVERAGE:
            curves.append(average_curve([paired(results, b.name, pair) for b in begun(results)], name, least=-1))
        else:
            curves.append(running_mean(paired(results, task, pair), name, least=-1))
    return curves
