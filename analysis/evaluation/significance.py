"""Honest numbers for accuracies: intervals for one model, paired differences, tests, and what they say in words.

Items are the sample; differences between models are taken item by item. Formulas are scipy's and statsmodels'.
Tests are for the number of items fixed before the start: looking again and again while items come in would find
differences by chance. Until then there are intervals alone, labelled interim. All tests that are looked at together are
one family, adjusted by Holm, and every verdict goes by the adjusted p.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

LEVEL = 0.95
Ends = TypeVar("Ends", float, np.ndarray)
SHOWN = ("better", "worse")  # the verdicts that say that there is a difference


@dataclass(frozen=True)
class Estimate:
    """A mean over n items with its interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """First minus second model on the same n items. only_first, only_second: items on which one alone scores higher.

    final: whether n is the number of items fixed before the start. p: two-sided, None until then. p_holm: after Holm
    over all that is tested together.
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

    @property
    def shown(self) -> bool:
        """Whether a difference is shown."""
        return self.words in SHOWN


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
        lows, highs = wilson(np.array([values.sum()]), np.array([count]))
        return Estimate(float(values.mean()), float(lows[0]), float(highs[0]), count)
    low, high = inside(*_student(values), values, 0)
    return Estimate(float(values.mean()), float(low), float(high), count)


def as_json(estimate: Estimate | Difference) -> dict[str, Any]:
    """Its numbers by name, None for what is not finite."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in vars(estimate).items()
    }


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
    could be (Wilson's upper end for none of n). Of scores from 0 to 1 it ends at −1 and 1, beyond which no difference
    lies. test: whether the number of items is the one fixed before the start. p is McNemar's exact for answers that are
    right or wrong, else that of the paired t-test.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} scores are not of the same items")
    differences = first - second
    count = len(differences)
    if not count:
        return Difference(np.nan, np.nan, np.nan, 0, 0, 0, final=False)
    low, high = inside(*_student(differences), differences, -1)
    only_first, only_second = int((differences > 0).sum()), int((differences < 0).sum())
    p = None
    if test:
        binary = is_binary(first) and is_binary(second)
        p = mcnemar(only_first, only_second) if binary or not np.ptp(differences) else _student_p(differences)
    return Difference(float(differences.mean()), float(low), float(high), count, only_first, only_second, p, final=test)


def inside(low: Ends, high: Ends, values: np.ndarray, least: float) -> tuple[Ends, Ends]:
    """Interval ends, cut at `least` and 1 where all values lie between: a mean lies there, too, so nothing is lost.

    least: 0 of scores, −1 of differences. Scores on a scale of their own are left as they are.
    """
    if not len(values) or values.min() < least or values.max() > 1:
        return low, high
    return np.maximum(low, least), np.minimum(high, 1.0)  # floats of NumPy are floats


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


def average(scores: Sequence[np.ndarray]) -> Estimate:
    """The mean of the benchmarks' means with its normal interval, items being independent. scores: one array each."""
    rows = [np.asarray(row, float) for row in scores if len(row) > 1]
    if not rows:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean, half = _mean_of_means(rows)
    low, high = inside(mean - half, mean + half, np.concatenate(rows), 0)
    return Estimate(mean, float(low), float(high), sum(len(row) for row in rows))


def average_difference(differences: Sequence[np.ndarray], test: bool) -> Difference:
    """The mean of the benchmarks' mean paired differences, with its normal interval and the p that goes with it.

    differences: first minus second on the same items, one array a benchmark. test: as of `difference`.
    """
    from scipy import stats

    rows = [np.asarray(row, float) for row in differences if len(row) > 1]
    if not rows:
        return Difference(np.nan, np.nan, np.nan, 0, 0, 0, final=False)
    every = np.concatenate(rows)
    mean, half = _mean_of_means(rows)
    p = float(2 * stats.norm.sf(abs(mean) / half * _normal())) if test else None
    low, high = inside(mean - half, mean + half, every, -1)
    only_first, only_second = int((every > 0).sum()), int((every < 0).sum())
    return Difference(mean, float(low), float(high), len(every), only_first, only_second, p, final=test)


def _mean_of_means(rows: Sequence[np.ndarray]) -> tuple[float, float]:
    """The mean of the rows' means, and half its normal interval."""
    squares = [
        row.var(ddof=1) / len(row) if np.ptp(row) else float(reach(np.array([len(row)]))[0] / _normal()) ** 2
        for row in rows
    ]
    return float(np.mean([row.mean() for row in rows])), _normal() * float(np.sqrt(sum(squares))) / len(rows)


def verdict(one: Difference) -> str:
    """What a difference shows, in words: by its p where it is tested, by its interval while items come in."""
    if not one.n:
        return "no common items yet"
    side = "better" if one.value > 0 else "worse"
    if one.p is None:
        shown = "no difference shown" if one.low <= 0 <= one.high else side
        return f"interim: {shown} so far"
    p = one.p if one.p_holm is None else one.p_holm
    return side if p < 1 - LEVEL else "no difference shown"


def p_words(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def points(value: float) -> str:
    """A signed difference of shares in percentage points, as `−1.2`."""
    return f"{100 * value:+.1f}".replace("-", "−")


def _normal() -> float:
    from scipy import stats

    return float(stats.norm.ppf(0.5 + LEVEL / 2))


def _student_p(values: np.ndarray) -> float:
    from scipy import stats

    return float(stats.ttest_1samp(values, 0.0).pvalue)


def _student(values: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    if len(values) < 2 or np.ptp(values) == 0:
        half = float(reach(np.array([len(values)]))[0])
        return float(values.mean()) - half, float(values.mean()) + half
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)
