"""Sentences on what pruning costs: no more than intervals hold, and no verdict that a difference does not have."""

from dataclasses import replace
from typing import Any

from analysis.exhibits.with_discount import (
    Changed,
    against_published,
    changes_of_study,
    published_of_study,
    recipe_told,
    text_of,
    weights_changed,
)
from analysis.findings import finding_of
from analysis.findings.pruning_cost import apart_by_rounding, bare_words, difference_words
from analysis.specs import CalibrationParams, PruneSpec
from analysis.statistics.differences import Difference
from analysis.study.findings import EXAMPLE, read


def lost(value: float, low: float, high: float, seeds: int = 2, **more: Any) -> Difference:
    known: dict[str, Any] = {"cluster_variance": ((high - low) / 3.92) ** 2, "cluster_freedom": 300.0}
    known |= {"seed_variance": 1e-9, "seed_freedom": 5.0, "shared_variance": 0.0}
    return Difference(value, low, high, 360, 350, p=0.5, p_holm=0.5, seeds=seeds, **known, **more)


LOSSES = {0.5: lost(-0.022, -0.064, 0.019), 0.6: lost(-0.026, -0.12, 0.066), 0.7: lost(-0.206, -0.32, -0.091)}
OPEN = [lost(0.0, -0.09, 0.09), lost(-0.01, -0.15, 0.13)]
NONE = [lost(0.001, -0.007, 0.009, 6)] * 2


def said(losses: dict[float, Difference], discount: list[Difference] = OPEN) -> str:
    return str(finding_of("cost of pruning", losses, discount))


def test_the_first_line_tells_the_loss_that_is_clear_and_leaves_the_others_to_the_figure():
    told = said(LOSSES)
    assert told == (
        "Pruning 70 % of the weights costs 21 points of accuracy [9, 32]; 2 seeds cannot tell whether the sink "
        "discount changes that."
    )
    assert len(told.replace(" %", "%").split()) <= 25
    small = lost(-0.001, -0.008, 0.006)
    assert said({0.2: small, 0.7: LOSSES[0.7]}) == told


def test_a_loss_that_its_interval_does_not_tell_from_0_is_not_resolved():
    first = {0.5: LOSSES[0.5]}
    assert said(first, []) == (
        "Pruning 50 % of the weights costs 2.2 points of accuracy [−1.9, 6.4], which 2 seeds do not resolve."
    )
    both = said(first | {0.6: LOSSES[0.6]}, [])
    assert both == "Pruning 50 and 60 % of the weights costs 2 to 3 points of accuracy, which 2 seeds do not resolve."
    gain = {0.5: lost(0.01, -0.06, 0.09, seeds=1)}
    one = "by one calibration seed."
    assert said(gain, []) == f"Pruning 50 % of the weights changes accuracy by +1 point [−6, +9], {one}"
    assert said(gain | {0.6: LOSSES[0.6]}, []) == (
        f"Pruning 50 and 60 % of the weights changes accuracy by +1 to −3 points, {one}"
    )


