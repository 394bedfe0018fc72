"""Honest numbers for accuracies: intervals for one model, paired differences, and tests.

Clusters of items are the sample: items that share a passage, a subject or a key have correlated answers, so n of them
are less informative than n unrelated items. Standard errors are clustered (Miller, Adding Error Bars to Evals, arXiv
2411.00640); if every item is its own cluster they are the usual ones. Differences between models are taken item by
item.

Tests are for the number of items fixed before the start: repeated looks while items come in would find differences by
chance. Until then there are only intervals, labelled interim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from analysis.statistics.differences import LEVEL, Difference

FEW = 30
"""With fewer differing clusters, p is the larger of Student's and the sign flip's, which is exact if a cluster's
difference is as likely to have either sign. With 30 and more, Student's rejects 4.7 to 5.3 % of such cases at 5 %; with
10, 4 %, and at 0.5 % a tenth to a fifth of it (20,000 draws each, 12 to 200 clusters, geometric sizes).
"""
NO_SPREAD = 1e-12  # relative to the variance of items; less is rounding error
FLIPS = 2**12  # seeded draws of signs; up to 12 differing clusters use all combinations, so that p is exact
ByTask = Sequence[np.ndarray]
"""One array per benchmark."""
Ends = TypeVar("Ends", float, np.ndarray)


@dataclass(frozen=True)
class Estimate:
    """Mean over n items in a number of clusters, with its interval."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


def is_binary(values: np.ndarray) -> bool:
    """Return True if all values are 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def estimate(values: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Accuracy with its interval. values, clusters: a score and the name or number of its cluster an item, (items,).

    Of answers that are right or wrong it is Wilson's at the effective number of items (`effective_items`); of other
    scores Student's, with a clustered standard error.
    """
    mean = clustered_mean(values, clusters)
    if not mean.items:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    if is_binary(values):
        effective = effective_items(*(np.array([number]) for number in mean.numbers))
        low, high = (float(end[0]) for end in wilson(mean.value * effective, effective))
    else:
        low, high = inside(mean.value - mean.half, mean.value + mean.half, np.asarray(values, float), 0)
    return Estimate(mean.value, low, high, mean.items, mean.clusters)


def as_json(estimate: object) -> dict[str, Any]:
    """Return the numbers of an estimate or a difference by name, with None for non-finite ones."""
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
    """Return half an interval if none of n items differs from the rest: Wilson's upper end for 0 of n, (N,)."""
    return wilson(np.zeros(len(items)), items)[1]


# --- clustered means --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClusteredMean:
    """A mean over items in clusters.

    variance: of the mean, clustered; NaN if no two clusters differ, as there is then no spread to estimate it from.
    unlike: number of equally informative single-item clusters if all items of a cluster were alike, (Σ n)² / Σ n²
    (Kish). sums: of the values over each cluster, (clusters,).
    """

    value: float
    variance: float
    items: int
    clusters: int
    unlike: float
    sums: np.ndarray

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """The arguments of `effective_items`."""
        return self.value, self.variance, self.items, self.clusters, self.unlike

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance; infinite where there is no spread, as then it is `reach`'s."""
        return np.inf if np.isnan(self.variance) else self.clusters - 1

    @property
    def half(self) -> float:
        """Half its interval: Student's with the clusters' degrees of freedom, `reach` where there is no spread."""
        if np.isnan(self.variance):
            return float(reach(np.array([self.unlike]))[0])
        return float(student_quantile(self.clusters - 1) * np.sqrt(self.variance))


def clustered_mean(values: np.ndarray, clusters: np.ndarray) -> ClusteredMean:
    """The mean of values (items,) in clusters (items,), with the cluster-robust variance of an intercept.

    It is G / (G − 1) · Σ_g (Σ_{i∈g} (x_i − x̄))² / n² (Miller, equation 4), as statsmodels has it. Raises
    ValueError where values and clusters are not of the same items.
    """
    values = np.asarray(values, float)
    if np.shape(values) != np.shape(clusters):
        raise ValueError(f"{np.shape(values)} scores and {np.shape(clusters)} clusters are not of the same items")
    if not len(values):
        return ClusteredMean(np.nan, np.nan, 0, 0, 0.0, values)
    _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    variance = np.nan
    if len(sizes) > 1 and np.ptp(values):
        of_clusters = np.bincount(codes, weights=values - values.mean())
        variance = float(len(sizes) / (len(sizes) - 1) * (of_clusters @ of_clusters) / len(values) ** 2)
        if variance <= NO_SPREAD * values.var():
            variance = np.nan
    unlike = len(values) ** 2 / float((sizes.astype(float) ** 2).sum())
    sums = np.bincount(codes, weights=values)
    return ClusteredMean(float(values.mean()), variance, len(values), len(sizes), unlike, sums)


