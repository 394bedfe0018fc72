"""The queue, and the worker process that runs it: submit, progress, cancel, results. Names jobs, imports no torch.

The queue is ours; dask is handed one job at a time. A job the worker dies of fails alone, and the rest run on.
"""

import atexit
import contextlib
import hashlib
import os
import threading
import time
import traceback
import uuid
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel, ConfigDict

from analysis.errors import UserError
from analysis.jobs import known_key
from analysis.specs import JOB_SPECS, SAMPLINGS, ModelSpec, RecordSpec, Spec
from analysis.trajectory import open_trajectory
from analysis.worker import TOPIC, reason, request_cancel, run_job, start_local_cluster
from cache.keys import content_key
from cache.store import Result, Store

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED = ("done", "failed", "cancelled", "interrupted")
CANCEL_GRACE = 6.0  # seconds a cancelled job gets to stop by itself before its worker is killed


class JobRecord(BaseModel):
    """What the store knows about a job. spec: parameters as JSON. key: name of its result. reason: one line on why it
    failed. cached: answered from the store without running. owner: the process whose queue it is in."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    spec: dict[str, Any]
    state: State = "queued"
    created: float
    started: float | None = None
    finished: float | None = None
    key: str | None = None
    summary: dict[str, Any] = {}
    reason: str = ""
    traceback: str = ""
    cached: bool = False
    owner: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def parameters(self) -> Spec:
        """The spec, as submitted."""
        return JOB_SPECS[self.kind].model_validate(self.spec)


class Progress(BaseModel):
    """The latest word from a running job. rate: steps a second; left: seconds to go; both None until known."""

    model_config = ConfigDict(frozen=True)

    phase: str = ""
    done: int = 0
    total: int = 0
    details: dict[str, Any] = {}
    rate: float | None = None
    left: float | None = None


class Engine:
    """One queue and one local worker, started at the first job. Methods are safe to call from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._changed = threading.Condition()
        self._queue: list[str] = []
        self._running: str | None = None
        self._cancelled: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._cluster: Any = None
        self._client: Any = None
        self._closed = False
        self._interrupt_orphans()
        self._thread = threading.Thread(target=self._work, name="sinkscope-queue", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # --- asking ---

    def submit(self, kind: str, spec: Spec) -> JobRecord:
        """Queues a job; one whose result is in the store is done at once. Raises UserError for a bad model source."""
        key = known_key(kind, spec)
        record = JobRecord(
            id=uuid.uuid4().hex[:12],
            kind=kind,
            spec=spec.model_dump(mode="json"),
            created=time.time(),
            key=key,
            owner=os.getpid(),
        )
        stored = self.store.result(key) if key else None
        if stored is not None:
            earlier = next((job for job in self.jobs(kind) if job.key == key and job.state == "done"), None)
            if earlier is not None:
                return earlier
            record = record.model_copy(
                update={"state": "done", "summary": stored.summary, "cached": True, "finished": time.time()}
            )
            self._save(record)
            return record
        with self._changed:
            if self._closed:
                raise UserError("The job engine has been stopped. Restart SinkScope.")
            same = next((job for job in map(self.job, self._waiting()) if job and key and job.key == key), None)
            if same is not None:
                return same
            self._save(record)
            self._queue.append(record.id)
            self._changed.notify_all()
        return record

    def add_recording(self, file: Path) -> JobRecord:
        """Takes in a recording made elsewhere, as a finished job; `file` is moved. Raises UserError if it is none."""
        trajectory = open_trajectory(file)
        info = trajectory.info
        if info.sampling.sampler not in SAMPLINGS:
            raise UserError("This file holds forwards over given inputs, not a recorded generation. Open one of those.")
        key = f"imported-{content_key(digest=hashlib.sha256(file.read_bytes()).hexdigest())}"
        earlier = next((job for job in self.jobs("record") if job.key == key and job.state == "done"), None)
        if earlier is not None and self.result(earlier) is not None:
            file.unlink()
            return earlier
        spec = RecordSpec(
            model=ModelSpec(source=info.model.source), prompt=info.prompt, sampling=info.sampling, seed=info.seed
        )
        summary = {
            "source": info.model.source,
            "text": info.final_text,
            "steps": trajectory.steps,
            "seed": info.seed,
            "fingerprint": info.model.fingerprint,
            "imported": True,
        }
        self.store.add_result(key, summary, file)
        now = time.time()
        record = JobRecord(
            id=uuid.uuid4().hex[:12], kind="record", spec=spec.model_dump(mode="json"), state="done", created=now,
            finished=now, key=key, summary=summary, cached=True, owner=os.getpid(),
        )  # fmt: skip
        self._save(record)
        return record

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record, or None for an unknown id."""
        stored = self.store.job(job_id)
        try:
            return JobRecord.model_validate(stored) if stored else None
        except ValueError:
            return None

    def jobs(self, kind: str | None = None) -> list[JobRecord]:
        """All jobs, newest first."""
        records = [self.job(stored["id"]) for stored in self.store.jobs() if isinstance(stored.get("id"), str)]
        known = [record for record in records if record and (kind is None or record.kind == kind)]
        return sorted(known, key=lambda record: record.created, reverse=True)

    def progress(self, job_id: str) -> Progress:
        """How far a job is. Empty for one that has not begun."""
        return self._progress.get(job_id, Progress())

    def place(self, job_id: str) -> int | None:
        """How many jobs are before this one in the queue, the running one included; None if it does not wait."""
        with self._changed:
            if job_id not in self._queue:
                return None
            return self._queue.index(job_id) + (self._running is not None)

    def result(self, record: JobRecord) -> Result | None:
        """What a finished job left, or None: it failed, has no lasting result, or that was evicted."""
        return self.store.result(record.key) if record.key and record.state == "done" else None

    def wait(self, job_id: str, timeout: float) -> JobRecord:
        """Blocks until the job has ended. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            record = self.job(job_id)
            if record is None or record.ended:
                if record is None:
                    raise KeyError(job_id)
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(f"The job {job_id} has not ended within {timeout:g} seconds.")
            with self._changed:
                self._changed.wait(0.1)

    def cancel(self, job_id: str) -> None:
        """Stops a job. Its record reads cancelled at once; a worker that does not listen is killed a little later."""
        with self._changed:
            record = self.job(job_id)
            if record is None or record.ended:
                return
            self._save(record.model_copy(update={"state": "cancelled", "finished": time.time()}))
            if job_id in self._queue:
                self._queue.remove(job_id)
            else:
                self._cancelled[job_id] = time.monotonic()
            self._changed.notify_all()

    def worker_pids(self) -> list[int]:
        """Process ids of the workers; empty before the first job."""
        nannies = self._cluster.workers.values() if self._cluster is not None else ()
        return [nanny.pid for nanny in nannies if nanny.pid]

    def close(self) -> None:
        """Stops the queue and the worker. What was running reads interrupted."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=CANCEL_GRACE)
        if self._running is not None:
            self._kill_workers()
        for closing in (self._client, self._cluster):
            if closing is not None:
                try:
                    closing.close(timeout=5)
                except Exception:  # the worker may be gone already, and nothing is left to save
                    continue
        self._interrupt_orphans(os.getpid())

    # --- working ---

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job_id = self._queue.pop(0)
                record = self.job(job_id)
                self._running = job_id
            if record is not None and not record.ended:
                try:
                    self._run(record)
                except Exception as error:
                    self._finish(record, state="failed", reason=reason(error), traceback=traceback.format_exc())
            with self._changed:
                self._running = None
                self._cancelled.pop(job_id, None)
                self._changed.notify_all()

    def _run(self, record: JobRecord) -> None:
        record = record.model_copy(update={"state": "running", "started": time.time()})
        self._save_unless_cancelled(record)
        self._report(record.id, {"phase": "starting the worker" if self._client is None else "handing over"})
        client = self._connect()
        future = client.submit(
            run_job, record.id, record.kind, record.spec, str(self.store.incoming), pure=False, retries=0
        )
        self._await(future, record.id)
        if self._closed:
            return
        outcome = self._outcome(future)
        if self._is_cancelled(record.id):
            _discard(outcome)
        elif "error" in outcome:
            self._finish(record, state="failed", reason=outcome["error"], traceback=outcome.get("traceback", ""))
        else:
            if outcome["key"]:
                file = Path(outcome["file"]) if outcome["file"] else None
                self.store.add_result(outcome["key"], outcome["summary"], file)
            self._finish(record, state="done", key=outcome["key"], summary=outcome["summary"])

    def _await(self, future: Any, job_id: str) -> None:
        """Waits for a future, passing a cancellation on and killing the worker if it does not listen."""
        told = killed = False
        while not future.done() and not self._closed:
            with self._changed:
                asked = self._cancelled.get(job_id)
                if asked is None:
                    self._changed.wait(0.05)
            if asked is None:
                continue
            if not told:
                told = True
                # In a thread of its own: a worker that hangs would not answer.
                arguments = {"args": (request_cancel, job_id), "kwargs": {"on_error": "ignore"}}
                threading.Thread(target=self._client.run, **arguments, daemon=True).start()
            if not killed and time.monotonic() - asked > CANCEL_GRACE:
                # Waits on: the next job must not be handed over before dask has noticed.
                killed = True
                self._kill_workers()
            time.sleep(0.05)

    def _kill_workers(self) -> None:
        """Ends the worker processes at once; their nannies start new ones."""
        for pid in self.worker_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def _outcome(self, future: Any) -> dict[str, Any]:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except KilledWorker:
            return {
                "error": "The worker process died while running this job: it was killed, or the machine ran out of "
                "memory. A new one has been started; try again, with a smaller model or less text if memory was short."
            }
        except CancelledError:
            return {"error": "The worker did not stop in time and was restarted."}

    def _connect(self) -> Any:
        if self._client is None:
            self._cluster, self._client = start_local_cluster()
            self._client.subscribe_topic(TOPIC, self._on_event)
        return self._client

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = dict(event[1])
        self._report(message.pop("job"), message)

    def _report(self, job_id: str, message: dict[str, Any]) -> None:
        self._progress[job_id] = Progress.model_validate(message)

    # --- records ---

    def _waiting(self) -> list[str]:
        return [*([self._running] if self._running else []), *self._queue]

    def _save(self, record: JobRecord) -> None:
        self.store.save_job(record.id, record.model_dump(mode="json"))

    def _save_unless_cancelled(self, record: JobRecord) -> None:
        with self._changed:
            if not self._is_cancelled(record.id):
                self._save(record)
            self._changed.notify_all()

    def _is_cancelled(self, job_id: str) -> bool:
        record = self.job(job_id)
        return record is not None and record.state == "cancelled"

    def _finish(self, record: JobRecord, **changes: Any) -> None:
        current = self.job(record.id) or record
        self._save_unless_cancelled(current.model_copy(update={**changes, "finished": time.time()}))

    def _interrupt_orphans(self, pid: int | None = None) -> None:
        """Marks jobs whose queue is gone: those of process `pid`, or of any process that no longer lives."""
        for record in self.jobs():
            gone = record.owner == pid if pid else record.owner == os.getpid() or not psutil.pid_exists(record.owner)
            if not record.ended and gone:
                self._save(record.model_copy(update={"state": "interrupted", "finished": time.time()}))


def _discard(outcome: dict[str, Any]) -> None:
    if outcome.get("file"):
        Path(outcome["file"]).unlink(missing_ok=True)
