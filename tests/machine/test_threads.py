"""Threads: as many as there are CPUs for, waiting by a bounded spin, and what the user sets wins. In real processes."""

import json
import os
import subprocess
import sys

import pytest

from analysis.machine.process import one_blas_thread
from tests.helpers import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP and affinity")
OURS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
VERB = """
import sys
from analysis.__main__ import main
assert "torch" not in sys.modules
flags = ["--gen-length", "1", "--steps", "1", "--device", "cpu"]
assert main(["record", "--prompt", "ben is", *flags, "--out", sys.argv[1]]) == 0
import torch
print(torch.get_num_threads())
"""


def run(*arguments: str, cpus: set[int] | None = None, **variables: str) -> subprocess.CompletedProcess:
    """Python in a fresh process; `cpus` are those it may use."""
    environment = {name: text for name, text in os.environ.items() if name not in OURS} | variables
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=None if cpus is None else lambda: os.sched_setaffinity(0, cpus),
    )


def threads_of_a_verb(tmp_path, **options) -> tuple[int, str]:
    """How many threads torch has after a verb, and what OpenMP said as it loaded."""
    done = run("-c", VERB, str(tmp_path / "x.safetensors"), OMP_DISPLAY_ENV="VERBOSE", **options)
    (tmp_path / "x.safetensors").unlink()
    return int(done.stdout.splitlines()[-1]), done.stderr


@linux
def test_a_verb_uses_the_cpus_allotted_and_spins_a_little(tmp_path):
    cpus = set(sorted(os.sched_getaffinity(0))[:2])
    threads, said = threads_of_a_verb(tmp_path, cpus=cpus)
    assert threads == len(cpus)
    assert "GOMP_SPINCOUNT = '10000'" in said


NANNY = """
import multiprocessing, os, sys
from analysis.machine import process
from analysis.machine.process import allotted_cpus

def child():
    print(process.count(), process.variables())

if __name__ == "__main__":
    print(allotted_cpus())
    os.environ["OMP_NUM_THREADS"] = "1"  # as dask's nanny does for the worker it starts
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
"""


@linux
def test_the_single_thread_that_dask_gives_is_no_wish_of_the_user(tmp_path):
    script = tmp_path / "nanny.py"
    script.write_text(NANNY)
    allotted, told = run(str(script)).stdout.splitlines()
    assert told.startswith(f"{allotted} ")
    assert f"'OMP_NUM_THREADS': '{allotted}'" in told
    _, told = run(str(script), OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE").stdout.splitlines()
    assert told == "1 {}"


WORKER = """
import json, os, sys
from pathlib import Path
from analysis.engine import Engine
from analysis.specs import UnloadSpec
from cache.store import Store

def look():
    import os, torch
    return torch.get_num_threads(), os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")

if __name__ == "__main__":
    engine = Engine(Store(Path(sys.argv[1])), devices=["cpu"])
    record = engine.wait(engine.submit("unload", UnloadSpec()).id, 300)
    assert record.state == "done", record.reason
    print(json.dumps(list(engine._dispatcher.cluster.client.run(look).values())))
    engine.close()
"""


@linux
@pytest.mark.slow
def test_workers_wait_as_the_command_line_does(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    done = run(str(script), str(tmp_path / "store"))
    assert json.loads(done.stdout.splitlines()[-1]) == [[len(os.sched_getaffinity(0)), "10000", None]]
    assert "leaked" not in done.stderr, "what a worker holds that is ended is not complained of"


def test_small_products_use_one_thread_and_give_the_others_back():
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    assert set(one_blas_thread()(threads)()) == {1}
    assert threads() == before
