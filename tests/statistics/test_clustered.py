"""Statistics of accuracies: known values, coverage, and words that never say more than is shown."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import clustered
from analysis.statistics.clustered import difference, estimate, mcnemar
from analysis.statistics.differences import Difference, holm, points, verdict


def test_wilson_by_its_formula():
    right, items, z = 17, 40, 1.959963984540054
    share = right / items
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z / (1 + z**2 / items) * math.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    one = estimate(np.array([1.0] * right + [0.0] * (items - right)), np.arange(items))
    assert (one.value, one.low, one.high, one.n) == pytest.approx((share, centre - half, centre + half, items))


def test_effective_items_are_korn_and_graubards():
    """100 items in 20 clusters, the variance twice that of unrelated ones: 100/2 · (t₉₉ / t₁₉)² at 97.5 %."""
    share, items, clusters = 0.5, 100, 20
    variance = 2 * share * (1 - share) / (items - 1)
    found = clustered.effective_items(*(np.array([number]) for number in (share, variance, items, clusters, 7.0)))
    assert found == pytest.approx(items / 2 * (1.9842169 / 2.0930241) ** 2, rel=1e-6)
    apart = clustered.effective_items(*(np.array([number]) for number in (share, variance / 8, items, items, 7.0)))
    assert apart == pytest.approx(items), "never more than there are"
    alike = clustered.effective_items(*(np.array([number]) for number in (1.0, np.nan, items, clusters, 7.0)))
    assert alike == 7, "without spread as if a cluster were one item"


@given(st.integers(2, 30), st.integers(0, 2**31))
def test_the_clustered_variance_is_that_of_a_regression_on_an_intercept(items, number):
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(number)
    values, of = rng.random(items), rng.integers(0, 9, items)
    found = clustered.clustered_mean(values, of)
    if found.clusters > 1:
        groups = {"groups": np.unique(of, return_inverse=True)[1]}
        fit = OLS(values, np.ones(items)).fit(cov_type="cluster", cov_kwds=groups, use_t=True)
        assert found.variance == pytest.approx(float(fit.cov_params()[0, 0]))


def test_mcnemar_is_the_binomial_test():
    """Two-sided: twice the tail of Binomial(12, 1/2) at 2."""
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert mcnemar(2, 10) == pytest.approx(2 * tail)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(10, 2) == mcnemar(2, 10)


def test_holm_leaves_out_what_is_not_tested():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(ps):
    """A hypothesis goes where every intersection with it goes (Marcus, Peritz and Gabriel, 1976)."""
    places = range(len(ps))
    sets = [set(some) for size in range(1, len(ps) + 1) for some in combinations(places, size)]
    bonferroni = [min(1.0, len(some) * min(ps[at] for at in some)) for some in sets]
    closed = [max(p for some, p in zip(sets, bonferroni, strict=True) if at in some) for at in places]
    assert holm(ps) == pytest.approx(closed)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_differences_are_antisymmetric_and_inside_their_interval(rows):
    first, second = np.array(rows, float).T
    own = np.arange(len(first))
    one, other = difference(first, second, own, True), difference(second, first, own, True)
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.low <= one.value <= one.high
    assert one.low < one.high
    assert (one.only_first, one.only_second) == (other.only_second, other.only_first)
    assert one.p == other.p


def test_no_differing_item_is_no_proof_of_equality():
    same = np.array([1.0, 0.0, 1.0, 1.0])
    one = difference(same, same, np.arange(4), True)
    assert one.value == 0
    assert one.high > 0.3
    assert one.words == "not significant"


def test_paired_intervals_cover():
    """Of 400 pairs of correlated models with a true difference of 0.1, about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        easy = rng.random(300)
        first, second = (easy < 0.7).astype(float), (easy + rng.normal(0, 1e-9, 300) < 0.6).astype(float)
        flip = rng.random(300) < 0.2
        second[flip] = rng.random(flip.sum()) < 0.6
        first[flip] = rng.random(flip.sum()) < 0.7
        one = difference(first, second, np.arange(300), False)
        hits += one.low <= 0.1 <= one.high
    assert 0.92 < hits / 400 < 0.98


def test_words():
    far = Difference(0.2, 0.1, 0.3, 100, 100, 25, 5, p=0.001, p_holm=0.01)
    assert verdict(far) == "better"
    assert verdict(Difference(0.2, 0.1, 0.3, 100, 100, 25, 5, p=0.02, p_holm=0.12)) == "not significant"
    assert verdict(Difference(-0.2, -0.3, -0.1, 100, 100, 5, 25, p=0.001)) == "worse"
    assert verdict(Difference(-0.2, -0.3, -0.1, 100, 100, 5, 25, final=False)) == "interim: worse so far"
    assert verdict(Difference(0.0, -0.1, 0.1, 100, 100, 5, 5, final=False)) == "interim: not significant so far"
    assert verdict(difference(np.zeros(0), np.zeros(0), np.zeros(0), True)) == "no common items yet"


