"""Forwards over texts that grow at their end: only new tokens are run, over the kept keys of earlier ones.

In a causal model no token sees a later one, so kept keys equal those of a whole forward, up to rounding.
"""

import torch
from transformers import DynamicCache

from analysis.attention import MassObserver, Observed
from analysis.models.loaded import LoadedModel
from analysis.models.prefix import run_over


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
