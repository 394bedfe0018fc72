"""Report of a pruned folder, the name of its model, pairs of folders that differ in their seed alone, and bytes of
weights by arithmetic. Imports no torch.

A model has the same name everywhere, as `Sink-Wanda k2 α5 λ1 seed 0 · 50 %`: the method, its discount, the calibration
seed where it reads text, the sparsity, pattern and allocation where they are not the usual ones, and the bits where
weights are quantized. Finer settings stand there only where two names would otherwise be alike.

Bytes count pruned and quantized matrices as compact as they can be stored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict, cast

from pydantic import ValidationError

from analysis import outputs
from analysis.specs import METHODS, CalibrationParams, DiscountParams, PruneSpec, QuantizationParams, told_apart
from analysis.specs.pruning import only_read, readers
from analysis.specs.pruning_choices import Method, Reader

Parameters = Mapping[str, Any]
"""Parameters of a pruning, as `PruneSpec.model_dump(mode="json")` gives them."""
_SYMBOLS = ("sink_std", "sink_alpha", "discount_strength")  # their labels begin with the letter of the formula
_NO_DIFFERENCE = ("out", "overwrite", "byte_budget", "streaming")  # where and in how much memory


def run_name(parameters: Parameters) -> str:
    """The name of a pruning by its parameters, as `PruneSpec.model_dump(mode="json")` gives them.

    What they lack is taken as the default. Of a method that this version does not know: its own name and sparsity.
    """
    method, rows = _method_and_rows(parameters)
    quantized = quantization_title(parameters)
    first = str(parameters.get("method")) if method is None else method.title.partition(" (")[0].replace(",", "")
    if method is not None and not method.removes and quantized:
        first, quantized = quantized, ""
    parts = [first, *_discount(parameters, rows)]
    seed = seed_of(parameters)
    if seed is not None:
        parts.append(f"seed {seed}")
    if method is not None and not method.removes:
        return " ".join(parts)
    sparsity = _given(parameters, "sparsity")
    share = f"{100 * sparsity:g} %" if _is_number(sparsity) else str(sparsity)
    return " · ".join([" ".join(parts), share, *_unusual(parameters), *([quantized] if quantized else [])])


def plain_title(method: str) -> str:
    """Return what a method is to its readers: with the discount, without it, or as it was published; of another than
    the preset with its own title.
    """
    row, preset = METHODS.get(method), METHODS[_default("method")]
    if row is None:
        return method
    if any(other.published == method for other in METHODS.values()):
        return f"{row.title} as published"
    if method == preset.control:
        return "Without discount (control)"
    if row.discounted and row.tokens == "sinks":
        return "With discount" if row is preset else f"With discount ({row.title})"
    return row.title


def both_titles(method: str) -> str:
    """Return what a method is to its readers and its own title, as `With discount · Sink-Wanda`."""
    title = METHODS[method].title.removesuffix(" (control)")
    return plain_title(method) if title in plain_title(method) else f"{plain_title(method)} · {title}"


def plain_name(parameters: Parameters) -> str:
    """Return what a pruned model is to its readers, as `With discount, 50 % removed, seed 0`."""
    method, seed = str(_given(parameters, "method")), seed_of(parameters)
    row, quantized = METHODS.get(method), quantization_title(parameters)
    sparsity = _given(parameters, "sparsity")
    removed = f"{100 * sparsity:g} % removed" if (row is None or row.removes) and _is_number(sparsity) else ""
    parts = [plain_title(method), removed, *_unusual(parameters), quantized, "" if seed is None else f"seed {seed}"]
    return ", ".join(filter(None, parts))


def is_control(method: str) -> bool:
    """Return whether another method is compared with this one to tell what its discount does."""
    return any(row.control == method for row in METHODS.values())


def seed_of(parameters: Parameters) -> int | None:
    """Return the calibration seed of a pruning; None where it reads no text."""
    _, rows = _method_and_rows(parameters)
    if not any(row.calibrated for row in rows):
        return None
    return int(inner(parameters, "calibration").get("seed", CalibrationParams().seed))


def settings_title(parameters: Parameters) -> str:
    """Return what a name holds beside method, seed, sparsity and bits: the discount, and what is not as usual."""
    method, rows = _method_and_rows(parameters)
    unusual = _unusual(parameters) if method is None or method.removes else []
    return " · ".join(filter(None, [" ".join(_discount(parameters, rows)), *unusual]))


def _method_and_rows(parameters: Parameters) -> tuple[Method | None, tuple[Reader, ...]]:
    method = METHODS.get(str(_given(parameters, "method")))
    return method, () if method is None else readers({**parameters, "method": method.name})


def _discount(parameters: Parameters, rows: Sequence[Reader]) -> list[str]:
    if not any(row.discounted for row in rows):
        return []
    discount = DiscountParams().model_dump() | inner(parameters, "discount")
    return [f"{_symbol(name)}{_short(discount[name])}" for name in _SYMBOLS]


def _unusual(parameters: Parameters) -> list[str]:
    chosen = {name: _given(parameters, name) for name in ("pattern", "allocation")}
    return [str(value) for name, value in chosen.items() if value != _default(name)]


def _given(parameters: Parameters, name: str) -> Any:
    """A parameter's value, its default where it is not named."""
    return parameters.get(name, _default(name))


