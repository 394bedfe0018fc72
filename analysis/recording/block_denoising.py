"""Writing text block by block, as the samplers published with SDAR, BD3LM, LLaDA2, Fast-dLLM v2 and Nemotron do.

A sampler is one row of `BLOCK_SAMPLERS`: a generator of steps, as those of `denoising.py` are. Forwards are whole, or
with `cached` over the open block alone: finished blocks never see later ones, so keys kept from an earlier forward are
the same. A row of a batch that is complete waits for the others.

Shapes: B sequences, P tokens of the prompt, S of the text so far.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

from analysis.models.family import Architecture
from analysis.models.layout import Span, layout_of
from analysis.recording.steps import (
    Choice,
    Predict,
    append_masks,
    appended,
    best,
    draw,
    guided,
    gumbel_argmax,
    likeliest,
    probability,
    written_once,
)
from analysis.specs import (
    BD3LMSampling,
    BlockWriting,
    FastDLLMSampling,
    LLaDA2Sampling,
    NemotronSampling,
    SDARSampling,
    linear_shares,
)


@dataclass(frozen=True)
class Frame:
    """Constants of a sampler beside its parameters. ends: token ids that end a text, (n,)."""

    architecture: Architecture
    mask_token: int
    generator: torch.Generator
    ends: torch.Tensor


class Canvas:
    """The text so far, (B, S) tokens, with the open block, `start` to `end`, at its end; `number` of `blocks`. given:
    P. first: the first query of its forwards. The output of a `Choice` is `tokens` itself: a branch writes into it
    before the next step.
    """

    def __init__(self, predict: Predict, prompt: torch.Tensor, sampling: BlockWriting, frame: Frame) -> None:
        self._predict, self._frame, self._cached = predict, frame, sampling.keeps_keys
        self.tokens, self.given, self.blocks, self.number = prompt, prompt.shape[1], sampling.block_count, 1
        self.layout = layout_of(frame.architecture, self.given, sampling.block)
        self.start = self.end = self.given
        self.first = 0

    def begin(self, start: int, end: int) -> None:
        """Open a block that ends at `end`, with [MASK] where no token is yet."""
        self.tokens = append_masks(self.tokens, end - self.tokens.shape[1], self._frame.mask_token)
        self.start, self.end, self.first = start, end, start if self._cached else 0

    def through(self, starts: range) -> Iterator[int]:
        """Open the blocks that begin at `starts`, one after another; the last one ends where they stop."""
        self.blocks = len(starts)
        for self.number, start in enumerate(starts, start=1):
            self.begin(start, min(start + starts.step, starts.stop))
            yield start

    @property
    def open(self) -> torch.Tensor:
        """Undecided tokens of the open block, (B, end − start) bool."""
        return self.tokens[:, self.start : self.end] == self._frame.mask_token

    @property
    def is_given(self) -> torch.Tensor:
        """Tokens of the prompt, (B, S) bool."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device).expand_as(self.tokens) < self.given

    def logits(self, scale: float = 0.0, open_from: int | None = None) -> torch.Tensor:
        """Run a forward for the logits of the open block, (B, end − start, V). scale: of guidance. open_from: of
        `Layout`.
        """
        layout = replace(self.layout, open_from=open_from)
        predict = partial(self._predict, layout=layout, first=self.first)
        logits = guided(predict, self.tokens, self.is_given, scale, self._frame.mask_token)
        return logits[:, self.start - self.first : self.end - self.first]

    def write(self, chosen: torch.Tensor, predicted: torch.Tensor, confidence: torch.Tensor) -> Choice:
        """Write `predicted` at `chosen`, both (B, end − start), as is `confidence`."""
        tokens, span = self.tokens, slice(self.start, self.end)
        written = torch.zeros_like(tokens, dtype=torch.bool)
        written[:, span] = chosen
        sure = torch.full(tokens.shape, math.nan, device=tokens.device)
        sure[:, span] = confidence.masked_fill(~chosen, math.nan)
        output = tokens.clone()
        output[:, span] = torch.where(chosen, predicted, tokens[:, span])
        return self._choice(written, sure, output, (self.start, self.end))

    def append(self) -> Choice:
        """Write the likeliest token after the text, without an open block."""
        tokens, length = self.tokens, self.tokens.shape[1]
        logits = self._predict(tokens, len(tokens), self.layout, self.first, aligned=False)[:, -1:]
        predicted = logits.argmax(dim=-1)
        return self._choice(*appended(tokens, predicted, probability(logits, predicted)), (length, length + 1))

    def _choice(self, written: torch.Tensor, sure: torch.Tensor, output: torch.Tensor, open_block: Span) -> Choice:
        """The step from these tokens to `output`, which come in their place."""
        state = written_once(self.tokens, self.is_given, self._frame.mask_token)
        queries = (self.first, self.tokens.shape[1]) if self.first else None
        tokens, self.tokens = self.tokens, output
        return Choice(tokens, state, written, sure, output, open_block, self.number, self.blocks, queries)

    def has_ended(self, first: int) -> bool:
        """Return whether every row holds an end from position `first` on."""
        return bool(torch.isin(self.tokens[:, first:], self._frame.ends).any(dim=1).all())

    def complete(self, first: int) -> torch.Tensor:
        """Flag the rows (B,) that hold an end from position `first` on, with nothing undecided between."""
        tokens = self.tokens[:, first:]
        ends, open_ = torch.isin(tokens, self._frame.ends), tokens == self._frame.mask_token
        return (ends & (open_.cumsum(dim=1) == 0)).any(dim=1)


