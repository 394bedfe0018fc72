"""Measures paired with their nulls: against plain loops, and on made arrays that hold what is claimed or break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sinks.pairing import (
    Paired,
    against_matched,
    ages,
    attention_to,
    distance,
    drift_of_the_most_attended,
    explained_by_position,
    lost_attention,
    most_attended,
    queries_apart,
    read_at_sinks,
    shallow_against_deep,
    value_norms_of_sinks,
)
from analysis.sinks.step_inputs import TokenState

SEEDS = st.integers(0, 2**32 - 1)
GIVEN, UNDECIDED, ABSENT = TokenState.GIVEN, TokenState.UNDECIDED, TokenState.ABSENT


@given(SEEDS)
@settings(max_examples=30)
def test_matched_means_are_those_of_a_loop_over_positions(seed):
    rng = np.random.default_rng(seed)
    values, chosen = rng.normal(size=(3, 2, 8)), rng.random((3, 2, 8)) < 0.3
    values[rng.random(values.shape) < 0.1] = np.nan
    strata = rng.integers(-1, 3, size=(3, 8))
    found = against_matched(values, chosen, strata)
    for layer in range(2):
        mine, null = [], []
        for step in range(3):
            for at in np.flatnonzero(chosen[step, layer] & (strata[step] >= 0) & np.isfinite(values[step, layer])):
                beside = ~chosen[step, layer] & (strata[step] == strata[step, at]) & np.isfinite(values[step, layer])
                if beside.any():
                    mine.append(values[step, layer, at])
                    null.append(values[step, layer, beside].mean())
        expected = (np.mean(mine), np.mean(null)) if mine else (np.nan, np.nan)
        np.testing.assert_allclose((found.value[layer], found.null[layer]), expected)


def test_means_are_over_layers_that_have_both():
    pair = Paired(np.array([1.0, np.nan, 3.0]), np.array([0.0, 9.0, 2.0]))
    assert pair.means() == (2.0, 1.0)
    assert np.isnan(Paired(np.array([np.nan]), np.array([1.0])).means()).all()


def test_value_norms_stand_beside_tokens_of_the_same_state():
    norms = np.array([[1, 4, 4, 9, 9, np.nan]], float)[:, None, None]
    state = np.array([[GIVEN] * 3 + [UNDECIDED] * 2 + [ABSENT]])
    sinks = np.zeros((1, 1, 6), bool)
    sinks[..., 0] = True
    mean = 27 / 5
    assert value_norms_of_sinks(norms, sinks, state) == pytest.approx((1 / mean, 4 / mean))
    sinks[..., :3] = True
    assert np.isnan(value_norms_of_sinks(norms, sinks, state)).all(), "no other given token is left"


@given(SEEDS)
@settings(max_examples=30)
def test_the_distance_of_two_distributions_is_one(seed):
    first, second, third = np.random.default_rng(seed).random((3, 7)) ** 3 + 1e-9
    apart = distance(first, second)
    assert 0 <= apart <= 1 and apart == pytest.approx(distance(second, first))
    assert distance(first, 5 * first) == pytest.approx(0) and distance(3 * first, second) == pytest.approx(apart)
    assert apart <= distance(first, third) + distance(third, second) + 1e-12
    assert distance(np.array([1.0, 0]), np.array([0, 1.0])) == 1 and np.isnan(distance(np.zeros(2), np.ones(2)))


def test_queries_that_look_at_different_tokens_are_apart_and_permuted_ones_less():
    to_first, to_last = np.array([1.0, 0, 0, 0]), np.array([0, 0, 0, 1.0])
    undecided, mixed = 2 * to_first, to_first + to_last
    mass = np.broadcast_to(undecided + 2 * to_last, (1, 1, 2, 4))
    pair = queries_apart(mass, np.broadcast_to(undecided, mass.shape), np.broadcast_to(mixed, mass.shape))
    assert pair.value.tolist() == [1] and pair.null.tolist() == [0]
    alone = queries_apart(mass, mass, mass)
    assert np.isnan(alone).all(), "without written queries there is nothing to compare"


def test_ages_begin_anew_with_another_token_or_state():
    tokens = np.array([[5, 1, 1], [5, 1, 7], [5, 8, 7]])
    state = np.array([[GIVEN, UNDECIDED, UNDECIDED], [GIVEN, UNDECIDED, 1], [GIVEN, 1, 2]])
    assert ages(tokens, state).tolist() == [[0, 0, 0], [1, 1, 0], [2, 0, 0]]


def test_the_most_attended_are_a_part_of_those_that_are_there():
    mass = np.array([[[3.0, 9, 1, np.nan]]])
    assert most_attended(mass).tolist() == [[[False, True, False, False]]]
    assert most_attended(mass, 0.6).tolist() == [[[True, True, False, False]]]


def test_drift_is_compared_among_tokens_of_one_state_and_age_that_stay():
    tokens = np.array([[4, 5, 6, 1, 1], [4, 5, 6, 1, 9]])
    state = np.array([[GIVEN] * 3 + [UNDECIDED] * 2, [GIVEN] * 3 + [UNDECIDED, 1]])
    drift = np.array([[[np.nan] * 5], [[1.0, 2, 4, 50, 100]]])
    attended = np.zeros((2, 1, 5), bool)
    attended[0, 0, [0, 3]] = True  # what it is in the later step plays no part
    attended[1, 0, 1] = True
    pair = drift_of_the_most_attended(drift, attended, tokens, state, ages(tokens, state))
    mean = 57 / 4  # of the tokens that stay
    assert (pair.value[0] * mean, pair.null[0] * mean) == pytest.approx((1, 3)), (
        "the other [MASK] was written, so the attended one has no match"
    )
    older = np.broadcast_to([0, 0, 5, 0, 0], tokens.shape)
    pair = drift_of_the_most_attended(drift, attended, tokens, state, older)
    assert (pair.value[0] * mean, pair.null[0] * mean) == pytest.approx((1, 2)), "the third token is of another age"


def test_position_explains_all_of_prompts_that_attend_alike_and_little_of_noise():
    rng = np.random.default_rng(0)
    profile = rng.random((1, 2, 1, 3, 30))
    alike, noise = np.repeat(profile, 6, axis=0), rng.random((6, 2, 1, 3, 30))
    explained = explained_by_position(np.concatenate([alike, noise], axis=2))
    np.testing.assert_allclose(explained[:, 0], 1)
    assert (explained[:, 1] < 0.2).all()
    pair = shallow_against_deep(explained)
    assert (pair.value > pair.null).all() and pair.value.shape == (6,)
    scaled = explained_by_position(alike * np.arange(1, 7)[:, None, None, None, None])
    np.testing.assert_allclose(scaled, 1, err_msg="it is a correlation")
    assert np.isnan(explained_by_position(np.ones((4, 1, 1, 2, 5)))).all(), "what does not vary is not explained"
    with pytest.raises(ValueError, match="3 prompts"):
        explained_by_position(profile)


def test_attention_to_sinks_is_a_share_of_all_queries_and_what_is_lost_of_it():
    mass = np.array([[[2.0, 1, 1, np.nan]], [[3.0, 0, 1, 0]]])
    sinks = np.zeros(mass.shape, bool)
    sinks[0, 0, 0] = True
    assert attention_to(mass, sinks).tolist() == [2 / 3], "the second step has no sink"
    changed = mass * np.array([0.5, 1, 1, 1])
    pair = lost_attention(mass, changed, mass, sinks)
    assert pair.value[0] == pytest.approx(1 / 3) and pair.null[0] == 0


def test_layers_read_masked_sinks_and_others_apart():
    hits = np.array([[True, False, False], [True, True, False]])
    pair = read_at_sinks(hits, np.array([True, False, False]))
    assert pair.value.tolist() == [1, 1] and pair.null.tolist() == [0, 0.5]
    assert np.isnan(read_at_sinks(hits, np.zeros(3, bool))).all()
