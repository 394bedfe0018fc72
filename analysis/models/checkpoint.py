"""Location and integrity of a checkpoint: files, config, sizes, fingerprint. Imports no torch.

Sources are a registry name, a local folder or a Hugging Face hub id. Only safetensors weights are read.
"""

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis import hub
from analysis.errors import UserError, shorten
from analysis.models.architectures import identify
from analysis.models.family import Architecture, Config, Geometry
from analysis.models.registry import resolve
from analysis.models.weight_files import bytes_of, count_blocks, header, is_float
from analysis.specs import ModelSpec

_EPSILON = re.compile(r"(.*_)?(eps|epsilon)")
_ROPE_BASE = re.compile(r"(.*_)?(rope_theta|rope_base|rotary_emb_base|rope_local_base_freq)")
_ROPE = ("rope_parameters", "rope_scaling")
_TOKEN = re.compile(r"(mask|eos|bos|pad)_token_id")


def check_config(config: Config) -> None:
    """Raise UserError naming a field whose value makes no sense.

    Epsilons of norms must lie in [0, 1), bases of rotary embeddings above 1, their other numbers be finite, and token
    ids be whole numbers from 0. Quantized weights are refused too: all measurements here are of plain ones.
    """
    for name, value in config.items():
        if value is None:
            continue
        if _EPSILON.fullmatch(name) and not (_is_number(value) and 0 <= value < 1):
            raise _refused(name, value, "a number from 0 to 1")
        several = isinstance(value, list) and name == "eos_token_id"  # a text may end in several ways
        tokens = value if several else [value]
        if _TOKEN.fullmatch(name) and not all(map(_is_token, tokens)):
            raise _refused(name, value, "a token id, a whole number from 0")
    for path, name, value in _rope_fields(config):
        if _ROPE_BASE.fullmatch(name) and not (_is_number(value) and value > 1):
            raise _refused(path, value, "a number above 1")
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(path, value, "a finite number")
    method = config.get("quantization_config") or config.get("quantization")
    if method:
        called = method.get("quant_method") if isinstance(method, dict) else method
        raise UserError(
            f"The weights are quantized ({called or 'quantization_config'} in the config). SinkScope measures and "
            "prunes plain float weights: take the checkpoint it was made from."
        )


def _rope_fields(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, field, value): bases at the top level, and every number in the rotary embeddings' own dicts."""
    for name, value in config.items():
        if _ROPE_BASE.fullmatch(name) and value is not None:
            yield name, name, value
    for outer in _ROPE:
        groups = config.get(outer)
        if not isinstance(groups, dict):
            continue
        for name, value in groups.items():
            # Models with windows have one dict per kind of layer.
            inner = value.items() if isinstance(value, dict) else [(name, value)]
            yield from ((f"{outer}.{inside}", inside, number) for inside, number in inner if number is not None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_token(value: Any) -> bool:
    # transformers writes −1 for a token that a model does not have.
    return isinstance(value, int) and not isinstance(value, bool) and value >= -1


def _refused(name: str, value: Any, expected: str) -> UserError:
    shown = shorten(repr(value), 60)
    return UserError(f"'{name}' of the config is {shown}; {expected} was expected. Correct its config.json.")


CONFIG_FILE = "config.json"
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
# Files that determine a prompt's tokens, besides the weights and the config.
_TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)
VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model")
"""One of which a folder with a tokenizer holds."""
_SAMPLED_ABOVE = 2**30  # bytes; larger files are fingerprinted by samples
_JSON_LIMIT = 16 * 2**20  # bytes; an index of a hundred thousand tensors takes less


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk. config: its config.json as read."""

    folder: Path
    config: dict[str, Any]
    architecture: Architecture
    geometry: Geometry

    @property
    def training(self) -> dict[str, str]:
        """Config field that states the training of a class with two; a copy under another name needs it.

        Empty for every other class.
        """
        paradigm = self.architecture.paradigm
        return {} if paradigm is None else {"dlm_paradigm": paradigm}

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files with weights, in order of name: those of the index, else the one whole file."""
        return _weight_files(self.folder)

    @property
    def file_bytes(self) -> int:
        """Size of the weight files."""
        return sum(file.stat().st_size for file in self.weight_files)

    @property
    def revision(self) -> str:
        """The hub's commit that this is a snapshot of; '' for one from elsewhere."""
        return self.folder.name if self.folder.parent.name == "snapshots" else ""


