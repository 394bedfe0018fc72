"""Curves and tables of an evaluation, and their figures."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from analysis.engine.runs import Run
from analysis.evaluation import comparing, curves, plan_noise, planning, results, tables
from analysis.exhibits.scored_runs import (
    Alike,
    Levels,
    accuracy_of_runs,
    costs_of_runs,
    discount_gains,
    levels_of,
    runs_by_setting,
)
from analysis.exhibits.with_discount import accuracy_by_role, differences_over_seeds
from analysis.figures import accuracy as figures
from analysis.figures.style import SERIES_COLORS
from analysis.findings import evaluations
from analysis.jobs import evaluation
from analysis.pruned.report_file import PrunedRun
from analysis.specs import CalibrationParams, PlanParams, PruneSpec
from analysis.statistics import clustered, crossed
from analysis.statistics.decisions import interval_words
from analysis.statistics.differences import SHOWN, Difference, flipped, holm
from tests.helpers import pruned_run

BENCHMARK = {
    "kind": "multiple_choice",
    "metric": "acc",
    "planned": 40,
    "draws": 32,
    "shots": 0,
    "guidance": 0.0,
    "gen_length": None,
    "source": "ours",
}


NAMES = ("dense", "the control", "sink-aware")  # names say nothing about methods
RUNS = (PrunedRun({}, None, ""), pruned_run(method="wanda-noised"), pruned_run(method="sink-wanda"))


def written(path, counts=(40, 40, 25), runs=RUNS, names=NAMES, drop=0.5, scored=("float32",) * 9) -> results.Results:
    """Two benchmarks; the models have answered so many items of each, each worse than the one before it by `drop`."""
    rng = np.random.default_rng(0)
    lines = [
        {
            "line": "header",
            "names": names[: len(runs)],
            "problems": [],
            "models": [{"fingerprint": ("e" if run.settings else "f") * 32, "pruning": asdict(run)} for run in runs],
            "benchmarks": [{"name": name, "title": name.upper(), **BENCHMARK} for name in ("a", "b")],
        }
    ]
    for benchmark in "ab":
        for place in range(40):
            key = f"{benchmark}/{place}"
            lines.append(
                {
                    "line": "document",
                    "key": key,
                    "benchmark": benchmark,
                    "place": place,
                    "question": f"Question {place}",
                    "choices": ["yes", "no"],
                    "right": 0,
                }
            )
            for model, count in enumerate(counts):
                if place < count:
                    value = rng.normal(0.6 - drop * model)
                    lines.append(
                        {
                            "line": "answer",
                            "key": key,
                            "model": model,
                            "metrics": {"acc": float(value > 0)},
                            "restored": False,
                            "responses": [[value, False], [0.0, False]],
                            "draws": [32, 32],
                            "precision": scored[model],
                            "device": "cpu",
                        }
                    )
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"line": "ans')  # the last line is being written
    return results.read(path)


@pytest.fixture
def found(tmp_path) -> results.Results:
    return written(tmp_path / "items.jsonl")


def test_runs_that_were_scored_alike_are_held_against_the_dense_model_and_each_other(tmp_path):
    """Two methods at one sparsity with two calibration seeds each, of which the second method's are worse."""
    methods = ("sink-wanda", "wanda-noised")
    runs = [
        Run(f"{method} {seed}", "pruned", method, "", "bundled", 0.0, parameters=spec.model_dump(mode="json"))
        for method in methods
        for seed in (0, 1)
        for spec in [PruneSpec(method=method, sparsity=0.5, calibration=CalibrationParams(seed=seed))]
    ]
    alike = Alike(0.7, 0.5, 80, "", [(run, 0.5) for run in runs])
    in_order = [run for _, group in runs_by_setting(alike) for run, _ in group]
    several = (RUNS[0], *(pruned_run(method=run.parameters["method"]) for run in in_order))
    found = written(tmp_path / "runs.jsonl", (40,) * 5, several, ("dense", *"abcd"), 0.2, ("float32",) * 5)
    costs = costs_of_runs(alike, found)
    first, second = dict.fromkeys(run.parameters["method"] for run in in_order)
    shares = np.array(
        [
            np.mean(
                [
                    np.mean([found.answers[f"{task}/{item}", model].metrics["acc"] for item in range(40)])
                    for task in "ab"
                ]
            )
            for model in range(5)
        ]
    )
    named = {"sink-wanda": "With discount", "wanda-noised": "Without discount"}
    losses = costs.losses["50 %"]
    assert losses[named[first]].value == pytest.approx(shares[1:3].mean() - shares[0])
    assert losses[named[second]].value == pytest.approx(shares[3:].mean() - shares[0])
    [(where, *pair)], [gap] = costs.gaps, costs.gaps.values()
    assert (where, pair) == ("50 %", [named[first], named[second]])
    assert gap.value == pytest.approx(shares[1:3].mean() - shares[3:].mean())
    assert (gap.n, gap.seeds, gap.tests) == (80, 2, 1)
    gains = discount_gains(costs, levels_of(alike))
    assert (gains.method, gains.who) == ("sink-wanda", "With discount")
    [(key, gain)] = gains.over.items()
    assert key == ("50 %", "Without discount") and gain == (gap if first == "sink-wanda" else flipped(gap))
    assert not discount_gains(costs, Levels({0.5: 0.5}, {}, "wanda", "Wanda as published", 2)).over
    shown = accuracy_of_runs(alike, found, gains=gains)
    assert "; dots: calibration seeds; whiskers: 95 % intervals over items and seeds. " in shown.sentence
    whiskers = [one for one in shown.figure.data if one.error_x.array is not None]
    ends = [(one.x[0] - one.error_x.arrayminus[0], one.x[0] + one.error_x.array[0]) for one in whiskers]
    assert sorted(ends) == [
        pytest.approx(end, abs=1e-4) for end in sorted((100 * one.low, 100 * one.high) for one in losses.values())
    ], "the axis shows the change that the interval is of"
    notes = " ".join(note.text for note in shown.figure.layout.annotations)
    assert interval_words(gain).replace(" points", "") in notes
    for loss in losses.values():
        assert interval_words(loss).replace(" points", "") in notes


