"""CPUs and main memory that this process may use, within its affinity and its cgroup's limits.

dask knows both, but importing it takes longer than many commands of the command line.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

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
