"""Report of a pruned folder, written and read, and folders that differ in their seed alone. Imports no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict, cast

from analysis import outputs
from analysis.pruned.naming import inner, run_name
from analysis.specs import METHODS, PruneSpec, with_current_names

REPORT_FILE = "report.json"
CARD_FILE = "README.md"
FORMAT = "sinkscope-prune-1"
# What belongs to a checkpoint beside its weights: config, tokenizer, the authors' own code.
COMPANION_SUFFIXES = {".json", ".txt", ".model", ".jinja", ".py"}
_WHERE_AND_HOW = ("model", "byte_budget", "streaming", "out", "overwrite")
SETTINGS = tuple(name for name in PruneSpec.model_fields if name not in _WHERE_AND_HOW)
"""Fields that say how a model was pruned; where that was done, in how much memory, and what it measured do not."""


class ReportedModel(TypedDict):
    """The dense model of a pruning. run: whether it ran in memory or from its files."""

    source: str
    architecture: str
    fingerprint: str
    dtype: str
    device: str
    run: str


class ReportedSparsity(TypedDict):
    """Weights removed, as counts and as shares; `grid` by layer and projection, None where nothing was
    pruned; `by_head` by projection, layer and head; `by_expert` likewise, empty for layers without experts.
    """

    pruned_weights: int
    weights: int
    overall: float
    asked_by_layer: list[float]
    by_layer: dict[str, float]
    by_projection: dict[str, float]
    projections: list[str]
    grid: list[list[float | None]]
    by_head: dict[str, list[list[float]]]
    by_expert: dict[str, list[list[float]]]


class ReportedSize(TypedDict):
    """Of all weights of a checkpoint: how many there are and how many are quantized; bytes as the dense model stores
    them, and by arithmetic with each tensor as compact as it can be (see `packed_bytes`).
    """

    weights: int
    quantized: int
    dense_bytes: int
    packed_bytes: int


class Report(TypedDict):
    """report.json of a pruned folder. Beside these fields it holds what a method has learned on its way, and `size`, a
    `ReportedSize`, which older reports lack.
    """

    format: str
    method: str
    parameters: dict[str, Any]
    seed: int
    model: ReportedModel
    sparsity: ReportedSparsity
    phases: list[dict[str, Any]]
    notes: list[str]
    command: str
    created: str
    environment: dict[str, Any]


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write a `Report` for `read_report` to read."""
    (folder / REPORT_FILE).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class PrunedRun:
    """A pruned folder by its report. settings: what it was pruned with, but for the calibration seed; empty without a
    report. model: fingerprint of the dense model, or ''. precision, device: what the dense model ran in and on, as
    `float32` and `cuda`, or ''. versions: of packages, by name.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    model: str = ""
    precision: str = ""
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name on every page, by its own report."""
        return run_name(self.parameters) if self.settings else "no report"

    @property
    def parameters(self) -> dict[str, Any]:
        """Its settings with the calibration seed among them, as a name is made of them."""
        calibration = inner(self.settings, "calibration")
        if self.seed is not None:
            calibration = calibration | {"seed": self.seed}
        return self.settings | {"calibration": calibration}

    def budget(self) -> tuple[Any, ...]:
        """Tuple that masks must share to be compared: model, precision, device, sparsity and pattern."""
        where = (self.model, self.precision, self.device)
        return (*where, self.settings.get("sparsity"), self.settings.get("pattern"))


def load_report(folder: Path) -> Report | None:
    """The report of a folder as it stands in its file; None where there is no readable one. Fields can be missing."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return cast(Report, report) if isinstance(report, dict) else None


def read_report(folder: Path) -> PrunedRun:
    """The run a folder holds; an empty one where there is no readable report."""
    report = load_report(folder)
    try:
        stated = with_current_names(inner(report, "parameters"))
    except ValueError:
        return PrunedRun()
    settings = {name: stated[name] for name in SETTINGS if name in stated}
    if not settings:
        return PrunedRun()
    calibration = inner(settings, "calibration")
    seed = calibration.pop("seed", None)
    model = inner(report, "model")
    fingerprint, precision, device = (str(model.get(name) or "") for name in ("fingerprint", "dtype", "device"))
    versions = inner(inner(report, "environment"), "versions")
    return PrunedRun(
        settings | {"calibration": calibration},
        seed if isinstance(seed, int) else None,
        fingerprint,
        precision,
        device.partition(":")[0],
        {str(name): str(version) for name, version in versions.items()},
    )


def refusal(folder: Path) -> str:
    """Return why a folder may not be replaced by a pruned checkpoint, as the end of a sentence, or ''."""
    suffixes = {*COMPANION_SUFFIXES, ".safetensors"}
    return outputs.folder_refusal(
        wrote=lambda path: bool(read_report(path).settings),
        names=lambda name: name == CARD_FILE or Path(name).suffix in suffixes,
    )(folder)


def seed_pair(runs: Sequence[PrunedRun], first: PrunedRun, second: PrunedRun) -> tuple[int, int] | None:
    """Indices of two runs that differ in their calibration seed alone, for the model, sparsity and pattern compared.

    A pair pruned as the second run was is preferred, then one as the first; None where there is no pair.
    """
    pairs = [
        (a, b)
        for a, b in combinations(range(len(runs)), 2)
        if runs[a].settings
        and runs[a].settings == runs[b].settings
        and runs[a].budget() == runs[b].budget()
        and None not in (runs[a].seed, runs[b].seed)
        and runs[a].seed != runs[b].seed
        and runs[a].budget() in (first.budget(), second.budget())
    ]

    def rank(pair: tuple[int, int]) -> int:
        settings = runs[pair[0]].settings
        return 0 if settings == second.settings else 1 if settings == first.settings else 2

    if not pairs:
        return None
    a, b = min(pairs, key=rank)
    return (a, b) if (runs[a].seed or 0) < (runs[b].seed or 0) else (b, a)


def first_pair(runs: Sequence[PrunedRun]) -> tuple[int, int] | None:
    """Indices of two runs to begin with, of one model, sparsity and pattern where there are such: a method and its
    control of the same calibration, the method first; else the first two that were pruned in different ways; else in
    the same; else the first two.
    """
    pairs = list(combinations(range(len(runs)), 2))
    alike = [(a, b) for a, b in pairs if runs[a].settings and runs[a].budget() == runs[b].budget()]
    controlled = [
        pair
        for a, b in alike
        for pair in ((a, b), (b, a))
        if _control(runs[pair[0]]) == runs[pair[1]].settings.get("method")
    ]
    same_text = [
        (a, b)
        for a, b in controlled
        if runs[a].seed == runs[b].seed and runs[a].settings.get("calibration") == runs[b].settings.get("calibration")
    ]
    different = [(a, b) for a, b in alike if runs[a].settings != runs[b].settings]
    return next(iter([*same_text, *controlled, *different, *alike, *pairs]), None)


def _control(run: PrunedRun) -> str:
    """The name of the method that differs from a run's in the discount alone; "" where it has none."""
    row = METHODS.get(str(run.settings.get("method")))
    return (row.control if row is not None else None) or ""
