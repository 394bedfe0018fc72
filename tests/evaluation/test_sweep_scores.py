"""What a sweep says: settings over seeds, their counterparts found by their specs, and which noise was counted."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evaluation import sweep_scores, sweep_tables
from analysis.evaluation.published_results import PublishedAccuracy, chance_of, published, published_pairs, remarks
from analysis.evaluation.sweep_scores import PointScores, TaskScores
from analysis.exhibits.discount_levels import levels_of_sweep, pairs_along
from analysis.findings import sweeps
from analysis.findings.sweeps import headline, relations
from analysis.specs import METHODS, RECIPE, ModelSpec, SweepSpec, grid, part_alone, setting_key

ITEMS, A_CLUSTER = 60, 3


def scored(spec: SweepSpec, gain: float = 0.0, seed: int = 0) -> list[PointScores]:
    """Scores of every point: the same for all methods of a seed but for `gain`, which sink-wanda alone gets."""
    points = []
    for pruning in grid(spec).prunings:
        rng = np.random.default_rng([seed, pruning.calibration.seed, round(100 * pruning.sparsity)])
        tasks = []
        for name, chance in (("one", 0.5), ("two", 0.25)):
            right = (rng.random(ITEMS) < 0.6).astype(float)
            own = np.random.default_rng([seed, pruning.calibration.seed, len(pruning.method)])
            flipped = np.where(own.random(ITEMS) < 0.05, 1 - right, right)
            if pruning.method == "sink-wanda":
                flipped = np.where(own.random(ITEMS) < gain, 1.0, flipped)
            keys = tuple(f"{name} {item}" for item in range(ITEMS))
            clusters = tuple(f"cluster {item // A_CLUSTER}" for item in range(ITEMS))
            tasks.append(TaskScores(name, name.title(), keys, clusters, np.ones(ITEMS), flipped, chance))
        points.append(PointScores(pruning, tuple(tasks)))
    return points


def swept(points: list[PointScores], spec: SweepSpec) -> list[sweep_scores.Setting]:
    return sweep_scores.settings(points, grid(spec).prunings)


SPEC = SweepSpec(methods=("sink-wanda", "wanda-noised", "wanda"), sparsities=(0.6, 0.7), seeds=tuple(range(6)))


def test_a_setting_is_the_mean_of_its_seeds_and_knows_dense_and_chance():
    points = scored(SPEC)
    found = swept(points, SPEC)
    assert [(one.name, one.seeds, one.complete) for one in found][:2] == [
        ("sink-wanda 0.6", tuple(range(6)), True),
        ("sink-wanda 0.7", tuple(range(6)), True),
    ]
    mine = [point for point in points if point.pruning.method == "sink-wanda" and point.pruning.sparsity == 0.6]
    means = [np.mean([task.pruned.mean() for task in point.tasks]) for point in mine]
    assert found[0].by_seed == pytest.approx(means)
    assert found[0].accuracy == pytest.approx(np.mean(means))
    assert (found[0].dense.value, found[0].chance) == (1.0, 0.375)
    assert found[0].above_chance is True, "as JSON has it, and no number of NumPy's"
    row = sweep_tables.setting_row(found[0])
    assert (row["seeds"], row["of"], row["lowest seed"]) == (6, 6, pytest.approx(min(means)))


def test_every_sink_aware_setting_stands_against_its_control_and_its_published_baseline():
    found = sweep_scores.comparisons(swept(scored(SPEC), SPEC))
    assert [(one.setting.pruning.sparsity, one.other.pruning.method, one.relation) for one in found] == [
        (0.6, "wanda-noised", "control"),
        (0.6, "wanda", "published"),
        (0.7, "wanda-noised", "control"),
        (0.7, "wanda", "published"),
    ]
    assert all(one.difference.clusters == 2 * ITEMS // A_CLUSTER for one in found)
    assert all(one.difference.p_holm >= one.difference.p for one in found)


def test_without_an_effect_it_cannot_tell_and_names_both_sources_of_noise():
    told = told_of(sweep_scores.comparisons(swept(scored(SPEC), SPEC)))
    control = next(sentence for sentence in told if "control" in sentence)
    assert control.startswith("Sink-Wanda against Wanda, noised (control) on the diffusion model: cannot tell at")
    assert " at 60 % (" in control
    assert (
        control.count("would have been detected") == 2 and "after holm correction over 4 comparisons" in control.lower()
    )
    assert (
        "hold two sources of noise: items (120 in 40 clusters), and the calibration seed (6 seeds, paired)" in control
    )


def test_an_effect_is_shown():
    told = sweep_scores.comparisons(swept(scored(SPEC, gain=0.5), SPEC))
    assert all(one.decision == "better" and one.shown and one.difference.value > 0.1 for one in told)


def told_of(compared: list[sweep_scores.Comparison]) -> list[str]:
    return list(map(str, sweeps.verdicts(compared)))


def first_line(points: list[PointScores], spec: SweepSpec = SPEC) -> sweeps.Verdict:
    compared = sweep_scores.comparisons(swept(points, spec))
    assert relations(compared) == ["control", "published"]
    return headline([one for one in compared if one.relation == "control"])


def test_the_first_line_is_the_largest_significant_difference_from_the_control():
    said = first_line(scored(SPEC, gain=0.5))
    assert said.told.startswith("The sink discount changes accuracy at 2 of 2 sparsities: +")
    assert said.told.endswith(" % sparsity, a significant gain.")
    assert said.tested.startswith("On bundled, against Wanda, noised (control). ")
    assert set(said.discount) == {"60 % sparsity", "70 % sparsity"}


def test_without_one_it_says_which_would_have_been_detected_and_what_is_left_out():
    said = first_line(scored(SPEC))
    assert said.told.endswith(" by less than 2 points either way at 1 of 2 sparsities; not decided at 60 % sparsity.")
    assert re.search(r"; ±[\d.]+ points would have been detected\. ", said.tested)
    assert said.tested.endswith("Other models, tasks and calibration sources are not covered.")
    one = SPEC.model_copy(update={"seeds": (0,)})
    assert first_line(scored(one), one).told.endswith(": not decided with one calibration seed.")


def test_with_one_seed_the_noise_of_the_seed_is_said_to_be_left_out():
    one = SPEC.model_copy(update={"seeds": (0,)})
    (control, _) = told_of(sweep_scores.comparisons(swept(scored(one), one)))
    assert "leave out the calibration seed's" in control
    assert "no verdict from one calibration seed at 60 %" in control and "p = " not in control
    assert sweep_scores.floor(swept(scored(one), one)[0]) is None


def test_a_dense_model_at_chance_gives_no_verdict():
    points = [
        replace(point, tasks=tuple(replace(task, chance=0.99) for task in point.tasks))
        for point in scored(SPEC, gain=0.5)
    ]
    compared = sweep_scores.comparisons(swept(points, SPEC))
    assert {one.decision for one in compared} == {"at chance"} and not any(one.shown for one in compared)
    assert "the dense model is not above chance" in told_of(compared)[0]


def test_while_seeds_are_missing_a_difference_is_interim_and_on_the_seeds_that_both_have():
    points = [
        point for point in scored(SPEC) if point.pruning.method == "sink-wanda" or point.pruning.calibration.seed < 3
    ]
    found = sweep_scores.comparisons(swept(points, SPEC))
    assert {one.seeds for one in found} == {(0, 1, 2)}
    assert all(one.difference.p is None and one.difference.words.startswith("interim") for one in found)


def test_points_are_joined_on_the_items_that_all_of_a_model_have_answered():
    points = scored(SPEC)
    short = points[3].tasks[0]
    few = replace(
        short, keys=short.keys[5:], clusters=short.clusters[5:], dense=short.dense[5:], pruned=short.pruned[5:]
    )
    points[3] = replace(points[3], tasks=(few, points[3].tasks[1]))
    found = swept(points, SPEC)
    assert {setting.tasks["one"][0].shape[1] for setting in found} == {ITEMS - 5}
    assert {setting.tasks["two"][0].shape[1] for setting in found} == {ITEMS}
    points[3] = replace(points[3], tasks=points[3].tasks[1:])
    assert {tuple(setting.tasks) for setting in swept(points, SPEC)} == {("two",)}


def test_models_are_not_compared_with_each_other():
    spec = SPEC.model_copy(update={"other_models": (ModelSpec(source="bundled-ar"),)})
    found = sweep_scores.comparisons(swept(scored(spec), spec))
    assert len(found) == 8
    assert all(one.setting.pruning.model == one.other.pruning.model for one in found)


def test_published_rows_carry_their_source_and_are_shares():
    rows = published()
    assert all(row.source and row.model and 0 <= row.accuracy <= 1 for row in rows)
    assert {row.method for row in rows} <= {*METHODS, "dense", "baseline", "sink-aware"}
    replicated = [row for row in rows if "replication:" in row.source]
    assert len(replicated) == 13 and all(row.standard_error for row in replicated)
    cell = next(row for row in rows if (row.method, row.sparsity, row.task) == ("sink-wanda", 0.5, "average"))
    assert cell.accuracy == pytest.approx(0.5318)


def test_published_differences_at_chance_and_another_dense_score_are_said():
    tables: dict[tuple[str, str, str], list[PublishedAccuracy]] = {}
    for row in published():
        tables.setdefault((row.model, row.pattern, row.task), []).append(row)
    paper = " ".join(remarks(tables["LLaDA-8B", "unstructured", "winogrande"]))
    assert "At 75 % Sink-Wanda and Wanda are not above chance (50 %)" in paper and "Sink-SparseGPT" not in paper
    replication = " ".join(remarks(tables["LLaDA-8B-Base", "unstructured", "winogrande"]))
    assert "scores 74.59 % here and 69.30 % in another source" in replication
    assert remarks(tables["LLaDA-8B", "unstructured", "gsm8k"]) == [] and chance_of("gsm8k") is None


def test_published_methods_are_set_beside_what_each_was_published_against():
    tables: dict[tuple[str, ...], list[PublishedAccuracy]] = {}
    for row in published():
        tables.setdefault((row.model, row.pattern, row.task), []).append(row)
    replicated = published_pairs(tables["LLaDA-8B-Base", "unstructured", "winogrande"])
    assert replicated.names == ("Sink-Wanda − Wanda", "Sink-SparseGPT − SparseGPT")
    assert replicated.sparsities == (0.25, 0.5, 0.75)
    assert replicated.differences[0] == pytest.approx([-0.0016, 0.0032, 0.0008])
    assert replicated.errors is not None and replicated.errors[0, 1] == pytest.approx(0.0129 * 2**0.5)
    average = published_pairs(tables["LLaDA-8B", "unstructured", "average"])
    assert average.errors is None and average.differences[0, 0] == pytest.approx(0.0048)
    assert all(pairs.names for pairs in map(published_pairs, tables.values())), "each table has a pair"
    table = tables["LLaDA-8B", "unstructured", "average"]
    assert published_pairs([*table, *(replace(row, source="another") for row in table)]).names == average.names
    assert published_pairs([row for row in table if not row.sparsity]).names == (), "nothing was pruned"


# --- the recipe taken apart, and the dose ------------------------------------------------------------------------


def test_a_sweep_that_takes_the_recipe_apart_prunes_each_part_alone_beside_its_baseline():
    spec = SweepSpec(methods=("sink-wanda", "wanda-noised", "wanda"), sparsities=(0.7,), seeds=(0, 1), decompose=True)
    points = grid(spec).prunings
    assert len(points) == 2 * (3 + 4) and len({setting_key(point) for point in points}) == 7
    assert [part_alone(point) for point in points[:7]].count("") == 3
    found = sweep_scores.comparisons(swept(scored(spec), spec))
    told = {(one.setting.name, one.other.pruning.method, one.relation) for one in found}
    alone = {
        (f"{'sink-wanda' if part == 'discount' else 'wanda-noised'} 0.7 {part} alone", "wanda", "published")
        for part in RECIPE
    }
    assert told == alone | {("sink-wanda 0.7", "wanda-noised", "control"), ("sink-wanda 0.7", "wanda", "published")}
    said = " ".join(told_of(found))
    assert said.count("Wanda with one part of the recipe against Wanda") == 1
    assert all(f"70 % {part} alone" in said for part in RECIPE)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"methods": ("wanda", "wanda-noised")}, "sweep sink-wanda with wanda"),
        ({"methods": ("sink-wanda", "wanda-noised")}, "sweep sink-wanda with wanda"),
        ({"pruning": {"norm": "pooled", "out": ""}}, "leave order and norm as published"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        SweepSpec(decompose=True, **changes)


def test_a_sham_discount_stands_beside_the_discount():
    spec = SweepSpec(methods=("sink-wanda", "sham-wanda", "light-wanda"), sparsities=(0.7,), seeds=(0, 1))
    found = sweep_scores.comparisons(swept(scored(spec), spec))
    assert [(one.setting.pruning.method, one.other.pruning.method, one.relation) for one in found] == [
        ("sink-wanda", "sham-wanda", "sham"),
        ("sink-wanda", "light-wanda", "light"),
    ]


def dosed(slope: float, seeds: int = 6) -> list[sweep_scores.DoseResponse]:
    """Dose-responses of drawn scores whose accuracy grows so much from λ = 0 to 1."""
    spec = SweepSpec(
        methods=("sink-wanda",), sparsities=(0.7,), strengths=(0, 0.25, 0.5, 0.75, 1), seeds=tuple(range(seeds))
    )
    points = []
    for pruning in grid(spec).prunings:
        rng = np.random.default_rng([1, pruning.calibration.seed])
        level = rng.random(4000)
        right = (level < 0.6 + slope * pruning.discount.discount_strength).astype(float)
        keys, clusters = (tuple(f"{name} {item}" for item in range(4000)) for name in ("one", "item"))
        points.append(PointScores(pruning, (TaskScores("one", "One", keys, clusters, np.ones(4000), right, 0.25),)))
    return sweep_scores.dose_responses(swept(points, spec))


def test_a_dose_response_is_the_slope_in_the_strength_with_its_interval():
    (rising,) = dosed(0.1)
    assert rising.strengths == (0, 0.25, 0.5, 0.75, 1)
    expected = np.polyfit(rising.strengths, rising.accuracies, 1)[0]
    assert rising.slope.value == pytest.approx(expected) and rising.slope.low < 0.1 < rising.slope.high
    assert rising.slope.shown and "accuracy rises with λ, +1" in sweeps.dose_response(rising)
    (flat,) = dosed(0.0)
    assert "no significant trend in λ" in sweeps.dose_response(flat) and sweep_scores.dose_row(flat)["slope"] == 0
    (one,) = dosed(0.1, seeds=1)
    assert one.slope.p is None and "no verdict from one calibration seed" in sweeps.dose_response(one)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=8, unique_by=lambda value: round(value, 3)), st.floats(-2, 2))
def test_slope_weights_are_those_of_least_squares(strengths, slope):
    weights = sweep_scores.slope_weights(strengths)
    assert weights.sum() == pytest.approx(0, abs=1e-6 * np.abs(weights).max())
    assert weights @ (0.3 + slope * np.array(strengths)) == pytest.approx(slope, abs=1e-6)


def test_while_a_sweep_is_at_work_the_seeds_that_every_setting_has_are_told() -> None:
    def told(points: list[PointScores]) -> str:
        found = swept(points, SPEC)
        compared = sweep_scores.comparisons(found)
        [pair] = pairs_along([one for one in compared if sweeps.is_discount(one)]).values()
        return levels_of_sweep(pair, found, compared).setup

    points = scored(SPEC)
    assert told(points).endswith("2 sparsities × 3 methods × 6 seeds.")
    assert told(points[: 3 * 6 + 1]).endswith("2 sparsities × 3 methods × 3 of 6 seeds."), "one has a fourth"
