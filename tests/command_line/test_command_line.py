"""The command line: the same jobs as the pages, one clear line and exit code 2 for bad input."""

import argparse
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.__main__ import VERBS, main
from analysis.command_line.flags import a_path, add_flags, path_text
from analysis.recording.trajectory_file import open_trajectory, save
from analysis.specs import CalibrationParams, EvaluateSpec, FootprintSpec, ImportSpec, PruneSpec
from tests.command_line.surface import holds_fields
from tests.helpers import save_tiny

ROOT = Path(__file__).parents[2]


def test_record_writes_a_recording_and_a_summary(tmp_path, capsys, trajectory):
    out = tmp_path / "one.safetensors"
    flags = ["--gen-length", "16", "--steps", "8", "--device", "cpu", "--json"]
    assert main(["record", "--prompt", trajectory.info.prompt, "--out", str(out), *flags]) == 0
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    holds_fields("record", said)
    assert said["steps"] == 8
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


def test_a_prompt_is_recorded_in_parallel_and_one_by_one(tmp_path, capsys):
    flags = [
        "record",
        "--prompt",
        "ben is",
        "--gen-length",
        "8",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "a.safetensors"),
    ]
    assert main([*flags, "--compare-parallel", "--threshold", "0.5", "--cache", "dual", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    holds_fields("record --compare-parallel", told)
    runs = [open_trajectory(tmp_path / f"a-{way}.safetensors") for way in ("parallel", "one-by-one")]
    assert told["forwards"] == [run.steps for run in runs] == [told["forwards"][0], 8]
    assert [run.info.sampling.threshold for run in runs] == [told["threshold"], None] == [0.5, None]
    assert len(told["sentences"]) == 3 and len(told["recordings"]) == 2
    assert main([*flags, "--compare-parallel", "--overwrite"]) == 0
    assert "one by one it took 8 forwards" in capsys.readouterr().out
    assert main([*flags, "--compare-parallel", "--model", "bundled-ar"]) == 2
    assert "no confidence threshold" in capsys.readouterr().err


def test_autoregressive_models_record_too(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)
    out = tmp_path / "ar.safetensors"
    arguments = ["record", "--model", str(folder), "--prompt", "w7 w8", "--gen-length", "3", "--top-k", "5"]
    assert main([*arguments, "--temperature", "1", "--out", str(out)]) == 0
    assert open_trajectory(out).info.sampling.top_k == 5


def test_a_branch_writes_on_from_another_token(tmp_path, capsys, trajectory):
    left, out = tmp_path / "left.safetensors", tmp_path / "branch.safetensors"
    save(trajectory, left)
    position = trajectory.info.prompt_length + 1
    flags = ["record", "--branch", str(left), "--branch-position", str(position), "--device", "cpu", "--out", str(out)]
    assert main([*flags, "--branch-token", "river"]) == 0
    capsys.readouterr()
    branch = open_trajectory(out)
    assert branch.info.tokens[branch.final[position]].strip() == "river" != trajectory.labels()[position].strip()
    step = branch.info.branch.step
    assert np.isfinite(trajectory.confidence[step, position]), "by default the step that wrote what stands there"
    np.testing.assert_array_equal(branch.mass[: step + 1], trajectory.mass[: step + 1])
    ask = [*flags, "--overwrite"]
    assert "no single token" in bad([*ask, "--branch-token", "entanglement"], capsys)
    assert "Leave out --seed" in bad([*ask, "--branch-token", "river", "--seed", "1"], capsys)
    assert "needs --branch-position and --branch-token" in bad(ask, capsys)
    assert "Choose one from" in bad([*ask, "--branch-token", "river", "--branch-position", "0"], capsys)
    assert "goes with --branch" in bad(["record", "--prompt", "a", "--branch-step", "1", "--out", "x"], capsys)


def bad(arguments, capsys) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    told = printed.err.splitlines()[-1]
    assert told.startswith("error: ") and printed.err.count("error: ") == 1
    return told


def test_bad_input_is_one_line(tmp_path, capsys):
    out = str(tmp_path / "x.safetensors")
    ask = ["record", "--prompt", "a", "--out", out]
    assert "not a name of the registry" in bad([*ask, "--model", "nonsense"], capsys)
    assert "which has no --alg" in bad([*ask, "--alg", "entropy"], capsys)
    assert "multiple of" in bad([*ask, "--steps", "7", "--block-length", "16"], capsys)
    assert "Seed" in bad([*ask, "--seed", "-1"], capsys)
    assert "does not exist" in bad([*ask[:-1], str(tmp_path / "no" / "x.safetensors")], capsys)
    assert "is a .safetensors file" in bad([*ask[:-1], str(tmp_path / "q.txt")], capsys)
    assert "cannot be read" in bad(["record", "--prompts", str(tmp_path / "none.txt"), "--out", out], capsys)
    (tmp_path / "x.safetensors").write_text("mine")
    assert "--overwrite" in bad(ask, capsys)
    assert (tmp_path / "x.safetensors").read_text() == "mine"


def test_unknown_flags_exit_with_two(capsys):
    told = bad(["record", "--nonsense", "--prompt", "a", "--out", "x"], capsys)
    assert told == "error: Unknown argument: --nonsense. See python -m analysis record --help."
    told = bad(["prune", "--modle", "bundled"], capsys)
    assert told == "error: Unknown argument: --modle. See python -m analysis prune --help.", (
        "rather than a missing --out"
    )
    told = bad(["suggest", "--trials", "x"], capsys)
    assert told == "error: --trials must be a whole number, not 'x'. See python -m analysis suggest --help."
    assert "See python -m analysis record --help." in bad(["record", "--prompt"], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "--out", "x", "--method", "{}"],
        ["prune", "--out", "x", "--sparsity", "{}"],
        ["prune", "--out", "x", "--device={}"],
        ["prune", "--out", "x", "--model", "{}"],
        ["prune", "--out", "x", "--{}"],
        ["evaluate", "--out", "x.json", "--tasks", "{}"],
        ["evaluate", "--out", "x.json", "--include-path", "{}"],
        ["import", "{}", "--out", "x.json"],
        ["record", "--prompt", "a", "--out", "{}"],
        ["record", "--prompt", "a", "--out", "x", "--seed", "{}"],
        ["{}"],
    ],
)
@pytest.mark.parametrize("letter", ["a", "\udcff", "\n", "'"])
def test_a_value_of_a_hundred_kilobytes_is_not_repeated_whole(words, letter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = bad([word.format(letter * 100_000) for word in words], capsys)
    assert len(told) < 2500


def test_models_lists_the_registry(capsys):
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    holds_fields("models", rows[0])
    assert [row["name"] for row in rows if row["here"]] == ["bundled", "bundled-ar"]
    assert main(["models"]) == 0


RECORD = ["record", "--gen-length", "4", "--steps", "2", "--device", "cpu"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not UTF-8 text"),
        (b"\n \n", "no prompt"),
        (b"ok\n" + b"a " * 30_000, "Line 2 of"),
        (None, "folder stands where a file"),
    ],
)
def test_prompt_files_that_cannot_be_used_are_said(content, said, tmp_path, capsys):
    path = tmp_path / "prompts"
    path.mkdir() if content is None else path.write_bytes(content)
    assert said in bad([*RECORD, "--prompts", str(path), "--out", str(tmp_path / "x")], capsys)