def _default(name: str) -> Any:
    return PruneSpec.model_fields[name].default


def quantization_title(parameters: Parameters) -> str:
    """Return the quantization of a pruning in a few words, as `4-bit GPTQ g64`; '' where nothing was quantized."""
    try:
        return QuantizationParams.model_validate(inner(parameters, "quantization")).title
    except ValidationError:  # of a later version
        return "quantized"


def run_names(parameters: Sequence[Parameters], ids: Sequence[str]) -> list[str]:
    """A name of its own for each pruning: `run_name`, and what tells it from others that it would share it with.

    ids: tell apart what has the same parameters; their first four characters are shown.
    """
    names = [run_name(settings) for settings in parameters]
    compared = [
        {key: value for key, value in only_read(settings).items() if key not in _NO_DIFFERENCE}
        for settings in parameters
    ]
    details = told_apart(names, compared, PruneSpec)
    names = [
        f"{name} · {detail.replace(',', '')}" if detail else name for name, detail in zip(names, details, strict=True)
    ]
    return [
        f"{name} · {run_id[:4]}" if names.count(name) > 1 else name for name, run_id in zip(names, ids, strict=True)
    ]


def inner(values: Any, name: str) -> dict[str, Any]:
    """Return the mapping that stands in another under a name; an empty one where there is none."""
    nested = values.get(name) if isinstance(values, Mapping) else None
    return dict(nested) if isinstance(nested, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _short(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)


def _symbol(name: str) -> str:
    return (DiscountParams.model_fields[name].title or name).partition(" (")[0]


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
    """report.json of a pruned folder. Beside these fields it holds what a method has learned on its way."""

    format: str
    method: str
    parameters: dict[str, Any]
    seed: int
    model: ReportedModel
    sparsity: ReportedSparsity
    size: ReportedSize
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
    stated = inner(report, "parameters")
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


refusal = outputs.folder_refusal(
    lambda folder: bool(read_report(folder).settings),
    lambda name: name == CARD_FILE or Path(name).suffix in {*COMPANION_SUFFIXES, ".safetensors"},
)
"""Why a pruned checkpoint may not replace a folder, as the end of a sentence, or ''."""


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


SCALE_BITS = 16  # GPTQ's checkpoints keep scales in float16, and zero points in as many bits as a code
FAKE = (
    "The files hold dequantized weights in the model's own precision (fake quantization), so they are as large and run "
    "as fast as before. Bytes of codes, scales and zero points are arithmetic."
)


def packed_bytes(count: int, kept: int, bits: int, grids: int = 0, symmetric: bool = False) -> int:
    """Return the bytes of a matrix of `count` weights, of which `kept` are not pruned, in so many bits each.

    Either every weight is stored, or one bit a weight says which are and those alone follow, whichever takes less.
    grids: how many scales go with them, each with a zero point unless the levels are symmetric.
    """
    codes = min(count * bits, count + kept * bits)
    return -(-(codes + grids * (SCALE_BITS + (0 if symmetric else bits))) // 8)


def reported_bytes(report: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the bytes of a dense model's weights and of the pruned one's by arithmetic; None where it does not say."""
    size = report.get("size")
    return (int(size["dense_bytes"]), int(size["packed_bytes"])) if isinstance(size, Mapping) else None
