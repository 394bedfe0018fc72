"""On-disk format: text and bytes only. No pickle is ever written or read.

diskcache pickles types it does not know, and its JSONDisk still unpickles a hostile row (mode 4, or a key with raw =
0), which runs code. This subclass refuses both, and file names that point outside the store's folder.
"""

import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, MODE_TEXT, UNKNOWN


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
