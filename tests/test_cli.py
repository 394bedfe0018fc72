"""The command line: the same jobs as the pages, one clear line and exit code 2 for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.__main__ import main
from analysis.trajectory import open_trajectory
from tests.helpers import save_tiny

ROOT = Path(__file__).parent.parent


def test_record_writes_a_recording_and_a_summary(tmp_path, capsys, trajectory):
    out = tmp_path / "one.safetensors"
    flags = ["--gen-length", "16", "--steps", "8", "--device", "cpu", "--json"]
    assert main(["record", "--prompt", trajectory.info.prompt, "--out", str(out), *flags]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["steps"] == 8
    assert "denoising" in printed.err
    np.testing.assert_array_equal(open_trajectory(out).mass, trajectory.mass)
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def test_prompts_from_a_file_write_numbered_recordings(tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ben is\n\nmia has\n")
    flags = ["--gen-length", "4", "--steps", "2", "--device", "cpu"]
    assert main(["record", "--prompts", str(prompts), "--out", str(tmp_path / "run.safetensors"), *flags]) == 0
    recorded = [open_trajectory(tmp_path / f"run-{index}.safetensors").info.prompt for index in (1, 2)]
    assert recorded == ["ben is", "mia has"]


def test_autoregressive_models_record_too(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)
    out = tmp_path / "ar.safetensors"
    arguments = ["record", "--model", str(folder), "--prompt", "w7 w8", "--gen-length", "3", "--top-k", "5"]
    assert main([*arguments, "--temperature", "1", "--out", str(out)]) == 0
    assert open_trajectory(out).info.sampling.top_k == 5


def bad(arguments, capsys) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_bad_input_is_one_line(tmp_path, capsys):
    out = str(tmp_path / "x.safetensors")
    ask = ["record", "--prompt", "a", "--out", out]
    assert "not a name of the registry" in bad([*ask, "--model", "nonsense"], capsys)
    assert "which has no --alg" in bad([*ask, "--alg", "entropy"], capsys)
    assert "multiple of" in bad([*ask, "--steps", "7", "--block-length", "16"], capsys)
    assert "Seed" in bad([*ask, "--seed", "-1"], capsys)
    assert "does not exist" in bad(["record", "--prompt", "a", "--out", str(tmp_path / "no" / "x")], capsys)
    assert "cannot be read" in bad(["record", "--prompts", str(tmp_path / "none.txt"), "--out", out], capsys)
    (tmp_path / "x.safetensors").write_text("mine")
    assert "--overwrite" in bad(ask, capsys)
    assert (tmp_path / "x.safetensors").read_text() == "mine"


def test_unknown_flags_exit_with_two(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["record", "--nonsense"])
    assert caught.value.code == 2


def test_models_lists_the_registry(capsys):
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows if row["here"]] == ["bundled", "bundled-ar"]
    assert main(["models"]) == 0


def test_it_runs_as_a_module_and_help_needs_no_torch():
    command = [sys.executable, "-X", "importtime", "-m", "analysis", "record", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--block-length" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.rstrip().endswith("| torch")]
