"""Rows of runs: those that differ in their method alone stand together; columns that tell nothing apart are hidden."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis.engine.runs import Run, Score
from analysis.specs import CalibrationParams, PruneSpec
from analysis.statistics.differences import Difference
from pages.parts.run_rows import (
    _in_common,
    _shown,
    _to_dense,
    by_sparsity,
    in_pairs,
    method_title,
    name_dense_models,
    row,
)


def run(method: str, sparsity: float, seed: int) -> Run:
    spec = PruneSpec(method=method, sparsity=sparsity, calibration=CalibrationParams(seed=seed))
    name = f"{method} {sparsity} {seed}"
    return Run(name, "pruned", name, "folder", "bundled", 0.0, parameters=spec.model_dump(mode="json"))


def test_a_run_stands_beside_its_control_and_the_newest_pair_first():
    runs = [
        run("sink-wanda", 0.7, 1),
        run("sink-wanda", 0.5, 0),
        run("wanda-noised", 0.5, 0),
        run("wanda-noised", 0.7, 1),
    ]
    assert [each.id for each in in_pairs(runs)] == [
        "wanda-noised 0.7 1",
        "sink-wanda 0.7 1",
        "wanda-noised 0.5 0",
        "sink-wanda 0.5 0",
    ]


def test_all_runs_stand_by_sparsity_method_and_seed_the_dense_model_first():
    def removed(share: float) -> dict[str, object]:
        return {"sparsity": {"overall": share}}

    asked = [("sink-wanda", 0.7, 0), ("wanda-noised", 0.7, 1), ("wanda", 0.7, 0), ("sink-wanda", 0.5, 1)]
    runs = [replace(run(*each), report=removed(each[1] - 0.001)) for each in asked]
    runs.append(Run("dense", "dense", "dense", "bundled", "bundled", 0.0))
    assert [each.id for each in by_sparsity(runs)] == [
        "dense",
        "sink-wanda 0.5 1",
        "wanda 0.7 0",
        "wanda-noised 0.7 1",
        "sink-wanda 0.7 0",
    ]
    assert [method_title(each) for each in by_sparsity(runs)] == [
        "Dense",
        "With discount",
        "Wanda as published",
        "Without discount (control)",
        "With discount",
    ]
    others = [method_title(run(name, 0.5, 0)) for name in ("magnitude", "sparsegpt", "sink-sparsegpt", "sham-wanda")]
    assert others == ["Magnitude", "SparseGPT as published", "With discount (Sink-SparseGPT)", "Sham-Wanda (control)"]


def test_the_accuracy_stands_beside_the_method_where_a_phone_shows_it():
    columns = list(row(run("magnitude", 0.5, 0)))
    assert columns[columns.index("method") + 1] == "accuracy, %"


def frame(**columns: list[object]) -> pd.DataFrame:
    usual: dict[str, list[object]] = {
        "★": ["", ""],
        "run": ["a", "b"],
        "method": ["Wanda", "Sink-Wanda"],
        "sparsity, %": [50.0, 50.0],
        "seed": [0, 0],
        "settings": ["", "k2 α5 λ1"],
        "accuracy, %": [90.0, 91.0],
        "95 % interval": ["88 – 92", "89 – 93"],
        "dense, %": [93.1, 93.1],
        "chance, %": [37.5, 37.5],
        "items": [360, 360],
        "model": ["bundled", "bundled"],
        "bits": ["", ""],
        "tags": ["", ""],
        "made": [1, 2],
    }
    return pd.DataFrame(usual | columns)


def test_columns_that_are_the_same_in_all_rows_are_said_once_and_not_shown():
    runs = [run("wanda", 0.5, 0), run("sink-wanda", 0.5, 0)]
    assert _shown(frame(), runs) == ["method", "sparsity, %", "seed", "accuracy, %", "95 % interval", "made"]
    assert _in_common(frame()) == "Dense model 93.1 %, chance 37.5 %, 360 items each."
    assert "items" in _shown(frame(items=[360, 12]), runs)
    assert _in_common(frame(items=[360, 12])) == "Dense model 93.1 %, chance 37.5 %."


def test_the_name_is_shown_where_nothing_else_tells_two_runs_apart():
    runs = [run("wanda", 0.5, 0), run("wanda", 0.5, 0)]
    assert "run" in _shown(frame(method=["Wanda", "Wanda"], settings=["", ""]), runs)
    assert "settings" in _shown(frame(method=["Wanda", "Wanda"], settings=["", "2:4"]), runs)


def test_a_difference_to_the_dense_model_has_its_interval_where_the_answers_are_known():
    scored = Score(0.9, 0.85, 0.95, 360, "tasks", dense=0.93)
    paired = _to_dense(scored, Difference(-0.028, -0.054, 0.002, 360, 360))
    assert paired == {"to dense, points": pytest.approx(-2.8), "interval to dense": "[−5.4, +0.2]"}
    assert _to_dense(scored, Difference(-0.017, -0.034, 0.0002, 360, 360))["interval to dense"] == "[−3.4, 0.0]"
    apart = _to_dense(scored, None)
    assert round(apart["to dense, points"], 6) == -3 and not apart["interval to dense"]
    assert _to_dense(replace(scored, dense=None), None)["to dense, points"] is None


def test_a_dense_model_is_named_before_its_fingerprint():
    rows = [{"setting": "Dense model", "value": "30217662"}, {"setting": "Sparsity", "value": "50 %"}]
    named = name_dense_models(rows, {"value": run("wanda", 0.5, 0)})
    assert [each["value"] for each in named] == ["Diffusion model (30217662)", "50 %"]