def find(source: str, paradigm: str = "auto") -> Checkpoint | None:
    """The checkpoint `source` names, if it is on this disk; None for a hub id that is not downloaded.

    paradigm: of `ModelSpec.paradigm`.

    Raises UserError for a source that is neither, and for a config that cannot be run.
    """
    target = resolve(source)
    try:
        folder = Path(target).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home, a NUL
        raise UserError(f"'{shorten(source)}' is neither a model's name nor a path that can be read.") from error
    if is_folder:
        return open_folder(folder, paradigm=paradigm)
    if is_file:
        raise UserError(f"'{source}' is a file. Give the folder that holds config.json and the safetensors files.")
    if not _is_hub_id(target):
        raise UserError(
            f"There is no model '{shorten(source)}': not a name of the registry, not a folder, not a hub id like "
            "owner/name."
        )
    snapshot = _cached_snapshot(target)
    return open_folder(snapshot, target, paradigm) if snapshot else None


def _is_hub_id(target: str) -> bool:
    if target.count("/") != 1:
        return False
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(target)
    except HFValidationError:
        return False
    return True


def checkpoint_of(model: ModelSpec) -> Checkpoint | None:
    """Return the checkpoint of a model, as `find` does."""
    return find(model.source, model.paradigm)


def describe(model: ModelSpec) -> Architecture:
    """Return a model's architecture, by the hub's config where it is not downloaded yet.

    Raises UserError as `find` does, and when the hub cannot be reached.
    """
    checkpoint = checkpoint_of(model)
    if checkpoint is not None:
        return checkpoint.architecture
    target = resolve(model.source)
    try:
        hub.ask(target, "model")
        return identify(_remote_config(target), target, model.paradigm)
    except UserError:
        raise
    except Exception as error:
        raise _hub_error(target, error) from error


def open_folder(folder: Path, hub_id: str = "", paradigm: str = "auto", whole: bool = True) -> Checkpoint:
    """Read and check a local folder. Raises UserError naming what is missing, damaged or not supported.

    hub_id: name of a checkpoint from the hub; by default its folder's name. paradigm: of `ModelSpec.paradigm`. whole:
    its weights are present and are checked.
    """
    with _readable(folder):
        checkpoint = _opened(folder, hub_id or _name_of(folder), paradigm, whole, _state_of(folder))
    return replace(checkpoint, config=deepcopy(checkpoint.config))  # transformers completes what it is given


_State = frozenset[tuple[str, int, int, int]]


@lru_cache(maxsize=64)
def _opened(folder: Path, name: str, paradigm: str, whole: bool, state: _State) -> Checkpoint:
    """state: of the folder's files, which are read again when it is another."""
    config = _read_config(folder / CONFIG_FILE)
    architecture = identify(config, name, paradigm)
    check_config(config)
    checkpoint = Checkpoint(folder, config, architecture, architecture.geometry(config))
    if whole:
        _check_files(checkpoint)
    return checkpoint


def _state_of(folder: Path) -> _State:
    """Return the name, times of change and size of each file in a folder."""
    with os.scandir(folder) as entries:
        stats = {entry.name: entry.stat() for entry in entries if entry.is_file()}
    return frozenset((name, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size) for name, stat in stats.items())


def _name_of(folder: Path) -> str:
    """Return a folder's name; in the hub's cache, the hub id."""
    real = folder.resolve()
    return real.parent.parent.name if real.parent.name == "snapshots" else real.name


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn file system errors into a UserError."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"'{where}' cannot be read: {error.strerror or error}. Check its permissions.") from error


