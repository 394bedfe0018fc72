"""What the engine survives: killed workers, full memory, full disks, deaf jobs, crowds, restarts."""

import errno
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from typing import get_args, get_type_hints

import diskcache
import psutil
import pytest
from pydantic import TypeAdapter

from analysis.engine import Engine
from analysis.engine.dispatcher import Dispatcher
from analysis.engine.placement import DIED
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.jobs.summaries import AblateSetPartial, EvictPartial, NoSummary, PrunePartial, RecordPartial
from analysis.models.checkpoint import find
from analysis.specs import (
    AblateSetSpec,
    AblateSpec,
    AlternativesSpec,
    AttentionMapSpec,
    CalibrateSpec,
    CalibrationParams,
    ClaimMeasuresSpec,
    DenseStatisticsSpec,
    EstimateSpec,
    EvictSpec,
    FootprintSpec,
    GeometrySpec,
    HeldoutSpec,
    LensSpec,
    LLaDASampling,
    LoadSpec,
    ModelSpec,
    NoiseSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
    ReferenceSpec,
    SeedFloorSpec,
    SinkParams,
)
from cache.store import Store
from tests.engine.helpers import PATIENCE, engine_in, running, until
from tests.engine.jobs import OneSpec, PacedSpec, steps_of, weights_digest
from tests.helpers import edit_config, there

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with engine_in(tmp_path_factory.mktemp("survival")) as made:
        yield made


def test_what_dies_with_its_worker_is_tried_again_from_its_finished_phases(engine, tmp_path):
    journal = tmp_path / "journal"
    victim = engine.submit("paced", PacedSpec(tag="victim", steps=30, seconds=0.1, journal=str(journal)))
    queued = [engine.submit("paced", PacedSpec(tag=f"q{n}", steps=2, journal=str(journal))) for n in range(5)]
    running(engine, victim, 2)
    (pid,) = engine.worker_pids()
    os.kill(pid, signal.SIGKILL)
    done = engine.wait(victim.id, PATIENCE)
    assert (done.state, done.summary["reused"] > 0, done.summary["pid"] != pid) == ("done", True, True), done.reason
    (loss,) = done.losses
    assert (loss.worker, loss.why, loss.handed_back) == ("cpu", DIED, False)
    assert "tried again (1 of 2)" in engine.log(victim.id)[0].text
    assert [engine.wait(job.id, PATIENCE).state for job in queued] == ["done"] * 5
    begun = [line for line in steps_of(journal) if line.startswith("begin")]
    assert begun == ["begin victim", "begin victim", *(f"begin q{n}" for n in range(5))]


def test_a_job_that_ends_every_worker_is_given_up_after_two_more_tries(engine):
    deadly = engine.submit("deadly", OneSpec())
    follower = engine.submit("paced", PacedSpec(tag="after the deadly", steps=1))
    failed = engine.wait(deadly.id, PATIENCE)
    assert (failed.state, len(failed.losses)) == ("failed", 3)
    assert failed.reason == (f"{DIED} 3 tries ended so, on cpu. Take a smaller model or less text if memory was short.")
    assert engine.wait(follower.id, PATIENCE).state == "done"


def test_no_port_of_the_workers_shows_anything_to_other_users_of_the_machine(engine):
    """dask's pages, with logs, jobs and call stacks, ask for no token."""
    engine.wait(engine.submit("paced", PacedSpec(tag="starts the workers", steps=1)).id, PATIENCE)
    processes = (psutil.Process(), *(psutil.Process(pid) for pid in engine.worker_pids()))
    listening = {
        found.laddr.port for one in processes for found in one.net_connections("tcp") if found.status == "LISTEN"
    }
    assert len(listening) >= 3, "scheduler, nanny and worker listen"
    for port in listening:
        for page in ("", "info/main/workers.html", "info/main/logs.html", "json/counts.json", "health", "metrics"):
            with pytest.raises(OSError):  # not found, or no HTTP
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)


def test_a_job_that_takes_too_much_memory_fails_and_the_worker_is_back(tmp_path):
    with engine_in(tmp_path, memory_limit=700 * 2**20) as made:
        eater = made.submit("hungry", OneSpec())
        follower = made.submit("paced", PacedSpec(tag="after", steps=1))
        failed = made.wait(eater.id, PATIENCE)
        assert failed.state == "failed"
        assert "ran out of memory" in failed.reason and len(failed.losses) == 1, "no other worker may take more"
        assert made.wait(follower.id, PATIENCE).state == "done"


