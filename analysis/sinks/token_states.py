"""State of a token in a step's input (given, decided or not yet), changes by a step, and place in the text.

NumPy only. Shapes: T steps, S positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from analysis.registry import Registry


class TokenState(IntEnum):
    """State of an input token at a step.

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


# --- what steps change ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Changes:
    """Changes that each step made to the tokens of its input, (T, S) bool each.

    written: undecided or absent before, decided after. edited: decided before and after, by another token.
    taken_back: decided before, undecided after.
    """

    written: np.ndarray
    edited: np.ndarray
    taken_back: np.ndarray


def changes(tokens: np.ndarray, state: np.ndarray, final: np.ndarray, mask_token: int | None) -> Changes:
    """Return what each step changed, by the inputs (T, S) that follow each other and the finished text (S,)."""
    decided = is_decided(state)
    after_tokens, after = after_steps(tokens, state, final, mask_token)
    return Changes(
        written=~decided & after,
        edited=decided & after & (tokens != after_tokens),
        # A token that a later step does not hold was not taken back: it is padding there.
        taken_back=decided & np.concatenate([state[1:] == TokenState.UNDECIDED, ~after[-1:]]),
    )


def after_steps(
    tokens: np.ndarray, state: np.ndarray, final: np.ndarray, mask_token: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens after each step, and which of them are decided, (T, S) each. Arguments: those of `changes`."""
    finished = final != mask_token  # all of them where there is no [MASK]
    return np.concatenate([tokens[1:], final[None]]), np.concatenate([is_decided(state[1:]), finished[None]])


def is_decided(state: np.ndarray) -> np.ndarray:
    """Flag the tokens given or written, of the shape of `state`."""
    return (state != TokenState.UNDECIDED) & (state != TokenState.ABSENT)


# --- where in the text ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """A part of the tokens of each step, to look at sinks on. name: as it is chosen and stands in addresses.

    holds: (state (T, S), open blocks (T, 2), length of the prompt) -> (T, S) bool.
    """

    name: str
    help: str
    holds: Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _in_prompt(state: np.ndarray, open_block: np.ndarray, prompt_length: int) -> np.ndarray:
    return is_decided(state) & (np.arange(state.shape[1]) < prompt_length)


def _in_finished_blocks(state: np.ndarray, open_block: np.ndarray, prompt_length: int) -> np.ndarray:
    positions = np.arange(state.shape[1])
    return is_decided(state) & (positions >= prompt_length) & (positions < open_block[:, :1])


def _in_open_block(state: np.ndarray, open_block: np.ndarray, prompt_length: int) -> np.ndarray:
    positions = np.arange(state.shape[1])
    return is_decided(state) & (positions >= prompt_length) & (positions >= open_block[:, :1])


ALL = "all tokens"
SPLITS: Registry[Split] = Registry(
    Split(ALL, "every token", lambda state, open_block, prompt_length: state != TokenState.ABSENT),
    Split(
        "[MASK] only",
        "tokens that are not decided yet: [MASK], or noise where a model's noise is random tokens",
        lambda state, open_block, prompt_length: state == TokenState.UNDECIDED,
    ),
    Split(
        "without [MASK]", "tokens that are given or written", lambda state, open_block, prompt_length: is_decided(state)
    ),
    Split("in the prompt", "those of the prompt", _in_prompt),
    Split("in finished blocks", "those written in blocks before the open one", _in_finished_blocks),
    Split("written in the open block", "those already written in the block that is being written", _in_open_block),
)


def undecided_named(text: str, noise: str | None) -> str:
    """A name or sentence of these, with what undecided tokens are called where a model's noise is random tokens. noise:
    of `Architecture`.
    """
    return text.replace("[MASK]", "undecided") if noise == "uniform" else text


REGIONS = {
    "[MASK] only": "[MASK]",
    "in the prompt": "prompt",
    "in finished blocks": "finished blocks",
    "written in the open block": "open block, written",
}
"""The splits that every token is in one of, and what they are called in a legend."""
