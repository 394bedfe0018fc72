"""Where calibration text comes from, cut into token sequences of one length. A named source is one row of `SOURCES`."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from analysis.errors import UserError
from analysis.specs import CalibrationParams


@dataclass(frozen=True)
class CalibrationText:
    """tokens (N, S) int64. note: what was adjusted."""

    tokens: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Source:
    """documents: (seed) -> texts, or lists of token ids, one a document.

    shuffled: they come in an order drawn by the seed, so that the first ones are a sample.
    """

    title: str
    documents: Callable[[int], Iterable[str | list[int]]]
    shuffled: bool = False


def calibration_text(params: CalibrationParams, tokenizer: Any, max_length: int, vocabulary: int) -> CalibrationText:
    """`samples` sequences of `seq_len` tokens: non-overlapping windows of the source, drawn by the seed.

    tokenizer: the model's, or None where the source holds token ids. Raises UserError for a source that cannot be read
    and for too little text, saying how much is there.
    """
    length, note = params.seq_len, ""
    if length > max_length:
        length, note = (
            max_length,
            f"The sequence length {params.seq_len} was capped at the model's {max_length} tokens.",
        )
    source = _source(params.data)
    pieces = _token_lists(source.documents(params.seed), tokenizer, vocabulary, params.data)
    if source.shuffled:
        ids = np.fromiter(_first(pieces, params.samples * length), np.int64)
        windows, found = ids[: len(ids) // length * length].reshape(-1, length), len(ids)
    else:
        windows, found = _windows(pieces, length)
    if len(windows) < params.samples:
        raise UserError(
            f"Too little calibration text in '{params.data}': it holds {found:,} tokens, enough for {len(windows)} of "
            f"the {params.samples} sequences of {length} tokens asked for. Take fewer samples, a shorter sequence "
            "length, or more text."
        )
    if source.shuffled:
        return CalibrationText(windows, note)
    chosen = np.random.default_rng(params.seed).choice(len(windows), params.samples, replace=False)
    return CalibrationText(windows[chosen], note)


def _source(data: str) -> Source:
    if data in SOURCES:
        return SOURCES[data]
    path = Path(data).expanduser()
    if path.suffix not in _READERS:
        raise UserError(f"'{data}' is no calibration text: give {', '.join(SOURCES)}, or a .txt or .jsonl file.")
    if not path.is_file():
        raise UserError(f"There is no file '{data}'. Give a .txt or .jsonl file, or one of {', '.join(SOURCES)}.")
    return Source(path.name, lambda seed: _READERS[path.suffix](path))


def _token_lists(
    documents: Iterable[str | list[int]], tokenizer: Any, vocabulary: int, data: str
) -> Iterator[tuple[list[int], bool]]:
    """Token ids of each document, and whether the next document may share a window with it."""
    for document in documents:
        if isinstance(document, list):
            if not all(isinstance(token, int) and 0 <= token < vocabulary for token in document):
                raise UserError(f"'{data}' holds token ids outside this model's vocabulary of {vocabulary} tokens.")
            yield document, False
            continue
        if tokenizer is None:
            raise UserError(
                f"The model has no tokenizer, so the text of '{data}' cannot be read. Give a .jsonl file with "
                "`input_ids`."
            )
        ids = tokenizer(document, verbose=False).input_ids
        end = tokenizer.eos_token_id
        yield (ids if end is None or ids[-1:] == [end] else [*ids, end]), True


def _first(pieces: Iterable[tuple[list[int], bool]], count: int) -> Iterator[int]:
    for ids, _ in pieces:
        yield from ids[:count]
        count -= len(ids)
        if count <= 0:
            return


def _windows(pieces: Iterable[tuple[list[int], bool]], length: int) -> tuple[np.ndarray, int]:
    """Non-overlapping windows (W, length) of running text, and of each list of token ids on its own; tokens seen."""
    running: list[int] = []
    cut: list[list[int]] = []
    found = 0
    for ids, joins in pieces:
        found += len(ids)
        if joins:
            running += ids
        else:
            cut += [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    cut += [running[start : start + length] for start in range(0, len(running) - length + 1, length)]
    return np.array(cut, np.int64).reshape(len(cut), length), found


_HUB_TIMEOUT = 10.0  # seconds
_C4_PART = "en/c4-train.00000-of-01024.json.gz"


# --- sources ----------------------------------------------------------------------------------------------------


def _bundled(seed: int) -> Iterator[str]:
    from analysis.demo.grammar import document

    random = Random(f"calibration-{seed}")
    while True:
        yield document(random).text


def _hub(path: str, shuffled: bool = False, **options: Any) -> Callable[[int], Iterator[str]]:
    def texts(seed: int) -> Iterator[str]:
        try:
            rows = _hub_rows(path, **options)
        except Exception as error:
            raise UserError(
                f"The calibration text '{path}' is not on this disk and the Hugging Face hub cannot be reached "
                f"({type(error).__name__}). Connect to the network, or use the bundled text or a file of your own."
            ) from error
        if shuffled:
            rows = rows.shuffle(seed=seed)
        yield from (row["text"] for row in rows if row["text"].strip())

    return texts


def _hub_rows(path: str, **options: Any) -> Any:
    import datasets
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(path, timeout=_HUB_TIMEOUT)
    except Exception:
        # Without a network only what was fetched before can serve; asked at once, where downloads retry half a minute.
        offline, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
        try:
            return datasets.load_dataset(path, split="train", **options)
        finally:
            datasets.config.HF_HUB_OFFLINE = offline
    return datasets.load_dataset(path, split="train", **options)


SOURCES: dict[str, Source] = {
    "bundled": Source("text of the bundled grammar", _bundled, shuffled=True),
    "wikitext2": Source("WikiText-2", _hub("Salesforce/wikitext", name="wikitext-2-raw-v1")),
    "c4": Source("C4", _hub("allenai/c4", shuffled=True, data_files={"train": _C4_PART}), shuffled=True),
}


def _text_file(path: Path) -> Iterator[str]:
    try:
        yield path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as UTF-8 text: {error}.") from error


def _json_lines(path: Path) -> Iterator[str | list[int]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as UTF-8 text: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            content = row["text"] if "text" in row else row["input_ids"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"Line {number} of '{path}' is no JSON object with `text` or `input_ids`. Write one on each line."
            ) from error
        if not isinstance(content, str | list):
            raise UserError(f"Line {number} of '{path}' has neither text nor a list of token ids.")
        yield content


_READERS: dict[str, Callable[[Path], Iterator[Any]]] = {".txt": _text_file, ".jsonl": _json_lines}
