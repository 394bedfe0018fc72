"""Agreement of two texts, aligned and by position."""

from difflib import SequenceMatcher
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sinks.agreement import (
    agreement,
    agreement_by_chance,
    agreement_by_step,
    aligned_agreement,
    common_subsequence,
)

texts = st.lists(st.integers(0, 4), max_size=9).map(lambda tokens: np.array(tokens, np.int64))


def longest(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """The length of the longest common subsequence, by its definition."""

    @cache
    def length(row: int, column: int) -> int:
        if row == len(first) or column == len(second):
            return 0
        if first[row] == second[column]:
            return 1 + length(row + 1, column + 1)
        return max(length(row + 1, column), length(row, column + 1))

    return length(0, 0)


def test_the_textbook_case_of_rouge_l():
    """'police killed the gunman' against 'police kill the gunman' and 'the gunman kill police' (Lin 2004): 3/4, 2/4."""
    reference = np.array([0, 1, 2, 3])
    assert aligned_agreement(reference, np.array([0, 4, 2, 3])) == 0.75
    assert aligned_agreement(reference, np.array([2, 3, 4, 0])) == 0.5


def test_a_text_shifted_by_two_tokens_agrees_but_not_by_position():
    first = np.arange(48)
    shifted = np.concatenate([[99, 98], first[:-2]])
    found = agreement(first, shifted)
    assert found.by_position == 0
    assert found.aligned == pytest.approx(46 / 48)
    assert np.flatnonzero(~found.kept[0]).tolist() == [46, 47] and np.flatnonzero(~found.kept[1]).tolist() == [0, 1]


@settings(max_examples=60)
@given(texts, texts)
def test_the_alignment_is_the_longest_and_the_same_both_ways(first, second):
    kept = common_subsequence(first, second)
    np.testing.assert_array_equal(first[kept[0]], second[kept[1]])
    assert kept[0].sum() == longest(tuple(first.tolist()), tuple(second.tolist()))
    found = agreement(first, second)
    assert found.aligned == agreement(second, first).aligned == aligned_agreement(first, second)
    if len(first) or len(second):
        ratio = SequenceMatcher(None, first.tolist(), second.tolist(), autojunk=False).ratio()
        assert found.aligned >= ratio - 1e-9, "no other alignment keeps more tokens"
    if len(first) == len(second):
        assert found.aligned >= found.by_position


def test_tokens_left_out_are_counted_where_nothing_stands_in_their_place():
    found = agreement(np.array([1, 2, 3, 4, 5, 6]), np.array([1, 4, 9, 6]))
    assert found.missing.tolist() == [0, 2, 0, 0, 0], "2 and 3 are gone, 5 became 9"
    assert agreement(np.array([1, 2, 3]), np.array([1])).missing.tolist() == [0, 2]
    assert agreement(np.array([1, 2]), np.array([], int)).missing.tolist() == [2]


def test_only_what_is_compared_counts():
    first, second = np.array([7, 1, 2, 3]), np.array([7, 5, 2, 3])
    without = np.array([False, True, True, True])
    found = agreement(first, second, (without, without))
    assert found.aligned == found.by_position == pytest.approx(2 / 3)
    assert found.kept[0].tolist() == [False, False, True, True]
    nothing = np.zeros(4, bool)
    assert agreement(first, second, (nothing, nothing)).aligned == 1


def test_texts_of_unequal_length_miss_what_the_longer_one_has():
    found = agreement(np.array([1, 2, 3, 4]), np.array([1, 2]))
    assert found.aligned == pytest.approx(2 * 2 / 6) and found.by_position == 0.5


def test_chance_is_what_the_same_tokens_give_in_another_order():
    same = np.zeros(20, int)
    assert agreement_by_chance(same, same) == 1, "one word again and again agrees in every order"
    distinct = np.arange(40)
    assert 0.1 < agreement_by_chance(distinct, distinct) < 0.4
    assert agreement_by_chance(distinct, distinct + 100) == 0


def test_by_step_the_tokens_decided_are_compared():
    first, second = np.array([[1, 2, 3]] * 3), np.array([[1, 2, 3], [1, 3, 2]])
    decided = np.array([[False] * 3, [True] * 3, [True] * 3])
    found = agreement_by_step((first, second), (decided, decided[:2]))
    np.testing.assert_allclose(found, [np.nan, 2 / 3])