def test_a_prompt_file_without_an_end_is_not_read_to_its_end(tmp_path, capsys):
    assert "more than 64 MiB" in bad([*RECORD, "--prompts", "/dev/zero", "--out", str(tmp_path / "x")], capsys)


def test_prompts_come_by_a_pipe_and_with_a_byte_order_mark(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes("\ufeffben is".encode()))
    writer.start()
    assert main([*RECORD, "--prompts", str(pipe), "--out", str(tmp_path / "x.safetensors")]) == 0
    writer.join()
    assert open_trajectory(tmp_path / "x-1.safetensors").info.prompt == "ben is"


def test_what_is_empty_too_long_or_no_text_is_one_line(tmp_path, capsys):
    ask = [*RECORD, "--out", str(tmp_path / "x.safetensors")]
    assert "at most 50,000" in bad([*ask, "--prompt", "a" * 50_001], capsys)
    assert "'a\\udcff' is not UTF-8 text" in bad([*ask, "--prompt", "a\udcff"], capsys)
    assert "Model is empty" in bad([*ask, "--prompt", "a", "--model", ""], capsys)
    assert "There is no model ' '" in bad([*ask, "--prompt", "a", "--model", " "], capsys)
    assert "no name" in bad([*RECORD, "--prompt", "a", "--out", ""], capsys)
    assert "Calibration text is empty" in bad(["prune", "--calibration", "", "--out", str(tmp_path / "p")], capsys)
    home = ["prune", "--method", "wanda", "--calibration", "~nobody-of-this-name/x.txt", "--out", str(tmp_path / "p")]
    assert "begins with a user unknown on this machine" in bad(home, capsys)
    tasks = ["evaluate", "--tasks", "x", "--include-path", "~nobody-of-this-name/x", "--out", str(tmp_path / "e.json")]
    assert "begins with a user unknown on this machine" in bad(tasks, capsys)
    assert list(tmp_path.iterdir()) == []


