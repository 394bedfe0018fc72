"""What a process may take of the machine, its affinity and its cgroup, in folders like those that the kernel shows."""

import os
import subprocess
import sys

import psutil
import pytest

from analysis.machine.process import allotted_cpus, allotted_memory
from tests.helpers import ROOT


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def group(tmp_path):
    """Where cgroups are mounted, and the file that names this process's."""
    own = tmp_path / "own"
    own.write_text("0::/user.slice/job.scope\n")
    return tmp_path / "cgroup", own


def test_without_cgroups_the_machine_is_the_limit(group):
    assert allotted_memory(*group) == psutil.virtual_memory().total
    assert allotted_cpus(*group) == len(psutil.Process().cpu_affinity() or range(os.cpu_count()))


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("memory.max", "max\n", None),
        ("memory.max", "700000000\n", 700_000_000),
        ("user.slice/memory.high", "600000000\n", 600_000_000),
        ("user.slice/job.scope/memory.max", "500000000\n", 500_000_000),
        ("user.slice/another.scope/memory.max", "400000000\n", None),
        ("memory/memory.limit_in_bytes", "300000000\n", 300_000_000),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),  # how version 1 says "no limit"
        ("memory/memory.soft_limit_in_bytes", "-1\n", None),
    ],
)
def test_a_cgroup_limits_memory(group, file, text, limit):
    write(group[0] / file, text)
    assert allotted_memory(*group) == (limit or psutil.virtual_memory().total)


@pytest.mark.parametrize("folder", ["", "user.slice", "user.slice/job.scope"])
def test_a_quota_of_the_second_version_limits_cpus(group, folder):
    file = group[0] / folder / "cpu.max"
    write(file, "max 100000\n")
    machine = allotted_cpus(*group)
    assert machine == len(psutil.Process().cpu_affinity() or range(os.cpu_count()))
    write(file, "20000 100000\n")
    assert allotted_cpus(*group) == 1
    write(file, f"{100000 * machine - 50000} 100000\n")  # a part of a CPU counts as one
    assert allotted_cpus(*group) == machine


@pytest.mark.parametrize("name", ["cpuacct,cpu", "cpu,cpuacct"])
def test_a_quota_of_the_first_version_limits_cpus(group, name):
    write(group[0] / name / "cpu.cfs_period_us", "100000\n")
    write(group[0] / name / "cpu.cfs_quota_us", "90000\n")
    assert allotted_cpus(*group) == 1
    write(group[0] / name / "cpu.cfs_quota_us", "-1\n")
    assert allotted_cpus(*group) == len(psutil.Process().cpu_affinity() or range(os.cpu_count()))


def test_a_verb_that_refuses_loads_neither_dask_nor_the_hub(tmp_path):
    script = (
        "import sys\n"
        "from analysis.__main__ import main\n"
        "code = main(['evaluate', '--model', 'nosuch', '--out', sys.argv[1]])\n"
        "print(code, sorted({'dask', 'distributed', 'huggingface_hub', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "evaluation.json")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "2 []", run.stderr
