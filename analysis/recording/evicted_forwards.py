"""Forwards of scored texts in which a policy decides which keys queries attend to, text by text.

Shapes: B texts, L layers, S positions.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from analysis.models.canvas import new_cache, read
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.evicting import Call, Chooser, Evicting, HiddenKeys, Hiding, KeyAttention, token_states
from analysis.recording.eviction import caches
from analysis.recording.keeping import Keeper
from analysis.sinks.token_states import TokenState
from analysis.specs import Kept, Sampling, SinkParams


@dataclass
class EvictedForwards:
    """Choice of keys for every text by its own untouched forward, so a policy knows the present input, as in `Hiding`.

    A control draws by its seed and the given tokens: all masked inputs and all answers of one item share the draw.
    """

    model: LoadedModel
    kept: Kept
    params: SinkParams = field(default_factory=SinkParams)

    def edit(self, tokens: torch.Tensor, given: Sequence[int], layout: Layout | None, aligned: bool) -> HiddenKeys:
        """Return what is hidden in a forward over texts (B, S), of which so many tokens are given at the start."""
        state, (rows, length) = token_states(self.model, tokens, given), tokens.shape
        call = Call(tokens, rows, layout, aligned=aligned)
        seen = self._seen(call, state)
        held = Chooser(self.model, 0, self.params).held_of_whole(call, state, seen, np.stack(seen.now, axis=1))
        kept = [
            self._keeper(text[:count]).choose(of_text) for text, count, of_text in zip(tokens, given, held, strict=True)
        ]
        return HiddenKeys.all_but(kept, length)

    def _seen(self, call: Call, state: np.ndarray) -> KeyAttention:
        """Return what keys draw in the untouched forward of an input. Policies that score the same items share it."""
        asked = (call.tokens.shape, call.tokens.cpu().numpy().tobytes(), call.layout, call.aligned)
        name = (KeyAttention, *asked, torch.get_num_threads())  # how many sum decides the last bits
        known = self.model.remembered.get(name)
        if known is not None:
            return known
        seen = KeyAttention(state == TokenState.UNDECIDED)
        if self.model.architecture.noise == "uniform":
            read(self.model.network, call.tokens, new_cache(self.model.network), 0, seen)
        else:
            self.model.predict(call.tokens, seen, keep=1, layout=call.layout, aligned=call.aligned)
        self.model.remembered.put(name, seen, seen.size)
        return seen

    def writer(self, prompt: torch.Tensor, sampling: Sampling) -> Callable[[Call], torch.Tensor]:
        """Return the forwards that write after prompts (B, P): over a cache from which positions go where the sampling
        keeps keys, of one prompt; else with keys hidden. sampling: of `sampling_with`.
        """
        if sampling.keeps_keys:
            assert len(prompt) == 1
            return self.over_cache(prompt[0])
        return Hiding(self.model, prompt.shape[1], self.params, [self._keeper(row) for row in prompt]).predict

    def over_cache(self, prompt: torch.Tensor) -> Callable[[Call], torch.Tensor]:
        """Return the forwards after a prompt (P,) over a cache from which positions go after the first of a block."""
        return Evicting(self.model, len(prompt), self.params, self._keeper(prompt)).logits

    def sampling_with(self, sampling: Sampling) -> Sampling:
        """Return the sampling with which positions really go, where they can."""
        return caches(self.model, sampling)

    def _keeper(self, given: torch.Tensor) -> Keeper:
        digest = hashlib.sha256(np.asarray(given.cpu(), np.int64).tobytes()).digest()
        return Keeper(self.kept.keeping, (self.kept.draw, int.from_bytes(digest[:8], "big")))
