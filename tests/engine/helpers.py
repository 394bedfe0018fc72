"""Shared by the tests of the engine: an engine whose workers know the test jobs, and waiting."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask

import tests.engine.jobs  # noqa: F401  adds the jobs on this side
from analysis.engine import Engine, JobRecord
from cache.store import Store

PATIENCE = 300  # seconds a state may take to come on a machine that does other work
PRELOAD = {"distributed.worker.preload": ["tests.engine.jobs"]}


@contextmanager
def engine_in(folder: Path, **options: Any):
    """An engine whose local workers know the test jobs; closed with its store afterwards."""
    with dask.config.set(PRELOAD):
        store = Store(folder)
        made = Engine(store, **options)
        try:
            yield made
        finally:
            made.close()
            store.close()


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Waits until something is true, and returns it. Looking takes a fifth of the time at most, as others compute."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if value := true():
            return value
        assert began < deadline, "it did not become true in time"
        time.sleep(max(0.03, 4 * (time.monotonic() - began)))


def running(engine: Engine, record: JobRecord, step: int = 1) -> None:
    """Waits until a job has come to a step."""

    def there() -> bool:
        current = engine.job(record.id)
        assert current is not None
        assert not current.ended, (current.state, current.reason)
        return current.state == "running" and engine.progress(record.id).done >= step

    until(there)
