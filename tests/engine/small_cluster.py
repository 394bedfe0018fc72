"""`python -m tests.engine.small_cluster PORT`: a scheduler and one worker in one process, until it is killed."""

import signal
import sys

from distributed import LocalCluster

import tests.engine.jobs  # noqa: F401  adds the jobs on the worker's side

if __name__ == "__main__":
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp",
        scheduler_port=int(sys.argv[1]),
        dashboard_address=None,
    )
    signal.pause()
