"""Forwards over an open block alone: the text before it is run once, and its keys and values are kept."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from analysis.attention import Observer
from analysis.models.layout import Layout, visible
from analysis.models.loaded import LoadedModel, without_masks
from analysis.models.weight_checks import check_logits


class HeldKeys:
    """Keys and values of one batch of texts, up to the block that is open, from which positions can go.

    read: tokens that were run to be kept, those that were dropped since included. positions: those that each layer
    holds, (K,) each.
    """

    def __init__(self, model: LoadedModel, kept: DynamicCache) -> None:
        self.model = model
        self.read = 0
        self.positions = [np.empty(0, np.int64)] * model.geometry.layers
        self._kept = kept

    @property
    def whole(self) -> list[int]:
        """Number of positions each layer would hold if none had been dropped."""
        return [self.read] * len(self.positions)

    def with_those(self, first: int, end: int) -> list[np.ndarray]:
        """Return the positions that each layer holds, and after them those from `first` to `end`."""
        return [np.concatenate([held, np.arange(first, end)]) for held in self.positions]

    def keep(self, indices: Sequence[np.ndarray]) -> None:
        """Keep only the keys and values at these indices, given per layer."""
        for number, (layer, index) in enumerate(zip(self._layers, indices, strict=True)):
            assert layer.keys is not None and layer.values is not None
            layer.keys, layer.values = kept_at(index, layer.keys, layer.values)
            self.positions[number] = self.positions[number][index]

    @property
    def bytes(self) -> int:
        """Bytes of the keys and values that are held."""
        return sum(part.nbytes for layer in self._layers for part in (layer.keys, layer.values) if part is not None)

    @property
    def _layers(self) -> list[DynamicLayer]:
        return [layer for layer in self._kept.layers if isinstance(layer, DynamicLayer)]

    def _hold(self, end: int) -> None:
        """Note that all up to `end` was read and is held."""
        self.positions, self.read = self.with_those(self.read, end), end


class PrefixCache(HeldKeys):
    """Keys of families that write by blocks: a finished block sees nothing after it, so kept keys equal those of a
    whole forward. Every layer keeps the same number of positions.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model, DynamicCache())
        self._before: torch.Tensor | None = None  # the logits of the last token kept, (B, 1, V)

    @torch.no_grad()
    def predict(
        self,
        tokens: torch.Tensor,
        first: int,
        layout: Layout,
        observer: Observer | None = None,
        aligned: bool = True,
        reader: Observer | None = None,
    ) -> torch.Tensor:
        """Return logits (B, S − first, V) of the positions from `first` on, which alone are queries and are observed.

        The text before `first` must be finished: its unread tokens are run and shown to `reader`. aligned False: the
        text is finished to its end, so all of it is kept, and logits stay where the network gives them; else they are
        for the token at their position. Raises UserError if they are not finite.
        """
        shift = self.model.architecture.shift
        if self.read < first:
            finished = replace(layout, open_from=None)
            self._before = self._run(tokens, self.read, first, finished, logits_to_keep=1, attn_observer=reader)
            self._hold(first)
        logits = self._run(tokens, first, tokens.shape[1], layout, attn_observer=observer)
        if not aligned:
            self._before = logits[:, -1:]
            self._hold(tokens.shape[1])
            return logits
        self._kept.crop(first - tokens.shape[1])  # negative: drops that many of the last ones
        if not shift:
            return logits
        return torch.cat([logits[:, :1] if self._before is None else self._before, logits[:, :-1]], dim=1)

    def _run(self, tokens: torch.Tensor, first: int, end: int, layout: Layout, **options: Any) -> torch.Tensor:
        """Logits of the tokens from `first` to `end`, over those kept; theirs are kept from then on."""
        dropped = first - self._kept.get_seq_length()  # all queries see all kept keys, so any columns may be dropped
        sees = visible(self.model.architecture, end, layout, self.model.device)[first:, dropped:]
        return run_over(self.model, self._kept, tokens, (first, end), sees, **options)


def kept_at(index: np.ndarray, *held: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Copy these positions (k,) of keys or values (B, H, S, D), so that the others' memory is freed."""
    places = torch.from_numpy(index).to(held[0].device)
    return tuple(part.index_select(2, places) for part in held)


@torch.no_grad()
def run_over(
    model: LoadedModel,
    kept: DynamicCache,
    tokens: torch.Tensor,
    queries: tuple[int, int],
    sees: torch.Tensor | None,
    **options: Any,
) -> torch.Tensor:
    """Return the logits (B, Q, V) of some tokens of texts (B, S), the first and one past the last, over kept keys and
    values, which theirs join. sees: keys (columns) that each query sees, bool; None where the network itself knows.

    Raises UserError if they are not finite.
    """
    # transformers renames the argument.
    cache = "cache" if "cache" in inspect.signature(model.network.forward).parameters else "past_key_values"
    logits: torch.Tensor = model.network(
        input_ids=tokens[:, slice(*queries)].to(model.device),
        attention_mask=None if sees is None else sees[None, None],
        position_ids=torch.arange(*queries, device=model.device)[None],
        use_cache=True,
        **{cache: kept},
        **options,
    ).logits
    check_logits(logits, model.dtype)
    return without_masks(model, logits)
