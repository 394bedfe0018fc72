"""The stores that a job looks into, opened at the first use, and bytes that several jobs need and one computed."""

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
LARGEST = LIMIT // 4  # bytes of one row: a larger one would push out all others


class Shared:
    """A store of what jobs of several kinds share, beside the others. Safe across threads and processes; every write is
    atomic.

    Raises StoreError where it cannot be used, and for a store of a newer version.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or default_root()
        format_of(root)
        folder = root / "shared"
        make_folder(folder, private=True)
        self._cache, _ = open_cache(folder, "what jobs share", size_limit=LIMIT, eviction_policy="least-recently-used")

    def get(self, key: str) -> bytes | None:
        """The bytes of this key, or None if they are not there or not written by this store."""
        try:
            content = self._cache.get(key)
            return content if isinstance(content, bytes) else None
        except (RefusedRow, ValueError, OSError, sqlite3.Error):
            return None

    def put(self, key: str, content: bytes) -> None:
        """Keeps bytes, replacing those before. More than LARGEST, or what cannot be written, is computed again."""
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
    """What earlier jobs left below `root`; SINKSCOPE_HOME, or the user's cache folder, where none is given.

    Opening raises StoreError where a store cannot be used. Not shared between threads.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    @cached_property
    def results(self) -> Store:
        """Results by their keys. Jobs only read them: what they leave is taken in by whoever asked."""
        return Store(self.root)

    @cached_property
    def responses(self) -> Responses:
        """Answers to items, and trials of searches."""
        return Responses(self.root)

    @cached_property
    def shared(self) -> Shared:
        """What jobs of several kinds would compute of one model and one text."""
        return Shared(self.root)

    def close(self) -> None:
        """Closes what was opened; a later use opens it again."""
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
