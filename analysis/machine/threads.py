"""Number of threads a process computes with, and how they wait for each other.

A thread that spins while waiting takes its CPU from others: beside other work, everything slows down several times. One
that sleeps at once wastes time on an idle machine. So they spin a little (`benchmarks/threads.py` measures it). User
settings win. Imports no torch, whose OpenMP reads the environment when loaded.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import psutil

from analysis.machine.allotment import allotted_cpus
from cache import environment

SPIN_COUNT = "10000"
_COUNT, _SPIN, _POLICY = "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
_given = {name: os.environ.get(name) for name in (_COUNT, _SPIN, _POLICY)}  # before anything here changes them


def count(workers: int = 1) -> int:
    """Return the threads for this process: the user's number, or its share of the CPUs allotted to `workers`."""
    asked_for = _given[_COUNT]
    if asked_for and not _set_by_dask():
        return environment.VARIABLES[_COUNT].read(asked_for)
    return max(1, allotted_cpus() // workers)


def variables(workers: int = 1) -> dict[str, str]:
    """The environment a process should start with, or have before it loads torch, as far as the user did not set it."""
    wanted = {}
    if not _given[_COUNT] or _set_by_dask():
        wanted[_COUNT] = str(count(workers))
    if not _given[_SPIN] and not _given[_POLICY]:
        wanted[_SPIN] = SPIN_COUNT
    return wanted


def prepare(workers: int = 1) -> None:
    """Set the environment of this process. Call before torch is loaded."""
    os.environ.update(variables(workers))


def apply(workers: int = 1) -> None:
    """Give torch this process's share, which changes as workers come and go."""
    import torch

    torch.set_num_threads(count(workers))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, for results that round by the number of threads, as LAPACK's Cholesky does.

    Matrix products round alike with any number.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit NumPy's products to one thread, where they are too small for several, which wait for each other by
    spinning. Also a decorator.

    On two CPUs that others use too, the products of matrices of some hundred rows took seven times as long with two.
    """
    with _pools().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _pools() -> Any:
    """The thread pools of this process's libraries."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _set_by_dask() -> bool:
    """Return True if this process's single thread is dask's default for its workers."""
    parent = multiprocessing.parent_process()
    if _given[_COUNT] != "1" or parent is None:
        return False
    with contextlib.suppress(psutil.Error, OSError):
        return _COUNT not in psutil.Process(parent.pid).environ()
    return True
