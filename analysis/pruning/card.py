"""The model card of a pruned folder: README.md as the Hugging Face hub reads it. Every number in it is read.

A card is written with the checkpoint, and anew with the accuracies that were measured when the folder is pushed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.calibration.text import SOURCES
from analysis.models.registry import BUNDLED_PAIR, MODELS
from analysis.pruned.report_file import CARD_FILE, FAKE, Report, inner, quantization_title
from analysis.specs import METHODS, PARTS, QUANTIZERS, CalibrationParams, PruneSpec, Reader, Spec
from analysis.specs.pruning import only_read, readers
from analysis.words import percent

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_METADATA = re.compile(r"---\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
_NOT_TOLD = ("model", "out", "overwrite", "byte_budget", "streaming")  # told elsewhere, or without a bearing


@dataclass(frozen=True)
class MeasuredTask:
    """A task's accuracies in one evaluation: of the pruned model, of the dense one, and their difference with its 95 %
    interval, as shares; None where it was not measured. `items` in `clusters`. chance: of a choice at random.
    """

    title: str
    accuracy: float
    low: float
    high: float
    items: int
    clusters: int
    chance: float | None
    dense: float | None = None
    difference: tuple[float, float, float] | None = None


def model_card(report: Report, licence: str | None, measured: Sequence[MeasuredTask] = ()) -> str:
    """Return the text of README.md. licence: of the dense model, None where it is not known."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        base_model=base_model(report["model"]["source"]),
        license=licence,
        library_name="transformers",
        tags=["sinkscope", "pruned", report["method"], *_sink_tags(report)],
        datasets=_datasets(report),
        pipeline_tag="text-generation",
    )
    parts = ["---", data.to_yaml(), "---", "", *_what_it_is(report), *_settings(report), *_sparsity(report)]
    parts += _accuracies(measured)
    parts += ["", "## Make it again", "", "```", report["command"], "```"]
    versions = report["environment"].get("versions", {})
    told = ", ".join(f"{name} {versions[name]}" for name in ("sinkscope", "torch", "transformers") if name in versions)
    parts += ["", f"Made on {report['created'][:10]} with {told}. `report.json` has every parameter and measurement."]
    return "\n".join(parts) + "\n"


def base_model(source: str) -> str | None:
    """Return the hub id of the dense model; None where it comes from a folder, or with SinkScope."""
    if source in MODELS:
        source = MODELS[source].source
    return source if _HUB_ID.fullmatch(source) and not Path(source).exists() else None


def licence_in(folder: Path) -> str | None:
    """Return the licence that the card in a folder names; None where it names none."""
    import yaml

    try:
        found = _METADATA.match((folder / CARD_FILE).read_text(encoding="utf-8"))
        data = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    licence = data.get("license") if isinstance(data, dict) else None
    return licence if isinstance(licence, str) else None


def _sink_tags(report: Report) -> list[str]:
    discounted = any(row.discounted for row in _readers(report))
    return [*(["quantized"] if len(_readers(report)) > 1 else []), *(["attention-sinks"] if discounted else [])]


def _datasets(report: Report) -> list[str] | None:
    rows, calibration = _readers(report), CalibrationParams().model_dump() | inner(report["parameters"], "calibration")
    source = SOURCES.get(str(calibration.get("data")))
    read = not rows or any(row.calibrated for row in rows)
    return [source.dataset] if read and source is not None and source.dataset else None


def _readers(report: Report) -> tuple[Reader, ...]:
    return readers({**report["parameters"], "method": report["method"]})


def _name(source: str) -> str:
    if source in BUNDLED_PAIR:
        return f"{source}, a small model that ships with SinkScope"
    return base_model(source) or Path(source).name


