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

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from analysis.attention import Edit
from analysis.errors import UserError
from analysis.evaluation.likelihood import Budget, Likelihood, Request
from analysis.evaluation.masked_sets import hashed
from analysis.models.canvas import CanvasCache, new_cache, read
from analysis.models.layout import layout_of
from analysis.models.loaded import LoadedModel
from analysis.models.weight_checks import check_logits
from analysis.recording.evicted_forwards import EvictedForwards
from analysis.recording.evicting import Call, over_cache
from analysis.sinks.token_states import TokenState
from analysis.specs import CANVAS_SCORES

OnResult = Callable[[int, Likelihood], None]


def canvas_log_likelihoods(
    model: LoadedModel,
    requests: Sequence[Request],
    by: str,
    draws: int,
    seed: int,
    on_result: OnResult = lambda index, result: None,
    budget: Budget | None = None,
    on_forward: Callable[[], None] = lambda: None,
    kept: EvictedForwards | None = None,
) -> list[Likelihood]:
    """Score answers, in the order asked; `on_result` is called with the index of each as it is finished.

    by: of `CANVAS_SCORES`. draws: canvases of the denoiser, chosen by seed, task and item alone, so that the
    choices of an item, and models that are compared, see the same. on_forward: called before every forward. kept: keys
    that are left out, where some are: of the reader's whole text, or of the context before the denoiser's canvas.
    Raises UserError for an answer or a context without tokens, for a text that is too long, for answers of several
    tokens by the denoiser, and for what is not finite.
    """
    _check(model, requests, by)
    score = _SCORES[by]
    return score(model, requests, draws, seed, on_result, budget or Budget.of(model), on_forward, kept)


def _by_reader(
    model: LoadedModel,
    requests: Sequence[Request],
    draws: int,
    seed: int,
    on_result: OnResult,
    budget: Budget,
    on_forward: Callable[[], None],
    kept: EvictedForwards | None,
) -> list[Likelihood]:
    results: dict[int, Likelihood] = {}
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        by_length[len(request.context) + len(request.continuation)].append(index)
    for length, members in sorted(by_length.items()):
        longest = max(len(requests[index].continuation) for index in members)
        rows = budget.rows(length, longest, model.geometry.vocabulary)
        for start in range(0, len(members), rows):
            batch = members[start : start + rows]
            on_forward()
            # The last token is not read, as no answer follows it.
            texts = [(*requests[index].context, *requests[index].continuation)[:-1] for index in batch]
            tokens = torch.tensor(texts, device=model.device)
            given = [len(requests[index].context) for index in batch]
            edit = None if kept is None else kept.edit(tokens, given, None, False)
            logits = _read_logits(model, tokens, longest, edit)
            for row, index in zip(logits, batch, strict=True):
                answer = torch.tensor(requests[index].continuation, device=row.device)
                scored = row[-len(answer) :].float()
                logs = scored.log_softmax(dim=-1).gather(-1, answer[:, None])[:, 0].double().tolist()
                greedy = bool((scored.argmax(dim=-1) == answer).all())
                results[index] = _result(math.fsum(logs), True, 1, greedy, len(answer))
                on_result(index, results[index])
    return [results[index] for index in range(len(requests))]


@torch.no_grad()
def _read_logits(model: LoadedModel, tokens: torch.Tensor, last: int, edit: Edit | None) -> torch.Tensor:
    """The encoder's logits about the token after each of the last positions of tokens (B, S), (B, last, V)."""
    network = model.network
    states = read(network, tokens, new_cache(network), 0, edit=edit)[:, -last:]
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
    on_result: OnResult,
    budget: Budget,
    on_forward: Callable[[], None],
    kept: EvictedForwards | None,
) -> list[Likelihood]:
    results: dict[int, Likelihood] = {}
    asked: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        # By the item, not by the context: the choices of some items have contexts of their own.
        asked[request.context, hashed((seed, request.task, request.item or request.context))].append(index)
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
            results[index] = _result(float(means[token].log()), False, draws, int(means.argmax()) == token, 1)
            on_result(index, results[index])
    return [results[index] for index in range(len(requests))]


_SCORES = {"reader": _by_reader, "denoiser": _by_denoiser}


def _result(value: float, exact: bool, draws: int, greedy: bool, tokens: int) -> Likelihood:
    if not math.isfinite(value):
        raise UserError(
            f"The likelihood of an answer is not finite ({value}): the model rules one of its tokens out, or its "
            "numbers overflow. Run in float32, or check the checkpoint."
        )
    return Likelihood(value, exact, draws, greedy, tokens)


def _check(model: LoadedModel, requests: Sequence[Request], by: str) -> None:
    longest, canvas = model.geometry.max_length, model.architecture.block_size or 0
    for request in requests:
        answer = len(request.continuation)
        length = len(request.context) + (answer if by == "reader" else canvas)
        if not answer:
            raise UserError("An answer with no tokens has no likelihood. Check the task's choices.")
        if not request.context:
            raise UserError(f"{model.architecture.name} needs at least one context token to score an answer.")
        if CANVAS_SCORES[by].one_token and answer > 1:
            raise UserError(
                f"The denoiser of {model.architecture.name} gives a likelihood to answers of one token alone, and an "
                f"answer of '{request.task}' has {answer}. Score by the reader, or choose a task that is answered in "
                "text or by a letter."
            )
        if length > longest:
            what = "answer" if by == "reader" else "canvas"
            raise UserError(f"Context and {what} make {length} tokens; this model takes {longest}. Use fewer examples.")
