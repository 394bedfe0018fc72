"""How many items, clusters and calibration seeds a comparison needs to show a difference, before anything runs.

The difference of two methods on the mean over K tasks has three sources of noise: which clusters of items were drawn,
which seeds, and what a seed does to single items. With n items a task and S seeds, a share d of items on which the two
score differently and a share c of those that change with the seed,

    V_clusters = Σ_tasks d (1 − c) D / n / K²,  V_shared = Σ_tasks d c D / (n S) / K²,  V_seeds = s² / S + V_shared,

where s is the spread of the difference over seeds and D = 1 + a (n − 1) q the design effect of clusters (Miller,
arXiv 2411.00640; Kish), a being how alike the differences within a cluster are and q the chance that two items share
one. What is shown with a given probability is half the interval of `replicates` and a normal quantile times √V.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from analysis.evaluation import significance
from analysis.evaluation.differences import LEVEL, POWER
from analysis.evaluation.replicates import crossed_difference
from analysis.specs import PlanParams

MOST_SEEDS = 32
FEW_SEEDS = 4  # fewer say too little about their spread to plan by it alone
ASSUMED = "assumed"


@dataclass(frozen=True)
class Noise:
    """What makes the difference of two methods uncertain, all as shares.

    disagreement: of items on which the two score differently, the mean square of an item's difference. alike: how
    correlated the differences of a cluster's items are, 0 to 1. changing: share of the disagreement that another seed
    changes. seed_spread: standard deviation, over seeds, of the mean difference that seeds alone make. source: words.
    """

    disagreement: float
    alike: float
    changing: float
    seed_spread: float
    source: str


@dataclass(frozen=True)
class TaskItems:
    """The items that a task has. sizes: how many in each cluster, (clusters,)."""

    title: str
    sizes: tuple[int, ...]

    @property
    def items(self) -> int:
        """How many it has."""
        return int(sum(self.sizes))

    @property
    def sharing(self) -> float:
        """The probability that two of its items share a cluster."""
        items = self.items
        return sum(size * (size - 1) for size in self.sizes) / (items * (items - 1)) if items > 1 else 0.0

    def clusters(self, items: int) -> float:
        """How many clusters a random subset of so many items is expected to have."""
        if items >= self.items:
            return float(len(self.sizes))
        from scipy import stats

        sizes, counts = np.unique(self.sizes, return_counts=True)
        missed = stats.hypergeom.pmf(0, self.items, sizes, items)
        return float((counts * (1 - missed)).sum())


@dataclass(frozen=True)
class Plan:
    """So many items of every task and seeds of every method, and the least difference they show with `POWER`.

    items: of all tasks. items_a_task: None for all there are. clusters: expected. seed_share: the part of the variance
    that the seeds make. tests: over how many Holm's adjustment is.
    """

    items_a_task: int | None
    items: int
    clusters: int
    seeds: int
    detectable: float
    seed_share: float
    tests: int


def plan(tasks: Sequence[TaskItems], noise: Noise, items_a_task: int | None, seeds: int, tests: int = 1) -> Plan:
    """What this many items a task (None: all) and seeds show. tests: the number of tests that share the 5 %.

    With one seed the difference is that of these two runs: no noise of the seed is in it. Raises ValueError where there
    are no items, or fewer than one seed.
    """
    if seeds < 1 or tests < 1 or not tasks or any(task.items < 1 for task in tasks):
        raise ValueError("A plan needs items in every task, a seed and a test")
    from scipy import stats

    taken = [min(task.items, items_a_task or task.items) for task in tasks]
    clusters = [task.clusters(count) for task, count in zip(tasks, taken, strict=True)]
    a_seed = (
        sum(
            noise.disagreement * (1 + noise.alike * (count - 1) * task.sharing) / count
            for task, count in zip(tasks, taken, strict=True)
        )
        / len(tasks) ** 2
    )
    changing = noise.changing if seeds > 1 else 0.0
    of_clusters = a_seed * (1 - changing)
    of_seeds = noise.seed_spread**2 / seeds + a_seed * changing / seeds if seeds > 1 else 0.0
    level = (1 - LEVEL) / tests / 2
    half = stats.t.isf(level, max(sum(clusters) - len(tasks), 1)) ** 2 * of_clusters
    if seeds > 1:
        half += stats.t.isf(level, seeds - 1) ** 2 * of_seeds
    variance = of_clusters + of_seeds
    return Plan(
        items_a_task=items_a_task,
        items=sum(taken),
        clusters=round(sum(clusters)),
        seeds=seeds,
        detectable=float(np.sqrt(half) + stats.norm.ppf(POWER) * np.sqrt(variance)),
        seed_share=float(of_seeds / variance) if variance else 0.0,
        tests=tests,
    )


def needed(
    tasks: Sequence[TaskItems], noise: Noise, target: float, tests: int = 1, seeds: Iterable[int] | None = None
) -> Plan | None:
    """The plan that shows a difference of `target` with the fewest answers, items times seeds; None where none does.

    seeds: the numbers of seeds that may be used, 2 to `MOST_SEEDS` if not given. Arguments else as of `plan`.
    """
    most = max(task.items for task in tasks)
    plans = []
    for count in range(2, MOST_SEEDS + 1) if seeds is None else seeds:
        if plan(tasks, noise, None, count, tests).detectable > target:
            continue
        few, enough = 1, most
        while few < enough:
            middle = (few + enough) // 2
            if plan(tasks, noise, middle, count, tests).detectable <= target:
                enough = middle
            else:
                few = middle + 1
        plans.append(plan(tasks, noise, enough, count, tests))
    return min(plans, key=lambda each: (each.items * each.seeds, each.seeds), default=None)


def assumed(params: PlanParams) -> Noise:
    """The noise before anything is measured."""
    return Noise(params.disagreement, params.alike, params.changing, params.seed_spread / 100, ASSUMED)


@dataclass(frozen=True)
class Sample:
    """Scores of two methods on the same items: first, second (seeds, items) and clusters (items,), one array a task,
    seeds paired. pairs: names of the two runs, one pair per seed; runs: what tells these runs from all others.
    """

    first: tuple[np.ndarray, ...]
    second: tuple[np.ndarray, ...]
    clusters: tuple[np.ndarray, ...]
    pairs: tuple[tuple[str, str], ...]
    runs: tuple[tuple[str, str], ...] = ()


def measured(samples: Sequence[Sample]) -> Noise:
    """The noise of the difference of two methods, pooled over samples of matched runs, of which no pair stands in two.

    Disagreement and the spread of seeds are upper ends of one-sided 80 % intervals, as a plan by what few clusters and
    seeds happen to say would fall short in half of all cases (Browne, Statistics in Medicine 14, 1995). Disagreement
    counts as on the items of the largest sample, as others may hold the same ones. With fewer than `FEW_SEEDS` the
    spread is at least as assumed, and with one per sample what seeds change is as assumed. Raises ValueError without
    samples, and as `crossed_difference` does.
    """
    if not samples:
        raise ValueError("Nothing was measured")
    crossed = [crossed_difference(one.first, one.second, one.clusters, paired=True, test=False) for one in samples]
    seen = [
        float(np.mean([np.mean((left - other) ** 2) for left, other in zip(one.first, one.second, strict=True)]))
        for one in samples
    ]
    disagreement = float(np.average(seen, weights=[each.n for each in crossed]))
    freedoms = [each.cluster_freedom for each in crossed if each.cluster_freedom is not None]
    if freedoms:
        disagreement = min(disagreement * _at_most(max(freedoms)), 1.0)
    noise = replace(assumed(PlanParams()), disagreement=disagreement, alike=_alike(samples), source=_source_of(samples))
    # Variances of one seed's difference, of samples with several: of seeds, of seeds and items together, of items.
    rows = [
        (
            each.seed_variance * each.seeds,
            max(each.shared_variance or 0.0, 0.0) * each.seeds,
            max((each.cluster_variance or 0.0) - max(each.shared_variance or 0.0, 0.0), 0.0),
            each.seed_freedom,
        )
        for each in crossed
        if each.seed_variance is not None and each.seed_freedom is not None
    ]
    if not rows:
        return noise
    by_seed, shared, by_item, freedom = np.array(rows).T
    whole = float((by_item + shared).sum())
    noise = replace(noise, changing=float(shared.sum()) / whole if whole else 0.0)
    of_seed, of_both = (float(np.average(values, weights=freedom)) for values in (by_seed, shared))
    if freedom.sum() + 1 < FEW_SEEDS:
        spread = max(noise.seed_spread, float(np.sqrt(max(of_seed - of_both, 0.0))))
    else:
        most = max(of_seed, of_both) * _at_most(float(freedom.sum()))
        spread = float(np.sqrt(max(most - of_both, 0.0)))
    return replace(noise, seed_spread=spread)


def _source_of(samples: Sequence[Sample]) -> str:
    """Where a noise is measured: its first pair, how many more there are, and in how many samples."""
    pairs = [pair for one in samples for pair in one.pairs]
    more = f" and {len(pairs) - 1} more matched pair{'s' if len(pairs) > 2 else ''} of runs" if len(pairs) > 1 else ""
    return f"measured on {pairs[0][0]} against {pairs[0][1]}{more}"


def _at_most(freedom: float) -> float:
    """By how much a variance of so many degrees of freedom can be larger than was seen, with 80 %."""
    from scipy import stats

    return float(freedom / stats.chi2.ppf(1 - POWER, freedom))


def _alike(samples: Sequence[Sample]) -> float:
    """How alike the differences of a cluster's items are: what makes the clustered variances what they are, 0 to 1."""
    extra, possible = 0.0, 0.0
    tasks = [task for one in samples for task in zip(one.first, one.second, one.clusters, strict=True)]
    for left, other, of in tasks:
        sizes = np.unique(of, return_counts=True)[1]
        pairs = float((sizes * (sizes - 1)).sum())
        for row in left - other:
            mean = significance.clustered_mean(row, of)
            if np.isnan(mean.variance) or not pairs:
                continue
            variance = float(row.var(ddof=1))
            extra += mean.variance * len(row) ** 2 - len(row) * variance
            possible += pairs * variance
    return min(max(extra / possible, 0.0), 1.0) if possible else 0.0


