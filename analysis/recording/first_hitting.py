"""The sampler published with BD3LM (arXiv 2503.09573): blocks from left to right, their tokens drawn.

With first hitting a forward writes exactly one token, at a place picked at random among the open ones: so many tokens,
so many forwards. Without, time goes from 1 to 0 in steps and each [MASK] is written by chance, as MDLM's are; what is
left at the end becomes the likeliest token, where the published code leaves token 0.

Shapes: B sequences, P tokens of the prompt, b tokens of the open block, V vocabulary.
"""

from collections.abc import Iterator

import torch

from analysis.recording.block_denoising import Canvas, Frame, block_starts
from analysis.recording.mdlm_denoising import race
from analysis.recording.steps import Choice, Predict
from analysis.specs import FirstHittingSampling


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
