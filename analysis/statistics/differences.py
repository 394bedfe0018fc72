"""One difference of two models or conditions: its value, its certainty, and its meaning in words.

All comparisons (accuracies item by item, methods over calibration seeds, prompts with and without their sinks) are a
`Difference`. All tests that are read together are one family, adjusted by Holm, and every verdict uses the adjusted p
and the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

LEVEL = 0.95
POWER = 0.8  # probability that a difference called detectable is significant
AT_CHANCE = "accuracy is not above chance"
SHOWN = ("better", "worse")  # the verdicts that state a difference


@dataclass(frozen=True)
class Difference:
    """First minus second on the same n items or prompts, with its 95 % interval. A share, or in the measure's own unit.

    only_first, only_second: items on which only that one scores higher. p: two-sided; None while items are missing, and
    if nothing is tested. p_holm: adjusted over its family, which has `tests` tests. final: True if n is the number of
    items fixed before the start. above_chance: False if the dense model answers no better than chance, so that there is
    no verdict. seeds: calibration seeds crossed with the clusters, 0 if there are none.

    cluster_variance, seed_variance: of the difference, with the degrees of freedom of each (None: known exactly).
    shared_variance: their interaction, which both contain. None if it cannot be estimated: with one seed, whose noise
    the interval then leaves out.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    only_first: int = 0
    only_second: int = 0
    p: float | None = None
    p_holm: float | None = None
    final: bool = True
    above_chance: bool = True
    tests: int = 1
    seeds: int = 0
    cluster_variance: float | None = None
    cluster_freedom: float | None = None
    seed_variance: float | None = None
    seed_freedom: float | None = None
    shared_variance: float | None = None

    @property
    def words(self) -> str:
        """The verdict in words."""
        return verdict(self)

    @property
    def shown(self) -> bool:
        """True if it is significant: by its adjusted p, and by its interval."""
        return self.words in SHOWN

    @property
    def holds_seeds(self) -> bool:
        """True if the interval includes the noise of the calibration seed."""
        return self.seed_variance is not None

    @property
    def adjusted(self) -> float | None:
        """The p that verdicts go by."""
        return self.p if self.p_holm is None else self.p_holm

    @property
    def parts(self) -> list[tuple[float, float]]:
        """The independent parts of its variance with their degrees of freedom: clusters alone, then seeds."""
        if self.cluster_variance is None:
            return []
        alone = self.cluster_variance
        if self.seed_variance:
            alone = max(alone - (self.shared_variance or 0.0), 0.0)
        both = [(alone, self.cluster_freedom), (self.seed_variance, self.seed_freedom)]
        return [(part, np.inf if freedom is None else freedom) for part, freedom in both if part is not None]

    @property
    def standard_error(self) -> float:
        """The root of its variance; NaN where that is not known."""
        return float(np.sqrt(sum(part for part, _ in self.parts))) if self.parts else np.nan

    def half(self, level: float) -> float:
        """Half the interval that misses with this probability; NaN where the variance is not known."""
        return half_interval(self.parts, level) if self.parts else np.nan

    @property
    def family_level(self) -> float:
        """The level that is left for this test where all of its family share 5 % (Bonferroni)."""
        return (1 - LEVEL) / self.tests

    def within(self, margin: float) -> bool:
        """Return True if it is equivalent to 0: its interval at the family's level lies between −margin and margin."""
        half = self.half(self.family_level)
        return bool(-margin < self.value - half and self.value + half < margin)

    def detectable(self) -> float:
        """The true difference that is significant at the family's level with a probability of `POWER`."""
        from scipy.special import ndtri

        return self.half(self.family_level) + float(ndtri(POWER)) * self.standard_error


def half_interval(parts: Sequence[tuple[float, float]], level: float) -> float:
    """Half an interval that misses with this probability, from independent variances with their degrees of freedom.

    Each variance has its own Student quantile (Banerjee, Sankhya 22, 1960).
    """
    from scipy.special import ndtri, stdtrit

    quantiles = [stdtrit(freedom, level / 2) if np.isfinite(freedom) else ndtri(level / 2) for _, freedom in parts]
    return float(np.sqrt(sum(part * quantile**2 for (part, _), quantile in zip(parts, quantiles, strict=True))))


def in_family(differences: Sequence[Difference], planned: int = 0) -> list[Difference]:
    """Return the differences, adjusted by Holm as one family of tests.

    planned: the tests that the family will have. Those still missing count as p = 1, so that current significance lasts
    when they arrive.
    """
    ps = [difference.p for difference in differences]
    tests = max(planned, sum(p is not None for p in ps), 1)
    adjusted = holm([*ps, *[1.0] * (tests - sum(p is not None for p in ps))])
    return [replace(difference, p_holm=p, tests=tests) for difference, p in zip(differences, adjusted, strict=False)]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p for a family of tests; None stays None and does not count.

    The k-th smallest of m is multiplied by m − k + 1, and none is below a smaller one's (Holm, Scandinavian Journal of
    Statistics 6, 1979). statsmodels gives the same, and collects all garbage of the process each time.
    """
    there = np.array([p for p in ps if p is not None])
    order = np.argsort(there, kind="stable")
    adjusted = np.empty(len(there))
    adjusted[order] = np.minimum(np.maximum.accumulate(there[order] * np.arange(len(there), 0, -1)), 1.0)
    found = iter(adjusted.tolist())
    return [None if p is None else next(found) for p in ps]


def verdict(tested: Difference) -> str:
    """Return the verdict on a difference: by p and interval once it is tested, by its interval alone while items come
    in; no verdict if the dense model is at chance.
    """
    if not tested.n:
        return "no common items yet"
    if not tested.above_chance:
        return f"{'no verdict' if tested.final else 'interim'}: {AT_CHANCE}"
    side = "better" if tested.value > 0 else "worse"
    told = "not significant" if tested.low <= 0 <= tested.high else side
    if tested.adjusted is None:
        return "not tested" if tested.final else f"interim: {told} so far"
    return told if tested.adjusted < 1 - LEVEL else "not significant"


def points(value: float) -> str:
    """A signed difference of shares in percentage points, as `−1.2`."""
    return f"{100 * value:+.1f}".replace("-", "−")


def flipped(gap: Difference) -> Difference:
    """Return the second minus the first."""
    return replace(gap, value=-gap.value, low=-gap.high, high=-gap.low)
