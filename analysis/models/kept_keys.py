"""Forwards over a part of a text, with the keys and values of an earlier forward kept.

Kept keys equal those of a whole forward, up to rounding, if no kept token sees a later one: those of the text before an
open block, which is run once (`PrefixCache`), and those of a causal model's text that grows at its end (`GrowingText`).
A bidirectional model sees all of its text, so its kept keys (`KeptKeys`; Fast-dLLM, arXiv 2505.22618) depend on the
earlier text: the result differs, not only the speed.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from analysis.attention import Edit, MassObserver, Observed, Observer
from analysis.models.checks import check_logits
from analysis.models.layout import Layout, Span, visible
from analysis.models.loaded import LoadedModel, shifted, without_masks


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
    queries: Span,
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


class KeptKeys(DynamicCache):
    """Keys and values of the last whole forward over a batch of texts, of a bidirectional model: (B, H_kv, S, D) by
    layer, or of some positions alone, after which those that come are put.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.model = model
        self._place: slice | None = None  # of the keys that come; None: there are no others
        self._dropped = False
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def predict(
        self, tokens: torch.Tensor, queries: Span, observer: Observer | None = None, edit: Edit | None = None
    ) -> torch.Tensor:
        """Return logits (B, Q, V) for the tokens at the queries, from the first to one past the last, of texts (B, S).

        With all of a text as queries, its keys are kept. With a part of it, its keys replace the kept ones, and it
        attends to them and the others. A shifted family's logits for the first query of a part precede it and are
        missing: their place holds those for the next token. Raises UserError if they are not finite.
        """
        first, end = queries
        length = tokens.shape[1]
        self._place = None if queries == (0, length) else slice(first, end)
        self._dropped = self._dropped and self._place is not None
        if self._dropped:
            length = self._kept[0][0].shape[2] + end - first
        sees = torch.ones(end - first, length, dtype=torch.bool, device=self.model.device)
        logits = run_over(self.model, self, tokens, queries, sees, attn_observer=observer, attn_edit=edit)
        return shifted(logits, self.model.architecture.shift)

    def keep(self, indices: Sequence[np.ndarray]) -> None:
        """Drop all keys and values of the last whole forward but those at these positions, as many in every layer; none
        of them may be a query before the next one.
        """
        self._dropped = True
        for layer, index in enumerate(indices):
            keys, values = kept_at(index, *self._kept[layer])
            self._kept[layer] = keys, values

    @property
    def bytes(self) -> int:
        """Bytes of the keys and values that are held."""
        return sum(part.nbytes for pair in self._kept.values() for part in pair)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the whole text, those that come in their place."""
        came = (key_states, value_states)
        if self._place is None:
            self._kept[layer_idx] = came
            return came
        kept = self._kept[layer_idx]
        if self._dropped:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(kept, came, strict=True))
            return keys, values
        for whole, part in zip(kept, came, strict=True):
            whole[:, :, self._place] = part
        return kept


def can_grow(model: LoadedModel) -> bool:
    """Return True if all tokens of this model see all before them, and none after."""
    family = model.architecture
    windowed = family.windowed or "sliding_attention" in (getattr(model.network.config, "layer_types", None) or ())
    return family.attention == "causal" and not family.by_blocks and not windowed


class GrowingText:
    """Keys and values of a batch of texts, and the attention that all their tokens paid so far."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._kept = DynamicCache()
        self._mass: torch.Tensor | None = None

    def predict(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Observed]:
        """Return logits (B, 1, V) after the last token of texts (B, S), which begin with those of the previous call,
        and the observations of a forward over all of them. Raises UserError if either is not finite.
        """
        observer, before, length = MassObserver(), self._kept.get_seq_length(), tokens.shape[1]
        new = length - before
        sees = None
        if new > 1 and before:
            sees = torch.ones(new, length, dtype=torch.bool, device=self.model.device).tril(before)
        options = {"attn_observer": observer, "logits_to_keep": 1}
        logits = run_over(self.model, self._kept, tokens, (before, length), sees, **options)
        observed = observer.take()
        before_these = 0 if self._mass is None else torch.nn.functional.pad(self._mass, (0, new))
        self._mass = observed.mass + before_these
        return logits[:, -1:], Observed(self._mass, observed.value_norm)
