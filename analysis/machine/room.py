"""The device that models run on and its memory, found without torch, for pages and the command line."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic

import psutil

from analysis.machine.allotment import allotted_memory

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
    visible, tool = os.environ.get("CUDA_VISIBLE_DEVICES"), shutil.which("nvidia-smi")
    if tool is None or (visible is not None and visible.strip() in ("", "-1")):
        return ()
    query = [tool, "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    if visible:
        query.append(f"--id={visible}")
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
        rows = [line.split(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
        return tuple((int(total) * 2**20, int(free) * 2**20) for total, free in rows)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ()
