"""The bundled tokenizer: every word of the world is one token; anything else falls back to letters and bytes."""

import math
import re
from collections import Counter
from functools import cache
from random import Random

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from analysis.bundled.grammar import document, problem, question
from analysis.bundled.units import UNITS

PAD, MASK, BOS, EOS = "[PAD]", "[MASK]", "[BOS]", "[EOS]"
SPECIAL = (PAD, MASK, BOS, EOS)
_SPACE = "▁"
_SAMPLE_DOCUMENTS = 60_000
_SAMPLE_QUESTIONS = 4_000
_PIECE = re.compile(rf"{_SPACE}?[A-Za-z]+|{_SPACE}?\d+|{_SPACE}?[^\w\s{_SPACE}]")
# Pieces that let words from outside the world be spelled with more than letters.
_ENDINGS = (
    "s",
    "es",
    "ed",
    "ing",
    "er",
    "ly",
    "est",
    "ness",
    "tion",
    "al",
    "en",
    "th",
    "in",
    "on",
    "re",
    "an",
    "ar",
    "or",
)
_PRINTABLE = tuple(chr(code) for code in range(33, 127))
_MULTIPLE = 16  # the vocabulary is cut to a multiple of this, which matrix products like


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Count the pieces of generated text and make a Unigram tokenizer with byte fallback of them.

    A whole word always beats its letters, since each piece more costs a factor. Encoding a single text puts [BOS]
    in front. [MASK] swallows the space before it, as words do.
    """
    counts = _count(0)
    total = sum(counts.values())
    scores = {piece: math.log(count / total) for piece, count in counts.most_common()}
    lowest = min(scores.values())
    spelling = [*_ENDINGS, *_PRINTABLE, _SPACE, *(_SPACE + letter for letter in _PRINTABLE)]
    for piece in spelling:
        scores.setdefault(piece, lowest - 4)
    vocabulary = [(token, 0.0) for token in SPECIAL]
    vocabulary += [(f"<0x{byte:02X}>", lowest - 8) for byte in range(256)]
    vocabulary += list(scores.items())
    surplus = len(vocabulary) % _MULTIPLE
    vocabulary = vocabulary[: len(vocabulary) - surplus]
    # Bytes stand in for whatever is unknown; the id only has to exist.
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIAL.index(PAD), byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, lstrip=token == MASK) for token in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        mask_token=AddedToken(MASK, special=True, lstrip=True),
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


@cache
def _count(seed: int) -> Counter[str]:
    random = Random(f"tokenizer-{seed}")
    counts: Counter[str] = Counter()
    for _ in range(_SAMPLE_DOCUMENTS):
        counts.update(_PIECE.findall(_spaced(document(random).text)))
    # Words that only questions use are still words.
    for maker in (*UNITS, problem):
        for _ in range(_SAMPLE_QUESTIONS):
            counts.update(_PIECE.findall(_spaced(question(random, maker).text)))
    return counts


def _spaced(text: str) -> str:
    return _SPACE + text.replace(" ", _SPACE)
