"""Store that persists between runs: results, keyed by content and evicted by size; folders and jobs, until deleted.

Rows that cannot be recomputed have a copy beside their database.

Rows hold text and bytes only; no pickle is ever written or read. diskcache pickles types it does not know, and its
JSONDisk still unpickles a hostile row (mode 4, or a key with raw = 0), which runs code. `PlainDisk` refuses both, and
file names that point outside the store's folder.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, MODE_TEXT, UNKNOWN
from platformdirs import user_cache_path

from cache import environment
from cache.opening import (
    DATABASE,
    FOLDER_ROW,
    FORMAT,
    Backup,
    StoreError,
    brought_up,
    format_of,
    make_folder,
    open_cache,
    stamp,
)


class RefusedRow(ValueError):
    """Row that this store never writes: something else put it there, and it is not opened."""


class PlainDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Disk whose keys are text and whose values are text, bytes or files.

    Anything else raises TypeError on writing, RefusedRow on reading.
    """

    def put(self, key: Any) -> tuple[str, bool]:
        if type(key) is not str:
            raise TypeError(f"Keys of the store are text, not {type(key).__name__}.")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        if not raw or type(key) is not str:
            raise RefusedRow("The store holds a key that it never writes. It is not opened; clear the store.")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        if type(value) not in (str, bytes) and not (read and hasattr(value, "read")):
            raise TypeError(f"Values of the store are text, bytes or files, not {type(value).__name__}.")
        if isinstance(value, BufferedReader):
            linked = self._linked(value, key)
            if linked is not None:
                return linked
        row: tuple[int, int, str | None, Any] = super().store(value, read, key)
        return row

    def _linked(self, file: BufferedReader, key: Any) -> tuple[int, int, str, None] | None:
        """Hard-link a file into the store without copying and return its row, or None where that is impossible: on
        another disk, or for a file with further links.
        """
        name, path = self.filename(key, file)
        stat = os.fstat(file.fileno())
        if stat.st_nlink != 1 or Path(file.name).is_symlink():
            return None
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.link(file.name, path)
        except OSError:
            return None
        return stat.st_size, MODE_BINARY, name, None

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode not in (MODE_RAW, MODE_BINARY, MODE_TEXT):
            raise RefusedRow("The store holds a value in a form that it never writes. It is not opened.")
        if filename is not None and not self._inside(filename):
            raise RefusedRow("The store names a file outside its folder. It is not opened.")
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: str) -> None:
        if self._inside(file_path):
            super().remove(file_path)

    def _inside(self, filename: str) -> bool:
        root = Path(self._directory).resolve()
        return (root / filename).resolve().is_relative_to(root)


BACKUP = "runs-backup.jsonl"  # jobs, names and places of folders
UNRESTORED = "runs-unrestored"  # exists from when a damaged database is set aside until its copy is restored
RESULTS_LIMIT = 20 * 2**30  # bytes
SCRATCH_DAYS = 7  # days after their last use that finished phases of an unfinished job are kept
_JOB, _LIVE, _FOLDER, _LABEL, _NAME = "job:", "live:", FOLDER_ROW, "label:", "name:"


@dataclass(frozen=True)
class Result:
    """A stored result. summary: JSON. file: its arrays as safetensors, or None; valid until evicted. folder: the files
    it left, or None; they stay until someone removes them.
    """

    summary: dict[str, Any]
    file: Path | None
    folder: Path | None = None


def default_root() -> Path:
    """Return SINKSCOPE_HOME or the user's cache folder. Raises StoreError for an invalid SINKSCOPE_HOME."""
    return _named("SINKSCOPE_HOME") or user_cache_path("sinkscope", appauthor=False)


def _named(variable: str) -> Path | None:
    try:
        path: Path | None = environment.value(variable)
        return path
    except environment.VariableError as error:
        raise StoreError(str(error)) from error


