"""How a model is run over batches of token rows, showing every distinct block input: in memory, or block by block.

Shapes: B rows of a forward, L layers, S positions, F features.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from analysis.attention import LayerMassObserver
from analysis.models.blocks import BlockInput, first_input, private_block, run_block
from analysis.models.files import stored_tensors
from analysis.models.layout import Layout, layout_of, seeing_queries
from analysis.models.load import LoadedModel

Groups = list[dict[str, tuple[str, ...]]]
"""By layer: the projections that read the same input, named by the first of them."""

Take = Callable[[int, int, str, torch.Tensor], None]
"""Called with batch, layer, projection and input (B, S, F) for every distinct block input."""


class Runner(Protocol):
    """How a model is run over batches of token rows (B, S). groups: see `shared_inputs`."""

    model: LoadedModel
    groups: Groups

    def masses(self, batches: Sequence[torch.Tensor], on_forward: Callable[[], None]) -> list[np.ndarray]:
        """Attention mass (B, L, S) of each batch of noised text, as `per_query` has it."""

    def inputs(
        self, batches: Sequence[torch.Tensor], take: Take, on_forward: Callable[[], None], noised: bool = True
    ) -> None:
        """Shows `take` every distinct block input. noised: whether the text is, with its clean copy where the model
        was trained block by block.
        """


class Resident:
    """Runs the model held in memory, batch by batch."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.groups = shared_inputs(model)

    def masses(self, batches: Sequence[torch.Tensor], on_forward: Callable[[], None]) -> list[np.ndarray]:
        masses_by_batch = []
        for tokens in batches:
            observer = LayerMassObserver()
            self.model.hidden(tokens, observer, noised_layout(self.model))
            masses_by_batch.append(per_query(self.model, observer.take().numpy()))
            on_forward()
        return masses_by_batch

    def inputs(
        self, batches: Sequence[torch.Tensor], take: Take, on_forward: Callable[[], None], noised: bool = True
    ) -> None:
        layout = noised_layout(self.model) if noised else None
        for batch, tokens in enumerate(batches):
            with hooked(self.model.projections, enumerate(self.model.blocks), self.groups, partial(take, batch)):
                self.model.hidden(tokens, layout=layout)
            on_forward()

    def mass_and_inputs(self, tokens: torch.Tensor, take: Callable[[int, str, torch.Tensor], None]) -> np.ndarray:
        """Attention mass (B, L, S) of noised text, in the one forward that also shows `take` every block input."""
        observer = LayerMassObserver()
        with hooked(self.model.projections, enumerate(self.model.blocks), self.groups, take):
            self.model.hidden(tokens, observer, noised_layout(self.model))
        return per_query(self.model, observer.take().numpy())


