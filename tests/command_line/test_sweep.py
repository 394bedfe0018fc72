"""`python -m analysis sweep`: the engine's sweep on the command line, what it writes, and shards that merge to it."""

import argparse
import csv
import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import pytest

import sinkscope
from analysis.__main__ import main
from analysis.command_line import sweep, written_sweep
from analysis.command_line.flags import add_flags
from analysis.specs import CalibrationParams, DiscountParams, EvaluateSpec, ModelSpec, PruneSpec, SweepSpec, grid
from analysis.specs.commands import sweep_command
from cache.store import Store
from tests.command_line.surface import holds_fields
from tests.workers import fork_workers

SMALL = [
    "--device",
    "cpu",
    "--methods",
    "wanda-noised,sink-wanda",
    "--sparsities",
    "0.6",
    "--seeds",
    "0-1",
    "--tasks",
    "bundled_agreement",
]
SMALL += ["--limit", "4", "--draws", "2", "--samples", "2", "--seq-len", "32", "--step-interval", "25"]


class Tracked(SimpleNamespace):
    """A stand-in for a tracker's package, which keeps its runs."""

    runs: ClassVar[list["Tracked"]] = []

    @classmethod
    def init(cls, **options: Any) -> "Tracked":
        return cls(**options, summary={})

    def finish(self) -> None:
        print("as trackers do, on standard output")
        self.runs.append(self)


def parsed(words: list[str]) -> SweepSpec:
    parser = argparse.ArgumentParser()
    add_flags(parser.add_subparsers(dest="verb").add_parser("sweep"), sweep.FLAGS)
    return sweep.spec_of(parser.parse_args(words))


def test_the_flags_are_the_axes_and_what_all_points_share():
    spec = parsed(
        ["sweep", *SMALL, "--discount", "0.5,1", "--steps", "0-25,26-50", "--seed", "3", "--keep", "checkpoints"]
    )
    assert (spec.seeds, spec.strengths, spec.step_ranges) == ((0, 1), (0.5, 1.0), ("0-25", "26-50"))
    assert (spec.pruning.calibration.samples, spec.evaluation.limit, spec.evaluation.seed) == (2, 4, 3)
    assert (spec.keep, spec.model.device) == ("checkpoints", "cpu")
    assert len(grid(spec).prunings) == 2 * 2 * 3


@pytest.mark.parametrize(
    "spec",
    [
        SweepSpec(),
        SweepSpec(
            model=ModelSpec(device="cpu"),
            other_models=(ModelSpec(source="bundled-ar", device="cpu"),),
            methods=("sink-wanda", "magnitude"),
            sparsities=(0.6,),
            seeds=(3, 4),
            strengths=(0.5,),
            step_ranges=("0-25",),
            footprints=True,
            pruning=PruneSpec(
                calibration=CalibrationParams(samples=64, seq_len=128),
                discount=DiscountParams(alpha_unit="std"),
                allocation="owl",
            ),
            evaluation=EvaluateSpec(tasks=("paper", "bundled_story"), limit=9, seed=2, draws=16),
        ),
    ],
)
def test_the_command_asks_the_same_sweep_again(spec):
    words = shlex.split(sweep_command(spec))
    assert words[:3] == ["python", "-m", "analysis"]
    assert parsed(words[3:]) == spec


