"""Forwards over a part of a text, with keys kept from an earlier whole forward (Fast-dLLM, arXiv 2505.22618).

The model sees all of its text, so a kept key depends on the earlier text: the result differs, not only the speed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from analysis.attention import Edit, Observer
from analysis.models.loaded import LoadedModel, shifted
from analysis.models.prefix import kept_at, run_over


class KeptKeys:
    """Keys and values of the last whole forward over a batch of texts, of a bidirectional model."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._kept = _Kept()

    def predict(
        self, tokens: torch.Tensor, queries: tuple[int, int], observer: Observer | None = None, edit: Edit | None = None
    ) -> torch.Tensor:
        """Return logits (B, Q, V) for the tokens at the queries, from the first to one past the last, of texts (B, S).

        With all of a text as queries, its keys are kept. With a part of it, its keys replace the kept ones, and it
        attends to them and the others. A shifted family's logits for the first query of a part precede it and are
        missing: their place holds those for the next token. Raises UserError if they are not finite.
        """
        first, end = queries
        length = self._kept.begin(first, end, tokens.shape[1])
        sees = torch.ones(end - first, length, dtype=torch.bool, device=self.model.device)
        logits = run_over(self.model, self._kept, tokens, queries, sees, attn_observer=observer, attn_edit=edit)
        return shifted(logits, self.model.architecture.shift)

    def keep(self, indices: Sequence[np.ndarray]) -> None:
        """Drop all keys and values of the last whole forward but those at these positions, as many in every layer; none
        of them may be a query before the next one.
        """
        self._kept.drop(indices)

    @property
    def bytes(self) -> int:
        """Bytes of the keys and values that are held."""
        return self._kept.bytes


class _Kept(DynamicCache):
    """Keys and values by layer, (B, H_kv, S, D), or of some positions alone, after which those that come are put."""

    def __init__(self) -> None:
        super().__init__()
        self._place: slice | None = None  # of the keys that come; None: there are no others
        self._dropped = False
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def begin(self, first: int, end: int, length: int) -> int:
        """Prepare for a forward over the tokens from `first` to `end` of `length`. Return the number of keys it
        sees.
        """
        self._place = None if (first, end) == (0, length) else slice(first, end)
        if self._place is None:
            self._dropped = False
        return self._layers[0][0].shape[2] + end - first if self._dropped else length

    def drop(self, indices: Sequence[np.ndarray]) -> None:
        """Keep these positions of each layer alone."""
        self._dropped = True
        self._layers = {
            layer: (kept[0], kept[1])
            for layer, index in enumerate(indices)
            for kept in [kept_at(index, *self._layers[layer])]
        }

    @property
    def bytes(self) -> int:
        """Bytes of what is held."""
        return sum(part.nbytes for pair in self._layers.values() for part in pair)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the whole text, those that come in their place."""
        if self._place is None:
            kept = self._layers[layer_idx] = (key_states, value_states)
            return kept
        kept = self._layers[layer_idx]
        if self._dropped:
            held, came = kept, (key_states, value_states)
            return torch.cat([held[0], came[0]], dim=2), torch.cat([held[1], came[1]], dim=2)
        for whole, part in zip(kept, (key_states, value_states), strict=True):
            whole[:, :, self._place] = part
        return kept
