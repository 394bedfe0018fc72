"""A method, a pattern, an allocation and a noise that only tests have. Workers take them in as a preload of dask."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from analysis.pruning.algorithm import Algorithm
from analysis.specs import ALLOCATIONS, METHODS, NOISES, PATTERNS, Allocation, Method, Noise, Pattern

PATTERN = Pattern("3:4", "3:4", "Three of every four neighbours stay, for a test.", 3, 4)


def smallness(weight: torch.Tensor, statistic: Any) -> torch.Tensor:
    return -weight.abs()


def later(layers: np.ndarray, measured: np.ndarray | None) -> np.ndarray:
    return np.linspace(-1, 1, len(layers))


def odd(levels: np.ndarray, length: int, params: Any, rng: np.random.Generator) -> np.ndarray:
    return np.tile(np.arange(length) % 2 == 1, (len(levels), 1))


METHOD = Method(
    "largest", "Largest", "The largest weights go, for a test.", calibrated=False, implementation=Algorithm(smallness)
)
ALLOCATION = Allocation("late", "late", "Later layers sparser, for a test.", implementation=later)
NOISE = Noise("odd", "at odd positions", "Every second token is masked, for a test.", by_step=False, implementation=odd)


def dask_setup(worker: Any) -> None:
    """Adds all of them; dask calls it in every worker."""
    METHODS.add(METHOD)
    PATTERNS.add(PATTERN)
    ALLOCATIONS.add(ALLOCATION)
    NOISES.add(NOISE)


@contextmanager
def added() -> Iterator[None]:
    """All of them in this process, for as long as it is open."""
    dask_setup(None)
    try:
        yield
    finally:
        for table, row in ((METHODS, METHOD), (PATTERNS, PATTERN), (ALLOCATIONS, ALLOCATION), (NOISES, NOISE)):
            del table[row.name]
