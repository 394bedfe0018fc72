"""MDLM's ancestral samplers (arXiv 2406.07524): every step each [MASK] is written by chance, and its token is drawn.

There is no rule of confidence. Time goes from 1 to almost 0; between t and s a [MASK] stays one with probability s / t,
else its token is drawn from the model's prediction, and stays. A prediction is about the text alone, so it is used
again for as long as nothing was written: forwards are fewer than steps. Shapes: B sequences, S positions, V vocabulary.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import one_hot

from analysis.recording.steps import Choice, MaskedText, Predict
from analysis.specs import MDLMSampling

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
