"""Honest numbers for accuracies: intervals for one model, paired differences, tests, and what they say in words.

Items are the sample; differences between models are taken item by item. Formulas are scipy's and statsmodels'.
Tests are for the number of items fixed before the start: looking again and again while items come in would find
differences by chance. Until then there are intervals alone, labelled interim.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over n items with its interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """First minus second model on the same n items. only_first, only_second: items that one alone has right.

    final: whether n is the number of items fixed before the start. p: exact McNemar p, None until then and for what is
    not right or wrong. p_holm: after Holm over the benchmarks.
    """

    value: float
    low: float
    high: float
    n: int
    only_first: int
    only_second: int
    p: float | None = None
    p_holm: float | None = None
    final: bool = True

    @property
    def words(self) -> str:
        """What is shown, in words."""
        return verdict(self)


def is_binary(values: np.ndarray) -> bool:
    """Whether values are right or wrong."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def estimate(values: np.ndarray) -> Estimate:
    """Accuracy with its Wilson interval; for scores that are not right or wrong, the mean with Student's interval."""
    values = np.asarray(values, float)
    count = len(values)
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0)
    if is_binary(values):
        low, high = wilson(np.array([values.sum()]), np.array([count]))
        return Estimate(float(values.mean()), float(low[0]), float(high[0]), count)
    low, high = _student(values)
    return Estimate(float(values.mean()), low, high, count)


def wilson(right: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's intervals for counts of right answers (N,) out of items (N,)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.asarray(right), np.asarray(items), alpha=1 - LEVEL, method="wilson")
    return np.asarray(low), np.asarray(high)


def reach(items: np.ndarray) -> np.ndarray:
    """Half an interval where no item of so many differs from the rest: Wilson's upper end for none of n, (N,)."""
    return wilson(np.zeros(len(items)), items)[1]


def difference(first: np.ndarray, second: np.ndarray, test: bool) -> Difference:
    """First minus second on the same items, with Student's interval of the paired differences.

    Where no item differs there is no spread to go by; then the interval is as wide as the share of differing items
    could be (Wilson's upper end for none of n). test: whether the number of items is the one fixed before the start.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} scores are not of the same items")
    differences = first - second
    count = len(differences)
    if not count:
        return Difference(np.nan, np.nan, np.nan, 0, 0, 0, final=False)
    low, high = _student(differences)
    only_first, only_second = int((differences > 0).sum()), int((differences < 0).sum())
    binary = is_binary(first) and is_binary(second)
    p = mcnemar(only_first, only_second) if test and binary else None
    return Difference(float(differences.mean()), low, high, count, only_first, only_second, p, final=test)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p of items that one model alone has right."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    return float(test([[0, only_first], [only_second, 0]], exact=True).pvalue)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p for a family of tests; None stays None and does not count."""
    from statsmodels.stats.multitest import multipletests

    there = [p for p in ps if p is not None]
    if not there:
        return list(ps)
    adjusted = iter(multipletests(there, method="holm")[1].tolist())
    return [None if p is None else next(adjusted) for p in ps]


def average(samples: Sequence[np.ndarray]) -> Estimate:
    """The mean of the benchmarks' means with its normal interval, items being independent.

    samples: one array of scores, or of paired differences, a benchmark.
    """
    from scipy import stats

    rows = [np.asarray(row, float) for row in samples if len(row) > 1]
    if not rows:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean = float(np.mean([row.mean() for row in rows]))
    normal = float(stats.norm.ppf(0.5 + LEVEL / 2))
    squares = [
        row.var(ddof=1) / len(row) if np.ptp(row) else float(reach(np.array([len(row)]))[0] / normal) ** 2
        for row in rows
    ]
    half = normal * float(np.sqrt(sum(squares))) / len(rows)
    return Estimate(mean, mean - half, mean + half, sum(len(row) for row in rows))


def verdict(one: Difference) -> str:
    """What a difference shows, in words."""
    if not one.n:
        return "no common items yet"
    side = "better" if one.value > 0 else "worse"
    by_interval = "no difference shown" if one.low <= 0 <= one.high else side
    if not one.final:
        return f"interim: {by_interval} so far"
    if one.p is None:
        return by_interval
    p = one.p if one.p_holm is None else one.p_holm
    return side if p < 1 - LEVEL else "no difference shown"


def _student(values: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    if len(values) < 2 or np.ptp(values) == 0:
        half = float(reach(np.array([len(values)]))[0])
        return float(values.mean()) - half, float(values.mean()) + half
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)
