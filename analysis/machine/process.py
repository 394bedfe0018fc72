"""Resources of this process: its CPUs, memory and device, and the settings of threads, garbage collection and freed
memory that keep it fast. Looks them up without torch.

CPUs and memory are those allowed by affinity and cgroup limits. dask knows both, but importing it takes longer than
many commands of the command line.

A thread that spins while waiting takes its CPU from others: beside other work, everything slows down several times. One
that sleeps at once wastes time on an idle machine. So threads spin a little (`benchmarks/threads.py` measures it). User
settings win. OpenMP reads them from the environment when torch is loaded.

Garbage collection runs after a number of new objects, and torch and transformers create a million that all stay:
scanning them takes a fifth of their import time, recurs with every later collection, and once more when the process
exits.

glibc returns freed memory to the system beyond a threshold that begins at 128 KiB and rises with what is freed, up to
64 MiB. A forward frees as many states as it makes, so the system clears the same pages again and again: a tenth or more
of the processor time of a small model's statistics. Here the threshold begins where glibc's own rule ends.
"""

import contextlib
import ctypes
import gc
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from cache import environment

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def allotted_cpus(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Return the number of CPUs this process may use: those of its affinity, and no more than its cgroup's quota,
    rounded up. root: where cgroups are mounted; own: the file that names this process's.
    """
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if sys.platform == "win32":
        count = min(count, len(psutil.Process().cpu_affinity()) or count)
    quotas = [quota / period for quota, period in _quotas(root, own) if quota > 0 and period > 0]
    return max(1, min(count, *map(math.ceil, quotas)) if quotas else count)


def allotted_memory(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Bytes of main memory this process may take: the machine's, and no more than its cgroup and RLIMIT_RSS allow."""
    limits = [psutil.virtual_memory().total]
    files = [root / "memory" / name for name in ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")]
    files += [group / name for group in _groups(root, own) for name in ("memory.max", "memory.high")]
    for file in files:
        with suppress(OSError, ValueError):  # missing, or "max"
            limits.append(int(file.read_text()))
    if sys.platform != "win32":
        import resource

        with suppress(OSError):
            limits.append(resource.getrlimit(resource.RLIMIT_RSS)[1])
    return min(limit for limit in limits if limit > 0)


def _quotas(root: Path, own: Path) -> Iterator[tuple[int, int]]:
    """Yield (CPU time, period) in microseconds, from cgroups of version 1 and 2."""
    for name in ("cpuacct,cpu", "cpu,cpuacct"):  # distributions differ
        with suppress(OSError, ValueError):
            folder = root / name
            yield int((folder / "cpu.cfs_quota_us").read_text()), int((folder / "cpu.cfs_period_us").read_text())
    for group in _groups(root, own):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            yield int(quota), int(period)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's group and of those around it, of version 2: each limits those within."""
    yield root
    with suppress(OSError):
        path = own.read_text().strip().rpartition(":")[2].strip("/")
        folder = root
        for name in filter(None, path.split("/")):
            folder = folder / name
            yield folder


_SECONDS = 30  # for which a driver tool's answer is cached


@dataclass(frozen=True)
class Room:
    """Memory of one device in bytes. device: cuda, mps or cpu. total: limit of this process; free: free now."""

    device: str
    total: int
    free: int


def room(device: str = "auto") -> Room:
    """Return the memory of a device of `ModelSpec.device`; auto takes a CUDA GPU, else Apple's, else the CPU.

    A device that is missing has 0 bytes.
    """
    gpus = _gpus(int(monotonic()) // _SECONDS) if device in ("auto", "cuda") else ()
    if gpus:
        return Room("cuda", *max(gpus, key=lambda gpu: gpu[1]))
    if device == "cuda":
        return Room("cuda", 0, 0)
    apple = sys.platform == "darwin" and os.uname().machine == "arm64"
    if device == "mps" and not apple:
        return Room("mps", 0, 0)
    total = allotted_memory()
    name = "mps" if apple and device in ("auto", "mps") else "cpu"  # whose memory is the machine's
    return Room(name, total, min(total, psutil.virtual_memory().available))


@lru_cache(maxsize=1)
def _gpus(period: int) -> tuple[tuple[int, int], ...]:
    """Return total and free bytes of each visible CUDA GPU, from `nvidia-smi`. period: number of the cache period."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return ()
    rows = nvidia_smi("memory.total,memory.free", *([f"--id={visible}"] if visible else []))
    try:
        return tuple((int(total) * 2**20, int(free) * 2**20) for total, free in (row.split(",") for row in rows))
    except ValueError:
        return ()


def nvidia_smi(query: str, *options: str) -> list[str]:
    """Return what the driver's own tool answers, a line per CUDA GPU; nothing without it. Importing torch to ask would
    cost this process seconds and memory.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, f"--query-gpu={query}", "--format=csv,noheader,nounits", *options]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


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


@contextmanager
def importing(library: str) -> Iterator[None]:
    """Suspend garbage collection while a large library is imported, and exempt all existing objects from later
    collections, also at exit. Does nothing if the library is already imported.
    """
    if library in sys.modules:
        yield
        return
    looked = gc.isenabled()
    gc.collect()  # or existing garbage would stay for good
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()


_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
MAPPED = 32 * 2**20  # bytes from which an allocation is mapped separately and returned as soon as it is freed
KEPT = 2 * MAPPED


def keep_freed_memory() -> bool:
    """Let this process keep `KEPT` bytes of freed memory at the end of a heap. Return whether it does: not without
    glibc, and not if the user has set glibc's variable, which wins.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(set_option(option, size) for option, size in ((_TRIM, KEPT), (_MAP, MAPPED)))
