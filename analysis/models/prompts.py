"""Tokenization of a prompt before any model is loaded: its length, and words the tokenizer does not know.

Reads only tokenizer.json, with the tokenizers library. Imports no torch.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from analysis.models.checkpoint import Checkpoint, text_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORD = re.compile(r"[^\W\d_]+")
_SPACE = "▁"  # before a word, in vocabularies of SentencePiece


def prompt_tokens(checkpoint: Checkpoint, prompt: str) -> int | None:
    """Return the number of tokens of a prompt without its chat template; None if no tokenizer.json can be read."""
    tokenizer = _of(checkpoint, prompt)
    if tokenizer is None:
        return None
    return len(tokenizer.encode(prompt).ids)


def unknown_words(checkpoint: Checkpoint, prompt: str) -> dict[str, str]:
    """The words of a prompt that are no token of their own, each with the spelling that is one, or ''.

    Of use where every word the model was trained on is one token, as in the bundled pair.
    """
    tokenizer = _of(checkpoint, prompt)
    if tokenizer is None:
        return {}
    special = "|".join(re.escape(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    words = dict.fromkeys(_WORD.findall(re.sub(special, " ", prompt) if special else prompt))

    def known(word: str) -> bool:
        return any(tokenizer.token_to_id(start + word) is not None for start in ("", _SPACE))

    spellings = {word: (word.capitalize(), word.lower()) for word in words if not known(word)}
    return {word: next(filter(known, others), "") for word, others in spellings.items()}


def _of(checkpoint: Checkpoint, text: str) -> "Tokenizer | None":
    """The tokenizer of a checkpoint; None for a text that it cannot encode: it may hold half a surrogate pair."""
    path = text_folder(checkpoint) / "tokenizer.json"
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return _read(str(path), path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=4)
def _read(path: str, changed: int) -> "Tokenizer | None":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(path)
    except BaseException as error:
        # The library panics outside the hierarchy of ordinary exceptions on files it does not expect.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None


def single_token(checkpoint: Checkpoint, word: str) -> tuple[int, str] | None:
    """Return the id and text of a word that is one token, as written or after a space; None for others."""
    tokenizer = _of(checkpoint, word)
    if tokenizer is None:
        return None
    for text in (word, f" {word}"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) == 1:
            return ids[0], text
    return None
