"""Workers that start fast: forked from one process that has loaded what jobs need, torch and lm-eval among it, where
each spawned one loads it anew.

Only workers of an engine in the tests' own process; those of the real server are spawned, as users have them.
"""

import gc
import os
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerProcess
from unittest.mock import patch

import dask
from distributed.utils import get_mp_context


class ForkedProcess(ForkServerProcess):
    """Has the environment of the process that starts it, as a spawned one has; the server's own is older."""

    def start(self) -> None:
        self.environment = dict(os.environ)
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


def fork_workers() -> None:
    """From now on dask's nannies of this process fork their workers."""
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    context = get_mp_context()
    context.set_forkserver_preload(["tests.preloaded"])
    context.Process = ForkedProcess


def serve_forks() -> None:
    """Fork the process that workers are forked from now, of this one; else the first worker starts it, and it loads
    anew what this process needs, too."""
    import tests.preloaded  # noqa: F401

    fork_workers()
    resource_tracker.ensure_running()
    with patch.object(util, "spawnv_passfds", _fork):
        forkserver.ensure_running()


def _fork(path: bytes, command: Sequence[str], kept: Sequence[int]) -> int:
    """Run the code of `python -c …` in a fork of this process, which keeps none of its files but those named and the
    standard ones."""
    if process := os.fork():
        return process
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in map(int, os.listdir("/dev/fd")):
            if number > 2 and number not in (nothing, *kept):
                os.dup2(nothing, number)  # closed, their numbers would be given to others, which their owners close
        gc.enable()
        exec(command[-1])
    finally:
        os._exit(0)
