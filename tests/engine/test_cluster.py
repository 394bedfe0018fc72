"""A running dask cluster: a scheduler with TLS and two workers as processes, and servers that come and go."""

import contextlib
import inspect
import os
import shlex
import signal
from pathlib import Path

import dask
import psutil
import pytest

from analysis.__main__ import VERBS, main
from analysis.command_line import claims, demo, evict, inspect_prompts, sinks, study, suggest, sweep
from analysis.engine import Engine
from analysis.engine.departure import WHY
from analysis.engine.job_store import read_record
from analysis.engine.placement import DIED, FORGOTTEN
from analysis.errors import UserError
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import LLaDASampling, RecordSpec
from cache.store import Store
from tests.engine import documented
from tests.engine.helpers import PATIENCE, running, until
from tests.engine.jobs import CPU, OneSpec, PacedSpec, steps_of
from tests.helpers import free_port, tiny_llada

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    documented.certificates(folder)
    return folder


TEST_JOBS = {"DASK_DISTRIBUTED__WORKER__PRELOAD": '["tests.engine.jobs"]', "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def cluster(tls, tmp_path_factory):
    """The scheduler and the two workers of docs/cluster.md, by its own lines."""
    logs = tmp_path_factory.mktemp("logs")
    port = free_port()
    (scheduler,), workers = documented.lines("dask scheduler"), documented.lines("&& PYTHONPATH=$PWD CUDA")
    assert len(workers) == 2
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(documented.process(line, tls, port, logs / str(number), **TEST_JOBS))
            for number, line in enumerate((scheduler, *workers))
        ]
        yield f"tls://{documented.HOST}:{port}", processes
        for log in logs.iterdir():
            print(f"--- {log.name}\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def address(cluster):
    return cluster[0]


def configured(tls: Path):
    """dask's configuration with TLS as docs/cluster.md configures it."""
    comm = dask.config.collect(paths=[str(tls)], env={})["distributed"]["comm"]
    given = {f"distributed.comm.tls.{name}": value for name, value in comm["tls"].items()}
    return dask.config.set({**given, "distributed.comm.require-encryption": comm["require-encryption"]})


@contextlib.contextmanager
def engine_at(folder: Path, address: str, tls: Path, **options):
    """An engine that uses the cluster."""
    with configured(tls):
        store = Store(folder, **options)
        made = Engine(store, scheduler=address)
        try:
            yield made
        finally:
            made.close()
            store.close()


def test_results_and_progress_arrive_from_both_workers(address, tls, tmp_path):
    with engine_at(tmp_path / "store", address, tls) as engine:
        jobs = [engine.submit("paced", PacedSpec(tag=f"both{n}", steps=30, seconds=0.1)) for n in range(2)]
        for job in jobs:
            running(engine, job)
        assert {engine.job(job.id).device for job in jobs} == {"gpu1 GPU 0", "gpu1 GPU 1"}
        assert len({engine.progress(job.id).details["pid"] for job in jobs}) == 2
        done = [engine.wait(job.id, PATIENCE) for job in jobs]
        assert [job.state for job in done] == ["done"] * 2, [job.reason for job in done]
        assert [engine.result(job).file.read_text() for job in done] == ["both0", "both1"]
        assert all(job.summary["shared"] for job in done)
        assert "step 29 is done" in [line.text for line in engine.log(jobs[0].id)]
        assert engine.notices() == []
        assert engine.worker_pids() == [], "no local workers are started"
        until(lambda: engine._dispatcher.cluster.client.list_datasets() == ())  # nothing stays published


# This ends a worker, before others have loaded a model, which takes each worker seconds.


def test_a_deaf_job_on_the_cluster_loses_its_worker_which_comes_back(address, tls, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.engine.dispatcher.CANCEL_GRACE", 1)
    with engine_at(tmp_path / "store", address, tls) as engine:
        held = engine.submit("paced", PacedSpec(tag="held", steps=3000, seconds=0.1))
        running(engine, held)
        deaf = engine.submit("deaf", OneSpec(seconds=3 * PATIENCE))
        until(lambda: engine.progress(deaf.id).phase == "not listening")
        engine.cancel(deaf.id)
        after = engine.wait(engine.submit("paced", PacedSpec(tag="after the deaf", steps=1)).id, PATIENCE)
        assert (
            (after.state, after.device) == ("done", engine.job(deaf.id).device) != ("done", engine.job(held.id).device)
        )
        engine.cancel(held.id)
        monkeypatch.undo()  # closing takes the time it needs


def test_a_server_that_comes_back_takes_up_what_runs_and_what_waits(address, tls, tmp_path):
    journal = tmp_path / "journal"
    with engine_at(tmp_path / "store", address, tls) as first:
        runs = [
            first.submit("paced", PacedSpec(tag=f"r{n}", steps=40 + 80 * n, seconds=0.1, journal=str(journal)))
            for n in range(2)
        ]
        for job in runs:
            running(first, job)
        waits = first.submit("paced", PacedSpec(tag="w", steps=1, journal=str(journal)))
        assert first.job(waits.id).state == "queued"
    before = len(steps_of(journal))
    until(lambda: "end r0" in steps_of(journal))  # ends while no server listens
    with engine_at(tmp_path / "store", address, tls) as second:
        assert second.job(runs[1].id).state == "running"
        assert second.wait(runs[0].id, PATIENCE).state == "done"
        assert second.result(second.job(runs[0].id)).file.read_text() == "r0"
        seen = second.progress(runs[1].id).done
        until(lambda: second.progress(runs[1].id).done > seen + 5)  # and progress comes in again
        assert second.wait(waits.id, PATIENCE).state == "done"
        assert second.wait(runs[1].id, PATIENCE).state == "done"
        told = [line.text for line in second.log(runs[1].id)]
        assert told == [f"step {step} is done" for step in range(120)], "also what was told while no server listened"
    lines = steps_of(journal)
    assert len(lines) > before
    assert [lines.count(f"begin {tag}") for tag in ("r0", "r1", "w")] == [1, 1, 1]


@pytest.mark.parametrize("when", ["once it is taken up", "before a server that goes at once"])
def test_a_job_left_running_can_be_cancelled(address, tls, tmp_path, when):
    with engine_at(tmp_path / "store", address, tls) as first:
        job = first.submit("paced", PacedSpec(tag=when, steps=900, seconds=0.1))
        running(first, job)
        seen = first.progress(job.id).done
    if when == "before a server that goes at once":
        with engine_at(tmp_path / "store", address, tls) as between:
            between.cancel(job.id)
    with engine_at(tmp_path / "store", address, tls) as second:
        if when == "once it is taken up":
            until(lambda: second.progress(job.id).done > seen + 2)
        second.cancel(job.id)
        assert second.job(job.id).state == "cancelled"
        if when == "before a server that goes at once":
            second.submit("paced", PacedSpec(tag="a reason to connect", steps=1))
        until(second.has_worker)
        until(lambda: second._dispatcher.cluster.client.list_datasets() == ())
        both = [second.submit("paced", PacedSpec(tag=f"{when}{n}", steps=20, seconds=0.1)) for n in range(2)]
        assert [second.wait(one.id, PATIENCE).state for one in both] == ["done"] * 2, "no worker is still busy with it"


def test_workers_on_another_disk_send_small_results_back(address, tls, tmp_path, other_disk, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_WIRE_LIMIT", "0.01")
    with engine_at(tmp_path / "store", address, tls) as engine:
        done = engine.wait(engine.submit("paced", PacedSpec(tag="by wire", steps=2)).id, PATIENCE)
        assert done.state == "done", done.reason
        assert not done.summary["shared"]
        assert engine.result(done).file.read_text() == "by wire"
        folder = engine.wait(engine.submit("leaves_folder", OneSpec(tag="wired")).id, PATIENCE)
        assert (engine.result(folder).folder / "inner" / "weights").read_bytes() == b"w" * 1000
        large = engine.wait(engine.submit("leaves_folder", OneSpec(tag="large", seconds=20_000)).id, PATIENCE)
        assert large.state == "failed"
        assert "SINKSCOPE_SHARED" in large.reason


@pytest.fixture
def other_disk(monkeypatch):
    """A mark that no worker can read stands for a disk that it does not see."""
    monkeypatch.setattr("analysis.engine.dispatcher.MARK", ".another-disk")


def test_a_growing_file_is_followed_on_another_disk_and_its_job_stopped(address, tls, tmp_path, other_disk):
    with engine_at(tmp_path / "store", address, tls) as engine:
        job = engine.submit("growing", OneSpec())
        copy = engine.store.incoming / job.id / "lines"

        def lines() -> list[str]:
            text = copy.read_text() if copy.is_file() else ""
            assert text == "".join(f"line {number} ä\n" for number in range(text.count("\n")))
            return text.splitlines()

        until(lambda: len(lines()) > 20)
        copy.unlink()  # as if what came so far had come to a server before this one
        until(lambda: len(lines()) > 60)
        engine.finish_early(job.id)
        done = engine.wait(job.id, PATIENCE)
        assert (done.state, done.summary["shared"]) == ("done", False)
        assert done.summary["lines"] > 60


def test_a_shared_folder_takes_what_workers_leave(address, tls, tmp_path):
    with engine_at(tmp_path / "store", address, tls, shared=tmp_path / "shared") as engine:
        done = engine.wait(engine.submit("leaves_folder", OneSpec(tag="shared")).id, PATIENCE)
        assert engine.result(done).folder.is_relative_to(tmp_path / "shared" / "kept")


def test_a_worker_that_is_about_to_end_hands_its_job_back(address, tls, tmp_path):
    """By SIGTERM, started as docs/cluster.md says."""
    port = int(address.rsplit(":", 1)[1])
    line = documented.lines("dask worker")[0]
    assert '--name "gpu1 GPU 0"' in line
    stopped = line.replace("gpu1 GPU 0", "stopped")
    with engine_at(tmp_path / "store", address, tls) as engine:
        held = [engine.submit("paced", PacedSpec(tag=f"held{n}", steps=3000, seconds=0.1)) for n in range(2)]
        for job in held:
            running(engine, job)
        job = engine.submit("paced", PacedSpec(tag="back", steps=200, seconds=0.1))
        with documented.process(stopped, tls, port, tmp_path / "stopped", **TEST_JOBS):
            running(engine, job, 2)
            psutil.Process(engine.progress(job.id).details["pid"]).parent().terminate()  # its nanny
            back = until(lambda: engine.job(job.id).losses)
            assert [(loss.worker, loss.why, loss.handed_back) for loss in back] == [("stopped", WHY, True)]
            for each in held:
                engine.cancel(each.id)
            running(engine, job, 2)
            assert engine.job(job.id).device in ("gpu1 GPU 0", "gpu1 GPU 1")
            engine.cancel(job.id)


def test_a_worker_without_sinkscope_is_named_with_the_remedy_and_its_job_runs_elsewhere(address, tls, tmp_path):
    port = int(address.rsplit(":", 1)[1])
    line = documented.lines("dask worker")[0]
    bare = line.replace("PYTHONPATH=$PWD ", "").replace("gpu1 GPU 0", "bare")
    assert bare != line
    with engine_at(tmp_path / "store", address, tls) as engine:
        held = [engine.submit("paced", PacedSpec(tag=f"bare{n}", steps=3000, seconds=0.1)) for n in range(2)]
        for job in held:
            running(engine, job)
        with documented.process(bare, tls, port, tmp_path / "log"):
            asked = engine.submit("paced", PacedSpec(tag="elsewhere, please", steps=1))
            (notice,) = until(engine.notices)
            assert notice.startswith("bare: The worker on ") and "PYTHONPATH=$PWD" in notice
            assert "no module 'analysis', which is SinkScope itself" in notice
            engine.cancel(held[0].id)
            done = engine.wait(asked.id, PATIENCE)
            assert (done.state, done.losses) == ("done", ()), done.reason
            assert done.device.startswith("gpu1 GPU")
        engine.cancel(held[1].id)


# --- one worker from now on, or what real jobs need would be loaded by both ---


def test_what_dies_with_its_machine_is_tried_again_on_another(cluster, tls, tmp_path):
    address, (_, *workers) = cluster
    with engine_at(tmp_path / "store", address, tls) as engine:
        job = engine.submit("paced", PacedSpec(tag="dies", steps=30, seconds=0.1))
        running(engine, job, 2)
        first = engine.job(job.id).device
        lost = workers.pop(int(first[-1]))
        os.killpg(lost.pid, signal.SIGKILL)
        done = engine.wait(job.id, PATIENCE)
        assert (done.state, done.summary["reused"] > 0, done.device != first) == ("done", True, True), done.reason
        assert [(loss.worker, loss.why) for loss in done.losses] == [(first, DIED)]


# --- the command line -------------------------------------------------------------------------------------------


def test_the_documented_verb_and_every_other_that_runs_jobs_run_on_the_cluster(
    address, tls, tmp_path, monkeypatch, capsys
):
    """Models are named by relative paths, which mean nothing to the workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("SINKSCOPE_SCHEDULER", address)
    tiny_llada(tmp_path / "tiny", 0)
    (tmp_path / "prompts.txt").write_text("mia has a dog .\nben has a cat .\n")
    short = ["--gen-length", "4", "--steps", "2"]
    of_tiny = ["--model", "tiny", "--device", "cpu"]
    over_prompts = [*of_tiny, "--prompts", "prompts.txt", *short]
    little = ["--tasks", "bundled_agreement", "--limit", "2", "--draws", "2"]
    verbs = {
        "record": [*over_prompts, "--out", "recorded.safetensors"],
        "ablate": [*over_prompts, "--last-layer", "0", "--out", "ablated"],
        "prune": [*of_tiny, "--method", "magnitude", "--out", "pruned"],
        "evaluate": [*of_tiny, "--compare", "pruned", *little, "--out", "scored.json"],
    }
    by_runner = {"sinks": sinks, "evict": evict, "inspect": inspect_prompts, "suggest": suggest}  # as those above
    by_engine = {"sweep": sweep, "study": study, "claims": claims, "demo": demo}
    assert {*verbs, *by_runner, *by_engine} == {name for name, verb in VERBS.items() if verb.runs_jobs}
    for module in by_runner.values():
        assert "runner(" in inspect.getsource(module) or "over_prompts" in inspect.getsource(module)
    for module in by_engine.values():
        assert "runner(" not in inspect.getsource(module) and "engine_of(options" in inspect.getsource(module)
    (line,) = documented.lines("python -m analysis record")
    documented_words = shlex.split(line.replace("tls://head:8786", address))
    with configured(tls):
        for verb, words in verbs.items():
            assert main([verb, *words]) == 0, (verb, capsys.readouterr().err)
        monkeypatch.delenv("SINKSCOPE_SCHEDULER")
        assert main([*documented_words[documented_words.index("record") :], *short]) == 0, capsys.readouterr().err
        assert open_trajectory(tmp_path / "recording.safetensors").steps == 2
        store = Store(tmp_path / "store")
        done = [(job["kind"], job["device"]) for job in store.jobs() if job["device"]]
        store.close()
    kinds = {"record", "ablate_set", "prune", "evaluate"}
    assert {kind for kind, _ in done} == kinds and {device[:8] for _, device in done} == {"gpu1 GPU"}
    written = {path.name for path in tmp_path.iterdir()}
    assert {"recorded-1.safetensors", "recorded-2.safetensors", "ablated", "scored.items.jsonl"} <= written
    assert {"config.json", "model.safetensors", "report.json"} <= {
        path.name for path in (tmp_path / "pruned").iterdir()
    }
    printed = capsys.readouterr()
    assert "The store keeps it, too" in printed.out
    monkeypatch.setenv("SINKSCOPE_SCHEDULER", "tls://127.0.0.1:1")
    here = ["record", *of_tiny, "--prompt", "ben is", *short, "--scheduler", "local", "--out", "here.safetensors"]
    assert main(here) == 0
    assert main([*here, "--scheduler", "head"]) == 2
    assert "'head' is no scheduler. Give an address like tls://host:8786, or local" in capsys.readouterr().err


# --- a scheduler that is lost ---


def test_a_scheduler_that_hangs_or_is_killed_is_told_and_its_jobs_go_on_after_it(tls, tmp_path, monkeypatch):
    """The worker is started in a loop, as docs/cluster.md says. What was killed need only be started again."""
    monkeypatch.setattr("analysis.engine.cluster.CONNECT_TIMEOUT", 1)
    monkeypatch.setattr("analysis.engine.cluster.ANSWER_TIMEOUT", 2)
    monkeypatch.setattr("analysis.engine.dispatcher.RETRY_INTERVAL", 0.2)
    port = free_port()
    (scheduler,), (loop,) = documented.lines("dask scheduler"), documented.lines("while true")
    worker = documented.process(loop.replace("sleep 5", "sleep 1"), tls, port, tmp_path / "worker", **TEST_JOBS)
    with worker, engine_at(tmp_path / "store", f"tls://{documented.HOST}:{port}", tls) as engine:

        def told() -> bool:
            return any("does not answer" in notice for notice in engine.notices())

        with documented.process(scheduler, tls, port, tmp_path / "first") as first:
            hung = engine.submit("paced", PacedSpec(tag="hangs with it", steps=900, seconds=0.1))
            running(engine, hung, 2)
            os.killpg(first.pid, signal.SIGSTOP)
            engine._dispatcher.cluster.look_again()  # as when a worker came or went just before
            assert engine.workers() == 1
            runs = engine.submit("paced", PacedSpec(tag="lost with it", steps=900, seconds=0.1))
            until(told)
            assert [engine.job(job.id).state for job in (hung, runs)] == ["running", "queued"]
            engine.cancel(hung.id)
            os.killpg(first.pid, signal.SIGCONT)
            running(engine, runs, 2)
            assert not told()
            waits = engine.submit("paced", PacedSpec(tag="waits for it", steps=1))
        until(told)
        assert [engine.job(job.id).state for job in (runs, waits)] == ["running", "queued"]
        with documented.process(scheduler, tls, port, tmp_path / "second"):
            losses = until(lambda: engine.job(runs.id).losses)
            assert [(loss.worker, loss.why) for loss in losses] == [("gpu1", FORGOTTEN)]
            running(engine, runs, 2)
            assert not told()
            engine.cancel(runs.id)
            assert engine.wait(waits.id, PATIENCE).state == "done"


def test_the_dashboards_line_works_off_what_waits(address, tls, tmp_path):
    spec = RecordSpec(model=CPU, prompt="ben is", sampling=LLaDASampling(gen_length=4, steps=2))
    with engine_at(tmp_path / "store", f"tls://{documented.HOST}:{free_port()}", tls) as engine:
        job = engine.submit("record", spec)
    store = Store(tmp_path / "store")
    store.save_job(job.id, job.model_copy(update={"owner": "gone"}).model_dump(mode="json"))
    (line,) = documented.lines("streamlit run")
    line = line.replace("/nfs/sinkscope", str(tmp_path / "shared"))
    environment = {"STREAMLIT_SERVER_PORT": str(free_port()), "STREAMLIT_SERVER_HEADLESS": "true"}
    environment |= {"SINKSCOPE_HOME": str(tmp_path / "store"), "STREAMLIT_SERVER_ADDRESS": documented.HOST}
    with documented.process(line, tls, int(address.rsplit(":", 1)[1]), tmp_path / "log", **environment):
        done = until(lambda: (record := read_record(store.job(job.id))) is not None and record.ended and record)
    store.close()
    assert (done.state, done.scheduler) == ("done", address), done.reason
    assert done.device.startswith("gpu1 GPU")


# --- addresses --------------------------------------------------------------------------------------------------


def test_jobs_wait_for_a_scheduler_that_does_not_answer_and_the_page_says_so(tls, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.engine.cluster.CONNECT_TIMEOUT", 1)
    with engine_at(tmp_path / "store", f"tls://127.0.0.1:{free_port()}", tls) as engine:
        job = engine.submit("paced", PacedSpec(tag="waits", steps=1))
        (notice,) = until(engine.notices)
        assert "does not answer" in notice
        assert engine.job(job.id).state == "queued"
        engine.cancel(job.id)
        assert engine.job(job.id).state == "cancelled"


def test_plain_tcp_is_used_with_a_warning_and_nonsense_is_refused(tmp_path):
    store = Store(tmp_path)
    engine = Engine(store, scheduler="tcp://10.0.0.1:8786")
    (notice,) = engine.notices()
    assert "without TLS" in notice
    engine.close()
    for address in ("localhost", "http://a:1", "tls://"):
        with pytest.raises(UserError, match="SINKSCOPE_SCHEDULER"):
            Engine(store, scheduler=address)
    store.close()


def test_a_server_without_its_scheduler_says_where_a_job_ran(tmp_path, address, tls):
    with engine_at(tmp_path / "store", address, tls) as first:
        job = first.submit("paced", PacedSpec(tag="elsewhere", steps=100, seconds=0.05))
        running(first, job)
    store = Store(tmp_path / "store")
    second = Engine(store, scheduler="")
    assert second.job(job.id).state == "interrupted"
    assert address in second.job(job.id).reason
    second.close()
    store.close()
