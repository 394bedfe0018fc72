"""Where a checkpoint lies and whether it is whole: files, config, sizes, fingerprint. Imports no torch.

Sources are a registry name, a local folder or a Hugging Face hub id. Only safetensors weights are read.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.errors import UserError
from analysis.models.architectures import Architecture, Geometry, identify
from analysis.models.registry import resolve

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk. config: its config.json as read."""

    folder: Path
    config: dict[str, Any]
    architecture: Architecture
    geometry: Geometry

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files with weights, in order of name."""
        return sorted(self.folder.glob("*.safetensors"))


def find(source: str) -> Checkpoint | None:
    """The checkpoint `source` names, if it is on this disk; None for a hub id that is not downloaded.

    Raises UserError for a source that is neither, and for a config that cannot be run.
    """
    target = resolve(source)
    folder = Path(target).expanduser()
    if folder.is_dir():
        return open_folder(folder)
    if folder.is_file():
        raise UserError(f"'{source}' is a file. Give the folder that holds config.json and the safetensors files.")
    if not _HUB_ID.fullmatch(target) or target.count("/") != 1:
        raise UserError(
            f"There is no model '{source}': not a name of the registry, not a folder, not a hub id like owner/name."
        )
    snapshot = _cached_snapshot(target)
    return open_folder(snapshot) if snapshot else None


def open_folder(folder: Path) -> Checkpoint:
    """Reads and checks a local folder. Raises UserError naming what is missing or not supported."""
    config = _read_config(folder / "config.json")
    architecture = identify(config)
    checkpoint = Checkpoint(folder, config, architecture, architecture.geometry(config))
    _check_files(checkpoint)
    return checkpoint


def download(source: str) -> Checkpoint:
    """Fetches a hub checkpoint into the hub's own cache. Raises UserError when there is no network or no such model."""
    from huggingface_hub import snapshot_download

    target = resolve(source)
    try:
        folder = snapshot_download(target, allow_patterns=FILES)
    except Exception as error:
        raise _hub_error(target, error) from error
    return open_folder(Path(folder))


def remote_bytes(source: str, bytes_per_parameter: int | None) -> int:
    """Bytes the weights of a hub checkpoint will take in memory, known before downloading them.

    bytes_per_parameter None keeps the checkpoint's own precision. Raises UserError as `download` does.
    """
    from huggingface_hub import HfApi, get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    target = resolve(source)
    try:
        # Asked first because it fails at once without a network, where downloads retry for half a minute.
        HfApi().model_info(target, timeout=_HUB_TIMEOUT)
        _read_remote_config(target)
        counts = get_safetensors_metadata(target).parameter_count
    except NotASafetensorsRepoError as error:
        raise UserError(f"'{target}' has no safetensors weights. SinkScope reads no pickled checkpoints.") from error
    except UserError:
        raise
    except Exception as error:
        raise _hub_error(target, error) from error
    return sum(count * (bytes_per_parameter or _DTYPE_BYTES.get(dtype, 4)) for dtype, count in counts.items())


def weight_bytes(checkpoint: Checkpoint, bytes_per_parameter: int | None) -> int:
    """Bytes the weights take in memory at this precision (None: the checkpoint's own)."""
    total = 0
    for path in checkpoint.weight_files:
        for name, tensor in _header(path).items():
            if name != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                total += count * (bytes_per_parameter or _DTYPE_BYTES.get(tensor["dtype"], 4))
    return total


def fingerprint(checkpoint: Checkpoint) -> str:
    """32 hex digits that change whenever the config or any weight changes."""
    digest = hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode())
    for path in checkpoint.weight_files:
        real, stat = path.resolve(), path.stat()
        digest.update(path.name.encode() + _file_digest(real, stat.st_size, stat.st_mtime_ns).encode())
    return digest.hexdigest()[:32]


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    # The hub's cache names a blob by the SHA-256 of its content: no need to read 16 GB again.
    if re.fullmatch(r"[0-9a-f]{64}", path.name):
        return path.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_DTYPE_BYTES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I8": 1,
    "BOOL": 1,
}


def _header(path: Path) -> dict[str, Any]:
    """A safetensors header. Raises UserError when the file is shorter than its header promises."""
    damaged = f"'{path.name}' is not a whole safetensors file"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise UserError(f"{damaged}: its header is cut off at {size} bytes. Download or copy it again.")
        try:
            header = json.loads(file.read(length))
            end = max((item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(f"{damaged}: its header cannot be read. Download or copy it again.") from error
    if size - 8 - length < end:
        raise UserError(
            f"{damaged}: it holds {size} of {8 + length + end} bytes, so it is truncated. Download or copy it again."
        )
    return header


def _check_files(checkpoint: Checkpoint) -> None:
    folder = checkpoint.folder
    if not checkpoint.weight_files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "only pickled weights, which SinkScope does not read" if pickled else "no safetensors weights"
        raise UserError(f"The folder '{folder}' holds {why}. Convert or copy the .safetensors files there.")
    missing = sorted(name for name in _indexed_files(folder) if not (folder / name).is_file())
    if missing:
        raise UserError(f"The folder '{folder}' lacks {', '.join(missing)}, named in its index. Download the rest.")
    for path in checkpoint.weight_files:
        _header(path)


def _indexed_files(folder: Path) -> Iterator[str]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            yield from set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(f"'{index}' is not a readable weight index. Download it again.") from error


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"The folder '{path.parent}' has no config.json, so it is not a checkpoint of transformers.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"'{path}' is not readable JSON ({error}).") from error
    if not isinstance(config, dict):
        raise UserError(f"'{path}' holds no JSON object, so it is not a config of transformers.")
    return config


def _read_remote_config(target: str) -> None:
    """Refuses an architecture before its weights are downloaded."""
    from huggingface_hub import hf_hub_download

    config = _read_config(Path(hf_hub_download(target, "config.json")))
    identify(config).geometry(config)


def _cached_snapshot(target: str) -> Path | None:
    """The folder of a completely downloaded hub checkpoint."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(target, "config.json")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    whole = any(folder.glob("*.safetensors")) and all((folder / name).is_file() for name in _indexed_files(folder))
    return folder if whole else None


def _hub_error(target: str, error: Exception) -> UserError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return UserError(f"'{target}' is gated: accept its terms on its hub page and log in with `hf auth login`.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(f"The hub has no public model '{target}'. Check the spelling, or log in if it is private.")
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return UserError(f"The hub's '{target}' has no config.json, so it is not a checkpoint of transformers.")
    if isinstance(error, OSError) and error.errno == 28:
        return UserError(f"The disk is full: '{target}' could not be downloaded. Free some space and try again.")
    return UserError(
        f"'{target}' is not on this disk and the Hugging Face hub cannot be reached ({type(error).__name__}). "
        "Connect to the network, or give a local folder; the bundled model needs neither."
    )
