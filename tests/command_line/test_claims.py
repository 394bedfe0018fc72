"""`python -m analysis claims`: its flags, and the command that repeats a run."""

import argparse
import json
import re
import shlex

import pytest

from analysis.__main__ import main
from analysis.command_line import claims
from analysis.command_line.flags import add_flags
from analysis.command_line.running import devices_for
from analysis.engine.studies import claims_command, new_claims
from analysis.specs import CLAIM_SIZES, ClaimsSpec, ModelSpec


def parsed(words: list[str]) -> ClaimsSpec:
    parser = argparse.ArgumentParser()
    add_flags(parser.add_subparsers(dest="verb").add_parser("claims"), claims.FLAGS)
    return claims.spec_of(parser.parse_args(words))


@pytest.mark.parametrize("size", list(CLAIM_SIZES))
def test_a_size_is_the_flags_default_and_the_bundled_model_has_its_twin(size):
    spec = parsed(["claims", "--size", size])
    assert spec == new_claims(ModelSpec(source="bundled"), size)
    assert spec.reference == ModelSpec(source="bundled-ar")
    assert parsed(["claims", "--reference", "none"]).reference is None


def test_the_command_asks_the_same_again():
    model = ModelSpec(source="bundled")
    for spec in (
        new_claims(model),
        new_claims(model, "standard", reference=None),
        new_claims(model, count=35, only=("sinks-move", "small-values"), seeds=(3, 4), sparsity=0.5),
    ):
        words = shlex.split(claims_command(spec))
        assert words[:4] == ["python", "-m", "analysis", "claims"] and parsed(words[3:]) == spec


def test_own_prompts_and_their_clusters_are_read(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "one", "cluster": "a"}\n{"prompt": "two", "cluster": "a"}\n{"prompt": "three"}\n')
    spec = parsed(["claims", "--prompts", str(file)])
    assert spec.own_prompts == ("one", "two", "three") and spec.count == 3
    assert spec.own_keys[0] == spec.own_keys[1] != spec.own_keys[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["claims"], "Name the folder"),
        (["claims", "--only", "sinks-sing", "--out", "x"], "--only"),
        (["claims", "--model", "no-such-model-here", "--estimate"], "no-such-model-here"),
    ],
)
def test_bad_input_is_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    assert main(words) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("error:") == 1


def test_texts_that_do_not_fit_the_model_are_refused_before_anything_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    words = ["claims", "--only", "small-values", "--reference", "none", "--estimate"]
    assert main([*words, "--gen-length", "4000"]) == 2
    told = capsys.readouterr().err
    assert "4,000 new ones do not fit after it" in told
    fitting = int(re.search(r"Choose at most ([\d,]+) new tokens", told)[1].replace(",", ""))
    assert main([*words, "--gen-length", str(fitting + 1)]) == 2
    assert main([*words, "--gen-length", str(fitting)]) == 0


def test_an_estimate_is_printed_as_json_too(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    assert main(["claims", "--only", "sinks-move", "--estimate", "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)["estimate"]
    assert told and all(line in printed.err for line in told)


def test_small_models_get_a_worker_per_cpu_unless_the_user_names_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("SINKSCOPE_DEVICES", raising=False)
    monkeypatch.setattr("analysis.machine.process.allotted_cpus", lambda: 3)
    monkeypatch.setattr("analysis.machine.process.allotted_memory", lambda: 5e9)
    pair = [ModelSpec(source="bundled"), ModelSpec(source="bundled-ar")]
    assert devices_for(pair) == ["cpu", "cpu"]
    monkeypatch.setattr("analysis.command_line.running._SMALL_BYTES", 1e6)
    assert devices_for(pair) is None
    monkeypatch.undo()
    monkeypatch.setenv("SINKSCOPE_DEVICES", "cpu")
    assert devices_for(pair) is None
