"""Writing text step by step: LLaDA's and Dream's samplers and plain autoregressive decoding, as generators of steps.

A sampler is one row of `SAMPLERS`. Each works on a batch of sequences of equal length and yields after every forward.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from analysis.attention import MassObserver, Observed
from analysis.errors import UserError
from analysis.models.load import LoadedModel
from analysis.sinks.token_states import TokenState
from analysis.specs import AutoregressiveSampling, DreamSampling, LLaDASampling, Sampling

# (B, S) token ids, and how many of the sequences to observe -> logits (B, S, V)
Predict = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Choice:
    """One step. tokens: the INPUT of its forward, (B, S). state: a `TokenState` each, (B, S) int8. chosen: positions
    written in this step. confidence: the model's probability (at temperature 1) of each chosen token, NaN elsewhere.
    output: the tokens after the step, (B, S), for autoregressive decoding (B, S + 1).

    open_block: the positions it writes in, from and to; it is block `block` (from 1) of `blocks`. queries: the first
    query of its forward and one past the last, where the keys end too; None where every token is one.
    """

    tokens: torch.Tensor
    state: torch.Tensor
    chosen: torch.Tensor
    confidence: torch.Tensor
    output: torch.Tensor
    open_block: tuple[int, int]
    block: int = 1
    blocks: int = 1
    queries: tuple[int, int] | None = None

    @property
    def query_range(self) -> tuple[int, int]:
        """The first query of the forward and one past the last."""
        return self.queries or (0, self.tokens.shape[1])

    @property
    def undecided(self) -> torch.Tensor:
        """Which input tokens are [MASK] or noise, (B, S) bool."""
        return self.state == TokenState.UNDECIDED


def written_once(tokens: torch.Tensor, given: torch.Tensor, mask_token: int | None) -> torch.Tensor:
    """States (B, S) int8 where tokens are written once, in place of a [MASK] if there is one.

    given (B, S): tokens of the prompt.
    """
    state = torch.where(given, int(TokenState.GIVEN), int(TokenState.COMMITTED)).to(torch.int8)
    return state if mask_token is None else state.masked_fill(tokens == mask_token, TokenState.UNDECIDED)


@dataclass(frozen=True)
class Step:
    """A `Choice` with what attention did in its forward: mass (B, L, H, S), value_norm (B, L, H_kv, S), on the CPU."""

    choice: Choice
    mass: torch.Tensor
    value_norm: torch.Tensor


# What an observed forward showed -> (S,) bool, the keys to block
Block = Callable[[Observed], torch.Tensor]


def denoise(
    model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int, block: Block | None = None
) -> Iterator[Step]:
    """Continues `prompt` (B, P) token ids, observing the attention mass of every forward.

    A step that would decide nothing is left out: its forward would repeat the one before. With `block`, every step runs
    twice: untouched, to observe, and again with the keys it names blocked, to predict. Raises UserError when the
    sampler is not the model's own, the text would be longer than the model takes, or its numbers are not finite.
    """
    own = model.architecture.sampler
    if sampling.sampler != own:
        raise UserError(f"{model.architecture.name} is sampled with '{own}', not '{sampling.sampler}'.")
    length = prompt.shape[1] + sampling.gen_length
    if length > model.geometry.max_length:
        raise UserError(
            f"Prompt ({prompt.shape[1]} tokens) and new tokens ({sampling.gen_length}) make {length} tokens; this "
            f"model takes {model.geometry.max_length}. Shorten one of them."
        )
    if prompt.shape[1] == 0 and own == "autoregressive":
        raise UserError("An autoregressive model needs at least one prompt token to start from.")
    observer = MassObserver()
    shown: list[Observed] = []

    def predict(tokens: torch.Tensor, observed: int) -> torch.Tensor:
        observer.rows = observed
        logits = model.predict(tokens, observer)
        shown[:] = [observer.take()]
        return logits if block is None else model.predict(tokens, blocked=block(shown[0]))

    prompt = prompt.to(model.device)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    ends = torch.tensor(sorted(stop_tokens(model)) if own == "autoregressive" else [], device=model.device)
    for choice in SAMPLERS[own](predict, prompt, sampling, model.mask_token, generator):
        yield Step(choice, *shown[0])
        if len(ends) and torch.isin(choice.output[:, -1], ends).all():
            return


# --- LLaDA ------------------------------------------------------------------------------------------------------


def llada_steps(
    predict: Predict, prompt: torch.Tensor, sampling: LLaDASampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """LLaDA's semi-autoregressive remasking (arXiv 2502.09992).

    [MASK] tokens inside the prompt are filled too, with the first block.
    """
    tokens = _append_masks(prompt, sampling.gen_length, mask_token)
    given = tokens != mask_token
    block = sampling.block_length or sampling.gen_length
    blocks = sampling.gen_length // block
    for number, end in enumerate(range(prompt.shape[1] + block, tokens.shape[1] + 1, block), start=1):
        count = (tokens[:, :end] == mask_token).sum(dim=1)
        steps = sampling.steps // blocks
        for step in range(min(steps, int(count.max()))):
            masked = tokens == mask_token
            logits = _guided(predict, tokens, given, sampling.cfg, mask_token)
            predicted = _gumbel_argmax(logits, sampling.temperature, generator)
            confidence = _probability(logits, predicted)
            ranking = (
                torch.rand(tokens.shape, generator=generator, device=tokens.device)
                if sampling.remasking == "random"
                else confidence
            )
            open_ = masked.clone()
            open_[:, end:] = False
            # Shared equally; where that does not divide, the first steps take one more.
            share = count // steps + (step < count % steps)
            chosen = _top(ranking.masked_fill(~open_, -math.inf), share)
            output = torch.where(chosen, predicted, tokens)
            yield Choice(
                tokens,
                written_once(tokens, given, mask_token),
                chosen,
                confidence.masked_fill(~chosen, math.nan),
                output,
                (end - block, end),
                number,
                blocks,
            )
            tokens = output


def _guided(predict: Predict, tokens: torch.Tensor, given: torch.Tensor, scale: float, mask_token: int) -> torch.Tensor:
    if scale == 0:
        return predict(tokens, len(tokens))
    unconditional = tokens.masked_fill(given, mask_token)
    with_prompt, without = predict(torch.cat([tokens, unconditional]), len(tokens)).chunk(2)
    return without + (scale + 1) * (with_prompt - without)


def _gumbel_argmax(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Samples from softmax(logits / temperature) by adding Gumbel noise; float64, as low precision biases it.

    Apple's MPS has no float64 and takes float32.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=precise)
    return (logits.to(precise) - temperature * torch.log(-torch.log(uniform))).argmax(dim=-1)


# --- Dream ------------------------------------------------------------------------------------------------------


def dream_steps(
    predict: Predict, prompt: torch.Tensor, sampling: DreamSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Dream's schedule-driven sampler (arXiv 2508.15487): noise level t falls linearly from 1 to eps.

    Where few tokens are left for many steps, the schedule gives some steps no token at all; they are left out.
    """
    tokens = _append_masks(prompt, sampling.gen_length, mask_token)
    given = tokens != mask_token
    levels = torch.linspace(1, sampling.eps, sampling.steps + 1)
    for step in range(sampling.steps):
        masked = tokens == mask_token
        last = step == sampling.steps - 1
        share = 1.0 if last else float(1 - levels[step + 1] / levels[step])
        if sampling.alg == "origin":
            chosen = masked & (torch.rand(tokens.shape, generator=generator, device=tokens.device) < share)
            counts = chosen.sum(dim=1)
        else:
            counts = (masked.sum(dim=1).float() * share).long()
        if not counts.any():
            continue
        logits = predict(tokens, len(tokens))
        predicted, probabilities = _draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        if sampling.alg != "origin":
            certainty = _CERTAINTY[sampling.alg](probabilities, predicted).masked_fill(~masked, -math.inf)
            chosen = _keep(certainty, counts, sampling.alg_temp, generator)
        output = torch.where(chosen, predicted, tokens)
        confidence = _probability(logits, predicted).masked_fill(~chosen, math.nan)
        state = written_once(tokens, given, mask_token)
        yield Choice(tokens, state, chosen, confidence, output, (prompt.shape[1], tokens.shape[1]))
        tokens = output