def test_no_test_before_all_items_are_in():
    first, second, own = np.ones(40), np.zeros(40), np.arange(40)
    assert difference(first, second, own, test=False).p is None
    assert difference(first, second, own, test=True).p < 1e-9
    shares = difference(first - 0.5, second + 0.25 * (np.arange(40) % 2), own, test=True)  # not right or wrong
    assert shares.p < 1e-9
    assert shares.words == "better"


def test_scores_that_are_not_right_or_wrong_are_tested_as_their_interval_says():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.1, 0.2):
        first, second = rng.random(30), rng.random(30) - shift
        one = difference(first, second, np.arange(30), test=True)
        assert (one.p < 0.05) == (not one.low <= 0 <= one.high)
    alike = difference(np.full(9, 0.5), np.full(9, 0.25), np.arange(9), test=True)
    assert alike.p == pytest.approx(2 / 2**9)  # no spread: by signs


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=4))
def test_intervals_end_where_differences_do(tasks):
    """However few the items: no difference of shares lies beyond −1 and 1, and no share beyond 0 and 1."""
    pairs = [np.array(rows, float).T for rows in tasks]
    own = [np.arange(len(first)) for first, _ in pairs]
    singles = [difference(first, second, of, True) for (first, second), of in zip(pairs, own, strict=True)]
    mean = clustered.average_difference([first - second for first, second in pairs], own, True)
    for one in [*singles, mean]:
        if one.n:
            assert -1 <= one.low <= one.value <= one.high <= 1
            assert one.low < one.high
            assert one.p >= 0.05 or not one.low <= 0 <= one.high
    accuracy = clustered.average([first for first, _ in pairs], own)
    assert not accuracy.n or 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


def test_few_items_that_reached_beyond_one():
    """Seven of eight won: Student's interval alone is [+0.58, +1.17]."""
    one = difference(np.ones(8), np.array([0.0] * 7 + [1.0]), np.arange(8), True)
    assert one.value == 0.875
    assert one.low == pytest.approx(0.579, abs=1e-3)
    assert one.high == 1.0


def test_scores_on_a_scale_of_their_own_are_not_cut():
    one = difference(np.array([10.0, 30, 50]), np.array([5.0, 10, 20]), np.arange(3), True)
    assert one.high > 18.4
    assert clustered.average([np.array([10.0, 90.0])], [np.arange(2)]).high > 90


def test_words_for_numbers():
    assert points(-0.0123) == "−1.2"
    assert points(0.5) == "+50.0"


def test_scores_of_different_items_are_refused():
    with pytest.raises(ValueError, match="same items"):
        difference(np.ones(3), np.ones(4), np.arange(3), True)


def test_average_weighs_benchmarks_equally():
    rng = np.random.default_rng(1)
    small, large = (rng.random(50) < 0.9).astype(float), (rng.random(1000) < 0.5).astype(float)
    own = [np.arange(50), np.arange(1000)]
    one = clustered.average([small, large], own)
    assert one.value == pytest.approx((small.mean() + large.mean()) / 2)
    spread = math.sqrt(small.var(ddof=1) / 50 + large.var(ddof=1) / 1000) / 2
    squares = [small.var(ddof=1) / 50, large.var(ddof=1) / 1000]
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 49 + squares[1] ** 2 / 999)
    assert one.high - one.low == pytest.approx(2 * stats.t.ppf(0.975, freedom) * spread, rel=1e-9)
    assert (one.n, one.clusters) == (1050, 1050)
    assert clustered.average([], []).n == 0
    sure = clustered.average([np.ones(20), np.ones(30)], [np.arange(20), np.arange(30)])
    assert sure.low < 0.95


# --- clusters ---------------------------------------------------------------------------------------------------

scores_in_clusters = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 6)), min_size=2, max_size=60)


@given(scores_in_clusters)
def test_the_clustered_variance_is_millers(rows):
    """Equation 4 of arXiv 2411.00640, with the factor G / (G − 1) for few clusters."""
    values, _, clusters = np.array(rows, float).T
    mean = clustered.clustered_mean(values, clusters)
    rest = values - values.mean()
    together = sum(rest[i] * rest[j] for i in range(len(rest)) for j in range(len(rest)) if clusters[i] == clusters[j])
    count = len(set(clusters))
    if count == 1 or together < 1e-9:
        assert np.isnan(mean.variance)
        assert mean.half > 0.05
    else:
        assert mean.variance == pytest.approx(together / len(rest) ** 2 * count / (count - 1), rel=1e-6)
    assert mean.sums.sum() == pytest.approx(values.sum())
    assert 1 <= mean.unlike <= mean.clusters <= mean.items


