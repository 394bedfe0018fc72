"""Forwards of scored texts in which a policy decides which keys queries attend to, text by text.

Shapes: B texts, L layers, S positions.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch

from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.evicting import Call, Chooser, Evicting, HiddenKeys, Hiding, KeyAttention, token_states
from analysis.recording.eviction import caches
from analysis.recording.keeping import Keeper, count_kept
from analysis.sinks.token_states import TokenState
from analysis.specs import Kept, Sampling, SinkParams


class EvictedForwards:
    """Chooses for every text by its own untouched forward, so a policy knows the present input, as in `Hiding`.

    A control draws by its seed and the given tokens: all masked inputs and all answers of one item share the draw.
    """

    def __init__(self, model: LoadedModel, kept: Kept) -> None:
        self.model, self.kept, self.params = model, kept, SinkParams()

    def edit(self, tokens: torch.Tensor, given: Sequence[int], layout: Layout | None, aligned: bool) -> HiddenKeys:
        """Return what is hidden in a forward over texts (B, S), of which so many tokens are given at the start."""
        state, length = token_states(self.model, tokens, given), tokens.shape[1]
        seen = KeyAttention(state == TokenState.UNDECIDED)
        self.model.predict(tokens, seen, keep=1, layout=layout, aligned=aligned)
        now, masked = seen.now(), seen.masked()
        rows, layers, _ = now.shape
        call = Call(tokens, rows, layout, 0, aligned, None)
        positions, everywhere = np.tile(np.arange(length), (layers, 1)), np.ones(length, bool)
        hidden, count = np.ones((rows, layers, length), bool), count_kept(self.kept.keeping.budget, length)
        chooser = Chooser(self.model, 0, self.params)
        for row in range(rows):
            held = chooser.held(
                *(call, state[row], positions, everywhere, now[row], masked[row], now[row], length, (0, length))
            )
            for layer, index in enumerate(self._keeper(tokens[row, : given[row]]).choose(held, count)):
                hidden[row, layer, index] = False
        return HiddenKeys(hidden)

    def writer(self, prompt: torch.Tensor, sampling: Sampling) -> Callable[[Call], torch.Tensor]:
        """Return the forwards that write after prompts (B, P): over a cache from which positions go where the sampling
        keeps keys, of one prompt; else with keys hidden. sampling: of `sampling_with`.
        """
        given, keepers = prompt.shape[1], [self._keeper(row) for row in prompt]
        if sampling.keeps_keys:
            assert len(prompt) == 1
            over_cache = Evicting(self.model, given, self.params, keepers[0])
            return lambda call: over_cache.predict(call)[0]
        return Hiding(self.model, given, self.params, keepers).predict

    def sampling_with(self, sampling: Sampling) -> Sampling:
        """Return the sampling with which positions really go, where they can."""
        return caches(self.model, sampling)

    def _keeper(self, given: torch.Tensor) -> Keeper:
        digest = hashlib.sha256(np.asarray(given.cpu(), np.int64).tobytes()).digest()
        return Keeper(self.kept.keeping, (self.kept.draw, int.from_bytes(digest[:8], "big")))
