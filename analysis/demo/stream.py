"""Training batches: documents packed into rows of equal length. The seed and its number make any batch again."""

from collections.abc import Iterator
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from analysis.demo.grammar import document

# Row lengths and how often a batch has them: mostly short, for speed; long ones so that positions up to 256 are known.
LENGTHS = (32, 32, 64, 64, 64, 128, 128, 256)
TOKENS = 4096  # a batch
_ENDED = 0.15  # share of rows of 64 and more that hold one document and end-of-text after it


def batch(seed: int, number: int, tokenizer: PreTrainedTokenizerFast, size: int = TOKENS) -> torch.Tensor:
    """Batch `number` of the stream `seed`: token ids (B, S), B·S = size.

    A row begins with a document and its last document may be cut off.
    """
    random = Random(f"training-{seed}-{number}")
    length = LENGTHS[int(random.random() * len(LENGTHS))]
    rows: list[list[int]] = []
    documents = _documents(random, tokenizer)
    while len(rows) < size // length:
        row = next(documents)
        if length >= 64 and len(row) <= length and random.random() < _ENDED:
            row = row + [tokenizer.eos_token_id] * (length - len(row))
        while len(row) < length:
            row = row + next(documents)
        rows.append(row[:length])
    return torch.tensor(rows)


def _documents(random: Random, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[int]]:
    """[BOS] document [EOS], encoded in batches."""
    end = [tokenizer.eos_token_id]
    while True:
        texts = [document(random).text for _ in range(64)]
        for encoding in tokenizer.backend_tokenizer.encode_batch(texts):
            yield encoding.ids + end
