"""The data that an explorer is sent."""

from dataclasses import replace

from analysis.recording.explored import explored, packed_text, unpacked_text
from analysis.study.findings import EXAMPLE, read
from tests.recording.block_texts import block_trajectory


def test_the_text_of_an_explorer_gives_back_its_bytes():
    written = [block_trajectory(), block_trajectory(cached=True)]
    relative = [replace(each, mass=each.relative_mass()) for each in written]
    packed = explored(relative, ["one", "two"], state={"step": "3"})
    text = packed_text(packed)
    assert unpacked_text(text) == packed
    assert unpacked_text(text, {"step": "4"}) == explored(relative, ["one", "two"], state={"step": "4"})


def test_the_text_in_the_shipped_study_is_of_this_coding():
    text = read(EXAMPLE).explorer
    assert packed_text(unpacked_text(text)) == text
