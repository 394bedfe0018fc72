"""Flags drawn from specs, and the specs that are built from what was typed."""

import argparse
from typing import Literal

import pytest
from pydantic import ValidationError

from analysis.__main__ import VERBS
from analysis.command_line.flags import Fields, add_flags, flag
from analysis.specs import JobSpec, ModelSpec, Spec, parameter
from sinkscope.face import _words


class Part(Spec):
    kind: Literal["part"] = "part"
    level: float = parameter(1.0, "Level", "How much.", ge=0)
    names: tuple[str, ...] = parameter(("a", "b"), "Names", "Which.")


class Whole(JobSpec):
    text: str = parameter(..., "Text", "What is read.")
    prompt: str = parameter("", "Prompt", "Typed by a flag of its own.")
    seed: int = parameter(0, "Seed", "The draw.")
    beside: ModelSpec | None = parameter(None, "Beside", "Another model.")
    part: Part = Part(level=3.0)
    other: JobSpec = JobSpec()


def drawn(*rows) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_flags(parser, rows)
    return parser


def flags(parser: argparse.ArgumentParser) -> list[str]:
    return [action.option_strings[0] for action in parser._actions][1:]


def test_every_field_has_a_flag_but_for_what_is_fixed_and_the_models_of_parts():
    told = flags(drawn(Fields(Whole)))
    assert told == [
        "--model",
        "--text",
        "--seed",
        "--device",
        "--dtype",
        "--paradigm",
        "--offload",
        "--level",
        "--names",
    ]


def test_a_part_keeps_what_its_owner_presets():
    asked = Fields(Whole)
    typed = drawn(asked).parse_args(["--text", "x", "--names", "c, d", "--model", "bundled-ar"])
    assert asked.build(typed) == Whole(
        text="x", part=Part(level=3.0, names=("c", "d")), model=ModelSpec(source="bundled-ar")
    )
    assert asked.given(typed) == {"text": "x"}
    assert asked.build(typed, part=Part()).part == Part(), "what is not typed is given"


def test_the_help_says_what_holds_without_the_flag(capsys):
    with pytest.raises(SystemExit):
        drawn(Fields(Whole, note=" In short.")).parse_args(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "How much. Default: 3.0." in told and "Which. Default: a,b." in told
    assert "The draw. Default: 0. In short." in told and "What is read. In short." in told


def test_a_flag_by_hand_takes_the_place_of_the_fields_and_others_are_left_out_or_renamed():
    asked = Fields(Whole, without=("part.level", "text"), named={"seed": "draw"})
    by_hand = flag("--names", of=(Part, "names"), nargs="+")
    parser = drawn(by_hand, asked)
    assert [
        name for name in flags(parser) if name not in ("--model", "--device", "--dtype", "--paradigm", "--offload")
    ] == ["--names", "--draw"]
    typed = parser.parse_args(["--names", "c", "d", "--draw", "4"])
    assert asked.build(typed, text="x") == Whole(text="x", seed=4, part=Part(level=3.0, names=("c", "d")))


def test_what_a_part_refuses_is_told_of_the_part():
    asked = Fields(Whole)
    with pytest.raises(ValidationError) as refused:
        asked.build(drawn(asked).parse_args(["--text", "x", "--level", "-1"]))
    assert refused.value.errors()[0]["loc"] == ("level",)


@pytest.mark.parametrize("verb", VERBS)
def test_python_writes_the_flags_of_every_verb(verb):
    assert _words(verb, {"overwrite": True, "seed": None}) == ["--overwrite"]


def test_python_writes_lists_as_the_verb_takes_them():
    lists = {"model": ["a", "b"], "sparsities": (0.5, 0.6)}
    assert _words("sweep", lists) == ["--model", "a", "b", "--sparsities", "0.5,0.6"]
