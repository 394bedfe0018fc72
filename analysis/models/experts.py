"""Which experts each token of a forward was sent to, observed where the native code hands tokens to its experts."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Routing:
    """experts (B, M, S, K) int64: the experts of each token, the one of largest weight first; weights (B, M, S, K)
    float32, what their outputs are multiplied with. M layers with experts, K chosen of each. On the CPU.
    """

    experts: torch.Tensor
    weights: torch.Tensor


def packed_experts(block: nn.Module) -> nn.Module | None:
    """The module of a block that holds all its experts in 3-D tensors; None for a block without experts."""
    for module in block.modules():
        packed = getattr(module, "gate_up_proj", None)
        if isinstance(packed, nn.Parameter) and packed.dim() == 3:
            return module
    return None


def expert_layers(blocks: nn.ModuleList) -> tuple[int, ...]:
    """The layers that have experts, in order."""
    return tuple(layer for layer, block in enumerate(blocks) if packed_experts(block) is not None)


class RoutingObserver:
    """Watches the blocks while it is entered. Other forwards in between do no harm: only the last one is kept."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        self._blocks = blocks
        self._handles: list[Any] = []
        self._chosen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> "RoutingObserver":
        for layer, block in enumerate(self._blocks):
            module = packed_experts(block)
            if module is not None:
                self._handles.append(module.register_forward_pre_hook(self._watch(layer)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _watch(self, layer: int) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            _, chosen, weights = arguments[:3]
            self._chosen[layer] = (chosen.detach(), weights.detach())

        return keep

    def take(self, rows: int, batch: int) -> Routing | None:
        """The first `rows` of the `batch` sequences of the last forward; None for a model without experts."""
        if not self._handles:
            return None
        experts, weights = [], []
        for layer in sorted(self._chosen):
            chosen, weight = self._chosen[layer]
            weight, order = weight.float().sort(dim=-1, descending=True, stable=True)
            chosen = chosen.gather(-1, order)
            experts.append(chosen.view(batch, -1, chosen.shape[-1])[:rows].cpu())
            weights.append(weight.view(batch, -1, weight.shape[-1])[:rows].cpu())
        self._chosen = {}
        return Routing(torch.stack(experts, dim=1), torch.stack(weights, dim=1))
