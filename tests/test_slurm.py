"""The scripts for Slurm in docs/cluster.md, with stand-ins for Slurm's programs, `dask` and `python` that write down
how they were called."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from distributed.cli import dask_worker

from analysis.__main__ import _parser
from tests.engine.documented import TEXT
from tests.helpers import there

SCRIPTS = {
    there(re.search(r"job-name=sinkscope-(\w+)", text))[1]: text
    for text in re.findall(r"^```bash\n(#!.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
}
RECORD = """#!/usr/bin/env python3
import json, os, signal, sys, time
line = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.environ.get("SINKSCOPE_HOME"), os.getcwd()])
with open(os.environ["CALLS"], "a") as calls:
    calls.write(line + "\\n")
def ended(*_):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(json.dumps([os.path.basename(sys.argv[0]) + " told to end", [], None, ""]) + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, ended)
time.sleep(0 if "scontrol" in sys.argv[0] else float(os.environ.get("LASTS", "0")))
"""


@pytest.fixture
def home(tmp_path):
    """A home folder with SinkScope's in it, and stand-ins first on the path."""
    activate = tmp_path / "sinkscope" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"export PATH={tmp_path / 'bin'}:$PATH\n")
    (tmp_path / "bin").mkdir()
    for name in ("dask", "python", "scontrol"):
        (tmp_path / "bin" / name).write_text(RECORD)
        (tmp_path / "bin" / name).chmod(0o700)
    return tmp_path


def started(home: Path, name: str, **environment: str) -> subprocess.Popen[bytes]:
    """Task 3 of a script, as Slurm would start it."""
    script = home / f"{name}.sbatch"
    script.write_text(SCRIPTS[name])
    count = re.search(r"--array=1-(\d+)", SCRIPTS[name])
    slurm = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3"} if count else {}
    slurm |= {"SLURM_ARRAY_TASK_COUNT": count[1]} if count else {}
    env = {**os.environ, "HOME": str(home), "CALLS": str(home / "calls"), **slurm, **environment}
    return subprocess.Popen(["bash", str(script)], env=env)


def calls(home: Path, least: int = 1) -> list[list]:
    """What was called so far, once there are so many."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lines = (home / "calls").read_text().splitlines() if (home / "calls").exists() else []
        if len(lines) >= least:
            return [json.loads(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError("too few calls")


@pytest.mark.parametrize("name", ["worker", "shard", "merge"])
def test_every_script_is_one_for_bash_with_options_that_sbatch_knows(name):
    assert set(SCRIPTS) == {"worker", "shard", "merge"}
    subprocess.run(["bash", "-n"], input=SCRIPTS[name].encode(), check=True)
    known = {"job-name", "array", "gres", "cpus-per-task", "mem", "time", "signal", "requeue", "output"}
    assert set(re.findall(r"^#SBATCH --([\w-]+)", SCRIPTS[name], re.MULTILINE)) <= known


def test_a_worker_is_told_to_end_before_its_time_and_the_loop_ends_with_it(home):
    script = started(home, "worker", SINKSCOPE_SCHEDULER="tls://head:8786", LASTS="60")
    ((program, arguments, _, folder),) = calls(home)
    assert (program, arguments[:2], folder) == ("dask", ["worker", "tls://head:8786"], str(home / "sinkscope"))
    known = {name for option in dask_worker.main.params for name in (*option.opts, *option.secondary_opts)}
    assert [word for word in arguments if word.startswith("--") and word not in known] == []
    assert arguments[arguments.index("--name") + 1].endswith(" 77-3")
    script.terminate()
    assert script.wait(60) == 0
    assert [name for name, *_ in calls(home, 2)] == ["dask", "dask told to end"]


def test_a_shard_has_its_number_and_store_and_is_queued_again_at_its_time_limit(home):
    assert started(home, "shard").wait(60) == 0
    ((program, arguments, store, folder),) = calls(home)
    assert (program, store) == ("python", f"{folder}/shards/home-3")
    options = _parser(arguments[2:]).parse_args(arguments[2:])
    assert (options.verb, options.shard, str(options.out)) == ("sweep", "3/8", "shards/3")

    script = started(home, "shard", LASTS="60")
    calls(home, 2)
    script.terminate()
    script.wait(60)
    *_, told, queued = calls(home, 4)
    assert told[0] == "python told to end" and queued[:2] == ["scontrol", ["requeue", "77_3"]]


def test_merge_takes_the_shards_and_no_store(home):
    for name in ("1", "2", "10", "home-1"):
        (home / "sinkscope" / "shards" / name).mkdir(parents=True)
    assert started(home, "merge").wait(60) == 0
    ((_, arguments, *_),) = calls(home)
    options = _parser(arguments[2:]).parse_args(arguments[2:])
    assert (options.verb, sorted(map(str, options.folders))) == ("merge", ["shards/1", "shards/10", "shards/2"])


def test_submitting_has_the_merge_wait_for_the_shards(home):
    lines = "\n".join(re.findall(r"^(?:shards=\$\()?sbatch .*$", TEXT, re.MULTILINE))
    sbatch = home / "bin" / "sbatch"
    sbatch.write_text('#!/bin/bash\necho "$@" >> "$CALLS"\n[ "$1" = --parsable ] && echo 77\n')
    sbatch.chmod(0o700)
    env = {**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "CALLS": str(home / "calls")}
    subprocess.run(["bash", "-c", lines], env=env, cwd=home)
    assert (home / "calls").read_text().splitlines() == [
        "--parsable shards.sbatch",
        "--dependency=afterok:77 merge.sbatch",
    ]
