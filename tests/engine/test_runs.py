"""Runs: which there are, what they are called, what is said of them, and removing them; with a real store."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.engine import Engine
from analysis.engine.job_store import JobRecord, Label
from analysis.engine.runs import known_runs, remove_run, save_label, score, size, stored_results
from analysis.errors import UserError
from analysis.pruned.report_file import Report, load_report, run_name
from analysis.specs import EvaluateSpec, ModelSpec, PruneSpec
from tests.helpers import pruned_run, write_report


def finished(engine: Engine, spec, key: str, summary, folder=None) -> JobRecord:
    """A job that has ended well, as the engine stores it."""
    kind = "prune" if isinstance(spec, PruneSpec) else "evaluate"
    record = JobRecord(
        id=f"{kind}{key}"[:12],
        kind=kind,
        spec=spec.model_dump(mode="json"),
        state="done",
        created=float(len(engine.jobs()) + 1),
        key=key,
        summary=summary,
    )
    engine.store.add_result(key, summary, folder=folder)
    engine._job_store.save(record)
    return record


@pytest.fixture
def engine(store):
    made = Engine(store, devices=["cpu"])
    yield made
    made.close()


@pytest.fixture
def pruned(engine):
    """Two finished prunings, their folders in the store."""
    made = []
    for number, method in enumerate(("wanda-noised", "sink-wanda")):
        folder = engine.store.incoming / f"job{number}" / f"pruned-{method}"
        folder.mkdir(parents=True)
        write_report(folder, pruned_run(method=method))
        (folder / "config.json").write_text("{}")
        (folder / "weights").write_bytes(bytes(5000))
        report = json.loads((folder / "report.json").read_text())
        report["model"]["source"] = "bundled"
        made.append(finished(engine, PruneSpec(method=method), f"{number}" * 8, {"report": report}, folder))
    return made


def test_finished_prunings_are_runs_under_their_names(engine, pruned):
    runs = known_runs(engine)
    assert [run.id for run in runs] == [record.id for record in reversed(pruned)]
    assert [run.name for run in runs] == [run_name(record.spec) for record in reversed(pruned)]
    assert {run.model for run in runs} == {"bundled"}
    assert all(run.kind == "pruned" and size(run) > 5000 for run in runs)


def test_folders_that_no_job_left_are_runs_too(engine):
    folder = engine.models_folder / "elsewhere"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (run,) = known_runs(engine)
    assert (run.name, run.record) == ("elsewhere", None)
    write_report(folder, pruned_run(method="magnitude", sparsity=0.25))
    assert known_runs(engine)[0].name == "Magnitude · 25 %"


def test_runs_are_listed_anew_once_a_folder_changes_and_only_then(engine, pruned, tmp_path, monkeypatch):
    def reads(count: int) -> list[str]:
        """The names of all runs, which are read from so many reports."""
        read: set[Path] = set()

        def noted(folder: Path) -> Report | None:
            read.add(folder)
            return load_report(folder)

        with monkeypatch.context() as patch:
            patch.setattr("analysis.engine.runs.load_report", noted)
            names = [run.name for run in known_runs(engine)]
        assert len(read) == count
        return names

    folder, offered = tmp_path / "mine", engine.models_folder / "offered"
    for place in (folder, offered):
        place.mkdir(parents=True)
        (place / "config.json").write_text("{}")
        write_report(place, pruned_run(method="magnitude", sparsity=0.25 if place == folder else 0.125))
    summary = {"models": ["mine"], "tasks": [{"title": "Story", "models": [row(0.7)]}], "average": [{}]}
    finished(engine, EvaluateSpec(model=ModelSpec(source=str(folder))), "e" * 8, summary)
    assert {"Magnitude · 25 %", "Magnitude · 12.5 %"} < set(reads(2)) and len(reads(0)) == 4
    known_runs(engine).clear()
    assert len(reads(0)) == 4

    write_report(folder, pruned_run(method="magnitude", sparsity=0.375))
    assert "Magnitude · 37.5 %" in reads(2) and len(reads(0)) == 4
    shutil.rmtree(engine.result(pruned[0]).folder)
    assert len(reads(2)) == 3
    shutil.rmtree(offered)
    assert reads(1) == reads(0) and len(reads(0)) == 2
    folder.rename(tmp_path / "away")
    assert len(reads(1)) == 1  # what was scored is looked for
    (tmp_path / "away").rename(folder)
    assert "Magnitude · 37.5 %" in reads(1)


def test_a_run_keeps_its_name_whatever_is_pruned_or_removed_after_it(engine, pruned):
    def prune(key, **changes):
        folder = engine.store.incoming / key / "pruned"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        return finished(engine, PruneSpec(method="wanda-noised", **changes), key * 8, {"report": {}}, folder)

    before = {run.id: run.name for run in known_runs(engine)}
    other = prune("a", calibration={"samples": 16})
    again = prune("b")
    names = {run.id: run.name for run in known_runs(engine)}
    assert {run_id: names[run_id] for run_id in before} == before
    assert names[other.id] == f"{run_name(other.spec)} · samples 16" and len(set(names.values())) == 4
    remove_run(engine, next(run for run in known_runs(engine) if run.id == pruned[0].id))
    assert {run.id: run.name for run in known_runs(engine)} == {k: v for k, v in names.items() if k != pruned[0].id}
    assert names[again.id].startswith(run_name(again.spec))


def test_names_given_by_visitors_are_no_automatic_ones_of_others(engine, pruned):
    (name,) = {run.name for run in known_runs(engine) if run.id == pruned[1].id}
    remove_run(engine, next(run for run in known_runs(engine) if run.id == pruned[1].id))
    save_label(engine, known_runs(engine)[0], Label(name=name))
    folder = engine.models_folder / "later"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_report(folder, pruned_run(method="sink-wanda"))
    names = [run.name for run in known_runs(engine)]
    assert names.count(name) == 1 and len(set(names)) == 2


def row(value, n=100):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def test_evaluations_join_the_runs_that_they_scored(engine, pruned):
    folder = engine.result(pruned[0]).folder
    spec = EvaluateSpec(model=ModelSpec(), compare=(ModelSpec(source=str(folder)),), names=("dense", "mine"))
    tasks = [{"title": "Story", "models": [row(0.9), row(0.7)]}, {"title": "Text", "perplexity": []}]
    record = finished(engine, spec, "e" * 8, {"models": ["dense", "mine"], "tasks": tasks, "average": [{}, {}]})
    by_name = {run.name: run for run in known_runs(engine)}
    dense, noised = by_name["Diffusion model (dense)"], by_name[run_name(pruned[0].spec)]
    assert [(scored.record.id, scored.number) for scored in noised.evaluations] == [(record.id, 1)]
    assert (score(dense).value, score(noised).value, score(noised).tasks) == (0.9, 0.7, "Story")
    assert dense.kind == "dense"
    assert score(by_name[run_name(pruned[1].spec)]) is None


def test_a_score_stands_beside_its_dense_model_and_chance(engine, pruned):
    folder = engine.result(pruned[0]).folder
    spec = EvaluateSpec(model=ModelSpec(), compare=(ModelSpec(source=str(folder)),), names=("dense", "mine"))
    tasks = [{"title": title, "chance": at, "models": [row(0.9), row(0.7)]} for title, at in (("A", 0.5), ("B", 0.25))]
    summary = {"models": ["dense", "mine"], "tasks": tasks, "average": [row(0.9), row(0.7)]}
    finished(engine, spec, "e" * 8, summary)
    by_name = {run.name: run for run in known_runs(engine)}
    found = score(by_name[run_name(pruned[0].spec)])
    assert (found.value, found.dense, found.chance, found.items) == (0.7, 0.9, 0.375, 100)


def test_a_pruned_folder_that_was_scored_is_not_a_dense_model(engine, tmp_path):
    folder = tmp_path / "pruned-sink-wanda"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write_report(folder, pruned_run(method="sink-wanda"))
    tasks = [{"title": "Story", "models": [row(0.7)]}]
    spec = EvaluateSpec(model=ModelSpec(source=str(folder)))
    finished(engine, spec, "e" * 8, {"models": ["mine"], "tasks": tasks, "average": [{}]})
    (run,) = known_runs(engine)
    assert run.kind == "pruned" and "dense" not in run.name and score(run).value == 0.7
    assert run.parameters["method"] == "sink-wanda" and score(run).dense is None


def test_a_store_that_was_moved_knows_what_was_scored_before(engine):
    folder = engine.store.incoming / "job" / "pruned-wanda"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    key = "0123456789abcdef" * 2
    finished(engine, PruneSpec(method="wanda"), key, {"report": {}}, folder)
    before = ModelSpec(source=f"/elsewhere/kept/{key}/pruned-wanda")
    tasks = [{"title": "Story", "models": [row(0.9), row(0.7)]}]
    spec = EvaluateSpec(model=ModelSpec(), compare=(before,), names=("dense", "mine"))
    finished(engine, spec, "e" * 8, {"models": ["dense", "mine"], "tasks": tasks, "average": [{}, {}]})
    by_kind = {run.kind: run for run in known_runs(engine)}
    assert set(by_kind) == {"pruned", "dense"} and score(by_kind["pruned"]).value == 0.7


def test_what_a_visitor_says_of_a_run_is_kept(engine, pruned):
    run = known_runs(engine)[0]
    save_label(engine, run, Label(name="  my  run ", tags=("a", " a", ""), note="why", star=True))
    again = known_runs(engine)[0]
    assert again.name == "my run"
    assert again.automatic == run.automatic
    assert again.label == Label(name="my run", tags=("a",), note="why", star=True)
    save_label(engine, again, Label(name=run.automatic))
    assert known_runs(engine)[0].label.name == ""


@pytest.mark.parametrize("name", ["a, b", "x" * 81, run_name(PruneSpec(method="wanda-noised").model_dump(mode="json"))])
def test_names_that_cannot_be_are_refused(engine, pruned, name):
    run = known_runs(engine)[0]
    with pytest.raises(UserError):
        save_label(engine, run, Label(name=name))
    assert known_runs(engine)[0].name == run.name


def test_removing_a_run_frees_its_room_and_forgets_what_was_said(engine, pruned):
    first, second = known_runs(engine)
    save_label(engine, first, Label(note="gone"))
    before = {one.record.id: one.bytes for one in stored_results(engine)}
    assert before[first.id] == size(first) > 5000
    remove_run(engine, first)
    assert [run.id for run in known_runs(engine)] == [second.id]
    assert not first.folder.exists() and second.folder.exists()
    assert engine.store.labels() == {}
    assert engine.job(first.id) is None
    assert {one.record.id for one in stored_results(engine)} == {second.id}


def test_a_folder_outside_the_store_stays(engine, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    record = finished(engine, PruneSpec(out=str(folder)), "f" * 8, {"report": {}}, folder)
    assert not engine.keeps(record)
    assert next(one.bytes for one in stored_results(engine)) == 0
    remove_run(engine, known_runs(engine)[0])
    assert folder.is_dir()


def test_a_job_that_runs_is_not_forgotten(engine):
    record = JobRecord(id="x" * 12, kind="prune", spec={}, state="running", created=1.0)
    engine._job_store.save(record)
    engine.forget(record.id)
    assert engine.job(record.id) == record


def test_a_shipped_model_scored_without_some_keys_has_its_title(engine):
    spec = EvaluateSpec(
        model=ModelSpec(source="bundled"), compare=(ModelSpec(source="bundled"),), kept=("everything", "sinks:0.4")
    )
    finished(engine, spec, "k", {"tasks": [], "models": ["dense", "sinks"]})
    (run,) = [run for run in known_runs(engine) if run.kind == "evicted"]
    assert run.automatic.startswith("Diffusion model sinks 40 %")
