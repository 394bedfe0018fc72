"""Model answers to single items and trials of searches, stored by content so that nothing is computed twice."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import diskcache

from cache.disk import RefusedRow
from cache.format import format_of
from cache.opening import DATABASE, make_folder, open_cache
from cache.store import default_root

LIMIT = 4 * 2**30  # bytes
READ_WHOLE = 64 * 2**20  # bytes; larger databases are not checked in full when opened


class Responses:
    """Store of small JSON records beside the other two. Safe across threads and processes; every write is atomic.

    Raises StoreError if it cannot be used or was written by a newer version.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or default_root()
        format_of(root)
        folder = root / "answers"
        make_folder(folder, private=True)
        # Many jobs open this: checking all of a large database would take longer than some of them.
        database = folder / DATABASE
        small = not database.is_file() or database.stat().st_size <= READ_WHOLE
        self._cache, _ = open_cache(
            folder, "answers", thorough=small, size_limit=LIMIT, eviction_policy="least-recently-stored"
        )

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record for a key, or None if it is missing or was not written by this store."""
        try:
            text = self._cache.get(key)
            record = json.loads(text) if isinstance(text, str) else None
            return record if isinstance(record, dict) else None
        except (RefusedRow, ValueError, OSError, sqlite3.Error):
            return None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Store a record, replacing any earlier one. If the write fails, the model is asked again later."""
        with contextlib.suppress(OSError, sqlite3.Error, diskcache.Timeout):
            self._cache.set(key, json.dumps(record))

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> "Responses":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