def test_a_file_that_another_run_writes_anew_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "items.jsonl"
    growing = results.Growing(path)
    for names, counts in (
        (("dense", "one", "two"), (40, 40, 25)),
        (("other", "one", "two"), (40, 40, 39)),
        (("other", "one", "two"), (3, 2, 1)),
    ):
        whole = written(path, counts, names=names)
        seen = growing.read()
        assert (seen.names, seen.answers) == (whole.names, whole.answers)
        assert growing.read().answers == whole.answers


def test_curves_end_at_the_estimates(found):
    for model, curve in enumerate(curves.accuracy_curves(found, "a")):
        one = results.accuracy(found, "a", model)
        assert (curve.mean[-1], curve.low[-1], curve.high[-1], len(curve.items)) == pytest.approx(
            (one.value, one.low, one.high, one.n)
        )
    pair = (1, 0)
    (curve,) = curves.difference_curves(found, "b", [pair])
    one = comparing.family(found, [pair])[pair]["b"]
    assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((one.value, one.low, one.high))
    for model, curve in enumerate(curves.accuracy_curves(found, results.AVERAGE)):
        mean = clustered.average(
            [results.scores(found, name, model)[0] for name in "ab"],
            [results.clusters(found, name, [model]) for name in "ab"],
        )
        assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((mean.value, mean.low, mean.high))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.integers(0, 5)), min_size=1, max_size=40))