class Store:
    """Two caches and some private folders. Safe across threads and processes; every write is atomic.

    shared: folder that workers write to and read from; SINKSCOPE_SHARED, or the store's own folder. notices: sentences
    on anything damaged and set aside, or migrated. Raises StoreError if the store cannot be used or was written by a
    newer version; it is then left unchanged.
    """

    def __init__(
        self, root: Path | None = None, results_limit: int = RESULTS_LIMIT, shared: Path | None = None
    ) -> None:
        self.root = root or default_root()
        self.shared = shared or _named("SINKSCOPE_SHARED") or self.root
        for folder in (self.root, self.shared):
            make_folder(folder, private=False)
        stamped = format_of(self.root)
        for folder in (self.root / "results", self.root / "runs", self.incoming, self.scratch, self.kept):
            make_folder(folder, private=True)
        self._results, lost_results = open_cache(
            self.root / "results", "results", PlainDisk, size_limit=results_limit, eviction_policy="least-recently-used"
        )
        is_new = not os.path.lexists(self.root / "runs" / DATABASE)
        self._backup = Backup(self.root / BACKUP)
        self._runs, lost_runs = open_cache(
            self.root / "runs", "jobs", PlainDisk, on_damage=self._mark_unrestored, eviction_policy="none"
        )
        if lost_runs or is_new or (self.root / UNRESTORED).exists():
            lost_runs = self._restore(lost_runs)
        older = self._bring_up(stamped) if stamped < FORMAT else ""
        if not self._backup.file.exists():
            self.renew_backup()
        self.notices = [notice for notice in (lost_results, lost_runs, older) if notice]

    def _bring_up(self, stamped: int) -> str:
        """Migrate the rows of an older version; return a sentence if there are any."""
        rows = self._lasting_rows()
        for name, text in brought_up(rows, stamped, self.shared).items():
            self._set_lasting(name, text)
        stamp(self.root)
        jobs, folders = (sum(name.startswith(kind) for name in rows) for kind in (_JOB, _FOLDER))
        if not rows:
            return ""
        return (
            f"The store was written by an earlier version of SinkScope and was brought to the format of this one: "
            f"{jobs} jobs and {folders} kept folders are as they were."
        )

    def _mark_unrestored(self) -> None:
        with contextlib.suppress(OSError):
            (self.root / UNRESTORED).touch(mode=0o600)

    def _restore(self, damage: str) -> str:
        """Restore rows that a new or salvaged list lacks from the copy; return a sentence if anything was lost.

        If interrupted, the next opening does it again.
        """
        copied = self._backup.rows()
        copied |= brought_up(copied, 0, self.shared)  # it may be older than the store's stamp
        for name, text in copied.items():
            # Salvaged rows may be older than the copy, which has every change.
            if self._lasting(name) != text:
                self._runs.set(name, text)
        with contextlib.suppress(OSError):
            (self.root / UNRESTORED).unlink()
        if not copied and not damage:
            return ""
        there = len(self._names(_JOB))
        listed = f"{there} jobs are listed, from the copy beside it." if there else "Earlier jobs are not listed."
        lost = damage or "The list of jobs was gone, and a new one begun."
        return f"{lost} {listed} Pruned models that were kept are still in '{self.kept}'."

    def renew_backup(self) -> None:
        """Rewrite the copy of the rows that cannot be recomputed if it is missing or has grown long."""
        self._backup.renew(self._lasting_rows())

    def _set_lasting(self, name: str, text: str) -> None:
        """Write a row that cannot be recomputed, and its copy."""
        self._runs.set(name, text)
        self._backup.note(name, text)

    def _delete_lasting(self, name: str) -> None:
        if self._runs.delete(name):
            self._backup.note(name, None)

    def _lasting_rows(self) -> dict[str, str]:
        return {name: text for name in self._names("") if (text := self._lasting(name))}

    def _lasting(self, name: str) -> str:
        """Return a row that cannot be recomputed: a job, a label, a name or a folder's place. Otherwise ""."""
        return self._text(name) if name.startswith((_JOB, _FOLDER, _LABEL, _NAME)) else ""

    def _text(self, name: str) -> str:
        """Return a row of the database of jobs; "" if it is missing or was not written by this store."""
        try:
            text = self._runs.get(name)
        except (RefusedRow, ValueError, OSError, sqlite3.Error):
            return ""
        return text if isinstance(text, str) else ""

    @property
    def incoming(self) -> Path:
        """Folder in which workers leave files for the store to take in."""
        return self.shared / "incoming"

    @property
    def scratch(self) -> Path:
        """Folder for the finished phases of unfinished jobs: one folder per result, by key."""
        return self.shared / "scratch"

    @property
    def kept(self) -> Path:
        """Folder for the folders that jobs leave: one per result, by key."""
        return self.shared / "kept"

    @property
    def models(self) -> Path:
        """Folder for checkpoints that pages offer by name. It need not exist."""
        return self.root / "models"

    def add_result(
        self, key: str, summary: dict[str, Any], file: Path | None = None, folder: Path | None = None
    ) -> None:
        """Take in a result. `file` is moved, or copied from another disk; `folder` is moved if it is in `incoming`.

        The summary is written last, so that a half-written result does not exist. Results with a folder are not
        evicted.
        """
        if file is not None:
            with file.open("rb") as content:
                self._results.set(f"{key}:file", content, read=True)
            file.unlink()
        if folder is None:
            self._results.set(key, json.dumps({"summary": summary, "file": file is not None}))
            return
        if folder.resolve().is_relative_to(self.incoming.resolve()):
            place = self.kept / key
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
            folder = folder.replace(place / folder.name)
        stored = {"summary": summary, "file": file is not None, "folder": self._stored_place(folder)}
        self._set_lasting(_FOLDER + key, json.dumps(stored))

    def result(self, key: str) -> Result | None:
        """Return the result for a key, or None if it is missing, incomplete or not written by this store."""
        try:
            text = self._results.get(key) or self._runs.get(_FOLDER + key)
            if not isinstance(text, str):
                return None
            stored = json.loads(text)
            folder = self._place(stored["folder"]) if "folder" in stored else None
            if folder is not None and not folder.is_dir():
                return None
            return Result(stored["summary"], self._path(f"{key}:file") if stored["file"] else None, folder)
        except (RefusedRow, ValueError, KeyError, TypeError, OSError, sqlite3.Error):
            return None

    def keep_only(self, key: str, new_key: str, names: Collection[str]) -> None:
        """Remove all files but these from a kept folder, and store its result under `new_key`.

        If interrupted, the same call finishes it: the new row is written first and holds once the folder is moved.
        Raises KeyError if there is no such result, and ValueError for a folder outside the store.
        """
        result, moved = self.result(key), self.result(new_key)
        if result is not None and result.folder is not None:
            if not result.folder.resolve().is_relative_to(self.kept.resolve()):
                raise ValueError(f"The folder '{result.folder}' is not the store's own.")
            place = self.kept / new_key
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
            folder = place / result.folder.name
            stored = {"summary": result.summary, "file": False, "folder": self._stored_place(folder)}
            self._set_lasting(_FOLDER + new_key, json.dumps(stored))
            result.folder.replace(folder)
        elif moved is not None and moved.folder is not None:
            folder = moved.folder
        else:
            raise KeyError(key)
        self.delete_result(key)
        for path in folder.iterdir():
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def _stored_place(self, folder: Path) -> str:
        """Return a folder as stored: one in `kept` relative to `shared`, so that the store can be moved."""
        kept = folder.resolve().is_relative_to(self.kept.resolve())
        return folder.resolve().relative_to(self.shared.resolve()).as_posix() if kept else str(folder.absolute())

    def _place(self, stored: str) -> Path:
        """Return the folder for a stored place. Raises ValueError for a relative place outside `kept`."""
        folder = Path(stored)
        if folder.is_absolute():
            return folder
        if not (self.shared / folder).resolve().is_relative_to(self.kept.resolve()):
            raise ValueError(f"The folder '{stored}' lies outside the store.")
        return self.shared / folder

    def has_result(self, key: str) -> bool:
        """Return True if a result exists, without reading it or counting as a use."""
        return key in self._results or (_FOLDER + key in self._runs and self.result(key) is not None)

    def delete_result(self, key: str) -> None:
        """Delete a result and its folder, unless that lies outside the store."""
        self._results.delete(key)
        self._results.delete(f"{key}:file")
        self._delete_lasting(_FOLDER + key)
        if (self.kept / key).parent == self.kept:
            shutil.rmtree(self.kept / key, ignore_errors=True)

    def result_bytes(self, key: str) -> int:
        """Return the bytes a result takes in the store. A folder outside it does not count."""
        try:
            file = self._path(f"{key}:file").stat().st_size
        except (FileNotFoundError, RefusedRow):
            file = 0
        kept = self.kept / key
        inside = kept.rglob("*") if kept.parent == self.kept and kept.is_dir() else ()
        return file + sum(path.stat().st_size for path in inside if path.is_file())

    def _path(self, key: str) -> Path:
        reader = self._results.get(key, read=True)
        if not hasattr(reader, "name"):
            raise FileNotFoundError(key)
        with reader:
            return Path(reader.name)

    def save_job(self, job_id: str, record: dict[str, Any]) -> None:
        """Write a job's record, replacing any earlier one."""
        self._set_lasting(_JOB + job_id, json.dumps(record))

    def job(self, job_id: str) -> dict[str, Any] | None:
        """Return a job's record, or None."""
        return self._run(_JOB + job_id)

    def save_live(self, job_id: str, live: dict[str, Any]) -> None:
        """Write a job's progress and log, replacing any earlier ones."""
        self._runs.set(_LIVE + job_id, json.dumps(live))

    def live(self, job_id: str) -> dict[str, Any] | None:
        """Return a job's progress, current or final, and its log; None if nothing was written."""
        return self._run(_LIVE + job_id)

    def _run(self, name: str) -> dict[str, Any] | None:
        try:
            row: dict[str, Any] | None = json.loads(self._text(name) or "null")
        except ValueError:
            return None
        return row

    def _all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return every readable row of a kind by the rest of its name, without those that this store never writes."""
        rows = {name: self._run(prefix + name) for name in self._names(prefix)}
        return {name: row for name, row in rows.items() if row is not None}

    def jobs(self) -> Collection[dict[str, Any]]:
        """Return every readable job record, in no particular order."""
        return self._all(_JOB).values()

    def _names(self, prefix: str) -> list[str]:
        """Return the keys with a prefix, which is removed."""
        # diskcache's iterator would stop at the first hostile key; a plain query skips it.
        database = sqlite3.connect((self.root.resolve() / "runs" / DATABASE).as_uri() + "?mode=ro", uri=True)
        try:
            rows = database.execute(
                "SELECT key FROM Cache WHERE raw = 1 AND typeof(key) = 'text' AND key LIKE ?", (f"{prefix}%",)
            )
            return [key.removeprefix(prefix) for (key,) in rows]
        finally:
            database.close()

    def delete_job(self, job_id: str) -> None:
        """Delete a job but not its result."""
        self._delete_lasting(_JOB + job_id)
        self._runs.delete(_LIVE + job_id)

    def save_label(self, run_id: str, label: dict[str, Any]) -> None:
        """Write a visitor's label for a run, replacing any earlier one."""
        self._set_lasting(_LABEL + run_id, json.dumps(label))

    def labels(self) -> dict[str, dict[str, Any]]:
        """Return visitors' labels, by run id."""
        return self._all(_LABEL)

    def delete_label(self, run_id: str) -> None:
        """Delete the label and the name of a run."""
        self._delete_lasting(_LABEL + run_id)
        self._runs.delete(_NAME + run_id)

    def save_name(self, run_id: str, name: dict[str, Any]) -> None:
        """Write the generated name of a run, replacing any earlier one."""
        self._runs.set(_NAME + run_id, json.dumps(name))

    def names(self) -> dict[str, dict[str, Any]]:
        """Return the generated names of runs, by run id."""
        return self._all(_NAME)

    def remove_old_scratch(self) -> None:
        """Remove finished phases that have not been used for SCRATCH_DAYS."""
        for folder in self.scratch.iterdir():
            newest = max((path.stat().st_mtime for path in [folder, *folder.rglob("*")]), default=0.0)
            if newest < time.time() - SCRATCH_DAYS * 86400:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close the databases. The store cannot be used afterwards."""
        self._results.close()
        self._runs.close()