class Streamed:
    """Reads one block at a time and runs every batch through it. budget: bytes that states between blocks may take."""

    def __init__(self, model: LoadedModel, budget: int) -> None:
        self.model, self.budget = model, budget
        self.stored = stored_tensors(model)
        self.groups = [self._groups()] * model.geometry.layers

    def masses(self, batches: Sequence[torch.Tensor], on_forward: Callable[[], None]) -> list[np.ndarray]:
        masses_by_batch: list[list[np.ndarray]] = [[] for _ in batches]

        def run(batch: int, layer: int, block: nn.Module, given: BlockInput) -> torch.Tensor:
            observer = LayerMassObserver()
            states = run_block(block, given, observer)
            masses_by_batch[batch].append(observer.take().numpy()[:, 0])
            return states

        self._walk(batches, run, on_forward, noised_layout(self.model))
        return [per_query(self.model, np.stack(layers, axis=1)) for layers in masses_by_batch]

    def inputs(
        self, batches: Sequence[torch.Tensor], take: Take, on_forward: Callable[[], None], noised: bool = True
    ) -> None:
        def run(batch: int, layer: int, block: nn.Module, given: BlockInput) -> torch.Tensor:
            with hooked(self.model.projections, [(layer, block)], self.groups, partial(take, batch)):
                return run_block(block, given)

        self._walk(batches, run, on_forward, noised_layout(self.model) if noised else None)

    def _walk(
        self,
        batches: Sequence[torch.Tensor],
        run: Callable[[int, int, nn.Module, BlockInput], torch.Tensor],
        on_forward: Callable[[], None],
        layout: Layout | None,
    ) -> None:
        states_bytes = (
            max(map(torch.Tensor.numel, batches)) * self.model.geometry.hidden * self.model.network.dtype.itemsize
        )
        together = max(1, self.budget // states_bytes)
        for start in range(0, len(batches), together):
            given = {
                batch: first_input(self.model, batches[batch], layout)
                for batch in range(start, len(batches))[:together]
            }
            for layer in range(self.model.geometry.layers):
                block = private_block(self.model, layer, self.stored)
                for batch, inputs in given.items():
                    inputs.states = run(batch, layer, block, inputs)
            for _ in given:
                on_forward()

    def _groups(self) -> dict[str, tuple[str, ...]]:
        block = private_block(self.model, 0, self.stored)
        given = first_input(self.model, torch.zeros(1, 2, dtype=torch.long))
        return together_by_input(self.model.projections, block, lambda: run_block(block, given))


def noised_layout(model: LoadedModel) -> Layout | None:
    """How noised text lies before a model: beside its clean copy where it was trained block by block."""
    if not model.architecture.by_blocks:
        return None
    return replace(layout_of(model.architecture, 0), beside_clean=True)


def per_query(model: LoadedModel, mass: np.ndarray) -> np.ndarray:
    """Mass (B, L, S) of noised text as if every query had seen every key: the mean over those that did, times S.

    Where all do it is the mass itself; under blocks a token that few queries see would never look like a sink.
    """
    layout = noised_layout(model)
    if layout is None:
        return mass
    length = mass.shape[-1]
    seeing = seeing_queries(model.architecture, length, layout).numpy()
    # The clean copy of the last block is seen by itself alone, and where attention is causal its last token by one.
    return mass * (length / seeing)


def shared_inputs(model: LoadedModel) -> Groups:
    """By layer: the projections that read the same input, named by the first of them. One forward of two tokens."""
    tokens = torch.zeros(1, 2, dtype=torch.long)
    return [
        together_by_input(model.projections, block, lambda: model.hidden(tokens)) for block in model.blocks[:1]
    ] * len(model.blocks)


def together_by_input(
    projections: Callable[[nn.Module], Mapping[str, nn.Module]], block: nn.Module, forward: Callable[[], Any]
) -> dict[str, tuple[str, ...]]:
    """The projections of a block that read the same tensor during `forward`, named by the first of them."""
    seen: dict[str, torch.Tensor] = {}
    alone: dict[str, tuple[str, ...]] = {name: (name,) for name in projections(block)}
    with hooked(projections, [(0, block)], [alone], lambda layer, name, inputs: seen.__setitem__(name, inputs)):
        forward()
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in seen.items():
        by_tensor.setdefault(id(tensor), []).append(name)
    return {names[0]: tuple(names) for names in by_tensor.values()}


@contextmanager
def hooked(
    projections: Callable[[nn.Module], Mapping[str, nn.Module]],
    blocks: Iterable[tuple[int, nn.Module]],
    groups: Groups,
    take: Callable[[int, str, torch.Tensor], None],
) -> Iterator[None]:
    """While open, `take(layer, projection, input)` is called as each group's input reaches its first projection."""
    handles = []

    def watch(layer: int, name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            take(layer, name, inputs[0])

        handles.append(module.register_forward_pre_hook(hook))

    try:
        for layer, block in blocks:
            modules = projections(block)
            for name in groups[layer]:
                watch(layer, name, modules[name])
        yield
    finally:
        for handle in handles:
            handle.remove()
