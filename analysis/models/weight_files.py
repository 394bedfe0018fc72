"""The headers of safetensors files, read with bounds and checked entry by entry. Imports no torch."""

import json
import math
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analysis.errors import UserError

# A hundred thousand tensors take about as much; the format itself allows a hundred megabytes.
HEADER_LIMIT = 16 * 2**20  # bytes
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}
_MOST_DIMENSIONS = 16
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3"}
_NUMBERED = re.compile(r"(?:^|\.)(\d+)\.")


def header(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, `__metadata__` among them if it is there.

    Every entry has a known dtype, a shape of whole numbers and bytes of that size inside the file. Raises UserError for
    a file that is shorter than its header promises, cannot be read or says what cannot be.
    """
    return _read(path)[0]


def tensors(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and the byte its tensors' offsets count from. Raises UserError as `header` does."""
    return _read(path)


def bytes_of(dtype: str) -> float:
    """Bytes an element of this dtype takes."""
    return _BITS[dtype] / 8


def is_float(dtype: str) -> bool:
    """Whether weights of this dtype are numbers as they stand."""
    return dtype in _FLOATS


def count_blocks(names: Iterable[str]) -> int:
    """How many transformer blocks these tensor names tell of: the longest numbered list among them."""
    lists: dict[str, set[int]] = {}
    for name in names:
        numbered = _NUMBERED.search(name)
        if numbered is not None and len(numbered[1]) < 10:
            lists.setdefault(name[: numbered.start()], set()).add(int(numbered[1]))
    return max(map(len, lists.values()), default=0)


def _read(path: Path) -> tuple[dict[str, Any], int]:
    damaged = f"'{path.name}' is not a whole safetensors file"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length > size - 8:
                raise UserError(f"{damaged}: its header is cut off at {size} bytes. Download or copy it again.")
            if length > HEADER_LIMIT:
                raise UserError(
                    f"{damaged}: its header takes {length / 1e6:,.0f} MB, and at most {HEADER_LIMIT / 1e6:.0f} MB are "
                    "read. Save the model in more files."
                )
            text = file.read(length)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}. Check its permissions.") from error
    try:
        entries = json.loads(text)
        if not isinstance(entries, dict) or not isinstance(entries.get("__metadata__", {}), dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{damaged}: its header cannot be read. Download or copy it again.") from error
    ends = [_end(entry, name, damaged) for name, entry in entries.items() if name != "__metadata__"]
    end = max(ends, default=0)
    if size - 8 - length < end:
        raise UserError(
            f"{damaged}: it holds {size} of {8 + length + end} bytes, so it is truncated. Download or copy it again."
        )
    return entries, 8 + length


def _end(entry: Any, name: str, damaged: str) -> int:
    """The byte a tensor ends at. Raises UserError for an entry that cannot be."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        fits = (
            whole
            and len(shape) <= _MOST_DIMENSIONS
            and dtype in _BITS
            and (end - begin) * 8 == math.prod(shape) * _BITS[dtype]
        )
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        shown = name if len(name) <= 60 else name[:59] + "…"
        raise UserError(
            f"{damaged}: its header cannot be read, for the entry of {shown!r} is none of a tensor (a known dtype, a "
            "shape, and as many bytes). Download or copy it again."
        )
    return end
