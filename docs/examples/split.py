"""Add a part of the tokens to count sinks on: one row in `SPLITS`."""

import numpy as np

from analysis.sinks.step_inputs import SPLITS, Split, TokenState


def drafts(state: np.ndarray, open_block: np.ndarray, prompt_length: int) -> np.ndarray:
    return state == TokenState.ACCEPTED


SPLITS.add(Split("drafts only", "tokens that the sampler may take back", drafts))

state = np.array([[TokenState.GIVEN, TokenState.ACCEPTED, TokenState.UNDECIDED]])  # (T, S)
assert drafts(state, np.array([[1, 3]]), 1).tolist() == [[False, True, False]]
