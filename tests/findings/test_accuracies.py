"""What plots of accuracies and searches show: shown differences alone, seeds that do not overlap, and no noise."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.engine.runs import Run
from analysis.exhibits.scored_runs import Alike, Levels, accuracy_of_runs, costs_of_runs, levels_of
from analysis.findings import finding_of
from analysis.specs import CalibrationParams, PruneSpec
from analysis.statistics.differences import Difference

SHARES = st.floats(0, 1, width=32)


def test_only_differences_that_are_shown_are_told_the_largest_first():
    values = np.array([[-3.2, -4.8, -1.6], [0.4, -1, 1.8], [-7, -9, -5]])
    said = finding_of("differences", ["a", "b", "c"], values, [True, False, True])
    begins = "2 of 3 differences are significant after Holm correction: "
    assert said == f"{begins}c −7.0 [−9.0, −5.0] points; a −3.2 [−4.8, −1.6] points."
    assert finding_of("differences", ["a", "b", "c"], values, [False] * 3) == ""
    assert finding_of("differences", ["a"], np.full((1, 3), np.nan), [True]) == ""
    assert finding_of("differences", [], np.zeros((0, 3)), []) == ""
    many = finding_of("differences", list("abcde"), np.tile(values[0], (5, 1)), [True] * 5, "", "effect")
    small = finding_of(
        "differences", ["a", "b"], np.array([[0.034, 0.03, 0.04], [0.1, 0.06, 0.13]]), [True] * 2, "nats"
    )
    assert small.endswith("b +0.100 [+0.060, +0.130] nats; a +0.034 [+0.030, +0.040] nats.")
    assert many.startswith("5 of 5 effects are significant after Holm correction: a −3.2 [−4.8, −1.6]; b")
    assert many.endswith(", and 2 others.")


def test_a_sweep_s_differences_are_counted_and_a_rounded_zero_has_no_minus():
    values = np.array([[-0.01, -0.04, 0.0], [0.8, 0.1, 1.5], [-0.8, -1.9, 0.3]])
    said = finding_of("sweep differences", values, [False] * 3, "the control")
    assert said == (
        "None of 3 differences to the control are significant: their intervals reach from −1.9 to +1.5 points."
    )
    assert "1 of 3 differences to the control is" in finding_of("sweep differences", values, [0, 1, 0], "the control")
    one = finding_of("sweep differences", values[:1], [False], "the control")
    assert one == "The difference to the control is not significant: its interval reaches from +0.0 to +0.0 points."
    wide = finding_of("sweep differences", values * [1, 8, 8], [False] * 3, "the control")
    assert wide.endswith("reach from −15 to +12 points."), "tenths of such an interval mean nothing"
    assert finding_of("sweep differences", np.zeros((0, 3)), [], "the control") == ""


def difference(value: float, half: float, seeds: int = 2, p: float = 0.5) -> Difference:
    noise = (half / 2) ** 2
    return Difference(
        value,
        value - half,
        value + half,
        360,
        360,
        p=p,
        p_holm=p,
        seeds=seeds,
        seed_variance=0.0,
        cluster_variance=noise,
    )


def test_runs_are_told_by_whether_a_method_is_better_and_by_their_costs():
    accuracies = {"50 %": {"A": 0.918, "B": 0.91}, "70 %": {"A": 0.72, "B": 0.71}}
    losses = {
        at: {name: difference(value - 0.931, 0.02) for name, value in named.items()} for at, named in accuracies.items()
    }

    def told(*gaps: Difference) -> str:
        named = {(at, "A", "B"): gap for at, gap in zip(accuracies, gaps, strict=False)}
        return " ".join(filter(None, finding_of("scored alike", 0.931, accuracies, losses, named)))

    costs = (
        "Pruning 50 % of the weights costs 1.3 to 2.1 points of accuracy (1 of 2 not significant); 70 % costs 21 to 22"
    )
    assert told() == f"{costs}."
    assert told(difference(0.003, 0.09), difference(-0.008, 0.04)) == (
        f"{costs}. No two methods differ significantly. Largest difference, at 70 %: B minus A +0.8 [−3.2, +4.8]."
    )
    assert told(difference(0.003, 0.09)).endswith(
        f"{costs}. Neither method is significantly better. A minus B +0.3 [−8.7, +9.3] at 50 %."
    )
    assert told(*[difference(0.001, 0.005, 6)] * 2) == f"{costs}. The 2 methods differ by less than 2 points."
    assert told(difference(0.001, 0.09, 1)) == f"{costs}. One calibration seed cannot tell the methods apart."
    for at, name in ((at, name) for at in losses for name in ("A", "B")):
        one = {at: {name: losses[at][name]}}
        said = finding_of("scored alike", 0.931, {at: {name: accuracies[at][name]}}, one, {})[0]
        assert re.fullmatch(
            rf"{name}: pruning {at} of the weights costs \d+(.\d)? points of accuracy \[.+, .+\]\.", said
        )
    one = finding_of("scored alike", 0.931, {"50 %": {"A": 0.918}}, {"50 %": {"A": losses["50 %"]["A"]}}, {})
    assert one == ("A: pruning 50 % of the weights costs 1.3 points of accuracy [−0.7, 3.3].", "")
    better = {"50 %": {"A": difference(0.004, 0.02), "B": difference(-0.013, 0.02)}}
    assert finding_of("scored alike", 0.931, {"50 %": {"A": 0.935, "B": 0.918}}, better, {})[0] == (
        "Pruning 50 % of the weights changes accuracy by +0.4 to −1.3 points (not significant)."
    ), "a gain is no cost"
    better["50 %"]["B"] = difference(0.012, 0.02)
    assert (
        "by +0.4 to +1.2 points"
        in finding_of("scored alike", 0.931, accuracies, better | {"70 %": losses["70 %"]}, {})[0]
    )
    gained, lost = difference(0.03, 0.01, 6, 0.001), difference(-0.04, 0.01, 6, 0.001)
    assert told(gained) == f"A beats B by 3.0 points [2.0, 4.0] at 50 %. {costs}."
    assert told(gained, lost) == (
        f"B beats A by 4.0 points [3.0, 5.0] at 70 %. {costs}. This is the largest of 2 significant differences."
    )
    assert told(replace(gained, final=False)) == f"{costs}.", "no verdict before all answers are in"
    nothing = {"50 %": {"A": replace(losses["50 %"]["A"], above_chance=False)}}
    assert "nothing to lose" in finding_of("scored alike", 0.931, {"50 %": {"A": 0.9}}, nothing, {})[0]


def test_every_two_methods_are_told_by_their_largest_difference():
    accuracies = {"50 %": dict.fromkeys("ABC", 0.9), "70 %": dict.fromkeys("ABC", 0.7)}

    def told(gaps: dict[tuple[str, str, str], Difference]) -> str:
        return finding_of("scored alike", 0.931, accuracies, {}, gaps)[1]

    small = {(at, "B", "C"): difference(0.001, 0.005, 6) for at in accuracies}
    wide = {("70 %", "A", "B"): difference(-0.005, 0.04), ("50 %", "A", "B"): difference(0.002, 0.04)}
    wide |= {("70 %", "A", "C"): difference(-0.008, 0.04)}
    end = " differ by less than 2 points, the margin fixed beforehand."
    apart = "C +0.8 [−3.2, +4.8], B +0.5 [−3.5, +4.5]"
    assert told(wide | small) == f"Largest differences from A, at 70 %: {apart}; these two{end}"
    wide["50 %", "A", "B"] = difference(0.009, 0.04)
    each = "B −0.9 [−4.9, +3.1] at 50 %, C +0.8 [−3.2, +4.8] at 70 %"
    assert told(wide | small) == f"Largest differences from A: {each}; these two{end}"
    alone = {("70 %", "A", "B"): difference(-0.008, 0.04)}
    assert told(alone | small) == f"Largest difference, at 70 %: B minus A +0.8 [−3.2, +4.8]; B and C{end}"
    all_open = wide | {("70 %", "B", "C"): difference(-0.007, 0.04)}
    assert told(all_open).startswith("Largest differences: A minus B +0.9 [−3.1, +4.9] at 50 %, C minus A +0.8")
    many = {("50 %", "A", name): difference(0.001 * (place + 1), 0.04) for place, name in enumerate("BCDEF")}
    assert told(many).startswith("Largest differences from A, at 50 %: F −0.5") and told(many).endswith(
        ", 2 other pairs less."
    )


def test_costs_of_runs_without_intervals_are_told_of_few_sparsities():
    many = {f"{at} %": {"Magnitude": 0.9 - at / 1000} for at in range(10, 60, 10)}
    assert finding_of("scored alike", 0.931, many, {}, {})[0] == (
        "Magnitude: pruning 10 % of the weights costs 4.1 points of accuracy; 50 % costs 8.1."
    )
    both = {"": {"A": 0.9, "B": 0.8}}
    assert finding_of("scored alike", 0.931, both, {}, {})[0] == (
        "Without removing weights pruning costs 3.1 to 13.1 points of accuracy."
    )
    alone = finding_of("scored alike", None, {"50 %": {"Magnitude": 0.9}}, {}, {})[0]
    assert alone == "Magnitude: pruned models answer 90.0 % right at 50 % sparsity."
    assert finding_of("scored alike", None, {}, {}, {})[0] == "No pruned model is scored yet."


def run(method: str, sparsity: float, seed: int, samples: int = 128) -> Run:
    spec = PruneSpec(method=method, sparsity=sparsity, calibration=CalibrationParams(seed=seed, samples=samples))
    name = f"{method} {sparsity} {seed} {samples}"
    return Run(name, "pruned", name, "folder", "bundled", 0.0, parameters=spec.model_dump(mode="json"))


def test_the_answer_on_runs_pools_no_methods_and_takes_the_one_with_its_control():
    scored = [(run("wanda", 0.5, 0), 0.5), (run("wanda", 0.7, 0), 0.5), (run("wanda", 0.7, 1), 0.5)]
    pairs = [(run("wanda-noised", 0.5, seed), 0.8) for seed in (0, 1)] + [(run("sink-wanda", 0.5, 0), 0.9)]
    with_pairs = levels_of(Alike(0.95, 0.4, 12, "", [*scored, *pairs]))
    assert with_pairs == Levels({0.5: pytest.approx(0.8)}, {0.5: 0.9}, "sink-wanda", "With discount", 2)
    alone = levels_of(Alike(0.95, 0.4, 12, "", scored))
    assert alone == Levels({0.5: 0.5, 0.7: 0.5}, {}, "wanda", "Wanda as published", 2)


def test_a_method_is_drawn_with_what_it_is_compared_with():
    methods = ("wanda", "wanda-noised", "sink-wanda", "magnitude")
    alike = Alike(0.95, 0.4, 12, "PIQA", [(run(method, 0.5, 0), 0.8) for method in methods])
    shown = accuracy_of_runs(alike, None, "With discount")
    assert list(shown.table["method"]) == ["Wanda as published", "Without discount", "With discount"]
    assert (
        shown.sentence == "Wanda removes the weights that add least; 12 items of PIQA; not drawn: "
        "Magnitude (80.0 %). Noised text: calibration as seen while denoising."
    )
    names = {note.text.partition("<br>")[0] for note in shown.figure.layout.annotations}
    assert names > {"Wanda as published · clean text", "Without discount · noised text", "With discount · noised text"}
    sparse = Alike(
        0.95, 0.4, 12, "", [(run(method, 0.5, 0), 0.8) for method in ("magnitude", "sparsegpt", "sink-sparsegpt")]
    )
    notes = accuracy_of_runs(sparse, None).figure.layout.annotations
    names = {note.text.partition("<br>")[0] for note in notes}
    assert names > {"Magnitude", "SparseGPT as published · clean text", "With discount (Sink-SparseGPT) · clean text"}
    costs = costs_of_runs(alike, None, "With discount")
    assert list(costs.accuracies["50 %"]) == list(shown.table["method"]) and not costs.losses and not costs.gaps
    every = costs_of_runs(alike, None)
    assert len(every.accuracies["50 %"]) == len(methods)


def test_settings_that_share_a_method_are_told_apart_and_the_one_with_most_runs_keeps_its_name():
    """As after a study and a smaller sweep: at 50 % a method has two settings, at 70 % one."""
    pair = ("wanda-noised", "sink-wanda")
    study = [(run(method, at, seed), 0.9) for method in pair for at in (0.5, 0.7) for seed in (0, 1)]
    sweep = [(run(method, 0.5, 0, samples=32), 0.8) for method in pair]
    alike = Alike(0.95, 0.4, 12, "PIQA", [*sweep, *study])
    costs = costs_of_runs(alike, None)
    apart = {"Without discount · samples 32": 0.8, "With discount · samples 32": 0.8}
    assert costs.accuracies["50 %"] == {"Without discount": 0.9, "With discount": 0.9} | apart
    assert costs.accuracies["70 %"] == {"Without discount": 0.9, "With discount": 0.9}
    levels = levels_of(alike)
    assert levels == Levels({0.5: 0.9, 0.7: 0.9}, {0.5: 0.9, 0.7: 0.9}, "sink-wanda", "With discount", 2)
    shown = accuracy_of_runs(alike, None, levels.who)
    assert list(shown.table["method"]) == ["Without discount", "With discount"] * 2
    assert (
        "not drawn: Without discount (control) · samples 32 (80.0 %) and With discount · samples 32" in shown.sentence
    )


def test_published_differences_are_told_where_two_standard_errors_do_not_hold_them():
    differences = np.array([[0.005, -0.021], [np.nan, 0.0004]])
    said = finding_of("published differences", ["a − b", "c − d"], [0.5, 0.75], differences, None)
    assert said == "In points: a − b +0.5 at 50 % and −2.1 at 75 %; c − d +0.0 at 75 %. The source gives no intervals."
    said = finding_of("published differences", ["a − b", "c − d"], [0.5, 0.75], differences, np.full((2, 2), 0.01))
    assert said == "In points: a − b −2.1 at 75 %. More than two standard errors as published."
    assert finding_of("published differences", ["a − b"], [0.5, 0.75], differences[:1], np.full((1, 2), 0.02)) == ""
    assert finding_of("published differences", [], [0.5], np.zeros((0, 1)), None) == ""


def test_models_lie_above_chance_with_their_whole_interval_or_are_named():
    low, values = np.array([0.5, 0.2, 0.3]), np.array([0.6, 0.31, 0.4])
    said = finding_of("above chance", ["dense", "a", "b"], low, values, 0.25, False)
    assert said == (
        "The intervals of 2 of 3 models lie above choosing at random (25 %), highest: dense, 60 %; not shown of a "
        "(31 %)."
    )
    assert finding_of("above chance", ["dense"], low[:1], values[:1], 0.25, True).startswith("So far the interval lies")
    assert finding_of("above chance", ["dense", "b"], low[::2], values[::2], 0.25, False).startswith(
        "The intervals of both models lie"
    )
    assert finding_of("above chance", ["a"], low[1:2], values[1:2], 0.25, False) == ""
    assert finding_of("above chance", ["dense"], low[:1], values[:1], None, False) == ""


def test_seeds_that_do_not_overlap_are_told_where_the_gap_is_widest():
    low = np.array([[0.50, 0.40], [0.45, 0.30]])
    high = np.array([[0.52, 0.42], [0.51, 0.33]])
    seeds = np.full((2, 2), 3)
    said = finding_of("seeds apart", ["A", "B"], ["50 %", "75 %"], low, high, seeds)
    assert said == (
        "At 75 % every seed of A (40.0 to 42.0 %) lies above every seed of 1 other method; next is B (30.0 to 33.0 %)."
    )
    assert finding_of("seeds apart", ["A", "B"], ["50 %"], low[:, :1], high[:, :1], seeds[:, :1]) == ""
    assert finding_of("seeds apart", ["A", "B"], ["50 %", "75 %"], low, high, np.ones((2, 2))) == ""


@given(arrays(np.float32, (3, 2), elements=SHARES), arrays(np.float32, (3, 2), elements=st.floats(0, 0.25, width=32)))
def test_seeds_said_to_lie_apart_do(low, width):
    high = low + width
    said = finding_of("seeds apart", list("abc"), ["x", "y"], low, high, np.full((3, 2), 2))
    column = {"At x": 0, "At y": 1}.get(said[:4])
    if column is None:
        apart = [np.sort(low[:, at])[-1] > np.delete(high[:, at], low[:, at].argmax()).max() + 1e-6 for at in (0, 1)]
        assert not any(apart)
    else:
        best = low[:, column].argmax()
        assert low[best, column] > np.delete(high[:, column], best).max()
        assert f"every seed of {'abc'[best]} " in said


def test_the_smallest_model_above_chance_and_what_steps_matter():
    x, low, high = [np.array([1e6, 2e6])], [np.array([0.2, 0.4])], [np.array([0.3, 0.45])]
    said = finding_of("smallest above chance", ["A"], x, low, high, 0.25, "weights")
    assert said == "Smallest with every seed above choosing at random (25 %), at 2,000,000 weights: A 40 % to 45 %."
    both = finding_of("smallest above chance", ["Z", "A"], x * 2, low * 2, high * 2, 0.25, "weights")
    assert both.endswith("at 2,000,000 weights: Z 40 % to 45 %, A 40 % to 45 %."), (
        "none is told before others of its size"
    )
    assert finding_of("smallest above chance", ["A"], x, low, high, 0.5, "weights") == ""
    assert finding_of("smallest above chance", ["A"], x, low, high, None, "weights") == ""
    grid = np.array([[0.5, 0.4], [0.51, np.nan]])
    said = finding_of("grid beyond seeds", grid, ["5-25", "30-50"], ["50 %", "75 %"], 0.004)
    assert said == "At 50 % 30-50 has 1.0 points more than 5-25; two calibration seeds differ by up to 0.4."
    assert finding_of("grid beyond seeds", grid, ["5-25", "30-50"], ["50 %", "75 %"], 0.02) == ""
    assert finding_of("grid beyond seeds", grid, ["5-25", "30-50"], ["50 %", "75 %"], None) == ""


def test_the_best_trial_is_told_where_it_beats_the_published_setting():
    said = finding_of("trials", [0.09, 0.1, 0.08, 0.085], 0.09, 0.1, -1, 1)
    assert said == (
        "Trial 2 is the best of 4 tried, on what they were judged by: 8.0 %; 9.0 % as published, 10.0 % without a "
        "discount."
    )
    assert finding_of("trials", [0.09, 0.1], 0.09, 0.1, -1, 1) == ""
    assert finding_of("trials", [0.6, 0.5, 0.7], 0.6, None, 1, 0).startswith("Trial 2 is the best of 3")
    assert finding_of("trials", [np.nan], 0.5, None, 1, 0) == ""
    said = finding_of("trials", [0.0995, 0.1, 0.098], 0.0995, 0.1, -1, 1, 0.103)
    assert said == (
        "None of 3 settings beats no discount (10.0 %) by more than another calibration seed changes it: the best "
        "gains 0.2 points, the seed changes 0.3 points."
    )
    said = finding_of("trials", [0.175757, 0.1757134], 0.175757, 0.175713, -1, 4, 0.175821)
    assert said.endswith("the best gains nothing, the seed changes 0.011 points.")
    assert finding_of("trials", [0.6, 0.5, 0.7], 0.6, 0.5, 1, 0, 0.4).startswith("Trial 2 is the best of 3")
    assert finding_of("trials", [0.09, 0.08, 0.08], 0.09, 0.08, -1, 1) == "", "no discount is worth as much"
    assert finding_of("trials", [0.09, 0.1, 0.08996], 0.09, 0.1, -1, 1) == "", "no decimal that is shown differs"


def test_an_even_part_of_a_whole_is_not_spoken_of():
    assert finding_of("importances", [0.5, 0.5], ["k", "λ"]) == ""
    assert finding_of("importances", [0.2, 0.8], ["k", "λ"]).startswith("λ (80 %) tells good trials from the rest most")
