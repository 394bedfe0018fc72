"""Studentised intervals over prompts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from analysis.sinks.intervals import paired_difference, paired_differences, quotient


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(float, (8, 3), elements=st.floats(0, 10)))
def test_a_quotient_is_that_of_the_sums_and_its_interval_is_never_below_zero(values: np.ndarray) -> None:
    estimates = quotient(values)
    np.testing.assert_allclose(estimates.value, values.mean(axis=0))
    assert (estimates.low >= 0).all() and (estimates.low <= estimates.value).all()
    pooled = quotient(values, np.arange(1, 9)[:, None])
    np.testing.assert_allclose(pooled.value, values.sum(axis=0) / 36)


def test_intervals_agree_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2, size=(50, 1))
    mine = quotient(values)
    theirs = stats.ttest_1samp(values[:, 0], 0).confidence_interval()
    np.testing.assert_allclose([mine.low[0], mine.high[0]], theirs)
    twice = quotient(np.repeat(values, 2, axis=0), clusters=np.repeat(np.arange(50), 2))
    np.testing.assert_allclose([twice.low, twice.high], [mine.low, mine.high])


def test_intervals_hold_the_truth_as_often_as_they_say_on_skewed_sums() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        rates = rng.gamma(2, 1, size=(30, 1))
        below = rng.poisson(20, size=(30, 1))
        estimates = quotient(rng.poisson(rates * below), below)
        held += int(estimates.low[0] <= 2 <= estimates.high[0])
    assert 0.925 <= held / 400 <= 0.98


def test_prompts_without_a_value_take_no_part_and_nothing_is_nan() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    estimates = quotient(values)
    assert estimates.value[0] == 2 and np.isnan([estimates.value[1], estimates.low[1], estimates.high[1]]).all()


def test_a_paired_difference_is_of_the_prompts_both_have_and_tells_apart_what_differs_in_each() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(5, 2, size=(40, 3))
    first, second = noise + np.array([1.0, 0.0, 0.0]), noise + 0.2 * rng.normal(size=(40, 3))
    second[20:, 2] = np.nan
    ones = np.ones_like(noise)
    difference = paired_difference((first, ones), (second, ones))
    assert difference.low[0] > 0.7 and difference.high[0] < 1.3
    assert difference.low[1] < 0 < difference.high[1]
    np.testing.assert_allclose(difference.value[2], (first - second)[:20, 2].mean())


def test_simultaneous_intervals_rarely_call_any_of_many_null_differences() -> None:
    rng = np.random.default_rng(3)
    ones = np.ones((50, 9))
    called = 0
    for seed in range(40):
        first, second = ((rng.normal(10, 1, (50, 9)), ones) for _ in range(2))
        [difference] = paired_differences([(first, second)], seed=seed)
        called += bool(((difference.low > 0) | (difference.high < 0)).any())
    assert called <= 7  # 5 % of 40 are 2; each layer on its own would call about 15
