"""Workers that start fast: forked from one process that has loaded what jobs need, torch and lm-eval among it, where
each spawned one loads it anew.

Only workers of an engine in the tests' own process; those of the real server are spawned, as users have them.
"""

import os
from multiprocessing.context import ForkServerProcess

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
