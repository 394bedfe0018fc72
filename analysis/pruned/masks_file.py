"""The mask of a pruned checkpoint, written and read one projection at a time. Imports no torch.

A folder pruned here has a masks.safetensors; of any other, zeros are the mask. Where head groups or channels were cut
out, masks have the dense model's shapes, and everything here is said of those.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from analysis.errors import UserError
from analysis.models.checkpoint import CONFIG_FILE, Checkpoint, find, open_folder
from analysis.models.family import Geometry
from analysis.models.weight_files import (
    FUSED,
    PACKED,
    Entry,
    expert_of,
    fused_of,
    header,
    of_any_expert,
    part_of_fused,
    parts_of_packed,
)
from analysis.pruned.compare import Comparison, compare

MASK_FILE = "masks.safetensors"
_SHAPES = "shapes"  # the metadata that holds the shape of every matrix, as JSON
_PACKED_DTYPE = "U8"
_CHUNK = 32 * 2**20  # bytes of weights read at a time
_BLOCK_WEIGHT = re.compile(r"(?:^|\.)(?:layers|layer|blocks|h)\.(\d+)\.(.+)\.weight$")
_INNER = re.compile(r"^(?:self_attn\.|mlp\.)?((?:shared_experts\.|experts\.\d+\.)?\w+)$")
# LLaDA's own names, and LLaDA2's; Dream's and Llama's are the native ones.
_NATIVE = {"attn_out": "o_proj", "ff_proj": "gate_proj", "ff_out": "down_proj"}
_NATIVE_PATHS = {
    **{f"{block}.{part}": part for part in FUSED["query_key_value"] for block in ("attention", "attn")},
    "attention.dense": "o_proj",
    **{"mlp.0": "up_proj", "mlp.2": "down_proj"},  # MDLM's
    **{"attn.Wo": "o_proj", "mlp.Wo": "down_proj"},  # ModernBERT's, as attn above
    **{f"attention.self.{part}": f"{part[0]}_proj" for part in ("query", "key", "value")},
    **{"attention.output.dense": "o_proj", "intermediate.dense": "up_proj", "output.dense": "down_proj"},
    **{f"attention.{part}_lin": f"{part}_proj" for part in "qkv"},  # DistilBERT's, as the two below
    "attention.out_lin": "o_proj",
    **{"ffn.lin1": "up_proj", "ffn.lin2": "down_proj"},
}
_CONDITIONING = "adaLN_modulation"  # is no projection either
_ROUTERS = ("gate", "router.proj")  # are no projections: they are never pruned
_SETS = ("", "shared_experts", "experts")
_ORDER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# All bits but the sign: a number is zero when none of them is set, which holds for negative zero too.
_MAGNITUDE: dict[str, np.unsignedinteger] = {
    "BF16": np.uint16(0x7FFF),
    "F16": np.uint16(0x7FFF),
    "F32": np.uint32(0x7FFFFFFF),
    "F64": np.uint64(0x7FFFFFFFFFFFFFFF),
    "F8_E4M3": np.uint8(0x7F),
    "F8_E5M2": np.uint8(0x7F),
}

Packed = tuple[int, tuple[int, int]]
"""First byte and shape (out, in) of a mask in its file."""

Key = tuple[int, str]
"""A layer and the name of a projection, q_proj … down_proj whatever the file calls it; or experts.3.up_proj."""


@dataclass(frozen=True)
class _Tensor:
    """Place of a weight: file, first byte, dtype, shape (out, in); and its packed mask, where there is one.

    left: what the shape became where rows or columns were cut out.
    """

    file: Path
    start: int
    dtype: str
    shape: tuple[int, int]
    mask_start: int | None = None
    left: tuple[int, int] | None = None


@dataclass(frozen=True)
class MaskFolder:
    """A checkpoint whose mask can be read. stored: whether the mask is a file of its own. stamp: changes with the
    files it is read from.
    """

    folder: Path
    geometry: Geometry
    architecture: str
    weights: dict[Key, _Tensor]
    stored: bool
    stamp: str

    @property
    def names(self) -> tuple[str, ...]:
        """The projections, in a block's order, and those of experts once for all."""
        return _ordered(of_any_expert(name) for _, name in self.weights)

    def experts(self, layer: int, kind: str) -> tuple[int, ...]:
        """The numbers of a layer's experts whose projections are of this kind; empty for a kind outside of them."""
        named = (name for at, name in self.weights if at == layer and of_any_expert(name) == kind)
        return tuple(sorted(expert for name in named if (expert := expert_of(name)) is not None))

    def kv_heads(self, layer: int) -> int:
        """The key/value heads of a layer, which in some models are not the same in all: its key rows by the size that
        its query heads have.
        """
        query, key = self.weights.get((layer, "q_proj")), self.weights.get((layer, "k_proj"))
        size = 0 if query is None else query.shape[0] // self.geometry.heads
        heads = 0 if key is None or not size or key.shape[0] % size else key.shape[0] // size
        return heads if heads and self.geometry.heads % heads == 0 else self.geometry.kv_heads

    def shape(self, key: Key) -> tuple[int, int]:
        """(out, in) of a projection."""
        return self.weights[key].shape

    def pruned(self, layer: int, name: str) -> np.ndarray:
        """A projection's mask, bool (out, in), True where the weight is pruned. Raises UserError for a cut-off file."""
        tensor = self.weights[layer, name]
        if not self.stored:
            return _zeros(tensor)
        if tensor.mask_start is None:  # left dense
            return np.zeros(tensor.shape, bool)
        packed = _read(self.folder / MASK_FILE, tensor.mask_start, np.dtype(np.uint8), _packed_bytes(*tensor.shape))
        pruned = ~unpack(packed, tensor.shape)
        if tensor.left is not None and _left(pruned) != tensor.left:
            raise _mixed_up(f"{name} of layer {layer}", self.folder, tensor.shape, tensor.left)
        return pruned


