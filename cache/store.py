"""What SinkScope keeps between runs: results, found by content and evicted by size, and jobs, kept until deleted."""

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
from platformdirs import user_cache_path

from cache.disk import PlainDisk, RefusedRow

RESULTS_LIMIT = 20 * 2**30  # bytes
_JOB = "job:"


@dataclass(frozen=True)
class Result:
    """A stored result. summary: JSON. file: its arrays as safetensors, or None; valid until it is evicted."""

    summary: dict[str, Any]
    file: Path | None


def default_root() -> Path:
    """SINKSCOPE_HOME, or the user's cache folder."""
    home = os.environ.get("SINKSCOPE_HOME")
    return Path(home).expanduser() if home else user_cache_path("sinkscope", appauthor=False)


class Store:
    """Two caches in one private folder. Safe across threads and processes; every write is atomic."""

    def __init__(self, root: Path | None = None, results_limit: int = RESULTS_LIMIT) -> None:
        self.root = root or default_root()
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("results", "runs", self.incoming.name):
            folder = self.root / name
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        self._results = diskcache.Cache(
            str(self.root / "results"),
            disk=PlainDisk,
            size_limit=results_limit,
            eviction_policy="least-recently-used",
        )
        self._runs = diskcache.Cache(str(self.root / "runs"), disk=PlainDisk, eviction_policy="none")

    @property
    def incoming(self) -> Path:
        """Where workers leave files for the store to take in."""
        return self.root / "incoming"

    def add_result(self, key: str, summary: dict[str, Any], file: Path | None = None) -> None:
        """Takes a result in; `file` is copied and removed.

        The summary is written last, so that a half-written result is none.
        """
        if file is not None:
            with file.open("rb") as content:
                self._results.set(f"{key}:file", content, read=True)
            file.unlink()
        self._results.set(key, json.dumps({"summary": summary, "file": file is not None}))

    def result(self, key: str) -> Result | None:
        """The result of this key, or None if it is not there, no longer whole, or not written by this store."""
        try:
            text = self._results.get(key)
            if not isinstance(text, str):
                return None
            stored = json.loads(text)
            return Result(stored["summary"], self._path(f"{key}:file") if stored["file"] else None)
        except (RefusedRow, ValueError, KeyError, TypeError, OSError):
            return None

    def has_result(self, key: str) -> bool:
        """Whether there is a result of this key, without reading it or counting as a use."""
        return key in self._results

    def delete_result(self, key: str) -> None:
        """Forgets a result."""
        self._results.delete(key)
        self._results.delete(f"{key}:file")

    def _path(self, key: str) -> Path:
        reader = self._results.get(key, read=True)
        if not hasattr(reader, "name"):
            raise FileNotFoundError(key)
        with reader:
            return Path(reader.name)

    def save_job(self, job_id: str, record: dict[str, Any]) -> None:
        """Writes a job's record, replacing the one before."""
        self._runs.set(_JOB + job_id, json.dumps(record))

    def job(self, job_id: str) -> dict[str, Any] | None:
        """A job's record, or None."""
        try:
            text = self._runs.get(_JOB + job_id)
            return json.loads(text) if isinstance(text, str) else None
        except (RefusedRow, ValueError, OSError):
            return None

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Every readable job record, in no particular order. Rows that this store never writes are passed over."""
        for job_id in self._job_ids():
            record = self.job(job_id)
            if record is not None:
                yield record

    def _job_ids(self) -> list[str]:
        # diskcache's iterator would stop at the first hostile key; a plain query passes over it.
        database = sqlite3.connect((self.root.resolve() / "runs" / "cache.db").as_uri() + "?mode=ro", uri=True)
        try:
            rows = database.execute(
                "SELECT key FROM Cache WHERE raw = 1 AND typeof(key) = 'text' AND key LIKE ?", (f"{_JOB}%",)
            )
            return [key.removeprefix(_JOB) for (key,) in rows]
        finally:
            database.close()

    def delete_job(self, job_id: str) -> None:
        """Forgets a job; its result stays."""
        self._runs.delete(_JOB + job_id)

    def close(self) -> None:
        """Closes the databases. The store cannot be used afterwards."""
        self._results.close()
        self._runs.close()
