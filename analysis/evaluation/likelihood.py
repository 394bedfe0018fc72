"""The log-likelihood of an answer given a context: exact where that is cheap, else an unbiased Monte Carlo estimate.

For a masked diffusion model it is LLaDA's bound (arXiv 2502.09992, appendix B.5). Of the L answer tokens k ~ U{1..L}
are masked, a set of k positions drawn uniformly, and the log-probabilities of the masked tokens summed with weight L/k:

    E_k E_{|M| = k} [ L/k · Σ_{i∈M} log p(x_i | context, x without M) ]

There are 2^L − 1 non-empty sets. Where that is no more than the draws allowed, all are evaluated, each with weight
L / (k·L·C(L, k)) = 1 / (k·C(L, k)): the exact value. Otherwise draws are stratified over k, and within one k positions
are balanced: successive sets are cut from shuffled decks of all positions, so that each is masked about equally often.

For an autoregressive model it is the chain rule, always exact.
"""

import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from analysis.errors import UserError
from analysis.models.load import LoadedModel

TOKENS_A_FORWARD = 8192
LOGIT_BYTES = 2**28  # of one forward, which bounds its tokens where the vocabulary is large


@dataclass(frozen=True)
class Request:
    """One answer to score. context and continuation are token ids; task only enters the seed."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    task: str = ""


@dataclass(frozen=True)
class Likelihood:
    """value: log-likelihood (or its bound) in nats. exact: no Monte Carlo error. draws: forwards it took."""

    value: float
    exact: bool
    draws: int


@dataclass(frozen=True)
class MaskedSet:
    """Positions of the continuation that are masked together, and the weight of the sum of their log-probabilities."""

    positions: tuple[int, ...]
    weight: float


def is_exact(length: int, draws: int) -> bool:
    """Whether an answer of this many tokens is enumerated with this many draws."""
    return 2**length - 1 <= draws


def all_sets(length: int) -> list[MaskedSet]:
    """Every non-empty set of positions; the weighted sum over them is the exact bound."""
    return [
        MaskedSet(positions, 1 / (count * math.comb(length, count)))
        for count in range(1, length + 1)
        for positions in combinations(range(length), count)
    ]


def drawn_sets(length: int, draws: int, seed: int) -> list[MaskedSet]:
    """`draws` sets whose weighted sum estimates the exact bound without bias.

    How many are masked is stratified: draw d takes k from ((u + d) / draws) of U{1..L}, with one u for all, so every k
    occurs ⌊draws/L⌋ or ⌈draws/L⌉ times. Common random numbers: the same seed gives the same sets for every model.
    """
    generator = random.Random(seed)
    offset = generator.random()
    counts = [min(length, 1 + int((offset + draw) / draws * length)) for draw in range(draws)]
    decks: dict[int, list[int]] = defaultdict(list)
    return [MaskedSet(_deal(decks[count], count, length, generator), length / count / draws) for count in counts]


def _deal(deck: list[int], count: int, length: int, generator: random.Random) -> tuple[int, ...]:
    """Takes `count` distinct positions from a deck, putting a fresh shuffled one under what is left when it runs short.

    Positions are treated alike, so every set of `count` positions is equally likely.
    """
    if len(deck) < count:
        left = list(deck)
        fresh = generator.sample(range(length), length)
        deck[:] = [p for p in fresh if p in left] + [p for p in fresh if p not in left] + left
    return tuple(sorted(deck.pop() for _ in range(count)))


def seed_of(request: Request, seed: int) -> int:
    """A seed that depends on what is asked alone, never on the order of asking."""
    text = repr((seed, request.task, request.context, request.continuation))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def log_likelihoods(
    model: LoadedModel,
    requests: Sequence[Request],
    draws: int = 32,
    seed: int = 0,
    on_result: Callable[[int, Likelihood], None] = lambda index, result: None,
) -> list[Likelihood]:
    """Scores answers, in the order asked. `on_result` is called with the index of each as it is finished.

    draws: forwards allowed an answer of a diffusion model. Raises UserError for an empty continuation and for a text
    longer than the model takes.
    """
    _check(model, requests)
    if model.mask_token is None:
        plans = [[MaskedSet(tuple(range(len(request.continuation))), 1.0)] for request in requests]
        exact = [True] * len(requests)
    else:
        exact = [is_exact(len(request.continuation), draws) for request in requests]
        plans = [
            all_sets(len(request.continuation))
            if whole
            else drawn_sets(len(request.continuation), draws, seed_of(request, seed))
            for request, whole in zip(requests, exact, strict=True)
        ]
    values = [0.0] * len(requests)
    waiting = [len(plan) for plan in plans]
    for rows in _batches(requests, plans, model.geometry.vocabulary):
        for (index, _), value in zip(rows, _scores(model, requests, rows), strict=True):
            values[index] += value
            waiting[index] -= 1
            if not waiting[index]:
                on_result(index, Likelihood(values[index], exact[index], len(plans[index])))
    return [Likelihood(*row) for row in zip(values, exact, map(len, plans), strict=True)]


_Row = tuple[int, MaskedSet]


def _batches(
    requests: Sequence[Request], plans: Sequence[Sequence[MaskedSet]], vocabulary: int
) -> Iterable[list[_Row]]:
    """Rows of one length together, so that nothing is padded, as many as one forward may hold."""
    tokens = min(TOKENS_A_FORWARD, LOGIT_BYTES // (4 * vocabulary))
    by_length: dict[int, list[_Row]] = defaultdict(list)
    for index, (request, plan) in enumerate(zip(requests, plans, strict=True)):
        by_length[len(request.context) + len(request.continuation)] += [(index, masked) for masked in plan]
    for length, rows in sorted(by_length.items()):
        size = max(1, tokens // length)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _scores(model: LoadedModel, requests: Sequence[Request], rows: list[_Row]) -> list[float]:
    """The weighted sum of log-probabilities of each row's masked (or, autoregressive, of all) answer tokens."""
    whole = torch.tensor([requests[index].context + requests[index].continuation for index, _ in rows])
    inputs = whole.clone()
    row_of, position_of = [], []
    for row, (index, masked) in enumerate(rows):
        for position in masked.positions:
            row_of.append(row)
            position_of.append(len(requests[index].context) + position)
    where, at = torch.tensor(row_of), torch.tensor(position_of)
    expected = whole[where, at]
    if model.mask_token is None:
        at = at - 1
    else:
        inputs[where, at] = model.mask_token
    logits = model.predict(inputs)[where.to(model.device), at.to(model.device)].float()
    logs = logits.log_softmax(dim=-1).gather(-1, expected.to(model.device)[:, None])[:, 0].double().cpu()
    sums = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, where, logs)
    weights = torch.tensor([masked.weight for _, masked in rows], dtype=torch.float64)
    return (sums * weights).tolist()


def _check(model: LoadedModel, requests: Sequence[Request]) -> None:
    longest = model.geometry.max_length
    for request in requests:
        length = len(request.context) + len(request.continuation)
        if not request.continuation:
            raise UserError("An answer with no tokens has no likelihood. Check the task's choices.")
        if not request.context and model.mask_token is None:
            raise UserError("An autoregressive model needs at least one context token to score an answer.")
        if length > longest:
            raise UserError(f"Context and answer make {length} tokens; this model takes {longest}. Use fewer examples.")
