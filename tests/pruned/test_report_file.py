"""What a pruned folder says about itself, and which two stand for chance."""

import json
from dataclasses import replace

import pytest

from analysis.pruned.report_file import PrunedRun, first_pair, read_report, seed_pair
from analysis.specs import PruneSpec


def stated(folder, **changes):
    folder.mkdir()
    parameters = PruneSpec(**changes).model_dump(mode="json")
    model = {"fingerprint": "f" * 32, "dtype": "bfloat16", "device": "cuda:1"}
    versions = {"torch": "2.13.0", "python": "3.11.4"}
    report = {"parameters": parameters, "model": model, "environment": {"versions": versions}}
    (folder / "report.json").write_text(json.dumps(report))
    return read_report(folder)


@pytest.fixture
def runs(tmp_path):
    """Two seeds of wanda-noised, two of sink-wanda, and one of another sparsity."""
    made = [
        stated(tmp_path / f"{method}-{sparsity}-{seed}", method=method, sparsity=sparsity, calibration={"seed": seed})
        for method, sparsity, seed in (
            ("wanda-noised", 0.5, 3),
            ("sink-wanda", 0.5, 1),
            ("sink-wanda", 0.5, 0),
            ("wanda-noised", 0.5, 0),
            ("sink-wanda", 0.25, 7),
        )
    ]
    return made


def test_a_report_is_read_and_titled(runs, tmp_path):
    assert runs[0].title == "Wanda noised seed 3 · 50 %"
    assert (runs[0].seed, runs[0].model) == (3, "f" * 32)
    assert (runs[0].precision, runs[0].device, runs[0].versions["torch"]) == ("bfloat16", "cuda", "2.13.0")
    assert "seed" not in runs[0].settings["calibration"]
    assert not {"model", "out", "byte_budget"} & set(runs[0].settings)
    two_four = stated(tmp_path / "two-four", pattern="2:4")
    assert two_four.title == "Sink-Wanda k2 α5 λ1 seed 0 · 50 % · 2:4"


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"method": 3}', '{"parameters": []}', "null", "[" * 100_000])
def test_a_report_that_is_none_is_an_empty_run(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert read_report(tmp_path) == PrunedRun({}, None, "")


def test_a_report_of_other_types_is_titled_all_the_same(tmp_path):
    (tmp_path / "report.json").write_text(
        '{"parameters": {"method": 3, "sparsity": "x", "calibration": 1, "steps": 3}, "model": 5, "environment": [1]}'
    )
    assert read_report(tmp_path).title == "3 · x"


def test_a_folder_without_a_report_says_so(tmp_path):
    assert read_report(tmp_path) == PrunedRun({}, None, "")
    assert read_report(tmp_path).title == "no report"


def test_seeds_of_the_second_runs_method_come_first_then_of_the_first_runs(runs):
    noised, sink = runs[0], runs[1]
    assert seed_pair(runs, noised, sink) == (2, 1)  # lower seed first
    assert seed_pair(runs, sink, noised) == (3, 0)
    assert seed_pair(runs[:1] + runs[3:], noised, sink) == (1, 0)


def test_runs_that_differ_in_more_than_their_seed_or_in_the_budget_are_no_floor(runs):
    assert seed_pair([runs[0], runs[1]], runs[0], runs[1]) is None
    assert seed_pair([runs[2], runs[2]], runs[2], runs[2]) is None  # one seed twice
    assert seed_pair(runs, runs[4], runs[4]) is None  # only one run of 25 %
    other = [replace(runs[0], precision="float32"), replace(runs[3], device="cpu")]
    assert seed_pair([runs[0], other[0], other[1]], runs[0], runs[1]) is None
    elsewhere = PrunedRun(runs[0].settings, 9, "another model")
    assert seed_pair([runs[0], elsewhere], runs[0], runs[1]) is None
    other = [PrunedRun(run.settings, run.seed, "another model") for run in runs]
    assert seed_pair(other, runs[0], runs[1]) is None


def test_the_pair_to_begin_with_has_one_sparsity(runs):
    assert first_pair([runs[4], runs[0], runs[1]]) == (2, 1)
    assert first_pair([runs[1], runs[2], runs[0]]) == (0, 2)  # rather two methods than two seeds of one
    assert first_pair([runs[4], runs[1], runs[2]]) == (1, 2)
    assert first_pair([runs[4], runs[0]]) == (0, 1)
    assert first_pair(runs[:1]) is None


def test_a_method_and_its_control_of_one_calibration_are_looked_at_first():
    def run(method: str, seed: int) -> PrunedRun:
        return PrunedRun({"method": method, "sparsity": 0.5, "pattern": "unstructured", "calibration": {}}, seed, "m")

    runs = [run("magnitude", 0), run("wanda-noised", 1), run("sink-wanda", 0), run("wanda-noised", 0)]
    assert first_pair(runs) == (2, 3)
    assert first_pair(runs[:3]) == (2, 1)
    assert first_pair([runs[0], runs[1]]) == (0, 1)
