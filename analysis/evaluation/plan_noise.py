"""The noise of a comparison, measured on scores that are there, for planning the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from analysis.evaluation.planning import FEW_SEEDS, RECURRING, Noise, Sizes, TaskItems, assumed
from analysis.specs import PlanParams
from analysis.statistics import clustered
from analysis.statistics.clustered import ByTask
from analysis.statistics.crossed import crossed_difference
from analysis.statistics.differences import POWER, Difference


@dataclass(frozen=True)
class Sample:
    """Scores of two methods on the same items: first, second (seeds, items) and clusters (items,), one array per task,
    seeds paired. pairs: names of the two runs, one pair per seed; runs: what tells these runs from all others.
    """

    first: ByTask
    second: ByTask
    clusters: ByTask
    pairs: tuple[tuple[str, str], ...]
    runs: tuple[tuple[str, str], ...] = ()

    @property
    def squares(self) -> list[np.floating]:
        """The mean squared difference of each task."""
        return [np.mean((left - other) ** 2) for left, other in zip(self.first, self.second, strict=True)]


def measured(samples: Sequence[Sample], cautious: bool = True) -> Noise:
    """Return the noise of the difference of two methods, pooled over samples of matched runs; no pair is in two.

    Disagreement and the spread of seeds are upper ends of one-sided 80 % intervals, as a plan by what few clusters and
    seeds happen to say would fall short in half of all cases (Browne, Statistics in Medicine 14, 1995). Disagreement
    counts as on the items of the largest sample, as others may hold the same ones. With fewer than `FEW_SEEDS` the
    spread is at least as assumed, and with one per sample what seeds change is as assumed. cautious: whether to do so;
    else what was seen is taken as it is. Raises ValueError without samples, and as `crossed_difference` does.
    """
    if not samples:
        raise ValueError("Nothing was measured")
    crossed = [crossed_difference(one.first, one.second, one.clusters, test=False) for one in samples]
    seen = [np.mean(one.squares) for one in samples]
    disagreement = float(np.average(seen, weights=[each.n for each in crossed]))
    freedoms = [each.cluster_freedom for each in crossed if each.cluster_freedom is not None]
    if freedoms and cautious:
        disagreement = min(disagreement * _at_most(max(freedoms)), 1.0)
    noise = replace(
        assumed(PlanParams()),
        disagreement=disagreement,
        alike=_alike(samples),
        source=_source_of(samples),
        recurring=_recurring(samples),
        shares=_shares(samples),
    )
    # Variances of one seed's difference, of samples with several: of seeds, of seeds and items together, of items.
    rows = [
        (
            each.seed_variance * each.seeds,
            max(each.shared_variance or 0.0, 0.0) * each.seeds,
            _alone(one, max(each.shared_variance or 0.0, 0.0), cautious),
            each.seed_freedom,
        )
        for one, each in zip(samples, crossed, strict=True)
        if each.seed_variance is not None and each.seed_freedom is not None
    ]
    if not rows:
        return noise
    by_seed, shared, by_item, freedom = np.array(rows).T
    whole = float((by_item + shared).sum())
    noise = replace(noise, changing=float(shared.sum()) / whole if whole else 0.0)
    of_seed, of_both = (float(np.average(values, weights=freedom)) for values in (by_seed, shared))
    if not cautious:
        spread = float(np.sqrt(max(of_seed - of_both, 0.0)))
    elif freedom.sum() + 1 < FEW_SEEDS:
        spread = max(noise.seed_spread, float(np.sqrt(max(of_seed - of_both, 0.0))))
    else:
        most = max(of_seed, of_both) * _at_most(float(freedom.sum()))
        spread = float(np.sqrt(max(most - of_both, 0.0)))
    return replace(noise, seed_spread=spread)


def seen(differences: Sequence[Difference], tasks: Sequence[TaskItems], items_a_task: int | None, source: str) -> Noise:
    """Return the noise that differences over seeds had, where their scores are no longer there: from the parts of their
    variances, as cautious as `measured`. tasks, items_a_task: what was scored. What is not in them is assumed.
    """
    noise = assumed(PlanParams())
    known = [one for one in differences if one.seed_variance is not None and one.seed_freedom]
    if not known:
        return noise
    grown = Sizes.of(tasks, items_a_task, noise).noise
    rows = [
        (
            (one.cluster_variance or 0.0) - (one.shared_variance or 0.0),
            (one.shared_variance or 0.0) * one.seeds,
            (one.seed_variance or 0.0) * one.seeds,
            one.seed_freedom or 0.0,
        )
        for one in known
    ]
    alone, shared, of_seed, freedom = np.maximum(np.array(rows).T, 0.0)
    whole = float((alone + shared).mean())
    disagreement = whole / grown * _at_most(float(np.mean([one.cluster_freedom or np.inf for one in known])))
    spread = float(np.average(of_seed, weights=freedom)) * _at_most(float(freedom.sum())) - float(shared.mean())
    least = noise.seed_spread if min(one.seeds for one in known) < FEW_SEEDS else 0.0
    return replace(
        noise,
        disagreement=min(max(disagreement, 1e-6), 1.0),
        changing=float(shared.mean()) / whole if whole else 0.0,
        seed_spread=max(least, float(np.sqrt(max(spread, 0.0)))),
        source=source,
    )


def _alone(sample: Sample, shared: float, cautious: bool) -> float:
    """Return the variance that clusters of items alone give the mean over seeds and tasks, which no seed averages out.

    A task in which nothing differs adds nothing: what it may hide is in the plan. cautious: the upper end of its
    one-sided 80 % interval, as few seeds cannot tell it from what changes with them, which as many seeds as are planned
    would average out. shared: the variance of the mean that seeds and clusters make together.
    """
    from scipy.special import ndtri

    tasks, clusters, whole = len(sample.first), 0, 0.0
    for left, other, of in zip(sample.first, sample.second, sample.clusters, strict=True):
        mean = clustered.clustered_mean((left - other).mean(axis=0), of)
        clusters += mean.clusters
        whole += 0.0 if np.isnan(mean.variance) else mean.variance / tasks**2
    alone, seeds = max(whole - shared, 0.0), len(sample.first[0])
    # Products of two seeds' differences, of which the mean is `alone`: over so many pairs of seeds and clusters.
    error = whole * float(np.sqrt(2 * seeds / ((seeds - 1) * max(clusters, 1))))
    return alone + (float(ndtri(POWER)) * error if cautious else 0.0)


def _source_of(samples: Sequence[Sample]) -> str:
    """Return where a noise is measured: its first pair, and how many more there are."""
    pairs = [pair for one in samples for pair in one.pairs]
    more = f" and {len(pairs) - 1} more matched pair{'s' if len(pairs) > 2 else ''} of runs" if len(pairs) > 1 else ""
    return f"measured on {pairs[0][0]} against {pairs[0][1]}{more}"


def _at_most(freedom: float) -> float:
    """Return the factor by which a variance of so many degrees of freedom is at most larger than seen, with 80 %."""
    from scipy.special import gammaincinv  # half a chi-square's quantile

    return float(freedom / (2 * gammaincinv(freedom / 2, 1 - POWER))) if isfinite(freedom) else 1.0


def _shares(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Return each task's disagreement as a multiple of the mean one; nothing where samples are of other tasks."""
    if len({len(one.first) for one in samples}) > 1:
        return ()
    by_task = np.mean([one.squares for one in samples], axis=0)
    return tuple((by_task / by_task.mean()).tolist()) if by_task.any() else ()


