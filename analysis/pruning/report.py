"""Report of a pruning run: every parameter, what was removed where, and the command that repeats it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from analysis.machine.provenance import environment
from analysis.models.loaded import LoadedModel
from analysis.models.projection_names import expert_of, kind_of
from analysis.pruned.report_file import FORMAT, Report
from analysis.pruning.run import PruningRun
from analysis.specs import PARTS, ModelSpec, PruneSpec
from analysis.specs.commands import command
from analysis.specs.what_is_read import only_read

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
    run: PruningRun, tally: Tally, sparsities: np.ndarray, notes: list[str], facts: dict[str, Any]
) -> dict[str, Any]:
    """report.json. facts: learned on the way."""
    model, spec = run.model, run.spec
    streamed = any(weight.is_meta for weight in model.blocks[0].parameters())
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
            "run": "block by block from the files" if streamed else "in memory",
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
        "phases": run.phases,
        "notes": notes,
        "command": prune_command(spec, model.dtype),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
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
