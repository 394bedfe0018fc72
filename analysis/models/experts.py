"""Experts of a layer: their single matrices, the tokens routed to each, and its input from them.

The native code keeps all experts of a layer in two 3-D tensors. Shapes: B sequences, S positions, K experts per token,
E experts, H features of a token, I inside an expert.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from analysis.attention import stack_layers


@dataclass(eq=False)
class ExpertMatrix:
    """One weight matrix (out, in) of one expert: a view of rows of a packed tensor, so writing into it changes that."""

    _packed: nn.Parameter
    _expert: int
    _rows: slice

    @property
    def weight(self) -> torch.Tensor:
        """(out, in), a view."""
        return self._packed.data[self._expert, self._rows]

    @property
    def in_features(self) -> int:
        return self._packed.shape[-1]


@dataclass(frozen=True)
class Routed:
    """Input of a layer's experts: states (B, S, H) of all tokens, and the experts of each, (B, S, K) int64.

    weights (B, S, K): factors of their outputs; None if not kept.
    """

    states: torch.Tensor
    experts: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class ExpertInput:
    """Input of one expert from B sequences, each sending at most M tokens: states (B, M, H), the input of its down
    projection, (B, M, I), and positions in the text, (B, M) int64. Sequences that sent fewer are padded with zeros, at
    positions of other tokens.
    """

    expert: int
    states: torch.Tensor
    inner: torch.Tensor
    positions: torch.Tensor


@dataclass(frozen=True)
class Routing:
    """experts (B, M, S, K) int64: the experts of each token, by decreasing weight; weights (B, M, S, K) float32, the
    factors of their outputs. M layers with experts, K chosen of each. On the CPU.
    """

    experts: torch.Tensor
    weights: torch.Tensor


def packed_name(block: nn.Module) -> str | None:
    """The name in a block of the module that holds all its experts; None for a block without experts."""
    for name, module in block.named_modules():
        packed = getattr(module, "gate_up_proj", None)
        if isinstance(packed, nn.Parameter) and packed.dim() == 3:
            return name
    return None


def expert_matrices(block: nn.Module) -> dict[str, ExpertMatrix]:
    """Every matrix of every expert of a block, under the names that published files give them."""
    name, matrices = packed_name(block), {}
    if name is not None:
        module: Any = block.get_submodule(name)
        experts, width = len(module.gate_up_proj), module.down_proj.shape[-1]
        parts = (
            ("gate_proj", module.gate_up_proj, slice(0, width)),  # gate rows come first
            ("up_proj", module.gate_up_proj, slice(width, 2 * width)),
            ("down_proj", module.down_proj, slice(None)),
        )
        for expert in range(experts):
            for part, packed, rows in parts:
                matrices[f"{name}.{expert}.{part}"] = ExpertMatrix(packed, expert, rows)
    return matrices


def routed(arguments: tuple[Any, ...], rows: int) -> Routed:
    """Return the input of a packed module, in which `rows` sequences are concatenated."""
    states, chosen, weights = arguments[:3]
    return Routed(*(given.view(rows, -1, given.shape[-1]) for given in (states, chosen, weights)))


@torch.no_grad()
def expert_inputs(module: Any, given: Routed) -> Iterator[ExpertInput]:
    """Yield the input of each expert in turn; M is 0 for one that no token reached."""
    for expert in range(len(module.gate_up_proj)):
        reached = (given.experts == expert).any(dim=-1)
        most = int(reached.sum(dim=1).max())
        positions = (~reached).long().argsort(dim=1, stable=True)[:, :most]
        there = reached.gather(1, positions)[..., None]
        states = given.states.gather(1, positions[..., None].expand(-1, -1, given.states.shape[-1]))
        states = states.masked_fill(~there, 0)
        gate, up = nn.functional.linear(states, module.gate_up_proj[expert]).chunk(2, dim=-1)
        yield ExpertInput(expert, states, module.act_fn(gate) * up, positions)


def packed_experts(block: nn.Module) -> nn.Module | None:
    """The module of a block that holds all its experts in 3-D tensors; None for a block without experts."""
    name = packed_name(block)
    return None if name is None else block.get_submodule(name)


def expert_layers(blocks: nn.ModuleList) -> tuple[int, ...]:
    """The layers that have experts, in order."""
    return tuple(layer for layer, block in enumerate(blocks) if packed_experts(block) is not None)


class RoutingObserver(ExitStack):
    """Watches the blocks while it is entered. Other forwards in between do no harm: only the last one is kept."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self._blocks = blocks
        self._chosen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> Self:
        for layer, block in enumerate(self._blocks):
            module = packed_experts(block)
            if module is not None:
                self.callback(module.register_forward_pre_hook(partial(self._keep, layer)).remove)
        return self

    def _keep(self, layer: int, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        _, chosen, weights = arguments[:3]
        self._chosen[layer] = (chosen.detach(), weights.detach())

    def take(self, rows: int, batch: int) -> Routing | None:
        """The first `rows` of the `batch` sequences of the last forward; None for a model without experts."""
        if not self._chosen:
            return None
        experts, weights = {}, {}
        for layer, (chosen, weight) in self._chosen.items():
            weight, order = weight.float().sort(dim=-1, descending=True, stable=True)
            experts[layer], weights[layer] = (
                part.view(batch, -1, part.shape[-1])[:rows] for part in (chosen.gather(-1, order), weight)
            )
        self._chosen = {}
        return Routing(stack_layers(experts), stack_layers(weights))
