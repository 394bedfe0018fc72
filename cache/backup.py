"""A copy of the rows that nothing could make again, beside their database, for one that is damaged beyond reading.

It is a journal: each line is a row as it was written, or that it was removed, so that a job which has just ended comes
back ended. A later line counts, and one that was cut off counts nothing.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

_SPARE = 400  # lines beyond those of two notes a row after which the journal is written anew


class Backup:
    """The journal in `file`. A disk that takes none is no failure: it is a copy."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, name: str, text: str | None) -> None:
        """Adds a row as it is now, or None for one that was removed."""
        with contextlib.suppress(OSError):
            descriptor = _opened(self.file, os.O_APPEND)
            try:
                # In one piece, which no other program's line comes between, and on a line of its own after one cut off.
                os.write(descriptor, f"\n{json.dumps([name, text])}\n".encode())
            finally:
                os.close(descriptor)

    def rows(self) -> dict[str, str]:
        """The rows as last noted, without lines that cannot be read; empty where there is no journal."""
        return self._read()[0]

    def renew(self, rows: Mapping[str, str]) -> None:
        """Writes a journal that is missing, of an older version, or has grown long.

        What it holds beyond `rows` stays in it: where the database lacks what nobody removed, the copy is what is left.
        """
        noted, lines = self._read()
        is_long = lines > 4 * len(noted) + _SPARE  # two lines a note
        if not is_long and all(noted.get(name) == text for name, text in rows.items()):
            return
        new = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            with os.fdopen(_opened(new, os.O_TRUNC), "w", encoding="utf-8") as out:
                out.writelines(json.dumps(row) + "\n" for row in {**noted, **rows}.items())
            new.replace(self.file)

    def _read(self) -> tuple[dict[str, str], int]:
        """The rows, and how many lines they took."""
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