def sdar_steps(predict: Predict, prompt: torch.Tensor, sampling: SDARSampling, frame: Frame) -> Iterator[Choice]:
    """SDAR (arXiv 2510.06303): blocks from position 0, so that the prompt's last ones may be written to their end.

    The published code's budget, where fewer tokens are left than it, also overwrites decided ones; here it does not.
    """
    block, canvas = sampling.block, Canvas(predict, prompt, sampling, frame)
    budget = _shares(block, min(sampling.steps_per_block or block, block))
    for _ in canvas.through(block_starts(prompt, sampling)):
        for count in budget:
            if not canvas.open.any():
                break
            logits = canvas.logits()
            predicted, certainty = sdar_draw(logits, sampling, frame.generator)
            chosen = sdar_choice(canvas.open, certainty, count, sampling)
            yield canvas.write(chosen, predicted, probability(logits, predicted))
        if canvas.has_ended(canvas.given):
            return


def block_starts(prompt: torch.Tensor, sampling: BlockWriting) -> range:
    """The starts of the blocks that are written after a prompt (B, P), where they count from position 0."""
    given = prompt.shape[1]
    return range(given // sampling.block * sampling.block, sampling.length(given), sampling.block)


def sdar_draw(
    logits: torch.Tensor, sampling: SDARSampling | LLaDA2Sampling, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, S) and the probability each was drawn with, among the top-k first and of those the top-p."""
    logits = likeliest(logits, sampling.top_k)
    predicted, probabilities = draw(logits, sampling.temperature, sampling.top_p, None, generator)
    return predicted, probabilities.gather(-1, predicted[..., None])[..., 0]


def sdar_choice(open_: torch.Tensor, certainty: torch.Tensor, count: int, sampling: SDARSampling) -> torch.Tensor:
    """Select the undecided tokens (B, S) that a step with a budget of `count` writes."""
    if sampling.strategy == "sequential":
        return open_ & (open_.cumsum(dim=1) <= count)
    if sampling.strategy == "low-confidence-static":
        return _surest(open_, certainty, count)
    return _sure_enough(open_, certainty, sampling.threshold, count)


def llada2_steps(predict: Predict, prompt: torch.Tensor, sampling: LLaDA2Sampling, frame: Frame) -> Iterator[Choice]:
    """LLaDA2.0, and with an editing threshold LLaDA2.1, whose tokens can change until their block is finished.

    Tokens of the prompt are not edited, and earlier blocks are final. A step that neither writes nor edits ends the
    block; so do `editing_steps` steps that began with a full block, since edits can cycle.
    """
    block, device, canvas = sampling.block, prompt.device, Canvas(predict, prompt, sampling, frame)
    budget = _shares(block, min(sampling.steps_per_block or block, block))
    edits, editing_steps = sampling.editing_threshold, sampling.editing_steps
    for start in canvas.through(block_starts(prompt, sampling)):
        editable = torch.arange(start, start + block, device=device) >= canvas.given
        finished = torch.zeros(len(prompt), dtype=torch.bool, device=device)
        full_steps = torch.zeros(len(prompt), dtype=torch.long, device=device)
        for step in range(len(budget) if edits is None else block + editing_steps):
            open_ = canvas.open
            full = ~open_.any(dim=1)
            full_steps += full
            finished |= full & (full_steps > (0 if edits is None else editing_steps))
            if finished.all():
                break
            logits = canvas.logits()
            predicted, certainty = sdar_draw(logits, sampling, frame.generator)
            chosen = _sure_enough(open_, certainty, sampling.threshold, budget[min(step, len(budget) - 1)])
            if edits is not None:
                other = ~open_ & editable & (predicted != canvas.tokens[:, start:]) & (certainty > edits)
                chosen |= other & ~finished[:, None]
                finished |= full & ~chosen.any(dim=1)
            yield canvas.write(chosen, predicted, probability(logits, predicted))
            if sampling.stop == "at-once" and edits is None and canvas.complete(canvas.given).all():
                return
        if sampling.stop != "never" and canvas.has_ended(canvas.given):
            return


def bd3lm_steps(predict: Predict, prompt: torch.Tensor, sampling: BD3LMSampling, frame: Frame) -> Iterator[Choice]:
    """Block diffusion (arXiv 2503.09573) as in the dLLM project: the linear schedule gives every step its number.

    There the prompt is padded on its left to whole blocks with tokens that neither see nor are seen; here its first
    block is short, which is the same.
    """
    block, canvas = sampling.block, Canvas(predict, prompt, sampling, frame)
    for start in canvas.through(range(canvas.given, sampling.length(canvas.given), block)):
        for count in linear_shares(canvas.end - start, sampling.steps_per_block or block):
            if not canvas.open.any():  # as where more was written than was shared out
                break
            logits = canvas.logits(sampling.cfg)
            predicted = gumbel_argmax(logits, sampling.temperature, frame.generator)
            confidence = probability(logits, predicted)
            yield canvas.write(_surest(canvas.open, confidence, count), predicted, confidence)
        if canvas.has_ended(start):
            return


def fast_dllm_steps(
    predict: Predict, prompt: torch.Tensor, sampling: FastDLLMSampling, frame: Frame
) -> Iterator[Choice]:
    """Fast-dLLM v2 (arXiv 2509.26328) without the cache inside a block, which is another result.

    Blocks count from position 0. The likeliest token after a finished block opens the next one. The published code
    never shows the model a prompt of exactly one block; here it does.
    """
    block, small, canvas = sampling.block, sampling.small_block_length, Canvas(predict, prompt, sampling, frame)
    if canvas.given % block == 0:
        yield canvas.append()
    for canvas.number in range(1, sampling.block_count + 1):
        if canvas.has_ended(canvas.given):
            return
        begun = canvas.tokens.shape[1]
        start = (begun - 1) // block * block if begun % block else begun
        canvas.begin(start, start + block)
        for canvas.start in range(start, start + block, small):
            canvas.end = canvas.start + small
            # Each step decides a token of every unfinished row, unless the model chooses [MASK] itself.
            for _ in range(small):
                open_ = canvas.open & ~canvas.complete(begun)[:, None]
                if not open_.any():
                    break
                logits = canvas.logits()
                predicted = logits.argmax(dim=-1)
                confidence = probability(logits, predicted)
                yield canvas.write(_sure_enough(open_, confidence, sampling.threshold, 1), predicted, confidence)
        if canvas.complete(begun).all():
            return
        yield canvas.append()


def nemotron_steps(
    predict: Predict, prompt: torch.Tensor, sampling: NemotronSampling, frame: Frame
) -> Iterator[Choice]:
    """Nemotron-Labs-Diffusion: blocks from the prompt's end over a causal context, each opened by its likeliest."""
    block, given = sampling.block, prompt.shape[1]
    canvas = Canvas(predict, prompt, sampling, frame)
    for canvas.number, start in enumerate(range(given, sampling.length(given), block), start=1):
        yield canvas.append()
        canvas.begin(start, start + block)
        for count in _shares(block - 1, min(sampling.steps_per_block or block, block)):
            open_ = canvas.open & ~canvas.complete(start)[:, None]
            if not open_.any():
                break
            logits = canvas.logits(open_from=start)
            predicted = logits.argmax(dim=-1)
            confidence = probability(logits, predicted)
            chosen = _surest(open_, confidence, count)
            if sampling.threshold is not None:
                chosen = _surest(open_, confidence, 1) | open_ & (confidence >= sampling.threshold)
            yield canvas.write(chosen, predicted, confidence)
        if canvas.has_ended(given):
            return


BLOCK_SAMPLERS: dict[str, Callable[..., Iterator[Choice]]] = {
    "sdar": sdar_steps,
    "bd3lm": bd3lm_steps,
    "llada2": llada2_steps,
    "fast-dllm-v2": fast_dllm_steps,
    "nemotron": nemotron_steps,
}


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