def _recurring(samples: Sequence[Sample]) -> float:
    """Return the correlation over seeds of an item being scored differently, 0 to 1; as assumed with one seed."""
    both, either, once = 0.0, 0.0, 0.0
    for one in samples:
        differs = np.concatenate([left != other for left, other in zip(one.first, one.second, strict=True)], axis=1)
        seeds, share = len(differs), float(differs.mean())
        if seeds > 1:
            times = differs.sum(axis=0)
            both += float((times * (times - 1)).mean()) / (seeds * (seeds - 1)) - share**2
            either += share - share**2
            once += share
    return min(max(both / either, 0.0), 1.0) if once and either else RECURRING


def _alike(samples: Sequence[Sample]) -> float:
    """Return the correlation of differences within a cluster that explains the clustered variances, 0 to 1."""
    extra, possible = 0.0, 0.0
    tasks = [task for one in samples for task in zip(one.first, one.second, one.clusters, strict=True)]
    for left, other, of in tasks:
        sizes = np.unique(of, return_counts=True)[1]
        pairs = float((sizes * (sizes - 1)).sum())
        for row in left - other:
            mean = clustered.clustered_mean(row, of)
            if np.isnan(mean.variance) or not pairs:
                continue
            variance = float(row.var(ddof=1))
            extra += mean.variance * len(row) ** 2 - len(row) * variance
            possible += pairs * variance
    return min(max(extra / possible, 0.0), 1.0) if possible else 0.0