def _what_it_is(report: Report) -> list[str]:
    row, sparsity = METHODS.get(report["method"]), report["sparsity"]
    title = report["method"] if row is None else row.title
    name = _name(report["model"]["source"])
    removed, weights = sparsity["pruned_weights"], sparsity["weights"]
    removes, quantized = row is None or row.removes, quantization_title(report["parameters"])
    pruned = [f"{percent(sparsity['overall'], 1)} pruned by {title}"] if removes else []
    lines = [f"# {', '.join([name.partition(',')[0], *pruned, *([quantized] if quantized else [])])}", ""]
    if removes:
        overall = percent(sparsity["overall"], 2)
        share = f"{removed:,} of the {weights:,} weights of its transformer blocks removed ({overall})"
        lines += [f"This is {name}, with {share} by SinkScope.", ""]
    else:
        lines += [f"This is {name}, with its weights quantized by SinkScope.", ""]
    lines += [] if row is None or not removes else [f"Method: {row.title}. {row.help}", ""]
    lines += _bits(report, quantized) if quantized else []
    if report["parameters"].get("pattern") in ("structured", "experts"):
        return [*lines, "Whole units are cut out, and the config has the new shapes."]
    zeros = "Removed weights are stored as zeros: the files are as large as before, and nothing runs faster by itself."
    loads = "Names, shapes and precision are those of the dense model, so it loads as the dense model does."
    return [*lines, f"{loads} {zeros}" if removes else loads]


def _bits(report: Report, quantized: str) -> list[str]:
    """Describe the quantization, with the bytes that it would take."""
    row = QUANTIZERS.get(str(inner(report["parameters"], "quantization").get("quantizer")))
    size = report["size"]
    told = (
        f"They come to {size['packed_bytes'] / 1e6:,.1f} MB, and the dense model's weights to "
        f"{size['dense_bytes'] / 1e6:,.1f} MB."
    )
    return [" ".join([f"Quantization: {quantized}.", *([] if row is None else [row.help]), FAKE, told]), ""]


def _settings(report: Report) -> list[str]:
    rows: list[tuple[str, Any]] = []
    for name, value in only_read({**report["parameters"]}).items():
        if name in PARTS and isinstance(value, dict):
            rows += [(_title(PARTS[name], inner), told) for inner, told in value.items()]
        elif name not in _NOT_TOLD and not isinstance(value, dict):
            rows.append((_title(PruneSpec, name), value))
    model = report["model"]
    rows.append(("Dense model", f"fingerprint {model['fingerprint']}, run in {model['dtype']} on {model['device']}"))
    lines = [f"| {_cell(title)} | {_cell(value)} |" for title, value in rows]
    return ["", "## Settings", "", "| setting | value |", "| --- | --- |", *lines]


def _title(spec: type[Spec], name: str) -> str:
    return (spec.model_fields[name].title or name) if name in spec.model_fields else name


def _sparsity(report: Report) -> list[str]:
    rows = [f"| {name} | {percent(share, 2)} |" for name, share in report["sparsity"]["by_projection"].items()]
    return ["", "## Removed, by projection", "", "| projection | removed |", "| --- | --- |", *rows]


def _accuracies(measured: Sequence[MeasuredTask]) -> list[str]:
    if not measured:
        return ["", "## Accuracy", "", "Not measured when this card was written."]
    lines = []
    for task in measured:
        items = f"{task.items:,}" if task.items == task.clusters else f"{task.items:,} in {task.clusters:,} clusters"
        value = f"{percent(task.accuracy, 1)} [{percent(task.low, 1)}, {percent(task.high, 1)}]"
        change = [] if task.difference is None else [f"{100 * part:+.1f}" for part in task.difference]
        difference = f"{change[0]} [{change[1]}, {change[2]}]" if change else ""
        cells = (_cell(task.title), _percent(task.dense), value, difference, _percent(task.chance), items)
        lines.append(f"| {' | '.join(cells)} |")
    head = "| task | dense | pruned [95 %] | difference in points [95 %] | chance | items |"
    told = (
        "The intervals cover the choice of items, clustered where items share a passage or key. This is one pruning: "
        "what another calibration seed would change is left out."
    )
    return ["", "## Accuracy", "", head, "| --- | --- | --- | --- | --- | --- |", *lines, "", told]


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share, 1)


def _cell(value: Any) -> str:
    """Return a value as it may stand in a table of Markdown."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
