"""Everything known about every job: in memory for the pages, in the store for the next server."""

import contextlib
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from analysis.engine.records import JobRecord, LogLine, Progress, lives, read_record
from analysis.jobs import JOBS
from cache.presence import Presence
from cache.store import Store

KEPT_RECORDS = 200  # of ended jobs that leave nothing to come back to
KEPT_LINES = 300
FLUSH_INTERVAL = 1.0  # seconds between writes of a running job's progress


@dataclass
class _Live:
    progress: Progress = field(default_factory=Progress)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    unwritten: bool = False


class JobStore:
    """Records, progress and logs. Read the store once; this process is the one that writes them. Safe across threads.

    presence: what is seen of the other programs at the store. changed: notified whenever a record changes. unwritable:
    why the store could not be written, or nothing. unread: how many records are there that this version cannot read.
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
        """Whether that engine still runs, here or elsewhere."""
        return lives(owner, self.presence)

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
        """Keeps a record. A full disk does not stop the queue: the record then lives as long as this process."""
        with self.changed:
            self._records[record.id] = record
            self._write(lambda: self.store.save_job(record.id, record.model_dump(mode="json")))
            self.changed.notify_all()

    def update(self, job_id: str, **changes: Any) -> JobRecord | None:
        """Changes a job that has not ended, and returns its record; None if it has ended or is unknown."""
        with self.changed:
            record = self._records.get(job_id)
            if record is None or record.ended:
                return None
            changed = record.model_copy(update=changes)
            if changed != record:
                self.save(changed)
            return changed

    def list_for(self, job_id: str, visitors: tuple[str, ...]) -> JobRecord | None:
        """Lists a job to visitors who asked the same, and returns its record; None for an unknown id. One that no
        visitor is named for is listed to everybody."""
        with self.changed:
            record = self.job(job_id)
            if record is not None and record.visitors and not set(visitors) <= set(record.visitors):
                record = record.model_copy(update={"visitors": tuple(dict.fromkeys((*record.visitors, *visitors)))})
                self.save(record)
            return record

    def finish(self, job_id: str, state: str, **changes: Any) -> bool:
        """Ends a job. False if it had ended before: the first word counts."""
        with self.changed:
            ended = self.update(job_id, state=state, finished=time.time(), waits_for="", **changes) is not None
            self._flush_one(job_id)
            self._live.pop(job_id, None)
            return ended

    def forget_old(self) -> None:
        """Keeps every record of lasting jobs and the newest of the others, which are asked again in no time."""
        others = [record for record in self.jobs() if not JOBS[record.kind].lasting and record.ended]
        for record in others[KEPT_RECORDS:]:
            self._records.pop(record.id, None)
            self.store.delete_job(record.id)

    def forget(self, job_id: str) -> bool:
        """Removes the record of a job that has ended. False for any other."""
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
        """Forgets what an earlier try of the job told."""
        with self.changed:
            self._live[job_id] = _Live(unwritten=True)

    def resume(self, job_id: str) -> float:
        """Goes on from what the store holds about a job that ran on while no server listened. Returns the time of its
        last line, 0 without one."""
        progress, log = self._stored_live(job_id)
        with self.changed:
            self._live[job_id] = _Live(progress, deque(log, maxlen=KEPT_LINES))
        return log[-1].time if log else 0.0

    def report(self, job_id: str, message: dict[str, Any]) -> None:
        """Takes in a message from a running job; one that makes no sense, or comes too late, is passed over."""
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
        """How far a job is, or was when it ended. Empty for one that has not begun."""
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
        """Writes what running jobs told since the last time; unless `at_once`, at most once a FLUSH_INTERVAL."""
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
