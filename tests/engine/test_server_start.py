"""The real server, before anybody visits it."""

import time

import pytest

from analysis.engine import JobRecord
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from cache.store import Store
from tests.engine.helpers import until
from tests.helpers import server

pytestmark = pytest.mark.slow


def test_what_waits_in_the_queue_runs_before_anybody_visits(tmp_path):
    store = Store(tmp_path)
    spec = RecordSpec(model=ModelSpec(device="cpu"), prompt="ben is", sampling=LLaDASampling(gen_length=8, steps=4))
    record = JobRecord(
        id="waits", kind="record", spec=spec.model_dump(mode="json"), created=time.time(), owner="1@1.00#0"
    )
    store.save_job(record.id, record.model_dump(mode="json"))
    with server(tmp_path):
        until(lambda: store.job("waits")["state"] == "done")
    store.close()
