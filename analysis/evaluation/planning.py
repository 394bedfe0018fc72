"""Plans of a comparison before anything runs: the items, clusters and calibration seeds it needs to show a difference
or to rule one out, and sentences that say so.

The difference of two methods on the mean over K tasks has three sources of noise: which clusters of items were drawn,
which seeds, and what a seed does to single items. With n items per task and S seeds, a share d of items on which the
two score differently and a share c of those that change with the seed,

    V_clusters = Σ_tasks d (1 − c) D / n / K²,  V_shared = Σ_tasks d c D / (n S) / K²,  V_seeds = s² / S + V_shared,

where s is the spread of the difference over seeds and D = 1 + a (n − 1) q the design effect of clusters (Miller,
arXiv 2411.00640; Kish), a being how alike the differences within a cluster are and q the chance that two items share
one. Then studies are drawn: a difference from these variances, and the estimate that a study would make of each
variance, which is imprecise where seeds are few. Each is judged as `statistics.crossed` does, at the level left of 5 %
for one test of its family.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil, isfinite, log2

import numpy as np

from analysis.specs import PlanParams
from analysis.statistics import clustered
from analysis.statistics.differences import LEVEL, POWER
from analysis.words import percent

MOST_SEEDS = 32
FEW_SEEDS = 4  # fewer say too little about their spread to plan by it alone
ASSUMED = "assumed"
RECURRING = 0.4  # assumed; on the bundled model 0.1 between Sink-Wanda and its control, 0.4 to 0.5 between it and Wanda
AIM = 0.83  # the power that sizes are chosen for, as a plan is a few points off (benchmarks.honesty)
_DRAWS = 4096  # studies that are drawn


@dataclass(frozen=True)
class Noise:
    """Sources of uncertainty in the difference of two methods, all as shares.

    disagreement: of items on which the two score differently, the mean square of an item's difference. alike: how
    correlated the differences of a cluster's items are, 0 to 1. changing: share of the disagreement that another seed
    changes. seed_spread: standard deviation, over seeds, of the mean difference that seeds alone make. source: words.
    alike_in_subject: as alike, where clusters are subjects. recurring: how correlated it is over seeds whether an item
    is scored differently, 0 to 1: the larger it is, the fewer items ever are. shares: by task, its disagreement as a
    multiple of the mean one; empty where all tasks are taken alike.
    """

    disagreement: float
    alike: float
    changing: float
    seed_spread: float
    source: str
    alike_in_subject: float = PlanParams().alike_in_subject
    recurring: float = RECURRING
    shares: tuple[float, ...] = ()

    def of_tasks(self, count: int) -> np.ndarray:
        """The disagreement of each of so many tasks as a multiple of the mean one, (tasks,)."""
        return np.array(self.shares) if len(self.shares) == count else np.ones(count)

    def ever(self, seeds: int, shares: np.ndarray) -> np.ndarray:
        """By task, the share of items that are scored differently with some of so many seeds: beta-binomial. shares: as
        of `of_tasks`.
        """
        alone = np.minimum(self.disagreement * shares, 1.0)
        if 0 < self.recurring < 1:
            whole = (1 - self.recurring) / self.recurring
            at = np.arange(seeds)[:, None]
            never = np.prod(((1 - alone) * whole + at) / (whole + at), axis=0)
        else:
            never = 1 - alone if self.recurring else (1 - alone) ** seeds
        return np.asarray(1 - never)


@dataclass(frozen=True)
class TaskItems:
    """The items that a task has. sizes: how many in each cluster, (clusters,). subjects: whether a cluster is a whole
    subject, whose items have little in common.
    """

    title: str
    sizes: tuple[int, ...]
    subjects: bool = False

    @cached_property
    def items(self) -> int:
        """Number of its items."""
        return int(sum(self.sizes))

    @cached_property
    def sharing(self) -> float:
        """The probability that two of its items share a cluster."""
        items = self.items
        return sum(size * (size - 1) for size in self.sizes) / (items * (items - 1)) if items > 1 else 0.0

    @cached_property
    def _counted(self) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self.sizes, return_counts=True)

    def evenness(self, items: int, alike: float) -> float:
        """Return how evenly the clusters of a random subset add to a variance, 1 where all are of one size:
        (Σ v)² / (G · Σ v²) with v = s (1 + alike (s − 1)) of clusters of s items.
        """
        sizes, counts = self._counted
        taken = 1 + (sizes - 1) * min(items / self.items, 1.0)
        each = taken * (1 + alike * (taken - 1))
        return float((counts * each).sum() ** 2 / (counts.sum() * (counts * each**2).sum()))

    def clusters(self, items: int) -> float:
        """Return the expected number of clusters in a random subset of so many items."""
        if items >= self.items:
            return float(len(self.sizes))
        from scipy.special import gammaln

        sizes, counts = self._counted
        left = self.items - sizes - items  # a cluster is missed where all are drawn from the others
        missed = np.exp(
            gammaln(self.items - sizes + 1)
            - gammaln(np.maximum(left, 0) + 1)
            + gammaln(self.items - items + 1)
            - gammaln(self.items + 1)
        )
        return float((counts * (1 - np.where(left >= 0, missed, 0.0))).sum())


@dataclass(frozen=True)
class Plan:
    """So many items of every task and seeds of every method, and what they tell.

    items: of all tasks. items_a_task: None for all there are. clusters: expected. detectable: the true difference that
    is shown with a probability of `POWER`; infinite where too few clusters would differ. excluded: the least margin
    that a true difference of 0 is shown to lie within, with the same probability. power, exclusion: the probability of
    showing the difference asked about, and of showing that there is none as large where there is none; NaN where none
    was asked about. tests: those that share 5 %.
    """

    items_a_task: int | None
    items: int
    clusters: int
    seeds: int
    detectable: float
    excluded: float
    power: float
    exclusion: float
    tests: int


@dataclass(frozen=True)
class Sizes:
    """Quantities that follow from a number of items per task. noise: Σ_tasks D / n / K², by which variances grow.

    freedom: of the clusters' variance, Satterthwaite's. each: by task, clusters and the items in one of them that
    are as good as unrelated, (2, tasks). blank: by task, the variance that it adds where none of its items differs,
    (tasks,), as `clustered.mean_of_means` has it. shares: as of `Noise.of_tasks`. parts: by task, its part of
    the noise, and how many clusters of equal size would tell as much of a variance as one of its own, as few large
    ones make it uncertain, (2, tasks).
    """

    items: int
    clusters: float
    noise: float
    freedom: float
    each: np.ndarray
    blank: np.ndarray
    shares: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, tasks: Sequence[TaskItems], items_a_task: int | None, noise: Noise) -> "Sizes":
        taken = np.array([min(task.items, items_a_task or task.items) for task in tasks])
        clusters = np.array([task.clusters(count) for task, count in zip(tasks, taken.tolist(), strict=True)])
        alike = np.array([noise.alike_in_subject if task.subjects else noise.alike for task in tasks])
        design = 1 + alike * (taken - 1) * np.array([task.sharing for task in tasks])
        shares = noise.of_tasks(len(tasks))
        noises = shares * design / taken / len(tasks) ** 2
        freedom = noises.sum() ** 2 / (noises**2 / np.maximum(clusters - 1, 1)).sum()
        even = [task.evenness(count, of) for task, count, of in zip(tasks, taken.tolist(), alike, strict=True)]
        parts = np.stack([noises / max(noises.sum(), 1e-12), even])
        within = taken / clusters
        each = np.stack([clusters, within / (1 + alike * (within - 1))])
        alike_at_most = taken / np.array(
            [1 + (count - 1) * task.sharing for task, count in zip(tasks, taken, strict=True)]
        )
        blank = (clustered.reach(alike_at_most) / clustered.normal_quantile() / len(tasks)) ** 2
        return cls(
            int(taken.sum()), float(clusters.sum()), float(noises.sum()), float(freedom), each, blank, shares, parts
        )

    def known_by(self, differing: np.ndarray) -> float:
        """Degrees of freedom of the estimated variance, where so many clusters of each task differ."""
        part, even = self.parts
        each = np.clip(2 * differing * even, 1.0, np.maximum(self.each[0] - 1, 1.0))
        return float(1 / np.maximum((part**2 / each).sum(), 1e-12))

    def differing(self, ever: np.ndarray) -> np.ndarray:
        """Return the number of clusters of each task with an item that differs, (tasks,). ever: the share that do."""
        clusters, unrelated = self.each
        return np.asarray(np.maximum(clusters * (1 - (1 - ever) ** unrelated), 1e-9))


@dataclass(frozen=True)
class _Studies:
    """Studies that are drawn. error: of the difference that each finds, (N,). half: half the interval at the family's
    level that each gives it, (N,). shows: whether enough clusters differ for the sign flip's p to reach that level.
    """

    error: np.ndarray
    half: np.ndarray
    shows: np.ndarray

    def power(self, effect: float) -> float:
        """The share that show a true difference, in its direction."""
        return float(np.mean((effect + self.error > self.half) & self.shows))

    def exclusion(self, margin: float) -> float:
        """The share whose interval lies within ± the margin, where the true difference is 0."""
        return float(np.mean(np.abs(self.error) + self.half < margin))

    @property
    def excluded(self) -> float:
        """The margin that `POWER` of them lie within, where the true difference is 0."""
        return float(np.quantile(np.abs(self.error) + self.half, POWER, method="inverted_cdf"))


@cache
def _uniform(number: int) -> np.ndarray:
    """Evenly spaced probabilities in an order of their own for each source of noise, so that each source is exact."""
    return np.random.default_rng(number).permutation((np.arange(_DRAWS) + 0.5) / _DRAWS)


@cache
def _normal(number: int) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri(_uniform(number)))


@cache
def _seeds_seen(seeds: int) -> np.ndarray:
    """A variance over so many seeds as a study would estimate it, as a share of the true one."""
    from scipy.special import gammaincinv  # half a chi-square's quantile

    return np.asarray(2 * gammaincinv((seeds - 1) / 2, _uniform(1)) / (seeds - 1))


def _seen(normal: np.ndarray, freedom: float) -> np.ndarray:
    """The same of many degrees of freedom, from normal deviates by Wilson's and Hilferty's approximation."""
    part = 2 / (9 * freedom)
    return np.asarray(np.maximum(1 - part + np.sqrt(part) * normal, 0.0) ** 3)


def _studies(sizes: Sizes, noise: Noise, seeds: int, tests: int, effect: float = 0.0) -> _Studies:
    """Draw studies of this size. effect: the true difference. The more of the differing items it turns one way, the
    more does a study that happens on many of them find both a larger difference and a larger variance: of differences
    of −1, 0 and 1 mean and variance are correlated by effect / disagreement.
    """
    from scipy.special import ndtr, pdtr, stdtrit

    level = (1 - LEVEL) / tests
    changing = noise.changing if seeds > 1 else 0.0
    whole = noise.disagreement * sizes.noise
    alone, shared = whole * (1 - changing), whole * changing / seeds
    of_seeds = (noise.seed_spread**2 / seeds if seeds > 1 else 0.0) + shared
    # Clusters that differ under some seed: few of them say little about a variance, and a sign flip has few signs.
    of_tasks = sizes.differing(noise.ever(seeds, sizes.shares))
    differing = float(of_tasks.sum())
    # An item that differs under few seeds adds little, so that those of one seed say how well the variance is known.
    freedom = max(sizes.known_by(sizes.differing(noise.ever(1, sizes.shares))), 1.0)
    along = min(abs(effect) / max(noise.disagreement, 1e-12), 1.0)
    spread = along * _normal(3) + np.sqrt(1 - along**2) * _normal(2)
    seen = np.maximum((alone + shared) * _seen(spread, freedom) - shared, 0.0)
    for number, (expected, blank) in enumerate(zip(of_tasks, sizes.blank, strict=True)):
        seen = seen + blank * (_uniform(5 + number) < np.exp(-expected))  # none of the task's items differs
    half = stdtrit(sizes.freedom, level / 2) ** 2 * seen
    if seeds > 1:
        half = half + stdtrit(seeds - 1, level / 2) ** 2 * of_seeds * _seeds_seen(seeds)
    return _Studies(
        np.sqrt(alone) * _normal(3) + np.sqrt(of_seeds) * _normal(4),
        np.sqrt(half),
        ndtr(spread) > pdtr(ceil(1 + log2(1 / level)) - 1, differing),  # so many clusters differ, Poisson's
    )


def plan(
    tasks: Sequence[TaskItems],
    noise: Noise,
    items_a_task: int | None,
    seeds: int,
    tests: int = 1,
    target: float | None = None,
) -> Plan:
    """Plan this many items per task (None: all) and seeds. tests: the number of tests that share the 5 %. target: a
    difference that is asked about, a share.

    With one seed the difference is that of these two runs: no noise of the seed is in it. Raises ValueError where there
    are no items, or fewer than one seed.
    """
    if seeds < 1 or tests < 1 or not tasks or any(task.items < 1 for task in tasks):
        raise ValueError("A plan needs items in every task, a seed and a test")
    sizes = Sizes.of(tasks, items_a_task, noise)
    studies = _studies(sizes, noise, seeds, tests)
    power = exclusion = np.nan
    if target is not None:
        power = _studies(sizes, _with_effect(noise, target), seeds, tests, target).power(target)
        exclusion = studies.exclusion(target)
    return Plan(
        items_a_task,
        sizes.items,
        round(sizes.clusters),
        seeds,
        _detectable(sizes, noise, seeds, tests),
        studies.excluded,
        power,
        exclusion,
        tests,
    )


def _detectable(sizes: Sizes, noise: Noise, seeds: int, tests: int) -> float:
    """Return the true difference that `POWER` of studies of this size show; infinite where none does."""
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        reached = _studies(sizes, _with_effect(noise, middle), seeds, tests, middle).power(middle) >= POWER
        low, high = (low, middle) if reached else (middle, high)
    return high if high < 1 else np.inf


def _with_effect(noise: Noise, effect: float) -> Noise:
    """The noise where there is an effect, which is no larger than the share of items that are scored differently."""
    return noise if effect <= noise.disagreement else replace(noise, disagreement=min(effect, 1.0))


def needed(
    tasks: Sequence[TaskItems],
    noise: Noise,
    target: float,
    tests: int = 1,
    cost: Callable[[int, int], float] | None = None,
) -> Plan | None:
    """The cheapest plan of 2 to `MOST_SEEDS` seeds that shows a difference of `target`, reckoned with a probability of
    `AIM`; None where none does.

    cost: of so many items per task and seeds; answers, items times seeds, if not given. Arguments else as of `plan`.
    """
    most = max(task.items for task in tasks)
    larger = _with_effect(noise, target)

    @cache
    def sizes(items_a_task: int) -> Sizes:
        return Sizes.of(tasks, items_a_task, noise)

    def enough(items_a_task: int, count: int) -> bool:
        return _studies(sizes(items_a_task), larger, count, tests, target).power(target) >= AIM

    def price(items_a_task: int, count: int) -> tuple[float, int]:
        return (sizes(items_a_task).items * count if cost is None else cost(items_a_task, count)), count

    found = [
        (1 + bisect_left(range(1, most), True, key=lambda items: enough(items, count)), count)
        for count in range(2, MOST_SEEDS + 1)
        if enough(most, count)
    ]
    if not found:
        return None
    items_a_task, count = min(found, key=lambda each: price(*each))
    return plan(tasks, noise, items_a_task, count, tests, target)


def assumed(params: PlanParams) -> Noise:
    """The noise before anything is measured."""
    return Noise(
        params.disagreement, params.alike, params.changing, params.seed_spread / 100, ASSUMED, params.alike_in_subject
    )


def sentences(
    tasks: Sequence[TaskItems], noise: Noise, target: float, items_a_task: int | None, seeds: int, tests: int
) -> list[str]:
    """Tell what the chosen items show, what a difference of `target` (a share) needs, and the noise assumed."""
    family = f" Adjusted for {tests} tests." if tests > 1 else ""
    return [
        in_words(plan(tasks, noise, items_a_task, seeds, tests)),
        needed_in_words(needed(tasks, noise, target, tests), target, tasks, noise, tests),
        f"{noise_in_words(noise)}{family}",
    ]


def in_words(shown: Plan) -> str:
    """Tell what a plan shows, in one sentence."""
    text = f"{shown.items:,} items in about {shown.clusters:,} clusters"
    of_seeds = "one calibration seed" if shown.seeds == 1 else f"{shown.seeds} calibration seeds"
    if not isfinite(shown.detectable):
        return f"{text} and {of_seeds} show no difference: too few of the items would be scored differently."
    told = (
        f"{text} and {of_seeds} show a difference of {_points(shown.detectable)} points on average, or a larger one, "
        f"with {percent(POWER, 0)} probability"
    )
    if shown.seeds == 1:
        return f"{told}. The seed's own noise comes on top: no number of items averages it out."
    return f"{told}; where there is none, they rule out one of {_points(shown.excluded)} points."


def needed_in_words(
    needed_plan: Plan | None, target: float, tasks: Sequence[TaskItems], noise: Noise, tests: int
) -> str:
    """Tell what a difference of `target` needs, in one sentence."""
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
    """Tell the noise a plan goes by, and where it is from."""
    return (
        f"Noise {noise.source}: two runs score {percent(noise.disagreement, 1)} of the items differently, the "
        "correlation "
        f"within a cluster is {noise.alike:.2f}, and seeds spread the difference by {_points(noise.seed_spread)} "
        "points."
    )


def _points(value: float) -> str:
    """Return a share in points, two digits where it is small, rounded up so that no more is promised than holds."""
    digits = 1 if value >= 0.01 else 2
    return f"{ceil(round(value * 100 * 10**digits, 6)) / 10**digits:g}"
