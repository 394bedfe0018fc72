"""Freed memory is kept for what comes next. In real processes, by the pages that the system had to clear."""

import os
import platform
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's rule")
WORK = """
import resource, sys
import numpy as np
from analysis.machine.process import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def work():
    return sum(array[0] for array in [np.ones(2**20) for _ in range(4)])
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **variables: str) -> tuple[str, int]:
    """What keeping said, and the pages that were asked of the system for the same work again and again."""
    unset = {name: text for name, text in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment = unset | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-c", WORK, how], env=environment, capture_output=True, text=True, check=True
    )
    kept, pages = done.stdout.split()
    return kept, int(pages)


def test_the_same_work_takes_no_new_pages():
    (_, usual), (kept, ours) = faults("leave"), faults("keep")
    assert kept == "True" and 10 * ours < usual


def test_what_a_user_sets_wins():
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
