"""Sets of an answer's positions that are masked together: all sets where they are few, else a balanced draw.

There are 2^L − 1 non-empty sets. Where that is no more than the draws allowed, all are evaluated, each with weight
L / (k·L·C(L, k)) = 1 / (k·C(L, k)): the exact value. Otherwise draws are stratified over k, and within one k positions
are balanced: successive sets are cut from shuffled decks of all positions, so that each is masked about equally often.

Answers of unequal lengths that are drawn by one seed share the strata, and the orders that decks are dealt from as far
as the shorter goes.
"""

import hashlib
import math
import random
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class MaskedSet:
    """Positions of the continuation that are masked together, and the weight of the sum of their log-probabilities."""

    positions: tuple[int, ...]
    weight: float


def is_exact(length: int, draws: int) -> bool:
    """Return True if an answer of this many tokens is enumerated with this many draws."""
    return bool(2**length - 1 <= draws)


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
    occurs ⌊draws/L⌋ or ⌈draws/L⌉ times. Common random numbers: the same seed gives the same sets for every model, and
    for another length the same u and, draw by draw, the same order of the positions that both have.
    """
    offset = random.Random(seed).random()
    counts = [min(length, 1 + int((offset + draw) / draws * length)) for draw in range(draws)]
    decks: dict[int, list[int]] = defaultdict(list)
    return [
        MaskedSet(_deal(decks[count], count, length, hashed((seed, draw))), length / count / draws)
        for draw, count in enumerate(counts)
    ]


def _deal(deck: list[int], count: int, length: int, seed: int) -> tuple[int, ...]:
    """Take `count` distinct positions from a deck, putting a fresh shuffled one under what is left when it runs short.

    Positions are treated alike, so every set of `count` positions is equally likely. The order of a fresh deck is that
    of one random number per position, which a longer deck of the same seed begins with.
    """
    if len(deck) < count:
        generator, left = random.Random(seed), list(deck)
        numbers = [generator.random() for _ in range(length)]
        fresh = sorted(range(length), key=numbers.__getitem__, reverse=True)
        deck[:] = [p for p in fresh if p in left] + [p for p in fresh if p not in left] + left
    return tuple(sorted(deck.pop() for _ in range(count)))


def hashed(parts: tuple[object, ...]) -> int:
    """A whole number below 2^64 that depends on what is given alone, on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")
