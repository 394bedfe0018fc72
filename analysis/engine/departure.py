"""Departure of a worker by SIGTERM, dask's `--lifetime` or a stop of its nanny: it notifies the server, and its job
stops at the next step, so that finished work is whole and can continue elsewhere.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

WHY = "The worker is about to end (it was told to, or its lifetime is over) and handed the job back."
PATIENCE = 2.0  # seconds a worker waits for its job's next step; its nanny kills it after a few more
DELIVERY = 0.2  # seconds for the job's last messages to be sent
CLOSE_TIMEOUT = 5.0  # seconds for the rest of a worker's shutdown
_PLUGIN = "sinkscope-departure"

_leaving = threading.Event()
_at_work: dict[str, Callable[[], None]] = {}  # by run: tells the server that the job is handed back
_idle = threading.Event()
_idle.set()


def leaving(worker: Any) -> bool:
    """Return True when this worker is about to end."""
    if worker.status.name.startswith("closing"):
        _leave()
    return _leaving.is_set()


@contextlib.contextmanager
def at_work(run: str, tell: Callable[[], None], worker: Any) -> Iterator[None]:
    """Register a job while it runs in this worker. tell: called if the worker is about to end."""
    _watch(worker)
    _at_work[run] = tell
    _idle.clear()
    try:
        if _leaving.is_set():  # the signal came between the scheduler's choice and here
            tell()
        yield
    finally:
        _at_work.pop(run, None)
        if not _at_work:
            _idle.set()


def _leave() -> None:
    if not _leaving.is_set():
        _leaving.set()
        for tell in list(_at_work.values()):
            tell()


async def _wait_for_jobs() -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not _idle.is_set():
                await asyncio.sleep(0.05)


def _watch(worker: Any) -> None:
    """Install the handlers for a worker's end, once."""
    if _PLUGIN in worker.plugins:
        return
    from distributed import Status, WorkerPlugin

    class Departure(WorkerPlugin):
        """Plugin that is torn down first when a worker closes, while its connection is still open."""

        async def teardown(self, worker: Any) -> None:
            _leave()
            await _wait_for_jobs()

    async def install() -> None:
        if _PLUGIN in worker.plugins:
            return
        worker.plugins[_PLUGIN] = Departure()
        if threading.current_thread() is threading.main_thread():
            # Slurm sends SIGTERM to the worker as well as to its nanny, which would otherwise ask it to close.
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(end()))

    async def end() -> None:
        worker.status = Status.closing_gracefully  # so that it is given no other job
        _leave()
        await _wait_for_jobs()
        await asyncio.sleep(DELIVERY)
        await worker.close(nanny=False, timeout=CLOSE_TIMEOUT, executor_wait=False, reason="sigterm")

    worker.loop.add_callback(install)
