"""Dream's sampler as a generator of steps, by its noise schedule and in Fast-dLLM's ways (arXiv 2505.22618)."""

import math
from collections.abc import Callable, Iterator

import torch

from analysis.recording.steps import Choice, MaskedText, Predict, best, cached_queries, draw, probability, sure_enough
from analysis.specs import DreamSampling


def dream_steps(
    predict: Predict, prompt: torch.Tensor, sampling: DreamSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Dream's sampler (arXiv 2508.15487). [MASK] tokens inside the prompt are filled, too."""
    ways = _by_blocks if sampling.keeps_keys else _by_schedule if sampling.threshold is None else _by_threshold
    return ways(predict, MaskedText(prompt, sampling.gen_length, mask_token), sampling, generator)


def _by_schedule(
    predict: Predict, text: MaskedText, sampling: DreamSampling, generator: torch.Generator
) -> Iterator[Choice]:
    """The noise level t falls linearly from 1 to eps.

    Where few tokens are left for many steps, the schedule gives some steps no token at all; they are left out.
    """
    levels = torch.linspace(1, sampling.eps, sampling.steps + 1)
    for step in range(sampling.steps):
        masked = text.open()
        last = step == sampling.steps - 1
        share = 1.0 if last else float(1 - levels[step + 1] / levels[step])
        if sampling.alg == "origin":
            chosen = masked & (torch.rand(masked.shape, generator=generator, device=masked.device) < share)
            counts = chosen.sum(dim=1)
        else:
            counts = (masked.sum(dim=1).float() * share).long()
        if not counts.any():
            continue
        logits = predict(text.tokens, len(text.tokens))
        predicted, probabilities = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        if sampling.alg != "origin":
            certainty = _CERTAINTY[sampling.alg](probabilities, predicted).masked_fill(~masked, -math.inf)
            chosen = _keep(certainty, counts, sampling.alg_temp, generator)
        yield text.write(chosen, predicted, probability(logits, predicted))


def _by_threshold(
    predict: Predict, text: MaskedText, sampling: DreamSampling, generator: torch.Generator
) -> Iterator[Choice]:
    """Without a cache: every step may write an even share of the text and what earlier ones refused, of which it writes
    what is sure enough. When the steps are over, further ones follow until nothing is left.
    """
    assert sampling.threshold is not None
    masks = text.open().sum(dim=1)
    share, owed = masks // sampling.steps, torch.zeros_like(masks)
    # A step writes at least one token of every row, unless the model chooses [MASK] itself.
    for step in range(sampling.steps + int(masks.max())):
        masked = text.open()
        left = masked.sum(dim=1)
        if not left.any():
            return
        quota = left if step >= sampling.steps - 1 else torch.minimum((share + owed).clamp(min=1), left)
        logits = predict(text.tokens, len(text.tokens))
        predicted, probabilities = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        certainty = _chosen_probability(probabilities, predicted)
        allowed = best(certainty.masked_fill(~masked, -math.inf), quota)
        chosen = sure_enough(allowed, certainty, sampling.threshold)
        owed = quota - chosen.sum(dim=1)
        yield text.write(chosen, predicted, probability(logits, predicted))


def _by_blocks(
    predict: Predict, text: MaskedText, sampling: DreamSampling, generator: torch.Generator
) -> Iterator[Choice]:
    """Under a cache: the whole forward that opens a block writes its first token alone, since behind a cache nothing
    predicts that one; further forwards write what is sure enough, or by entropy what the noise schedule gives them.
    """
    block, blocks, length = sampling.block, sampling.gen_length // sampling.block, text.tokens.shape[1]
    steps = block if sampling.threshold is not None else sampling.steps // blocks
    levels = torch.linspace(1, sampling.eps, steps + 1)
    for number, begin in enumerate(range(text.start, length, block), start=1):
        end = begin + block
        for step in range(steps):
            tokens, open_ = text.tokens, text.open(end, begin)
            counts = open_.sum(dim=1)
            if step and sampling.threshold is None and step < steps - 1:
                counts = (counts.float() * float(1 - levels[step + 1] / levels[step])).long()
            if not counts.any():
                continue
            queries = cached_queries(sampling.cache, step, (begin, end), length)
            assert queries is not None
            logits = predict(tokens, len(tokens), queries=queries)
            drawn, probabilities = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
            span = slice(*queries)
            if step == 0:
                chosen = torch.zeros_like(open_)
                chosen[:, begin] = True
            else:
                rule = "entropy" if sampling.threshold is None else "maskgit_plus"
                certainty = torch.zeros(tokens.shape, device=tokens.device)
                certainty[:, span] = _CERTAINTY[rule](probabilities, drawn)
                chosen = (
                    _keep(certainty.masked_fill(~open_, -math.inf), counts, sampling.alg_temp, generator)
                    if sampling.threshold is None
                    else sure_enough(open_, certainty, sampling.threshold)
                )
            predicted, confidence = tokens.clone(), torch.full(tokens.shape, math.nan, device=tokens.device)
            predicted[:, span], confidence[:, span] = drawn, probability(logits, drawn)
            yield text.write(chosen, predicted, confidence, (begin, end), number, blocks, queries)


def _keep(
    certainty: torch.Tensor, counts: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """The `counts` most certain positions, or as many drawn by softmax(certainty / temperature)."""
    if temperature == 0:
        return best(certainty, counts)
    # Gumbel top-k draws without replacement with exactly these probabilities.
    uniform = torch.rand(certainty.shape, generator=generator, device=certainty.device)
    return best(certainty / temperature - torch.log(-torch.log(uniform)), counts)


def _margin(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    first, second = probabilities.topk(2, dim=-1).values.unbind(-1)
    return first - second


def _chosen_probability(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    return probabilities.gather(-1, predicted[..., None])[..., 0]


_CERTAINTY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "maskgit_plus": _chosen_probability,
    "topk_margin": _margin,
    "entropy": lambda probabilities, predicted: (probabilities * torch.log(probabilities + 1e-10)).sum(dim=-1),
}
