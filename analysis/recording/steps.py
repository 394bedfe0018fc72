"""One step of writing text: what went in and what was chosen; how tokens are drawn and ranked. Shared by samplers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from analysis.models.experts import Routing
from analysis.models.layout import Span
from analysis.sinks.step_inputs import TokenState
from analysis.specs.writing import Cache

Predict = Callable[..., torch.Tensor]
"""(B, S) token ids, and how many of the sequences to observe -> logits (B, S, V). Samplers that need more pass by name:

queries: the first token to run and one past the last, whose logits (B, Q, V) are returned; the others' keys are those
kept. layout, of those that write by blocks: the blocks of the text; first: the first query, before which all is
finished and run once, so that logits are (B, S − first, V); aligned False: logits as the network gives them, so that
those of a shifted family at i are about the token at i + 1, asked for where no block is open. believed and state, of
those that write a canvas: of `denoised`, and what each token is, (1, S).
"""


@dataclass(frozen=True)
class Choice:
    """One step. tokens: the INPUT of its forward, (B, S). state: a `TokenState` each, (B, S) int8. chosen: positions
    written in this step. confidence: the model's probability (at temperature 1) of each chosen token, NaN elsewhere.
    output: the tokens after the step, (B, S), for autoregressive decoding (B, S + 1).

    open_block: the positions it writes in, from and to; it is block `block` (from 1) of `blocks`. queries: the first
    query of its forward and one past the last; None where every token is one.
    """

    tokens: torch.Tensor
    state: torch.Tensor
    chosen: torch.Tensor
    confidence: torch.Tensor
    output: torch.Tensor
    open_block: Span
    block: int = 1
    blocks: int = 1
    queries: Span | None = None

    @property
    def query_range(self) -> Span:
        """The first query of the forward and one past the last."""
        return self.queries or (0, self.tokens.shape[1])

    @property
    def undecided(self) -> torch.Tensor:
        """Input tokens that are [MASK] or noise, (B, S) bool."""
        return self.state == TokenState.UNDECIDED


def append_masks(prompt: torch.Tensor, count: int, mask_token: int) -> torch.Tensor:
    """The prompt (B, P) with `count` [MASK] tokens after it."""
    return pad(prompt, (0, count), value=mask_token)


def written_once(tokens: torch.Tensor, given: torch.Tensor, mask_token: int | None) -> torch.Tensor:
    """States (B, S) int8 where tokens are written once, in place of a [MASK] if there is one.

    given (B, S): tokens of the prompt.
    """
    state = torch.where(given, int(TokenState.GIVEN), int(TokenState.COMMITTED)).to(torch.int8)
    return state if mask_token is None else state.masked_fill(tokens == mask_token, TokenState.UNDECIDED)


def query_groups(tokens: torch.Tensor, prompt: torch.Tensor, mask_token: int | None) -> torch.Tensor:
    """Return which tokens (B, S) are undecided and which the prompt (B, P) gives, (2, B, S) bool: the groups of queries
    whose mass is told apart. A [MASK] of the prompt is not given, as it gets filled.
    """
    undecided = torch.zeros_like(tokens, dtype=torch.bool) if mask_token is None else tokens == mask_token
    given = torch.ones_like(prompt, dtype=torch.bool) if mask_token is None else prompt != mask_token
    return torch.stack([undecided, pad(given, (0, tokens.shape[1] - prompt.shape[1]))])


def appended(
    tokens: torch.Tensor, predicted: torch.Tensor, confidence: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Write a token (B, 1) after tokens (B, S). Returns chosen, confidence and output of the `Choice`."""
    chosen, sure = torch.zeros_like(tokens, dtype=torch.bool), torch.full(tokens.shape, math.nan, device=tokens.device)
    return pad(chosen, (0, 1), value=True), torch.cat([sure, confidence], dim=1), torch.cat([tokens, predicted], dim=1)


class MaskedText:
    """The text so far, (B, S) tokens, which are written once, in place of [MASK]. start: tokens of the prompt, of which
    those that are no [MASK] are given, (B, S) bool. The output of a `Choice` is `tokens` itself: a branch writes into
    it before the next step.
    """

    def __init__(self, prompt: torch.Tensor, count: int, mask_token: int) -> None:
        self.start, self.mask_token = prompt.shape[1], mask_token
        self.tokens = append_masks(prompt, count, mask_token)
        self.given = self.tokens != mask_token

    def open(self, end: int | None = None, start: int = 0) -> torch.Tensor:
        """Undecided tokens from `start` to `end`, the text's own by default, (B, S) bool."""
        open_ = self.tokens == self.mask_token
        open_[:, :start] = False
        if end is not None:
            open_[:, end:] = False
        return open_

    def write(
        self,
        chosen: torch.Tensor,
        predicted: torch.Tensor,
        probabilities: torch.Tensor,
        open_block: Span | None = None,
        block: int = 1,
        blocks: int = 1,
        queries: Span | None = None,
    ) -> Choice:
        """Write `predicted` (B, S) where `chosen`. probabilities: of what is predicted. open_block: all after the
        prompt by default. The rest is as in `Choice`.
        """
        tokens = self.tokens
        self.tokens = torch.where(chosen, predicted, tokens)
        return Choice(
            tokens,
            written_once(tokens, self.given, self.mask_token),
            chosen,
            probabilities.masked_fill(~chosen, math.nan),
            self.tokens,
            open_block or (self.start, tokens.shape[1]),
            block,
            blocks,
            queries,
        )


