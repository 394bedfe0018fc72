"""Forwards over an open block alone: the text before it is run once, and its keys and values are kept."""

import inspect
from dataclasses import replace
from typing import Any

import torch
from transformers import DynamicCache

from analysis.attention import Observer
from analysis.models.layout import Layout, visible
from analysis.models.loaded import LoadedModel, without_masks
from analysis.models.weight_checks import check_logits


class PrefixCache:
    """Keys and values of one batch of texts, up to the block that is open.

    Finished blocks see nothing after them, so what is kept is what a whole forward would compute again.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._kept = DynamicCache()
        self._before: torch.Tensor | None = None  # the logits of the last token kept, (B, 1, V)

    @torch.no_grad()
    def predict(
        self, tokens: torch.Tensor, first: int, layout: Layout, observer: Observer | None = None, aligned: bool = True
    ) -> torch.Tensor:
        """Logits (B, S − first, V) of the positions from `first` on, which alone are queries and are observed.

        What lies before `first` must be finished: it is run where it was not yet. aligned False: the text is finished
        to its end, so all of it is kept, and logits stay where the network gives them; else they are about the token
        at their position. Raises UserError where they are not finite.
        """
        kept, shift = self._kept.get_seq_length(), self.model.architecture.shift
        if kept < first:
            self._before = self._run(tokens, kept, first, replace(layout, open_from=None), logits_to_keep=1)
        logits = self._run(tokens, first, tokens.shape[1], layout, attn_observer=observer)
        check_logits(logits, self.model.dtype)
        if not aligned:
            self._before = logits[:, -1:]
            return logits
        self._kept.crop(first - tokens.shape[1])  # less than nothing: so many of the last ones go
        if not shift:
            return logits
        return torch.cat([logits[:, :1] if self._before is None else self._before, logits[:, :-1]], dim=1)

    def _run(self, tokens: torch.Tensor, first: int, end: int, layout: Layout, **options: Any) -> torch.Tensor:
        """Logits of the tokens from `first` to `end`, over those kept; theirs are kept from then on."""
        model, network = self.model, self.model.network
        options = {name: value for name, value in options.items() if value is not None}
        logits: torch.Tensor = network(
            input_ids=tokens[:, first:end].to(model.device),
            attention_mask=visible(model.architecture, end, layout, model.device)[None, None, first:],
            position_ids=torch.arange(first, end, device=model.device)[None],
            use_cache=True,
            **{cache_argument(network): self._kept},
            **options,
        ).logits
        return without_masks(model, logits)


def cache_argument(network: torch.nn.Module) -> str:
    """What its class calls the keys and values kept; transformers renames it."""
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
