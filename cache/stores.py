"""Stores that a job reads, opened at first use: results, answers of models, and bytes shared by several jobs."""

import contextlib
import json
import sqlite3
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import diskcache

from cache.opening import DATABASE, format_of, make_folder, open_cache
from cache.store import PlainDisk, RefusedRow, Store, default_root

LIMIT = 4 * 2**30  # bytes
LARGEST = LIMIT // 4  # bytes of one row: a larger one would evict all others
READ_WHOLE = 64 * 2**20  # bytes; larger databases are not checked in full when opened, as many jobs open them


class _Rows:
    """Rows by key in a folder of the store, evicted beyond `LIMIT`. Safe across threads and processes; every write is
    atomic.

    Opening raises StoreError if the store cannot be used or was written by a newer version.
    """

    folder: str
    what: str
    evicts: str

    def __init__(self, root: Path | None = None) -> None:
        root = root or default_root()
        format_of(root)
        folder = root / self.folder
        make_folder(folder, private=True)
        database = folder / DATABASE
        small = not database.is_file() or database.stat().st_size <= READ_WHOLE
        self._cache, _ = open_cache(
            folder,
            self.what,
            PlainDisk,
            thorough=small,
            size_limit=LIMIT,
            eviction_policy=f"least-recently-{self.evicts}",
        )

    def _row(self, key: str) -> Any:
        """Return what is stored; None if it is missing or cannot be read."""
        with contextlib.suppress(RefusedRow, ValueError, OSError, sqlite3.Error):
            return self._cache.get(key)
        return None

    def _store(self, key: str, row: str | bytes) -> None:
        """Store a row, replacing any earlier one. If the write fails, it is computed again later."""
        with contextlib.suppress(OSError, sqlite3.Error, diskcache.Timeout):
            self._cache.set(key, row)

    def close(self) -> None:
        self._cache.close()


class Responses(_Rows):
    """Model answers to single items and trials of searches, so that nothing is computed twice: small JSON records."""

    folder, what, evicts = "answers", "answers", "stored"

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record for a key, or None if it is missing or was not written by this store."""
        text = self._row(key)
        with contextlib.suppress(ValueError):
            record = json.loads(text) if isinstance(text, str) else None
            return record if isinstance(record, dict) else None
        return None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Store a record, replacing any earlier one."""
        self._store(key, json.dumps(record))


class Shared(_Rows):
    """Bytes that several kinds of job share."""

    folder, what, evicts = "shared", "what jobs share", "used"

    def get(self, key: str) -> bytes | None:
        """Return the bytes for a key, or None if they are missing or were not written by this store."""
        content = self._row(key)
        return content if isinstance(content, bytes) else None

    def put(self, key: str, content: bytes) -> None:
        """Store bytes, replacing any earlier ones; more than LARGEST are computed again later."""
        if len(content) <= LARGEST:
            self._store(key, content)


class Stores:
    """Results of earlier jobs below `root`, by default SINKSCOPE_HOME or the user's cache folder.

    Opening raises StoreError if a store cannot be used. Not shared between threads.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    @cached_property
    def results(self) -> Store:
        """Finished results by key. Jobs only read them; whoever submitted a job stores its result."""
        return Store(self.root)

    @cached_property
    def responses(self) -> Responses:
        """Model answers to items, and trials of searches."""
        return Responses(self.root)

    @cached_property
    def shared(self) -> Shared:
        """Intermediate data of one model and one text that several kinds of job need."""
        return Shared(self.root)

    def close(self) -> None:
        """Close the open stores; a later use opens them again."""
        for name in ("results", "responses", "shared"):
            store = self.__dict__.pop(name, None)
            if store is not None:
                store.close()

    def __enter__(self) -> "Stores":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
