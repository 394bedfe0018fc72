"""Sweeps in a real engine: every point once, checkpoints dropped or kept, failures retried, interruptions survived."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from analysis.engine import Engine, JobRecord
from analysis.engine.job_store import Label
from analysis.engine.runs import known_runs, save_label
from analysis.engine.stored_tables import stored_tables
from analysis.engine.sweeps import point_row, scored
from analysis.errors import UserError
from analysis.evaluation import results, sweep_scores
from analysis.pruned.masks_file import open_masks, why_not_comparable
from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec, SweepSpec, grid, setting_name
from tests.engine.helpers import PATIENCE, engine_in, until

pytestmark = pytest.mark.slow
CPU = ModelSpec(device="cpu")
NAME = "model"  # of the folder of the small model
Sweeps = Callable[..., SweepSpec]


@pytest.fixture(scope="module")
def sweep(small) -> Sweeps:
    """Makes sweeps of a small model: what an engine does with them does not depend on the weights."""

    def make(**changes: Any) -> SweepSpec:
        pruning = PruneSpec(calibration=CalibrationParams(samples=2, seq_len=32, step_interval=25))
        asked = {
            "model": small.spec,
            "methods": ("magnitude", "wanda-noised"),
            "sparsities": (0.5,),
            "seeds": (0, 1),
            "pruning": pruning,
            "evaluation": EvaluateSpec(tasks=("bundled_agreement",), limit=2, draws=2),
        }
        return SweepSpec(**{**asked, **changes})

    return make


def ended(engine: Engine, spec: SweepSpec) -> JobRecord:
    return engine.wait(engine.submit("sweep", spec).id, PATIENCE)


def children(engine: Engine, kind: str) -> dict[str, tuple[str, float]]:
    """State and beginning of every job of a kind, by its id."""
    return {job.id: (job.state, job.created) for job in engine.jobs(kind)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with engine_in(tmp_path_factory.mktemp("sweeps"), devices=["cpu", "cpu"]) as made:
        yield made


def test_every_point_is_pruned_and_scored_once_and_its_masks_and_answers_stay(engine, sweep: Sweeps):
    record = ended(engine, sweep())
    assert record.state == "done", record.reason
    points = engine.sweep_points(record)
    assert [(point.pruning.method, point.pruning.calibration.seed) for point in points] == [
        ("magnitude", 0),
        ("wanda-noised", 0),
        ("wanda-noised", 1),
    ]
    for point in points:
        assert point.state == "done"
        left = sorted(path.name for path in engine.result(point.pruned).folder.iterdir())
        assert left == ["config.json", "masks.safetensors", "report.json"]
        answers = results.read(engine.result(point.evaluated).file)
        assert answers.names[0] == "dense" and len(answers.answers) == 4
        assert answers.runs[1].seed == point.pruning.calibration.seed
    pruned = [run for run in known_runs(engine) if run.kind == "pruned"]
    assert len(pruned) == 3 and not any(run.runs for run in pruned), "what has no weights is not offered as a model"
    folders = [open_masks(str(folder)) for folder in engine.pruned_models().values()]
    assert len(folders) == 3 and all(folder.stored for folder in folders)
    first, *others = folders
    assert all(why_not_comparable(first, other) == "" for other in others)
    assert 0.4 < first.pruned(0, "q_proj").mean() < 0.7
    scored = {run.id: [place.record.id for place in run.evaluations] for run in known_runs(engine)}
    assert all(scored[point.pruned.id] == [point.evaluated.id] for point in points)
    jobs = [*engine.jobs("prune"), *engine.jobs("evaluate")]
    assert sorted(job.kind for job in jobs) == ["evaluate"] * 4 + ["prune"] * 3
    assert {job.device for job in jobs} == {"cpu #1", "cpu #2"}

    assert engine.submit("sweep", sweep()).id == record.id, "the same sweep is answered by reading"


def test_evictions_are_scored_beside_their_control_and_are_runs(engine, sweep: Sweeps):
    spec = sweep(methods=("none",), policies=("sinks",), budgets=(0.4,))
    record = ended(engine, spec)
    assert record.state == "done", record.reason
    points = engine.sweep_points(record)
    assert sorted(setting_name(point.pruning) for point in points) == sorted(
        ["sinks 40 % kept", "recent 40 % kept", "random 40 % kept as sinks"] * 2
    )
    assert all(point.state == "done" and point.pruned is None for point in points)
    jobs = {point.evaluated.id: point.evaluated for point in points}
    assert len(jobs) == 4, "a policy that nothing draws is scored once for all seeds"
    assert all(job.parameters(EvaluateSpec).kept[0] == "everything" for job in jobs.values())
    rows = [point_row(point) for point in points]
    assert {round(row["cache bytes"] / row["dense cache bytes"], 2) for row in rows} == {0.4}
    scores = scored(points, engine.result_file, sweep_scores.read_scores)
    assert {len(one.seeds) for one in sweep_scores.settings(scores, grid(spec).prunings)} == {2}

    runs = {run.automatic: run for run in known_runs(engine)}
    drawn = [name for name in runs if name.startswith(f"{NAME} random 40 % kept as sinks seed ")]
    assert len(drawn) == 2 and {runs[name].kind for name in drawn} == {"evicted"}
    run = runs[f"{NAME} sinks 40 % kept"]
    assert (run.kept, run.runs, run.evaluations[0].number) == ("sinks:0.4", False, 1)
    assert {place.number for place in runs[f"{NAME} (dense)"].evaluations} == {0}
    save_label(engine, run, Label(tags=("cache",), star=True))
    exported = stored_tables(engine)["runs"].set_index("name")
    assert tuple(exported.loc[run.automatic, ["kind", "kept", "tags"]]) == ("evicted", "sinks:0.4", '["cache"]')
    before = children(engine, "evaluate")
    assert ended(engine, sweep(methods=("none",), policies=("sinks",), budgets=(0.4,), seeds=(1, 0))).state == "done"
    assert children(engine, "evaluate") == before, "the same points in another order ask nothing anew"


def test_checkpoints_stay_where_they_shall_or_were_there_before(engine, sweep: Sweeps):
    own = sweep().pruning.model_copy(update={"model": sweep().model, "method": "wanda-noised", "sparsity": 0.3})
    by_hand = engine.wait(engine.submit("prune", own).id, PATIENCE)
    spec = sweep(methods=("wanda-noised",), seeds=(0,), sparsities=(0.3,), footprints=True)
    dropped = ended(engine, spec)
    assert dropped.state == "done", dropped.reason
    (point,) = engine.sweep_points(dropped)
    assert point.pruned.id == by_hand.id
    assert (engine.result(engine.job(by_hand.id)).folder / "model.safetensors").is_file(), "not the sweep's to drop"
    assert point.footprint.summary["footprint"]["pruned"]["nonzeros"] > 0
    kept = ended(engine, sweep(methods=("wanda-noised",), seeds=(0,), sparsities=(0.35,), keep="checkpoints"))
    (point,) = engine.sweep_points(kept)
    assert (engine.result(point.pruned).folder / "model.safetensors").is_file()


def test_a_point_that_failed_is_retried_alone(engine, sweep: Sweeps):
    spec = sweep(sparsities=(0.4, 0.45), seeds=(0,), methods=("wanda-noised",), step_ranges=("0-1000", "51-60"))
    record = ended(engine, spec)
    assert record.state == "failed"
    assert record.reason.startswith("2 of 4 points failed. The first: No noise step of the calibration")
    failed = [point for point in engine.sweep_points(record) if point.state == "failed"]
    assert len(failed) == 2 and all("Widen it" in point.reason for point in failed)
    before = {job_id: state for job_id, state in children(engine, "prune").items() if state[0] == "done"}
    again = engine.restart(record.id)
    assert again.id == record.id
    assert engine.wait(record.id, PATIENCE).state == "failed", "the reason is still there"
    after = children(engine, "prune")
    assert {job_id: after[job_id] for job_id in before} == before
    tries = [engine.job(point.pruned.id) for point in failed]
    assert all(job.created > record.created for job in tries), "they were tried again"


def test_one_that_is_started_again_in_the_moment_of_its_end_goes_on(engine, monkeypatch, sweep: Sweeps):
    spec = sweep(sparsities=(0.4,), seeds=(0,), methods=("wanda-noised",), step_ranges=("51-60",))
    finish, begun = engine._job_store.finish, []
    restarts: list[threading.Thread] = []

    def finish_and_restart(job_id: str, state: str, **changes) -> bool:
        ended_now = finish(job_id, state, **changes)
        if engine.job(job_id).kind == "sweep" and not restarts:
            begun.append(engine.job(job_id).started)
            restarts.append(threading.Thread(target=engine.restart, args=(job_id,)))
            restarts[0].start()
            restarts[0].join(timeout=1)  # until it has begun again, or waits for the end to be over
        return ended_now

    monkeypatch.setattr(engine._job_store, "finish", finish_and_restart)
    record = ended(engine, spec)
    until(lambda: restarts)
    restarts[0].join()
    assert engine.job(record.id).started > begun[0] or not engine.job(record.id).ended
    assert engine.wait(record.id, PATIENCE).state == "failed", "the reason is still there"


def test_a_cancelled_sweep_asks_for_nothing_more_and_goes_on_when_it_is_asked_again(engine, sweep: Sweeps):
    spec = sweep(sparsities=(0.2, 0.25, 0.3), methods=("wanda",))
    record = engine.submit("sweep", spec)
    until(lambda: any(job.spec["method"] == "wanda" for job in engine.jobs("prune")))
    engine.cancel(record.id)
    assert engine.job(record.id).state == "cancelled"
    until(lambda: all(job.ended for job in engine.jobs()))
    asked = len(engine.jobs("prune"))
    assert asked < 6 + len([job for job in engine.jobs("prune") if job.spec["method"] != "wanda"])
    again = engine.submit("sweep", spec)
    assert again.id == record.id
    assert engine.wait(record.id, PATIENCE).state == "done"


def test_the_next_engine_goes_on_with_a_sweep_and_repeats_nothing(tmp_path, sweep: Sweeps):
    spec = sweep(methods=("wanda-noised",))
    with engine_in(tmp_path) as first:
        record = first.submit("sweep", spec)
        until(lambda: any(point.state == "done" for point in first.sweep_points(first.job(record.id))))
    with engine_in(tmp_path) as second:
        assert second.job(record.id).state == "running"
        done_before = {
            job_id: state
            for kind in ("prune", "evaluate")
            for job_id, state in children(second, kind).items()
            if state[0] == "done"
        }
        assert done_before
        ended_well = second.wait(record.id, PATIENCE)
        assert ended_well.state == "done", ended_well.reason
        after = children(second, "prune") | children(second, "evaluate")
        assert {job_id: after[job_id] for job_id in done_before} == done_before
        assert len(second.jobs("prune")) == 2 and len(second.jobs("evaluate")) == 3
    with engine_in(tmp_path, alone=True) as third:
        assert third.submit("sweep", spec).id == record.id
        assert third.worker_pids() == [], "nothing is left to run"


def test_tasks_that_are_not_there_are_said_before_anything_is_pruned(engine, sweep: Sweeps):
    evaluation = EvaluateSpec(tasks=("bundled_nonsense",), limit=2)
    record = ended(engine, sweep(sparsities=(0.15,), evaluation=evaluation))
    assert record.state == "failed" and "bundled_nonsense" in record.reason
    assert not [job for job in engine.jobs("prune") if job.spec["sparsity"] == 0.15]


def test_a_sweep_of_a_model_that_is_none_is_refused_at_once(engine, sweep: Sweeps):
    with pytest.raises(UserError, match="There is no model"):
        engine.submit("sweep", sweep(model=ModelSpec(source="none such")))