def test_pruning_into_nothing_and_by_nothing_is_refused_before_the_work(tmp_path, capsys):
    assert "no name" in bad(["prune", "--method", "magnitude", "--out", ""], capsys)
    idle = bad(["prune", "--method", "magnitude", "--sparsity", "0", "--out", str(tmp_path / "p")], capsys)
    assert idle == "error: A sparsity of 0 removes no weight. Raise it." and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["evaluate", "--out", "x.json"], ["suggest"]])
@pytest.mark.parametrize("text", [",", " , ", ""])
def test_a_list_that_names_nothing_is_no_list_of_everything(verb, text, capsys):
    assert "names nothing" in bad([*verb, "--tasks", text], capsys)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"input_ids": [true, 5, 6, 7, 8, 9, 10, 11]}\n', "outside this model's vocabulary"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "not a JSON object"),
        ('{"text": "\\ud800 ben"}\n', "half a surrogate pair"),
    ],
)
def test_calibration_lines_that_are_none_are_said(lines, said, tmp_path, capsys):
    file = tmp_path / "text.jsonl"
    file.write_text(lines * 4)
    ask = ["prune", "--method", "wanda", "--samples", "2", "--seq-len", "8", "--calibration", str(file)]
    assert said in bad([*ask, "--out", str(tmp_path / "p")], capsys)


def test_special_files_are_never_replaced(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for verb in ([*RECORD, "--prompt", "a"], ["evaluate"], ["prune", "--method", "magnitude"]):
        assert "not replaced" in bad([*verb, "--overwrite", "--out", str(tmp_path / "pipe")], capsys)
    assert (tmp_path / "pipe").is_fifo()


def test_a_recording_is_replaced_when_asked(tmp_path):
    out = tmp_path / "x.safetensors"
    for seed in ("1", "2"):
        assert main([*RECORD, "--prompt", "ben is", "--seed", seed, "--overwrite", "--out", str(out)]) == 0
    assert open_trajectory(out).info.seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("setpriv") is None, reason="needs setpriv for root")
def test_a_folder_that_may_not_be_written_is_said(tmp_path):
    """As any user: root may write everywhere unless it gives that right away."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    verbs = ([*RECORD, "--prompt", "a"], ["evaluate"], ["prune", "--method", "magnitude"])
    lines = [[*verb, "--out", str(locked / "x")] for verb in verbs]
    script = f"from analysis.__main__ import main; print([main(line) for line in {lines!r}])"
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[2, 2, 2]\n", done.stderr
    assert done.stderr.count("Permission denied. Change its permissions") == len(verbs)
    assert "Traceback" not in done.stderr


def test_what_nobody_foresaw_is_one_line_and_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("analysis.command_line.models.find", lambda name: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["models"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (kept,) = tmp_path.iterdir()
    assert printed.err.count("\n") == 1
    assert f"ZeroDivisionError: division by zero. Its traceback was written to {kept}" in printed.err
    assert "Traceback (most recent call last)" in kept.read_text()


def test_errors_of_the_system_are_one_line(capsys, monkeypatch):
    def full(name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/x")

    monkeypatch.setattr("analysis.command_line.models.find", full)
    assert bad(["models"], capsys) == (
        "error: '/disk/x': No space left on device. Free some space, or choose another disk."
    )


def test_a_home_is_written_out_in_every_flag_and_field(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["prune", "--method", "magnitude", "--device", "cpu", "--out=~/pruned"]) == 0
    assert (tmp_path / "pruned" / "config.json").is_file() and not (tmp_path / "~").exists()
    home = f"{tmp_path}/x"
    specs = [
        PruneSpec(out="~/x").out,
        CalibrationParams(data="~/x").data,
        EvaluateSpec(include_path="~/x").include_path,
    ]
    read = ImportSpec(folders=("~/x",), beside=("~/x",))
    specs += [FootprintSpec(pruned="~/x").pruned, *read.folders, *read.beside]
    assert set(specs) == {home}
    assert EvaluateSpec(include_path=None).include_path is None and PruneSpec(out="").out == ""
    capsys.readouterr()
    assert main(["import", "~nobody-of-this-name/x", "--out", "y.json"]) == 2
    assert capsys.readouterr().err == (
        "error: '~nobody-of-this-name/x' begins with a user unknown on this machine. Give the whole path.\n"
    )


def test_every_flag_that_names_a_file_knows_what_a_home_is():
    for name, verb in VERBS.items():
        parser = argparse.ArgumentParser()
        add_flags(parser, import_module(verb.module).FLAGS)
        for action in parser._actions:
            assert action.type is not Path, f"{name} {action.option_strings} takes ~ for a folder's name"
            assert "--out" not in action.option_strings or action.type in (a_path, path_text)


def test_run_as_a_module_a_reader_that_goes_and_a_terminal_of_few_letters_are_no_errors():
    command = f"{sys.executable} -m analysis models"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true; echo ${{PIPESTATUS[0]}}; PYTHONIOENCODING=ascii {command}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "bundled" in done.stdout
