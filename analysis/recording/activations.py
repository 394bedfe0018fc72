"""Watching the residual stream while a model runs: the largest channels behind each layer, and their tokens."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch

from analysis.models.loaded import LoadedModel
from analysis.recording.steps import Activations, Step


class BlockStates:
    """While it is open, shows what each block leaves in the residual stream for the first sequence of a batch.

    note: called with the layer and the states (S, hidden) float32; with those of every sequence, (B, S, hidden), where
    `whole_batch`.
    """

    def __init__(
        self, model: LoadedModel, note: Callable[[int, torch.Tensor], None], whole_batch: bool = False
    ) -> None:
        self.model, self.note, self.whole_batch = model, note, whole_batch
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        for layer, block in enumerate(self.model.blocks):
            self._hooks.append(block.register_forward_hook(partial(self._behind, layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def _behind(self, layer: int, block: torch.nn.Module, given: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self.note(layer, (states if self.whole_batch else states[0]).float())


class LargestChannels(BlockStates):
    """Notes the `count` channels of largest magnitude behind each layer, by their largest over the positions."""

    def __init__(self, model: LoadedModel, count: int) -> None:
        super().__init__(model, self._largest)
        self.count = count
        self._noted: dict[int, tuple[torch.Tensor, ...]] = {}

    def _largest(self, layer: int, states: torch.Tensor) -> None:
        size = states.abs()
        largest, position = size.max(dim=0)
        channel = largest.topk(min(self.count, len(largest))).indices
        position = position[channel]
        self._noted[layer] = (channel.cpu(), position.cpu(), states[position, channel].cpu(), size.median().cpu())

    def take(self) -> Activations:
        """What the forward just run left; nothing is noted afterwards."""
        columns = zip(*(self._noted[layer] for layer in sorted(self._noted)), strict=True)
        channel, position, value, median = (torch.stack(column).numpy() for column in columns)
        self._noted = {}
        return Activations(channel.astype("int32"), position.astype("int32"), value, median)

    def beside(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, each with what its forward left."""
        for step in steps:
            yield replace(step, activations=self.take())