def download(model: ModelSpec) -> Checkpoint:
    """Fetch a hub checkpoint into the hub's own cache. Raises UserError if there is no network or no such model."""
    from huggingface_hub import HfApi, snapshot_download

    target = resolve(model.source)
    try:
        weights = [name for name in HfApi().list_repo_files(target) if name in (_WHOLE, _INDEX)]
        shards = ["model-*.safetensors"] if _INDEX in weights else [_WHOLE]
        folder = snapshot_download(target, allow_patterns=[CONFIG_FILE, _INDEX, "README.md", *shards, *_TEXT_FILES])
        checkpoint = open_folder(Path(folder), target, model.paradigm)
        other = checkpoint.architecture.tokenizer
        if other and text_folder(checkpoint) == checkpoint.folder and not _has_text_files(checkpoint.folder):
            snapshot_download(other, allow_patterns=[CONFIG_FILE, *_TEXT_FILES])
    except UserError:
        raise
    except Exception as error:
        raise _hub_error(target, error) from error
    return checkpoint


def text_folder(checkpoint: Checkpoint) -> Path:
    """Return the folder of a checkpoint's tokenizer: its own, or the hub's cache for a family that shares another's."""
    other = checkpoint.architecture.tokenizer
    if not other or _has_text_files(checkpoint.folder):
        return checkpoint.folder
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(other, name) for name in ("tokenizer.json", "vocab.json"))
    return next((Path(path).parent for path in found if isinstance(path, str)), checkpoint.folder)


def _has_text_files(folder: Path) -> bool:
    return any((folder / name).is_file() for name in VOCABULARY_FILES)


def remote_bytes(model: ModelSpec, bytes_per_parameter: int | None) -> int:
    """Bytes the weights of a hub checkpoint will take in memory, known before downloading them.

    bytes_per_parameter None keeps the checkpoint's own precision. Raises UserError as `download` does.
    """
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    target = resolve(model.source)
    try:
        hub.ask(target, "model")
        config = _remote_config(target)
        identify(config, target, model.paradigm).geometry(config)
        check_config(config)
        counts = get_safetensors_metadata(target).parameter_count
    except NotASafetensorsRepoError as error:
        raise UserError(f"'{target}' has no safetensors weights. SinkScope reads no pickled checkpoints.") from error
    except UserError:
        raise
    except Exception as error:
        raise _hub_error(target, error) from error
    return int(sum(count * (bytes_per_parameter or bytes_of(dtype)) for dtype, count in counts.items()))


