"""A machine's clock that is put back by an hour under a running server: jobs, heartbeats and workers go on."""

import datetime
import os
import signal
import sys
import time

import pytest
from cryptography import x509

from analysis.engine.cluster import temporary_security
from tests.engine.helpers import PATIENCE, engine_in, running, until
from tests.engine.jobs import PacedSpec

HOUR = 3600.0


def put_back() -> None:
    """Puts the clock of this process back, as far as Python goes: for whoever asks `time`, and where dask has taken
    the function itself. Called in the worker, too."""
    shown = time.time
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("distributed") and getattr(module, "time", None) is shown:
            patch.setattr(module, "time", lambda: shown() - HOUR)
    patch.setattr(time, "time", lambda: shown() - HOUR)


patch = pytest.MonkeyPatch()  # undone in the tests' process; the worker ends with its engine


@pytest.mark.slow
def test_jobs_and_workers_go_on_when_the_clock_is_put_back(tmp_path):
    with engine_in(tmp_path, devices=["cpu"]) as engine:
        job = engine.submit("paced", PacedSpec(tag="at work", steps=100_000))
        running(engine, job, 5)
        cluster = engine._dispatcher.cluster
        (address,) = cluster.places()

        def heard() -> float:
            return cluster._workers()[address]["last_seen"]

        try:
            cluster.client.run(put_back)
            put_back()
            assert time.time() < engine.job(job.id).started
            for _ in range(3):
                seen, done = heard(), engine.progress(job.id).done
                until(lambda seen=seen, done=done: heard() != seen and engine.progress(job.id).done > done)
            engine.cancel(job.id)
            dies = engine.submit("paced", PacedSpec(tag="loses its worker", steps=100))
            running(engine, dies)
            os.kill(cluster.worker_pids()[0], signal.SIGKILL)
            done = engine.wait(dies.id, PATIENCE)
            assert (done.state, len(done.losses)) == ("done", 1), done.reason
            last = engine.submit("paced", PacedSpec(tag="with a new worker", steps=3))
            assert engine.wait(last.id, PATIENCE).state == "done"
        finally:
            patch.undo()


def test_the_workers_certificate_is_valid_whatever_the_clock_says():
    made = x509.load_pem_x509_certificate(temporary_security().get_tls_config_for_role("worker")["ca_file"].encode())
    now, decade = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=3650)
    assert made.not_valid_before_utc < now - decade and made.not_valid_after_utc > now + decade
