"""Folding the conditioning of a diffusion transformer (MDLM, arXiv 2406.07524) into its weights.

Its blocks scale, shift and gate by what they are told of the noise level. The published models are trained without
(`time_conditioning` false): the level is 0 for every text, so what they are told is one constant vector. Scales and
shifts go into the norms, gates into the rows of the output projections; what is left is a plain pre-norm transformer:

    norm weight · (1 + scale), norm bias = shift, gate ⊙ rows of attn_out and of the MLP's second layer (and its bias)

A gate scales whole rows, so what a method chooses within a row does not depend on it. Shapes: D features, C condition.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import linear, silu

from analysis.models.stored_tensor import StoredTensor

Read = Callable[[str], torch.Tensor]
"""Reads a tensor of the files by its name there, as float32."""

_SIGMA, _MODULATION = "backbone.sigma_map.mlp", "adaLN_modulation"


def folded(stored: dict[str, StoredTensor], layers: int) -> dict[str, StoredTensor]:
    """The tensors of the files by native names, with what each is multiplied with to run, and those that only the fold
    makes. stored: as the files have them.
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
    """What the blocks are told of noise level 0, (C,): cosines of 0 and then sines, through two layers."""
    half = read(f"{_SIGMA}.0.weight").shape[1] // 2
    wave = torch.cat([torch.ones(half), torch.zeros(half)])
    inner = silu(linear(wave, read(f"{_SIGMA}.0.weight"), read(f"{_SIGMA}.0.bias")))
    return silu(linear(inner, read(f"{_SIGMA}.2.weight"), read(f"{_SIGMA}.2.bias")))


def _modulation(read: Read, where: str, told: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Shift, scale and gate of attention and of the MLP, (D,) each; of the output layer shift and scale."""
    weight, bias = read(f"{where}.{_MODULATION}.weight"), read(f"{where}.{_MODULATION}.bias")
    count = 2 if where.endswith("output_layer") else 6
    return linear(told, weight, bias).chunk(count)
