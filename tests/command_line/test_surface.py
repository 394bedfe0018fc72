"""Flags, defaults, exit codes and jobs of the command line are those that were stored."""

import pytest

from analysis.__main__ import VERBS
from tests.command_line.surface import ASKED, answer_to, flags_of, missing, stored

STORED = stored()


def test_every_verb_is_stored():
    assert {f"flags {verb}" for verb in VERBS} == {name for name in STORED if name.startswith("flags ")}
    assert list(STORED["answers"]) == list(ASKED)


@pytest.mark.parametrize("verb", VERBS)
def test_no_flag_goes_and_none_changes(verb):
    assert missing(STORED[f"flags {verb}"], flags_of(verb)) == {}


@pytest.mark.parametrize("line", ASKED)
def test_a_command_line_asks_for_the_same(line, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    assert not missing(STORED["answers"][line], answer_to(line, tmp_path / "work"))


def test_what_is_gone_or_other_is_told():
    was = {"--a": {"default": 1}, "--b": {}}
    assert missing(was, {"--a": {"default": 1, "new": 2}, "--b": {}, "--c": {}}) == {}
    assert missing(was, {"--a": {"default": 2}}) == {"--a": {"default": "was 1, is 2"}, "--b": "is gone"}
