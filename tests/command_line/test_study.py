"""`python -m analysis study`: its flags, and the command that a study says repeats it."""

import argparse
import json
import shlex

import pytest

from analysis import hub
from analysis.__main__ import main
from analysis.command_line import study
from analysis.command_line.flags import add_flags
from analysis.engine.studies import children_of, new_study
from analysis.errors import UserError
from analysis.exhibits.study_report import _prompt_lines
from analysis.jobs.recording_sets import cluster_keys
from analysis.specs import SIZES, ModelSpec, StudySpec
from analysis.study import plans
from analysis.study.gather import study_command


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser.add_subparsers(dest="verb").add_parser("study"), study.FLAGS)
    return parser.parse_args(words)


def parsed(words: list[str]) -> StudySpec:
    return study.spec_of(options(words))


def planned(words: list[str]) -> StudySpec:
    return study.planned(options(words))


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
        {"decompose": True},
        {"decompose": False, "methods": ("wanda-noised", "sink-wanda")},
    ],
)
def test_the_command_asks_the_same_study_again(size, changes):
    changes = dict(changes)
    spec = new_study(changes.pop("model", ModelSpec()), size, **changes)
    words = shlex.split(study_command(spec))
    assert words[:3] == ["python", "-m", "analysis"]
    assert parsed(words[3:]) == spec


def test_a_plan_is_frozen_before_anything_runs_followed_and_departed_from(tmp_path, capsys):
    file = tmp_path / "plan.json"
    first = planned(["study", "--size", "quick", "--plan", str(file), "--seeds", "0-3"])
    plan = json.loads(file.read_text())
    assert plan["settings"]["seeds"] == [0, 1, 2, 3] and plan["tests"] == plans.planned_tests(first)
    assert first.registration.digest == plan["digest"] and plan["digest"] in capsys.readouterr().err
    assert plan["outcome"] == "Change of the predictions" and plan["margins"]["accuracy"] == "2 points"
    assert "Sink-Wanda against Wanda, noised (control) at 50 %." in plan["contrasts"]
    assert planned(["study", "--plan", str(file)]) == first, "followed without a flag"
    other = planned(["study", "--plan", str(file), "--seeds", "0,1", "--device", "cpu"])
    assert other.seeds == (0, 1) and other.model.device == "cpu" and other.registration == first.registration
    said = capsys.readouterr().err
    assert "Departs from the plan. Calibration seeds: 0, 1, 2 and 3 planned, 0 and 1 used." in said
    file.write_text(file.read_text().replace('"limit": 128', '"limit": 64'))
    with pytest.raises(UserError, match="was changed after it was written"):
        planned(["study", "--plan", str(file)])
    file.write_text("{}")
    with pytest.raises(UserError, match="holds no plan"):
        planned(["study", "--plan", str(file)])


def test_prompts_are_those_of_a_file_with_their_clusters_and_a_number_still_counts(tmp_path, capsys):
    assert parsed(["study", "--prompts", "7"]).prompts == 7
    assert "as --prompt-count 7" in capsys.readouterr().err
    assert parsed(["study", "--prompt-count", "7"]) == parsed(["study", "--prompts", "7"])
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": "One", "cluster": "a"}, {"text": "Two", "cluster": "a"}, {"prompt": "Three"}, {"prompt": "One"}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    spec = parsed(["study", "--prompts", str(file)])
    assert (spec.own_prompts, spec.prompts) == (("One", "Two", "Three"), 3)
    assert spec.own_keys == ("cluster a", "cluster a", "prompt 3")
    recorded, ablated = (
        next(child.spec for part in children_of(spec).values() for child in part if child.kind == kind)
        for kind in ("record_set", "ablate_set")
    )
    assert cluster_keys(recorded) == dict(zip(spec.own_prompts, spec.own_keys, strict=True))
    assert (ablated.prompts, ablated.keys) == (spec.own_prompts, spec.own_keys)
    two = parsed(["study", "--prompts", str(file), "--prompt-count", "2"])
    assert (two.prompts, two.own_keys) == (2, ("cluster a", "cluster a"))
    again = tmp_path / "prompts.jsonl"
    again.write_text(_prompt_lines(spec), encoding="utf-8")
    words = shlex.split(study_command(spec))
    assert words[words.index("--prompts") + 1] == "prompts.jsonl"
    words[words.index("--prompts") + 1] = str(again)
    assert parsed(words[3:]) == spec
    fraction = '{"prompt": "x", "cluster": 1.5}'
    for line, told in (("[1]", "no text under 'prompt'"), ("{", "is not JSON"), (fraction, "neither text nor")):
        file.write_text(f"{line}\n")
        with pytest.raises(UserError, match=told):
            parsed(["study", "--prompts", str(file)])


def test_the_bundled_prompts_of_an_ablation_are_keyed_by_template():
    spec = parsed(["study", "--prompt-count", "90"])
    ablated = next(child.spec for part in children_of(spec).values() for child in part if child.kind == "ablate_set")
    assert len(ablated.keys) == 90 and len(set(ablated.keys)) < 90


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
