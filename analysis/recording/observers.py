"""Observers of a running model: of the residual stream behind each layer, and of changes from one step to the next.

The stream is watched, or some of its channels are clamped; the logit lens and the geometry of one forward
(analysis/sinks/geometry.py) are read off it. For changes of keys, values and attention maps, observers hold the
queries, keys and values of one earlier step, never a map of a whole layer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from analysis.attention import AttentionInputs, stack_layers
from analysis.errors import UserError
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.steps import Activations, Step
from analysis.sinks.geometry import effective_rank, neighbour_distances, participation_ratio, two_nn
from analysis.sinks.pairing import DRIFTS


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


_PIECE = 2**20  # probabilities of a map in one piece
_States = tuple[torch.Tensor, torch.Tensor]  # keys and values by token, (B, S, W) each


class DriftObserver:
    """Observer that compares the keys and values of each forward's first sequence with those of the one before.

    successive: the sequences of a batch are steps that follow each other, all of them observed, and each is compared
    with the one before it.
    """

    def __init__(self, successive: bool = False) -> None:
        self._rows = None if successive else 1
        self._before: dict[int, _States] = {}
        self._drifts: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        keys, values = _by_token(inputs.key[: self._rows]), _by_token(inputs.value[: self._rows])
        drifts = torch.full((len(keys), len(DRIFTS), keys.shape[1]), float("nan"))
        if layer in self._before:
            _set_drift(drifts[:1], self._before[layer], (keys[:1], values[:1]))
        if len(keys) > 1:
            _set_drift(drifts[1:], (keys[:-1], values[:-1]), (keys[1:], values[1:]))
        self._before[layer], self._drifts[layer] = (keys[-1:], values[-1:]), drifts

    def take(self) -> torch.Tensor:
        """Return the drift of the forward just run, (B, L, 4, S) float32 in the order of `DRIFTS`; NaN for tokens that
        the forward before did not hold.
        """
        drifts, self._drifts = stack_layers(self._drifts), {}
        return drifts

    def beside(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, each with the drift of its forward."""
        for step in steps:
            yield replace(step, drift=self.take())


def _by_token(states: torch.Tensor) -> torch.Tensor:
    """States (B, H, S, D) of every token with its heads in a row, (B, S, H · D)."""
    return states.transpose(1, 2).flatten(2)


def _set_drift(drifts: torch.Tensor, before: _States, now: _States) -> None:
    """Write the drift of keys and values into (B, 4, S), where both forwards hold the token."""
    both = min(now[0].shape[1], before[0].shape[1])
    for place, (old, new) in enumerate(zip(before, now, strict=True)):
        drifts[:, 2 * place : 2 * place + 2, :both] = _drift(old[:, :both], new[:, :both]).cpu()


def _drift(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The cosine distance and relative change of states (B, S, W), (B, 2, S) float32."""
    old, new = old.float(), new.float()
    tiny = torch.finfo(torch.float32).tiny
    before, after = old.norm(dim=-1).clamp_min(tiny), new.norm(dim=-1).clamp_min(tiny)
    # 1 − cosine from the difference of the directions: 1 less a number near 1 would leave no digits.
    distance = (old / before[..., None] - new / after[..., None]).square().sum(dim=-1) / 2
    return torch.stack([distance, (new - old).norm(dim=-1) / before], dim=1)


class LikenessObserver:
    """Observer that compares each head's attention map with maps of an earlier forward, of as many tokens.

    Likeness is the overlap of two maps, 0 to 1: the mean over queries of the sum over keys of the smaller probability,
    which is 1 less their total-variation distance. kept: the sequence of the next forward whose maps are kept, and that
    of another text, if there is one; empty to keep those from before. compared: the sequences whose maps are compared.
    """

    HEADS = 4  # other heads that each is compared with, evenly spaced

    def __init__(self) -> None:
        self.kept: Sequence[int] = ()
        self.compared: Sequence[int] = ()
        self._kept: dict[int, AttentionInputs] = {}
        self._likeness: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        if self.kept:
            kept = inputs.sequences(self.kept)
            self._kept[layer] = replace(kept, value=kept.key)
        if not self.compared:
            return
        kept, now = self._kept[layer], inputs.sequences(self.compared)
        batch, heads, queries, length = *now.query.shape[:3], now.key.shape[2]
        if kept.query.shape[1:] != now.query.shape[1:] or kept.key.shape[1:] != now.key.shape[1:]:
            raise ValueError("Maps of two forwards are compared over as many tokens.")
        shifts = sorted({round(1 + place * (heads - 2) / max(1, self.HEADS - 1)) for place in range(self.HEADS)})
        shifts = [shift for shift in shifts if 0 < shift < heads]
        summed = now.query.new_zeros((batch, heads, 3), dtype=torch.float32)
        chunk = max(1, _PIECE // (batch * heads * length))
        for old, new in zip(kept.probabilities(chunk), now.probabilities(chunk), strict=True):
            own = old[:1]
            summed[..., 0] += _overlap(own, new)
            for shift in shifts:
                summed[..., 1] += _overlap(own.roll(shift, dims=1), new) / len(shifts)
            if len(old) > 1:
                summed[..., 2] += _overlap(old[1:], new)
        summed[..., 1] = summed[..., 1] if shifts else float("nan")
        summed[..., 2] = summed[..., 2] if len(kept.query) > 1 else float("nan")
        self._likeness[layer] = (summed / queries).cpu()

    def take(self) -> torch.Tensor:
        """Return the likeness of what was compared to what was kept, (B, L, H, 3) float32: of a head to itself, to
        other heads of its layer there, and to itself there on the other text, NaN where there is none.
        """
        likeness, self._likeness = stack_layers(self._likeness), {}
        return likeness


def _overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The sum over queries and keys of the smaller probability, (B, H)."""
    return torch.minimum(first, second).sum(dim=(2, 3))
