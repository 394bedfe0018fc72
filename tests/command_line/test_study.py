"""`python -m analysis study`: its flags, and the command that a study says repeats it."""

import argparse
import shlex

import pytest

from analysis import hub
from analysis.__main__ import main
from analysis.command_line import study
from analysis.engine.studies import new_study
from analysis.specs import SIZES, ModelSpec, StudySpec
from analysis.study.gather import study_command


def parsed(words: list[str]) -> StudySpec:
    parser = argparse.ArgumentParser()
    study.add(parser.add_subparsers(dest="verb").add_parser("study"))
    return study.spec_of(parser.parse_args(words))


@pytest.mark.parametrize("size", list(SIZES))
def test_a_size_is_the_flags_default_and_the_bundled_model_has_its_twin(size):
    spec = parsed(["study", "--size", size])
    assert spec == new_study(ModelSpec(), size)
    assert spec.reference == ModelSpec(source="bundled-ar")
    assert parsed(["study", "--size", size, "--reference", "none"]).reference is None


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reference": None, "prompt": 'it\'s "so"', "seeds": (3, 4), "sparsities": (0.6,), "difference": 0.3},
        {"model": ModelSpec(device="cpu", dtype="float32"), "tasks": ("bundled_story", "bundled_text"), "prompts": 3},
    ],
)
def test_the_command_asks_the_same_study_again(size, changes):
    changes = dict(changes)
    spec = new_study(changes.pop("model", ModelSpec()), size, **changes)
    words = shlex.split(study_command(spec))
    assert words[:3] == ["python", "-m", "analysis"]
    assert parsed(words[3:]) == spec


def test_bad_input_is_one_line_and_starts_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))

    def refused(*words: str) -> str:
        assert main(["study", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "Name the folder" in refused()
    out = ["--out", str(tmp_path / "out")]
    assert "must be at most 0.95" in refused("--sparsities", "2", *out)
    assert "There is no model" in refused("--model", "none such", *out)
    assert "There is no model" in refused("--model", "none such", "--estimate")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    assert "was not written by SinkScope" in refused("--out", str(mine), "--overwrite")
    monkeypatch.setattr(hub, "reachable", lambda: False)
    assert "needs WikiText-2, MMLU, ARC-C" in refused("--size", "paper", *out)
    assert not (tmp_path / "out").exists()