def test_bad_input_is_one_line_and_starts_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))

    def refused(*words: str) -> str:
        assert main(["sweep", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "Name the folder" in refused(*SMALL)
    out = ["--out", str(tmp_path / "swept")]
    assert "must be" in refused("--methods", "nothing", *out).lower()
    assert "the dense model" in refused("--methods", "none", *out)
    assert "must be at most 0.95" in refused("--sparsities", "2", *out)
    assert "There is no model" in refused("--model", "none such", *out)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    assert "was not written by SinkScope" in refused("--out", str(mine), "--overwrite")
    assert not (tmp_path / "swept").exists()


def jobs(home: Path, *kinds: str) -> dict[str, dict]:
    store = Store(home)
    try:
        return {job["id"]: job for job in store.jobs() if job["kind"] in kinds}
    finally:
        store.close()


def test_shards_are_runs_of_points_that_make_up_the_whole():
    whole = parsed(["sweep", *SMALL, "--seeds", "0-4"])
    shards = [parsed(["sweep", *SMALL, "--seeds", "0-4", "--shard", f"{number}/3"]) for number in (1, 2, 3)]
    assert [len(grid(shard).prunings) for shard in shards] == [3, 3, 4]
    assert [point for shard in shards for point in grid(shard).prunings] == list(grid(whole).prunings)
    assert "--shard 2/3" in sweep_command(shards[1])


@pytest.mark.parametrize(
    ("shard", "said"),
    [("0/3", "'0/3' is no shard"), ("4/3", "There is no shard 4/3"), ("1/9", "4 points, too few for 9 shards")],
)
def test_a_shard_that_is_none_is_one_line(shard, said, capsys, tmp_path):
    assert main(["sweep", *SMALL, "--shard", shard, "--out", str(tmp_path / "x")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_is_written_tracked_and_exported_and_its_shards_merge_to_the_same(tmp_path, monkeypatch, capsys):
    fork_workers()
    home, whole = tmp_path / "home", tmp_path / "whole"
    words = ["sweep", *SMALL, "--out", str(whole)]
    monkeypatch.setenv("SINKSCOPE_HOME", str(home))
    capsys.readouterr()
    assert main(words) == 0
    told = capsys.readouterr().out
    after = jobs(home, "prune", "evaluate")
    assert sorted(job["kind"] for job in after.values()) == ["evaluate"] * 5 + ["prune"] * 4
    assert {job["state"] for job in after.values()} == {"done"}
    assert "cannot tell at 60 %" in told and "two sources of noise" in told

    written = json.loads((whole / "sweep.json").read_text())
    assert (written["format"], written["state"], len(written["points"])) == (written_sweep.FORMAT, "done", 4)
    assert SweepSpec.model_validate(written["parameters"]) == parsed(["sweep", *words[1:]])
    assert written["environment"]["versions"]["torch"]
    with (whole / "differences.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["against"], row["verdict"], row["seeds"], row["clusters"]) == ("wanda-noised", "cannot tell", "2", "4")
    suffixes = sorted(path.name.partition(".6-seed-")[2] for path in whole.iterdir() if ".6-seed-" in path.name)
    kinds = ["documents.jsonl", "masks.safetensors", "report.json"]
    assert suffixes == sorted(f"{seed}.{kind}" for seed in (0, 1) for kind in kinds for _ in range(2))

    monkeypatch.setitem(sys.modules, "wandb", Tracked)
    assert main([*words, "--overwrite", "--json", "--log", "wandb"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(run.summary["accuracy"] for run in Tracked.runs) == sorted(
        point["accuracy"] for point in written["points"]
    )
    assert len({run.id for run in Tracked.runs}) == 4 and len({run.group for run in Tracked.runs}) == 1
    assert {run.config["calibration.seed"] for run in Tracked.runs} == {0, 1}
    holds_fields("sweep", printed)
    assert printed["verdicts"] == written["verdicts"]
    assert len(jobs(home, "prune", "evaluate")) == len(after), "all of it is answered by reading"

    swept = sinkscope.read(whole)
    assert set(sinkscope.figures(swept)) == {"accuracy", "differences", "discount", "sizes", "tasks"}
    assert all(len(sinkscope.figure(swept, name).data) for name in sinkscope.figures(swept))
    exported = tmp_path / "exported"
    assert main(["export", str(home), "--out", str(exported)]) == 0
    tables = {path.stem: pd.read_parquet(path) for path in exported.glob("*.parquet")}
    points = {point["evaluation"]: point for point in written["points"]}
    scores = tables["items"].groupby(["job", "model"], sort=False).score.mean()
    for job, point in points.items():
        assert scores[job].tolist() == pytest.approx([point["dense"], point["accuracy"]])
    assert set(tables["runs"].method[tables["runs"].kind == "pruned"]) == {"wanda-noised", "sink-wanda"}
    removed = tables["sparsity"].groupby("run").removed.mean()
    assert len(removed) == 4 and removed.between(0.59, 0.61).all()
    assert set(tables["accuracies"].task) == {"bundled_agreement"} and len(tables["differences"]) > 3
    assert main(["export", str(home), "--out", str(exported)]) == 2 and "exists" in capsys.readouterr().err
    assert main(["export", str(home), "--out", str(exported), "--overwrite", "--json"]) == 0
    holds_fields("export", json.loads(capsys.readouterr().out))

    # Each shard in a store of its own: what one found is not known to the others.
    first, second = tmp_path / "1", tmp_path / "2"
    for part in (first, second):
        monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / f"home-{part.name}"))
        assert main(["sweep", *SMALL, "--shard", f"{part.name}/2", "--out", str(part)]) == 0
    merged = tmp_path / "merged"
    capsys.readouterr()
    assert main(["merge", str(second), str(first), "--out", str(merged), "--json"]) == 0
    holds_fields("merge", json.loads(capsys.readouterr().out))
    assert sorted(path.name for path in merged.iterdir()) == sorted(path.name for path in whole.iterdir())
    same = ["points.csv", "settings.csv", "differences.csv"]
    same += [path.name for path in whole.glob("*.masks.safetensors")]
    assert len(same) == 3 + 4
    for name in same:
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
    assert len((merged / "differences.csv").read_text().splitlines()) == 2, "of points of two shards"
    of_whole, of_all = (json.loads((folder / "sweep.json").read_text()) for folder in (whole, merged))
    for name in ("format", "state", "reason", "parameters", "verdicts", "settings", "differences"):
        assert of_all[name] == of_whole[name], name

    capsys.readouterr()
    for given, said in (
        ([first], "Shard 2 of 2 is missing"),
        ([first, first, second], "are both shard 1/2"),
        ([first, whole], "holds a whole sweep"),
        ([first, tmp_path], "has no sweep.json of a sweep"),
    ):
        assert main(["merge", *map(str, given), "--out", str(tmp_path / "none")]) == 2
        assert said in capsys.readouterr().err
    next(second.glob("*.documents.jsonl")).unlink()
    assert main(["merge", str(first), str(second), "--out", str(tmp_path / "none")]) == 2
    assert "has no answers of" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
