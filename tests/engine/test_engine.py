"""The engine with a real worker process: results, the store, cancelling, dying, failing, resuming."""

import contextlib
import os
import signal
import time

import psutil
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.engine import Engine, JobRecord
from analysis.errors import UserError
from analysis.jobs import known_key
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import (
    AttentionMapSpec,
    AutoregressiveSampling,
    LLaDASampling,
    LoadSpec,
    ModelSpec,
    RecordSpec,
    UnloadSpec,
)
from cache.store import Store
from tests.engine.helpers import PATIENCE, running, until
from tests.helpers import save_tiny

pytestmark = pytest.mark.slow
CPU = ModelSpec(device="cpu")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    made = Engine(Store(tmp_path_factory.mktemp("engine")))
    yield made
    made.close()


def short(seed: int = 0, **changes) -> RecordSpec:
    return RecordSpec(model=CPU, prompt="ben is", sampling=LLaDASampling(gen_length=8, steps=4), seed=seed, **changes)


def long(seed: int = 0) -> RecordSpec:
    """Takes many seconds: 240 steps in 240 blocks of one token each."""
    sampling = LLaDASampling(gen_length=240, steps=240, cfg=1.0)
    return RecordSpec(model=CPU, prompt="ben is", sampling=sampling, seed=seed)


def wait_for_step(engine: Engine, record: JobRecord, step: int = 2) -> None:
    running(engine, record, step)


def test_a_recording_is_run_once_and_read_afterwards(engine):
    record = engine.wait(engine.submit("record", short()).id, PATIENCE)
    assert record.state == "done", record.reason
    recording = open_trajectory(engine.result(record).file)
    assert recording.steps == 4
    assert record.summary["text"] == recording.info.final_text
    again = engine.submit("record", short())
    assert (again.id, again.state) == (record.id, "done")
    assert engine.answered("record", record.key).id == record.id
    assert engine.answered("record", None) is None
    assert engine.answered("ablate", record.key) is None
    assert engine.submit("record", short(seed=1)).id != record.id
    until(lambda: not list(engine.store.incoming.iterdir()))


def test_the_worker_listens_on_the_loopback_interface_alone(engine):
    engine.wait(engine.submit("record", short()).id, PATIENCE)
    for pid in (os.getpid(), *engine.worker_pids()):
        listening = [item for item in psutil.Process(pid).net_connections("inet") if item.status == "LISTEN"]
        assert {item.laddr.ip for item in listening} <= {"127.0.0.1", "::1"}


def test_an_attention_map_agrees_with_the_recorded_mass(engine):
    from safetensors.numpy import load_file

    record = engine.wait(engine.submit("record", short()).id, PATIENCE)
    recording = open_trajectory(engine.result(record).file)
    spec = AttentionMapSpec(model=CPU, tokens=recording.input_tokens(2), layer=3, head=1)
    done = engine.wait(engine.submit("attention_map", spec).id, PATIENCE)
    values = load_file(engine.result(done).file)["map"]
    assert values.shape == (recording.positions, recording.positions)
    assert abs(values.sum(axis=1) - 1).max() < 1e-5
    assert abs(values.sum(axis=0) - recording.mass[2, 3, 1]).max() < 1e-4


def test_a_second_engine_on_the_store_reads_what_the_first_ran(engine):
    record = engine.wait(engine.submit("record", short()).id, PATIENCE)
    store = Store(engine.store.root)
    other = Engine(store)
    assert other.submit("record", short()).id == record.id
    assert other.worker_pids() == []
    other.close()
    store.close()


def test_cancelling_a_running_job_reads_cancelled_at_once_and_frees_the_worker(engine):
    record = engine.submit("record", long())
    wait_for_step(engine, record)
    pids = engine.worker_pids()
    engine.cancel(record.id)
    assert engine.job(record.id).state == "cancelled"
    after = engine.wait(engine.submit("record", short(seed=20)).id, PATIENCE)
    assert after.state == "done", after.reason
    assert engine.worker_pids() == pids, "a job that listens keeps its worker"
    assert engine.job(record.id).state == "cancelled"


def test_a_job_that_does_not_listen_loses_its_worker(engine, monkeypatch):
    monkeypatch.setattr("analysis.engine.dispatcher.CANCEL_GRACE", 1)
    engine.wait(engine.submit("load", LoadSpec(model=CPU)).id, PATIENCE)
    record = engine.submit("record", long(seed=1))
    wait_for_step(engine, record)
    (pid,) = engine.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    engine.cancel(record.id)
    follower = engine.submit("record", short(seed=21))
    try:
        assert engine.wait(follower.id, PATIENCE).state == "done"
        assert engine.worker_pids() != [pid]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_queued_jobs_wait_in_order_show_their_place_and_can_be_cancelled(engine):
    first = engine.submit("record", long(seed=2))
    second, third = engine.submit("record", short(seed=30)), engine.submit("record", short(seed=31))
    assert engine.submit("record", short(seed=30)).id == second.id, "asked twice, queued once"
    wait_for_step(engine, first, 1)
    assert (engine.place(first.id), engine.place(second.id), engine.place(third.id)) == (None, 1, 2)
    engine.cancel(second.id)
    assert engine.place(third.id) == 1
    engine.cancel(first.id)
    assert engine.wait(third.id, PATIENCE).state == "done"
    assert engine.job(second.id).state == "cancelled"
    assert engine.job(second.id).started is None


