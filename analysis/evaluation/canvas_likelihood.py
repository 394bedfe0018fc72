"""Likelihood of answers under a model that denoises random tokens (DiffusionGemma), by two numbers that are exact about
what they measure.

Estimators that average over [MASK] in the answer mean nothing to a model whose noise is random tokens, and none is run
on one. A bound for such noise is that of the process which its ratios drive, and the sampler (temperature, entropy
bound, likeliest tokens at the end) follows another. What can be said instead:

    reader      log p(answer | context) = Σ_i log p(x_i | context, x_<i) of the encoder with the head. Exact and one
                forward, but of what reads the text, not of what writes it: they share all weights but a scalar a layer.
    denoiser    log mean_z p(x | context, z) of an answer of one token, at the first position of a canvas z of pure
                noise. Such a canvas says nothing of the answer, so this is the denoiser's own marginal and no bound; it
                is averaged over draws of z, as the network need not ignore them.

Written answers are the sampler's own (`LanguageModel.generate_until`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from analysis.attention import Edit
from analysis.errors import UserError
from analysis.evaluation.likelihood import (
    Budget,
    Likelihood,
    OnResult,
    Part,
    Request,
    check_request,
    finite,
    masks_seed,
    planned_forwards,
    run_forwards,
)
from analysis.evaluation.masked_sets import MaskedSet
from analysis.models.canvas import CanvasCache, new_cache, read
from analysis.models.checks import check_logits
from analysis.models.layout import layout_of
from analysis.models.loaded import LoadedModel
from analysis.recording.evicting import Call, over_cache
from analysis.recording.eviction import EvictedForwards, OnForward
from analysis.sinks.step_inputs import TokenState
from analysis.specs import CANVAS_SCORES


def canvas_log_likelihoods(
    model: LoadedModel,
    requests: Sequence[Request],
    by: str,
    draws: int,
    seed: int,
    on_result: OnResult = lambda index, result: None,
    budget: Budget | None = None,
    on_forward: OnForward = lambda: None,
    kept: EvictedForwards | None = None,
) -> list[Likelihood]:
    """Score answers, in the order asked; `on_result` is called with the index of each as it is finished.

    by: of `CANVAS_SCORES`. draws: canvases of the denoiser, chosen by seed, task and item alone, so that the
    choices of an item, and models that are compared, see the same. kept: keys that are left out, where some are: of the
    reader's whole text, or of the context before the denoiser's canvas. Raises UserError for an answer or a context
    without tokens, for a text that is too long, for answers of several tokens by the denoiser, and for what is not
    finite; MemoryError when not even one sequence fits.
    """
    reads = CANVAS_SCORES[by].reads
    for request in requests:
        check_request(model, request, True, None if reads else model.architecture.block_size or 0)
        answer = len(request.continuation)
        if CANVAS_SCORES[by].one_token and answer > 1:
            raise UserError(
                f"The denoiser of {model.architecture.name} gives a likelihood to answers of one token alone, and an "
                f"answer of '{request.task}' has {answer}. Score by the reader, or choose a task that is answered in "
                "text or by a letter."
            )
    if reads:
        scored = _by_reader(model, requests, budget or Budget.of(model), on_forward, kept)
    else:
        scored = _by_denoiser(model, requests, draws, seed, on_forward, kept)
    results: dict[int, Likelihood] = {}
    for index, result in scored:
        results[index] = result
        on_result(index, result)
    return [results[index] for index in range(len(requests))]


def _by_reader(
    model: LoadedModel, requests: Sequence[Request], budget: Budget, on_forward: OnForward, kept: EvictedForwards | None
) -> Iterator[tuple[int, Likelihood]]:
    # The encoder reads the answer as an autoregressive model does: what it reads up to its last token.
    parts = [Part(index, each.context, each.continuation, opening=True) for index, each in enumerate(requests)]
    plans = [[MaskedSet(tuple(range(len(part.tokens))), 1.0)] for part in parts]
    forwards, predict = planned_forwards(model, parts, plans), partial(_read_logits, model)
    for reader, value, greedy in run_forwards(model, forwards, 0.0, budget, on_forward, kept, predict):
        yield reader.request, Likelihood(value, True, 1, greedy, len(reader.tokens))


@torch.no_grad()
def _read_logits(model: LoadedModel, tokens: torch.Tensor, keep: int, edit: Edit | None, **_: Any) -> torch.Tensor:
    """The encoder's logits about the token after each of the last positions of tokens (B, S), (B, keep, V)."""
    network = model.network
    states = read(network, tokens.to(model.device), new_cache(network), 0, edit=edit)[:, -keep:]
    cap = network.config.get_text_config().final_logit_softcapping
    logits: torch.Tensor = network.get_submodule("lm_head")(states).float()
    logits = logits if cap is None else torch.tanh(logits / cap) * cap
    check_logits(logits, model.dtype)
    return logits


def _by_denoiser(
    model: LoadedModel,
    requests: Sequence[Request],
    draws: int,
    seed: int,
    on_forward: OnForward,
    kept: EvictedForwards | None,
) -> Iterator[tuple[int, Likelihood]]:
    asked: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        # By the item, not by the context: the choices of some items have contexts of their own.
        asked[request.context, masks_seed(request, seed)].append(index)
    canvas = model.architecture.block_size
    assert canvas is not None
    for (context, canvas_seed), members in asked.items():
        generator = torch.Generator().manual_seed(canvas_seed % 2**63)
        prompt, start = torch.tensor([context], device=model.device), len(context)
        forward = partial(over_cache, CanvasCache(model)) if kept is None else kept.over_cache(prompt[0])
        state = torch.full((1, start + canvas), int(TokenState.UNDECIDED))
        state[:, :start] = int(TokenState.GIVEN)
        layout = replace(layout_of(model.architecture, start), open_from=start)
        means = torch.zeros(model.geometry.vocabulary, dtype=torch.float64)
        for draw in range(draws):
            noise = torch.randint(0, model.geometry.vocabulary, (1, canvas), generator=generator)
            call = Call(torch.cat([prompt, noise.to(model.device)], dim=1), 1, layout, start, state=state)
            if kept is not None and not draw:  # all canvases are denoised beside what the first one decides to keep
                on_forward()
                forward(call)
            on_forward()
            logits = forward(call)[:, 0]
            means += logits[0].float().softmax(dim=-1).double().cpu() / draws
        for index in members:
            token = requests[index].continuation[0]
            value = finite(float(means[token].log()))
            yield index, Likelihood(value, False, draws, int(means.argmax()) == token, 1)
