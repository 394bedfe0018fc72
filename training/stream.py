"""Training batches: documents packed into rows of equal length. The seed and its number make any batch again."""

from collections.abc import Iterator
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from analysis.bundled.grammar import document

# Row lengths and how often a batch has them: mostly short, for speed; long ones so that positions up to 256 are known.
LENGTHS = (32, 32, 64, 64, 64, 128, 128, 256)
TOKENS = 4096  # a batch
GAMES_ALONE, GAMES_UNTIL = 120, 360  # batches: see `games_at`
_ENDED = 0.15  # share of rows of 64 and more that hold one document and end-of-text after it


def games_at(number: int) -> float:
    """The share of games in training batch `number`, on top of their usual one: all, then fewer, then none.

    Copying a name is learned from text that is dense with names, and early, or hardly ever.
    """
    return min(1.0, max(0.0, (GAMES_UNTIL - number) / (GAMES_UNTIL - GAMES_ALONE)))


def batch(
    seed: int, number: int, tokenizer: PreTrainedTokenizerFast, size: int = TOKENS, games: float = 0.0
) -> torch.Tensor:
    """Batch `number` of the stream `seed`: token ids (B, S), B·S = size.

    A row begins with a document and its last document may be cut off. games: see `document`.
    """
    random = Random(f"training-{seed}-{number}")
    length = LENGTHS[int(random.random() * len(LENGTHS))]
    rows: list[list[int]] = []
    documents = _documents(random, tokenizer, games)
    while len(rows) < size // length:
        row = next(documents)
        if length >= 64 and len(row) <= length and random.random() < _ENDED:
            row = row + [tokenizer.eos_token_id] * (length - len(row))
        while len(row) < length:
            row = row + next(documents)
        rows.append(row[:length])
    return torch.tensor(rows)


def _documents(random: Random, tokenizer: PreTrainedTokenizerFast, games: float) -> Iterator[list[int]]:
    """[BOS] document [EOS], encoded in batches."""
    end = [tokenizer.eos_token_id]
    while True:
        texts = [document(random, games).text for _ in range(64)]
        for encoding in tokenizer.backend_tokenizer.encode_batch(texts):
            yield encoding.ids + end
