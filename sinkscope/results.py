"""Kinds of results, and opening SinkScope's output by its kind."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.command_line import written_sweep
from analysis.command_line.written_study import STUDY
from analysis.errors import UserError, shorten
from analysis.evaluation import sweep_scores
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.results import Results
from analysis.evaluation.results import read as read_items
from analysis.pruned.report_file import Report, load_report, read_report
from analysis.recording.set_file import RecordingSet, open_set
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import SuggestSpec, SweepSpec, grid
from analysis.study.findings import Findings
from analysis.study.findings import read as read_study
from analysis.tuning import statistics_file
from analysis.tuning.statistics_file import PARTS, StoredStatistics

if TYPE_CHECKING:
    from analysis.jobs.summaries import AblateSummary, LensSummary, SuggestSummary


@dataclass(frozen=True)
class PrunedFolder:
    """A pruned checkpoint: its folder and its report."""

    folder: Path
    report: Report


@dataclass(frozen=True)
class Sweep:
    """A swept folder: its summary, and its settings scored item by item."""

    folder: Path
    summary: Mapping[str, Any]
    settings: list[sweep_scores.Setting]


@dataclass(frozen=True)
class Written:
    """Results of `sinks`, `ablate` or `inspect`: numbers, tables, and figures by name."""

    folder: Path
    numbers: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Path]


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one head in one step of a recording. values (P, P): query × key, of the tokens present."""

    recording: Trajectory
    step: int
    layer: int
    head: int
    values: np.ndarray


@dataclass(frozen=True)
class Ablation:
    """A recording's text written again without its sinks, and with controls hidden. source: the model."""

    source: str
    summary: "AblateSummary"

    @property
    def rows(self) -> pd.DataFrame:
        """One row per way of choosing the hidden positions, the untouched text first."""
        return pd.DataFrame(self.summary["rows"])


@dataclass(frozen=True)
class Lens:
    """Predictions of every layer at the undecided positions of a step. at (N,): these positions."""

    recording: Trajectory
    step: int
    at: np.ndarray
    summary: "LensSummary"


@dataclass(frozen=True)
class Geometry:
    """Dimensions of attention and token states at some steps. arrays: of the model's own and of random weights."""

    steps: list[int]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Search:
    """A search of the discount's parameters: its spec and its trials."""

    spec: SuggestSpec
    summary: "SuggestSummary"


Result = (
    Trajectory
    | RecordingSet
    | Results
    | PrunedFolder
    | Sweep
    | Findings
    | Written
    | StoredStatistics
    | AttentionMap
    | Ablation
    | Lens
    | Geometry
    | Search
)
"""Anything that can be drawn."""


def opened(path: Path) -> Result:
    """Open a file or folder that SinkScope wrote. Raises UserError for anything else."""
    if path.is_dir():
        return _opened_folder(path)
    if not path.is_file():
        raise UserError(f"There is no '{shorten(str(path))}'. Give a file or folder that SinkScope wrote.")
    if path.suffix == ".safetensors":
        return _opened_arrays(path)
    items = path if path.suffix == ".jsonl" else path.with_suffix(".items.jsonl")
    if items.is_file():
        return read_items(items)
    raise UserError(f"'{shorten(str(path))}' was not written by SinkScope. Give a recording, results or a folder.")


def part_file(path: Path, part: str) -> Path:
    """Return the path of a part of the statistics in a file: beside it."""
    return path.with_suffix(f".{part}.safetensors")


def _opened_arrays(path: Path) -> Result:
    for read in (open_set, statistics_file.open_statistics):
        try:
            result = read(path)
        except UserError:
            continue
        if isinstance(result, StoredStatistics):
            for part in PARTS:
                if part_file(path, part).is_file():
                    result = statistics_file.joined(result, part_file(path, part))
        return result
    return open_trajectory(path)


def _opened_folder(folder: Path) -> Result:
    report = load_report(folder)
    if report is not None and read_report(folder).settings:
        return PrunedFolder(folder, report)
    summary = written_sweep.summary_in(folder)
    if summary is not None:
        prunings = grid(SweepSpec.model_validate(summary["parameters"])).prunings
        named = [(folder / written_sweep.point_file(pruning, DOCUMENTS), pruning) for pruning in prunings]
        scores = [sweep_scores.read_scores(file, pruning) for file, pruning in named if file.is_file()]
        return Sweep(folder, summary, sweep_scores.settings(scores, prunings))
    drawn = {path.stem.removeprefix("figure-"): path for path in sorted(folder.glob("figure-*.json"))}
    if drawn and (folder / STUDY).is_file():
        numbers = json.loads((folder / STUDY).read_text(encoding="utf-8"))
        tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
        return Written(folder, numbers, tables, drawn)
    if (folder / STUDY).is_file():
        return read_study(folder / STUDY)
    raise UserError(f"'{shorten(str(folder))}' is not a folder that SinkScope wrote.")
