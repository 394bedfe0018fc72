"""Report of a pruning run: every parameter, what was removed where, and the command that repeats it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from analysis.machine.provenance import environment
from analysis.models.loaded import LoadedModel
from analysis.models.projection_names import expert_of, kind_of
from analysis.pruned.report_file import FORMAT, Report
from analysis.specs import PARTS, ModelSpec, PruneSpec
from analysis.specs.commands import command
from analysis.specs.what_is_read import only_read

_HEAD_ROWS = ("q_proj", "k_proj", "v_proj")


class Tally:
    """Count of each projection's weights that went."""

    def __init__(self, model: LoadedModel) -> None:
        self.geometry = model.geometry
        self.names = list(dict.fromkeys(map(kind_of, model.projection_names)))
        self.pruned: dict[tuple[int, str], int] = {}
        self.sizes: dict[tuple[int, str], int] = {}
        self.heads: dict[str, list[list[float]]] = {}
        self.experts: dict[str, list[list[float]]] = {}
        self.kv_heads = [_kv_heads(model, layer) for layer in range(model.geometry.layers)]

    def add(self, layer: int, name: str, pruned: torch.Tensor) -> None:
        """Add a projection's flags (out, in)."""
        short, lost = kind_of(name), int(torch.count_nonzero(pruned))  # a sum would make eight bytes of every flag
        self.pruned[layer, short] = self.pruned.get((layer, short), 0) + lost
        self.sizes[layer, short] = self.sizes.get((layer, short), 0) + pruned.numel()
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
            [
                round(self.pruned[layer, name] / self.sizes[layer, name], 6) if (layer, name) in self.pruned else None
                for name in self.names
            ]
            for layer in range(self.geometry.layers)
        ]

    def by_layer(self) -> dict[str, float]:
        """Sparsity of every layer that has a pruned projection, by its number."""
        layers = sorted({layer for layer, _ in self.pruned})
        return {str(layer): self._share([key for key in self.pruned if key[0] == layer]) for layer in layers}

    def by_projection(self) -> dict[str, float]:
        """Sparsity of every pruned projection over all layers, in the order of a block."""
        names = sorted({name for _, name in self.pruned}, key=self.names.index)
        return {name: self._share([key for key in self.pruned if key[1] == name]) for name in names}

    def _share(self, matrices: list[tuple[int, str]]) -> float:
        return sum(self.pruned[key] for key in matrices) / sum(self.sizes[key] for key in matrices)


def _kv_heads(model: LoadedModel, layer: int) -> int:
    """The key/value heads of a layer: its key rows by the size of its query heads."""
    rows = {kind_of(name): len(module.weight) for name, module in model.projections(model.blocks[layer]).items()}
    size = rows.get("q_proj", 0) // model.geometry.heads
    return rows["k_proj"] // size if size and rows.get("k_proj", 0) >= size else model.geometry.kv_heads


def build(
    model: LoadedModel,
    spec: PruneSpec,
    tally: "Tally",
    sparsities: np.ndarray,
    run_from: str,
    rows: list[dict[str, Any]],
    notes: list[str],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """report.json. run_from: whether the model ran in memory or from its files; facts: learned on the way."""
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
            "run": run_from,
        },
        "sparsity": {
            "pruned_weights": sum(tally.pruned.values()),
            "weights": sum(tally.sizes.values()),
            "overall": sum(tally.pruned.values()) / sum(tally.sizes.values()),
            "asked_by_layer": sparsities.tolist(),
            "by_layer": tally.by_layer(),
            "by_projection": tally.by_projection(),
            "projections": tally.names,
            "grid": tally.grid(),
            "by_head": tally.heads,
            "by_expert": tally.experts,
        },
        "phases": rows,
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
