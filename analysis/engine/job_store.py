"""Records, progress, logs and owners of all jobs: in memory for the pages, in the store for the next server, and read
in the name of a visitor.
"""

import contextlib
import itertools
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, overload

from pydantic import BaseModel, JsonValue, ValidationError

from analysis.engine.permissions import Authorizer, Visitor
from analysis.jobs import JOBS, known_key
from analysis.models.checkpoint import CONFIG_FILE
from analysis.specs import JobSpec, Spec
from cache.presence import Presence, this_process
from cache.store import Result, Store

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
SpecType = TypeVar("SpecType", bound=Spec)
Details = TypeVar("Details", bound=Mapping[str, object])
ENDED = ("done", "failed", "cancelled", "interrupted")


class Loss(BaseModel, frozen=True):
    """A try of a job that ended with its worker. worker: its display name. time: seconds since the epoch. why: one
    sentence. handed_back: the worker announced its end, so the try does not count.
    """

    worker: str
    time: float
    why: str
    handed_back: bool = False


class JobRecord(BaseModel, frozen=True):
    """Record of a job in the store.

    spec: parameters as JSON. key: of its result. reason: one line on why it failed or was cut off. cached: answered
    from the store without running. owner: the engine whose queue holds it. waits_for: what keeps a short job from
    running between steps. device: where it runs or ran; threads: number that computed there, 0 if none. between: id of
    the job between whose steps it runs. run: name of this try; worker, scheduler: addresses; these find it again on a
    cluster that outlives this server. code: version of the code it was submitted to; '' of an imported recording.
    visitors: who asked, on a server with several; shared: True if one of them lists it for all. brief: takes seconds,
    by its spec (`Job.is_short`). losses: tries that ended with their worker.
    """

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
    waits_for: str = ""
    device: str = ""
    threads: int = 0
    between: str = ""
    run: str = ""
    worker: str = ""
    scheduler: str = ""
    code: str = ""
    visitors: tuple[str, ...] = ()
    shared: bool = False
    brief: bool = False
    losses: tuple[Loss, ...] = ()

    def visitors_with(self, others: tuple[str, ...]) -> tuple[str, ...]:
        """Return its visitors and others who asked the same; none where it has none, as everybody then sees it."""
        return tuple(dict.fromkeys((*self.visitors, *others))) if self.visitors else ()

    @property
    def short(self) -> bool:
        """True if it may run between the steps of a long job."""
        return self.brief or JOBS[self.kind].short

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @overload
    def parameters(self) -> JobSpec: ...
    @overload
    def parameters(self, spec: type[SpecType]) -> SpecType: ...
    def parameters(self, spec: type[Spec] = JobSpec) -> Spec:
        """Return the spec as submitted. spec: its expected class. Raises TypeError if the job has another, and
        ValidationError if its parameters have changed since.
        """
        kind = JOBS[self.kind].spec
        if not issubclass(kind, spec):
            raise TypeError(f"The job '{self.kind}' takes a {kind.__name__}, not a {spec.__name__}.")
        return _validated(kind, json.dumps(self.spec))

    def summary_as(self, summary: type[Details]) -> Details:
        """Return the summary with typed fields: those that the job's function declares."""
        return cast(Details, self.summary)


@lru_cache(maxsize=4096)
def _validated(kind: type[Spec], stored: str) -> Spec:
    """Return a spec as JSON says it, read once: every drawing of a page asks for those of all jobs."""
    return kind.model_validate(json.loads(stored))


class Progress(BaseModel, frozen=True):
    """Latest progress of a job. rate: steps per second; left: seconds to go; both None until known. details: latest
    partial results.
    """

    phase: str = ""
    done: int = 0
    total: int = 0
    details: dict[str, JsonValue] = {}
    rate: float | None = None
    left: float | None = None

    def details_as(self, partial: type[Details]) -> Details:
        """Return the partial results with typed fields."""
        return cast(Details, self.details)


class LogLine(BaseModel, frozen=True):
    """One line of a job's log. time: seconds since the epoch, by the worker's clock."""

    time: float
    text: str


