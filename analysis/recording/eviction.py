"""Texts written with a part of the keys and values, beside the full one. Shapes: as in `evicting.py`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.models.loaded import LoadedModel
from analysis.recording.canvas_denoising import end_tokens, text_length
from analysis.recording.denoising import check_prompt, choices, end_ids, own_sampling
from analysis.recording.evicting import BesideCaches, Call, Evicting, Hiding, KeptBefore
from analysis.recording.keeping import Keeper
from analysis.specs import DiffusionGemmaSampling, Keeping, Sampling, SinkParams

OnForward = Callable[[], None]
_CACHES = 8  # evicted caches that stand beside the full one at a time


def written(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    seed: int,
    forward: Callable[[Call], torch.Tensor],
    on_forward: OnForward,
) -> np.ndarray:
    """Write a text after prompt (B, P) with these forwards. Returns the new tokens, (B, N).

    Raises UserError as `denoise` does for a sampler or prompt that does not fit.
    """
    sampling = own_sampling(model, sampling)
    check_prompt(model, prompt, sampling)
    prompt = prompt.to(model.device)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    ends = end_ids(model)

    def predict(*asked: Any, **named: Any) -> torch.Tensor:
        on_forward()
        return forward(Call(*asked, **named))

    output = prompt
    for choice in choices(model, predict, prompt, sampling, generator, ends):
        output = choice.output
        if model.architecture.noise is None and torch.isin(output[:, -1], ends).all():
            break
    text = output[:, prompt.shape[1] :]
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
