"""The worker process: how it is started, and how one job runs in it."""

import time
import traceback
from pathlib import Path
from typing import Any

import psutil

from analysis.context import Cancelled
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.specs import JOB_SPECS

TOPIC = "sinkscope-progress"
PROGRESS_INTERVAL = 0.1  # seconds


def start_local_cluster() -> tuple[Any, Any]:
    """One worker process on the loopback interface, talking TLS with certificates made for this run."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    cores = psutil.cpu_count() or 1
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        # A resident model fills memory rightly: no spilling or pausing, only the last line against the whole machine.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        # Passive: threads that spin while waiting slow every other process on a small machine down.
        "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"},
    }
    dask.config.set(settings)
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        protocol="tls://",
        security=Security.temporary(),
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        silence_logs="ERROR",
    )
    return cluster, Client(cluster, set_as_default=False)


_cancel_requests: set[str] = set()


def request_cancel(job_id: str) -> None:
    """Called in the worker: the job stops at its next step."""
    _cancel_requests.add(job_id)


class WorkerContext:
    """A job's context inside a dask worker: progress goes out as events, at most ten a second."""

    workers = 1

    def __init__(self, job_id: str, folder: Path) -> None:
        self.job_id, self.folder = job_id, folder
        self._phase, self._phase_began, self._sent = "", 0.0, 0.0

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        if self.job_id in _cancel_requests:
            raise Cancelled
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_began = phase, now
        elif now - self._sent < PROGRESS_INTERVAL and done < total:
            return
        self._sent = now
        rate = done / (now - self._phase_began) if done and now > self._phase_began else None
        message = {
            "job": self.job_id,
            "phase": phase,
            "done": done,
            "total": total,
            "details": details,
            "rate": rate,
            "left": (total - done) / rate if rate else None,
        }
        from distributed import get_worker

        get_worker().log_event(TOPIC, message)


def run_job(job_id: str, kind: str, spec: dict[str, Any], folder: str) -> dict[str, Any]:
    """Runs one job in a worker. Errors come back as text, so that no exception object has to travel."""
    context = WorkerContext(job_id, Path(folder))
    try:
        outcome = JOBS[kind].run(JOB_SPECS[kind].model_validate(spec), context)
        return {
            "summary": outcome.summary,
            "file": str(outcome.file) if outcome.file else None,
            "key": outcome.key,
        }
    except Cancelled:
        return {"error": "Cancelled."}
    except MemoryError as error:
        return {"error": f"The machine ran out of memory. {error}".strip(), "traceback": traceback.format_exc()}
    except UserError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": reason(error), "traceback": traceback.format_exc()}
    finally:
        _cancel_requests.discard(job_id)


def reason(error: BaseException) -> str:
    """One line on why a job failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
