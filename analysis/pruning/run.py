"""One pruning while it runs: what it reads, and what it learns on the way for its report."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from analysis.calibration.norms import Statistic
from analysis.calibration.runners import Runner
from analysis.job_context import Context
from analysis.models.blocks import private_block
from analysis.models.devices import free_bytes
from analysis.models.files import StoredTensor
from analysis.models.loaded import LoadedModel
from analysis.pruning.algorithm import Algorithm, Removal
from analysis.pruning.methods import QUANTIZATIONS
from analysis.pruning.quantization import Quantization
from analysis.pruning.sizes import Quantized
from analysis.specs import ALLOCATIONS, PATTERNS, QUANTIZERS, Method, PruneSpec, Quantizer

_INTERVAL = 0.02  # seconds between looks at the process's memory

DENSE, OUTLIERS, PRUNING = "activations of the dense model", "outliers of the dense model", "pruning"
TAILS, QUOTA = "spectra of the dense weights", "scores of all layers"
TOKENS = "token weights of the quantizer"
"""The phases that take long, as reports and estimates name them."""


@dataclass
class PruningRun:
    """One pruning: what it reads, and what it learns on the way for its report.

    method: what the method can do. algorithm: how it does it. phases: in order, each with its seconds and the most
    memory it held, torch's CUDA figures where there is a GPU. quantized: of the block quantized last, by parameter.
    """

    spec: PruneSpec
    model: LoadedModel
    method: Method
    algorithm: Algorithm
    runner: Runner
    removal: Removal
    stored: dict[str, StoredTensor]
    context: Context
    phases: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    quantized: dict[str, Quantized] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time and watch what runs inside, and log what it took; a phase that raises is not recorded."""
        process, stop = psutil.Process(), threading.Event()
        before = peak = process.memory_info().rss
        cuda = torch.cuda if torch.cuda.is_available() else None
        if cuda is not None:
            cuda.reset_peak_memory_stats()

        def watch() -> None:
            nonlocal peak
            while not stop.wait(_INTERVAL):
                peak = max(peak, process.memory_info().rss)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        started = time.perf_counter()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
        seconds, peak = time.perf_counter() - started, max(peak, process.memory_info().rss)
        row = {"phase": name, "seconds": round(seconds, 3), "peak_bytes": peak, "extra_bytes": peak - before}
        if cuda is not None:
            row["device_peak_bytes"] = cuda.max_memory_allocated()
        self.phases.append(row)
        self.context.log(f"{name}: {row['seconds']:.1f} s, peak memory {peak / 1e6:,.0f} MB")

    def tell(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Progress, with the phases that are finished."""
        self.context.progress(phase, done, total, phases=list(self.phases), **details)

    def sizes(self) -> np.ndarray:
        """Number of weights of each layer that may go (L,), or of its projections where the allocation asks (L, P)."""
        names, rows = self.model.projection_names, []
        for layer in range(self.model.geometry.layers):
            targets = self.removal.targets(layer)
            rows.append([targets[name].weight.numel() if name in targets else 0 for name in names])
        by_projection = np.array(rows)
        return by_projection if ALLOCATIONS[self.spec.allocation].by_projection else by_projection.sum(axis=1)

    def by_layer(self, sparsities: np.ndarray) -> np.ndarray:
        """The sparsity of every layer (L,), where it is given by projection (L, P) the mean over a layer's weights."""
        if sparsities.ndim == 1:
            return sparsities
        sizes = self.sizes()
        return (sparsities * sizes).sum(axis=1) / np.maximum(sizes.sum(axis=1), 1)

    @property
    def statistic(self) -> type[Statistic] | None:
        """Statistic gathered of a block's inputs."""
        return self.algorithm.pooled if self.spec.pooled else self.algorithm.statistic

    @property
    def gathers(self) -> bool:
        """True if statistics are gathered block by block; else all scores are known before."""
        if PATTERNS[self.spec.pattern].cuts_experts:
            return False
        ahead = self.algorithm.score is not None and not self.spec.layerwise
        return self.algorithm.statistic is not None and not ahead

    @property
    def quantizer(self) -> Quantizer | None:
        """Row of the quantizer; None where weights stay as they are."""
        return QUANTIZERS[self.spec.quantization.quantizer] if self.spec.quantization.active else None

    @property
    def quantization(self) -> Quantization | None:
        """Implementation of the quantizer."""
        return None if self.quantizer is None else QUANTIZATIONS[self.quantizer.name]

    @property
    def noised(self) -> bool:
        """True if noised text is read."""
        return any(row.noised for row in self.spec.readers)

    @property
    def updates(self) -> bool:
        """True if weights that stay are changed."""
        return self.algorithm.updates or self.quantizer is not None

    def dense_blocks(self) -> Iterator[tuple[int, nn.Module]]:
        """Every block of the dense model with its number, as a private copy."""
        for layer in range(self.model.geometry.layers):
            yield layer, private_block(self.model, layer, self.stored)


def budget(spec: PruneSpec, model: LoadedModel) -> int:
    """Bytes that kept inputs may take."""
    return free_bytes(model.device.type) // 2 if spec.byte_budget is None else spec.byte_budget
