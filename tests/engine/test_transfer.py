"""Pieces of growing files on their way from a worker to the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.worker import PIECE, add_piece, piece_of
from analysis.errors import UserError

LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=20), min_size=1)


@given(lines=LINES, half=st.text("ab", max_size=5), starts=st.lists(st.integers(0, 400), max_size=8))
def test_pieces_from_any_byte_on_come_to_the_file_without_its_half_line(tmp_path_factory, lines, half, starts):
    folder = tmp_path_factory.mktemp("pieces")
    content = "".join(f"{line}\n" for line in lines).encode()
    written, copy = folder / "lines", folder / "copy" / "lines"
    copy.parent.mkdir()
    written.write_bytes(content + half.encode())
    ends = [0] + [at + 1 for at, byte in enumerate(content) if byte == 10]
    for start in starts:  # whatever was lost or comes twice
        piece = piece_of(written, ends[start % len(ends)])
        if piece is None:
            continue
        there = copy.stat().st_size if copy.exists() else 0
        missing = add_piece(piece, copy.parent)
        assert missing == (there if piece["at"] > there else None)
    last = piece_of(written, copy.stat().st_size if copy.exists() else 0)
    if last is not None:
        assert add_piece(last, copy.parent) is None
    assert copy.read_bytes() == content


def test_a_line_longer_than_a_piece_travels_whole_and_a_long_file_in_several(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"x" * (PIECE + 5) + b"\n" + b"y\n" * PIECE)
    first = piece_of(path, 0)
    assert first["text"] == "x" * (PIECE + 5) + "\n"
    second = piece_of(path, PIECE + 6)
    assert len(second["text"]) == PIECE


@pytest.mark.parametrize(
    "piece",
    [
        {},
        {"name": "a", "at": -1, "text": ""},
        {"name": "../a", "at": 0, "text": "x"},
        {"name": "", "at": 0, "text": "x"},
        {"name": "..", "at": 0, "text": "x"},
        {"name": 3, "at": 0, "text": "x"},
    ],
)
def test_a_piece_that_makes_no_sense_is_refused_and_writes_nothing(tmp_path, piece):
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(UserError):
        add_piece(piece, folder)
    assert list(tmp_path.rglob("*")) == [folder]