def effective_items(
    share: np.ndarray, variance: np.ndarray, items: np.ndarray, clusters: np.ndarray, unlike: np.ndarray
) -> np.ndarray:
    """Return the number of equally informative single-item clusters for a share, (N,); arguments as in `ClusteredMean`.

    n divided by the design effect, the clustered variance over that of unrelated items and never below 1, and by the
    square of the ratio of Student's quantiles with G − 1 and n − 1 degrees of freedom (Korn and Graubard, Survey
    Methodology 24, 1998). With single-item clusters it is n. Without spread, `unlike`.
    """
    with np.errstate(all="ignore"):
        design = np.maximum(variance / (share * (1 - share) / (items - 1)), 1)
        wider = student_quantile(clusters - 1) / student_quantile(items - 1)
        effective = items / design / wider**2
    return np.where(np.isfinite(effective), effective, unlike)


# --- differences ------------------------------------------------------------------------------------------------


_NO_ITEMS = Difference(np.nan, np.nan, np.nan, 0, 0, final=False)


def difference(first: np.ndarray, second: np.ndarray, clusters: np.ndarray, test: bool) -> Difference:
    """Return first minus second on the same items, (items,) each, with Student's interval of the clustered mean
    difference.

    Without spread, as when no item differs, the interval is as wide as the share of differing items could be (`reach`).
    For scores from 0 to 1 it is clipped to −1 and 1, the limits of a difference. test: True if the number of items is
    the one fixed before the start. p is McNemar's exact if answers are right or wrong and each item is its own cluster;
    else Student's, and if fewer than `FEW` clusters differ the larger of it and that of the sign flip over clusters, of
    which McNemar's is a special case.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} scores are not of the same items")
    differences = first - second
    mean = clustered_mean(differences, clusters)
    if not mean.items:
        return _NO_ITEMS
    p = None
    if test:
        only = int((differences > 0).sum()), int((differences < 0).sum())
        if mean.clusters == mean.items and is_binary(first) and is_binary(second):
            p = mcnemar(*only)
        else:
            p = p_value(mean.value, mean.variance, mean.clusters - 1, mean.sums)
    variance = mean.variance if np.isfinite(mean.variance) else (mean.half / normal_quantile()) ** 2
    return _difference(mean, variance, differences, p, test)


def _difference(
    mean: "ClusteredMean | MeanOfMeans", variance: float, differences: np.ndarray, p: float | None, test: bool
) -> Difference:
    low, high = inside(mean.value - mean.half, mean.value + mean.half, differences, -1)
    return Difference(
        mean.value,
        low,
        high,
        len(differences),
        mean.clusters,
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        p,
        final=test,
        cluster_variance=variance,
        cluster_freedom=finite(mean.freedom),
    )


def finite(freedom: float) -> float | None:
    """Degrees of freedom as `Difference` keeps them: None where they are infinite."""
    return freedom if np.isfinite(freedom) else None


def p_value(value: float, variance: float, freedom: float, shares: np.ndarray) -> float:
    """Return the two-sided p of a mean difference: Student's with these degrees of freedom, and `where_few` for few
    clusters.

    shares: as for `where_few`. If the variance is NaN, only the sign flip is used.
    """
    from scipy.special import stdtr

    if np.isnan(variance):
        return sign_flip(shares)
    return where_few(float(2 * stdtr(freedom, -abs(value) / np.sqrt(variance))), shares)


def where_few(p: float, shares: np.ndarray) -> float:
    """Return the larger of a p and the sign flip's if fewer than `FEW` clusters differ, otherwise the p.

    shares: contribution of each cluster to the difference, in any unit, (clusters,).
    """
    return max(p, sign_flip(shares)) if np.count_nonzero(shares) < FEW else p


def sign_flip(shares: np.ndarray) -> float:
    """Return the two-sided p of the sum of the clusters' contributions, (clusters,), if each had either sign.

    Exact if up to 12 clusters differ, else by seeded draws.
    """
    from scipy import stats

    differing = np.asarray(shares, float)[np.asarray(shares) != 0]
    if len(differing) < 2:
        return 1.0

    def total(values: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(values.sum(axis=axis))

    test = stats.permutation_test(
        (differing,), total, permutation_type="samples", vectorized=True, n_resamples=FLIPS, rng=0
    )
    return float(test.pvalue)


def inside(low: Ends, high: Ends, values: np.ndarray, least: float) -> tuple[Ends, Ends]:
    """Clip interval ends to `least` and 1 if all values lie between them: so does the mean, and nothing is lost.

    least: 0 for scores, −1 for differences. Scores on other scales are left as they are.
    """
    if not len(values) or values.min() < least or values.max() > 1:
        return low, high
    return np.maximum(low, least), np.minimum(high, 1.0)  # floats of NumPy are floats


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p of items that one model alone has right."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    return float(test([[0, only_first], [only_second, 0]], exact=True).pvalue)


def average(scores: ByTask, clusters: ByTask) -> Estimate:
    """Return the mean of the benchmarks' means, equally weighted, with its interval (`mean_of_means`).

    scores, clusters: one array per benchmark, (its items,) each. Clusters of different benchmarks are unrelated.
    """
    means = _several(scores, clusters)
    if not means:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    whole = mean_of_means(means)
    low, high = inside(whole.value - whole.half, whole.value + whole.half, np.concatenate(scores), 0)
    return Estimate(whole.value, low, high, whole.items, whole.clusters)


def average_difference(differences: ByTask, clusters: ByTask, test: bool) -> Difference:
    """Return the mean of the benchmarks' mean paired differences, with its interval and its p.

    differences: first minus second on the same items, one array per benchmark; clusters: as for `average`. test: as for
    `difference`. p: Student's, and the larger of it and the sign flip's if fewer than `FEW` clusters differ.
    """
    means = _several(differences, clusters)
    if not means:
        return _NO_ITEMS
    whole = mean_of_means(means)
    every = np.concatenate([row for row in differences if len(row) > 1])
    p = p_value(whole.value, whole.variance, whole.freedom, whole.shares) if test else None
    return _difference(whole, whole.variance, every, p, test)


@dataclass(frozen=True)
class MeanOfMeans:
    """Mean over benchmarks. freedom: degrees of its variance. shares: contribution of each cluster, (clusters,)."""

    value: float
    variance: float
    freedom: float
    shares: np.ndarray
    items: int
    clusters: int

    @property
    def half(self) -> float:
        """Half its interval, Student's."""
        return float(student_quantile(self.freedom) * np.sqrt(self.variance))


