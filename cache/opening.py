"""Opening a store on disk: its format, the sentence on why it cannot be opened, and the copy of the rows that cannot be
computed again.

The format is stamped beside the databases. An older store is migrated; one that a newer version wrote is left
untouched. Damage is set aside.
"""

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

SHORTEST = 512  # bytes of the smallest possible database, one page
_BEYOND = 2000  # stop after this many row numbers without a readable row
_FIELDS = "key, raw, mode, filename, value, expire_time"


def salvage(aside: Path, cache: diskcache.Cache) -> int:
    """Copy every readable row of the database in `aside` into `cache`; return their number."""
    disk, kept = type(cache.disk)(str(aside)), 0
    for key, raw, mode, filename, value, _ in _rows(aside / DATABASE):
        try:
            name = disk.get(key, raw)
            as_file = mode == MODE_BINARY and filename is not None
            content = disk.fetch(mode, filename, value, as_file)
        except (OSError, ValueError, TypeError):
            continue
        with content if as_file else contextlib.nullcontext():
            cache.set(name, content, read=as_file)
        kept += 1
    return kept


def _rows(database: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows in order of row number, skipping those on unreadable pages.

    A file shorter than any database is not queried: SQLite would remove the log beside it.
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


DATABASE = "cache.db"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OURS = {"Cache", "Settings"}  # tables
_EMPTY_PATIENCE = 1.0  # seconds in which another process may be making a database that is still empty
_ADVICE = "Set SINKSCOPE_HOME to a folder that you can write, or put this one right, and open SinkScope again."


class StoreError(OSError):
    """Error raised when the store cannot be used. The message says what is wrong and what to do."""


def make_folder(folder: Path, private: bool) -> None:
    """Create a folder, with mode 0700 if `private` or new. Raises StoreError if it is not a folder or not writable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private:
            folder.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"SinkScope keeps its files in '{folder}', and a file is in the way. {_ADVICE}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"SinkScope cannot make its folder '{folder}': {_reason(error)}. {_ADVICE}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StoreError(f"SinkScope keeps its files in '{folder}', which it may not read and write. {_ADVICE}")


def open_cache(
    folder: Path,
    what: str,
    disk: type[diskcache.Disk],
    thorough: bool = True,
    on_damage: Callable[[], None] | None = None,
    **settings: Any,
) -> tuple[diskcache.Cache, str]:
    """Open or create the cache in `folder`; return it and a sentence if a damaged one was set aside, otherwise "".

    The readable rows of a damaged cache are copied. what: its contents, for that sentence. disk: says what its rows may
    hold. thorough: check the whole database, not only its first pages. on_damage: called before a cache is set aside.
    An empty file or a database without tables counts as damaged: SQLite would take it for a new one. Raises StoreError
    if the cache can neither be opened nor set aside.
    """
    damage = _damage(folder / DATABASE, thorough)
    if damage:
        if on_damage is not None:
            on_damage()
        aside = _set_aside(folder)
        make_folder(folder, private=True)
    try:
        cache = diskcache.Cache(str(folder), disk=disk, **settings)
        with cache.transact():  # takes the lock for writing, which a read-only database refuses
            pass
    except (OSError, ValueError, sqlite3.Error, diskcache.Timeout) as error:
        raise StoreError(
            f"SinkScope's database '{folder / DATABASE}' cannot be written: {_reason(error)}. {_ADVICE}"
        ) from error
    if not damage:
        return cache, ""
    rows = salvage(aside, cache)
    kept = f" with the {rows} rows that could still be read" if rows else ""
    return (
        cache,
        f"The database of {what} was damaged ({damage}). It was set aside as '{aside}', and a new one begun{kept}.",
    )


def _damage(database: Path, thorough: bool) -> str:
    """Describe the damage to a database; "" if it is intact or missing. Raises StoreError if it cannot be read."""
    try:
        if not os.path.lexists(database):
            return ""
        if not database.is_file():
            return "it is no file"
        if _stays_empty(database):
            return "it is empty"
        if database.stat().st_size < SHORTEST:
            return "it is cut off"
        with contextlib.closing(sqlite3.connect(database.resolve().as_uri() + "?mode=rw", uri=True)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)" if thorough else "PRAGMA schema_version").fetchone()
            tables = _tables(connection)
            if not tables:
                return "it has no tables"
            if not tables >= _OURS:
                return "it is another program's"
            connection.execute("SELECT key, raw, mode, filename, value FROM Cache LIMIT 1").fetchone()
            return "" if not thorough or answer == ("ok",) else str(answer[0]).splitlines()[-1]
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DAMAGE:
            return str(error)
        if code == sqlite3.SQLITE_ERROR:  # its tables have other columns
            return str(error)
        raise StoreError(f"SinkScope's database '{database}' cannot be opened: {_reason(error)}. {_ADVICE}") from error
    except OSError as error:
        raise StoreError(f"SinkScope's database '{database}' cannot be read: {_reason(error)}. {_ADVICE}") from error


def _stays_empty(database: Path) -> bool:
    """Return True if the file is empty and nobody is about to write to it."""
    deadline = time.monotonic() + _EMPTY_PATIENCE
    while database.stat().st_size == 0:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def _tables(connection: sqlite3.Connection) -> set[str]:
    """Return the tables of a database, waiting briefly in case another process is still creating them."""
    deadline = time.monotonic() + _EMPTY_PATIENCE
    while True:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if tables >= _OURS or tables - _OURS or time.monotonic() > deadline:
            return tables
        time.sleep(0.05)


def _set_aside(folder: Path) -> Path:
    """Rename the whole folder, since a database's rows and files belong together."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (folder.with_name(f"{folder.name}-damaged-{stamp}-{number}") for number in range(1, 1000))
    aside = next(name for name in names if not name.exists())
    try:
        return folder.rename(aside)
    except OSError as error:
        raise StoreError(
            f"SinkScope's database '{folder / DATABASE}' is damaged and cannot be set aside: {_reason(error)}. "
            f"{_ADVICE}"
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).rstrip(".")


_SPARE = 400  # lines by which the journal may exceed two notes per row before it is rewritten


class Backup:
    """The journal in `file`. Write errors are ignored: it is only a copy."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, name: str, text: str | None) -> None:
        """Append the current text of a row, or None for a removed one."""
        with contextlib.suppress(OSError):
            descriptor = _opened(self.file, os.O_APPEND)
            try:
                # A single write, so that no other program's line interleaves; on a new line in case the last was cut.
                os.write(descriptor, f"\n{json.dumps([name, text])}\n".encode())
            finally:
                os.close(descriptor)

    def rows(self) -> dict[str, str]:
        """Return the rows as last noted, skipping unreadable lines; empty without a journal."""
        return self._read()[0]

    def renew(self, rows: Mapping[str, str]) -> None:
        """Rewrite a journal that is missing, outdated or has grown long.

        Entries missing from `rows` are kept: where the database lost a row that nobody removed, the copy is all that is
        left.
        """
        noted, lines = self._read()
        is_long = lines > 4 * len(noted) + _SPARE  # two lines per note
        if not is_long and all(noted.get(name) == text for name, text in rows.items()):
            return
        new = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            with os.fdopen(_opened(new, os.O_TRUNC), "w", encoding="utf-8") as out:
                out.writelines(json.dumps(row) + "\n" for row in {**noted, **rows}.items())
            new.replace(self.file)

    def _read(self) -> tuple[dict[str, str], int]:
        """Return the rows and the number of lines they took."""
        rows: dict[str, str] = {}
        count = 0
        with contextlib.suppress(OSError), self.file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                count += 1
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)):
                        continue
                    if isinstance(row[1], str):
                        rows[row[0]] = row[1]
                    elif row[1] is None:
                        rows.pop(row[0], None)
        return rows, count


def _opened(file: Path, flag: int) -> int:
    return os.open(file, os.O_CREAT | os.O_WRONLY | flag, 0o600)


STAMP = "format.json"
FOLDER_ROW = "folder:"  # rows that hold the place of a kept folder


def _relative_places(name: str, text: str, shared: Path) -> str:
    """Migrate 0 to 1: store folders in `kept` relative to `shared`, so that the store can be moved. A folder of a store
    that was moved since is found by its key.
    """
    if not name.startswith(FOLDER_ROW):
        return text
    row = json.loads(text)
    place = Path(row["folder"])
    if not place.is_absolute():
        return text
    kept = shared.resolve() / "kept"
    if not place.resolve().is_relative_to(kept):
        moved = kept / name.removeprefix(FOLDER_ROW) / place.name
        if place.is_dir() or not moved.is_dir():
            return text
        place = moved
    return json.dumps({**row, "folder": place.resolve().relative_to(shared.resolve()).as_posix()})


STEPS: tuple[Callable[[str, str, Path], str], ...] = (_relative_places,)
"""(row name, row text, folder shared with workers) -> text in the next format, from format 0 on. Each leaves a row that
is already in the next format unchanged, so that an interrupted migration can be repeated.
"""
FORMAT = len(STEPS)


def format_of(root: Path) -> int:
    """Return the format of the store in `root`; 0 without a readable stamp, since the first stores had none.

    Raises StoreError for a format newer than this version's and for a stamp that cannot be read.
    """
    try:
        stamped = json.loads((root / STAMP).read_text(encoding="utf-8"))["format"]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"SinkScope cannot read '{root / STAMP}': {error.strerror}.") from error
    except (ValueError, KeyError, TypeError):
        return 0
    if not isinstance(stamped, int) or isinstance(stamped, bool) or stamped < 0:
        return 0
    if stamped > FORMAT:
        raise StoreError(
            f"The store '{root}' was written by a newer SinkScope (format {stamped}; this version writes {FORMAT}) and "
            "is left as it is. Update SinkScope, or give this one a store of its own with SINKSCOPE_HOME."
        )
    return stamped


def brought_up(rows: Mapping[str, str], stamped: int, shared: Path) -> dict[str, str]:
    """Return the rows that differ in this version's format, migrated. Rows that cannot be read stay as they are."""
    changed = {}
    for name, text in rows.items():
        now = text
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            for step in STEPS[stamped:]:
                now = step(name, now, shared)
        if now != text:
            changed[name] = now
    return changed


def stamp(root: Path) -> None:
    """Mark a store as being in this version's format. If the stamp cannot be written, the next opening tries again."""
    new = root / f".{STAMP}.{os.getpid()}"
    with contextlib.suppress(OSError):
        new.write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
        new.replace(root / STAMP)