def test_memory_that_python_itself_refuses_is_a_reason_and_not_a_dead_worker(engine, monkeypatch):
    from analysis.engine.worker import reason

    assert "ran out of memory" in reason(MemoryError("Unable to allocate 7 TiB"))
    assert "ran out of memory" in reason(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert "disk is full" in reason(OSError(errno.ENOSPC, "No space left on device"))


def device_is_back_after_cancelling(engine: Engine, job_id: str) -> None:
    engine.cancel(job_id)
    assert there(engine.job(job_id)).state == "cancelled"
    follower = engine.submit("paced", PacedSpec(tag=f"after {job_id}", steps=1))
    assert engine.wait(follower.id, PATIENCE).state == "done"
    assert there(engine.job(job_id)).state == "cancelled"


def test_cancelling_while_the_worker_starts(tmp_path):
    with engine_in(tmp_path) as made:
        job = made.submit("paced", PacedSpec(tag="x", steps=100))
        until(lambda: made.progress(job.id).phase == "starting the worker")
        device_is_back_after_cancelling(made, job.id)


def test_cancelling_a_job_that_listens_or_does_not(engine, monkeypatch):
    listening = engine.submit("paced", PacedSpec(tag="listens", steps=500, seconds=0.05))
    running(engine, listening)
    pids = engine.worker_pids()
    device_is_back_after_cancelling(engine, listening.id)
    assert engine.worker_pids() == pids
    monkeypatch.setattr("analysis.engine.dispatcher.CANCEL_GRACE", 1)
    deaf = engine.submit("deaf", OneSpec(seconds=3 * PATIENCE))
    until(lambda: engine.progress(deaf.id).phase == "not listening")
    device_is_back_after_cancelling(engine, deaf.id)


def test_cancelling_while_the_result_is_taken_in(engine, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()
    add = engine.store.add_result

    def slowly(*arguments):
        entered.set()
        go_on.wait(PATIENCE)
        return add(*arguments)

    monkeypatch.setattr(engine.store, "add_result", slowly)
    job = engine.submit("paced", PacedSpec(tag="saving", steps=1))
    assert entered.wait(PATIENCE)
    engine.cancel(job.id)
    go_on.set()
    monkeypatch.undo()
    assert engine.wait(engine.submit("paced", PacedSpec(tag="after saving", steps=1)).id, PATIENCE).state == "done"
    assert engine.job(job.id).state == "cancelled"


def test_a_result_that_does_not_arrive_holds_up_no_other_job(tmp_path, monkeypatch):
    fetch, held = Dispatcher._outcome, threading.Event()

    def slowly(dispatcher, run):
        if run.record.spec["tag"] == "slow to come":
            held.wait(PATIENCE)
        return fetch(dispatcher, run)

    monkeypatch.setattr(Dispatcher, "_outcome", slowly)
    with engine_in(tmp_path, devices=["cpu", "cpu"]) as made:
        slow = made.submit("paced", PacedSpec(tag="slow to come", steps=1))
        until(lambda: made._dispatcher._running[slow.id].intake if slow.id in made._dispatcher._running else None)
        others = [made.submit("paced", PacedSpec(tag=f"other {n}", steps=1)) for n in range(3)]
        assert [made.wait(job.id, PATIENCE).state for job in others] == ["done"] * 3
        assert made.job(slow.id).state == "running"
        held.set()
        assert made.wait(slow.id, PATIENCE).state == "done"


def test_a_worker_that_is_stopped_is_noticed_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.engine.dispatcher.SILENCE_LIMIT", 8)
    fetch = Dispatcher._outcome

    def stopping(dispatcher, run):
        if run.record.spec["tag"] == "with the result in its hands" and not run.record.losses:
            os.kill(dispatcher.cluster.worker_pids()[0], signal.SIGSTOP)
        return fetch(dispatcher, run)

    monkeypatch.setattr(Dispatcher, "_outcome", stopping)
    with engine_in(tmp_path) as made:
        for when, steps in (("at work", 20), ("with the result in its hands", 1)):
            job = made.submit("paced", PacedSpec(tag=when, steps=steps, seconds=0.05))
            if when == "at work":
                running(made, job)
                os.kill(made.worker_pids()[0], signal.SIGSTOP)
            done = made.wait(job.id, PATIENCE)
            assert (done.state, len(done.losses)) == ("done", 1), done.reason
            assert "did not answer" in done.losses[0].why and "\n" not in done.losses[0].why
        assert made.wait(made.submit("paced", PacedSpec(tag="next", steps=1)).id, PATIENCE).state == "done"


def test_whatever_fails_while_a_job_is_handed_over_ends_it_with_the_reason(engine, monkeypatch):
    def broken():
        raise ValueError("could not convert 'lots'")

    with monkeypatch.context() as patched:
        patched.setattr("analysis.engine.dispatcher.wire_limit", broken)
        failed = engine.wait(engine.submit("paced", PacedSpec(tag="not handed over", steps=1)).id, PATIENCE)
    assert (failed.state, failed.reason) == ("failed", "ValueError: could not convert 'lots'")
    assert "wire_limit" in failed.traceback
    assert engine.wait(engine.restart(failed.id).id, PATIENCE).state == "done"


def test_started_again_a_job_has_all_its_tries(tmp_path):
    with engine_in(tmp_path) as made:

        def dies_before_it_begins(ask) -> None:
            (pid,) = until(made.worker_pids)
            os.kill(pid, signal.SIGSTOP)
            job_id = ask().id
            until(lambda: made.job(job_id).state == "running")
            os.kill(pid, signal.SIGKILL)

        made.wait(made.submit("paced", PacedSpec(tag="starts the worker", steps=1)).id, PATIENCE)
        spec = PacedSpec(tag="twice", steps=900, seconds=0.1)
        dies_before_it_begins(lambda: made.submit("paced", spec))
        (job,) = [job for job in made.jobs() if job.spec["tag"] == "twice"]
        running(made, job)
        assert len(made.job(job.id).losses) == 1
        made.cancel(job.id)
        made.wait(made.submit("paced", PacedSpec(tag="between", steps=1)).id, PATIENCE)
        dies_before_it_begins(lambda: made.restart(job.id))
        running(made, job)
        assert len(made.job(job.id).losses) == 1


def test_loading_that_takes_too_long_is_ended_with_a_sentence_and_can_be_cancelled(engine, monkeypatch):
    slow = engine.wait(engine.submit("loads_slowly", OneSpec(seconds=0.5)).id, PATIENCE)
    assert slow.state == "failed"
    assert "Loading 'bundled' took more than" in slow.reason and "\n" not in slow.reason
    patient = engine.submit("loads_slowly", OneSpec(seconds=500))
    until(lambda: engine.progress(patient.id).phase == "reading weights")
    monkeypatch.setattr("analysis.engine.dispatcher.CANCEL_GRACE", 1)
    device_is_back_after_cancelling(engine, patient.id)


def test_a_job_that_two_ask_for_is_cancelled_when_the_last_one_leaves(engine):
    spec = PacedSpec(tag="shared", steps=900, seconds=0.1)
    job = engine.submit("paced", spec, "ann")
    assert engine.submit("paced", spec, "ben").id == job.id
    present = {"ann", "ben"}
    assert not engine.cancel(job.id, "ann", present.__contains__)
    assert not engine.cancel(job.id, "ann", present.__contains__), "leaving twice does not count twice"
    assert not engine.cancel(job.id, "cara", present.__contains__), "who did not ask cannot leave"
    assert engine.job(job.id).state != "cancelled"
    assert not engine.awaited(job.id, "ben", present.__contains__) and engine.awaited(job.id, "ann")
    assert engine.cancel(job.id, "ben", present.__contains__)
    assert engine.job(job.id).state == "cancelled"
    assert engine.restart(job.id, "ann").id == job.id
    assert engine.submit("paced", spec, "ben").id == job.id
    present.discard("ben")  # closed the tab
    assert engine.cancel(job.id, "ann", present.__contains__)


def test_a_model_that_changes_mid_run_fails_the_job_and_leaves_no_result_and_no_phases(engine, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(find("bundled").folder, folder)
    spec = PacedSpec(model=ModelSpec(source=str(folder), device="cpu"), tag="changes", steps=12)
    before = set(engine.store.scratch.iterdir())  # of other tests' jobs
    job = engine.submit("paced", spec)
    running(engine, job, 2)
    assert set(engine.store.scratch.iterdir()) - before
    edit_config(folder, a_field=1)
    failed = engine.wait(job.id, PATIENCE)
    assert failed.state == "failed" and "changed while this job used them" in failed.reason
    assert engine.result(failed) is None and set(engine.store.scratch.iterdir()) <= before
    again = engine.wait(engine.restart(job.id).id, PATIENCE)
    assert (again.state, again.summary["reused"]) == ("done", 0)


def test_workers_of_another_version_take_no_job_and_say_so(engine, monkeypatch):
    monkeypatch.setattr("analysis.engine.dispatcher.code_version", lambda: "of another version")
    refused = engine.wait(engine.submit("paced", PacedSpec(tag="too new", steps=1)).id, PATIENCE)
    assert refused.state == "failed" and "run another version of SinkScope than the server" in refused.reason
    monkeypatch.undo()
    assert engine.wait(engine.restart(refused.id).id, PATIENCE).state == "done"


class HourBack:
    """The module `time` on a machine whose clock was put back by an hour; what counts seconds passed is as ever."""

    def __getattr__(self, name):
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        return time.time() - 3600


def test_a_clock_that_goes_back_an_hour_reorders_stops_and_loses_no_job(engine, monkeypatch):
    job = engine.submit("paced", PacedSpec(tag="clock", steps=12))
    running(engine, job, 2)
    for module in ("engine", "dispatcher", "job_store", "cluster"):
        monkeypatch.setattr(f"analysis.engine.{module}.time", HourBack())
    asked = [engine.submit("paced", PacedSpec(tag=f"after the clock {n}", steps=1)) for n in range(2)]
    assert engine.place(asked[0].id) < engine.place(asked[1].id)
    ended = [engine.wait(record.id, PATIENCE) for record in (job, *asked)]
    assert [record.state for record in ended] == ["done"] * 3 and all(engine.result(record) for record in ended)
    assert job.created > asked[0].created, "the clock did go back"


def test_an_exception_keeps_its_traceback_and_gives_one_line(engine):
    failed = engine.wait(engine.submit("broken", OneSpec()).id, PATIENCE)
    assert (failed.state, failed.reason) == ("failed", "ZeroDivisionError: nothing to divide by")
    assert "in broken" in failed.traceback and "and a second line" in failed.traceback


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 2 MiB, where this machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if not done or done.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full_fails_the_job_and_the_queue_goes_on(small_disk):
    with engine_in(small_disk / "store") as made:
        assert made.wait(made.submit("paced", PacedSpec(tag="fits", steps=1)).id, PATIENCE).state == "done"
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(b"x" * 4096)
        failed = made.wait(made.submit("paced", PacedSpec(tag="does not fit", steps=1)).id, PATIENCE)
        assert failed.state == "failed"
        assert "disk is full" in failed.reason
        assert any("cannot be written" in text for text in made.notices())
        filler.unlink()
        assert made.wait(made.restart(failed.id).id, PATIENCE).state == "done"
        assert made.notices() == []


def test_a_full_disk_at_the_stores_own_write_fails_the_job_and_the_queue_goes_on(engine, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        patched.setattr(diskcache.Disk, "_write", full)
        failed = engine.wait(engine.submit("paced", PacedSpec(tag="unwritable", steps=2)).id, PATIENCE)
    assert (failed.state, failed.key is not None) == ("failed", True)
    assert "disk is full" in failed.reason
    again = engine.wait(engine.restart(failed.id).id, PATIENCE)
    assert again.state == "done"
    assert again.summary["reused"] == 2, "what was finished before the disk was full is used again"


def test_twenty_jobs_of_four_sessions_at_once_all_finish_and_none_runs_twice(engine, tmp_path):
    journal = tmp_path / "journal"
    specs = [PacedSpec(tag=f"job{n}", steps=1, seconds=0.01, journal=str(journal)) for n in range(16)]
    asked: list[list] = [[] for _ in range(4)]
    gate = threading.Barrier(4)

    def session(number: int) -> None:
        gate.wait()
        own = specs[4 * number : 4 * number + 4]
        for spec in [*own, specs[0]]:  # and one that everybody asks
            asked[number].append(engine.submit("paced", spec).id)

    threads = [threading.Thread(target=session, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [job_id for own in asked for job_id in own]
    assert len(ids) == 20
    assert [engine.wait(job_id, PATIENCE).state for job_id in ids] == ["done"] * 20
    begun = [line for line in steps_of(journal) if line.startswith("begin")]
    assert sorted(begun) == sorted(f"begin {spec.tag}" for spec in specs)


def test_weights_of_the_resident_model_are_as_before_after_any_job(engine, small):
    load = LoadSpec(model=small.spec)
    engine.wait(engine.submit("load", load).id, PATIENCE)
    client = engine._dispatcher.cluster.client

    def digest() -> str:
        assert engine.wait(engine.submit("load", load).id, PATIENCE).state == "done"
        return next(iter(client.run(weights_digest).values()))

    before = digest()
    sampling = LLaDASampling(gen_length=6, steps=3)
    tokens = (7, 8, 9, 10)
    little = CalibrationParams(samples=2, seq_len=32, step_interval=25)
    specs = {
        "record": RecordSpec(model=small.spec, prompt="mia has", sampling=sampling, seed=77),
        "attention_map": AttentionMapSpec(model=small.spec, tokens=tokens, layer=1, head=1),
        "reference": ReferenceSpec(model=small.spec, inputs=(tokens,), prompt_length=2),
        "record_set": RecordSetSpec(
            model=small.spec, prompts="own", own_prompts=("mia has", "ben"), sampling=sampling, random_models=0
        ),
        "alternatives": AlternativesSpec(model=small.spec, tokens=tokens, position=3),
        "geometry": GeometrySpec(model=small.spec, inputs=(tuple(range(5, 29)),), prompt_length=3, random_models=1),
        "lens": LensSpec(model=small.spec, tokens=tokens, positions=(3,), becomes=(11,), prompt_length=2),
        "ablate_set": AblateSetSpec(model=small.spec, prompts=(tokens, tokens[::-1]), sampling=sampling, count=1),
        "evict": EvictSpec(
            model=small.spec, prompts=("mia has", "ben"), sampling=sampling, policies=("sinks",), budgets=(0.5,)
        ),
        "measure_claims": ClaimMeasuresSpec(
            model=small.spec,
            prompts=("mia has", "ben"),
            measures=("clamped", "added"),
            random_models=1,
            sampling=sampling,
        ),
        "noise": NoiseSpec(model=small.spec, tokens=tokens, prompt_length=2, step_interval=25),
        "ablate": AblateSpec(model=small.spec, prompt=tokens, sampling=sampling, count=1, sinks=SinkParams()),
        "prune": PruneSpec(model=small.spec, method="sparsegpt", calibration=little),
        "estimate": EstimateSpec(model=small.spec, method="sink-wanda", calibration=little),
        "calibrate": CalibrateSpec(model=small.spec, calibration=little),
        "seed_floor": SeedFloorSpec(model=small.spec, calibration=little),
        "heldout": HeldoutSpec(model=small.spec, calibration=little),
        "dense_statistics": DenseStatisticsSpec(model=small.spec, calibration=little),
        "paced": PacedSpec(tag="weights", steps=2, load=True),
        "broken": OneSpec(tag="weights"),
    }
    pruned = engine.wait(engine.submit("prune", specs["prune"]).id, PATIENCE)
    specs["footprint"] = FootprintSpec(model=small.spec, pruned=str(engine.result(pruned).folder), tokens=16, repeats=3)
    for kind, spec in specs.items():
        ended = engine.wait(engine.submit(kind, spec).id, PATIENCE)
        assert ended.state == ("failed" if kind == "broken" else "done"), ended.reason
        assert digest() == before, kind
        if ended.state == "done" and JOBS[kind].run.__module__.startswith("analysis."):
            _says_what_its_function_declares(ended, engine.progress(ended.id).details)
    assert {kind for kind, job in JOBS.items() if job.stored} <= {*specs, "leaves_folder"}


_PARTIAL = {"record": RecordPartial, "evict": EvictPartial, "ablate_set": AblateSetPartial} | dict.fromkeys(
    ("prune", "dense_statistics", "estimate"), PrunePartial
)


def _says_what_its_function_declares(record, details):
    """A job's summary and partial results have the fields of their types, and those their types."""
    (summary,) = get_args(get_type_hints(JOBS[record.kind].run)["return"])
    assert summary.__required_keys__ <= record.summary.keys()
    for kind, said in ((summary, record.summary), (_PARTIAL.get(record.kind, NoSummary), details)):
        types = get_type_hints(kind)
        for name, value in said.items():
            TypeAdapter(types[name]).validate_python(value, strict=True)


def test_a_job_that_was_cut_off_is_started_again_under_its_id_and_uses_what_it_had_finished(tmp_path):
    journal = tmp_path / "journal"
    spec = PacedSpec(tag="resumed", steps=12, seconds=0.2, journal=str(journal))
    with engine_in(tmp_path / "store") as first:
        job = first.submit("paced", spec)
        running(first, job, 4)
    with engine_in(tmp_path / "store") as second:
        left = second.job(job.id)
        assert (left.state, left.device) == ("interrupted", "cpu")
        assert second.progress(job.id).done >= 4, "how far it had come is still known"
        assert second.progress(job.id).details["finished"][:4] == [0, 1, 2, 3]
        assert [line.text for line in second.log(job.id)][:2] == ["step 0 is done", "step 1 is done"]
        scratch = list(second.store.scratch.iterdir())
        assert [folder.name for folder in scratch] == [left.key]
        again = second.restart(job.id)
        assert (again.id, again.state) == (job.id, "queued")
        done = second.wait(job.id, PATIENCE)
        assert done.state == "done", done.reason
        assert done.summary["reused"] >= 4
        assert list(second.store.scratch.iterdir()) == [], "nothing is left of the phases once the job is done"
        assert second.result(done).file.read_text() == "resumed"
        steps = [line for line in steps_of(journal) if line.startswith("step")]
        assert len(steps) == len(set(steps)) == 12
        with pytest.raises(UserError, match="failed, was cancelled or was interrupted"):
            second.restart(job.id)


def test_a_cancelled_job_started_again_at_once_is_not_cancelled_by_its_first_try(engine):
    job = engine.submit("deaf", OneSpec(seconds=3))
    until(lambda: engine.progress(job.id).phase == "not listening")
    engine.cancel(job.id)
    assert engine.restart(job.id).id == job.id
    done = engine.wait(job.id, PATIENCE)
    assert done.state == "done", done.reason


def test_a_folder_is_kept_until_it_is_removed_and_lost_if_someone_removes_it(engine):
    spec = OneSpec(tag="kept")
    done = engine.wait(engine.submit("leaves_folder", spec).id, PATIENCE)
    folder = engine.result(done).folder
    assert (folder.name, (folder / "inner" / "weights").stat().st_size) == ("model-kept", 1000)
    assert folder.is_relative_to(engine.store.kept)
    assert engine.submit("leaves_folder", spec).id == done.id
    shutil.rmtree(folder)
    assert engine.result(done) is None and not engine.has_result(done)
    again = engine.wait(engine.submit("leaves_folder", spec).id, PATIENCE)
    assert engine.result(again).folder.is_dir()
    engine.store.delete_result(again.key)
    assert not folder.exists()


def test_two_devices_run_two_jobs_at_once_and_a_third_waits(tmp_path):
    journal = tmp_path / "journal"
    with engine_in(tmp_path / "store", devices=["cpu", "cpu"]) as made:
        jobs = [made.submit("paced", PacedSpec(tag=f"j{n}", steps=20, journal=str(journal))) for n in range(3)]
        running(made, jobs[0])
        running(made, jobs[1])
        assert {made.job(job.id).device for job in jobs[:2]} == {"cpu #1", "cpu #2"}
        assert made.job(jobs[2].id).state == "queued"
        assert made.place(jobs[2].id) == 2
        ended = [made.wait(job.id, PATIENCE) for job in jobs]
        assert [job.state for job in ended] == ["done"] * 3
        assert ended[0].summary["pid"] != ended[1].summary["pid"]
        lines = steps_of(journal)
        assert lines.index("begin j1") < lines.index("end j0")


def test_old_phases_nobody_came_back_to_are_removed(tmp_path):
    store = Store(tmp_path)
    for name, days in (("old", 8), ("fresh", 1)):
        (store.scratch / name).mkdir()
        (store.scratch / name / "phase").write_text("x")
        for path in (store.scratch / name / "phase", store.scratch / name):
            os.utime(path, (time.time() - days * 86400,) * 2)
    store.remove_old_scratch()
    assert [folder.name for folder in store.scratch.iterdir()] == ["fresh"]
    store.close()
