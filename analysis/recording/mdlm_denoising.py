"""MDLM's ancestral samplers (arXiv 2406.07524): every step each [MASK] is written by chance, and its token is drawn.

There is no rule of confidence. Time goes from 1 to almost 0; between t and s a [MASK] stays one with probability s / t,
else its token is drawn from the model's prediction, and stays. A prediction is about the text alone, so it is used
again for as long as nothing was written: forwards are fewer than steps.

The sampler published with BD3LM (arXiv 2503.09573): the same block by block, from left to right. With first hitting a
forward writes exactly one token, at a place picked at random among the open ones: so many tokens, so many forwards.
Without, time goes from 1 to 0 in steps; what is left at the end becomes the likeliest token, where the published code
leaves token 0.

Shapes: B sequences, S positions, P tokens of the prompt, b tokens of the open block, V vocabulary.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import one_hot

from analysis.recording.block_denoising import Canvas, Frame, block_starts
from analysis.recording.steps import Choice, MaskedText, Predict
from analysis.specs import FirstHittingSampling, MDLMSampling

NOISE_EPS = 1e-3  # of the log-linear schedule that the published models were trained with


def mdlm_steps(
    predict: Predict, prompt: torch.Tensor, sampling: MDLMSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Write `gen_length` tokens after prompt (B, P), filling [MASK] tokens inside the prompt, too.

    One more forward turns what is still [MASK] at the end into the likeliest token. After a step that wrote nothing,
    the forward would be the same and is not shown twice.
    """
    text = MaskedText(prompt, sampling.gen_length, mask_token)
    probabilities: torch.Tensor | None = None
    confidence = torch.empty(0)

    def choice(output: torch.Tensor) -> Choice:
        sure = confidence.gather(-1, output[..., None])[..., 0]
        return text.write(output != text.tokens, output, sure)

    times = torch.linspace(1, sampling.eps, sampling.steps + 1)
    step = (1 - sampling.eps) / sampling.steps
    for time in times:
        last = time == times[-1]  # what is still masked is then filled in
        tokens, open_ = text.tokens, text.open()
        if not open_.any():
            return
        if probabilities is None:
            probabilities = confidence = predict(tokens, len(tokens)).float().softmax(dim=-1)
        if sampling.updates == "analytic":
            after = torch.tensor(0.0) if last else _sigma(time - step)
            reaching = _denoising(probabilities, tokens, mask_token, _sigma(time), after)
            if last:
                reaching[..., mask_token] = 0
            drawn = race(reaching, generator)
        elif last:
            drawn = probabilities.argmax(dim=-1)
        else:
            masked, left = time, time - step  # how likely a token is masked, now and after the step
            if sampling.updates == "ddpm":
                masked, left = 1 - torch.exp(-_sigma(masked)), 1 - torch.exp(-_sigma(left))
            reaching = probabilities * (masked - left)
            reaching[..., mask_token] = left
            drawn = race(reaching, generator)
        output = torch.where(open_, drawn, tokens)
        if torch.equal(output, tokens):
            continue
        yield choice(output)
        probabilities = None


def draws(shape: torch.Size, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Uniform numbers of this shape."""
    return torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)


def race(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Tokens (B, S) drawn in proportion to weights (B, S, V): the largest of weight over an exponential variate."""
    uniform = draws(weights.shape, generator, weights.dtype)
    return (weights / (1e-10 - (uniform + 1e-10).log())).argmax(dim=-1)


def _sigma(time: torch.Tensor) -> torch.Tensor:
    """The total noise at a time, of the log-linear schedule."""
    return -torch.log1p(-(1 - NOISE_EPS) * time)


def _denoising(
    probabilities: torch.Tensor, tokens: torch.Tensor, mask_token: int, now: torch.Tensor, later: torch.Tensor
) -> torch.Tensor:
    """The analytic update's weights (B, S, V) of every token at masked positions, from noise `now` to `later` (SEDD,
    arXiv 2310.16834): the staggered score times the transition.
    """
    step = now - later
    score = probabilities / torch.expm1(now)
    score[..., mask_token] = 1
    missing = (1 - step.exp()) * score.sum(dim=-1)
    score = score * step.exp()
    score[..., mask_token] += missing
    transition = one_hot(tokens, score.shape[-1]) * (-step).exp() + (1 - (-step).exp())
    return score * transition


def first_hitting_steps(
    predict: Predict, prompt: torch.Tensor, sampling: FirstHittingSampling, frame: Frame
) -> Iterator[Choice]:
    """Write whole blocks from position 0 on, so that the prompt's last block is filled to its end."""
    block, canvas = sampling.block, Canvas(predict, prompt, sampling, frame)
    steps = sampling.steps_per_block or block
    times = [1.0] * block if sampling.first_hitting else torch.linspace(1, 0, steps).tolist()
    for _ in canvas.through(block_starts(prompt, sampling)):
        probabilities: torch.Tensor | None = None
        for time in [*times, 0.0]:
            if not canvas.open.any():
                break
            if probabilities is None:
                whole = canvas.logits().double().softmax(dim=-1)
                probabilities = nucleus(whole, sampling.top_p)
            if sampling.first_hitting:
                drawn = race(probabilities, frame.generator)
                chosen = picked(canvas.open, frame.generator)
            elif time <= 1 / steps:
                drawn, chosen = probabilities.argmax(dim=-1), canvas.open
            else:
                stay = (time - 1 / steps) / time
                reaching = probabilities * (1 - stay)
                reaching[..., frame.mask_token] = stay
                drawn = race(reaching, frame.generator)
                chosen = canvas.open & (drawn != frame.mask_token)
            if not chosen.any():
                continue  # the text is the same, and so is what the model predicts
            yield canvas.write(chosen, drawn, whole.gather(-1, drawn[..., None])[..., 0].float())
            probabilities = None
        if canvas.has_ended(canvas.given):
            return


def nucleus(probabilities: torch.Tensor, top_p: float | None) -> torch.Tensor:
    """Keep the probabilities (B, b, V) of the likeliest tokens up to a sum of `top_p`, without the one that crosses it
    but always with the likeliest; scaled to sum to 1.
    """
    if top_p is None or top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    keep = ordered.cumsum(dim=-1) <= top_p
    keep[..., 0] = True
    kept = torch.zeros_like(probabilities).scatter(-1, order, ordered * keep)
    return kept / kept.sum(dim=-1, keepdim=True)


def picked(open_: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the open places (B, b) of each row, any as likely."""
    chosen = torch.zeros_like(open_)
    for row, places in enumerate(open_):
        at = places.nonzero()[:, 0]
        if len(at):
            chosen[row, at[place(len(at), generator)]] = True
    return chosen


def place(count: int, generator: torch.Generator) -> int:
    """One of so many places."""
    return int(torch.randint(count, (1,), generator=generator, device=generator.device))