def _keep(
    certainty: torch.Tensor, counts: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """The `counts` most certain positions, or as many drawn by softmax(certainty / temperature)."""
    if temperature == 0:
        return _top(certainty, counts)
    # Gumbel top-k draws without replacement with exactly these probabilities.
    uniform = torch.rand(certainty.shape, generator=generator, device=certainty.device)
    return _top(certainty / temperature - torch.log(-torch.log(uniform)), counts)


def _margin(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    first, second = probabilities.topk(2, dim=-1).values.unbind(-1)
    return first - second


def _negative_entropy(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    return (probabilities * torch.log(probabilities + 1e-10)).sum(dim=-1)


def _chosen_probability(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    return probabilities.gather(-1, predicted[..., None])[..., 0]


_CERTAINTY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "maskgit_plus": _chosen_probability,
    "topk_margin": _margin,
    "entropy": _negative_entropy,
}


# --- autoregressive ---------------------------------------------------------------------------------------------


def autoregressive_steps(
    predict: Predict,
    prompt: torch.Tensor,
    sampling: AutoregressiveSampling,
    mask_token: int | None,
    generator: torch.Generator,
) -> Iterator[Choice]:
    """One token a step at the end of the text. The forward is whole every time, so that every query is observed."""
    tokens = prompt
    for _ in range(sampling.gen_length):
        logits = predict(tokens, len(tokens))[:, -1:]
        predicted, _ = _draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        output = torch.cat([tokens, predicted], dim=1)
        chosen = torch.zeros_like(output, dtype=torch.bool)
        chosen[:, -1] = True
        confidence = torch.full(output.shape, math.nan, device=tokens.device)
        confidence[:, -1:] = _probability(logits, predicted)
        length = tokens.shape[1]
        given = torch.arange(length, device=tokens.device).expand_as(tokens) < prompt.shape[1]
        yield Choice(tokens, written_once(tokens, given, None), chosen, confidence, output, (length, length + 1))
        tokens = output


SAMPLERS: dict[str, Callable[..., Iterator[Choice]]] = {
    "llada": llada_steps,
    "dream": dream_steps,
    "autoregressive": autoregressive_steps,
}


# --- shared -----------------------------------------------------------------------------------------------------


def _append_masks(prompt: torch.Tensor, count: int, mask_token: int) -> torch.Tensor:
    masks = torch.full((prompt.shape[0], count), mask_token, dtype=prompt.dtype, device=prompt.device)
    return torch.cat([prompt, masks], dim=1)


def _probability(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The probability the model gives to `tokens` at temperature 1, (B, S) float32."""
    logits = logits.float()
    return (logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(dim=-1)).exp()


def _top(ranking: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(B, S) True at the counts[b] highest entries of each row that are not −inf."""
    chosen = torch.zeros_like(ranking, dtype=torch.bool)
    for row, count in enumerate(counts.tolist()):
        chosen[row, ranking[row].topk(count).indices] = True
    return chosen & (ranking > -math.inf)


def _draw(
    logits: torch.Tensor, temperature: float, top_p: float | None, top_k: int | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, S) and the probabilities (B, S, V) they were drawn from; the likeliest ones at temperature 0.

    top_p keeps the smallest set of likeliest tokens reaching that probability, top_k that many tokens; top_p is first.
    """
    logits = logits.float()
    if temperature > 0:
        logits = logits / temperature
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(drop, -math.inf)
    if top_k is not None and top_k < logits.shape[-1]:
        lowest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -math.inf)
    probabilities = logits.softmax(dim=-1)
    if temperature == 0:
        return probabilities.argmax(dim=-1), probabilities
    flat = probabilities.flatten(0, -2)
    tokens = torch.multinomial(flat, 1, generator=generator).view(logits.shape[:-1])
    return tokens, probabilities


# How chat templates close a turn, which is not always the end-of-text token.
_TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end_of_turn|>", "<end_of_turn>", "<|endoftext|>")


def stop_tokens(model: LoadedModel) -> set[int]:
    """Ids that end a text or a turn, at which autoregressive decoding ends."""
    sources: tuple[Any, ...] = (model.network.generation_config, model.network.config, model.tokenizer)
    ids: set[int] = set()
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    if model.tokenizer is not None:
        vocabulary = model.tokenizer.get_vocab()
        ids.update(vocabulary[name] for name in _TURN_ENDS if name in vocabulary)
    return ids