def test_every_point_of_a_band_is_the_estimate_of_the_items_so_far(rows):
    values, clusters = np.array(rows).T
    accuracy = curves.running_accuracy(values.round(), clusters, "x")
    mean = curves.average_curve([values, values[::-1]], [clusters, clusters[::-1]], "x")
    for count in {1, 2, len(rows) // 2 + 1, len(rows)} & set(range(1, len(rows) + 1)):
        one = clustered.estimate(values[:count].round(), clusters[:count])
        at = count - 1
        assert (accuracy.mean[at], accuracy.low[at], accuracy.high[at]) == pytest.approx(
            (one.value, one.low, one.high), abs=1e-7
        )
        if count > 1:
            whole = clustered.average(
                [values[:count], values[::-1][:count]], [clusters[:count], clusters[::-1][:count]]
            )
            assert (mean.mean[at], mean.low[at], mean.high[at]) == pytest.approx(
                (whole.value, whole.low, whole.high), abs=1e-7
            )


def test_bands_never_claim_certainty():
    """Items that are all alike have an interval, too, the one of the tables."""
    same = np.zeros(12)
    curve = curves.running_mean(same - same, np.arange(len(same)), "x", least=-1)
    one = clustered.difference(same, same, np.arange(len(same)), False)
    assert (curve.low[-1], curve.high[-1]) == pytest.approx((one.low, one.high))
    own = [np.arange(12), np.arange(9)]
    mean = curves.average_curve([np.ones(12), np.ones(9)], own, "x")
    whole = clustered.average([np.ones(12), np.ones(9)], own)
    assert (mean.low[-1], mean.high[-1]) == pytest.approx((whole.low, whole.high))
    assert (mean.high - mean.low)[1:].min() > 0.1


def test_nothing_is_tested_before_all_models_are_through(found):
    """The family of tests is fixed at the start: a pair that is through early is not tested against fewer."""
    assert comparing.pairs(found) == [(1, 0), (2, 0), (2, 1)]
    for tasks in comparing.family(found).values():
        assert all(one.p is None and one.words.startswith("interim") for one in tasks.values())
    assert comparing.family(found)[2, 0]["a"].n == 25
    assert comparing.is_final(found, "a", (0, 1))
    assert not comparing.all_final(found, results.AVERAGE)
    assert not evaluation.summary(found)["complete"]
    assert tables.difference_table(found, [(2, 0)])[-1]["in words"].startswith("interim")
    assert evaluations.adjustment(found) == "Tests come when all items of all models are in."


@pytest.fixture
def whole(tmp_path) -> results.Results:
    return written(tmp_path / "whole.jsonl", counts=(40, 40, 40))


def test_all_pairs_tasks_and_averages_are_one_family(whole):
    family = comparing.family(whole)
    ps = [one.p for tasks in family.values() for one in tasks.values()]
    assert len(ps) == comparing.tests(family) == 3 * (2 + 1)
    assert evaluations.adjustment(whole).endswith("9 tests: 3 pairs of models, 2 tasks and their average.")
    adjusted = [one.p_holm for tasks in family.values() for one in tasks.values()]
    smallest, largest = np.argmin(ps), np.argmax(ps)
    assert adjusted[smallest] == pytest.approx(min(1, 9 * ps[smallest]))
    assert adjusted[largest] == max(adjusted)
    assert all(one >= p for one, p in zip(adjusted, ps, strict=True))
    told = evaluation.summary(whole)
    assert told["tests"]["count"] == 9
    for row in told["average_differences"]:
        pair = whole.names.index(row["model"]), whole.names.index(row["than"])
        assert row["p_holm"] == family[pair][results.AVERAGE].p_holm


@pytest.mark.parametrize("drop", [0.0, 0.25, 0.5, 1.0])
def test_a_verdict_says_what_its_dots_say(tmp_path, drop):
    """Whatever the data: the words of a row, its dot and the sentence go by the same adjusted p."""
    found = written(tmp_path / "x.jsonl", counts=(40, 40, 40), drop=drop)
    for pair in comparing.pairs(found):
        rows = tables.difference_table(found, [pair])
        (sentence,) = evaluations.verdicts(found, [pair])
        for row in rows:
            judged = "no verdict" not in row["in words"]
            assert (row["in words"] in SHOWN) == (row["p (Holm)"] < 0.05 and judged)
        average = rows[0]
        assert average["task"] == "Average"
        told = average["in words"] if average["in words"] in SHOWN else "not significant"
        assert f"; {told}, p " in sentence or "no verdict" in average["in words"]
        judged = told == "not significant" and "no verdict" not in average["in words"]
        spread = comparing.overall(comparing.family(found)[pair]).standard_error > 0
        assert ("would have been detected" in sentence) == (judged and spread)
        shown = [row["task"] for row in rows[1:] if row["in words"] in SHOWN]
        assert ("not significant on any single task" in sentence) == (not shown)
        assert all(re.search(f"(better|worse) on [AB, ]*{task}", sentence) for task in shown)


UNSEEDED = (PrunedRun({}, None, ""),) * 3


@pytest.mark.parametrize(("drop", "concluded"), [(0.0, "not decided on 80 items"), (0.9, "a significant loss")])
def test_the_sentence_of_a_pair_gives_its_estimate_and_what_is_concluded(tmp_path, drop, concluded):
    found = written(tmp_path / "x.jsonl", (40, 40, 40), UNSEEDED, drop=drop)
    judged = evaluations.together(found, [(1, 0)])
    said, told = evaluations.change_of_accuracy({"": judged})
    assert said == f"The sink discount changes accuracy by {interval_words(judged)}: {concluded}."
    assert told.startswith("On 80 items") and ("would have been detected" in told) == (drop == 0)
    assert re.search("p (=|<) .* of a single comparison", evaluations.tested(judged)), "its own family"
    said, _ = evaluations.change_of_accuracy({"": judged}, "dense")
    assert said.startswith("Accuracy changes by ") and said.endswith(f" against dense: {concluded}.")


def test_one_calibration_seed_decides_nothing(tmp_path):
    found = written(tmp_path / "x.jsonl", (40, 40, 40), drop=0.9)
    judged = evaluations.together(found, [(2, 1)])
    assert judged.p is None and judged.high < 0
    assert evaluations.change_of_accuracy({"": judged})[0].endswith(": not decided with one calibration seed.")


def test_the_sentence_waits_for_all_answers_and_gives_no_verdict_at_chance(whole, tmp_path):
    early = evaluations.together(without(whole, ("b/39", 1)), [(2, 1)])
    assert evaluations.change_of_accuracy({"": early})[0].endswith(": so far, before all answers are in.")
    assert evaluations.tested(early) == ""
    low = written(tmp_path / "x.jsonl", (40, 40, 40), UNSEEDED, drop=0.5)
    low = replace(low, header=low.header.model_copy(update={"benchmarks": chance_of(low, 0.99)}))
    said, told = evaluations.change_of_accuracy({"": evaluations.together(low, [(2, 1)])})
    assert said.endswith(": no verdict, as accuracy is not above chance.") and "detected" not in told


def at_chance(path, benchmark: str) -> results.Results:
    """As `written`, and the dense model answers every other item of a benchmark wrong."""
    written(path, counts=(40, 40, 40), drop=2.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
    for line in lines:
        if line["line"] == "answer" and line["model"] == 0 and line["key"].startswith(benchmark):
            line["metrics"] = {"acc": float(int(line["key"].split("/")[1]) % 2)}
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return results.read(path)


def test_a_task_on_which_the_dense_model_is_at_chance_has_no_verdict(tmp_path):
    """Of the task only: the other one and the average, which the dense model is above, have theirs."""
    found = at_chance(tmp_path / "x.jsonl", "a")
    rows = {row["task"]: row for row in tables.difference_table(found, [(2, 0)])}
    assert rows["A"]["p (Holm)"] < 0.05, "it would be called worse"
    assert rows["A"]["in words"] == "no verdict: accuracy is not above chance"
    assert rows["B"]["in words"] == rows["Average"]["in words"] == "worse"
    (sentence,) = evaluations.verdicts(found, [(2, 0)])
    assert "; worse on B; no verdict on A, as accuracy is not above chance." in sentence
    assert not comparing.family(found)[2, 1]["a"].shown, "nor of two pruned models"
    unrelated = replace(
        found,
        header=found.header.model_copy(
            update={
                "models": tuple(
                    model.model_copy(update={"pruning": PrunedRun({}, None, "")}) for model in found.header.models
                )
            }
        ),
    )
    assert not comparing.above_chance(unrelated, "a", (2, 0)), "neither is above chance"
    assert comparing.above_chance(unrelated, "b", (2, 0))


def test_without_a_dense_model_one_of_the_two_above_chance_is_enough(tmp_path):
    """As where results of pruned models alone were imported."""
    runs = (pruned_run(method="magnitude"), *RUNS[1:])
    found = written(tmp_path / "x.jsonl", (40, 40, 40), runs, drop=-0.6)
    low = {(key, model): answer for (key, model), answer in found.answers.items() if model == 0 and key < "b"}
    wrong = {place: answer.model_copy(update={"metrics": {"acc": 0.0}}) for place, answer in low.items()}
    found = replace(found, answers={**found.answers, **wrong})
    assert comparing.family(found)[2, 0]["a"].words == "better", "the first is at chance and the other above it"
    at = replace(found, header=found.header.model_copy(update={"benchmarks": chance_of(found, 0.99)}))
    (row, *_) = tables.difference_table(at, [(2, 0)])
    assert row["in words"] == "no verdict: accuracy is not above chance"
    told = " ".join(
        [*evaluations.verdicts(at, [(2, 0)]), *evaluations.change_of_accuracy(comparing.on_tasks(at, [(2, 0)]))]
    )
    assert "accuracy is not above chance" in told and "dense model" not in told


def chance_of(found: results.Results, chance: float):
    return tuple(one.model_copy(update={"chance": chance}) for one in found.benchmarks)


def test_the_same_numbers_have_the_same_verdict_wherever_they_stand(whole):
    """In the table of one pair, of all pairs, and in the summary."""
    every = tables.difference_table(whole, comparing.pairs(whole))
    for pair in comparing.pairs(whole):
        alone = tables.difference_table(whole, [pair])
        names = [whole.names[model] for model in pair]
        assert alone == [row for row in every if [row["model"], row["than"]] == names]


def test_the_control_is_found_in_the_reports(tmp_path):
    """By what a run was pruned with, never by its name: another sparsity or precision is no control."""
    sink = pruned_run(method="sink-wanda", sparsity=0.6)
    for changes, hint in (
        ({"sparsity": 0.7}, "Sparsity (60 % and 70 %)"),
        ({"precision": "bfloat16"}, "Precision of the pruning (float32 and bfloat16)"),
        ({"device": "cuda"}, "Device of the pruning (cpu and cuda)"),
        ({"calibration": {"seed": 1}}, "Calibration seed (0 and 1)"),
        ({"model": "another"}, "Dense model"),
    ):
        other = pruned_run(**{"method": "wanda-noised", "sparsity": 0.6} | changes)
        found = written(tmp_path / "x.jsonl", (9, 9, 9), (RUNS[0], other, sink))
        assert comparing.related_pairs(found)["control"] == []
        (told,) = comparing.missing(found, "control")
        assert told.startswith("sink-aware has no control here: the control differs in more than the method: ")
        assert hint in told
    (told,) = comparing.missing(written(tmp_path / "x.jsonl", (9, 9), (RUNS[0], sink)), "control")
    assert "wanda-noised" in told
    both = written(tmp_path / "x.jsonl", (9, 9, 9), (RUNS[0], sink, pruned_run(method="wanda-noised", sparsity=0.6)))
    assert comparing.related_pairs(both)["control"] == [(1, 2)]
    assert comparing.missing(both, "control") == []


def test_scoring_in_another_precision_is_named_and_makes_no_control(tmp_path):
    found = written(tmp_path / "x.jsonl", (40, 40, 40), scored=("float32", "bfloat16", "float32"))
    assert comparing.related_pairs(found)["control"] == []
    assert "Precision of the scoring (float32 and bfloat16)" in comparing.missing(found, "control")[0]
    (told,) = evaluations.verdicts(found, [(1, 0)])
    assert "Not only the method differs: Precision of the scoring (bfloat16 and float32)." in told


def test_sink_aware_runs_stand_against_their_published_baselines(tmp_path):
    runs = (RUNS[0], *(pruned_run(method=name) for name in ("sparsegpt", "wanda", "sink-sparsegpt", "sink-wanda")))
    found = written(tmp_path / "x.jsonl", (40,) * 5, runs, ("dense", "a", "b", "c", "d"), drop=0.1)
    related = comparing.related_pairs(found)
    assert related["published"] == [(3, 1), (4, 2)]
    assert related["control"] == [(3, 1)]
    assert comparing.pairs(found) == [(1, 0), (2, 0), (3, 0), (4, 0), (3, 1), (4, 2)]
    rows = {(row["model"], row["than"]): row["as"] for row in evaluation.summary(found)["average_differences"]}
    assert rows["c", "a"] == ["control", "published"]
    assert rows["d", "b"] == ["published"]


def test_items_that_share_a_cluster_are_counted_together(tmp_path):
    """The same answers, with every eight items of a passage: wider intervals, and the numbers of clusters are told."""
    found = written(tmp_path / "x.jsonl")
    path = tmp_path / "clustered.jsonl"
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()[:-1]]
    for line in lines:
        if line["line"] == "document":
            line["cluster"] = f"passage {line['place'] // 8}"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    clustered = results.read(path)
    alone, together = (evaluation.summary(each)["tasks"][0] for each in (found, clustered))
    rows = zip(alone["models"] + alone["differences"], together["models"] + together["differences"], strict=True)
    for before, after in rows:
        assert (before["n"], before["clusters"]) == (after["n"], before["n"])
        assert after["clusters"] == -(-after["n"] // 8)
        assert before["value"] == after["value"]
    assert tables.accuracy_table(clustered)[0]["clusters"] == 5
    assert tables.difference_table(clustered, [(1, 0)])[0]["clusters"] == 10  # of both tasks
    assert list(results.clusters(clustered, "a", [2])) == [number // 8 for number in range(25)]


def test_chance_stands_with_the_benchmark_or_is_read_off_the_items(tmp_path):
    found = written(tmp_path / "x.jsonl")
    assert found.chance == {"a": 0.5, "b": 0.5}
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()[:-1]]
    lines[0]["benchmarks"][0]["chance"] = 0.3
    for line in lines:
        if line.get("benchmark") == "b":
            line["choices"] = []
    (tmp_path / "y.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert results.read(tmp_path / "y.jsonl").chance == {"a": 0.3, "b": None}


SEEDED = (
    PrunedRun({}, None, ""),
    *(pruned_run(method="wanda-noised", calibration={"seed": seed}) for seed in (0, 1, 2)),
    *(pruned_run(method="sink-wanda", calibration={"seed": seed}) for seed in (2, 0, 1)),
)
SEEDED_NAMES = ("dense", "noised 0", "noised 1", "noised 2", "sink 2", "sink 0", "sink 1")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory) -> results.Results:
    """The control and the sink-aware method at three calibration seeds each, all items answered."""
    path = tmp_path_factory.mktemp("seeded") / "x.jsonl"
    return written(path, (40,) * 7, SEEDED, SEEDED_NAMES, drop=0.03)


def test_runs_that_differ_in_their_seed_alone_are_taken_together(seeded):
    groups = comparing.over_seeds(seeded)
    pairs = {group.pairs: group for group in groups}
    assert set(pairs) == {((1, 0), (2, 0), (3, 0)), ((5, 0), (6, 0), (4, 0)), ((5, 1), (6, 2), (4, 3))}
    group = pairs[(5, 1), (6, 2), (4, 3)]
    assert group.seeds == (0, 1, 2)
    scored = seeded.scored
    runs = [[scored[name][list(models)] for name in "ab"] for models in ((5, 6, 4), (1, 2, 3))]
    own = [np.arange(40)] * 2
    expected = crossed.crossed_difference(*runs, own, test=True)
    alone = replace(group.difference, p_holm=None, tests=1)
    assert clustered.as_json(alone) == pytest.approx(clustered.as_json(expected))
    assert group.difference.holds_seeds
    assert group.difference.seed_variance > 0
    family = comparing.family(seeded)
    ps = [one.p for tasks in family.values() for one in tasks.values()] + [each.difference.p for each in groups]
    adjusted = [one.p_holm for tasks in family.values() for one in tasks.values()]
    adjusted += [each.difference.p_holm for each in groups]
    assert adjusted == pytest.approx(holm(ps))
    assert len(ps) == comparing.tests(family, groups) == 9 * 3 + 3
    assert (
        "30 tests: 9 pairs of models, 2 tasks and their average, and 3 over calibration seeds."
        in evaluations.adjustment(seeded)
    )


def test_the_headline_of_several_seeds_is_that_of_the_seeds_together(seeded):
    control = comparing.related_pairs(seeded)["control"]
    (group,) = [one for one in comparing.over_seeds(seeded) if set(one.pairs) == set(control)]
    together = evaluations.together(seeded, control)
    assert replace(together, p_holm=None, tests=1) == replace(group.difference, p_holm=None, tests=1)
    assert together.p_holm == group.difference.p and together.tests == 1, "a family of its own"
    said, told = evaluations.change_of_accuracy({"50 % sparsity": together})
    assert said.endswith(" at 50 % sparsity: not decided with 3 seeds.") and interval_words(together) in said
    assert told.startswith("On 80 items; with 3 calibration seeds ")
    assert comparing.is_one_setting(seeded, control) and comparing.is_one_setting(seeded, control[:1])
    assert not comparing.is_one_setting(seeded, [*control, (1, 0)]) and not comparing.is_one_setting(seeded, [])


def of(value: float, half: float, seeds: int = 6) -> Difference:
    """A difference over seeds, tested alone, with so wide an interval."""
    error = half / 1.96
    p = float(2 * ndtr(-abs(value) / error))
    ends = value - half, value + half
    return Difference(value, *ends, 768, 300, seeds=seeds, cluster_variance=error**2, seed_variance=0.0, p=p, p_holm=p)


def test_over_settings_one_sentence_tells_what_is_decided():
    def said(**found: Difference) -> str:
        return evaluations.change_of_accuracy({f"{name[1:]} % sparsity": one for name, one in found.items()})[0]

    assert said(_50=of(0.001, 0.008)) == (
        "The sink discount changes accuracy by +0.1 points [−0.7, +0.9] at 50 % sparsity: less than 2 points either "
        "way."
    )
    assert said(_50=of(0.001, 0.008), _70=of(-0.002, 0.008)) == (
        "The sink discount changes accuracy by less than 2 points either way at both sparsities; largest −0.2 points "
        "[−1.0, +0.6] at 70 % sparsity."
    )
    assert said(_50=of(0.001, 0.008), _70=of(-0.002, 0.05)) == (
        "The sink discount changes accuracy by less than 2 points either way at 1 of 2 sparsities; not decided at 70 % "
        "sparsity."
    )
    assert said(_50=of(-0.001, 0.12, 2), _70=of(-0.004, 0.13, 2)) == (
        "The sink discount changes accuracy by −0.4 to −0.1 points [−13, +13] at 2 sparsities: not decided with 2 "
        "seeds."
    )
    assert said(_50=of(0.001, 0.008), _70=of(0.03, 0.01)) == (
        "The sink discount changes accuracy at 1 of 2 sparsities: +3.0 points [+2.0, +4.0] at 70 % sparsity, a "
        "significant gain."
    )


def test_over_seeds_the_average_and_each_task_have_their_seeds_and_their_interval(seeded):
    control = comparing.related_pairs(seeded)["control"]
    found = comparing.on_tasks(seeded, control)
    together = evaluations.together(seeded, control)
    assert np.mean([one.value for one in found.values()]) == pytest.approx(together.value)
    assert {one.tests for one in found.values()} == {2} and all(one.holds_seeds for one in found.values())
    whole, seeds, *_ = differences_over_seeds(seeded, control).figure.data
    assert list(whole.x) == pytest.approx([100 * one.value for one in (together, *found.values())])
    assert len(seeds.x) == 3 * len(control)


def test_accuracies_by_role_have_a_dot_per_seed_and_tell_chance(seeded, found):
    exhibit = accuracy_by_role(seeded, "Accuracy")
    *looks, seeds = exhibit.figure.data
    by_place = {at: (x, end) for one in looks for x, at, end in zip(one.x, one.y, one.error_x.array, strict=True)}
    roles = [by_place[at] for at in sorted(by_place)]
    whole = [results.average(seeded, *models) for models in tables.roles(seeded).values()]
    assert [x for x, _ in roles] == pytest.approx([100 * one.value for one in whole])
    assert [end for _, end in roles] == pytest.approx([100 * (one.high - one.value) for one in whole])
    chance = f"; chance: {100 * results.chance_level(seeded, results.AVERAGE):.1f} %. The interval"
    assert chance in exhibit.sentence
    assert " % [" in exhibit.figure.layout.annotations[0].text
    assert len(seeds.x) == 6 and "3 calibration seeds" in exhibit.sentence
    alone = accuracy_by_role(found, "Accuracy")
    assert "seeds" not in alone.sentence and sum(len(one.x) for one in alone.figure.data) == len(found.names), (
        "no dots of one seed"
    )


def test_accuracy_by_role_is_the_mean_over_seeds(seeded, found):
    dense, control, run, chance = tables.role_table(seeded)
    assert (dense["model"], dense["run"], chance["model"]) == ("Dense model", "dense", "Chance")
    assert (control["model"], run["model"]) == ("Without discount (control)", "With discount")
    assert control["run"] == run["run"] == "3 seeds"
    mean = np.mean([seeded.scored[name][[4, 5, 6]].mean() for name in "ab"])
    assert run["Average"].startswith(f"{100 * mean:.0f} [")
    assert [row["run"] for row in tables.role_table(found)[1:3]] == ["the control", "sink-aware"], "by their names"


def test_a_verdict_names_the_noise_that_its_interval_lacks(seeded, found):
    control = [(5, 1), (6, 2), (4, 3)]
    *alone, together = evaluations.verdicts(seeded, control)
    floor = comparing.floors(seeded)[5, 6, 4]
    for sentence in alone:
        assert "The calibration seed's own noise is not in this interval; two seeds differ, in root mean sq" in sentence
        assert f"Sink-Wanda by {100 * floor.typical:.1f} points" in sentence
    assert together.startswith(
        "sink 0 against noised 0 and their like, over the calibration seeds 0, 1, 2 crossed with 80 "
    )
    assert "not in this interval" not in together
    assert "Of its variance the seeds make " in together
    (row,) = tables.seed_table(seeded, control)
    assert f"{abs(row['points']):.1f} points" in together
    assert row["in words"] == "not significant" and "not significant" in together
    assert row["standard error, seeds"] > 0
    assert tables.seed_table(seeded, control[:2]) == []
    assert evaluations.verdicts(found, [(1, 0)])[0].endswith(
        "The calibration seed's own noise is not in this interval."
    )
    summary = evaluation.summary(seeded)
    assert [row["in_words"] for row in summary["over_seeds"]][-1:] != []
    assert together in [row["in_words"] for row in summary["over_seeds"]]
    assert {tuple(row["models"]) for row in summary["seed_floors"]} == {
        ("noised 0", "noised 1", "noised 2"),
        ("sink 0", "sink 1", "sink 2"),
    }
    json.dumps(summary)


def test_methods_without_a_seed_have_no_noise_of_it(tmp_path):
    runs = (PrunedRun({}, None, ""), pruned_run(method="magnitude"))
    found = written(tmp_path / "x.jsonl", (40, 40), runs, ("dense", "magnitude"))
    assert "seed" not in evaluations.verdicts(found, [(1, 0)])[0]
    assert comparing.over_seeds(found) == ()
    assert comparing.floors(found) == {}


def test_pairs_of_other_seeds_are_not_taken_together(seeded):
    """Of the two methods each seed saw another text."""
    assert comparing.over_seeds(seeded, [(5, 2), (6, 3)]) == ()


def test_what_was_measured_of_matched_runs_is_what_a_plan_goes_by(seeded, found):
    (sample,) = comparing.samples(seeded, "control", (4, 5, 6))
    assert sample.pairs == (("sink 0", "noised 0"), ("sink 1", "noised 1"), ("sink 2", "noised 2"))
    noise = plan_noise.measured([sample])
    assert noise.source == "measured on sink 0 against noised 0 and 2 more matched pairs of runs"
    assert 0 < noise.disagreement <= 1
    (rest,) = comparing.samples(seeded, "control", (4, 5, 6), {(5, 1), (6, 2)})
    assert rest.pairs == (("sink 2", "noised 2"),), "pairs that count elsewhere are left out"
    one_seed = plan_noise.measured(comparing.samples(found, "control", (1, 2)))
    assert one_seed.source == "measured on sink-aware against the control"
    assert one_seed.seed_spread == planning.assumed(PlanParams()).seed_spread
    assert comparing.samples(written_alone(found), "dense", (1, 2)) == []


def written_alone(found: results.Results) -> results.Results:
    return without(found, *((key, model) for key, model in found.answers if model))


def test_a_file_without_reports_is_read_all_the_same(tmp_path):
    """As those were written before reports stood in them."""
    written(tmp_path / "x.jsonl")
    header, *rest = (tmp_path / "x.jsonl").read_text().splitlines()[:-1]
    lines = [{**json.loads(header), "models": [{"source": "x", "fingerprint": "1"}] * 3}]
    for line in map(json.loads, rest):
        lines.append({name: value for name, value in line.items() if name not in ("precision", "device")})
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    old = results.read(tmp_path / "old.jsonl")
    assert comparing.pairs(old) == [(1, 0), (2, 0)]
    assert comparing.mismatch(old, (1, 0)) == ""


def without(found: results.Results, *gone: tuple[str, int]) -> results.Results:
    """As if these items had not been answered by these models."""
    return replace(found, answers={key: answer for key, answer in found.answers.items() if key not in gone})


def test_no_task_is_tested_before_the_items_of_all_are_in(whole):
    """Holm's family is fixed at the start, so that a task done early is not tested against fewer."""
    pair = (1, 0)
    early = without(whole, ("b/39", 1))
    assert comparing.is_final(early, "a", pair)
    assert all(one.p is None for tasks in comparing.family(early).values() for one in tasks.values())
    columns = [set(row) for row in tables.difference_table(early, [pair])]
    assert not any("p (Holm)" in some for some in columns)
    assert "p (Holm)" in tables.difference_table(whole, [pair])[-1]
    assert "p" not in tables.difference_table(whole, [pair])[-1], "one p a comparison, the adjusted one"
    assert "interim, no tests yet." in evaluations.verdicts(early, [pair])[0]


def test_averages_are_over_what_every_model_has_begun(found):
    """Else a model that is behind would be averaged over other tasks than the rest."""
    behind = without(found, *((f"b/{place}", 2) for place in range(40)))
    assert [one.name for one in results.begun(behind)] == ["a"]
    *rows, chance = tables.accuracy_grid(behind)
    assert chance == {"model": "choosing at random", "Average of 1 of 2 tasks": "50.0", "A": "50.0", "B": "50.0"}
    for model, row in enumerate(rows):
        own = results.accuracy(behind, "a", model)
        assert row["Average of 1 of 2 tasks"].startswith(f"{100 * own.value:.0f} [")
    for model, curve in enumerate(curves.accuracy_curves(behind, results.AVERAGE)):
        assert curve.mean[-1] == pytest.approx(results.scores(behind, "a", model)[0].mean())
    alone = without(found, *((f"{name}/{place}", model) for name in "ab" for place in range(40) for model in (1, 2)))
    assert len(results.begun(alone)) == 2  # models that have not come to their turn do not count


def test_the_grid_and_the_verdicts_say_what_the_estimates_say(found):
    (row, *_), (verdict, *_) = tables.accuracy_grid(found), evaluations.verdicts(found, [(1, 0)])
    one = results.accuracy(found, "a", 0)
    assert row["A"] == f"{100 * one.value:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}]", "no more than it supports"
    mean = comparing.family(found)[1, 0][results.AVERAGE]
    sign = "−" if mean.value < 0 else "+"
    assert verdict.startswith(f"the control against dense: on average {sign}{abs(100 * mean.value):.0f} points [")


def test_a_growing_file_is_read_on_from_where_it_was(tmp_path):
    written(tmp_path / "whole")
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)[:-1]
    path = tmp_path / "growing"
    path.write_text("".join(lines[:20]) + lines[20][:9])
    growing = results.Growing(path)
    first = growing.read()
    path.write_text("".join(lines))
    then = growing.read()
    assert 0 < len(first.answers) < len(then.answers)
    assert then == results.read(path)
    assert growing.read() == then


def test_what_is_said_of_results_once_is_of_them_and_of_what_was_asked(found, whole):
    asked = []

    @results.once
    def count(about: results.Results, more: int) -> int:
        asked.append(more)
        return len(about.answers) + more

    answers = len(found.answers)
    assert [count(found, more) for more in (0, 0, 5)] == [answers, answers, answers + 5]
    assert count(whole, 0) == len(whole.answers) != answers
    assert asked == [0, 5, 0]


def test_one_item_in_full(found):
    item = tables.disagreements(found, 0, 1)[0]["item"]
    first, second = tables.choice_table(found, item, 0, 1)
    assert (first["choice"], first["right"], second["right"]) == ("yes", True, False)
    assert first["dense log-likelihood"] == found.answers[item, 0].values[0]
    assert first["dense chose"] != first["the control chose"]


def test_dots_are_full_where_a_difference_is_shown():
    names = ("task", "points", "low", "high", "clusters", "items", "in words", "p (Holm)")
    table = [
        dict(zip(names, row, strict=True))
        for row in (
            ("Average", -2.0, -3.0, -1.0, 20, 40, "far", 0.01),
            ("Average", 1.0, -1.0, 3.0, 40, 40, "near", None),
            ("A", np.nan, np.nan, np.nan, 0, 0, "nothing yet", None),
        )
    ]
    x, y = figures.difference_rows(table, "xyx", [True, False, False], {"x": "#111111", "y": "#222222"})
    assert (x.filled, y.filled) == (True, False) and (x.color, y.color) == ("#111111", "#222222")
    assert (x.name, x.value, x.low, x.high, x.words) == ("Average", -2.0, -3.0, -1.0, "−2.0 [−3.0, −1.0]")
    assert x.hover == ("x", "40 items in 20 clusters", "far, p = 0.010 (Holm)") and y.hover[1:] == ("40 items", "near")


def test_models_are_paired_by_item_not_by_place_in_line(tmp_path):
    """A model that has answered other items than the one before it shares only what both have."""
    found = written(tmp_path / "x", counts=(10, 40, 5))
    first, keys = results.scores(found, "a", 1, [2])
    assert keys == [f"a/{place}" for place in range(5)]
    assert len(first) == 5


def test_draws_are_not_told_of_exact_answers(found):
    assert tables.estimated_by(found, "a") == "32 draws"

    def exact(count: int) -> results.Results:
        answers = {
            place: answer.model_copy(update={"exact": number < count})
            for number, (place, answer) in enumerate(found.answers.items())
        }
        return replace(found, answers=answers)

    whole = exact(len(found.answers))
    assert tables.estimated_by(whole, "a") == "exact"
    assert evaluation.summary(whole)["tasks"][0]["estimated_by"] == "exact"
    assert tables.estimated_by(exact(21), "a") == "32 draws, 20 % of the answers exact"
    unsaid = {place: answer.model_copy(update={"draws": ()}) for place, answer in found.answers.items()}
    assert tables.estimated_by(replace(found, answers=unsaid), "a") == ""


def test_disagreements(found):
    rows = tables.disagreements(found, 0, 1)
    assert rows
    for row in rows:
        assert row["dense chose"] != row["the control chose"]
        assert row["right"] == "yes"
        assert row["who is right"] == ("dense" if row["dense chose"] == "yes" else "the control")
    assert tables.filtered(rows, "dense", "") == [row for row in rows if row["who is right"] == "dense"]
    assert tables.filtered(rows, None, "QUESTION yes") == rows
    assert tables.filtered(rows, None, "nothing") == []
    assert {row["task"] for row in tables.disagreements(found, 0, 1, "b")} == {"B"}


def told(figure) -> list:
    """The lines that a hover tells of, one a panel; those of the others stand faint behind."""
    return [trace for trace in figure.data if trace.mode == "lines" and trace.hovertemplate]


def test_figures_draw_a_panel_with_a_line_and_a_band_a_model(found):
    drawn = curves.accuracy_curves(found, "a")
    figure = figures.running(drawn, list(SERIES_COLORS[:3]), "accuracy")
    lines, bands = told(figure), [trace for trace in figure.data if trace.fill == "toself"]
    assert [trace.name for trace in lines] == list(found.names)
    assert [trace.yaxis for trace in lines] == [trace.yaxis for trace in bands] == ["y", "y2", "y3"]
    faint = [trace for trace in figure.data if trace.mode == "lines" and not trace.hovertemplate]
    assert {(trace.name, trace.yaxis) for trace in faint} == {
        (name, line.yaxis) for line in lines for name in found.names if name != line.name
    }
    assert all(np.asarray(trace.y).dtype == np.float32 for trace in figure.data)
    assert lines[0].y[-1] == pytest.approx(100 * drawn[0].mean[-1])
    assert figure.layout.yaxis.ticksuffix == " %"
    assert len({tuple(axis.range) for axis in figure.select_yaxes()}) == 1
    points = figures.running(curves.difference_curves(found, "a", [(1, 0)]), ["#000000"], "points", difference=True)
    assert told(points)[0].y[-1] == pytest.approx(100 * comparing.family(found)[1, 0]["a"].value, rel=1e-5)
    assert not figures.running(
        [curves.running_accuracy(np.zeros(0), np.zeros(0), "none")], ["#000000"], "accuracy"
    ).data


def test_running_accuracy_has_the_chance_level_in_view(found):
    drawn = [curves.running_accuracy(np.ones(80), np.arange(80), "sure")]
    plain, with_chance = (figures.running(drawn, ["#000000"], "accuracy", chance=chance) for chance in (None, 0.25))
    assert {shape.y0 for shape in with_chance.layout.shapes} == {25}
    assert "chance 25 %" in [annotation.text for annotation in with_chance.layout.annotations]
    assert with_chance.layout.yaxis.range[0] < 25 < plain.layout.yaxis.range[0]
    assert not plain.layout.shapes
    rows = tables.accuracy_table(found)
    assert {row["chance"] for row in rows} == {0.5}
    assert results.chance_level(found, results.AVERAGE) == 0.5


def test_long_curves_are_thinned_and_keep_their_end():
    at = figures.thinned(14_042)
    assert len(at) <= figures.MAX_POINTS
    assert (at[0], at[-1]) == (0, 14_041)
    assert (np.diff(at) > 0).all()
