"""Calibration text, read a piece at a time and cut into token sequences of one length. One row of `SOURCES` per named
source. Imports no torch.

Text is read and tokenized only as far as it is needed. A source that comes shuffled gives its first tokens. Any other
gives non-overlapping windows drawn by the seed: among all windows of a dataset or a small file, but one at each of
several places of a large file, since listing all its windows would take tokenizing all of it. A place is a span of
bytes. Its text depends on the file and the span alone, so places that do not overlap give text that does not.
"""

import codecs
import io
import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, TextIO

import numpy as np

from analysis import hub
from analysis.errors import UserError, named_line
from analysis.specs import CalibrationParams

PIECE = 2**20  # characters that are tokenized at once
LONGEST_LINE = 64 * 2**20  # bytes of one line of a .jsonl file
_WORD = 4096  # characters in which the end of a word is looked for
_BLOCK = 2**16  # bytes read at once on the way back to the beginning of a line


@dataclass(frozen=True)
class Piece:
    """A part of a document, as text or as token ids. first, last: whether the document begins or ends with it."""

    content: str | list[int]
    first: bool = True
    last: bool = True


@dataclass(frozen=True)
class TextFile:
    """whole: (path) -> all pieces. at: (path, start, end, length) -> the pieces of the documents between two bytes, of
    token ids only windows of `length`.
    """

    whole: Callable[[Path], Iterator[Piece]]
    at: Callable[[Path, int, int, int], Iterator[Piece]]


def in_pieces(text: TextIO, size: int = PIECE, first: bool = True, last: bool = True) -> Iterator[Piece]:
    """A document in pieces of about `size` characters, cut before the space after a word where there is one."""
    held = text.read(size)
    while held:
        more = text.read(size)
        end = _word_end(held) if more else len(held)
        yield Piece(held[:end], first, last and not more)
        held, first = held[end:] + more, False


def _word_end(text: str) -> int:
    for index in range(len(text) - 1, max(len(text) - _WORD, 0), -1):
        if text[index].isspace() and not text[index - 1].isspace():
            return index
    return len(text)


