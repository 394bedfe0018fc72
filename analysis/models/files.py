"""Tensors of a checkpoint's files under the names that the running model gives them: where each is stored, and how it
is converted.

MDLM's conditioning (arXiv 2406.07524) is folded into its weights.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch.nn.functional import linear, silu
from transformers import PreTrainedModel

from analysis.errors import UserError
from analysis.models.checkpoint import Checkpoint
from analysis.models.checks import names_of_parameters, native_name
from analysis.models.loaded import LoadedModel
from analysis.models.weight_files import PACKED, fused_of, part_of_fused, parts_of_packed


@dataclass(frozen=True)
class StoredTensor:
    """Location of a tensor. rows: its rows in a tensor that a file holds together with others; own_name: its name there
    by itself. expert: whose matrix it is, in a tensor that holds all experts. gain: factors of its rows in the running
    model, (out,) float32. made: the running model's tensor itself, if no file holds it.
    """

    file: Path
    name: str
    rows: tuple[int, int] | None = None
    own_name: str = ""
    expert: int | None = None
    gain: torch.Tensor | None = None
    made: torch.Tensor | None = None

    def read(self) -> torch.Tensor:
        """The tensor as stored, on the CPU."""
        with safe_open(self.file, "pt") as handle:
            if self.rows is None:
                return handle.get_tensor(self.name)
            held, rows = handle.get_slice(self.name), slice(*self.rows)
            return held[rows] if self.expert is None else held[self.expert : self.expert + 1, rows][0]

    def native(self) -> torch.Tensor:
        """The tensor as it runs, on the CPU."""
        if self.made is not None:
            return self.made
        read = self.read()
        return read if self.gain is None else read.float() * self._by_row(read)

    def as_stored(self, native: torch.Tensor) -> torch.Tensor:
        """Convert a tensor of the running model to that of its file; rows whose gain is 0 are unknown and become 0."""
        if self.gain is None:
            return native
        gain = self._by_row(native)
        return torch.where(gain == 0, 0.0, native.float() / gain).to(native.dtype)

    def _by_row(self, tensor: torch.Tensor) -> torch.Tensor:
        assert self.gain is not None
        return self.gain.view(-1, *[1] * (tensor.dim() - 1))


Read = Callable[[str], torch.Tensor]
"""Reads a tensor of the files by its name there, as float32."""

_SIGMA, _MODULATION = "backbone.sigma_map.mlp", "adaLN_modulation"


def folded(stored: dict[str, StoredTensor], layers: int) -> dict[str, StoredTensor]:
    """Return the tensors of the files by native names, with their gains in the running model, and those that only the
    fold makes. stored: as in the files.
    """
    by_name = {tensor.name: tensor for tensor in stored.values()}

    def read(name: str) -> torch.Tensor:
        return by_name[name].read().float()

    told, result = _condition(read), dict(stored)
    for layer in range(layers):
        here, parts = f"model.layers.{layer}", _modulation(read, f"backbone.blocks.{layer}", told)
        for norm, (shift, scale, gate), gated in zip(
            ("input_layernorm", "post_attention_layernorm"),
            (parts[:3], parts[3:]),
            (("self_attn.o_proj.weight",), ("mlp.down_proj.weight", "mlp.down_proj.bias")),
            strict=True,
        ):
            _put_norm(result, f"{here}.{norm}", shift, scale)
            for name in gated:
                result[f"{here}.{name}"] = replace(result[f"{here}.{name}"], gain=gate)
    shift, scale = _modulation(read, "backbone.output_layer", told)
    _put_norm(result, "model.norm", shift, scale)
    return result


def _put_norm(result: dict[str, StoredTensor], norm: str, shift: torch.Tensor, scale: torch.Tensor) -> None:
    weight = result[f"{norm}.weight"]
    result[f"{norm}.weight"] = replace(weight, gain=1 + scale)
    result[f"{norm}.bias"] = StoredTensor(weight.file, "", made=shift)


def _condition(read: Read) -> torch.Tensor:
    """Return the blocks' embedding of noise level 0, (C,): cosines of 0 and then sines, through two layers."""
    half = read(f"{_SIGMA}.0.weight").shape[1] // 2
    wave = torch.cat([torch.ones(half), torch.zeros(half)])
    inner = silu(linear(wave, read(f"{_SIGMA}.0.weight"), read(f"{_SIGMA}.0.bias")))
    return silu(linear(inner, read(f"{_SIGMA}.2.weight"), read(f"{_SIGMA}.2.bias")))


