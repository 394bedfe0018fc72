"""What steps change about tokens, and where in the text tokens are."""

import numpy as np
import pytest

from analysis.sinks.step_inputs import ALL, REGIONS, SPLITS, TokenState, changes, is_decided
from tests.recording.block_texts import BLOCK, EDITS, MASK, PROMPT, SCRIPT, TAKE_BACKS, block_trajectory


def places(flags):
    return list(zip(*(axis.tolist() for axis in np.nonzero(flags)), strict=True))


@pytest.mark.parametrize("cached", [False, True])
def test_edits_and_take_backs_are_those_of_the_script(cached):
    recording = block_trajectory(cached)
    made = changes(recording.tokens, recording.state, recording.final, MASK)
    assert places(made.edited) == EDITS
    assert places(made.taken_back) == TAKE_BACKS
    expected, decided = [], set()
    for number, block in enumerate(SCRIPT):
        for index, step in enumerate(block):
            for position, written in step.items():
                at = PROMPT + number * BLOCK + position
                if written is None:
                    decided.discard(at)
                elif at not in decided:
                    expected.append((3 * number + index, at))
                    decided.add(at)
    assert places(made.written) == expected


def test_a_text_written_once_has_no_edits_and_writes_each_position_once(trajectory):
    made = changes(trajectory.tokens, trajectory.state, trajectory.final, trajectory.info.model.mask_token)
    assert not made.edited.any() and not made.taken_back.any()
    np.testing.assert_array_equal(made.written, np.isfinite(trajectory.confidence))


def test_a_mask_that_the_model_wrote_itself_is_not_written():
    tokens = np.array([[7, MASK, MASK], [7, 8, MASK]])
    state = np.where(tokens == MASK, TokenState.UNDECIDED, TokenState.COMMITTED)
    made = changes(tokens, state, np.array([7, 8, MASK]), MASK)
    assert places(made.written) == [(0, 1)]
    assert not made.edited.any() and not made.taken_back.any()


def test_a_token_that_is_padding_in_a_later_step_was_not_taken_back():
    tokens, absent = np.array([[7, 8, MASK], [7, -1, MASK]]), TokenState.ABSENT
    state = np.array([[0, 1, 3], [0, absent, 3]])
    made = changes(tokens, state, np.array([7, 8, 9]), MASK)
    assert not made.taken_back.any() and not made.edited.any()
    assert places(made.written) == [(1, 1), (1, 2)]


@pytest.mark.parametrize("cached", [False, True])
def test_every_token_is_in_one_region(cached):
    recording = block_trajectory(cached)
    arguments = (recording.state, recording.open_block, PROMPT)
    inside = sum(SPLITS[name].holds(*arguments).astype(int) for name in REGIONS)
    np.testing.assert_array_equal(inside, recording.present.astype(int))
    np.testing.assert_array_equal(SPLITS[ALL].holds(*arguments), recording.present)
    np.testing.assert_array_equal(SPLITS["without [MASK]"].holds(*arguments), is_decided(recording.state))
    finished = SPLITS["in finished blocks"].holds(*arguments)
    for step in range(recording.steps):
        assert np.flatnonzero(finished[step]).tolist() == list(range(PROMPT, recording.open_block[step, 0]))
    opened = SPLITS["written in the open block"].holds(*arguments)
    assert np.flatnonzero(opened[4]).tolist() == [PROMPT + BLOCK, PROMPT + BLOCK + 1]