def read_record(fields: dict[str, Any] | None) -> JobRecord | None:
    """Return a stored record; None if it is invalid or of a kind unknown to this version."""
    try:
        record = JobRecord.model_validate(fields) if fields else None
    except ValueError:
        return None
    return record if record is not None and record.kind in JOBS else None


# --- owners -----------------------------------------------------------------------------------------------------

_living: set[str] = set()
_numbers = itertools.count()


def new_owner() -> str:
    """A name for an engine of this process."""
    owner = f"{this_process()}#{next(_numbers)}"
    _living.add(owner)
    return owner


def retire(owner: str) -> None:
    """Mark this engine as closed."""
    _living.discard(owner)


def lives_here(owner: str) -> bool:
    """Return True if that engine of this process has not been closed."""
    return owner in _living


KEPT_RECORDS = 200  # number of ended jobs without a lasting result
KEPT_LINES = 300
FLUSH_INTERVAL = 1.0  # seconds between writes of a running job's progress


@dataclass
class _Live:
    progress: Progress = field(default_factory=Progress)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    unwritten: bool = False


class JobStore:
    """Records, progress and logs, read from the store once and written only by this process. Safe across threads.

    presence: view of the other programs at the store. changed: notified whenever a record changes. unwritable: why the
    store could not be written, or "". unread: number of records that this version cannot read.
    """

    def __init__(self, store: Store, presence: Presence) -> None:
        self.store, self.presence = store, presence
        self.changed = threading.Condition(threading.RLock())
        self.unwritable = ""
        store.renew_backup()
        stored = [read_record(fields) for fields in store.jobs()]
        self._records: dict[str, JobRecord] = {record.id: record for record in stored if record is not None}
        self.unread = sum(record is None for record in stored)
        self._live: dict[str, _Live] = {}
        self._flushed = 0.0

    def lives(self, owner: str) -> bool:
        """Return True if that engine is still running, in this process, another one on this machine, or elsewhere."""
        process, _, number = owner.partition("#")
        if number and process == this_process():
            return lives_here(owner)
        return self.presence.lives(owner)

    # --- records ---

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record, or None for an unknown id."""
        with self.changed:
            record = self._records.get(job_id)
        return record if record is not None else read_record(self.store.job(job_id))

    def jobs(self, kind: str | None = None) -> list[JobRecord]:
        """All jobs, newest first."""
        with self.changed:
            known = [record for record in self._records.values() if kind is None or record.kind == kind]
        return sorted(known, key=lambda record: record.created, reverse=True)

    def save(self, record: JobRecord) -> None:
        """Save a record. On a full disk it lives as long as this process, so that the queue goes on."""
        with self.changed:
            self._records[record.id] = record
            self._write(lambda: self.store.save_job(record.id, record.model_dump(mode="json")))
            self.changed.notify_all()

    def update(self, job_id: str, **changes: Any) -> JobRecord | None:
        """Change a job that has not ended and return its record; None if it has ended or is unknown."""
        with self.changed:
            record = self._records.get(job_id)
            if record is None or record.ended:
                return None
            changed = record.model_copy(update=changes)
            if changed != record:
                self.save(changed)
            return changed

    def list_for(self, record: JobRecord, visitors: tuple[str, ...]) -> JobRecord:
        """List a job to further visitors who asked the same and return its record. A job without visitors is listed to
        everybody.
        """
        with self.changed:
            current = self.job(record.id)
            if current is None:  # forgotten meanwhile
                return record
            record = current
            if record.visitors and not set(visitors) <= set(record.visitors):
                record = record.model_copy(update={"visitors": record.visitors_with(visitors)})
                self.save(record)
            return record

    def finish(self, job_id: str, state: str, **changes: Any) -> bool:
        """End a job. Return False if it had already ended: the first outcome stands."""
        with self.changed:
            ended = self.update(job_id, state=state, finished=time.time(), waits_for="", **changes) is not None
            self._flush_one(job_id)
            self._live.pop(job_id, None)
            return ended

    def forget_old(self) -> None:
        """Keep all records of lasting jobs and the newest of the others, which are quick to run again."""
        others = [record for record in self.jobs() if not JOBS[record.kind].lasting and record.ended]
        for record in others[KEPT_RECORDS:]:
            self._records.pop(record.id, None)
            self.store.delete_job(record.id)

    def forget(self, job_id: str) -> bool:
        """Remove the record of a job that has ended. Return False for any other."""
        with self.changed:
            record = self.job(job_id)
            if record is None or not record.ended:
                return False
            self._records.pop(job_id, None)
            self._write(lambda: self.store.delete_job(job_id))
            self.changed.notify_all()
            return True

    # --- progress and logs ---

    def begin(self, job_id: str) -> None:
        """Discard the messages of an earlier try of the job."""
        with self.changed:
            self._live[job_id] = _Live(unwritten=True)

    def resume(self, job_id: str) -> float:
        """Load the stored progress of a job that ran on while no server listened. Return the time of its last log line,
        or 0.
        """
        progress, log = self._stored_live(job_id)
        with self.changed:
            self._live[job_id] = _Live(progress, deque(log, maxlen=KEPT_LINES))
        return log[-1].time if log else 0.0

    def report(self, job_id: str, message: dict[str, Any]) -> None:
        """Handle a message from a running job; a malformed or late one is ignored."""
        with self.changed:
            live = self._live.get(job_id)
            if live is None:
                return
            with contextlib.suppress(ValidationError, KeyError):
                if "log" in message:
                    live.log.append(LogLine(time=message["time"], text=message["log"]))
                else:
                    details = {**live.progress.details, **message.get("details", {})}
                    live.progress = Progress.model_validate({**message, "details": details})
                live.unwritten = True

    def progress(self, job_id: str) -> Progress:
        """Return the progress of a job, current or final; empty before it begins."""
        with self.changed:
            live = self._live.get(job_id)
        return live.progress if live is not None else self._stored_live(job_id)[0]

    def log(self, job_id: str) -> list[LogLine]:
        """The last lines a job logged, oldest first."""
        with self.changed:
            live = self._live.get(job_id)
            if live is not None:
                return list(live.log)
        return self._stored_live(job_id)[1]

    def flush(self, at_once: bool = False) -> None:
        """Write new messages of running jobs; at most once per FLUSH_INTERVAL unless `at_once`."""
        if not at_once and time.monotonic() - self._flushed < FLUSH_INTERVAL:
            return
        self._flushed = time.monotonic()
        for job_id in list(self._live):
            self._flush_one(job_id)

    def _flush_one(self, job_id: str) -> None:
        with self.changed:
            live = self._live.get(job_id)
            if live is None or not live.unwritten:
                return
            live.unwritten = False
            fields = {
                "progress": live.progress.model_dump(mode="json"),
                "log": [line.model_dump(mode="json") for line in live.log],
            }
        self._write(lambda: self.store.save_live(job_id, fields))

    def _stored_live(self, job_id: str) -> tuple[Progress, list[LogLine]]:
        stored = self.store.live(job_id) or {}
        try:
            progress = Progress.model_validate(stored.get("progress", {}))
            return progress, [LogLine.model_validate(line) for line in stored.get("log", [])]
        except (ValidationError, TypeError):
            return Progress(), []

    def _write(self, write: Any) -> None:
        try:
            write()
        except (OSError, sqlite3.Error, TimeoutError) as error:
            self.unwritable = str(error)
        else:
            self.unwritable = ""


class Label(BaseModel, frozen=True):
    """A visitor's label for a run or a recording. name: '' for the automatic one."""

    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False


