"""One pruning while it runs: its algorithms, what it reads, and what it learns on the way for its report.

Algorithms go by the names of their rows (analysis/specs/pruning_choices.py). The report holds every parameter, what was
removed where, and the command that repeats the pruning.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import torch
from torch import nn

from analysis.calibration.norms import Statistic
from analysis.calibration.runners import Runner
from analysis.job_context import Context, environment, now
from analysis.models.blocks import private_block
from analysis.models.files import StoredTensor
from analysis.models.loaded import LoadedModel, free_bytes
from analysis.models.weight_files import expert_of, kind_of
from analysis.pruned.report_file import FORMAT, Report, ReportedSize
from analysis.pruning.algorithm import Algorithm, Removal
from analysis.pruning.quantization import GPTQ, RTN, Quantization
from analysis.pruning.saving import Quantized
from analysis.pruning.sparsegpt import SINK_SPARSEGPT, SPARSEGPT
from analysis.pruning.wanda import MAGNITUDE, SINK_WANDA, WANDA, WANDA_NOISED
from analysis.registry import Implementations
from analysis.specs import ALLOCATIONS, METHODS, PARTS, PATTERNS, QUANTIZERS, Method, ModelSpec, PruneSpec, Quantizer
from analysis.specs.commands import command
from analysis.specs.pruning import only_read

__all__ = [
    "ALGORITHMS",
    "GPTQ",
    "MAGNITUDE",
    "QUANTIZATIONS",
    "RTN",
    "SINK_SPARSEGPT",
    "SINK_WANDA",
    "SPARSEGPT",
    "WANDA",
    "WANDA_NOISED",
]

ALGORITHMS: Implementations[Algorithm] = Implementations(METHODS)
QUANTIZATIONS: Implementations[Quantization] = Implementations(QUANTIZERS)


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


_HEAD_ROWS = ("q_proj", "k_proj", "v_proj")


class Tally:
    """Count of each projection's weights that went."""

    def __init__(self, model: LoadedModel) -> None:
        self.geometry = model.geometry
        self.names = list(dict.fromkeys(map(kind_of, model.projection_names)))
        self.pruned, self.sizes = np.zeros((2, self.geometry.layers, len(self.names)), np.int64)
        self.heads: dict[str, list[list[float]]] = {}
        self.experts: dict[str, list[list[float]]] = {}
        self.kv_heads = [_kv_heads(model, layer) for layer in range(model.geometry.layers)]

    def add(self, layer: int, name: str, pruned: torch.Tensor) -> None:
        """Add a projection's flags (out, in)."""
        short, lost = kind_of(name), int(torch.count_nonzero(pruned))  # a sum would make eight bytes of every flag
        self.pruned[layer, self.names.index(short)] += lost
        self.sizes[layer, self.names.index(short)] += pruned.numel()
        if expert_of(name) is not None:  # they come in the order of their numbers
            layers = self.experts.setdefault(short, [[] for _ in range(self.geometry.layers)])
            layers[layer].append(round(lost / pruned.numel(), 6))
        share = self._by_head(layer, short, pruned)
        if share is not None:
            self.heads.setdefault(short, [[] for _ in range(self.geometry.layers)])[layer] = share

    def _by_head(self, layer: int, name: str, pruned: torch.Tensor) -> list[float] | None:
        """Sparsity of each head's rows (q, k, v) or columns (o); k and v have one slice a key/value head."""
        if name in _HEAD_ROWS:
            heads = self.geometry.heads if name == "q_proj" else self.kv_heads[layer]
            slices = pruned.view(heads, -1)
        elif name == "o_proj":
            slices = pruned.T.reshape(self.geometry.heads, -1)
        else:
            return None
        return [round(lost / slices.shape[1], 6) for lost in torch.count_nonzero(slices, dim=1).tolist()]

    def grid(self) -> list[list[float | None]]:
        """Sparsity by layer and projection; None where nothing was pruned (yet)."""
        return [
            [round(lost / size, 6) if size else None for lost, size in zip(*rows, strict=True)]
            for rows in zip(self.pruned.tolist(), self.sizes.tolist(), strict=True)
        ]

    def by_layer(self) -> dict[str, float]:
        """Sparsity of every layer that has a pruned projection, by its number."""
        return self._shares(map(str, range(self.geometry.layers)), axis=1)

    def by_projection(self) -> dict[str, float]:
        """Sparsity of every pruned projection over all layers, in the order of a block."""
        return self._shares(self.names, axis=0)

    def _shares(self, names: Iterable[str], axis: int) -> dict[str, float]:
        sums = (counts.sum(axis=axis).tolist() for counts in (self.pruned, self.sizes))
        return {name: lost / size for name, lost, size in zip(names, *sums, strict=True) if size}


def _kv_heads(model: LoadedModel, layer: int) -> int:
    """The key/value heads of a layer: its key rows by the size of its query heads."""
    rows = {kind_of(name): len(module.weight) for name, module in model.projections(model.blocks[layer]).items()}
    size = rows.get("q_proj", 0) // model.geometry.heads
    return rows["k_proj"] // size if size and rows.get("k_proj", 0) >= size else model.geometry.kv_heads


def build(
    run: PruningRun, tally: Tally, size: ReportedSize, sparsities: np.ndarray, notes: list[str], facts: dict[str, Any]
) -> dict[str, Any]:
    """report.json. facts: learned on the way."""
    model, spec = run.model, run.spec
    lost, weights = int(tally.pruned.sum()), int(tally.sizes.sum())
    report: Report = {
        "format": FORMAT,
        "method": spec.method,
        "parameters": spec.model_dump(mode="json"),
        "seed": spec.calibration.seed,
        "model": {
            "source": spec.model.source,
            "architecture": model.architecture.name,
            "fingerprint": model.fingerprint,
            "dtype": model.dtype,
            "device": str(model.device),
            "run": "block by block from the files" if model.streamed else "in memory",
        },
        "sparsity": {
            "pruned_weights": lost,
            "weights": weights,
            "overall": lost / weights,
            "asked_by_layer": run.by_layer(sparsities).tolist(),
            "by_layer": tally.by_layer(),
            "by_projection": tally.by_projection(),
            "projections": tally.names,
            "grid": tally.grid(),
            "by_head": tally.heads,
            "by_expert": tally.experts,
        },
        "size": size,
        "phases": run.phases,
        "notes": notes,
        "command": prune_command(spec, model.dtype),
        "created": now(),
        "environment": environment(),
    }
    return {**report, **facts}


def prune_command(spec: PruneSpec, dtype: str) -> str:
    """The command line that does the same again, into a folder of the same name where it is started.

    dtype: what the model ran in. It is named where it can be, for `auto` is another precision on another machine.
    """
    if dtype in get_args(ModelSpec.model_fields["dtype"].annotation):
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"dtype": dtype})})
    changed = only_read(spec.model_dump(exclude_defaults=True))
    nested = [changed.pop(name, {}) for name in ("model", *PARTS)]
    fields = {"method": spec.method} | {
        name: value
        for part in (*nested, changed)
        for name, value in part.items()
        if name not in ("source", "out", "overwrite")
    }
    return command("prune", spec.model.source, fields, Path(spec.out).name or f"pruned-{spec.method}")
