"""Intake of results, each in its own thread, since they may be large or their worker may have died."""

import contextlib
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

from analysis.engine.cluster import Cluster
from analysis.engine.job_store import JobRecord, JobStore, Loss
from analysis.engine.placement import DIED, TOO_BIG, Running, untried, verdict
from analysis.engine.worker import reason, unload


class Intake:
    """Queued and running jobs, and the handling of ends."""

    def __init__(self, job_store: JobStore) -> None:
        self.job_store, self.store = job_store, job_store.store
        self._changed = job_store.changed
        self._queue: list[str] = []
        self._running: dict[str, Running] = {}
        self._to_find: list[JobRecord] = []  # jobs that an earlier server left running on the cluster
        self._held: dict[str, dict[str, Any] | None] = {}  # the model each worker holds, by its address
        self._refused: set[tuple[str, str]] = set()  # pairs of short and long jobs that cannot run together
        self._unfit: dict[str, str] = {}  # workers that cannot run jobs, by address, and why
        self._closed = False

    def _end(self, run: Running, state: str, **changes: Any) -> None:
        # A cancelled job may have been restarted under its id: that is another run.
        if not run.cancelled:
            self.job_store.finish(run.record.id, state, **changes)

    def _fail(self, job_id: str, error: Exception) -> None:
        self.job_store.finish(job_id, "failed", **_failure(error))

    def _take_in(self, cluster: Cluster, run: Running) -> None:
        """Store a job's result; any error ends the job with its reason. Runs in its own thread."""
        try:
            self._settle(cluster, run)
        except Exception as error:
            if self._closed:
                return
            if not cluster.connected:
                with self._changed:
                    self._to_find.append(run.record)
                    self._running.pop(run.record.id, None)
                return
            self._end(run, "failed", **_failure(error))
        self._forget(cluster, run)

    def _settle(self, cluster: Cluster, run: Running) -> None:
        """Store the returned result of a job."""
        outcome = self._outcome(run)
        if outcome is None:
            self._after_death(cluster, run)
        elif run.cancelled:
            return
        elif "handed_back" in outcome:
            run.leaving = outcome["handed_back"]
            self._after_death(cluster, run)
        elif "unfit" in outcome:
            self._unfit[run.place.address] = outcome["unfit"]
            if set(cluster.known) <= self._unfit.keys():
                self._end(run, "failed", reason=outcome["unfit"])
            else:
                self._queue_again(run.record)
        elif outcome.get("not_resident"):
            self._refused.add((run.record.id, run.record.between))
            self._queue_again(run.record)
        elif "error" in outcome:
            self._end(run, "failed", reason=outcome["error"], traceback=outcome.get("traceback", ""))
        else:
            if outcome["key"]:
                file, folder = unload(outcome, self.store.incoming / run.record.id)
                self.store.add_result(outcome["key"], outcome["summary"], file, folder)
            if outcome["scratch"]:  # else it was stopped early, and the rest resumes from there
                shutil.rmtree(self.store.scratch / Path(outcome["scratch"]).name, ignore_errors=True)
            known = {"key": outcome["key"], "summary": outcome["summary"], "threads": outcome.get("threads", 0)}
            self._end(run, "done", **known)

    def _outcome(self, run: Running) -> dict[str, Any] | None:
        """Return the job's outcome; None if its worker is gone."""
        from distributed import CancelledError, KilledWorker

        try:
            # However long the transfer takes; `_watch` cancels it if its worker goes.
            outcome: dict[str, Any] = run.future.result()
        except (KilledWorker, CancelledError):
            return None
        return outcome

    def _after_death(self, cluster: Cluster, run: Running) -> None:
        """Retry the job of a worker that is gone or about to go, elsewhere if possible."""
        address, device = run.place.address, run.place.device
        with self._changed:
            cluster.without(address)
            cluster.look_again()
            self._held.pop(address, None)
            if run.cancelled or self._closed:
                return
            why = run.ended_for or (TOO_BIG if address in cluster.too_big else run.leaving or DIED)
            back = bool(run.leaving) and why == run.leaving
            loss = Loss(worker=device, time=time.time(), why=why, handed_back=back)
            record = self.job_store.job(run.record.id) or run.record
            tried = record.model_copy(update={"losses": (*record.losses, loss)})
            # Workers of this machine may all use the same amount; another machine's may have more memory.
            larger = cluster.remote and untried(tried, cluster.known)
            hopeless = why == TOO_BIG and not run.between and not larger
            if hopeless or not self._try_again(record, loss):
                self._end(run, "failed", reason=verdict(record, loss) or why, losses=tried.losses)

    def _try_again(self, record: JobRecord, loss: Loss) -> bool:
        """Put a job that ended with its worker at the head of the queue. Return False if it is given up."""
        if verdict(record, loss):
            return False
        self._queue_again(record, losses=(*record.losses, loss))
        return True

    def _queue_again(self, record: JobRecord, **changes: Any) -> None:
        """Put a job at the head of the queue, unless cancelled."""
        with self._changed:
            fresh = {"state": "queued", "started": None, "device": "", "worker": "", "between": "", "run": ""}
            run = self._running.get(record.id)
            if (run is None or not run.cancelled) and self.job_store.update(record.id, **fresh, **changes) is not None:
                self._queue.insert(0, record.id)

    def _forget(self, cluster: Cluster, run: Running) -> None:
        job_id = run.record.id
        shutil.rmtree(self.store.incoming / job_id, ignore_errors=True)
        with self._changed:
            self._running.pop(job_id, None)
            self._refused = {pair for pair in self._refused if pair[1] != job_id}
            self._changed.notify_all()
        if cluster.remote:
            with contextlib.suppress(Exception):
                cluster.client.unpublish_dataset(run.record.run)


def _failure(error: Exception) -> dict[str, str]:
    return {"reason": reason(error), "traceback": "".join(traceback.format_exception(error))}
