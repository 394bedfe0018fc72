"""What a token of a step's input is: given, decided or not yet; and what changes about it. NumPy only.

Shapes: T steps, S positions.
"""

from enum import IntEnum

import numpy as np


class TokenState(IntEnum):
    """What an input token is at a step.

    GIVEN: the prompt's. COMMITTED: written, for good or until it is edited. ACCEPTED: written, but the sampler may take
    it back. UNDECIDED: [MASK], or noise where a model's noise is random tokens. ABSENT: not in this forward.
    """

    ABSENT = -1
    GIVEN = 0
    COMMITTED = 1
    ACCEPTED = 2
    UNDECIDED = 3


def mask_states(undecided: np.ndarray, present: np.ndarray, prompt_length: int) -> np.ndarray:
    """The states (T, S) int8 where a token is written once, in place of a [MASK].

    undecided, present (T, S): which tokens are [MASK], and which are there. A [MASK] of the prompt that gets filled is
    not given but committed.
    """
    filled = np.logical_or.accumulate(undecided, axis=0)
    given = (np.arange(undecided.shape[1]) < prompt_length) & ~filled
    states = np.where(given, TokenState.GIVEN, TokenState.COMMITTED)
    return np.where(present, np.where(undecided, TokenState.UNDECIDED, states), TokenState.ABSENT).astype(np.int8)