def test_bad_input_is_one_sentence_and_the_resident_model_stays(engine, tmp_path):
    engine.wait(engine.submit("load", LoadSpec(model=CPU)).id, PATIENCE)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(UserError, match="'t5'"):
        engine.submit("record", RecordSpec(model=ModelSpec(source=str(tmp_path)), prompt="x"))
    failed = engine.wait(engine.submit("load", LoadSpec(model=ModelSpec(source=str(tmp_path)))).id, PATIENCE)
    assert (failed.state, failed.traceback) == ("failed", "")
    assert "'t5'" in failed.reason
    record = engine.submit("record", short(seed=50))
    phases = set()
    while not engine.job(record.id).ended:
        phases.add(engine.progress(record.id).phase)
        time.sleep(0.005)
    assert engine.job(record.id).state == "done"
    assert "reading weights" not in phases


def test_each_job_runs_on_the_model_it_was_submitted_with(engine, bundled, tmp_path):
    folder = save_tiny(tmp_path / "tiny", LlamaForCausalLM, LlamaConfig)
    tiny = ModelSpec(source=str(folder), device="cpu")
    jobs = [
        engine.submit("record", short(seed=60)),
        engine.submit(
            "record", RecordSpec(model=tiny, prompt="w6 w7", sampling=AutoregressiveSampling(gen_length=3), seed=60)
        ),
        engine.submit("record", short(seed=61)),
    ]
    layers = [engine.wait(job.id, PATIENCE).summary["layers"] for job in jobs]
    assert layers == [bundled.geometry.layers, 2, bundled.geometry.layers]


def test_a_model_that_changed_on_disk_is_another_model(engine, tmp_path):
    folder = tmp_path / "tiny"
    save_tiny(folder, LlamaForCausalLM, LlamaConfig)
    model = ModelSpec(source=str(folder), device="cpu")
    spec = RecordSpec(model=model, prompt="w6 w7", sampling=AutoregressiveSampling(gen_length=3))
    first = engine.wait(engine.submit("record", spec).id, PATIENCE)
    save_tiny(folder, LlamaForCausalLM, LlamaConfig, seed=5)
    second = engine.wait(engine.submit("record", spec).id, PATIENCE)
    assert first.summary["fingerprint"] != second.summary["fingerprint"]
    assert first.key != second.key


def test_a_cancelled_job_can_be_asked_again_at_once(engine):
    engine.wait(engine.submit("load", LoadSpec(model=CPU)).id, PATIENCE)
    first = engine.submit("record", long(seed=90))
    wait_for_step(engine, first)
    engine.cancel(first.id)
    again = engine.submit("record", long(seed=90))
    assert again.id != first.id
    wait_for_step(engine, again)
    engine.cancel(again.id)


def test_cancelling_while_the_worker_starts_hands_nothing_over(tmp_path, monkeypatch):
    store = Store(tmp_path)
    made = Engine(store)
    cancelled = made.submit("record", short())
    until(lambda: made.progress(cancelled.id).phase == "starting the worker")
    made.cancel(cancelled.id)
    done = made.wait(made.submit("record", short(seed=1)).id, PATIENCE)
    assert done.state == "done", done.reason
    assert made.job(cancelled.id).state == "cancelled"
    assert made.store.result(cancelled.key) is None
    made.close()
    store.close()


def test_jobs_of_a_process_that_is_gone_read_interrupted_even_if_its_id_lives_on(tmp_path):
    store = Store(tmp_path)
    record = JobRecord(id="a", kind="record", spec={}, state="running", created=0, owner=f"{os.getpid()}@1.00")
    store.save_job("a", record.model_dump(mode="json"))
    (store.incoming / "a").mkdir()
    (store.incoming / "a" / "half").write_text("x")
    made = Engine(store)
    assert made.job("a").state == "interrupted"
    assert list(store.incoming.iterdir()) == []
    made.close()
    store.close()


def test_what_a_killed_engine_left_waiting_keeps_its_record_when_it_is_asked_again(engine):
    key = known_key("record", short(seed=95))
    gone = JobRecord(id="left", kind="record", spec={}, created=0, owner=f"{os.getpid()}@1.00#0", key=key)
    for state in ("queued", "running"):
        engine._job_store.save(gone.model_copy(update={"state": state}))
        assert engine.submit("record", short(seed=95)).id == "left"
        assert engine.wait("left", PATIENCE).state == "done"
    assert [job.id for job in engine.jobs("record") if job.key == key] == ["left"]


def test_unloading_frees_the_model(engine):
    engine.wait(engine.submit("load", LoadSpec(model=CPU)).id, PATIENCE)
    assert engine.wait(engine.submit("unload", UnloadSpec()).id, PATIENCE).state == "done"
    assert engine.wait(engine.submit("record", short(seed=70)).id, PATIENCE).state == "done"


def test_what_ran_when_the_server_stopped_reads_interrupted(tmp_path):
    store = Store(tmp_path)
    first = Engine(store)
    record = first.submit("record", long(seed=4))
    queued = first.submit("record", short())
    wait_for_step(first, record)
    first.close()
    second = Engine(store)
    assert second.job(record.id).state == "interrupted"
    assert "stopped" in second.job(record.id).reason
    with pytest.raises(UserError, match="stopped"):
        first.submit("record", short(seed=9))
    waited = second.wait(queued.id, PATIENCE)  # its turn comes although nobody asked again
    assert waited.state == "done", waited.reason
    assert second.restart(record.id).id == record.id
    wait_for_step(second, record)
    second.cancel(record.id)
    second.close()
    store.close()


def test_a_full_disk_fails_the_job_and_not_the_engine(engine, monkeypatch):
    engine.wait(engine.submit("load", LoadSpec(model=CPU)).id, PATIENCE)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(engine.store, "add_result", full)
        failed = engine.wait(engine.submit("record", short(seed=80)).id, PATIENCE)
    assert failed.state == "failed"
    assert "No space left" in failed.reason
    assert engine.wait(engine.submit("record", short(seed=81)).id, PATIENCE).state == "done"
