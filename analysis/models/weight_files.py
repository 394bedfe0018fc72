"""Tensors of a checkpoint's files: the headers of safetensors files, read with a bound on their size, and what the
tensors of a block's projections are called: q_proj … down_proj, and those of each expert if there are some. No torch.
"""

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from analysis.errors import UserError, damage

# About a hundred thousand tensors; the format itself allows a hundred megabytes.
HEADER_LIMIT = 16 * 2**20  # bytes
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3"}
_BITS = re.compile(r"\d+")
_NUMBERED = re.compile(r"(?:^|\.)(\d+)\.")


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: its dtype in safetensors' words, its shape, and the byte of the file it begins at."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        """Number of bytes it takes in the file."""
        return int(math.prod(self.shape) * bytes_of(self.dtype))


def header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the tensors of a file by name, and its metadata.

    safetensors itself checks that every entry has a known dtype, a shape of integers and bytes of that size, and that
    the entries cover the file. Raises UserError for a file that is shorter than its header promises, unreadable or
    inconsistent.
    """
    try:
        there = path.stat()
        return _read(path, there.st_mtime_ns, there.st_size)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}. Check its permissions.") from error


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """changed, size: of the file, which is read again when it is another."""
    damaged = f"'{path.name}' is not a whole safetensors file"
    try:
        start = 8 + _header_length(path, damaged)
        entries: dict[str, Entry] = {}
        with safe_open(path, "np") as file:
            for name in file.offset_keys():  # in the order of their bytes, which leave no gap
                tensor = file.get_slice(name)
                entries[name] = Entry(tensor.get_dtype(), tuple(tensor.get_shape()), start)
                start += entries[name].bytes
            return entries, file.metadata() or {}
    except (SafetensorError, OverflowError) as error:
        raise UserError(f"{damaged}: {damage(error)}. Download or copy it again.") from error


def same_tensor(files: Iterable[Path], first: str, second: str, piece: int = 2**24) -> bool:
    """Return True if two tensors of a checkpoint hold the same bytes, reading up to the first piece that differs.

    Raises UserError for a file that cannot be read.
    """
    found = {
        name: (path, entry) for path in files for name, entry in header(path)[0].items() if name in (first, second)
    }
    (path, entry), (other_path, other) = found[first], found[second]
    if (entry.dtype, entry.shape) != (other.dtype, other.shape):
        return False
    with path.open("rb") as file, other_path.open("rb") as other_file:
        file.seek(entry.start)
        other_file.seek(other.start)
        for start in range(0, entry.bytes, piece):
            size = min(piece, entry.bytes - start)
            if file.read(size) != other_file.read(size):
                return False
    return True


def bytes_of(dtype: str) -> float:
    """Bytes an element of this dtype takes. Its bits are the first number in its name: F8_E4M3, BF16, I64."""
    bits = _BITS.search(dtype)
    return int(bits[0]) / 8 if bits else 1.0  # BOOL


def is_float(dtype: str) -> bool:
    """Return True if weights of this dtype are plain numbers."""
    return dtype in _FLOATS


def count_blocks(names: Iterable[str]) -> int:
    """Return the number of transformer blocks in these tensor names: the longest numbered list among them."""
    lists: dict[str, set[int]] = {}
    for name in names:
        numbered = _NUMBERED.search(name)
        if numbered is not None and len(numbered[1]) < 10:
            lists.setdefault(name[: numbered.start()], set()).add(int(numbered[1]))
    return max(map(len, lists.values()), default=0)


def _header_length(path: Path, damaged: str) -> int:
    """Bytes of the header. Raises UserError, without reading it, for one that is too long or cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    length: int = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > size - 8:
        raise UserError(f"{damaged}: its header is cut off at {size} bytes. Download or copy it again.")
    if length > HEADER_LIMIT:
        raise UserError(
            f"{damaged}: its header takes {length / 1e6:,.0f} MB, and at most {HEADER_LIMIT / 1e6:.0f} MB are "
            "read. Save the model in more files."
        )
    return length


# --- names of projections --------------------------------------------------------------------------------------------

FUSED = {"query_key_value": ("q_proj", "k_proj", "v_proj"), "gate_and_up": ("gate_proj", "up_proj")}
"""Matrices that some files hold instead of several, by native name, with those that make up their consecutive rows."""
_FUSED_IN_FILES = {"query_key_value": "query_key_value", "attn_qkv": "query_key_value", "Wqkv": "query_key_value"} | {
    "Wi": "gate_and_up"
}
_GATE_AND_UP = "gate_up_proj"
PACKED = re.compile(r"(?:^|\.)experts\.(gate_up_proj|down_proj)$")
"""The tensors of a block that hold all experts, where a file has such."""
_EXPERT = re.compile(r"(?:^|\.)experts\.(\d+)\.(\w+)$")
_SETS = ("experts", "shared_experts")


def fused_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the part of a tensor's name that denotes a fused matrix, in a file or in the running model, and the names
    of the matrices it holds, in order; None for any other tensor.
    """
    words = name.split(".")
    word = next((word for word in words if word in _FUSED_IN_FILES or word in FUSED), None)
    return None if word is None else (word, FUSED[_FUSED_IN_FILES.get(word, word)])


def part_of_fused(name: str, part: str) -> str:
    """Return the name that a part of a fused tensor would have as a tensor of its own."""
    found = fused_of(name)
    assert found is not None
    return ".".join(part if word == found[0] else word for word in name.split("."))


def parts_of_packed(name: str, rows: int) -> list[tuple[str, int, int]]:
    """Return (name, first row, one past the last row) of one expert's matrices in a tensor that holds those of all, (E,
    rows, in); gate precedes up. name: the tensor's.
    """
    if name.rpartition(".")[2] == _GATE_AND_UP:
        return [("gate_proj", 0, rows // 2), ("up_proj", rows // 2, rows)]
    return [("down_proj", 0, rows)]


def packed_of(name: str) -> str | None:
    """The name of the tensor that holds a matrix of one expert with those of all others; None for any other tensor."""
    stem, _, ending = name.rpartition(".")
    match = _EXPERT.search(stem)
    if match is None or ending != "weight":
        return None
    packed = _GATE_AND_UP if match[2] in ("gate_proj", "up_proj") else match[2]
    return f"{stem[: match.start(1)]}{packed}"


def expert_of(name: str) -> int | None:
    """The expert that a projection belongs to, by its number; None for one outside of the experts."""
    match = _EXPERT.search(name)
    return int(match[1]) if match else None


def of_expert(name: str, expert: int) -> str:
    """A projection's name in a mask with the number of an expert: experts.3.up_proj for experts.up_proj."""
    return name.replace("experts.", f"experts.{expert}.", 1)


def of_any_expert(name: str) -> str:
    """A projection's name in a mask without the number of its expert: experts.up_proj for experts.3.up_proj."""
    match = _EXPERT.search(name)
    return f"experts.{match[2]}" if match else name


def kind_of(name: str) -> str:
    """Return a projection's name without its expert: q_proj, shared_experts.up_proj, experts.up_proj."""
    *path, last = of_any_expert(name).split(".")
    return f"{path[-1]}.{last}" if path and path[-1] in _SETS else last


def words_of(name: str) -> set[str]:
    """The words by which a projection is left dense: the last of its name, and of an expert's or the shared experts'
    projection that it is one of theirs.
    """
    kind = kind_of(name)
    return {kind, *kind.split(".")}
