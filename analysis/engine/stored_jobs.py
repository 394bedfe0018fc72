"""Reading for the pages: records of jobs, their progress and their results."""

import time
from collections.abc import Callable
from pathlib import Path

from analysis.engine.job_store import JobRecord, JobStore, LogLine, Progress
from analysis.engine.permissions import Authorizer, Visitor
from analysis.models.checkpoint import CONFIG_FILE
from cache.store import Result, Store


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

    def answered(self, kind: str, key: str | None) -> JobRecord | None:
        """Return the finished job whose result for this key is stored, or None; nothing is run."""
        jobs = (job for job in self._job_store.jobs(kind) if key and job.key == key)
        return next((job for job in jobs if self.has_result(job)), None)

    def has_result(self, record: JobRecord) -> bool:
        """Return True if `result` would find something, without reading it."""
        return record.key is not None and record.state == "done" and self.store.has_result(record.key)

    def knows(self, kind: str, key: str | None) -> bool:
        """Return True if the result for a key is stored, or a job that will produce it is queued or running."""
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
