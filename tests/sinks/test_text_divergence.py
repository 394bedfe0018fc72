"""Where two recordings of one prompt part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.sinks.agreement import (
    NEVER,
    compare_texts,
    filled_in_step,
    mean_with_interval,
    rank_agreement,
    shared_sinks,
    text_over_steps,
)
from analysis.sinks.step_inputs import TokenState

MASK = 1


def text(rows: list[list[int]]):
    """A text of one given token and four new ones, by its inputs and, last, the finished text."""
    tokens = np.array(rows)
    inputs = tokens[:-1]
    state = np.where(inputs == MASK, TokenState.UNDECIDED, TokenState.COMMITTED)
    state[:, 0] = TokenState.GIVEN
    return text_over_steps(inputs, state, tokens[-1], MASK)


FIRST = text([[9, 1, 1, 1, 1], [9, 5, 1, 1, 1], [9, 5, 6, 1, 1], [9, 5, 6, 7, 8]])
SECOND = text([[9, 1, 1, 1, 1], [9, 5, 1, 1, 1], [9, 5, 1, 4, 1], [9, 5, 6, 4, 8]])


def test_texts_part_where_a_token_first_differs():
    found = compare_texts(FIRST, SECOND)
    assert (found.first_step, found.first_positions.tolist()) == (2, [3])
    assert found.flips.tolist() == [0, 0, 1] and found.differing == 1 and found.positions == 4
    np.testing.assert_allclose(found.agreement, [1, 1, 0.75])
    np.testing.assert_allclose(found.aligned, [1, 0.5, 0.75])  # 5; 5 6 against 5 4; 5 6 7 8 against 5 6 4 8
    assert found.finished.aligned == found.finished.by_position == 0.75
    assert [kept.tolist() for kept in found.finished.kept] == [[False, True, True, False, True]] * 2
    assert found.filled.tolist() == [[NEVER, 0, 1, 2, 2], [NEVER, 0, 2, 1, 2]]
    assert found.other_step == 0.5 and 0 < rank_agreement(found.filled) < 1


def test_a_text_never_parts_from_itself():
    found = compare_texts(FIRST, FIRST)
    assert found.first_step is None and found.differing == 0 and found.other_step == 0
    assert rank_agreement(found.filled) == pytest.approx(1)


def test_a_shifted_text_agrees_once_it_is_aligned():
    shifted = text([[9, 1, 1, 1, 1], [9, 1, 1, 1, 1], [9, 1, 1, 1, 1], [9, 4, 5, 6, 7]])
    found = compare_texts(FIRST, shifted).finished
    assert (found.aligned, found.by_position) == (0.75, 0.0)


def test_an_edited_token_counts_where_it_got_its_last_decision():
    edited = text([[9, 1, 1, 1, 1], [9, 5, 6, 7, 8], [9, 4, 6, 7, 8]])
    assert filled_in_step(edited).tolist() == [NEVER, 1, 0, 0, 0]


@settings(max_examples=10)
@given(
    arrays.arrays(bool, (2, 12)),
    arrays.arrays(bool, (2, 12)),
    arrays.arrays(np.int8, (2, 12), elements=st.integers(0, 3)),
    st.integers(0, 2**31),
)
def test_sinks_shared_by_chance_are_what_shuffling_gives(first, second, state, seed):
    rng = np.random.default_rng(seed)
    shared, expected = shared_sinks(first, second, state)
    drawn = []
    for _ in range(200):
        moved = second.copy()
        for step in range(2):
            for value in range(4):
                at = np.flatnonzero(state[step] == value)
                moved[step, at] = second[step, rng.permutation(at)]
        drawn.append(shared_sinks(first, moved, state)[0])
    there = first.any(axis=1)
    assert np.isnan(shared[~there]).all()
    np.testing.assert_allclose(np.mean(drawn, axis=0)[there], expected[there], atol=0.2)


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [
        low[0] <= 0 <= high[0]
        for _, low, high in (mean_with_interval(list(rng.normal(size=(50, 1)))) for _ in range(300))
    ]
    assert 0.9 < np.mean(held) < 0.98
    mean, low, _high = mean_with_interval([np.array([1.0, 2.0]), np.array([3.0])])
    assert mean.tolist() == [2.0, 2.0] and np.isfinite(low[0]) and np.isnan(low[1])
