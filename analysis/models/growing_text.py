"""Forwards over texts that grow at their end: only new tokens are run, over the kept keys of earlier ones.

In a causal model no token sees a later one, so kept keys equal those of a whole forward, up to rounding.
"""

import torch
from transformers import DynamicCache

from analysis.attention import MassObserver, Observed
from analysis.models.loaded import LoadedModel, without_masks
from analysis.models.prefix import cache_argument
from analysis.models.weight_checks import check_logits


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

    @torch.no_grad()
    def predict(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Observed]:
        """Return logits (B, 1, V) after the last token of texts (B, S), which begin with those of the previous call,
        and the observations of a forward over all of them. Raises UserError if either is not finite.
        """
        model, observer, before = self.model, MassObserver(), self._kept.get_seq_length()
        length, device = tokens.shape[1], self.model.device
        new = length - before
        sees = None if new == 1 or not before else torch.ones(new, length, dtype=torch.bool, device=device).tril(before)
        logits: torch.Tensor = model.network(
            input_ids=tokens[:, before:].to(device),
            attention_mask=None if sees is None else sees[None, None],
            position_ids=torch.arange(before, length, device=device)[None],
            use_cache=True,
            attn_observer=observer,
            logits_to_keep=1,
            **{cache_argument(model.network): self._kept},
        ).logits[:, -1:]
        check_logits(logits, model.dtype)
        observed = observer.take()
        mass = observed.mass
        if self._mass is not None:
            mass = mass + torch.nn.functional.pad(self._mass, (0, new))
        self._mass = mass
        return without_masks(model, logits), Observed(mass, observed.value_norm)
