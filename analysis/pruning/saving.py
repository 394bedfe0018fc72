"""Writing a pruned checkpoint, in the original's parameter names and precision, with its companion files, and counting
the bytes of its weights by arithmetic.

Everything goes to a folder with a temporary name that is renamed at the end: an interrupted run leaves nothing that
looks finished.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from analysis import outputs
from analysis.errors import UserError, os_sentence, shorten, system_error
from analysis.models.checkpoint import Checkpoint
from analysis.pruned import report_file
from analysis.pruned.report_file import COMPANION_SUFFIXES, REPORT_FILE, ReportedSize, packed_bytes
from analysis.specs import QuantizationParams
from cache.environment import gigabytes

SHARD_BYTES = 2**30  # held in memory until it is full
_NOT_KEPT = {"model.safetensors.index.json", REPORT_FILE, "training.json", "measurements.json"}


def check_target(out: Path, source: Path, overwrite: bool, need: int) -> None:
    """Raise UserError where the folder cannot be written: it exists, is the source, or the disk is too full."""
    with outputs.told(out):
        if os.path.realpath(out) == os.path.realpath(source):
            raise UserError(f"'{out}' is the checkpoint that is pruned. Choose another folder to write to.")
    outputs.check(out, overwrite, report_file.refusal)
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < need:
        raise UserError(
            f"The disk of '{out}' has {gigabytes(free)} free and the pruned checkpoint takes up to "
            f"{gigabytes(need)}. Free some space, or choose a folder on another disk."
        )


@contextmanager
def finished_folder(out: Path, overwrite: bool, log: Callable[[str], None]) -> Iterator[Path]:
    """A folder to write in, put at `out` when all went well and removed when not.

    log gets what a user should know of how it got there. Raises UserError when the disk runs full, and where something
    stands at `out` that is not to be replaced.
    """
    with contextlib.ExitStack() as until_done:
        with outputs.told(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            partial = until_done.enter_context(outputs.workplace(out.parent, "pruned", private=False))
        try:
            yield partial
            readable = partial.stat().st_mode & 0o666
            for file in partial.iterdir():
                file.chmod(readable)  # safetensors writes for the owner alone
            note = outputs.place(partial, out, overwrite, report_file.refusal)
            if note:
                log(note)
        except (OSError, SafetensorError) as error:
            refused = system_error(error)
            if refused is None or refused.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise UserError(
                f"'{shorten(str(out))}' was not written, and nothing was kept: {os_sentence(refused)}"
            ) from error


class CheckpointWriter:
    """Writer of tensors under their file names, as one file or as shards with an index."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self._held: dict[str, torch.Tensor] = {}
        self._shards: list[list[str]] = []
        self._bytes = self._total = 0

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Add one tensor, as it is to be stored."""
        size = tensor.numel() * tensor.element_size()
        if self._held and self._bytes + size > self.shard_bytes:
            self._flush()
        self._held[name] = tensor.contiguous().cpu()
        self._bytes += size
        self._total += size

    def finish(self) -> None:
        """Write what is left, and the index if there are several files."""
        if not self._shards:
            save_file(self._held, self.folder / "model.safetensors", {"format": "pt"})
            return
        self._flush()
        count = len(self._shards)
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self._shards, start=1):
            final = f"model-{number:05d}-of-{count:05d}.safetensors"
            self._part(number).rename(self.folder / final)
            weight_map |= dict.fromkeys(names, final)
        index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _flush(self) -> None:
        self._shards.append(list(self._held))
        save_file(self._held, self._part(len(self._shards)), {"format": "pt"})
        self._held, self._bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number}.safetensors"


def copy_companions(source: Checkpoint, folder: Path, config_changes: Mapping[str, Any] | None = None) -> None:
    """Config, tokenizer and the like, as they were but for these fields of the config; None removes one.

    The config of a class of two trainings says afterwards which it was, whatever the folder is called.
    """
    config_changes = {**source.training, **(config_changes or {})}
    for file in source.folder.iterdir():
        if file.is_file() and file.suffix in COMPANION_SUFFIXES and file.name not in _NOT_KEPT:
            shutil.copyfile(file, folder / file.name)
    if config_changes:
        # By hand, for transformers refuses to save numbers of heads that do not divide the hidden size.
        merged = {**source.config, **config_changes}
        config = {name: value for name, value in merged.items() if value is not None or name not in config_changes}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


class Quantized(NamedTuple):
    """A matrix that was quantized: its shape (out, in), and how many of its weights are not pruned."""

    shape: tuple[int, int]
    kept: int


class Sizes:
    """Sums over the tensors of a checkpoint."""

    def __init__(self, params: QuantizationParams) -> None:
        self.params = params
        self.weights = self.quantized = self.dense_bytes = self.packed_bytes = 0

    def add(self, dense: "torch.Tensor", written: "torch.Tensor | None", quantized: Quantized | None = None) -> None:
        """Take in a tensor as the dense model stores it and as it is written; None for one that is left out."""
        self.dense_bytes += dense.numel() * dense.element_size()
        if written is None:
            return
        count, bits = written.numel(), 8 * written.element_size()
        self.weights += count
        if quantized is None:
            self.packed_bytes += packed_bytes(count, int(written.count_nonzero()), bits)
            return
        self.quantized += count
        rows, columns = quantized.shape
        grids = rows * (-(-columns // self.params.group) if self.params.group else 1)
        self.packed_bytes += packed_bytes(count, quantized.kept, self.params.bits, grids, self.params.symmetric)

    def reported(self) -> ReportedSize:
        """The sums, for the report."""
        return {
            "weights": self.weights,
            "quantized": self.quantized,
            "dense_bytes": self.dense_bytes,
            "packed_bytes": self.packed_bytes,
        }
