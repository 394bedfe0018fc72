"""Speed of matrix multiplication: of this machine, probed once per process, device and precision, and of cards known
only by their data sheets.

A forward of few tokens takes as long as reading its weights, one of many as long as multiplying them. Processors with
bfloat16 instructions multiply it several times as fast as float32, so each precision has its own probe.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np

_SIDE, _BYTES = 2048, 2**26  # square matrices, together larger than a processor's cache, like a model
_FEW, _MANY = 8, 64  # tokens
_REPEATS = 2  # the faster counts


@dataclass(frozen=True)
class Speed:
    """Seconds that work takes. weight: a forward, per weight. token: the same, per weight and token. byte: bringing
    weights from the disk into memory, per byte.
    """

    weight: float
    token: float
    byte: float

    def loading(self, size: float) -> float:
        """Return the seconds to load so many bytes of weights."""
        return self.byte * size

    def forwards(self, weights: float, tokens: float, count: float) -> float:
        """Return the seconds of so many forwards of a text of so many tokens."""
        return count * weights * (self.weight + self.token * tokens)


def measured_speed(device: str, dtype: str) -> Speed | None:
    """Return the speed of a device of `Room` in bfloat16 or float32; None if measuring needs torch and this process has
    not loaded it. NumPy measures a CPU's float32.
    """
    numpy_tells = (device, dtype) == ("cpu", "float32")
    return _probed(device, dtype) if numpy_tells or "torch" in sys.modules else None


@lru_cache(maxsize=8)
def _probed(device: str, dtype: str) -> Speed:
    multiply, copied = (_with_torch if "torch" in sys.modules else _with_numpy)(device, dtype)
    few, many = multiply(_FEW), multiply(_MANY)
    token = max(0.0, many - few) / (_MANY - _FEW)
    return Speed(max(0.0, few - _FEW * token), token, copied + _from_disk())


def _with_numpy(device: str, dtype: str) -> tuple[Callable[[int], float], float]:
    weights = [np.full((_SIDE, _SIDE), 1.0, np.float32) for _ in range(_BYTES // (4 * _SIDE**2))]

    def multiply(tokens: int) -> float:
        states = np.ones((tokens, _SIDE), np.float32)
        return _fastest(lambda: [states @ each.T for each in weights]) / (len(weights) * _SIDE**2)

    return multiply, _fastest(lambda: [each.copy() for each in weights]) / _BYTES


def _with_torch(device: str, dtype: str) -> tuple[Callable[[int], float], float]:
    import torch

    kind = {"bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
    held = [torch.ones(_SIDE, _SIDE, dtype=kind) for _ in range(_BYTES // (kind.itemsize * _SIDE**2))]
    weights = [each.to(device) for each in held]

    def wait(results: list[Any]) -> None:
        float(results[-1].flatten()[0])  # waits for the device, which computes asynchronously

    def multiply(tokens: int) -> float:
        states = torch.ones(tokens, _SIDE, dtype=kind, device=device)
        products = _fastest(lambda: wait([torch.nn.functional.linear(states, each) for each in weights]))
        return products / (len(weights) * _SIDE**2)

    with torch.inference_mode():
        multiply(1)  # warm up threads and kernels
    load = _fastest(lambda: wait([each.to(device, copy=True) for each in held]))
    return torch.inference_mode()(multiply), load / _BYTES


def _from_disk() -> float:
    """Return the seconds per byte of reading a file that is not cached, as a checkpoint near the memory's size never
    is; 0 if the system cannot be told to drop a file from its cache.
    """
    if not hasattr(os, "posix_fadvise"):
        return 0.0
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(_BYTES))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started = perf_counter()
        os.pread(file.fileno(), _BYTES, 0)
        return (perf_counter() - started) / _BYTES


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        started = perf_counter()
        work()
        seconds.append(perf_counter() - started)
    return min(seconds)


@dataclass(frozen=True)
class Card:
    """operations: of dense bfloat16 products, 10¹² a second. bandwidth: of its memory, 10¹² bytes a second. memory: of
    the card, 10⁹ bytes.
    """

    name: str
    operations: float
    bandwidth: float
    memory: float


CARDS = (Card("H100 SXM, 80 GB", 989, 3.35, 80), Card("RTX 4090, 24 GB", 165, 1.008, 24))
CARD_SOURCES = "NVIDIA's H100 data sheet and Ada architecture paper, both without sparsity"
SUSTAINED = 0.4
"""The share of a data sheet's operations that forwards of many tokens are taken to reach. Assumed, not measured."""
