"""Forwards over a part of a text, over keys kept from a whole forward before (Fast-dLLM, arXiv 2505.22618).

The model sees all of its text, so a kept key has seen what stood there before: another result, not faster arithmetic.
"""

from typing import Any

import torch
from transformers import DynamicCache

from analysis.attention import Edit, Observer
from analysis.models.loaded import LoadedModel, without_masks
from analysis.models.prefix import cache_argument
from analysis.models.weight_checks import check_logits


class KeptKeys:
    """Keys and values of the last whole forward over a batch of texts, of a bidirectional model."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._kept = _Kept()

    @torch.no_grad()
    def predict(
        self, tokens: torch.Tensor, queries: tuple[int, int], observer: Observer | None = None, edit: Edit | None = None
    ) -> torch.Tensor:
        """Logits (B, Q, V) about the tokens at the queries, from the first to one past the last, of texts (B, S).

        All of a text as queries: its keys are kept. A part of it: its keys take the place of those kept, and it attends
        to them and the others. A shifted family's logits about the first query of a part lie before it, and are not
        there: what stands in their place is about the token after it. Raises UserError where they are not finite.
        """
        first, end = queries
        length, network = tokens.shape[1], self.model.network
        self._kept.place = slice(first, end)
        given: dict[str, Any] = {"attn_observer": observer, "attn_edit": edit, cache_argument(network): self._kept}
        device = self.model.device
        logits: torch.Tensor = network(
            input_ids=tokens[:, first:end].to(device),
            attention_mask=torch.ones(1, 1, end - first, length, dtype=torch.bool, device=device),
            position_ids=torch.arange(first, end, device=device)[None],
            use_cache=True,
            **{name: value for name, value in given.items() if value is not None},
        ).logits
        check_logits(logits, self.model.dtype)
        logits = without_masks(self.model, logits)
        if self.model.architecture.shift:
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
        return logits


class _Kept(DynamicCache):
    """Keys and values by layer, (B, H_kv, S, D). place: where those that come belong."""

    def __init__(self) -> None:
        super().__init__()
        self.place = slice(0, 0)
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the whole text, those that come in their place."""
        kept = self._layers.get(layer_idx)
        if kept is None or key_states.shape[2] == kept[0].shape[2]:
            kept = self._layers[layer_idx] = (key_states, value_states)
        for whole, part in zip(kept, (key_states, value_states), strict=True):
            whole[:, :, self.place] = part
        return kept
