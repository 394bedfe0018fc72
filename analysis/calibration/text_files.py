"""Calibration text from files of the user's, read a piece at a time: a small file whole, a large one at places.

A place is a span of bytes; what it holds depends on the file and the span alone, so places that do not overlap give
text that does not. Imports no torch.
"""

import codecs
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from analysis.errors import UserError

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