NO_LABEL = Label()


class StoredJobs:
    """The jobs of a store and their results. authorizer: checks permissions. who: see `Engine`."""

    def __init__(self, store: Store, job_store: JobStore, who: Callable[[], Visitor] | None) -> None:
        self.store, self._job_store = store, job_store
        self.authorizer = Authorizer(store, job_store, who)

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record, or None for an unknown id."""
        return self._job_store.job(job_id)

    def jobs(self, kind: str | None = None) -> list[JobRecord]:
        """All jobs that are listed to the visitor, newest first."""
        jobs = self._job_store.jobs(kind)
        return [job for job in jobs if self.authorizer.lists(job)] if self.authorizer.visitor.name else jobs

    def progress(self, job_id: str) -> Progress:
        """Return the progress of a job, current or final; empty before it begins."""
        return self._job_store.progress(job_id)

    def log(self, job_id: str) -> list[LogLine]:
        """The last few hundred lines a job logged, oldest first."""
        return self._job_store.log(job_id)

    def result(self, record: JobRecord) -> Result | None:
        """Return the result of a finished job; None if it failed, leaves no lasting result, or was evicted."""
        return self.store.result(record.key) if record.key and record.state == "done" else None

    def result_file(self, record: JobRecord) -> Path | None:
        """The file that a finished job left, or None; valid until the result is evicted."""
        result = self.result(record)
        return None if result is None else result.file

    def answered(self, kind: str, asked: Spec | str | None) -> JobRecord | None:
        """Return the finished job whose result is stored, or None; nothing is run. asked: its spec or its result's key.
        Raises UserError for a bad model source.
        """
        key = known_key(kind, asked) if isinstance(asked, Spec) else asked
        jobs = (job for job in self._job_store.jobs(kind) if key and job.key == key)
        return next((job for job in jobs if self.has_result(job)), None)

    def has_result(self, record: JobRecord) -> bool:
        """Return True if `result` would find something, without reading it."""
        return record.key is not None and record.state == "done" and self.store.has_result(record.key)

    def knows(self, kind: str, asked: Spec | str | None) -> bool:
        """Return True if a result is stored, or a job that will produce it is queued or running. asked: as of
        `answered`.
        """
        key = known_key(kind, asked) if isinstance(asked, Spec) else asked
        return key is not None and (
            self.store.has_result(key) or any(job.key == key and not job.ended for job in self._job_store.jobs(kind))
        )

    def keeps(self, record: JobRecord) -> bool:
        """Return True if a job's folder is in the store and is removed with the job."""
        result = self.result(record)
        return result is not None and result.folder is not None and result.folder.is_relative_to(self.store.kept)

    def growing_file(self, record: JobRecord, name: str) -> Path | None:
        """Return a file that a job is writing or had written when stopped; None while it is empty."""
        file = self.store.incoming / record.id / name
        return file if file.is_file() and file.stat().st_size else None

    def pruned_models(self) -> dict[str, Path]:
        """The pruned checkpoints known here by name, newest first: those in the store's folder of models and those that
        finished jobs left, also those whose weights a sweep has dropped, which cannot be run.

        A job's folder is named with the job's id where the store keeps it, as several are called the same there, and by
        its path elsewhere.
        """
        folder = self.models_folder
        named = {path.resolve(): path.name for path in (folder.iterdir() if folder.is_dir() else ())}
        for record in self.jobs("prune"):
            result = self.result(record)
            out = record.summary.get("out") if result is None or result.folder is None else result.folder
            if out:
                path = Path(out).resolve()
                kept = path.is_relative_to(self.store.kept.resolve())
                named.setdefault(path, f"{path.name} {record.id[:6]}" if kept else str(path))
        times = {path: (path / CONFIG_FILE).stat().st_mtime for path in named if (path / CONFIG_FILE).is_file()}
        return {named[path]: path for path in sorted(times, key=lambda path: (-times[path], str(path)))}

    @property
    def models_folder(self) -> Path:
        """Folder of checkpoints, by whomever, that pages offer by name. It need not exist."""
        return self.store.models

    def labels(self) -> dict[str, Label]:
        """Return the labels of recordings and runs, by id."""
        labels = {}
        for name, fields in self.store.labels().items():
            try:
                labels[name] = Label.model_validate(fields)
            except ValidationError:
                labels[name] = NO_LABEL
        return labels

    def wait(self, job_id: str, timeout: float) -> JobRecord:
        """Block until the job has ended. Raises TimeoutError, and KeyError for an unknown id."""
        deadline = time.monotonic() + timeout
        while True:
            record = self.job(job_id)
            if record is None:
                raise KeyError(job_id)
            if record.ended:
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(f"The job {job_id} has not ended within {timeout:g} seconds.")
            with self._job_store.changed:
                self._job_store.changed.wait(0.1)
