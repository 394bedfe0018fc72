"""Ablations of attention at chosen positions: one `Edit` of a layer's keys and values for each row of
`INTERVENTIONS` (analysis/specs/ablation.py).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch

from analysis.attention import AttentionInputs, Edit
from analysis.attention import BlockedKeys as BlockedKeys
from analysis.registry import Implementations
from analysis.specs import INTERVENTIONS


@dataclass(frozen=True)
class MeanKeys:
    """The keys at these positions, (B, S) bool, become the mean key of all others of their head; values stay."""

    positions: torch.Tensor

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        chosen = self.positions.to(inputs.key.device)[:, None, :, None]
        others = (~chosen).to(inputs.key.dtype)
        mean = (inputs.key * others).sum(dim=2, keepdim=True) / others.sum(dim=2, keepdim=True).clamp(min=1)
        return replace(inputs, key=torch.where(chosen, mean, inputs.key))


@dataclass(frozen=True)
class ZeroValues:
    """The values at these positions, (B, S) bool, become zero; keys stay."""

    positions: torch.Tensor

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        chosen = self.positions.to(inputs.value.device)[:, None, :, None]
        return replace(inputs, value=inputs.value.masked_fill(chosen, 0))


class HeldKeys:
    """Keys and values at these positions, (B, S) bool, stay what each layer had there when it was first called."""

    def __init__(self, positions: torch.Tensor) -> None:
        self.positions = positions
        self._held: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        if layer not in self._held:
            self._held[layer] = (inputs.key, inputs.value)
            return inputs
        length = min(self.positions.shape[1], inputs.key.shape[2])
        chosen = self.positions[:, :length].to(inputs.key.device)[:, None, :, None]
        key, value = inputs.key.clone(), inputs.value.clone()
        for now, first in zip((key, value), self._held[layer], strict=True):
            now[:, :, :length] = torch.where(chosen, first[:, :, :length], now[:, :, :length])
        return replace(inputs, key=key, value=value)


@dataclass(frozen=True)
class AddedKey:
    """One more key in every layer, last, seen by all queries that see some key: the key at `source` of each sequence,
    (B,) int64. It asks nothing itself. silent: its value is zero, else the value at `source`.
    """

    source: torch.Tensor
    silent: bool

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        batch, queries, length = inputs.query.shape[0], inputs.query.shape[2], inputs.key.shape[2]
        rows, source = torch.arange(batch, device=inputs.key.device), self.source.to(inputs.key.device)
        key, value = (states[rows, :, source][:, :, None] for states in (inputs.key, inputs.value))
        value = torch.zeros_like(value) if self.silent else value
        mask = inputs.mask
        if mask is None and inputs.causal:
            mask = torch.ones(1, 1, queries, length, dtype=torch.bool, device=inputs.key.device).tril()
        if mask is not None:
            mask = mask if mask.dtype == torch.bool else mask == 0
            mask = torch.cat([mask, mask.any(dim=-1, keepdim=True)], dim=-1)
        return replace(
            inputs,
            key=torch.cat([inputs.key, key], dim=2),
            value=torch.cat([inputs.value, value], dim=2),
            mask=mask,
            causal=False,
        )


@dataclass(frozen=True)
class InLayers:
    """An edit in some layers alone."""

    edit: Edit
    layers: Collection[int]

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        return self.edit(layer, inputs) if layer in self.layers else inputs


EDITS: Implementations[Callable[[torch.Tensor], Edit]] = Implementations(INTERVENTIONS)
