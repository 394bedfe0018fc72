"""Statistics of accuracies: known values, coverage, and words that never say more than is shown."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evaluation import significance
from analysis.evaluation.significance import Difference, difference, estimate, holm, mcnemar, verdict


def test_wilson_by_its_formula():
    right, items, z = 17, 40, 1.959963984540054
    share = right / items
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z / (1 + z**2 / items) * math.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    one = estimate(np.array([1.0] * right + [0.0] * (items - right)))
    assert (one.value, one.low, one.high, one.n) == pytest.approx((share, centre - half, centre + half, items))


def test_mcnemar_is_the_binomial_test():
    """Two-sided: twice the tail of Binomial(12, 1/2) at 2."""
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert mcnemar(2, 10) == pytest.approx(2 * tail)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(10, 2) == mcnemar(2, 10)


def test_holm_leaves_out_what_is_not_tested():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([None]) == [None]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_differences_are_antisymmetric_and_inside_their_interval(rows):
    first, second = np.array(rows, float).T
    one, other = difference(first, second, True), difference(second, first, True)
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.low <= one.value <= one.high
    assert one.low < one.high
    assert (one.only_first, one.only_second) == (other.only_second, other.only_first)
    assert one.p == other.p


def test_no_differing_item_is_no_proof_of_equality():
    same = np.array([1.0, 0.0, 1.0, 1.0])
    one = difference(same, same, True)
    assert one.value == 0
    assert one.high > 0.3
    assert one.words == "no difference shown"


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
        one = difference(first, second, False)
        hits += one.low <= 0.1 <= one.high
    assert 0.92 < hits / 400 < 0.98


def test_words():
    far = Difference(0.2, 0.1, 0.3, 100, 25, 5, p=0.001, p_holm=0.01)
    assert verdict(far) == "better"
    assert verdict(Difference(0.2, 0.1, 0.3, 100, 25, 5, p=0.02, p_holm=0.12)) == "no difference shown"
    assert verdict(Difference(-0.2, -0.3, -0.1, 100, 5, 25, p=0.001)) == "worse"
    assert verdict(Difference(-0.2, -0.3, -0.1, 100, 5, 25, final=False)) == "interim: worse so far"
    assert verdict(Difference(0.0, -0.1, 0.1, 100, 5, 5, final=False)) == "interim: no difference shown so far"
    assert verdict(difference(np.zeros(0), np.zeros(0), True)) == "no common items yet"


def test_no_test_before_all_items_are_in():
    first, second = np.ones(40), np.zeros(40)
    assert difference(first, second, test=False).p is None
    assert difference(first, second, test=True).p < 1e-9
    shares = difference(first - 0.5, second + 0.25 * (np.arange(40) % 2), test=True)  # not right or wrong
    assert shares.p < 1e-9
    assert shares.words == "better"


def test_scores_that_are_not_right_or_wrong_are_tested_as_their_interval_says():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.1, 0.2):
        first, second = rng.random(30), rng.random(30) - shift
        one = difference(first, second, test=True)
        assert (one.p < 0.05) == (not one.low <= 0 <= one.high)
    alike = difference(np.full(9, 0.5), np.full(9, 0.25), test=True)
    assert alike.p == pytest.approx(2 / 2**9)  # no spread: by signs


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=4))
def test_intervals_end_where_differences_do(tasks):
    """However few the items: no difference of shares lies beyond −1 and 1, and no share beyond 0 and 1."""
    pairs = [np.array(rows, float).T for rows in tasks]
    singles = [difference(first, second, True) for first, second in pairs]
    mean = significance.average_difference([first - second for first, second in pairs], True)
    for one in [*singles, mean]:
        if one.n:
            assert -1 <= one.low <= one.value <= one.high <= 1
            assert one.low < one.high
    if mean.n:
        assert (mean.p < 0.05) == (not mean.low <= 0 <= mean.high)
    accuracy = significance.average([first for first, _ in pairs])
    assert not accuracy.n or 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


def test_few_items_that_reached_beyond_one():
    """Seven of eight won: Student's interval alone is [+0.58, +1.17]."""
    one = difference(np.ones(8), np.array([0.0] * 7 + [1.0]), True)
    assert one.value == 0.875
    assert one.low == pytest.approx(0.579, abs=1e-3)
    assert one.high == 1.0


def test_scores_on_a_scale_of_their_own_are_not_cut():
    one = difference(np.array([10.0, 30, 50]), np.array([5.0, 10, 20]), True)
    assert one.high > 18.4
    assert significance.average([np.array([10.0, 90.0])]).high > 90


def test_words_for_numbers():
    assert significance.points(-0.0123) == "−1.2"
    assert significance.points(0.5) == "+50.0"
    assert significance.p_words(0.0004) == "p < 0.001"
    assert significance.p_words(0.0119) == "p = 0.012"


def test_scores_of_different_items_are_refused():
    with pytest.raises(ValueError, match="same items"):
        difference(np.ones(3), np.ones(4), True)


def test_average_weighs_benchmarks_equally():
    rng = np.random.default_rng(1)
    small, large = (rng.random(50) < 0.9).astype(float), (rng.random(1000) < 0.5).astype(float)
    one = significance.average([small, large])
    assert one.value == pytest.approx((small.mean() + large.mean()) / 2)
    spread = math.sqrt(small.var(ddof=1) / 50 + large.var(ddof=1) / 1000) / 2
    assert one.high - one.low == pytest.approx(2 * 1.959964 * spread, rel=1e-5)
    assert significance.average([]).n == 0
    sure = significance.average([np.ones(20), np.ones(30)])
    assert sure.low < 0.95
