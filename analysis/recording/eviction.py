"""Texts written or scored with a part of the keys and values, beside the full one. When scored, each text has its own
choice of keys.

Shapes: as in `evicting.py`; B texts when scored.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.models.canvas import new_cache, read
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.canvas_denoising import end_tokens, text_length
from analysis.recording.denoising import choices, end_ids, own_sampling
from analysis.recording.evicting import (
    BesideCaches,
    Call,
    Chooser,
    Evicting,
    HiddenKeys,
    Hiding,
    KeyAttention,
    token_states,
)
from analysis.recording.keeping import Keeper, KeptBefore
from analysis.sinks.step_inputs import TokenState
from analysis.specs import DiffusionGemmaSampling, Keeping, Sampling, SinkParams

OnForward = Callable[[], None]
"""Called before every forward; what it raises ends the work."""
_CACHES = 8  # evicted caches that stand beside the full one at a time


def written(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    seed: int,
    forward: Callable[[Call], torch.Tensor],
    on_forward: OnForward,
    over: Callable[[torch.Tensor], bool] | None = None,
) -> np.ndarray:
    """Write a text after prompt (B, P) with these forwards. Returns the new tokens, (B, N). over: says of those so far
    whether an autoregressive model may stop; by default where all rows end.

    Raises UserError as `denoise` does for a sampler or prompt that does not fit.
    """
    sampling = own_sampling(model, sampling, prompt.tolist())
    prompt = prompt.to(model.device)
    ends, text = end_ids(model), prompt[:, :0]

    def predict(*asked: Any, **named: Any) -> torch.Tensor:
        on_forward()
        return forward(Call(*asked, **named))

    over = over or (lambda text: bool(torch.isin(text[:, -1], ends).all()))
    for choice in choices(model, predict, prompt, sampling, seed, ends):
        text = choice.output[:, prompt.shape[1] :]
        if model.architecture.noise is None and over(text):
            break
    if isinstance(sampling, DiffusionGemmaSampling):
        text = text[:, : text_length(text[0], end_tokens(model))]
    return text.cpu().numpy()


def caches(model: LoadedModel, sampling: Sampling) -> Sampling:
    """Return the sampling with which positions really go: block families cache their finished text, where they can."""
    if hasattr(sampling, "cached") and not model.architecture.why_no_cache:
        return sampling.model_copy(update={"cached": True})
    return sampling


@dataclass(frozen=True)
class Texts:
    """One prompt under several keepings. text: that of the full run, (N,); texts: of each keeping; told: of each."""

    text: np.ndarray
    texts: list[np.ndarray]
    told: list[dict[str, float | None]]


def evicted(
    model: LoadedModel,
    ids: Sequence[int],
    sampling: Sampling,
    keepings: Sequence[Keeping],
    params: SinkParams,
    seed: int,
    prompt_number: int,
    rows: Callable[[int], int],
    on_forward: OnForward,
) -> Texts:
    """Write a text fully and under every keeping; a control comes after its policy.

    Twice: on the inputs of the full run, for its predictions and the cache; and freely, for its text. rows: how many
    keepings run in one batch, where keys are hidden, for a text of a length. sampling: of `caches`.
    """
    prompt = torch.tensor([list(ids)], dtype=torch.long)
    given, told, texts, text = len(ids), list[dict[str, float | None]](), list[np.ndarray](), np.empty(0)
    at_once = _CACHES if sampling.keeps_keys else rows(sampling.length(given))

    def write(after: torch.Tensor, forward: Callable[[Call], torch.Tensor]) -> np.ndarray:
        return written(model, after, sampling, seed, forward, on_forward)

    def parts(size: int) -> Iterator[list[Keeper]]:
        kept_before: KeptBefore = {}
        for start in range(0, len(keepings), size):
            part = keepings[start : start + size]
            yield [Keeper(keeping, (seed, prompt_number), kept_before) for keeping in part]

    for keepers in parts(at_once):
        beside = (BesideCaches if sampling.keeps_keys else Hiding)(model, given, params, keepers)
        [text] = write(prompt, beside.compared)
        told += [of_text.means() for of_text in beside.told]
    if sampling.keeps_keys:
        for [keeper] in parts(1):
            texts += list(write(prompt, Evicting(model, given, params, keeper).logits))
    else:
        for keepers in parts(at_once if sampling.same_alone and model.architecture.noise is not None else 1):
            hiding = Hiding(model, given, params, keepers)
            texts += list(write(prompt.expand(len(keepers), -1), hiding.predict))
    return Texts(text, texts, told)


@dataclass
class EvictedForwards:
    """Choice of keys for every text by its own untouched forward, so a policy knows the present input, as in `Hiding`.

    A control draws by its seed and the given tokens: all masked inputs and all answers of one item share the draw.
    """

    model: LoadedModel
    kept: Keeping

    def edit(self, tokens: torch.Tensor, given: Sequence[int], layout: Layout | None, aligned: bool) -> HiddenKeys:
        """Return what is hidden in a forward over texts (B, S), of which so many tokens are given at the start."""
        state, (rows, length) = token_states(self.model, tokens, given), tokens.shape
        call = Call(tokens, rows, layout, aligned=aligned)
        seen = self._seen(call, state)
        held = Chooser(self.model, 0, SinkParams()).held_of_whole(call, state, seen, np.stack(seen.now, axis=1))
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
        keeps keys, of one prompt; else with keys hidden. sampling: of `caches`.
        """
        if sampling.keeps_keys:
            assert len(prompt) == 1
            return self.over_cache(prompt[0])
        return Hiding(self.model, prompt.shape[1], SinkParams(), [self._keeper(row) for row in prompt]).predict

    def over_cache(self, prompt: torch.Tensor) -> Callable[[Call], torch.Tensor]:
        """Return the forwards after a prompt (P,) over a cache from which positions go after the first of a block."""
        return Evicting(self.model, len(prompt), SinkParams(), self._keeper(prompt)).logits

    def _keeper(self, given: torch.Tensor) -> Keeper:
        digest = hashlib.sha256(np.asarray(given.cpu(), np.int64).tobytes()).digest()
        return Keeper(self.kept, (self.kept.draw, int.from_bytes(digest[:8], "big")))