def test_several_losses_are_told_each_and_of_many_the_ends():
    clear = lost(-0.031, -0.042, -0.02)
    assert said({0.5: clear, 0.7: LOSSES[0.7]}, NONE) == (
        "Pruning costs 3.1 points of accuracy [2.0, 4.2] at 50 % and 21 [9, 32] at 70 % of the weights; the sink "
        "discount does not measurably win any back."
    )
    one = said({0.5: LOSSES[0.5], 0.7: LOSSES[0.7]}, NONE)
    assert one == (
        "Pruning 70 % of the weights costs 21 points of accuracy [9, 32]; the sink discount does not measurably win "
        "any back."
    )
    unresolved = said({0.5: LOSSES[0.5]}, NONE[:1])
    assert unresolved.endswith("which 2 seeds do not resolve; the sink discount does not measurably help."), "no cost"
    small = lost(0.006, 0.002, 0.010, 6)
    other = said({0.5: clear, 0.7: LOSSES[0.7]}, [NONE[0], small])
    assert other.endswith(
        "; the sink discount changes accuracy by less than 2 points: +0.1 [−0.7, +0.9] at 50 % and +0.6 [+0.2, +1.0] "
        "at 70 %."
    ), "an interval without 0"
    four = dict.fromkeys((0.2, 0.3, 0.4), clear) | {0.7: LOSSES[0.7]}
    assert said(four, NONE * 2).startswith("Pruning costs accuracy at 4 sparsities, ")
    one, other = ({f"{at} %": NONE[0] for at in sparsities} for sparsities in ((50,), (20, 30, 40, 70)))
    assert difference_words(one) == "Gain from the discount: +0.1 points [−0.7, +0.9] at 50 %"
    largest = difference_words(other | {"40 %": small})
    assert largest == "Largest change from the discount: +0.6 points [+0.2, +1.0] at 40 %"
    many = said(dict.fromkeys((0.2, 0.3, 0.4), clear) | {0.7: LOSSES[0.7]})
    assert "costs accuracy at 4 sparsities, from 3.1 points [2.0, 4.2] at 20 % to 21 points [9, 32] at 70 %" in many


def test_what_lies_within_the_margin_costs_less_than_that():
    small = lost(-0.001, -0.008, 0.006)
    assert said({0.2: small}, []) == "Pruning 20 % of the weights costs less than 2 points of accuracy."


def test_one_seed_a_model_at_chance_and_missing_answers_give_no_verdict():
    one = lost(-0.206, -0.25, -0.16, 1)
    assert said({0.7: one}, [one]) == (
        "Pruning 70 % of the weights costs 21 points of accuracy [16, 25], by one calibration seed; one seed cannot "
        "tell whether the sink discount changes that."
    )
    assert "not above chance" in said({0.7: lost(-0.2, -0.3, -0.1, above_chance=False)})
    assert "not all accuracies are in" in said({0.7: lost(-0.2, -0.3, -0.1, final=False)})
    assert said({}) == ""


def test_a_discount_that_helps_or_hurts_is_told_with_its_interval():
    def shown(value: float) -> Difference:
        return Difference(value, value - 0.01, value + 0.01, 360, 350, p=1e-4, p_holm=1e-4, seeds=6, seed_variance=1e-5)

    assert "the sink discount wins back up to +3.0 points [+2.0, +4.0] at 1 of 2 sparsities" in said(
        LOSSES, [shown(0.03), NONE[0]]
    )
    assert said(LOSSES, [shown(-0.03)]).endswith("the sink discount costs another 3.0 points [2.0, 4.0].")
    for value, told, other in (
        (0.03, "wins back +3.0 points [+2.0, +4.0]", "+3.0 [+2.0, +4.0]"),
        (-0.03, "costs another 3.0 points [2.0, 4.0]", "3.0 [2.0, 4.0]"),
    ):
        one = finding_of("discount at levels", {"50 % sparsity": shown(value)})[0]
        assert one == f"The sink discount {told} at 50 % sparsity."
        twice = finding_of("discount at levels", {"50 % sparsity": shown(value), "70 %": shown(value)})[0]
        assert twice == f"The sink discount {told} at 50 % sparsity, {other} at 70 %."
        after = finding_of("discount at levels", {"50 % sparsity": NONE[0], "70 %": shown(value)})[0]
        assert after.endswith(f" at 50 % sparsity; at 70 % it {told}.")


