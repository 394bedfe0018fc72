"""Writing text block by block, as the samplers published with SDAR, BD3LM, LLaDA2, Fast-dLLM v2 and Nemotron do.

A sampler is one row of `BLOCK_SAMPLERS`: a generator of steps, as those of `denoising.py` are. Forwards are whole, or
with `cached` over the open block alone: finished blocks never see later ones, so keys kept from an earlier forward are
the same. A row of a batch that is complete waits for the others.

Shapes: B sequences, P tokens of the prompt, S of the text so far.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from analysis.models.families import Architecture
from analysis.models.layout import Layout, layout_of
from analysis.recording.steps import Choice, best, draw, gumbel_argmax, probability, written_once
from analysis.specs import (
    BD3LMSampling,
    FastDLLMSampling,
    LLaDA2Sampling,
    NemotronSampling,
    SDARSampling,
    linear_shares,
)


class BlockPredict(Protocol):
    """(B, S) token ids, how many of the sequences to observe, the blocks of the text -> logits (B, S − first, V).

    first: the first query; what lies before it is finished, and run once. aligned False: logits as the network gives
    them, so that those of a shifted family at i are about the token at i + 1; asked for where no block is open.
    """

    def __call__(
        self, tokens: torch.Tensor, observed: int, layout: Layout, first: int = 0, aligned: bool = True
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class Frame:
    """Constants of a sampler beside its parameters. ends: token ids that end a text, (n,)."""

    architecture: Architecture
    mask_token: int
    generator: torch.Generator
    ends: torch.Tensor


@dataclass(frozen=True)
class Canvas:
    """The text so far with the open block, `start` to `end`, at its end; `number` of `blocks`. given: P. first: the
    first query of its forward.
    """

    tokens: torch.Tensor
    start: int
    end: int
    number: int
    blocks: int
    given: int
    mask_token: int
    first: int = 0

    @property
    def open(self) -> torch.Tensor:
        """Undecided tokens of the open block, (B, end − start) bool."""
        return self.tokens[:, self.start : self.end] == self.mask_token

    def step(self, chosen: torch.Tensor, predicted: torch.Tensor, confidence: torch.Tensor) -> Choice:
        """The step that writes `predicted` at `chosen`, both (B, end − start), as is `confidence`."""
        tokens, span = self.tokens, slice(self.start, self.end)
        written = torch.zeros_like(tokens, dtype=torch.bool)
        written[:, span] = chosen
        sure = torch.full(tokens.shape, math.nan, device=tokens.device)
        sure[:, span] = confidence.masked_fill(~chosen, math.nan)
        output = tokens.clone()
        output[:, span] = torch.where(chosen, predicted, tokens[:, span])
        return self._choice(written, sure, output, (self.start, self.end))

    def append(self, predicted: torch.Tensor, confidence: torch.Tensor) -> Choice:
        """The step that writes one token (B, 1) after a text without an open block."""
        tokens = self.tokens
        output = torch.cat([tokens, predicted], dim=1)
        written = torch.zeros_like(output, dtype=torch.bool)
        written[:, -1] = True
        sure = torch.full(output.shape, math.nan, device=tokens.device)
        sure[:, -1:] = confidence
        return self._choice(written, sure, output, (tokens.shape[1], tokens.shape[1] + 1))

    def _choice(
        self, written: torch.Tensor, sure: torch.Tensor, output: torch.Tensor, open_block: tuple[int, int]
    ) -> Choice:
        """A step from these tokens to `output`."""
        queries = (self.first, self.tokens.shape[1]) if self.first else None
        return Choice(self.tokens, self.state(), written, sure, output, open_block, self.number, self.blocks, queries)

    def state(self) -> torch.Tensor:
        given = torch.arange(self.tokens.shape[1], device=self.tokens.device).expand_as(self.tokens) < self.given
        return written_once(self.tokens, given, self.mask_token)


def sdar_steps(predict: BlockPredict, prompt: torch.Tensor, sampling: SDARSampling, frame: Frame) -> Iterator[Choice]:
    """SDAR (arXiv 2510.06303): blocks from position 0, so that the prompt's last ones may be written to their end.

    The published code's budget, where fewer tokens are left than it, also overwrites decided ones; here it does not.
    """
    given, block = prompt.shape[1], sampling.block
    layout = layout_of(frame.architecture, given, block)
    total, first = sampling.length(given), given // block * block
    budget = _shares(block, min(sampling.steps_per_block or block, block))
    tokens, blocks = prompt, (total - first) // block
    for number, start in enumerate(range(first, total, block), start=1):
        tokens, query = with_masks(tokens, start + block, frame.mask_token), start if sampling.cached else 0
        for count in budget:
            canvas = Canvas(tokens, start, start + block, number, blocks, given, frame.mask_token, query)
            if not canvas.open.any():
                break
            logits = predict(tokens, len(tokens), layout, query)[:, start - query :]
            predicted, certainty = sdar_draw(logits, sampling, frame.generator)
            chosen = sdar_choice(canvas.open, certainty, count, sampling)
            choice = canvas.step(chosen, predicted, probability(logits, predicted))
            yield choice
            tokens = choice.output
        if torch.isin(tokens[:, given:], frame.ends).any(dim=1).all():
            return


def sdar_draw(
    logits: torch.Tensor, sampling: SDARSampling | LLaDA2Sampling, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, S) and the probability each was drawn with, among the top-k first and of those the top-p."""
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        lowest = logits.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -math.inf)
    predicted, probabilities = draw(logits, sampling.temperature, sampling.top_p, None, generator)
    return predicted, probabilities.gather(-1, predicted[..., None])[..., 0]


