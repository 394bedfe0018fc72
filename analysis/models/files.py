"""The tensors of a checkpoint's files, found by the names that the running model gives them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from analysis.errors import UserError
from analysis.models.load import LoadedModel
from analysis.models.names import native_name


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies."""

    file: Path
    name: str

    def read(self) -> torch.Tensor:
        """The tensor as stored, on the CPU."""
        with safe_open(self.file, "pt") as handle:
            return handle.get_tensor(self.name)


def stored_tensors(model: LoadedModel) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint's files by its native name, in the order of the files."""
    known = {name for name, _ in model.network.named_parameters()}
    prefix = f"{model.network.base_model_prefix}."
    tensors = {}
    for file in model.checkpoint.weight_files:
        with safe_open(file, "pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                native = native_name(model.architecture, name)
                # Some checkpoints were saved from the body alone, without the head's prefix.
                native = prefix + native if native not in known and prefix + native in known else native
                tensors[native] = StoredTensor(file, name)
    return tensors


def block_prefix(model: LoadedModel) -> str:
    """The native name of the list of blocks: block i's parameters begin with `{prefix}.{i}.`."""
    return next(name for name, module in model.network.named_modules() if module is model.blocks)


def require(stored: dict[str, StoredTensor], names: Iterable[str]) -> None:
    """Raises UserError if one of the native names has no tensor in the files."""
    missing = next((name for name in names if name not in stored), None)
    if missing:
        raise UserError(
            f"The checkpoint's files hold no tensor for '{missing}': they name their weights in a way that is not "
            "known here. Save the model once with transformers' save_pretrained and prune that folder."
        )
