"""What models answered to single items and what trials of a search found, by content: nothing is asked twice."""

import json
from pathlib import Path
from typing import Any

import diskcache

from cache.disk import PlainDisk, RefusedRow
from cache.store import default_root

LIMIT = 4 * 2**30  # bytes


class Answers:
    """A store of small JSON records beside the other two. Safe across threads and processes; every write is atomic."""

    def __init__(self, root: Path | None = None) -> None:
        folder = (root or default_root()) / "answers"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cache = diskcache.Cache(
            str(folder), disk=PlainDisk, size_limit=LIMIT, eviction_policy="least-recently-stored"
        )

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of this key, or None if it is not there or not written by this store."""
        try:
            text = self._cache.get(key)
            record = json.loads(text) if isinstance(text, str) else None
            return record if isinstance(record, dict) else None
        except (RefusedRow, ValueError, OSError):
            return None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keeps a record, replacing the one before."""
        self._cache.set(key, json.dumps(record))

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
