"""The folder of a sweep: one summary, tables, and masks, report and answers of each point."""

import argparse
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import folder_beside, show
from analysis.evaluation import sweep_scores, sweep_tables
from analysis.evaluation.frontier import (
    ACCURACY,
    CACHE,
    DIVERGENCE,
    MEASURED_COSTS,
    QUALITIES,
    TIMES,
    Cost,
    Quality,
    placed,
    settings_of,
)
from analysis.evaluation.items_file import DOCUMENTS
from analysis.findings import finding_of
from analysis.pruned.masks_file import MASK_FILE
from analysis.pruned.report_file import REPORT_FILE
from analysis.specs import PruneSpec, point_name
from analysis.table_files import csv_of_rows, csv_of_table, write_csv
from analysis.words import percent

if TYPE_CHECKING:
    from analysis.figures.export import Exhibit

FORMAT = "sinkscope-sweep-1"
SUMMARY_FILE = "sweep.json"
FRONTIER_FILE = "frontier.html"
_CONTENTS = (
    f"{SUMMARY_FILE}, points.csv, settings.csv, differences.csv, times.csv, {FRONTIER_FILE}, and masks, report and "
    "answers of each point"
)
POINT_FILES = (MASK_FILE, REPORT_FILE, DOCUMENTS)


@dataclass(frozen=True)
class WrittenSweep:
    """A sweep as it is written. rows: of the points, in the order of `prunings`; scores: of those that have any. files:
    of the points, by their names in the folder."""

    state: str
    reason: str
    parameters: dict[str, Any]
    prunings: Sequence[PruneSpec]
    rows: Sequence[dict[str, Any]]
    scores: Sequence[sweep_scores.PointScores]
    files: dict[str, Path]
    environment: Any


def write(swept: WrittenSweep, options: argparse.Namespace) -> None:
    """Write the folder, and print the results."""
    settings = sweep_scores.settings(swept.scores, swept.prunings)
    compared = sweep_scores.comparisons(settings)
    doses = sweep_scores.dose_responses(settings)
    planes = planes_of(settings, swept.prunings, swept.rows, compared)
    of_divergence = QUALITIES[DIVERGENCE]
    moved = settings_of(swept.scores, swept.prunings, of_divergence)
    planes += planes_of(moved, swept.prunings, swept.rows, sweep_scores.comparisons(moved), of_divergence)
    told = headlines(planes)
    verdicts = [
        *told,
        *map(str, finding_of("pairs of methods", compared)),
        *(finding_of("dose-response", response) for response in doses),
    ]
    summary = {
        "format": FORMAT,
        "state": swept.state,
        "reason": swept.reason,
        "points": list(swept.rows),
        "settings": [sweep_tables.setting_row(setting) for setting in settings],
        "differences": [sweep_tables.comparison_row(comparison) for comparison in compared],
        "doses": [sweep_scores.dose_row(response) for response in doses],
        "verdicts": verdicts,
        "parameters": swept.parameters,
        "environment": swept.environment,
    }
    with folder_beside(options.out, "sweep") as folder:
        whole = folder / "sweep"
        whole.mkdir()
        outputs.write_json(whole / SUMMARY_FILE, summary)
        found, measured = zip(*map(sweep_tables.parted, swept.rows), strict=True)
        tables = {"points": found, "times": measured, "settings": summary["settings"]}
        tables |= {"differences": summary["differences"]} | ({"doses": summary["doses"]} if doses else {})
        for name, rows in tables.items():
            write_csv(whole / f"{name}.csv", csv_of_rows(rows))
        if planes:
            _write_planes(whole, planes, swept.parameters)
        for name, file in swept.files.items():
            shutil.copyfile(file, whole / name)
        note = outputs.place(whole, options.out, options.overwrite, refusal)
    lines = filter(None, (*_lines(settings), *verdicts, note, f"{options.out}: {_CONTENTS}"))
    show(options, {"out": str(options.out), **summary}, lines)


def _write_planes(folder: Path, planes: Sequence["Exhibit"], parameters: Mapping[str, Any]) -> None:
    """A table for each plane, and one page with all of them."""
    from analysis.figures.export import page_html

    for shown in planes:
        write_csv(folder / f"{shown.name}.csv", csv_of_table(shown.table))
    page = page_html("SinkScope: the frontier", parameters, planes)
    (folder / FRONTIER_FILE).write_text(page, encoding="utf-8")


def planes_of(
    settings: Sequence[sweep_scores.Setting],
    prunings: Sequence[PruneSpec],
    rows: Sequence[Mapping[str, Any]],
    compared: Sequence[sweep_scores.Comparison],
    quality: Quality = QUALITIES[ACCURACY],
    costs: Sequence[Cost] = MEASURED_COSTS,
) -> list["Exhibit"]:
    """A quality against each cost, a plane per model. rows: of the points, in the order of `prunings`."""
    from analysis.exhibits.sweeps import plane

    shown = []
    for number, (model, of_model) in enumerate(sweep_scores.by_model(settings).items()):
        timed = next((str(row["timed"]) for row in rows if row.get("timed") and row["model"] == model), "")
        for cost in costs:
            points = placed(of_model, prunings, rows, cost)
            drawn = plane(points, compared, cost, timed if cost.name == TIMES else "", quality)
            if drawn is not None:
                shown.append(replace(drawn, name=f"{drawn.name}-{number}" if number else drawn.name))
    return shown


def headlines(planes: Sequence["Exhibit"]) -> list[str]:
    """Return the headlines of the planes: per quality, one for pruning and one for the cache, if present."""
    first: dict[tuple[bool, bool], str] = {}
    for shown in planes:
        cost = shown.name.removeprefix("frontier-").removeprefix(f"{DIVERGENCE}-")
        kind = shown.name.startswith(f"frontier-{DIVERGENCE}-"), cost.startswith(CACHE.replace(" ", "-"))
        if shown.finding:
            first.setdefault(kind, shown.finding)
    return list(first.values())


def point_file(pruning: PruneSpec, name: str) -> str:
    """Return the name of a point's file in the folder. name: one of POINT_FILES."""
    slug = re.sub(r"[^a-z0-9.]+", "-", f"{Path(pruning.model.source).name} {point_name(pruning)}".lower())
    return f"{slug}.{name}"


def summary_in(folder: Path) -> dict[str, Any] | None:
    """Return the summary in a folder that a sweep wrote, or None."""
    written = outputs.json_object(folder / SUMMARY_FILE)
    return written if written.get("format") == FORMAT else None


refusal = outputs.folder_refusal(
    lambda folder: summary_in(folder) is not None,
    outputs.with_suffix(".json", ".csv", ".jsonl", ".safetensors", ".html"),
)
"""Why a sweep may not replace a path, as the end of a sentence; "" if it may."""


def _lines(settings: Sequence[sweep_scores.Setting]) -> Iterator[str]:
    for model, of_model in sweep_scores.by_model(settings).items():
        chance = of_model[0].chance
        told = "" if chance is None else f", chance {percent(chance, 1)}"
        yield f"{model}: dense {percent(of_model[0].dense.value, 1)}{told}"
        for setting in of_model:
            low, high = setting.by_seed.min(), setting.by_seed.max()
            seeds = f"{len(setting.seeds)} seed{'s' if len(setting.seeds) > 1 else ''}"
            spread = (
                f", {percent(low, 1)} to {percent(high, 1)} over {seeds}" if len(setting.seeds) > 1 else f", {seeds}"
            )
            yield f"  {setting.name:<36} {percent(setting.accuracy, 1)}{spread}"
