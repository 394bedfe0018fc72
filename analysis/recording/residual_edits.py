"""Clamping channels of the residual stream while a model runs, to see what its sinks need them for."""

from functools import partial
from types import TracebackType
from typing import Any, Self

import torch

from analysis.models.loaded import LoadedModel
from analysis.recording.activations import BlockStates


class LargestStates(BlockStates):
    """Notes the largest magnitude of each channel behind each layer over forwards, in units of the layer's median."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model, self._note)
        self.largest: dict[int, torch.Tensor] = {}

    def _note(self, layer: int, states: torch.Tensor) -> None:
        size = states.abs()
        relative = size.amax(dim=0) / size.median().clamp_min(torch.finfo(torch.float32).tiny)
        before = self.largest.get(layer)
        self.largest[layer] = relative if before is None else torch.maximum(before, relative)

    def channels(self, count: int) -> torch.Tensor:
        """Return the channels that are largest in units of the median, mean over the layers, (count,) int64."""
        mean = torch.stack([self.largest[layer] for layer in sorted(self.largest)]).mean(dim=0)
        return mean.topk(min(count, len(mean))).indices.cpu()


def other_channels(channels: torch.Tensor, hidden: int, seed: int) -> torch.Tensor:
    """Return as many random channels of `hidden` that are none of these, (K,) int64. Raises ValueError for too few."""
    free = torch.ones(hidden, dtype=torch.bool)
    free[channels] = False
    pool = free.nonzero()[:, 0]
    if len(pool) < len(channels):
        raise ValueError(f"{hidden} channels hold no {len(channels)} beside {len(channels)} others.")
    return pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[: len(channels)]]


class ClampedChannels:
    """While it is open, no block leaves more in these channels than its median magnitude over tokens and channels.

    channels (K,) int64. The sign stays. Nothing is changed for good.
    """

    def __init__(self, model: LoadedModel, channels: torch.Tensor) -> None:
        self.model, self.channels = model, channels
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        for layer, block in enumerate(self.model.blocks):
            self._hooks.append(block.register_forward_hook(partial(_clamped, self.channels, layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def _clamped(channels: torch.Tensor, layer: int, block: torch.nn.Module, given: Any, output: Any) -> Any:
    states = output[0] if isinstance(output, tuple) else output
    at = channels.to(states.device)
    bound = states.abs().flatten(1).float().median(dim=1).values.to(states.dtype)[:, None, None]
    states = states.clone()
    states[..., at] = states[..., at].clamp(-bound, bound)
    return (states, *output[1:]) if isinstance(output, tuple) else states