def mean_of_means(means: Sequence[ClusteredMean]) -> MeanOfMeans:
    """Return the equally weighted mean of the benchmarks' means.

    Their variances add up, and the degrees of freedom are Satterthwaite's, (Σ v)² / Σ v² / (G − 1). A benchmark without
    spread adds the variance by `reach`.
    """
    spread = [not np.isnan(mean.variance) for mean in means]
    variances = np.array(
        [
            mean.variance if known else (mean.half / normal_quantile()) ** 2
            for mean, known in zip(means, spread, strict=True)
        ]
    )
    estimated = sum(
        variance**2 / (mean.clusters - 1)
        for mean, variance, known in zip(means, variances, spread, strict=True)
        if known
    )
    return MeanOfMeans(
        float(np.mean([mean.value for mean in means])),
        float(variances.sum()) / len(means) ** 2,
        float(variances.sum() ** 2 / estimated) if estimated else np.inf,
        np.concatenate([mean.sums / mean.items / len(means) for mean in means]),
        sum(mean.items for mean in means),
        sum(mean.clusters for mean in means),
    )


def _several(values: ByTask, clusters: ByTask) -> list[ClusteredMean]:
    """The clustered means of the benchmarks that have more than one item."""
    return [clustered_mean(row, of) for row, of in zip(values, clusters, strict=True) if len(row) > 1]


def student_quantile(freedom: float | np.ndarray) -> Any:
    """The quantile of Student's distribution that half a 95 % interval has, of each number of degrees of freedom."""
    from scipy.special import stdtrit  # SciPy's own distributions take longer to import than a page to draw

    return stdtrit(freedom, 0.5 + LEVEL / 2)


def normal_quantile() -> float:
    """The quantile of the standard normal distribution that half a 95 % interval has."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + LEVEL / 2))