def stored_shapes(checkpoint: Checkpoint) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of every tensor in the weight files, by its name there."""
    return {
        name: (tensor.dtype, tensor.shape)
        for path in checkpoint.weight_files
        for name, tensor in header(path)[0].items()
    }


def weight_bytes(checkpoint: Checkpoint, bytes_per_parameter: int | None) -> int:
    """Bytes the weights take in memory at this precision (None: the checkpoint's own)."""
    stored = stored_shapes(checkpoint).values()
    return int(sum(math.prod(shape) * (bytes_per_parameter or bytes_of(dtype)) for dtype, shape in stored))


def main_dtype(checkpoint: Checkpoint) -> str:
    """The precision most of the weights are stored in, in safetensors' words: BF16, F16, F32, …"""
    counts: Counter[str] = Counter()
    for dtype, shape in stored_shapes(checkpoint).values():
        counts[dtype] += math.prod(shape)
    return counts.most_common(1)[0][0] if counts else "F32"


def fingerprint(checkpoint: Checkpoint) -> str:
    """32 hex digits that change whenever the config, the tokenizer or any weight changes.

    A local weight file above 1 GiB counts by its size, its time of change and samples of its content.
    """
    with _readable(checkpoint.folder):
        config = json.dumps(checkpoint.config, sort_keys=True)
        return _fingerprint(checkpoint.folder, config, _state_of(checkpoint.folder))


@lru_cache(maxsize=64)
def _fingerprint(folder: Path, config: str, state: _State) -> str:
    """state: as of `_opened`."""
    digest = hashlib.sha256(config.encode())
    texts = [folder / name for name in _TEXT_FILES]
    for path in [*_weight_files(folder), *(text for text in texts if text.is_file())]:
        real, stat = path.resolve(), path.stat()
        digest.update(path.name.encode() + _file_digest(real, stat.st_size, stat.st_mtime_ns).encode())
    return digest.hexdigest()[:32]


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    # The hub's cache names a blob by the SHA-256 of its content: no need to read 16 GB again.
    if re.fullmatch(r"[0-9a-f]{64}", path.name):
        return path.name
    with path.open("rb") as file:
        if size <= _SAMPLED_ABOVE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(f"{size} {mtime_ns}".encode())
        for part in range(64):
            file.seek(part * (size - 2**20) // 63)
            digest.update(file.read(2**20))
        return digest.hexdigest()


def _check_files(checkpoint: Checkpoint) -> None:
    folder = checkpoint.folder
    if not checkpoint.weight_files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "only pickled weights, which SinkScope does not read" if pickled else "no safetensors weights"
        raise UserError(f"The folder '{folder}' holds {why}. Convert or copy the .safetensors files there.")
    missing = sorted(path.name for path in checkpoint.weight_files if not path.is_file())
    if missing:
        raise UserError(f"The folder '{folder}' lacks {', '.join(missing)}, named in its index. Download the rest.")
    stored = stored_shapes(checkpoint)
    # Masks and positions, which some files hold as integers, have other names.
    integers = [name for name, (dtype, _) in stored.items() if not is_float(dtype) and "weight" in name.split(".")[-1]]
    if integers:
        raise UserError(
            f"'{shorten(integers[0])}' in '{folder}' is stored as {stored[integers[0]][0]}: quantized weights, which "
            "mean nothing without their scales. Take the checkpoint they were made from, in floats."
        )
    # Before anything is built: a config may ask for a million blocks that no file holds.
    blocks, layers = count_blocks(stored), checkpoint.geometry.layers
    if blocks < layers:
        raise UserError(
            f"The config in '{folder}' says {layers:,} layers and its weight files hold {blocks:,}. Correct "
            f"'{checkpoint.architecture.field('layers')}', or download the rest."
        )


def _weight_files(folder: Path) -> list[Path]:
    indexed = sorted(folder / name for name in _indexed_files(folder))
    whole = folder / _WHOLE
    return indexed or ([whole] if whole.is_file() else [])


def _indexed_files(folder: Path) -> Iterator[str]:
    index = folder / _INDEX
    if index.is_file():
        try:
            names = set(read_json(index)["weight_map"].values())
            if any(Path(name).name != name for name in names):
                raise ValueError("a weight file outside the folder")
            yield from names
        except UserError:
            raise
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"'{index}' is not a readable weight index. Download it again.") from error


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        if (path.parent / "adapter_config.json").is_file():
            raise UserError(
                f"The folder '{path.parent}' holds a LoRA adapter, not a model. Merge it into its base model "
                "(`merge_and_unload`, then `save_pretrained`) and give that folder."
            )
        raise UserError(f"The folder '{path.parent}' has no config.json, so it is not a checkpoint of transformers.")
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"'{path}' holds no JSON object, so it is not a config of transformers.")
    return config


def read_json(path: Path) -> Any:
    """Return the content of a checkpoint's JSON file. Raises UserError if it is damaged, too deep or too large."""
    try:
        size = path.stat().st_size
        if size > _JSON_LIMIT:
            raise UserError(
                f"'{path}' takes {size / 1e6:,.0f} MB, and at most {_JSON_LIMIT / 1e6:.0f} MB are read. It is not what "
                "its name says."
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}. Check its permissions.") from error
    except RecursionError as error:
        raise UserError(f"'{path}' is not readable JSON: it is nested too deep.") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        where = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "not UTF-8"
        raise UserError(f"'{path}' is not readable JSON ({where}). Download or correct it.") from error


def _remote_config(target: str) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    return _read_config(Path(hf_hub_download(target, CONFIG_FILE)))


def _cached_snapshot(target: str) -> Path | None:
    """The folder of a completely downloaded hub checkpoint."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(target, CONFIG_FILE)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    indexed = list(_indexed_files(folder))
    whole = all((folder / name).is_file() for name in indexed) if indexed else (folder / _WHOLE).is_file()
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