def _from_word(text: str) -> str:
    """Text that begins inside a word, from the next one on."""
    start = next((index + 1 for index, letter in enumerate(text[:_WORD]) if letter.isspace()), 0)
    return text[start:]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, with what goes wrong in reading it as a UserError."""
    try:
        with path.open("rb") as file:
            yield file
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' cannot be read as UTF-8 text: {error.reason}. Save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}.") from error


# --- .txt: one document -----------------------------------------------------------------------------------------


def _whole_text(path: Path) -> Iterator[Piece]:
    with _opened(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        yield from in_pieces(text)


def _text_at(path: Path, start: int, end: int, length: int) -> Iterator[Piece]:
    with _opened(path) as file:
        file.seek(start)
        data = file.read(end - start)
        # A character that the place cuts through belongs to neither side.
        while start and data and data[0] & 0xC0 == 0x80:
            data = data[1:]
        utf8 = codecs.getincrementaldecoder("utf-8-sig" if start == 0 else "utf-8")()
        text = io.IncrementalNewlineDecoder(utf8, translate=True).decode(data)
    yield from in_pieces(io.StringIO(_from_word(text) if start else text), 8 * length, start == 0, False)


# --- .jsonl: a document a line ----------------------------------------------------------------------------------


def _whole_lines(path: Path) -> Iterator[Piece]:
    with _opened(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            document = _document(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, f"Line {number}", path)
            if isinstance(document, str):
                yield from in_pieces(io.StringIO(document))
            elif document is not None:
                yield Piece(document)


def _lines_at(path: Path, start: int, end: int, length: int) -> Iterator[Piece]:
    with _opened(path) as file:
        begin = _line_start(file, start, path)
        file.seek(begin)
        while begin < end and (line := file.readline(LONGEST_LINE + 1)):
            document = _document(line.removeprefix(b"\xef\xbb\xbf"), f"The line from byte {begin:,}", path)
            # The share of the document that the place holds, by the bytes of its line.
            share = max(0, start - begin) / len(line), min(1.0, (end - begin) / len(line))
            begin += len(line)
            if isinstance(document, str):
                first, last = (int(edge * len(document)) for edge in share)
                text = _from_word(document[first:last]) if first else document[first:last]
                yield from in_pieces(io.StringIO(text), 8 * length, first == 0, last == len(document))
            elif document is not None:
                # Windows are counted from the beginning of the list, and belong where they begin.
                first, last = (math.ceil(edge * len(document) / length) for edge in share)
                for window in range(first, last):
                    yield Piece(document[window * length : (window + 1) * length])


def _line_start(file: BinaryIO, place: int, path: Path) -> int:
    """Return the offset of the line that holds a byte."""
    end = place
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
        if place - end > LONGEST_LINE:
            raise _too_long(f"The line at byte {place:,}", path)
    return 0


def _document(line: bytes, where: str, path: Path) -> str | list[int] | None:
    """The text or token ids of a line, None for an empty one. where: what to call it."""
    if len(line) > LONGEST_LINE:
        raise _too_long(where, path)
    if not line.strip():
        return None
    try:
        row = json.loads(line.decode())
        content = row["text"] if "text" in row else row["input_ids"]
    except UnicodeDecodeError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{where} of '{path}' is not a JSON object with `text` or `input_ids`. Write one on each line."
        ) from error
    if not isinstance(content, str | list):
        raise UserError(f"{where} of '{path}' has neither text nor a list of token ids.")
    if isinstance(content, str):
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where} of '{path}' holds half a surrogate pair (\\u{ord(content[error.start]):04x}), which is no "
                "text. Write the character itself."
            ) from error
    return content


def _too_long(where: str, path: Path) -> UserError:
    return UserError(
        f"{where} of '{path}' is longer than {LONGEST_LINE // 2**20} MiB. Split the document into several lines."
    )


TEXT_FILES: dict[str, TextFile] = {".txt": TextFile(_whole_text, _text_at), ".jsonl": TextFile(_whole_lines, _lines_at)}


_WAY_OUT = "Use the bundled text or a file of your own"


def hub_text(path: str, shuffled: bool, **options: Any) -> Callable[[int], Iterator[str]]:
    """(seed) -> the texts of a dataset's rows. Iterating raises UserError with the cause where they cannot be had."""

    def texts(seed: int) -> Iterator[str]:
        try:
            rows = _rows(path, **options)
            if shuffled:
                rows = rows.shuffle(seed=seed)
            for row in rows:
                if not isinstance(row.get("text"), str):
                    raise UserError(f"The calibration text '{path}' has rows without text. {_WAY_OUT}.")
                if row["text"].strip():
                    yield row["text"]
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"The calibration text '{path}' cannot be loaded: {_cause(error)}. {_WAY_OUT}.") from error

    return texts


def _rows(path: str, **options: Any) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"The calibration text '{path}' needs the package 'datasets', which cannot be imported ({error}). Install "
            f"what requirements.txt names. {_WAY_OUT}."
        ) from error
    try:
        hub.ask(path, "dataset")
    except Exception as asked:
        try:
            with hub.offline():  # without the hub only what was fetched before can serve
                return datasets.load_dataset(path, split="train", **options)
        except (FileNotFoundError, ConnectionError, ValueError) as error:
            raise UserError(
                f"The calibration text '{path}' is not on this disk, and {_refusal(asked)}. {_WAY_OUT}."
            ) from error
    return datasets.load_dataset(path, split="train", **options)


def _refusal(error: Exception) -> str:
    """Return why the hub said nothing about a dataset."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids asking the Hugging Face hub"
    if status in (401, 403):
        return f"the Hugging Face hub refuses access to it (HTTP {status}): log in with `hf auth login`"
    if status == 404:
        return "the Hugging Face hub has no such dataset"
    if status is not None:
        return f"the Hugging Face hub answers with HTTP {status}"
    return f"the Hugging Face hub cannot be reached ({type(error).__name__})"


def _cause(error: Exception) -> str:
    """An error in a line. datasets wraps what went wrong in errors of its own, which name no cause."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return named_line(error).rstrip(".")