def test_the_discount_is_told_with_its_interval_and_on_what_that_stands():
    first = {"50 % sparsity": NONE[0]}
    told, numbers, stands, seen = finding_of("discount at levels", first)
    assert (
        told == "The sink discount does not measurably help: accuracy changes by less than 2 points at 50 % sparsity."
    )
    assert numbers == "Gain from the discount: +0.1 points [−0.7, +0.9] at 50 % sparsity."
    assert stands == "360 items, 6 calibration seeds; 95 % intervals."
    scored = finding_of("discount at levels", first, accuracies="chance 50.0 %").stands
    assert scored.startswith("360 items (chance 50.0 %), 6 calibration seeds;")
    assert seen.startswith("±") and seen.endswith(" points would have been detected with 80 % power.")
    both = finding_of("discount at levels", first | {"70 %": lost(0.003, -0.003, 0.01, 6)})
    assert both.said == f"{told.removesuffix('.')} and at 70 %."
    assert both.numbers == f"{numbers.removesuffix('.')}, +0.3 [−0.3, +1.0] at 70 %."
    assert len(both.said.replace(" %", "%").split()) <= 25
    free, dear = lost(-0.013, -0.03, 0.004, 6), lost(-0.208, -0.238, -0.178, 6)
    levels = first | {"70 %": NONE[0]}
    for costs, ending in (
        ((free, dear), " at 70 %, where pruning itself costs 21 [18, 24]."),
        ((dear, free), " at 70 %; pruning itself costs 21 [18, 24] at 50 % sparsity."),
        ((dear, dear), "; pruning itself costs 21 [18, 24] at 50 % sparsity and 21 [18, 24] at 70 %."),
        ((free, free), f"{bare_words(NONE[0])} at 70 %."),
    ):
        told_costs = dict(zip(levels, costs, strict=True))
        assert finding_of("discount at levels", levels, 0.02, "", told_costs).numbers.endswith(ending)
    above = lost(0.006, 0.002, 0.010, 6)
    apart = finding_of("discount at levels", first | {"70 %": above})
    assert apart.said == (
        "The sink discount does not measurably help: +0.1 points [−0.7, +0.9] of accuracy at 50 % sparsity; at 70 % it "
        "changes accuracy by less than 2 points: +0.6 [+0.2, +1.0]."
    )
    assert not apart.numbers and "beforehand" not in apart.stands, "the first line says them, and of no margin alone"


def test_differences_are_said_to_be_computed_before_rounding_where_the_written_ones_differ():
    gain = lost(0.0034, -0.003, 0.01)
    assert apart_by_rounding([(0.7182, 0.7216, gain)]), "71.8, 72.2 and +0.3"
    assert apart_by_rounding([(0.7181, 0.7211, gain)]) == "", "71.8, 72.1 and +0.3"


def test_no_verdict_on_the_discount_is_carried_to_another_level():
    wide = {"50 % sparsity": OPEN[0], "70 %": OPEN[1]}
    told, _, _, seen = finding_of("discount at levels", wide)
    assert told == (
        "2 seeds cannot tell whether the sink discount helps: 0.0 points [−9.0, +9.0] at 50 % sparsity, "
        "−1 [−15, +13] at 70 %."
    )
    assert "would have been detected" in seen
    beside = finding_of("discount at levels", {"50 % sparsity": NONE[0], "70 %": OPEN[1]})[0]
    assert beside.endswith("; at 70 % 2 seeds cannot tell whether it helps: −1 points [−15, +13].")
    alone = lost(0.003, -0.003, 0.01, 1)
    assert "70 %" not in finding_of("discount at levels", {"50 % sparsity": NONE[0], "70 %": alone})[0]


def test_one_seed_says_what_its_brackets_leave_out_and_a_model_at_chance_has_nothing_to_lose():
    alone = Difference(0.0, -0.05, 0.05, 12, 12, final=False, seeds=1)
    said, _, stands, _ = finding_of("discount at levels", {"50 % sparsity": alone})
    assert said.startswith("The sink discount has changed accuracy by 0.0 points [−5.0, +5.0] so far at 50 %")
    assert stands == "So far 12 items, 1 calibration seed; 95 % intervals over items alone."
    at_chance = lost(0.001, -0.007, 0.009, above_chance=False)
    assert "nothing to lose" in finding_of("discount at levels", {"50 % sparsity": at_chance})[0]