@dataclass(frozen=True)
class Activations:
    """The channels of largest magnitude behind each layer in one forward, largest first: channel and position (L, K)
    int32 and value (L, K) float32; the median magnitude over all channels and positions, (L,) float32.
    """

    channel: np.ndarray
    position: np.ndarray
    value: np.ndarray
    median: np.ndarray


@dataclass(frozen=True)
class Step:
    """A `Choice` with what attention did in its forward: mass (B, L, H, S), value_norm (B, L, H_kv, S), on the CPU.

    value_norm None: the model normalises its values, so their norms say nothing. routing: where the queries were sent,
    of a model with experts. activations: the largest channels of the residual stream of the first sequence, where they
    were watched. paid: the mass that undecided and given queries pay, (2, B, L, H, S), where it is told apart.
    drift: of the first sequence's keys and values, (1, L, 4, S), where it was watched.
    """

    choice: Choice
    mass: torch.Tensor
    value_norm: torch.Tensor | None
    routing: Routing | None = None
    activations: Activations | None = None
    paid: torch.Tensor | None = None
    drift: torch.Tensor | None = None


def gumbel_argmax(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Sample from softmax(logits / temperature) by adding Gumbel noise, in float64, as low precision biases it.

    Apple's MPS has no float64 and uses float32.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=precise)
    return (logits.to(precise) - temperature * torch.log(-torch.log(uniform))).argmax(dim=-1)


def probability(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The probability the model gives to `tokens` at temperature 1, (B, S) float32, or float64 of such logits."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return (logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(dim=-1)).exp()


def precise_certainty(logits: torch.Tensor, predicted: torch.Tensor, open_: torch.Tensor) -> torch.Tensor:
    """The probability of `predicted` where a position is undecided in some row, (B, S) float64; 0 elsewhere.

    As precisely as Fast-dLLM ranks, so that what is almost sure stays apart. Apple's MPS takes float32.
    """
    places, precise = open_.any(dim=0), torch.float32 if logits.device.type == "mps" else torch.float64
    certainty = torch.zeros(predicted.shape, dtype=precise, device=logits.device)
    certainty[:, places] = probability(logits[:, places].to(precise), predicted[:, places])
    return certainty


def best(ranking: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(B, S) True at the counts[b] highest entries of each row that are not −inf."""
    chosen = torch.zeros_like(ranking, dtype=torch.bool)
    for row, count in enumerate(counts.tolist()):
        chosen[row, ranking[row].topk(count).indices] = True
    return chosen & (ranking > -math.inf)


def cached_queries(cache: Cache, step: int, block: Span, length: int) -> Span | None:
    """The tokens that a step of a block runs, the first and one past the last; None without a cache, where it runs all.

    step: counted from 0 in each block, whose first one runs the whole text and keeps its keys.
    """
    if cache == "none":
        return None
    return (0, length) if step == 0 else (block[0], length if cache == "prefix" else block[1])


def sure_enough(open_: torch.Tensor, certainty: torch.Tensor, threshold: float) -> torch.Tensor:
    """In each row the undecided tokens, (B, S), at least as sure as the threshold, and always the surest."""
    surest = best(certainty.masked_fill(~open_, -math.inf), open_.any(dim=1).long())
    return surest | open_ & (certainty >= threshold)


def surest_by_factor(open_: torch.Tensor, certainty: torch.Tensor, factor: float) -> torch.Tensor:
    """In each row the n surest undecided tokens, (B, S), as long as the n-th is at least 1 − factor / (n + 1) sure; the
    surest and, where all before it are, the last are never refused, as in Fast-dLLM's code.
    """
    counts = open_.sum(dim=1)
    ranked = certainty.masked_fill(~open_, -math.inf).sort(dim=1, descending=True).values
    ranks = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    refused = (ranked < 1 - factor / (ranks + 1)) & (ranks > 1) & (ranks < counts[:, None])
    taken = torch.minimum((~refused).cumprod(dim=1).sum(dim=1), counts)  # those before the first that is refused
    return best(certainty.masked_fill(~open_, -math.inf), taken)


def draw(
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
    probabilities = likeliest(logits, top_k).softmax(dim=-1)
    if temperature == 0:
        return probabilities.argmax(dim=-1), probabilities
    flat = probabilities.flatten(0, -2)
    tokens = torch.multinomial(flat, 1, generator=generator).view(logits.shape[:-1])
    return tokens, probabilities


def likeliest(logits: torch.Tensor, top_k: int | None) -> torch.Tensor:
    """Logits (B, S, V) in which all but the `top_k` likeliest tokens are ruled out; None: none is."""
    if top_k is None or top_k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[..., -1:], -math.inf)


def guided(predict: Predict, tokens: torch.Tensor, given: torch.Tensor, scale: float, mask_token: int) -> torch.Tensor:
    """Logits u + (g + 1)(c − u) of tokens (B, S): c with the prompt (`given`), u with it masked; c where g is 0."""
    if scale == 0:
        return predict(tokens, len(tokens))
    unconditional = tokens.masked_fill(given, mask_token)
    with_prompt, without = predict(torch.cat([tokens, unconditional]), len(tokens)).chunk(2)
    return without + (scale + 1) * (with_prompt - without)