@given(scores_in_clusters)
def test_items_of_their_own_give_what_item_wise_formulas_give(rows):
    first, second, _ = np.array(rows, float).T
    count, own = len(rows), np.array([f"item {number}" for number in range(len(rows))])
    one = difference(first, second, own, True)
    assert one.clusters == one.n == count
    assert one.p == mcnemar(one.only_first, one.only_second)
    if np.ptp(first - second):
        interval = stats.ttest_rel(first, second).confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx((max(interval.low, -1), min(interval.high, 1)))
    low, high = clustered.wilson(np.array([first.sum()]), np.array([count]))
    accuracy = estimate(first, own)
    assert (accuracy.low, accuracy.high) == pytest.approx((low[0], high[0]))


def test_the_same_items_over_again_tell_nothing_new():
    """Five copies of every item, as names swapped in a sentence: the interval of one copy, not one of √5 less."""
    rng = np.random.default_rng(0)
    first, second = (rng.random(80) < 0.7).astype(float), (rng.random(80) < 0.5).astype(float)
    keys = np.arange(80)
    once = difference(first, second, keys, True)
    again = difference(np.repeat(first, 5), np.repeat(second, 5), np.repeat(keys, 5), True)
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))
    assert (again.n, again.clusters) == (400, 80)
    item_wise = difference(np.repeat(first, 5), np.repeat(second, 5), np.arange(400), True)
    assert again.high - again.low > 2 * (item_wise.high - item_wise.low)
    assert again.p > 100 * item_wise.p
    accuracy, copied = estimate(first, keys), estimate(np.repeat(first, 5), np.repeat(keys, 5))
    assert (copied.low, copied.high) == pytest.approx((accuracy.low, accuracy.high), abs=0.002)
    mean = clustered.average_difference([np.repeat(first - second, 5)], [np.repeat(keys, 5)], True)
    assert (mean.low, mean.high, mean.clusters) == pytest.approx((once.low, once.high, 80))


def test_clustered_intervals_cover_where_item_wise_ones_do_not():
    """40 clusters of 1 to 12 items that mostly share their answers, a true accuracy and difference of 0.6 and 0."""
    rng = np.random.default_rng(0)
    hits = np.zeros(3)
    for _ in range(300):
        clusters = np.repeat(np.arange(40), rng.integers(1, 13, 40))
        first, second = (
            np.where(rng.random(len(clusters)) < 0.8, (rng.random(40) < 0.6)[clusters], rng.random(len(clusters)) < 0.6)
            for _ in range(2)
        )
        accuracy, one = estimate(first.astype(float), clusters), difference(first, second, clusters, False)
        naive = difference(first, second, np.arange(len(clusters)), False)
        hits += [each.low <= true <= each.high for each, true in ((accuracy, 0.6), (one, 0), (naive, 0))]
    assert 0.92 < hits[0] / 300 < 0.985
    assert 0.92 < hits[1] / 300 < 0.985
    assert hits[2] / 300 < 0.75


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=9))
def test_few_clusters_are_tested_by_flipping_signs(clusters):
    """Over all 2^G signs of the clusters' sums, those that come as far from 0."""
    sums = np.array([total for total, _ in clusters], float)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(sums))).reshape(len(sums), -1)
    exact = np.mean(np.abs(signs.T @ sums) >= abs(sums.sum()))
    assert clustered.sign_flip(sums) == pytest.approx(exact)


def test_one_cluster_is_one_observation():
    first, second, same = np.ones(50), np.zeros(50), np.zeros(50)
    one = difference(first, second, same, True)
    assert (one.p, one.words, one.clusters) == (1.0, "not significant", 1)
    assert one.low < 0.3
    accuracy = estimate(first, same)
    assert accuracy.high - accuracy.low > 0.7
    mixed = estimate(np.array([1.0] * 25 + [0.0] * 25), same)
    assert mixed.high - mixed.low > 0.7
    two = difference(first, second, np.arange(50) // 25, True)
    assert two.p == 0.5


def test_what_is_shown_lies_beside_0():
    """p is never smaller than Student's, which goes with the interval: a full dot's interval does not hold 0."""
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(100):
        count = int(rng.integers(4, 60))
        clusters = rng.integers(0, count, 2 * count)
        first = (rng.random(2 * count) < 0.8).astype(float)
        second = (rng.random(2 * count) < 0.5).astype(float)
        one = difference(first, second, clusters, True)
        mean = clustered.average_difference([first - second, first[:9] - second[:9]], [clusters, clusters[:9]], True)
        for each in (one, mean):
            assert not each.shown or not each.low <= 0 <= each.high
        shown += one.shown
    assert shown > 30


def test_scores_without_their_clusters_are_refused():
    with pytest.raises(ValueError, match="clusters"):
        estimate(np.ones(3), np.arange(2))
