"""Stores that a job reads, opened at first use, and a store of bytes shared by several jobs."""

import contextlib
import sqlite3
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import diskcache

from cache.disk import RefusedRow
from cache.format import format_of
from cache.opening import make_folder, open_cache
from cache.responses import Responses
from cache.store import Store, default_root

LIMIT = 4 * 2**30  # bytes
LARGEST = LIMIT // 4  # bytes of one row: a larger one would evict all others


class Shared:
    """Store of data that several kinds of job share. Safe across threads and processes; every write is atomic.

    Raises StoreError if it cannot be used or was written by a newer version.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or default_root()
        format_of(root)
        folder = root / "shared"
        make_folder(folder, private=True)
        self._cache, _ = open_cache(folder, "what jobs share", size_limit=LIMIT, eviction_policy="least-recently-used")

    def get(self, key: str) -> bytes | None:
        """Return the bytes for a key, or None if they are missing or were not written by this store."""
        try:
            content = self._cache.get(key)
            return content if isinstance(content, bytes) else None
        except (RefusedRow, ValueError, OSError, sqlite3.Error):
            return None

    def put(self, key: str, content: bytes) -> None:
        """Store bytes, replacing any earlier ones. More than LARGEST, or a failed write, is computed again later."""
        if len(content) > LARGEST:
            return
        with contextlib.suppress(OSError, sqlite3.Error, diskcache.Timeout):
            self._cache.set(key, content)

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> "Shared":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


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
