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
        self, tokens: torch.Tensor, queries: tuple[int, int], observer: Observer | None = None, edit: Edit | None = None
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
