"""Texts written with a part of the keys and values, beside the full one. Shapes: as in `evicting.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.models.loaded import LoadedModel
from analysis.recording.ablation import divergence
from analysis.recording.canvas_denoising import end_tokens, text_length
from analysis.recording.denoising import check_prompt, choices, own_sampling, stop_tokens
from analysis.recording.evicting import Cache, Call, Evicting, Hiding, KeptBefore, new_cache, over_cache
from analysis.recording.keeping import Keeper
from analysis.sinks.token_states import TokenState
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
    ends = torch.tensor(sorted(stop_tokens(model)), dtype=torch.long, device=model.device)

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
    of_draws = (seed, prompt_number)
    run = _in_caches if sampling.keeps_keys else _hidden
    return run(model, prompt, sampling, keepings, params, of_draws, rows, on_forward)


def _hidden(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    keepings: Sequence[Keeping],
    params: SinkParams,
    seed: tuple[int, int],
    rows: Callable[[int], int],
    on_forward: OnForward,
) -> Texts:
    given, length = prompt.shape[1], sampling.length(prompt.shape[1])
    at_once = rows(length)
    parts = [keepings[start : start + at_once] for start in range(0, len(keepings), at_once)]
    told: list[dict[str, float | None]] = []
    kept_before: KeptBefore = {}
    text = np.empty(0)
    for part in parts:
        hiding = Hiding(model, given, params, [Keeper(keeping, seed, kept_before) for keeping in part])

        def compared(call: Call, hiding: Hiding = hiding) -> torch.Tensor:
            state = call.states(model, given)
            logits, seen = hiding.untouched(call, state)
            hidden = hiding.hidden(call, state, seen)
            changed = hiding.run(call.tokens[:1].expand(len(hiding.told), -1), call, hidden)
            places = _judged(state[0])
            for row, of_row in enumerate(hiding.told):
                of_row.divergence.append(divergence(logits[0, places], changed[row, places]))
            return logits

        [text] = written(model, prompt, sampling, seed[0], compared, on_forward)
        told += [of_row.means() for of_row in hiding.told]
    texts: list[np.ndarray] = []
    kept_before = {}
    one_each = at_once if sampling.same_alone and model.architecture.noise is not None else 1
    for start in range(0, len(keepings), one_each):
        part = keepings[start : start + one_each]
        hiding = Hiding(model, given, params, [Keeper(keeping, seed, kept_before) for keeping in part])
        batch = prompt.expand(len(hiding.told), -1)
        texts += list(written(model, batch, sampling, seed[0], hiding.predict, on_forward))
    return Texts(text, texts, told)


def _in_caches(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    keepings: Sequence[Keeping],
    params: SinkParams,
    seed: tuple[int, int],
    rows: Callable[[int], int],
    on_forward: OnForward,
) -> Texts:
    given = prompt.shape[1]
    told: list[dict[str, float | None]] = []
    texts: list[np.ndarray] = []
    text = np.empty(0)
    kept_before: KeptBefore = {}
    for start in range(0, len(keepings), _CACHES):
        full = new_cache(model)
        beside = [
            Evicting(model, given, params, Keeper(keeping, seed, kept_before))
            for keeping in keepings[start : start + _CACHES]
        ]

        def compared(call: Call, full: Cache = full, beside: Sequence[Evicting] = beside) -> torch.Tensor:
            logits = over_cache(full, call)
            places = _judged(call.states(model, given)[0, slice(*call.span)])
            for evicting in beside:
                changed, behind = evicting.predict(call)
                if behind:
                    evicting.told.divergence.append(divergence(logits[0, places], changed[0, places]))
            return logits

        [text] = written(model, prompt, sampling, seed[0], compared, on_forward)
        told += [evicting.told.means() for evicting in beside]
    kept_before = {}
    for keeping in keepings:
        free = Evicting(model, given, params, Keeper(keeping, seed, kept_before))

        def freely(call: Call, free: Evicting = free) -> torch.Tensor:
            return free.predict(call)[0]

        texts += list(written(model, prompt, sampling, seed[0], freely, on_forward))
    return Texts(text, texts, told)


def _judged(state: np.ndarray) -> torch.Tensor:
    """Return the queries whose predictions are compared: the undecided ones of a state (Q,), or the last if none is."""
    undecided = np.flatnonzero(state == TokenState.UNDECIDED)
    return torch.from_numpy(undecided if len(undecided) else np.array([len(state) - 1]))