# --- in words ---------------------------------------------------------------------------------------------------


def sentences(
    tasks: Sequence[TaskItems], noise: Noise, target: float, items_a_task: int | None, seeds: int, tests: int
) -> list[str]:
    """What the items chosen show, what a difference of `target`, a share, needs, and what that goes by."""
    family = f" Adjusted for {tests} tests." if tests > 1 else ""
    return [
        in_words(plan(tasks, noise, items_a_task, seeds, tests)),
        needed_in_words(needed(tasks, noise, target, tests), target, tasks, noise, tests),
        f"{noise_in_words(noise)}{family}",
    ]


def in_words(shown: Plan) -> str:
    """What a plan shows, in one sentence."""
    difference = f"a difference of {_points(shown.detectable)} points on average, or a larger one"
    text = f"{shown.items:,} items in about {shown.clusters:,} clusters"
    if shown.seeds == 1:
        return (
            f"{text} and one calibration seed show {difference}, with {POWER:.0%} probability. The seed's own noise "
            "comes on top: no number of items averages it out."
        )
    return f"{text} and {shown.seeds} calibration seeds show {difference}, with {POWER:.0%} probability."


def needed_in_words(
    needed_plan: Plan | None, target: float, tasks: Sequence[TaskItems], noise: Noise, tests: int
) -> str:
    """What a difference of `target` needs, in one sentence."""
    wanted = f"To show a difference of {_points(target)} {'point' if target == 0.01 else 'points'}"
    if needed_plan is None:
        best = plan(tasks, noise, None, MOST_SEEDS, tests)
        return (
            f"{wanted}, even {best.items:,} items and {MOST_SEEDS} seeds are too few: they resolve "
            f"only {_points(best.detectable)} points. Take more tasks."
        )
    each = (
        "all items" if needed_plan.items == sum(task.items for task in tasks) else f"{needed_plan.items_a_task:,} items"
    )
    return (
        f"{wanted}, take {each} of each task ({needed_plan.items:,} in about {needed_plan.clusters:,} clusters) and "
        f"{needed_plan.seeds} calibration seeds."
    )


def noise_in_words(noise: Noise) -> str:
    """What is taken for the noise, and where it is from."""
    return (
        f"Noise {noise.source}: two runs score {noise.disagreement:.1%} of the items differently, the correlation "
        f"within a cluster is {noise.alike:.2f}, and seeds spread the difference by {_points(noise.seed_spread)} "
        "points."
    )


def _points(value: float) -> str:
    """A share in points, two digits where it is small, rounded up so that no more is promised than holds."""
    digits = 1 if value >= 0.01 else 2
    return f"{ceil(round(value * 100 * 10**digits, 6)) / 10**digits:g}"