def test_a_study_says_how_many_weights_the_discount_changes_at_every_sparsity_and_what_it_is_held_against():
    study = read(EXAMPLE)
    first, second = (one for one in study.pruning.contrasts if one.kind == "discount")
    for contrast, order in ((first, ["50 %", "70 %"]), (second, ["70 %", "50 %"])):
        changes = changes_of_study(study, contrast)
        assert [one.sparsity for one in changes] == order
        assert changes[0].words().startswith(f"At {order[0]} sparsity the discount chooses only 0.2")
        shown = weights_changed(changes)
        assert [note.text.partition(" <b>")[0] for note in shown.figure.layout.annotations] == [
            f"{order[0]}: {what}" for what in ("sink discount, 6 seeds", "another sample, 15 pairs")
        ], "at the sparsity that is told"
        assert list(shown.table["sparsity"]) == [at for at in order for _ in "ab"]
        assert shown.sentence.startswith("Small dots: seeds, pairs. ")
    one_seed = Changed("", [0.01], [], 0.5)
    assert [note.text for note in weights_changed([one_seed]).figure.layout.annotations] == [
        "sink discount <b>1.0 %</b>"
    ]
    largest = next(one.effect for one in study.pruning.contrasts if (one.kind, one.sparsity) == ("recipe", 0.7))
    found = published_of_study(study, "sink-wanda")
    told = f"Against Wanda as published (clean text): {bare_words(largest)} at 70 %"
    assert against_published("sink-wanda", found) == f"{told}."
    assert against_published("sink-wanda", found, 0.02) == f"{told}, undecided."
    assert against_published("sink-wanda", found, 0.1) == f"{told}, less than 10 points too."
    assert against_published("sink-wanda", {0.5: found[0.5]}).endswith(" at 50 %.")
    assert against_published("sink-wanda", {}) == ""


def test_a_difference_to_the_published_baseline_is_told_with_its_decision():
    def said(one: Difference, margin: float = 0.02) -> str:
        return against_published("sink-wanda", {0.7: one}, margin).partition("at 70 %")[2]

    def shown(value: float) -> Difference:
        return Difference(value, value - 0.01, value + 0.01, 360, 350, p=1e-4, p_holm=1e-4, seeds=6, seed_variance=1e-5)

    assert said(shown(0.03)) == said(shown(0.03), 0.0) == ", significantly better."
    assert said(shown(-0.03)) == ", significantly worse."
    assert said(lost(0.001, -0.007, 0.009, 6)) == ", less than 2 points too."
    assert said(lost(0.001, -0.007, 0.009, 6), 0.0) == ".", "no margin is spoken of"
    many = replace(lost(0.005, -0.005, 0.015, 6), tests=400)
    assert said(many) == ", undecided.", "its own interval is inside, that of the family is not"
    assert said(lost(0.0, -0.03, 0.03, 6)) == ", undecided."
    assert said(lost(0.001, -0.007, 0.009, 1)) == ", undecided with one seed."
    assert said(replace(shown(0.03), above_chance=False)) == ".", "there is no verdict at chance"


def test_a_method_is_told_by_what_it_discounts_and_the_same_without():
    told = recipe_told("sink-wanda", text_of(PruneSpec(method="sink-wanda")))
    assert told == "Wanda on noised text (part masked)"
    clean = text_of(PruneSpec(method="sink-wanda", calibration=CalibrationParams(noise="none")))
    assert recipe_told("sink-wanda", clean, "λ = 0.5") == f"{told.partition(' on ')[0]} on clean text, λ = 0.5"
    sparse = recipe_told("sink-sparsegpt", text_of(PruneSpec(method="sink-sparsegpt")))
    assert sparse == "SparseGPT on clean text"
    assert text_of(PruneSpec(method="magnitude")) == ""
