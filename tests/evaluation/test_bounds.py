"""The bound on the negative log-likelihood of right answers: what it is, its intervals, and where there is none."""

import json

import numpy as np
import pytest
import torch

from analysis.evaluation import comparing, results
from analysis.jobs import evaluation
from analysis.models.load import load
from analysis.specs import EvaluateSpec, ModelSpec
from analysis.statistics.clustered import clustered_mean, mean_of_means, p_value
from analysis.statistics.differences import holm
from tests.evaluation.test_evaluation import evaluated
from tests.evaluation.test_results import BENCHMARK, written


def changed(folder, change) -> results.Results:
    """The results of `test_results.written` with answers of two and three tokens, every line changed."""
    whole = written(folder / "whole.jsonl", counts=(40, 40, 40))
    assert not comparing.bounded(whole), "imported answers do not say their tokens"
    lines = []
    for text in (folder / "whole.jsonl").read_text().splitlines()[:-1]:
        line = json.loads(text)
        if line["line"] == "answer":
            line["tokens"] = [2, 3]
        lines.append(json.dumps(change(line) or line))
    (folder / "changed.jsonl").write_text("\n".join(lines) + "\n")
    return results.read(folder / "changed.jsonl")


def cluster_by_five(line) -> None:
    if line["line"] == "document":
        line["cluster"] = str(line["place"] // 5)


def test_it_is_minus_the_right_answers_log_likelihood_by_its_tokens_with_clustered_intervals(tmp_path):
    found = changed(tmp_path, cluster_by_five)
    by_task = {}
    for name in "ab":
        values = np.array(
            [[-found.answers[one.key, model].values[0] / 2 for one in found.shuffled[name]] for model in range(3)]
        )
        assert np.array_equal(found.bounds[name], values)
        by_task[name] = values
        rows = [row for row in comparing.bound_table(found) if row["task"] == name.upper()]
        for model, row in enumerate(rows):
            mean = clustered_mean(values[model], np.arange(40) // 5)
            assert (row["nats a token"], row["clusters"], row["items"]) == (pytest.approx(mean.value), 8, 40)
            assert row["high"] - row["low"] == pytest.approx(2 * mean.half)
    differences = comparing.bound_differences(found, [(2, 0)])
    assert [row["task"] for row in differences] == ["A", "B", comparing.MEAN]
    means = [(by_task[name][2] - by_task[name][0]).mean() for name in "ab"]
    assert [row["nats a token"] for row in differences] == pytest.approx([*means, np.mean(means)])
    for row, name in zip(differences, "ab", strict=False):
        single = clustered_mean(by_task[name][2] - by_task[name][0], np.arange(40) // 5)
        assert (row["low"], row["high"]) == pytest.approx((single.value - single.half, single.value + single.half))
    singles = [clustered_mean(by_task[name][2] - by_task[name][0], np.arange(40) // 5) for name in "ab"]
    whole = mean_of_means(singles)
    ps = [p_value(one.value, one.variance, one.clusters - 1, one.sums) for one in singles]
    ps.append(p_value(whole.value, whole.variance, whole.freedom, whole.shares))
    assert [row["p (Holm)"] for row in differences] == pytest.approx(holm(ps))
    assert differences[-1]["verdict"] == "worse", "model 2 finds the right answers less likely"
    assert comparing.bound_differences(found, [(0, 2)])[-1]["verdict"] == "better"


def test_bounds_are_averaged_with_no_accuracy_and_stand_in_the_summary(tmp_path):
    found = changed(tmp_path, cluster_by_five)
    before = evaluation.summary(written(tmp_path / "plain.jsonl", counts=(40, 40, 40)))
    after = evaluation.summary(found)
    assert [row["value"] for row in after["average"]] == [row["value"] for row in before["average"]]
    assert before["bounds"]["models"] == [] and len(after["bounds"]["models"]) == 9
    pairs = {(row["model"], row["than"]) for row in after["bounds"]["differences"]}
    assert len(pairs) == len(comparing.pairs(found))
    json.dumps(after, allow_nan=False)


def test_interim_results_are_not_tested(tmp_path):
    def later(line):
        if line["line"] == "answer" and line["model"] == 2 and line["key"] == "a/39":
            line["tokens"] = []
        if line["line"] == "header":
            line["benchmarks"] = [one | {"planned": 41} for one in line["benchmarks"]]

    rows = comparing.bound_differences(changed(tmp_path, later), [(2, 0)])
    assert [row["p (Holm)"] for row in rows] == [None] * 3 and {row["verdict"] for row in rows} == {"interim"}
    assert rows[0]["items"] == 39, "paired over items that both have"


@pytest.mark.parametrize("what", ["guidance", "early draws", "written"])
def test_there_is_no_bound_where_likelihoods_are_no_bounds(tmp_path, what):
    def change(line):
        if line["line"] == "header" and what == "guidance":
            line["benchmarks"] = [one | {**BENCHMARK, "guidance": 0.5} for one in line["benchmarks"]]
        if line["line"] == "header" and what == "early draws":
            line["early_draws"] = True
        if line["line"] == "document" and what == "written":
            line["right"], line["choices"] = "yes", []

    found = changed(tmp_path, change)
    assert not comparing.bounded(found) and comparing.bound_table(found) == []


def test_equal_models_have_no_difference_and_no_made_up_interval(tmp_path):
    def alike(line):
        if line["line"] == "answer":
            line["responses"] = [[-1.0, False], [-2.0, False]]

    row, *_ = comparing.bound_differences(changed(tmp_path, alike), [(1, 0)])
    assert (row["nats a token"], row["low"], row["high"], row["p (Holm)"]) == (0, None, None, None)
    assert row["verdict"] == "no spread to go by"


@pytest.mark.parametrize("source", ["bundled", "bundled-ar"])
def test_on_the_bundled_pair_it_is_what_the_model_says(tmp_path, source):
    """One-token answers: the log-probability at their place. The same masks: a model has no difference to itself."""
    folder = tmp_path / "job"
    folder.mkdir()
    spec = ModelSpec(source=source, device="cpu", dtype="float32")
    found = evaluated(
        folder,
        EvaluateSpec(model=spec, compare=(spec,), names=("one", "again"), tasks=("bundled_arithmetic",), limit=6),
    )
    assert np.array_equal(found.bounds["bundled_arithmetic"][0], found.bounds["bundled_arithmetic"][1])
    model = load(spec)
    for item, value in zip(found.shuffled["bundled_arithmetic"], found.bounds["bundled_arithmetic"][0], strict=True):
        prompt = model.tokenizer(item.question)["input_ids"]
        (answer,) = model.tokenizer(f" {item.choices[item.right]}", add_special_tokens=False)["input_ids"]
        masked = [] if model.mask_token is None else [model.mask_token]
        logits = model.predict(torch.tensor([[*prompt, *masked]]))[0, -1]
        assert value == pytest.approx(-float(logits.float().log_softmax(-1)[answer]), abs=1e-4)
