"""The residual stream behind each layer while a model runs: watched, with some of its channels clamped, and what is
read off it: the logit lens, and the geometry (analysis/sinks/geometry.py) of one forward.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from analysis.attention import AttentionInputs
from analysis.errors import UserError
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.steps import Activations, Step
from analysis.sinks.geometry import effective_rank, neighbour_distances, participation_ratio, two_nn


class _BehindBlocks(ExitStack):
    """Hooks behind every block while it is open."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.model = model

    def __enter__(self) -> Self:
        for layer, block in enumerate(self.model.blocks):
            self.callback(block.register_forward_hook(partial(self._behind, layer)).remove)
        return self

    def _behind(self, layer: int, block: torch.nn.Module, given: Any, output: Any) -> Any:
        raise NotImplementedError


class BlockStates(_BehindBlocks):
    """While it is open, shows what each block leaves in the residual stream for the first sequence of a batch.

    note: called with the layer and the states (S, hidden) float32; with those of every sequence, (B, S, hidden), where
    `whole_batch`.
    """

    def __init__(
        self, model: LoadedModel, note: Callable[[int, torch.Tensor], None], whole_batch: bool = False
    ) -> None:
        super().__init__(model)
        self.note, self.whole_batch = note, whole_batch

    @torch.no_grad()
    def _behind(self, layer: int, block: torch.nn.Module, given: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self.note(layer, (states if self.whole_batch else states[0]).float())


class LargestChannels(BlockStates):
    """Recorder of the `count` channels of largest magnitude behind each layer, by their largest over the positions."""

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
        """Return what the last forward left, and forget it."""
        columns = zip(*(self._noted[layer] for layer in sorted(self._noted)), strict=True)
        channel, position, value, median = (torch.stack(column).numpy() for column in columns)
        self._noted = {}
        return Activations(channel.astype("int32"), position.astype("int32"), value, median)

    def beside(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, each with what its forward left."""
        for step in steps:
            yield replace(step, activations=self.take())


class LargestStates(BlockStates):
    """Recorder of each channel's largest magnitude behind each layer over forwards, in units of the layer's median."""

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


class ClampedChannels(_BehindBlocks):
    """While it is open, no block leaves more in these channels than its median magnitude over tokens and channels.

    channels (K,) int64. The sign stays. Nothing is changed for good.
    """

    def __init__(self, model: LoadedModel, channels: torch.Tensor) -> None:
        super().__init__(model)
        self.channels = channels

    @torch.no_grad()
    def _behind(self, layer: int, block: torch.nn.Module, given: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        at = self.channels.to(states.device)
        bound = states.abs().flatten(1).float().median(dim=1).values.to(states.dtype)[:, None, None]
        states = states.clone()
        states[..., at] = states[..., at].clamp(-bound, bound)
        return (states, *output[1:]) if isinstance(output, tuple) else states


# --- what is read off them -------------------------------------------------------------------------------------------

_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def logit_lens(
    model: LoadedModel, tokens: torch.Tensor, positions: torch.Tensor, layout: Layout | None
) -> torch.Tensor:
    """Return the probabilities (L, N, V) float32 of the token at each of `positions` (N,), read off the states behind
    each layer as they are off the last (nostalgebraist, interpreting GPT: the logit lens, 2020). tokens: (1, S).

    Raises UserError where that does not give the model's own prediction.
    """
    states: dict[int, torch.Tensor] = {}
    with BlockStates(model, lambda layer, output: states.__setitem__(layer, output)), torch.no_grad():
        logits = model.predict(tokens, layout=layout)
        # Aligned logits of a shifted family stand one position after the state that they were read from.
        at = (positions - model.architecture.shift).clamp(min=0)
        read = [_read(model, states[layer][at]) for layer in sorted(states)]
    prediction = logits[0, positions].float().softmax(dim=-1)
    if not torch.allclose(read[-1].to(prediction.device), prediction, atol=0.02):
        raise UserError(
            f"The states of this {model.architecture.name} model are not read by one norm and its head, so there is no "
            "logit lens of it."
        )
    return torch.stack([layer.cpu() for layer in read])


def _read(model: LoadedModel, states: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (N, V) float32 that the head reads off states (N, hidden)."""
    base, head = model.network.base_model, model.network.get_output_embeddings()
    norm = next((getattr(base, name) for name in _NORMS if isinstance(getattr(base, name, None), nn.Module)), None)
    if norm is None or head is None:
        raise UserError(f"This {model.architecture.name} model has no last norm and head that a logit lens could use.")
    weight = head.get_parameter("weight")
    normed = norm(states.to(weight.device, weight.dtype))
    return head(normed).float().softmax(dim=-1)


def geometry_of(model: LoadedModel, tokens: torch.Tensor, layout: Layout | None) -> dict[str, np.ndarray]:
    """The measures of one forward of tokens (1, S): (L, H) for maps and outputs, (L,) for the dimension, float32."""
    layers, heads = model.geometry.layers, model.geometry.heads
    names = ("map_rank", "map_participation", "output_rank", "output_participation")
    measured = {name: np.zeros((layers, heads), np.float32) for name in names}
    dimension = np.full(layers, np.nan, np.float32)

    def attended(layer: int, inputs: AttentionInputs) -> None:
        for head in range(heads):
            single = inputs.rows(1).head(head)
            attention = torch.cat(list(single.probabilities()), dim=2)[0, 0]  # (S, S) of one head alone
            output = attention @ single.value[0, 0].float()
            for kind, matrix in (("map", attention), ("output", output - output.mean(dim=0))):
                singular = torch.linalg.svdvals(matrix).cpu().numpy()
                measured[f"{kind}_rank"][layer, head] = effective_rank(singular)
                measured[f"{kind}_participation"][layer, head] = participation_ratio(singular)

    def passed(layer: int, states: torch.Tensor) -> None:
        if len(states) > 2:
            dimension[layer] = two_nn(*neighbour_distances(states.cpu().numpy()))

    with BlockStates(model, passed):
        model.predict(tokens, attended, layout=layout)
    return measured | {"dimension": dimension}
