"""What can still be read of a damaged database."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY

from cache.disk import PlainDisk, RefusedRow

SHORTEST = 512  # bytes of a database, its smallest page
_BEYOND = 2000  # row numbers without a readable row after which no more are looked for
_FIELDS = "key, raw, mode, filename, value, expire_time"


def salvage(aside: Path, database: str, cache: diskcache.Cache) -> int:
    """Copies every row that can be read of the database in `aside` into a cache; returns how many."""
    disk, kept = PlainDisk(str(aside)), 0
    for key, raw, mode, filename, value, _ in _rows(aside / database):
        try:
            name = disk.get(key, raw)
            as_file = mode == MODE_BINARY and filename is not None
            content = disk.fetch(mode, filename, value, as_file)
        except (RefusedRow, OSError, ValueError, TypeError):
            continue
        with content if as_file else contextlib.nullcontext():
            cache.set(name, content, read=as_file)
        kept += 1
    return kept


def _rows(database: Path) -> Iterator[tuple[Any, ...]]:
    """The rows by their numbers, those passed over whose pages cannot be read.

    Of a file that is shorter than any database nothing is asked: SQLite would remove the log beside it.
    """
    if not database.is_file() or database.stat().st_size < SHORTEST:
        return
    try:
        connection = sqlite3.connect(database.resolve().as_uri() + "?mode=rw", uri=True)
    except (sqlite3.Error, OSError):
        return
    with contextlib.closing(connection):
        last, unread = 0, 0
        with contextlib.suppress(sqlite3.Error):
            last = connection.execute("SELECT max(rowid) FROM Cache").fetchone()[0] or 0
        number = 0
        while number < last or unread < _BEYOND:
            number += 1
            try:
                row = connection.execute(f"SELECT {_FIELDS} FROM Cache WHERE rowid = ?", (number,)).fetchone()
            except sqlite3.Error:
                row = None
            unread = unread + 1 if row is None else 0
            if row is not None:
                yield row
