"""What positions are called: by their token where one stands, and never by a word that is not written yet."""

import numpy as np

from analysis.sinks.step_inputs import TokenNames, TokenState, position_name

ABSENT, GIVEN, WRITTEN, UNDECIDED = TokenState.ABSENT, TokenState.GIVEN, TokenState.COMMITTED, TokenState.UNDECIDED
MASK = 9
TEXTS = {0: "the", 1: " shop", 2: ".", 3: "market", MASK: "[MASK]"}
STATE = np.array([[GIVEN, UNDECIDED, UNDECIDED, ABSENT], [GIVEN, UNDECIDED, WRITTEN, ABSENT]], np.int8)
TOKENS = np.where(STATE == UNDECIDED, MASK, np.array([[0, 1, 3, -1]] * 2))
FINAL = np.array([0, 1, 2, 2])


def names(**changed: object) -> TokenNames:
    given = {"texts": TEXTS, "tokens": TOKENS, "state": STATE, "final": FINAL, "mask_token": MASK} | changed
    return TokenNames(**given)  # type: ignore[arg-type]


def test_in_a_step_a_masked_position_has_what_it_becomes_beside_it():
    assert names().at(0) == [
        "‘the’ at 0",
        "position 1, still masked (later ‘shop’)",
        "position 2, still masked (later ‘.’)",
        "position 3, not there yet (later ‘.’)",
    ]
    assert names().at(1)[2] == "‘market’ at 2", "by the word that stands there, which an edit changes later"


def test_over_all_steps_it_says_in_how_many_it_was_masked():
    assert names().over_steps()[:3] == [
        "‘the’ at 0",
        "position 1, still masked (later ‘shop’)",
        "position 2, masked in 1 of 2 steps (later ‘.’)",
    ]
    assert names().short() == ["0 ‘the’", "1, later ‘shop’", "2, later ‘.’", "3 ‘.’"]


def test_noise_is_no_mask_and_what_is_never_written_becomes_nothing():
    assert names(noise="uniform").at(0)[1] == "position 1, still noise (later ‘shop’)"
    assert names(final=np.full(4, MASK)).at(0)[1] == "position 1, still masked"
    assert position_name(4, "\n") == "‘␣’ at 4"
