"""What can still be read of a damaged database, and the copy of the rows that nothing could make again."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY

from cache.disk import PlainDisk, RefusedRow

BACKUP_AGE = 86400.0  # seconds after which the copy is written anew
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
    """The rows by their numbers, those passed over whose pages cannot be read."""
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


def back_up(read: Callable[[], Mapping[str, str]], file: Path) -> None:
    """Writes rows of text, key and value, where the copy is missing or old. A disk that takes none is no failure."""
    with contextlib.suppress(OSError):
        if file.is_file() and time.time() - file.stat().st_mtime < BACKUP_AGE:
            return
        rows = read()
        if not rows:
            return
        new = file.with_name(f".{file.name}.new")
        with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as lines:
            for row in rows.items():
                lines.write(json.dumps(row) + "\n")
        new.replace(file)


def backed_up(file: Path) -> dict[str, str]:
    """The rows of the copy, without lines that cannot be read; empty where there is none."""
    rows: dict[str, str] = {}
    with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row):
                    rows[row[0]] = row[1]
    return rows