class MaskWriter:
    """The mask file of a folder: the kept weights of every pruned matrix as bits, their shapes in the header.

    The bits wait in a file beside it: those of a large model would take as much memory as several of its blocks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._waiting = folder, folder / f"{MASK_FILE}.waiting"
        self._shapes: dict[str, tuple[int, ...]] = {}

    def add(self, name: str, kept: np.ndarray) -> None:
        """Add the flags of one matrix, bool (out, in), under the name of its weight in the checkpoint."""
        with self._waiting.open("ab") as file:
            file.write(np.packbits(kept).data)
        self._shapes[name] = kept.shape

    def save(self) -> None:
        """Write what was added."""
        packed: dict[str, np.ndarray] = {}
        start = 0
        for name, shape in self._shapes.items():
            size = _packed_bytes(*shape)
            packed[name] = np.memmap(self._waiting, np.uint8, "r", start, (size,))
            start += size
        save_file(packed, self._folder / MASK_FILE, {_SHAPES: json.dumps(self._shapes)})
        packed.clear()  # Windows removes no file that is mapped
        self._waiting.unlink(missing_ok=True)


def unpack(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The flags that `np.packbits` made bits of, row by row: bool of this shape, True where the weight is kept."""
    return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)


def _packed_bytes(rows: int, columns: int) -> int:
    return -(-rows * columns // 8)


def open_masks(source: str) -> MaskFolder:
    """The masks of a local folder or a model on this disk. A mask file with its config is enough, where a sweep has
    dropped the weights. Raises UserError for what is none or cannot be read.
    """
    if only_masks(Path(source)):
        return _opened_without_weights(Path(source))
    checkpoint = find(source)
    if checkpoint is None:
        raise UserError(f"'{source}' is not on this disk. Give the folder of a checkpoint.")
    return _opened(checkpoint.folder)


def _opened(folder: Path) -> MaskFolder:
    checkpoint = open_folder(folder)
    mask_file = folder / MASK_FILE
    packed = _packed(mask_file)
    cut = _of_cut_experts(packed or {}, mask_file, checkpoint.geometry)
    tensors: dict[Key, _Tensor] = dict(cut)
    for path in checkpoint.weight_files:
        for full, entry in header(path)[0].items():
            for name, part in _parts(full, entry, checkpoint):
                key = projection(name)
                if key is None or len(part.shape) != 2 or key[0] >= checkpoint.geometry.layers:
                    continue
                family, named = checkpoint.architecture, key[1]
                router, conditioning = named in _ROUTERS and family.mixture, named == _CONDITIONING
                numbered_anew = cut and expert_of(named) is not None
                if not (router or numbered_anew or (conditioning and family.conditioned)):
                    tensors[key] = _tensor(path, name, part, packed)
    if not tensors:
        raise UserError(f"No weights of transformer blocks were found in '{folder}', so there are no masks to read.")
    files = [*checkpoint.weight_files, *([] if packed is None else [mask_file])]
    geometry = _dense_geometry(checkpoint, tensors)
    return MaskFolder(folder, geometry, checkpoint.architecture.name, tensors, packed is not None, _stamp(files))


def _of_cut_experts(packed: Mapping[str, Packed], file: Path, small: Geometry) -> dict[Key, _Tensor]:
    """The masks of all experts of a model that some were cut out of, under their old numbers; empty for any other."""
    masks = {key: mask for key, mask in _masks(packed, file).items() if expert_of(key[1]) is not None}
    return masks if max((expert_of(name) or 0 for _, name in masks), default=-1) >= small.experts else {}


def _masks(packed: Mapping[str, Packed], file: Path) -> dict[Key, _Tensor]:
    """The masks of a mask file in the place of weights."""
    return {
        key: _Tensor(file, start, _PACKED_DTYPE, shape, start)
        for full, (start, shape) in packed.items()
        if (key := projection(full)) is not None
    }


def _parts(full: str, entry: Entry, checkpoint: Checkpoint) -> Iterator[tuple[str, Entry]]:
    """The matrices that a tensor of a file holds, by what they are called: itself, or query, key and value in one."""
    geometry, config, family = checkpoint.geometry, checkpoint.config, checkpoint.architecture
    if family.noise == "uniform" and f"{family.blocks.removeprefix('model.')}." not in full:
        return  # its encoder's images
    if PACKED.search(full) and len(entry.shape) == 3:
        yield from _of_experts(full, entry)
        return
    fused = fused_of(full) if family.fused and len(entry.shape) == 2 else None
    if fused is None:
        yield full, entry
        return
    size = config.get("head_dim") or geometry.hidden // geometry.heads
    columns, start = entry.shape[1], entry.start
    heads = {"q_proj": geometry.heads, "k_proj": geometry.kv_heads, "v_proj": geometry.kv_heads}
    for part in fused[1]:
        count = heads[part] * size if part in heads else entry.shape[0] // len(fused[1])
        rows = Entry(entry.dtype, (count, columns), start)
        yield part_of_fused(full, part), rows
        start += rows.bytes


def _of_experts(full: str, entry: Entry) -> Iterator[tuple[str, Entry]]:
    """The matrices of every expert in a tensor that holds them all, (E, out, in)."""
    experts, rows, columns = entry.shape
    start = entry.start
    for expert in range(experts):
        for part, first, last in parts_of_packed(full, rows):
            matrix = Entry(entry.dtype, (last - first, columns), start)
            yield f"{full.rpartition('.')[0]}.{expert}.{part}.weight", matrix
            start += matrix.bytes


def only_masks(folder: Path) -> bool:
    """Return True if a folder holds a mask file and the model's config, and no weights."""
    weights = [path for path in folder.glob("*.safetensors") if path.name != MASK_FILE] if folder.is_dir() else []
    return not weights and (folder / MASK_FILE).is_file() and (folder / CONFIG_FILE).is_file()


def _opened_without_weights(folder: Path) -> MaskFolder:
    checkpoint, file = open_folder(folder, whole=False), folder / MASK_FILE
    masks = _masks(_packed(file) or {}, file)
    tensors = {key: mask for key, mask in masks.items() if key[0] < checkpoint.geometry.layers}
    if not tensors:
        raise UserError(f"'{file}' holds no masks of transformer blocks. Prune again to have some.")
    geometry = _dense_geometry(checkpoint, tensors)
    return MaskFolder(folder, geometry, checkpoint.architecture.name, tensors, True, _stamp([file]))


def _stamp(files: Sequence[Path]) -> str:
    """Return a text that changes with the files."""
    return "\n".join(f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def _dense_geometry(checkpoint: Checkpoint, weights: dict[Key, _Tensor]) -> Geometry:
    """The geometry of the model that heads or experts were cut out of, by its masks."""
    numbers = [expert for _, name in weights if (expert := expert_of(name)) is not None]
    small = replace(checkpoint.geometry, experts=max(numbers, default=checkpoint.geometry.experts - 1) + 1)
    size = checkpoint.config.get("head_dim") or small.hidden // small.heads
    query, key = weights.get((0, "q_proj")), weights.get((0, "k_proj"))
    if query is None or key is None or query.left is None or key.left is None:
        return small
    return replace(small, heads=query.shape[0] // size, kv_heads=key.shape[0] // size)


def projection(weight: str) -> Key | None:
    """Layer and projection of a weight by its name in the file; None for one that is not of a block."""
    match = _BLOCK_WEIGHT.search(weight)
    if match is None:
        return None
    layer, inner = int(match[1]), match[2]
    if inner in _NATIVE_PATHS:
        return layer, _NATIVE_PATHS[inner]
    plain = _INNER.match(inner)
    return layer, _NATIVE.get(plain[1], plain[1]) if plain else inner


def why_not_comparable(first: MaskFolder, second: MaskFolder) -> str:
    """Return why two folders' masks cannot be compared, or ''."""
    a, b = first.geometry, second.geometry
    for size in ("layers", "heads", "kv_heads"):
        if getattr(a, size) != getattr(b, size):
            name = {"kv_heads": "key/value heads"}.get(size, size)
            return f"'{second.folder.name}' has {getattr(b, size)} {name} and '{first.folder.name}' {getattr(a, size)}."
    if first.weights.keys() != second.weights.keys():
        layer, name = min(first.weights.keys() ^ second.weights.keys())
        return f"Only one of '{first.folder.name}' and '{second.folder.name}' has {name} in layer {layer}."
    for key in sorted(first.weights):
        if first.shape(key) != second.shape(key):
            sizes = " and ".join("×".join(map(str, masks.shape(key))) for masks in (first, second))
            return (
                f"{key[1]} of layer {key[0]} is {sizes}: another architecture, or whole channels were cut out, and "
                "weights that are gone have no counterpart."
            )
    return ""


def pairs(first: MaskFolder, second: MaskFolder) -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
    """Both masks of every projection, one at a time, as `masks.compare` takes them."""
    for layer, name in sorted(first.weights):
        yield layer, name, first.pruned(layer, name), second.pruned(layer, name)


def groups(folders: Sequence[MaskFolder]) -> Iterator[list[np.ndarray]]:
    """The masks of one projection in all folders, one projection at a time, as `masks.overlap` takes them."""
    for layer, name in sorted(folders[0].weights):
        yield [masks.pruned(layer, name) for masks in folders]


def _ordered(names: Iterator[str]) -> tuple[str, ...]:
    def place(name: str) -> tuple[int, int, str]:
        path, _, last = name.rpartition(".")
        if path in _SETS and last in _ORDER:
            return _SETS.index(path), _ORDER.index(last), ""
        return len(_SETS), 0, name

    return tuple(sorted(set(names), key=place))


def _tensor(path: Path, full: str, entry: Entry, packed: dict[str, Any] | None) -> _Tensor:
    shape = (entry.shape[0], entry.shape[1])
    if entry.dtype not in _MAGNITUDE:
        raise UserError(f"'{full}' in '{path}' is stored as {entry.dtype}, whose zeros cannot be told. Needed: floats.")
    if 0 in shape:
        raise UserError(f"'{full}' in '{path}' has the shape {shape}, so it holds no weights. Write the file again.")
    mask = (packed or {}).get(full)
    if mask is None:
        return _Tensor(path, entry.start, entry.dtype, shape)
    if mask[1] == shape:
        return _Tensor(path, entry.start, entry.dtype, shape, mask[0])
    # Rows or columns may have been cut out, never both.
    same, larger = (shape[0] == mask[1][0], shape[1] == mask[1][1]), (mask[1][0] > shape[0], mask[1][1] > shape[1])
    if not any(same) or not any(larger):
        raise _mixed_up(f"'{full}'", path.parent, mask[1], shape)
    return _Tensor(path, entry.start, entry.dtype, mask[1], mask[0], shape)


def _left(pruned: np.ndarray) -> tuple[int, int]:
    """Count the rows and columns of a mask that hold anything that stays."""
    return int((~pruned.all(axis=1)).sum()), int((~pruned.all(axis=0)).sum())


def _mixed_up(name: str, folder: Path, mask: tuple[int, int], weight: tuple[int, int]) -> UserError:
    return UserError(
        f"The mask of {name} in '{folder / MASK_FILE}' has shape {mask}, its weight {weight}. They do not "
        "belong together; prune again, or remove the mask file to take zeros as the mask."
    )


def _packed(path: Path) -> dict[str, Packed] | None:
    """First byte and shape of every mask in a mask file; None without one. Raises UserError for a damaged file."""
    if not path.is_file():
        return None
    entries, metadata = header(path)
    try:
        shapes = json.loads(metadata[_SHAPES])
        packed = {}
        for name, entry in entries.items():
            rows, columns = (int(size) for size in shapes[name])
            if entry.dtype != _PACKED_DTYPE or min(rows, columns) < 0 or entry.bytes != _packed_bytes(rows, columns):
                raise ValueError(name)
            packed[name] = (entry.start, (rows, columns))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"'{path}' is not a mask file: every tensor must be packed bits with its shape in the metadata. Prune "
            "again, or remove it to take zeros as the mask."
        ) from error
    return packed


def _read(path: Path, start: int, dtype: np.dtype, count: int) -> np.ndarray:
    values = np.fromfile(path, dtype, count, offset=start)
    if len(values) != count:
        raise UserError(f"'{path}' ends before its weights do. Copy or write it again.")
    return values


def _zeros(tensor: _Tensor) -> np.ndarray:
    """Flag the weights that are zero, bool (out, in), read in pieces."""
    rows, columns = tensor.shape
    magnitude = _MAGNITUDE[tensor.dtype]
    pruned = np.empty(tensor.shape, bool)
    step = max(1, _CHUNK // (columns * magnitude.itemsize))
    for row in range(0, rows, step):
        count = min(step, rows - row) * columns
        start = tensor.start + row * columns * magnitude.itemsize
        bits = _read(tensor.file, start, magnitude.dtype, count)
        np.equal(np.bitwise_and(bits, magnitude, out=bits), 0, out=pruned[row : row + step].reshape(-1))
    return pruned


def compared(first: MaskFolder, second: MaskFolder) -> Comparison:
    """Return two masks, counted. Raises UserError where they cannot be laid on each other."""
    reason = why_not_comparable(first, second)
    if reason:
        raise UserError(reason)
    geometry = first.geometry
    sizes = (geometry.heads, geometry.kv_heads, geometry.experts)
    of_layers = {layer: first.kv_heads(layer) for layer in range(geometry.layers)}
    return compare(pairs(first, second), geometry.layers, first.names, *sizes, of_layers)
