"""Runs of a model over batches of token rows, showing every distinct block input: in memory, or block by block.

Shapes: B rows of a forward, L layers, S positions, F features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.attention import Enough, LayerMassObserver
from analysis.calibration.known_mass import Batches, KnownMass
from analysis.models.blocks import BlockInput, first_input, private_block, run_block
from analysis.models.canvas import canvas_start, reader_of
from analysis.models.experts import ExpertMatrix, Routed, expert_inputs, packed_name, routed
from analysis.models.files import stored_tensors
from analysis.models.layout import Layout, layout_of, seeing_queries
from analysis.models.loaded import LoadedModel, Projection

OUTER, INNER = ("gate_proj", "up_proj"), "down_proj"
"""The projections of an expert: those that read tokens, and the one that reads what these made of them."""
_TWO_TOKENS = torch.zeros(1, 2, dtype=torch.long)

Group = dict[str, tuple[str, ...]]
"""The projections of a layer that read the same input, named by the first of them."""

Groups = list[Group]

Given = torch.Tensor | Routed
"""Input of a part of a block: (B, S, F), or all that its experts are sent."""

Keep = Callable[[int, str, nn.Module, Given], None]
"""Called with layer, projection by name and as a module, and what reaches it for every distinct block input; once for
all experts, with what holds them."""

Read = Callable[[int, str, torch.Tensor, torch.Tensor | None], None]
"""Called with layer, projection, input (B, M, F) and where its tokens stand, (B, M) of an expert, see `ExpertInput`;
None where they are all tokens of the text."""

Take = Callable[[int, int, str, torch.Tensor, torch.Tensor | None], None]
"""`Read` with the batch before."""

TakeRoutes = Callable[[int, int, nn.Module, Routed], None]
"""Called with batch, layer, the module that holds its experts, and all that these are sent."""


OnForward = Callable[[], None]
"""Called after every forward."""


class Runner(ABC):
    """Runner of a model over batches of token rows. known: attention mass that was found before."""

    def __init__(self, model: LoadedModel, known: KnownMass | None = None) -> None:
        self.model, self.known = model, known or KnownMass()
        kinds: dict[tuple[str, ...], Group] = {}  # asked once for layers of the same projections
        self.groups: Groups = []
        for layer, block in enumerate(model.blocks):
            names = tuple(model.projections(block))
            if names not in kinds:
                kinds[names] = self._together(layer)
            self.groups.append(kinds[names])

    def known_masses(self, batches: Batches) -> list[np.ndarray] | None:
        """`masses` of batches that were asked for before, maybe by another job; None where they are not known."""
        return self.known.find(self.model, batches)

    def masses(self, batches: Batches, on_forward: OnForward) -> list[np.ndarray]:
        """Attention mass (B, L, S) of each batch of noised text, as `per_query` has it; without a forward where it is
        known.
        """
        masses = self.known_masses(batches)
        if masses is None:
            masses = [per_query(self.model, mass) for mass in self._masses(batches, on_forward)]
            self.known.keep(self.model, batches, masses)
        return masses

    def inputs(self, batches: Batches, take: Take, on_forward: OnForward, noised: bool = True) -> None:
        """Pass every distinct block input to `take`. noised: whether the text is, with its clean copy where the model
        was trained block by block.
        """
        layout = noised_layout(self.model) if noised else None
        self._show(batches, lambda batch: reading(partial(take, batch)), self.groups, on_forward, layout)

    def routes(self, batches: Batches, take: TakeRoutes, on_forward: OnForward, noised: bool = True) -> None:
        """Pass what the experts of every layer are sent to `take`. noised: as of `inputs`."""
        layout = noised_layout(self.model) if noised else None
        nothing: Groups = [{} for _ in self.groups]
        self._show(batches, lambda batch: _routing(partial(take, batch)), nothing, on_forward, layout)

    @abstractmethod
    def _together(self, layer: int) -> Group:
        """`together_by_input` of a layer, from a forward of two tokens."""

    @abstractmethod
    def _masses(self, batches: Batches, on_forward: OnForward) -> list[np.ndarray]:
        """Attention mass (B, L, S) of each batch of noised text, as it was paid."""

    @abstractmethod
    def _show(
        self,
        batches: Batches,
        keep_of: Callable[[int], Keep],
        groups: Groups,
        on_forward: OnForward,
        layout: Layout | None,
    ) -> None:
        """Run every batch, `hooked` with these groups and what `keep_of` makes of its number."""


class Resident(Runner):
    """Runner of a model held in memory, batch by batch."""

    def mass_and_inputs(self, tokens: torch.Tensor, keep: Keep) -> np.ndarray:
        """Attention mass (B, L, S) of noised text, in the one forward that also shows `keep` every block input."""
        observer = LayerMassObserver()
        with hooked(self.model.projections, enumerate(self.model.blocks), self.groups, keep, ends=True):
            self.model.hidden(tokens, observer, noised_layout(self.model))
        return per_query(self.model, observer.take().numpy())

    def keep_masses(self, batches: Batches, masses: Sequence[np.ndarray]) -> None:
        """Store what `mass_and_inputs` gave, batch by batch, for `known_masses`."""
        self.known.keep(self.model, batches, masses)

    def _together(self, layer: int) -> Group:
        return together_by_input(
            self.model.projections, self.model.blocks[layer], lambda: self.model.hidden(_TWO_TOKENS)
        )

    def _masses(self, batches: Batches, on_forward: OnForward) -> list[np.ndarray]:
        masses = []
        for tokens in batches:
            observer = LayerMassObserver(last=self.model.geometry.layers - 1)
            with suppress(Enough):
                self.model.hidden(tokens, observer, noised_layout(self.model))
            masses.append(observer.take().numpy())
            on_forward()
        return masses

    def _show(
        self,
        batches: Batches,
        keep_of: Callable[[int], Keep],
        groups: Groups,
        on_forward: OnForward,
        layout: Layout | None,
    ) -> None:
        for batch, tokens in enumerate(batches):
            with hooked(self.model.projections, enumerate(self.model.blocks), groups, keep_of(batch), ends=True):
                self.model.hidden(tokens, layout=layout)
            on_forward()


class Streamed(Runner):
    """Runner that reads one block at a time and runs every batch through it. budget: bytes that states between blocks
    may take.
    """

    def __init__(self, model: LoadedModel, budget: int, known: KnownMass | None = None) -> None:
        self.budget, self.stored = budget, stored_tensors(model)
        super().__init__(model, known)

    def _together(self, layer: int) -> Group:
        block, given = private_block(self.model, layer, self.stored), first_input(self.model, _TWO_TOKENS)
        return together_by_input(self.model.projections, block, lambda: run_block(block, given))

    def _masses(self, batches: Batches, on_forward: OnForward) -> list[np.ndarray]:
        layers_by_batch: list[list[np.ndarray]] = [[] for _ in batches]

        def run(batch: int, layer: int, block: nn.Module, given: BlockInput) -> torch.Tensor:
            observer = LayerMassObserver()
            states = run_block(block, given, observer)
            mass, length = observer.take().numpy()[:, 0], given.states.shape[1]
            # A layer with a window holds the last keys of the text alone.
            layers_by_batch[batch].append(np.pad(mass, ((0, 0), (length - mass.shape[1], 0)), constant_values=np.nan))
            return states

        self._walk(batches, run, on_forward, noised_layout(self.model))
        return [np.stack(layers, axis=1) for layers in layers_by_batch]

    def _show(
        self,
        batches: Batches,
        keep_of: Callable[[int], Keep],
        groups: Groups,
        on_forward: OnForward,
        layout: Layout | None,
    ) -> None:
        def run(batch: int, layer: int, block: nn.Module, given: BlockInput) -> torch.Tensor:
            with hooked(self.model.projections, [(layer, block)], groups, keep_of(batch)):
                return run_block(block, given)

        self._walk(batches, run, on_forward, layout)

    def _walk(
        self,
        batches: Batches,
        run: Callable[[int, int, nn.Module, BlockInput], torch.Tensor],
        on_forward: OnForward,
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
                del block  # before the next is read
            for _ in given:
                on_forward()


def noised_layout(model: LoadedModel) -> Layout | None:
    """Return the layout of noised text: beside its clean copy where the model was trained block by block."""
    if not model.architecture.beside_clean:
        return None
    return replace(layout_of(model.architecture, 0), beside_clean=True)


def per_query(model: LoadedModel, mass: np.ndarray) -> np.ndarray:
    """Mass (B, L, S) of noised text as if every query had seen every key: the mean over those that did, times S.

    Where all do it is the mass itself; under blocks a token that few queries see would never look like a sink. Where
    only a canvas asks, its queries stand for all; NaN, where a layer holds no such key, becomes what the key gets on
    average in the layers that do.
    """
    if model.architecture.noise == "uniform":
        return _of_canvas(mass, mass.shape[-1] - canvas_start(model.architecture, mass.shape[-1]))
    layout = noised_layout(model)
    if layout is None:
        return mass
    length = mass.shape[-1]
    seeing = seeing_queries(model.architecture, length, layout).numpy()
    # The clean copy of the last block is seen by itself alone, and where attention is causal its last token by one.
    return mass * (length / seeing)


def _of_canvas(mass: np.ndarray, queries: int) -> np.ndarray:
    """`per_query` of mass (B, L, S) that so many queries paid; NaN where a layer holds no key."""
    held = ~np.isnan(mass)
    layers = held.sum(axis=1, keepdims=True)
    mean = np.where(held, mass, 0).sum(axis=1, keepdims=True, dtype=np.float32) / np.maximum(layers, 1)
    return np.where(held, mass, mean).astype(np.float32) * np.float32(mass.shape[-1] / queries)


def together_by_input(
    projections: Callable[[nn.Module], Mapping[str, Projection]], block: nn.Module, forward: Callable[[], Any]
) -> Group:
    """The projections of a block that read the same tensor during `forward`, named by the first of them. The gate and
    up projection of an expert read the same, its down projection something of its own.
    """
    seen: dict[str, Given] = {}
    modules = projections(block)
    alone: Group = {name: (name,) for name in modules}
    with hooked(
        projections, [(0, block)], [alone], lambda _, name, __, given: seen.__setitem__(name, given), pairs=False
    ):
        forward()
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in seen.items():
        if name in modules:
            by_tensor.setdefault(id(tensor), []).append(name)
    groups = {names[0]: tuple(names) for names in by_tensor.values()}
    for name, module in modules.items():
        if isinstance(module, ExpertMatrix):
            expert, _, part = name.rpartition(".")
            first = f"{expert}.{INNER}" if part == INNER else f"{expert}.{OUTER[0]}"
            groups[first] = (*groups.get(first, ()), name)
    return groups


@contextmanager
def hooked(
    projections: Callable[[nn.Module], Mapping[str, Projection]],
    blocks: Iterable[tuple[int, nn.Module]],
    groups: Groups,
    keep: Keep,
    pairs: bool = True,
    ends: bool = False,
) -> Iterator[None]:
    """While open, `keep` is called as each group's input reaches its first projection, and as tokens reach experts.

    pairs: of a block that runs as a pair, the input of both layers, one after the other; else of the decoder's alone.
    ends: the forward ends, and with it the body, once the last block has shown its last input: what it makes of that
    nobody reads. One with experts runs to its end.
    """
    blocks = list(blocks)
    last = _last_input(blocks, groups) if ends else None
    handles = []
    rows: dict[int, int] = {}
    read: dict[tuple[int, str], Given] = {}  # what has reached the encoder's layer, until the decoder's runs

    def hold(layer: int, name: str, module: nn.Module, given: Given) -> None:
        read[layer, name] = given

    def keep_both(layer: int, name: str, module: nn.Module, given: Given) -> None:
        before = read.pop((layer, name), None)
        keep(layer, name, module, given if before is None else _one_after_the_other(before, given))

    def watch(layer: int, name: str, module: nn.Module, keep: Keep) -> None:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            keep(layer, name, module, inputs[0])
            if (layer, name) == last:
                raise Enough

        handles.append(module.register_forward_pre_hook(hook))

    def watch_experts(layer: int, name: str, block: nn.Module, keep: Keep) -> None:
        def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            rows[layer] = len(inputs[0])

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            keep(layer, name, module, routed(inputs, rows[layer]))

        handles.append(block.register_forward_pre_hook(count))
        handles.append(block.get_submodule(name).register_forward_pre_hook(hook))

    try:
        for layer, block in blocks:
            reader = reader_of(block) if pairs else None
            for part, take in ((reader, hold), (block, keep_both)):
                if part is None:
                    continue
                modules = projections(part)
                for name in groups[layer]:
                    module = modules[name]
                    if not isinstance(module, ExpertMatrix):
                        watch(layer, name, module, take)
                packed = packed_name(part)
                if packed is not None:
                    watch_experts(layer, packed, part, take)
        with suppress(Enough):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _last_input(blocks: Sequence[tuple[int, nn.Module]], groups: Groups) -> tuple[int, str] | None:
    """Layer and name of the input that a forward through these blocks reaches last; None where experts come after it,
    or a block runs as a pair. Groups stand in the order in which their inputs are reached.
    """
    layer, block = blocks[-1]
    if packed_name(block) is not None or reader_of(block) is not None or not groups[layer]:
        return None
    return layer, list(groups[layer])[-1]


def _one_after_the_other(read: Given, written: Given) -> Given:
    """Concatenate what reached both layers of a pair, along the positions."""
    if isinstance(read, Routed) and isinstance(written, Routed):
        assert read.weights is not None and written.weights is not None
        fields = ((read.states, written.states), (read.experts, written.experts), (read.weights, written.weights))
        return Routed(*(torch.cat(both, dim=1) for both in fields))
    assert isinstance(read, torch.Tensor) and isinstance(written, torch.Tensor)
    return torch.cat([read, written], dim=1)


def _routing(take: Callable[[int, nn.Module, Routed], None]) -> Keep:
    """Pass what a layer's experts are sent to `take`, with the module that holds them."""

    def show(layer: int, name: str, module: nn.Module, given: Given) -> None:
        assert isinstance(given, Routed)
        take(layer, module, given)

    return show


def reading(read: Read) -> Keep:
    """Pass what reaches an input of a block to `read`; of its experts, what each of them reads, one after the other."""

    def spread(layer: int, name: str, module: nn.Module, given: Given) -> None:
        if isinstance(given, torch.Tensor):
            read(layer, name, given, None)
            return
        for each in expert_inputs(module, given):
            expert = f"{name}.{each.expert}"
            read(layer, f"{expert}.{OUTER[0]}", each.states, each.positions)
            read(layer, f"{expert}.{INNER}", each.inner, each.positions)

    return spread
