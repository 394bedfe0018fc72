"""The queue, and the worker process that runs it: submit, progress, cancel, results. Names jobs, imports no torch.

The queue is ours; dask is handed one job at a time. A job the worker dies of fails alone, and the rest run on.
"""

import atexit
import contextlib
import hashlib
import shutil
import sqlite3
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
KEPT_RECORDS = 200  # of ended jobs other than recordings
CANCEL_GRACE = 6.0  # seconds a cancelled job gets to stop by itself before its worker is killed


class JobRecord(BaseModel):
    """What the store knows about a job. spec: parameters as JSON. key: name of its result. reason: one line on why it
    failed. cached: answered from the store without running. owner: the process whose queue it is in, by its id
    and the time it started."""

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
    owner: str = ""

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
        self._changed = threading.Condition(threading.RLock())
        # Read once; this process is the one that writes them.
        stored = [_record(fields) for fields in store.jobs()]
        self._records: dict[str, JobRecord] = {record.id: record for record in stored if record is not None}
        self._queue: list[str] = []
        self._running: str | None = None
        self._cancelled: set[str] = set()
        self._progress: dict[str, Progress] = {}
        self._cluster: Any = None
        self._client: Any = None
        self._closed = False
        self._interrupt_orphans()
        self._forget_old()
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
            owner=_OWNER,
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
            waiting = [job for job in map(self.job, self._waiting()) if job is not None and not job.ended]
            same = next((job for job in waiting if key and job.key == key), None)
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
            finished=now, key=key, summary=summary, cached=True, owner=_OWNER,
        )  # fmt: skip
        self._save(record)
        return record

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record, or None for an unknown id."""
        with self._changed:
            record = self._records.get(job_id)
        return record if record is not None else _record(self.store.job(job_id))

    def jobs(self, kind: str | None = None) -> list[JobRecord]:
        """All jobs, newest first."""
        with self._changed:
            known = [record for record in self._records.values() if kind is None or record.kind == kind]
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

    def has_result(self, record: JobRecord) -> bool:
        """Whether `result` would find something, without reading it."""
        return bool(record.key) and record.state == "done" and self.store.has_result(record.key)

    def has_worker(self) -> bool:
        """Whether a worker process was started."""
        return self._client is not None

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
                self._cancelled.add(job_id)
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
        self._interrupt_orphans()

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
                self._cancelled.discard(job_id)
                self._progress.pop(job_id, None)
                self._changed.notify_all()

    def _run(self, record: JobRecord) -> None:
        record = record.model_copy(update={"state": "running", "started": time.time()})
        self._save_unless_cancelled(record)
        self._report(record.id, {"phase": "starting the worker" if self._client is None else "handing over"})
        client = self._connect()
        if self._closed or self._is_cancelled(record.id):
            return
        folder = self.store.incoming / record.id
        folder.mkdir(mode=0o700)
        try:
            future = client.submit(run_job, record.id, record.kind, record.spec, str(folder), pure=False, retries=0)
            self._await(future, record.id)
            if not self._closed:
                self._settle(record, self._outcome(future))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _settle(self, record: JobRecord, outcome: dict[str, Any]) -> None:
        """Takes in what a job returned, unless it was cancelled in the meantime."""
        if self._is_cancelled(record.id):
            return
        if "error" in outcome:
            self._finish(record, state="failed", reason=outcome["error"], traceback=outcome.get("traceback", ""))
        else:
            if outcome["key"]:
                file = Path(outcome["file"]) if outcome["file"] else None
                self.store.add_result(outcome["key"], outcome["summary"], file)
            self._finish(record, state="done", key=outcome["key"], summary=outcome["summary"])

    def _await(self, future: Any, job_id: str) -> None:
        """Waits for a future, passing a cancellation on and killing the worker if it does not listen."""
        told = killed = False
        asked = 0.0
        while not future.done() and not self._closed:
            with self._changed:
                if job_id not in self._cancelled:
                    self._changed.wait(0.05)
                    continue
            if not told:
                told, asked = True, time.monotonic()
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
        with self._changed:
            self._records[record.id] = record
            # A full disk must not stop the queue: the record then lives as long as this process.
            with contextlib.suppress(OSError, sqlite3.Error, TimeoutError):
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

    def _interrupt_orphans(self) -> None:
        """Marks the jobs, and removes the files, whose queue is gone: this process's own and those of dead ones."""
        for record in self.jobs():
            if not record.ended and (record.owner == _OWNER or not _lives(record.owner)):
                self._save(record.model_copy(update={"state": "interrupted", "finished": time.time()}))
        for folder in self.store.incoming.iterdir():
            record = self.job(folder.name)
            if folder.is_dir() and (record is None or record.ended):
                shutil.rmtree(folder, ignore_errors=True)

    def _forget_old(self) -> None:
        """Keeps every recording's record and the newest of the other kinds, which are asked again in no time."""
        others = [record for record in self.jobs() if record.kind != "record" and record.ended]
        for record in others[KEPT_RECORDS:]:
            self._records.pop(record.id, None)
            self.store.delete_job(record.id)


def _record(fields: dict[str, Any] | None) -> JobRecord | None:
    """A stored record, or None for one that is none."""
    try:
        return JobRecord.model_validate(fields) if fields else None
    except ValueError:
        return None


def _owner(process: psutil.Process) -> str:
    # Process ids are used again; with the time it started, one names a process for good.
    return f"{process.pid}@{process.create_time():.2f}"


_OWNER = _owner(psutil.Process())


def _lives(owner: str) -> bool:
    try:
        return _owner(psutil.Process(int(owner.partition("@")[0]))) == owner
    except (ValueError, psutil.Error):
        return False
