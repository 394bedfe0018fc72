"""What is said of written texts: how sure the model was, when a branch parts from its text; else silence."""

import numpy as np

from analysis.findings import finding_of

NONE = np.nan


def test_a_text_is_told_by_the_probabilities_of_its_tokens_as_they_were_chosen_last():
    confidence = np.array([[0.2, NONE, NONE], [0.9, 0.5, NONE], [NONE, NONE, 0.8]])
    said = finding_of("written text", confidence, ["‘the’ at 7", "‘cat’ at 8", "‘sat’ at 9"])
    assert said == (
        "3 tokens in 3 forwards: half had a probability of 80 % or more when chosen; the least likely was ‘cat’ at "
        "8, with 50 %."
    )
    assert finding_of("written text", confidence[:, 1:2], ["‘cat’ at 8"]) == "1 token in 3 forwards."
    branch = finding_of("written text", confidence[:, 1:2], ["‘cat’ at 8"], branch=True)
    assert branch == "1 token in 3 forwards, besides the one written by hand."
    masks = np.array([[0.9, NONE, NONE], [NONE, 0.5, NONE]])  # of a prompt, whose last token was given
    said = finding_of("written text", masks, ["‘a’ at 0", "‘b’ at 1", "‘c’ at 2"], prompt=3)
    assert said.startswith("2 tokens in 2 forwards (2 of them in the prompt): half had")
    assert finding_of("written text", np.full((2, 1), NONE), ["‘cat’ at 8"]) == ""
    assert finding_of("written text", np.zeros((2, 0)), []) == ""


def test_a_branch_is_told_by_the_step_in_which_it_parts_beside_what_chance_would_leave():
    by_position = np.array([NONE, 1.0, 1.0, 0.9, 0.4])
    assert finding_of("branch agreement", by_position, 1, 0.4, 0.1) == (
        "Another token first differs before step 3; the finished texts have 40 % of their tokens in common, against "
        "10 % of the same tokens in random order."
    )
    assert "in common, no more than 50 % of" in finding_of("branch agreement", by_position, 1, 0.4, 0.5)
    assert finding_of("branch agreement", np.array([0.5, 1.0, 1.0]), 0, 1.0, 0.1) == (
        "The two texts differ in no other token."
    )
    assert finding_of("branch agreement", np.array([0.5, 1.0, 1.0]), 0, 0.9, 0.1).startswith(
        "Only the last step differs; "
    )
    assert finding_of("branch agreement", by_position, 4, 0.4, 0.1) == "", "a branch of the last step has none after it"


def test_what_sinks_take_after_a_branch_is_told_where_it_differs_in_the_digits_shown():
    left, branch = np.array([0.5, 0.1, 0.2, 0.3]), np.array([0.5, 0.1, 0.4])
    assert finding_of("branch sinks", left, branch, 1) == (
        "After step 1 sinks take 40 % of all attention in the branch and 25 % in the text that it left, on average "
        "over the steps."
    )
    assert finding_of("branch sinks", left, left, 1) == ""
    assert finding_of("branch sinks", left, branch, 2) == "", "one of them has no step after it"


def test_tokens_that_count_less_than_half_are_counted_and_the_least_is_named():
    weights = np.array([1, 0.4, 0.02, 0.5])
    assert finding_of("discounted tokens", weights, ["‘a’ at 0", "‘b’ at 1", "position 2, masked", "‘c’ at 3"]) == (
        "2 of 4 tokens count less than half; least: position 2, masked, ω = 0.02."
    )
    assert finding_of("discounted tokens", np.ones(3), ["a", "b", "c"]) == ""
