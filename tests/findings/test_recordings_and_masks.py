"""What plots show in a sentence: the numbers are those of the plot, and chance is not spoken of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.findings import FINDINGS, finding_of
from analysis.sinks.step_inputs import position_name
from analysis.words import UNTRAINED, number, percent, signed, times

LABELS = ["the", "cat", ".", "sat"]
NAMES = [position_name(at, text) for at, text in enumerate(LABELS)]
NOTHING = np.zeros((6, 4), bool)


@pytest.mark.parametrize(
    ("value", "reference", "words"),
    [
        (0.0021, 0.0143, "a seventh of"),
        (1, 2, "half of"),
        (9, 10, "90 % of"),
        (1, 1, "about"),
        (3.2, 1, "3.2 times"),
        (250, 1, "250 times"),
        (1, 40, "1/40 of"),
    ],
)
def test_a_ratio_in_words(value, reference, words):
    assert times(value, reference) == words


def test_shares_have_as_many_decimals_as_they_need():
    assert [percent(share) for share in (0.97, 0.043, 0.0043, 0.00021, 0)] == [
        "97 %",
        "4.3 %",
        "0.43 %",
        "0.021 %",
        "0 %",
    ]


def test_small_numbers_are_written_by_powers_of_ten_and_changes_with_a_minus_as_wide_as_a_plus():
    assert [number(value, False) for value in (6.71e-06, 2e7, 0.25, 3)] == ["6.71·10⁻⁶", "2·10⁷", "0.25", "3"]
    assert [signed(value) for value in (-7.63, 1.8)] == ["−7.6", "+1.8"]


def test_every_reading_has_a_name_of_its_own_and_is_asked_by_it():
    assert len(FINDINGS) == len({(row.reads, row.implementation) for row in FINDINGS.values()})
    assert finding_of("lifetimes", NOTHING, LABELS) == ""


# --- recordings -------------------------------------------------------------------------------------------------


def kinds(of_mask: np.ndarray) -> np.ndarray:
    return np.stack([of_mask, ~of_mask])


def test_a_kind_is_named_where_its_sinks_exceed_its_share_of_the_tokens():
    rng = np.random.default_rng(0)
    masked = rng.random((20, 60)) < 0.3
    sinks = masked & (rng.random((20, 60)) < 0.5)
    sinks[3, np.flatnonzero(~masked[3])[0]] = True
    said = finding_of("kinds of sinks", sinks, kinds(masked), ["[MASK]", "word"])
    share, expected = (sinks & masked).sum() / sinks.sum(), masked.mean()
    assert said.startswith(
        f"{percent(share, 0)} of the sinks are masked positions, and so are {percent(expected, 0)} of all tokens"
    )
    assert said.endswith("; words only in step 3.")


def test_sinks_at_random_positions_say_nothing_of_kinds():
    said = [
        finding_of(
            "kinds of sinks",
            np.random.default_rng(seed).random((20, 60)) < 0.05,
            kinds(np.random.default_rng(seed + 99).random((20, 60)) < 0.5),
            ["a", "b"],
        )
        for seed in range(20)
    ]
    assert said.count("") >= 19


def test_heads_are_spoken_of_beyond_random_weights_or_a_floor():
    values = np.array([[0.1, 0.2], [0.62, 0.3]])
    null = np.array([[0.25, 0.1], [0.2, 0.15]])
    said = finding_of("heads", values, True, null=null)
    assert said == f"2 of 4 heads exceed any head of {UNTRAINED} (25 %). Highest: layer 1, head 0 with 62 %."
    weak = "None of 4 heads exceeds {}. Highest: layer 1, head 0 with 62 %."
    assert finding_of("heads", values, True, null=null + 1) == weak.format(f"any head of {UNTRAINED} (125 %)")
    assert finding_of("heads", values, True, floor=0.7, name="uniform attention") == weak.format(
        "uniform attention (70 %)"
    )
    assert finding_of("heads", values, False) == "Highest: layer 1, head 0 with 0.62; the median head has 0.25."
    assert finding_of("heads", np.ones((2, 2)), True) == ""


def test_a_curve_has_a_trend_where_it_changes_more_than_its_null_and_its_own_spread():
    falling = np.linspace(0.5, 0.1, 12)
    said = finding_of("curve", falling, True)
    first, last = f"{percent(falling[:4].mean(), 0)}", f"{percent(falling[8:].mean(), 0)}"
    assert said == f"Falls from {first} in the first third of the steps to {last} in the last, on average."
    named = finding_of("curve", falling, True, name="a", note=", in units")
    assert named == f"a falls from {first} in the first third of the steps to {last} in the last, on average, in units."
    told = finding_of("curve", falling, True, where=("where few are masked", "where most are"))
    assert told == f"Falls from {first} where few are masked to {last} where most are, on average."
    assert f"; {UNTRAINED}: 20 % and 20 %" in finding_of("curve", falling, True, np.full(12, 0.2))
    assert finding_of("curve", falling, True, 2 * falling).startswith(f"Falls no more than in {UNTRAINED}, from ")
    level = finding_of("curve", np.array([0, 1.0] * 6), True, name="a")
    assert level == "a shows no clear trend: 50 % in the first third of the steps and 50 % in the last, on average."
    assert finding_of("curve", np.full(12, np.nan), True) == ""


def test_a_position_that_stays_a_sink_is_named_and_chance_is_not():
    sinks = np.zeros((30, 40), bool)
    sinks[2:, 1] = True
    said = finding_of("lifetimes", sinks, ["‘x’ at 1"] * 40)
    assert said == "‘x’ at 1 is a sink in 28 of 30 steps, 0.7 if sinks stood at random. 1 of 40 positions are ever one."
    rng = np.random.default_rng(1)
    scattered = [np.stack([rng.permutation(np.arange(200) < 8) for _ in range(100)]) for _ in range(20)]
    assert max(flags.sum(axis=0).max() for flags in scattered) > 2 * 4
    assert [finding_of("lifetimes", flags, ["x"] * 200) for flags in scattered].count("") >= 19


def test_positions_that_vary_and_sinks_that_move_are_held_against_random_weights():
    values = np.array([0.1, 0.1, 0.5, 0.1])
    said = finding_of("varying positions", values, NAMES, np.full(4, 0.25))
    assert said == f"‘.’ at 2 varies most, 5 times the median position and 2 times the most of {UNTRAINED}."
    assert finding_of("varying positions", values, NAMES, np.full(4, 0.6)) == ""
    temporal, names = np.array([0.06, 0.04, 0.05]), ["layer 0", "layer 1", "layer 2"]
    assert finding_of("variances", temporal, names, np.array([0.03, 0.055])) == ""
    assert "move more" in finding_of("variances", temporal, names, np.array([0.03, 0.031]))
    assert finding_of("variances", temporal, names).startswith("The sinks of layer 0 move most (0.06)")


# --- masks ------------------------------------------------------------------------------------------------------


def test_a_change_stands_beside_another_seed_and_else_beside_chance():
    said = finding_of("change against seeds", {"the discount": 0.0021}, 0.0143)
    assert (
        said == "The discount changes 0.21 % of the weights, a seventh of what another random calibration sample "
        "changes (1.4 %)."
    )
    assert "1/100" not in finding_of("change against seeds", {"A": 0.25}, None, 0.5)
    assert "half of what chance would (50 %)" in finding_of("change against seeds", {"A": 0.25}, None, 0.5)
    assert finding_of("change against seeds", {"A": 0.0, "B": 0.1}, 0.2).startswith("A changes nothing; B changes")
    assert finding_of("change against seeds", {"A": 0.2}, None) == ""


def test_two_whole_masks_stand_beside_two_seeds_and_else_beside_chance():
    said = finding_of("whole against seeds", "Mask disagreement", 0.1, 0.2, 0.5, "all heads")
    assert said == "Mask disagreement is 10 % over all heads, half of that of two calibration seeds (20 %)."
    beside_chance = finding_of("whole against seeds", "D", 0.1, None, 0.5, "all experts")
    assert beside_chance == "D is 10 % over all experts, a fifth of that of independent masks (50 %)."
    assert finding_of("whole against seeds", "D", 0.0, None, 0.5, "all heads") == ""


def test_cells_and_heads_are_spoken_of_beyond_their_floors():
    values, seeds = np.array([[0.1, 0.4], [np.nan, 0.1]]), np.full((2, 2), 0.2)
    said = finding_of("cells against seeds", values, seeds, "head", "head")
    assert (
        said
        == "1 of 3 heads differ by more than two calibration seeds do, most of all layer 0, head 1: 40 % against 20 %."
    )
    assert "layer 0, o_proj" in finding_of("cells against seeds", values, seeds, "matrix", ["q_proj", "o_proj"])
    assert finding_of("cells against seeds", values, seeds + 1, "head", "head") == ""
    difference, spread = np.array([[0.0, -0.05]]), np.full((1, 2), 0.01)
    assert "second prunes 5 points less" in finding_of("head sparsity", difference, spread, None)
    assert finding_of("head sparsity", difference, spread, np.array([[0.06, 0.0]])) == ""
    assert finding_of("head sparsity", difference, 2 * spread, None) == ""


def test_depth_overlap_and_kept_attention():
    values = np.array([0.01, 0.03])
    assert finding_of("depth", values, None) == "Largest in layer 1 (3.0 %), smallest in layer 0 (1.0 %)."
    assert finding_of("depth", values, np.full(2, 0.05)) == "" == finding_of("depth", np.ones(3), None)
    jaccard = np.array([[1, 0.9, 0.4], [0.9, 1, 0.35], [0.4, 0.35, 1]])
    said = finding_of("overlap", jaccard, np.full((3, 3), 1 / 3), ["a", "b", "c"])
    assert said == "Most alike: a and b (0.900, by chance 0.333); least: b and c (0.350)."
    assert finding_of("overlap", jaccard, np.ones((3, 3)), ["a", "b", "c"]) == ""
    said = finding_of("kept attention", {"dense": 0.4, "first": 0.3}, "dense", 0.1)
    assert (
        said == "The dense model pays 40 % of its attention to them, first pays 30 %; uniform attention would pay 10 %."
    )
    assert finding_of("kept attention", {"dense": 0.1, "first": 0.3}, "dense", 0.1) == ""


def test_what_a_discount_does_to_outputs_tokens_and_scores():
    said = finding_of("output error", {"this setting": 0.0925}, 0.092)
    assert said == "Mean output error without a discount: 9.200 %; this setting raises it by 0.05 points."
    assert finding_of("output error", {"this setting": 0.092}, 0.092) == ""
    assert finding_of("token weights", np.array([95, 5]), np.array([1.0, 0.1])).startswith("5.0 % of the calibration's")
    assert finding_of("token weights", np.array([95, 5]), np.ones(2)) == ""
    quantiles = np.array([[-0.02, -0.01, 0, 0.01, 0.03]])
    assert "up to −2 % and +3 %" in finding_of("shifts of scores", quantiles)
    assert finding_of("shifts of scores", 0 * quantiles) == ""
    changes = np.array([[0.002, -0.01], [0.00001, np.nan]])
    assert finding_of("changes of errors", {"the discount": changes}, ["q", "o"]) == (
        "The discount lowers the error of 1 of 3 projections and raises that of 1; most changed: layer 0, o, −1 %."
    )
    assert finding_of("changes of errors", {"A": 0 * changes}, ["q", "o"]) == ""


def test_sinks_that_last_are_told_where_more_do_than_at_random_positions():
    sinks = np.zeros((20, 30), bool)
    sinks[:, 3] = sinks[:4, 7] = True
    assert finding_of("long-lived sinks", sinks) == (
        "1 of 2 positions that are ever a sink is one in more than half of the 20 steps, none if sinks stood at random."
    )
    assert finding_of("long-lived sinks", sinks & (np.arange(20) < 9)[:, None]) == ""
    assert finding_of("long-lived sinks", NOTHING) == "" == finding_of("long-lived sinks", ~NOTHING)


# --- whatever is drawn ------------------------------------------------------------------------------------------


@given(arrays(np.float32, (7, 4), elements=st.floats(0, 50, width=32)), arrays(bool, (7, 4)))
def test_no_sentence_holds_a_number_that_is_none(mass, sinks):
    mass[0, 0] = np.nan
    said = [
        finding_of("lifetimes", sinks, LABELS),
        finding_of("long-lived sinks", sinks),
        finding_of("heads", mass, False),
        finding_of("curve", mass[:, 1], True),
        finding_of("varying positions", mass[1], LABELS, mass[2]),
        finding_of("variances", mass[0], LABELS),
    ]
    for sentence in said:
        assert "nan" not in sentence and "inf" not in sentence
        assert sentence == "" or sentence.endswith(".")


def test_weights_that_differ_are_told_beside_seeds_and_where_few_features_hold_more_than_chance():
    even = np.random.default_rng(1).multinomial(400, np.full(40, 1 / 40))
    assert finding_of("differing weights", even, 100, 40, None) == ""
    assert finding_of("differing weights", even, 100, 40, 0.2) == (
        "10 % of these weights are decided differently, half of what two calibration seeds decide differently (20 %)."
    )
    few = np.zeros(40, int)
    few[:4], few[4:] = 70, 3
    said = finding_of("differing weights", few, 100, 40, None)
    assert said.startswith("9.7 % of these weights are decided differently; 72 % of them lie on a tenth of the input")
    assert finding_of("differing weights", np.zeros(40, int), 100, 40, 0.2) == ""


def test_a_discounted_mask_is_compared_with_other_seeds_or_with_chance():
    def told(changed: list[float], seeds: list[float], *who: str) -> str:
        return finding_of("discounted mask", changed, seeds, 0.5, *who)

    few, pairs = [0.0021] * 6, [0.013, 0.015] * 8
    assert told(few, pairs) == (
        "The discount chooses only 0.21 % of the weights differently; another calibration sample changes 1.4 %."
    )
    assert told(few, pairs, "At 50 % sparsity it").startswith("At 50 % sparsity it chooses only 0.")
    for changed, seeds in ((few[:5], pairs), (few, [0.014]), ([*few[:5], 0.014], pairs), ([0.03] * 6, pairs)):
        assert "only" not in told(changed, seeds), "that is not significant"
    assert "only" not in told([0.0066] * 6, pairs), "more than half of what a pair changes"
    assert told([0.0021], []).endswith(" 0.21 % of the weights differently; independent masks differ in 50 %.")
    assert told([0.0], [0.014]) == "The discount chooses no weight differently."