def _modulation(read: Read, where: str, told: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Shift, scale and gate of attention and of the MLP, (D,) each; of the output layer shift and scale."""
    weight, bias = read(f"{where}.{_MODULATION}.weight"), read(f"{where}.{_MODULATION}.bias")
    count = 2 if where.endswith("output_layer") else 6
    return linear(told, weight, bias).chunk(count)


def stored_tensors(model: LoadedModel) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint's files by its native name, in the order of the files."""
    return tensors_of(model.checkpoint, model.network)


def tensors_of(checkpoint: Checkpoint, network: PreTrainedModel) -> dict[str, StoredTensor]:
    """The same of a network that need hold no weights yet."""
    family, every = checkpoint.architecture, dict(network.named_parameters(remove_duplicate=False))
    known = {name: len(weight) if weight.dim() else 1 for name, weight in every.items()}
    prefix = f"{network.base_model_prefix}."
    tensors: dict[str, StoredTensor] = {}
    for file in checkpoint.weight_files:
        with safe_open(file, "pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                native = native_name(family, name)
                # Some checkpoints were saved from the body alone, without the head's prefix.
                native = prefix + native if native not in known and prefix + native in known else native
                if family.fused and fused_of(native):
                    tensors |= _split(file, name, native, known)
                elif PACKED.search(native) and native in every:
                    tensors |= _by_expert(file, name, native, every[native])
                else:
                    tensors[native] = StoredTensor(file, name, own_name=name)
    return folded(tensors, checkpoint.geometry.layers) if family.conditioned else tensors


def names_in_files(checkpoint: Checkpoint, network: PreTrainedModel) -> list[str]:
    """The native names under which the files hold the parameters of a network: of those that modules share, one."""
    stored = tensors_of(checkpoint, network)
    return [next((name for name in names if name in stored), names[0]) for names in names_of_parameters(network)]


def _split(file: Path, name: str, native: str, rows: dict[str, int]) -> dict[str, StoredTensor]:
    """The parts of a tensor that a file holds as one, by their native names. rows: of every native tensor."""
    parts, start = {}, 0
    found = fused_of(native)
    assert found is not None
    for part in found[1]:
        whole = part_of_fused(native, part)
        end = start + rows[whole]
        parts[whole] = StoredTensor(file, name, (start, end), part_of_fused(name, part))
        start = end
    return parts


def _by_expert(file: Path, name: str, native: str, packed: torch.Tensor) -> dict[str, StoredTensor]:
    """The matrices of every expert in a tensor that holds them all, (E, out, in), by the names they have elsewhere."""
    experts, rows = packed.shape[:2]
    matrices = {}
    for expert in range(experts):
        for part, first, last in parts_of_packed(native, rows):
            matrix = f"{expert}.{part}.weight"
            full, own = (whole.rpartition(".")[0] + f".{matrix}" for whole in (native, name))
            matrices[full] = StoredTensor(file, name, (first, last), own, expert)
    return matrices


def joined(parts: dict[tuple[int | None, int], torch.Tensor]) -> torch.Tensor:
    """The tensor that a file holds as one, from its parts by expert and first row; see `StoredTensor`."""
    by_expert: dict[int | None, list[torch.Tensor]] = {}
    for expert, row in sorted(parts, key=lambda place: (place[0] or 0, place[1])):
        by_expert.setdefault(expert, []).append(parts[expert, row])
    matrices = [torch.cat(rows) for rows in by_expert.values()]
    return matrices[0] if None in by_expert else torch.stack(matrices)


def reader_prefix(model: LoadedModel) -> str:
    """The native name of the encoder's layers, of a model whose decoder shares their weights."""
    return f"{block_prefix(model).removesuffix('decoder.layers')}encoder.language_model.layers"


def block_prefix(model: LoadedModel) -> str:
    """The native name of the list of blocks: block i's parameters begin with `{prefix}.{i}.`."""
    return next(name for name, module in model.network.named_modules() if module is model.blocks)


def require(stored: dict[str, StoredTensor], names: Iterable[str]) -> None:
    """Raise UserError if one of the native names has no tensor in the files."""
    missing = next((name for name in names if name not in stored), None)
    if missing:
        raise UserError(
            f"The checkpoint's files hold no tensor for '{missing}': they name their weights in a way that is not "
            "known here. Save the model once with transformers' save_pretrained and prune that folder."
        )