SMALL = 4 * 2**20  # bytes of a file among all of whose windows are drawn
PLACE = 32  # bytes for each token of a window: text rarely takes more than 8
SPARE = 3  # a file with fewer places than so many for each sequence is cut whole
_MISSES = 8  # places without enough text that are tried for each sequence, before the file is cut whole


@dataclass(frozen=True)
class CalibrationText:
    """tokens (N, S) int64. note: what was adjusted."""

    tokens: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Source:
    """pieces: (seed) -> the documents in pieces.

    shuffled: they come in an order drawn by the seed, so that the first ones are a sample. dataset: of the hub, '' for
    what is here.
    """

    title: str
    pieces: Callable[[int], Iterable[Piece]]
    shuffled: bool = False
    dataset: str = ""


def calibration_text(
    params: CalibrationParams, tokenizer: Any, max_length: int, vocabulary: int, draw: int | None = None
) -> CalibrationText:
    """`samples` sequences of `seq_len` tokens: non-overlapping windows of the source, drawn by the seed.

    tokenizer: the model's, or None where the source holds token ids. draw: how many are drawn at most, where not
    `samples`: others of the windows that `samples` of another seed are drawn from. Raises UserError for a source that
    cannot be read and for too little text, saying how much is there.
    """
    length, note = params.seq_len, ""
    if length > max_length:
        length, note = (
            max_length,
            f"The sequence length {params.seq_len} was capped at the model's {max_length} tokens.",
        )
    count = params.samples if draw is None else draw

    def tokens(pieces: Iterable[Piece]) -> Iterator[tuple[list[int], bool]]:
        return _token_lists(pieces, tokenizer, vocabulary, params.data)

    source = SOURCES.get(params.data)
    if source is not None and source.shuffled:
        ids = np.fromiter(_first(tokens(source.pieces(params.seed)), count * length), np.int64)
        windows, tokens_read = ids[: len(ids) // length * length].reshape(-1, length), len(ids)
        if draw is None:
            _require(windows, tokens_read, params, length)
        return CalibrationText(windows, note)
    if source is None:
        path, file = _file(params.data)
        if path.stat().st_size > max(SMALL, SPARE * PLACE * length * params.samples):
            windows = _at_places(path, file, tokens, length, count, params.seed)
            if len(windows) == count or draw is not None:
                return CalibrationText(windows, note)
        source = Source(path.name, lambda seed: file.whole(path))
    windows, tokens_read = _windows(tokens(source.pieces(params.seed)), length)
    if draw is None:
        _require(windows, tokens_read, params, length)
    chosen = np.random.default_rng(params.seed).choice(len(windows), min(count, len(windows)), replace=False)
    return CalibrationText(windows[chosen].astype(np.int64), note)


def check_source(params: CalibrationParams, tokenizer: Any) -> None:
    """Raise UserError for a source that is not there, and for text that no tokenizer can read, without reading it."""
    if params.data not in SOURCES and _file(params.data)[0].suffix == ".jsonl":
        return  # may hold token ids
    if tokenizer is None:
        raise _unreadable(params.data)


def _unreadable(data: str) -> UserError:
    return UserError(
        f"The model has no tokenizer, so the text of '{data}' cannot be read. Give a .jsonl file with `input_ids`."
    )


def _require(windows: np.ndarray, tokens_read: int, params: CalibrationParams, length: int) -> None:
    if len(windows) < params.samples:
        raise UserError(
            f"Too little calibration text in '{params.data}': it holds {tokens_read:,} tokens, enough for "
            f"{len(windows)} of the {params.samples} sequences of {length} tokens asked for. Take fewer samples, a "
            "shorter sequence length, or more text."
        )


def _file(data: str) -> tuple[Path, TextFile]:
    known = ", ".join(SOURCES)
    try:
        path = Path(data)
        if path.suffix not in TEXT_FILES:
            raise UserError(f"'{data}' is no calibration text: give {known}, or a .txt or .jsonl file.")
        there = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise UserError(f"'{data}' cannot be read: {error.strerror or error}.") from error
    if not there:
        raise UserError(f"There is no file '{data}'. Give a .txt or .jsonl file, or one of {known}.")
    return path, TEXT_FILES[path.suffix]


# --- tokens -----------------------------------------------------------------------------------------------------


def _token_lists(
    pieces: Iterable[Piece], tokenizer: Any, vocabulary: int, data: str
) -> Iterator[tuple[list[int], bool]]:
    """Token ids of each piece, and whether the next piece may share a window with it."""
    for piece in pieces:
        if isinstance(piece.content, list):
            if not all(type(token) is int and 0 <= token < vocabulary for token in piece.content):  # True is an int too
                raise UserError(f"'{data}' holds token ids outside this model's vocabulary of {vocabulary} tokens.")
            yield piece.content, False
            continue
        if tokenizer is None:
            raise _unreadable(data)
        ids = tokenizer(piece.content, add_special_tokens=piece.first, verbose=False).input_ids
        end = tokenizer.eos_token_id
        ended = end is not None and ids[-1:] == [end]
        if piece.last and end is not None and not ended:
            ids = [*ids, end]
        elif ended and piece.first and not piece.last:
            ids = ids[:-1]
        yield ids, True


def _first(lists: Iterable[tuple[list[int], bool]], count: int) -> Iterator[int]:
    for ids, _ in lists:
        yield from ids[:count]
        count -= len(ids)
        if count <= 0:
            return


def _windows(lists: Iterable[tuple[list[int], bool]], length: int) -> tuple[np.ndarray, int]:
    """Non-overlapping windows (W, length) int32 of running text, and of each list of token ids on its own; tokens
    seen.
    """
    running, cut = array("i"), array("i")
    tokens_read = 0
    for ids, joins in lists:
        tokens_read += len(ids)
        if joins:
            running.extend(ids)
        else:
            cut.extend(ids[: len(ids) // length * length])
    cut.extend(running[: len(running) // length * length])
    return np.array(cut, np.int32).reshape(-1, length), tokens_read


# --- large files ------------------------------------------------------------------------------------------------


def _at_places(
    path: Path,
    file: TextFile,
    tokens: Callable[[Iterable[Piece]], Iterator[tuple[list[int], bool]]],
    length: int,
    count: int,
    seed: int,
) -> np.ndarray:
    """Return windows (at most `count`, length) int64, the first at each of some places of a file drawn by the seed.

    A place is PLACE · length bytes from a multiple of that on. Places without as much text are left out, and after many
    of them fewer windows are given.
    """
    size = PLACE * length
    places = path.stat().st_size // size
    rng = np.random.default_rng(seed)
    tried: set[int] = set()
    windows: list[list[int]] = []
    while len(windows) < count and len(tried) < min(places, (1 + _MISSES) * count):
        place = int(rng.integers(places))
        if place in tried:
            continue
        tried.add(place)
        window = _first_window(tokens(file.at(path, place * size, (place + 1) * size, length)), length)
        if window is not None:
            windows.append(window)
    return np.array(windows, np.int64).reshape(-1, length)


def _first_window(lists: Iterable[tuple[list[int], bool]], length: int) -> list[int] | None:
    running: list[int] = []
    for ids, joins in lists:
        if not joins:
            if len(ids) == length:
                return ids
            continue
        running += ids
        if len(running) >= length:
            return running[:length]
    return None


# --- sources ----------------------------------------------------------------------------------------------------

_C4_PART = "en/c4-train.00000-of-01024.json.gz"


def _bundled(seed: int) -> Iterator[Piece]:
    from analysis.bundled.grammar import document

    random = Random(f"calibration-{seed}")
    while True:
        yield Piece(document(random).text)


def _hub(title: str, path: str, shuffled: bool = False, **options: Any) -> Source:
    texts = hub_text(path, shuffled, **options)
    return Source(title, lambda seed: map(Piece, texts(seed)), shuffled, path)


SOURCES: dict[str, Source] = {
    "bundled": Source("text of the bundled grammar", _bundled, shuffled=True),
    "wikitext2": _hub("WikiText-2", "Salesforce/wikitext", name="wikitext-2-raw-v1"),
    "c4": _hub("C4", "allenai/c4", shuffled=True, data_files={"train": _C4_PART}),
}
