"""Short jobs between the steps of a long one, in the worker that holds the model."""

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import AttentionMapSpec, LLaDASampling, LoadSpec, ModelSpec, RecordSpec
from tests.engine.helpers import PATIENCE, engine_in, running, until
from tests.engine.jobs import CPU, OneSpec, PacedSpec, steps_of
from tests.helpers import save_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with engine_in(tmp_path_factory.mktemp("between")) as made:
        made.wait(made.submit("load", LoadSpec(model=CPU)).id, PATIENCE)
        yield made


def test_a_short_job_runs_between_the_steps_of_a_long_one_and_another_waits_in_line(engine, tmp_path):
    journal = tmp_path / "journal"
    long = engine.submit("paced", PacedSpec(tag="long", steps=60, seconds=0.1, journal=str(journal)))
    running(engine, long)
    second = engine.submit("paced", PacedSpec(tag="second", steps=1, journal=str(journal)))
    glances = [engine.submit("glance", OneSpec(tag=str(n), journal=str(journal))) for n in range(3)]
    done = [engine.wait(job.id, PATIENCE) for job in glances]
    assert [job.state for job in done] == ["done"] * 3, [job.reason for job in done]
    assert {job.between for job in done} == {long.id}
    assert engine.job(long.id).state == "running"
    assert engine.job(second.id).state == "queued"
    assert engine.place(second.id) == 1
    finished = engine.wait(long.id, PATIENCE)
    assert finished.state == "done", finished.reason
    assert {job.summary["pid"] for job in done} == {finished.summary["pid"]}
    assert engine.wait(second.id, PATIENCE).state == "done"
    lines = steps_of(journal)
    where = [lines.index(f"glance {n}") for n in range(3)]
    assert lines.index("begin long") < min(where) and max(where) < lines.index("end long") < lines.index("begin second")
    assert [line for line in lines if "long" in line] == [
        "begin long",
        *(f"step {step} long" for step in range(60)),
        "end long",
    ]


def test_global_random_states_are_put_back_after_a_guest(engine):
    spec = PacedSpec(steps=20, seconds=0.05)
    alone = engine.wait(engine.submit("drawing", spec).id, PATIENCE)
    disturbed = engine.submit("drawing", spec)
    running(engine, disturbed)
    assert engine.wait(engine.submit("glance", OneSpec(tag="r")).id, PATIENCE).between == disturbed.id
    assert engine.wait(disturbed.id, PATIENCE).summary == alone.summary


def test_a_guest_that_fails_or_is_cancelled_does_not_touch_its_host(engine, tmp_path):
    journal = tmp_path / "journal"
    long = engine.submit("paced", PacedSpec(tag="host", steps=60, seconds=0.1, journal=str(journal)))
    running(engine, long)
    (pid,) = engine.worker_pids()
    failed = engine.wait(engine.submit("glance", OneSpec(fail=True)).id, PATIENCE)
    assert (failed.state, failed.reason) == ("failed", "RuntimeError: the glance failed")
    assert "the glance failed" in failed.traceback
    slow = engine.submit("glance", OneSpec(seconds=60))
    until(lambda: engine.progress(slow.id).phase == "glancing")
    stood = len(steps_of(journal))
    engine.cancel(slow.id)
    assert engine.job(slow.id).state == "cancelled"
    until(lambda: len(steps_of(journal)) > stood + 2)
    finished = engine.wait(long.id, PATIENCE)
    assert finished.state == "done", finished.reason
    assert engine.worker_pids() == [pid]


def test_a_short_job_that_needs_another_model_waits_and_says_for_what(engine, tmp_path):
    tiny = ModelSpec(source=str(save_tiny(tmp_path / "tiny", LlamaForCausalLM, LlamaConfig)), device="cpu")
    long = engine.submit("paced", PacedSpec(tag="keeps bundled", steps=30, seconds=0.1, load=True))
    running(engine, long)
    look = AttentionMapSpec(model=tiny, tokens=(5, 6, 7), layer=0, head=0)
    other = engine.submit("attention_map", look)
    loading = engine.submit("load", LoadSpec(model=tiny))
    waits = until(lambda: engine.job(other.id).waits_for)
    assert "Take paced steps" in waits and str(tiny.source) in waits and "'bundled'" in waits
    assert until(lambda: engine.job(loading.id).waits_for)
    same = engine.wait(engine.submit("glance", OneSpec(tag="same")).id, PATIENCE)
    assert same.between == long.id, "one that waits does not hold up one that need not"
    assert engine.wait(long.id, PATIENCE).state == "done"
    done = engine.wait(other.id, PATIENCE)
    assert (done.state, done.waits_for, done.between) == ("done", "", "")
    assert engine.job(other.id).started >= engine.job(long.id).finished


def test_a_recording_of_seconds_brings_its_own_model_and_the_host_keeps_its_own(engine, tmp_path):
    tiny = ModelSpec(source=str(save_tiny(tmp_path / "tiny", LlamaForCausalLM, LlamaConfig)), device="cpu")
    sampling = LLaDASampling(gen_length=4, steps=4, temperature=1.0)
    spec = RecordSpec(model=CPU, prompt="tom has a", sampling=sampling, seed=5)
    alone = engine.wait(engine.submit("record", spec).id, PATIENCE)
    before = open_trajectory(engine.result(alone).file)
    engine.store.delete_result(alone.key)
    long = engine.submit("paced", PacedSpec(model=tiny, tag="keeps tiny", steps=100, seconds=0.1, load=True))
    running(engine, long)
    again = engine.wait(engine.submit("record", spec).id, PATIENCE)
    assert (again.state, again.between) == ("done", long.id), again.reason
    after = open_trajectory(engine.result(again).file)
    assert (before.tokens == after.tokens).all() and (before.mass == after.mass).all()
    look = engine.submit("attention_map", AttentionMapSpec(model=tiny, tokens=(5, 6), layer=0, head=0))
    look = engine.wait(look.id, PATIENCE)
    assert (look.state, look.between) == ("done", long.id), look.reason
    engine.cancel(long.id)


def test_a_guest_never_loads_a_model_that_changed_on_disk(engine, tmp_path):
    folder = tmp_path / "tiny"
    save_tiny(folder, LlamaForCausalLM, LlamaConfig)
    tiny = ModelSpec(source=str(folder), device="cpu")
    long = engine.submit("paced", PacedSpec(model=tiny, tag="tiny", steps=40, seconds=0.1, load=True))
    running(engine, long)
    save_tiny(folder, LlamaForCausalLM, LlamaConfig, seed=5)
    look = engine.submit("attention_map", AttentionMapSpec(model=tiny, tokens=(5, 6, 7), layer=0, head=0))
    assert "changed on disk" in until(lambda: engine.job(look.id).waits_for)
    finished = engine.wait(long.id, PATIENCE)
    assert (finished.state, "changed" in finished.reason) == ("failed", True), finished.reason
    assert engine.wait(look.id, PATIENCE).state == "done"


def test_a_host_that_is_killed_does_not_take_its_guests_answer_along(engine, monkeypatch):
    monkeypatch.setattr("analysis.engine.dispatcher.CANCEL_GRACE", 1)
    long = engine.submit("paced", PacedSpec(tag="victim", steps=100, seconds=0.1))
    running(engine, long)
    guest = engine.submit("glance", OneSpec(seconds=4))
    until(lambda: engine.progress(guest.id).phase == "glancing")
    engine.cancel(long.id)  # it cannot listen while its guest works, and loses its worker
    done = engine.wait(guest.id, PATIENCE)
    assert done.state == "done", done.reason
    assert done.between == ""