def sdar_choice(open_: torch.Tensor, certainty: torch.Tensor, count: int, sampling: SDARSampling) -> torch.Tensor:
    """Select the undecided tokens (B, S) that a step with a budget of `count` writes."""
    if sampling.strategy == "sequential":
        return open_ & (open_.cumsum(dim=1) <= count)
    if sampling.strategy == "low-confidence-static":
        return _surest(open_, certainty, count)
    return _sure_enough(open_, certainty, sampling.threshold, count)


def llada2_steps(
    predict: BlockPredict, prompt: torch.Tensor, sampling: LLaDA2Sampling, frame: Frame
) -> Iterator[Choice]:
    """LLaDA2.0, and with an editing threshold LLaDA2.1, whose tokens can change until their block is finished.

    Tokens of the prompt are not edited, and earlier blocks are final. A step that neither writes nor edits ends the
    block; so do `editing_steps` steps that began with a full block, since edits can cycle.
    """
    given, block = prompt.shape[1], sampling.block
    layout = layout_of(frame.architecture, given, block)
    total, first = sampling.length(given), given // block * block
    budget = _shares(block, min(sampling.steps_per_block or block, block))
    edits, editing_steps = sampling.editing_threshold, sampling.editing_steps
    tokens = prompt
    for number, start in enumerate(range(first, total, block), start=1):
        tokens = with_masks(tokens, start + block, frame.mask_token)
        editable = torch.arange(start, start + block, device=tokens.device) >= given
        finished = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        full_steps = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        for step in range(len(budget) if edits is None else block + editing_steps):
            canvas = Canvas(tokens, start, start + block, number, (total - first) // block, given, frame.mask_token)
            full = ~canvas.open.any(dim=1)
            full_steps += full
            finished |= full & (full_steps > (0 if edits is None else editing_steps))
            if finished.all():
                break
            logits = predict(tokens, len(tokens), layout)[:, start:]
            predicted, certainty = sdar_draw(logits, sampling, frame.generator)
            chosen = _sure_enough(canvas.open, certainty, sampling.threshold, budget[min(step, len(budget) - 1)])
            if edits is not None:
                other = ~canvas.open & editable & (predicted != tokens[:, start:]) & (certainty > edits)
                chosen |= other & ~finished[:, None]
                finished |= full & ~chosen.any(dim=1)
            choice = canvas.step(chosen, predicted, probability(logits, predicted))
            yield choice
            tokens = choice.output
            if sampling.stop == "at-once" and edits is None and _ended(tokens[:, given:], frame).all():
                return
        if sampling.stop != "never" and torch.isin(tokens[:, given:], frame.ends).any(dim=1).all():
            return


def bd3lm_steps(predict: BlockPredict, prompt: torch.Tensor, sampling: BD3LMSampling, frame: Frame) -> Iterator[Choice]:
    """Block diffusion (arXiv 2503.09573) as in the dLLM project: the linear schedule gives every step its number.

    There the prompt is padded on its left to whole blocks with tokens that neither see nor are seen; here its first
    block is short, which is the same.
    """
    given, block = prompt.shape[1], sampling.block
    layout, total = layout_of(frame.architecture, given, block), sampling.length(given)
    tokens, blocks = prompt, math.ceil(sampling.gen_length / block)
    for number, start in enumerate(range(given, total, block), start=1):
        end = min(start + block, total)
        tokens, first = with_masks(tokens, end, frame.mask_token), start if sampling.cached else 0
        for count in linear_shares(end - start, sampling.steps_per_block or block):
            canvas = Canvas(tokens, start, end, number, blocks, given, frame.mask_token, first)
            if not canvas.open.any():  # as where more was written than was shared out
                break
            logits = _guided(predict, canvas, layout, sampling.cfg)[:, start - first :]
            predicted = gumbel_argmax(logits, sampling.temperature, frame.generator)
            confidence = probability(logits, predicted)
            choice = canvas.step(_surest(canvas.open, confidence, count), predicted, confidence)
            yield choice
            tokens = choice.output
        if torch.isin(tokens[:, start:], frame.ends).any(dim=1).all():
            return


def _guided(predict: BlockPredict, canvas: Canvas, layout: Layout, scale: float) -> torch.Tensor:
    tokens = canvas.tokens
    if scale == 0:
        return predict(tokens, len(tokens), layout, canvas.first)
    unconditional = tokens.clone()
    unconditional[:, : canvas.given] = canvas.mask_token
    with_prompt, without = predict(torch.cat([tokens, unconditional]), len(tokens), layout, canvas.first).chunk(2)
    return without + (scale + 1) * (with_prompt - without)


def fast_dllm_steps(
    predict: BlockPredict, prompt: torch.Tensor, sampling: FastDLLMSampling, frame: Frame
) -> Iterator[Choice]:
    """Fast-dLLM v2 (arXiv 2509.26328) without the cache inside a block, which is another result.

    Blocks count from position 0. The likeliest token after a finished block opens the next one. The published code
    never shows the model a prompt of exactly one block; here it does.
    """
    given, block, small = prompt.shape[1], sampling.block, sampling.small_block_length
    layout = layout_of(frame.architecture, given, block)
    blocks = math.ceil(sampling.gen_length / block)
    tokens = prompt
    number = 1

    def canvas(start: int, end: int, first: int) -> Canvas:
        return Canvas(tokens, start, end, number, blocks, given, frame.mask_token, first)

    if given % block == 0:
        choice = _opening(predict, canvas(given, given, 0), layout)
        yield choice
        tokens = choice.output
    for number in range(1, blocks + 1):  # noqa: B007 - `canvas` takes it
        if torch.isin(tokens[:, given:], frame.ends).any(dim=1).all():
            return
        begun = tokens.shape[1]
        start = (begun - 1) // block * block if begun % block else begun
        tokens, first = with_masks(tokens, start + block, frame.mask_token), start if sampling.cached else 0
        for part in range(start, start + block, small):
            # Each step decides a token of every unfinished row, unless the model chooses [MASK] itself.
            for _ in range(small):
                here = canvas(part, part + small, first)
                open_ = here.open & ~_ended(tokens[:, begun:], frame)[:, None]
                if not open_.any():
                    break
                logits = predict(tokens, len(tokens), layout, first)[:, part - first : part - first + small]
                predicted = logits.argmax(dim=-1)
                confidence = probability(logits, predicted)
                choice = here.step(_sure_enough(open_, confidence, sampling.threshold, 1), predicted, confidence)
                yield choice
                tokens = choice.output
        if _ended(tokens[:, begun:], frame).all():
            return
        choice = _opening(predict, canvas(start + block, start + block, first), layout)
        yield choice
        tokens = choice.output


def nemotron_steps(
    predict: BlockPredict, prompt: torch.Tensor, sampling: NemotronSampling, frame: Frame
) -> Iterator[Choice]:
    """Nemotron-Labs-Diffusion: blocks from the prompt's end over a causal context, each opened by its likeliest."""
    given, block = prompt.shape[1], sampling.block
    layout = layout_of(frame.architecture, given, block)
    blocks = math.ceil(sampling.gen_length / block)
    tokens, first = prompt, 0
    for number, start in enumerate(range(given, sampling.length(given), block), start=1):
        canvas = Canvas(tokens, start, start, number, blocks, given, frame.mask_token, first)
        choice = _opening(predict, canvas, layout)
        yield choice
        tokens, first = with_masks(choice.output, start + block, frame.mask_token), start if sampling.cached else 0
        for count in _shares(block - 1, min(sampling.steps_per_block or block, block)):
            canvas = Canvas(tokens, start, start + block, number, blocks, given, frame.mask_token, first)
            open_ = canvas.open & ~_ended(tokens[:, start:], frame)[:, None]
            if not open_.any():
                break
            opened = Layout(layout.block, layout.border, open_from=start)
            logits = predict(tokens, len(tokens), opened, first)[:, start - first :]
            predicted = logits.argmax(dim=-1)
            confidence = probability(logits, predicted)
            chosen = _surest(open_, confidence, count)
            if sampling.threshold is not None:
                chosen = _surest(open_, confidence, 1) | open_ & (confidence >= sampling.threshold)
            choice = canvas.step(chosen, predicted, confidence)
            yield choice
            tokens = choice.output
        if torch.isin(tokens[:, given:], frame.ends).any(dim=1).all():
            return


BLOCK_SAMPLERS: dict[str, Callable[..., Iterator[Choice]]] = {
    "sdar": sdar_steps,
    "bd3lm": bd3lm_steps,
    "llada2": llada2_steps,
    "fast-dllm-v2": fast_dllm_steps,
    "nemotron": nemotron_steps,
}


# --- shared -----------------------------------------------------------------------------------------------------


def _opening(predict: BlockPredict, canvas: Canvas, layout: Layout) -> Choice:
    """The step that writes the likeliest token after the text so far, without an open block."""
    logits = predict(canvas.tokens, len(canvas.tokens), layout, canvas.first, aligned=False)[:, -1:]
    predicted = logits.argmax(dim=-1)
    return canvas.append(predicted, probability(logits, predicted))


def with_masks(tokens: torch.Tensor, length: int, mask_token: int) -> torch.Tensor:
    """The tokens filled up with [MASK] to this length."""
    return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=mask_token)


def _shares(count: int, steps: int) -> list[int]:
    """`count` tokens shared among the steps; where that does not divide, the first steps take one more."""
    return [count // steps + (step < count % steps) for step in range(steps)]


def _surest(open_: torch.Tensor, confidence: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` undecided tokens of each row that are surest, all of them where there are fewer."""
    return best(confidence.masked_fill(~open_, -math.inf), open_.sum(dim=1).clamp(max=count))


def _sure_enough(open_: torch.Tensor, confidence: torch.Tensor, threshold: float, least: int) -> torch.Tensor:
    """In each row every undecided token above the threshold, or the `least` surest where those are fewer."""
    sure = open_ & (confidence > threshold)
    return torch.where(sure.sum(dim=1, keepdim=True) >= least, sure, _surest(open_, confidence, least))


def _ended(tokens: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Flag the rows (B,) that hold an end with nothing undecided before it."""
    ends, open_ = torch.isin(tokens, frame.ends), tokens == frame.mask_token
    return (ends & (open_.cumsum(dim=1) == 0)).any(dim=1)
