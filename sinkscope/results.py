"""Results that SinkScope wrote, opened by their kind, and the figures of each kind: one row per figure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from analysis.command_line import written_sweep
from analysis.command_line.written_study import STUDY
from analysis.errors import UserError, shorten
from analysis.evaluation import comparing, curves, sweep_axes, sweep_scores, tables
from analysis.evaluation.differences import SHOWN
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.results import AVERAGE, Results
from analysis.evaluation.results import read as read_items
from analysis.figures import accuracy as accuracy_figures
from analysis.figures import dynamics, pruning
from analysis.figures import masks as mask_figures
from analysis.figures import sinks as sink_figures
from analysis.figures import sweep as sweep_figures
from analysis.figures.style import SERIES_COLORS
from analysis.pruned import compare as mask_compare
from analysis.pruned import masks_file
from analysis.pruned.report_file import Report, load_report, read_report
from analysis.recording import set_exhibits
from analysis.recording.frames import head_frame, sinks_of, step_frame, with_relative_mass
from analysis.recording.set_file import RecordingSet, open_set
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import definitions, metrics
from analysis.sinks.definitions import KINDS
from analysis.specs import SinkParams, SweepSpec, grid
from analysis.study import exhibits
from analysis.study.findings import Findings
from analysis.study.findings import read as read_study


@dataclass(frozen=True)
class PrunedFolder:
    """A pruned checkpoint: its folder and what its report says."""

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


Result = Trajectory | RecordingSet | Results | PrunedFolder | Sweep | Findings | Written
"""Anything that `opened` returns."""


def opened(path: Path) -> Result:
    """Open a file or folder that SinkScope wrote. Raises UserError for anything else."""
    if path.is_dir():
        return _opened_folder(path)
    if not path.is_file():
        raise UserError(f"There is no '{shorten(str(path))}'. Give a file or folder that SinkScope wrote.")
    if path.suffix == ".safetensors":
        try:
            return open_trajectory(path)
        except UserError:
            try:
                return open_set(path)
            except UserError:
                pass
            raise
    items = path if path.suffix == ".jsonl" else path.with_suffix(".items.jsonl")
    if items.is_file():
        return read_items(items)
    raise UserError(f"'{shorten(str(path))}' was not written by SinkScope. Give a recording, results or a folder.")


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


@dataclass(frozen=True)
class Drawn:
    """A figure of a result. help: what it shows, and its options. draw: (result, **options) -> figure."""

    help: str
    draw: Callable[..., go.Figure]


def figures_of(result: Result) -> dict[str, Drawn]:
    """Return the figures that there are of a result, by name."""
    if isinstance(result, Findings):
        return _study_figures(result)
    if isinstance(result, Written):
        return {name: Drawn("Figure as saved", partial(_written, name=name)) for name in result.figures}
    return FIGURES[type(result)]


def _study_figures(findings: Findings) -> dict[str, Drawn]:
    from analysis.specs import STUDY_PARTS

    found = {name: exhibit for part in STUDY_PARTS for name, exhibit in exhibits.part_exhibits(findings, part).items()}
    return {
        name: Drawn(exhibit.title, lambda result, figure=exhibit.figure: figure)
        for name, exhibit in found.items()
        if exhibit.figure is not None
    }


def _written(result: Written, name: str) -> go.Figure:
    return pio.from_json(result.figures[name].read_text(encoding="utf-8"))


# --- recordings -------------------------------------------------------------------------------------------------


def _heads(recording: Trajectory, metric: str = "strength", **params: Any) -> go.Figure:
    frame = head_frame(recording, SinkParams(**params))
    row = metrics.HEAD_METRICS[metric]
    values = frame[metric.replace("-", "_")].to_numpy().reshape(recording.layers, recording.heads)
    return sink_figures.head_grid(values, row.title, percent=row.percent, centre=row.centre)


def _mass(recording: Trajectory, layer: int = 0, head: int = 0, **params: Any) -> go.Figure:
    whole = with_relative_mass(recording)
    mass = whole.mass[:, layer, head]
    flags = definitions.find_sinks(mass, SinkParams(**params), whole.pattern.visible(layer))
    names = [recording.names.at(step) for step in range(recording.steps)] if mass.size <= 20_000 else None
    return sink_figures.mass_over_steps(mass, recording.labels(), flags, names)


def _curve(recording: Trajectory, curve: str = "count", **params: Any) -> go.Figure:
    frame = step_frame(recording, SinkParams(**params))
    row = metrics.CURVES[curve]
    line = dynamics.Series(row.title, frame["step"].to_numpy(), frame[curve.replace("-", "_")].to_numpy()[None])
    return dynamics.curves([line], "denoising step", row.axis, percent=row.percent)


def _kinds(recording: Trajectory, **params: Any) -> go.Figure:
    whole = with_relative_mass(recording)
    _, flags = sinks_of(whole, SinkParams(**params))
    info = recording.info
    kinds = definitions.token_kinds(recording.tokens, recording.undecided, info.tokens, info.model.end_tokens)
    return dynamics.kinds_over_steps({"": definitions.count_by_kind(flags, kinds)}, list(KINDS))


def _variances(recording: Trajectory, by_head: bool = True, **params: Any) -> go.Figure:
    whole = with_relative_mass(recording)
    even = whole.pattern.is_even
    spatial, temporal, names = metrics.variance_points(
        whole.mass, SinkParams(**params), by_head, None if even else whole.pattern.uniform_mass
    )
    layers = np.arange(len(names)) // (len(names) // recording.layers)
    return dynamics.variances([dynamics.Cloud("", spatial, temporal, names, layers.tolist())], False)


# --- evaluations ------------------------------------------------------------------------------------------------


def _differences(results: Results) -> go.Figure:
    rows = tables.difference_table(results, comparing.pairs(results))
    labels = {f"{row['model']} − {row['than']}": None for row in rows}
    colors = {label: SERIES_COLORS[place % len(SERIES_COLORS)] for place, label in enumerate(labels)}
    whiskers = [
        accuracy_figures.whisker(row, f"{row['model']} − {row['than']}", row["in words"] in SHOWN) for row in rows
    ]
    return accuracy_figures.whiskers(whiskers, colors, "points")


def _accuracies(results: Results, task: str = AVERAGE) -> go.Figure:
    chosen = task if task != AVERAGE or len(results.accuracies) > 1 else results.accuracies[0].name
    bands = curves.accuracy_curves(results, chosen)
    colors = [SERIES_COLORS[place % len(SERIES_COLORS)] for place in range(len(bands))]
    return accuracy_figures.running(bands, colors, "accuracy", chance=tables.chance_level(results, chosen))


def _running_differences(results: Results, task: str = AVERAGE) -> go.Figure:
    chosen = task if task != AVERAGE or len(results.accuracies) > 1 else results.accuracies[0].name
    bands = curves.difference_curves(results, chosen, comparing.pairs(results))
    colors = [SERIES_COLORS[place % len(SERIES_COLORS)] for place in range(len(bands))]
    return accuracy_figures.running(bands, colors, "points", difference=True)


# --- prunings and sweeps ----------------------------------------------------------------------------------------


def _sparsity(pruned: PrunedFolder) -> go.Figure:
    told = pruned.report["sparsity"]
    return pruning.sparsity_grid(np.array(told["grid"], np.float64), told["projections"])


def _disagreement(pruned: PrunedFolder, other: str | Path, measure: str = "disagreement") -> go.Figure:
    first, second = masks_file.open_masks(str(pruned.folder)), masks_file.open_masks(str(other))
    told = masks_file.compared(first, second)
    row = mask_compare.MEASURES[measure]
    return mask_figures.grids([mask_figures.Grid("", row.compute(told.projections))], row.title, told.names)


def _sweep_differences(swept: Sweep) -> go.Figure:
    apart = sweep_axes.differences_along(sweep_scores.comparisons(swept.settings))
    deltas = [sweep_figures.Delta(**vars(each)) for each in apart]
    first = swept.settings[0]
    return sweep_figures.deltas(_sweep_curves(swept), deltas, first.dense.value, first.chance)


def _sweep_tasks(swept: Sweep, sparsity: float | None = None) -> go.Figure:
    chosen = max(setting.pruning.sparsity for setting in swept.settings) if sparsity is None else sparsity
    rows = [setting for setting in swept.settings if setting.pruning.sparsity == chosen]
    cells = sweep_axes.by_task(rows)
    return sweep_figures.grid_map(cells.values, cells.rows, cells.columns, "", "", "accuracy")


def _sweep_curves(swept: Sweep) -> list[sweep_figures.Curve]:
    return [sweep_figures.Curve(**vars(along)) for along in sweep_axes.by_sparsity(swept.settings)]


def _sweep_accuracy(swept: Sweep) -> go.Figure:
    first = swept.settings[0]
    return sweep_figures.accuracy(_sweep_curves(swept), "sparsity", first.dense.value, first.chance)


FIGURES: dict[type, dict[str, Drawn]] = {
    Trajectory: {
        "heads": Drawn("One number per layer and head. metric: a row of HEAD_METRICS; k: of the sinks", _heads),
        "mass": Drawn("One head's attention mass by step and position, its sinks marked. layer, head, k", _mass),
        "curve": Drawn("One number per step. curve: a row of CURVES; k", _curve),
        "kinds": Drawn("Which tokens are sinks, by step: masked, first, last, punctuation, words. k", _kinds),
        "variances": Drawn("Spatial against temporal variance, a point per head. by_head, k", _variances),
    },
    RecordingSet: {
        "layers": Drawn(
            "Which kinds of tokens are sinks in each layer, over prompts",
            lambda sets: set_exhibits.layers_by_kind({"": sets}).figure,
        ),
        "movement": Drawn("How sinks move, beside their nulls", lambda sets: set_exhibits.movement("", sets).figure),
        "kinds": Drawn(
            "Kinds of sinks over the steps", lambda sets: set_exhibits.kinds_over_steps({"": sets}, 0).figure
        ),
    },
    Results: {
        "differences": Drawn("Paired differences with 95 % intervals", _differences),
        "accuracy": Drawn("Accuracy as the items came in. task: a benchmark, or 'average'", _accuracies),
        "running differences": Drawn("Differences as the items came in. task", _running_differences),
    },
    PrunedFolder: {
        "sparsity": Drawn("Share of weights removed, by layer and projection", _sparsity),
        "disagreement": Drawn("Weights that one mask prunes and the other keeps. other: a folder", _disagreement),
    },
    Sweep: {
        "accuracy": Drawn("Accuracy by sparsity, a curve per method, with dense and chance", _sweep_accuracy),
        "differences": Drawn("Each method against its control and baseline, by sparsity", _sweep_differences),
        "tasks": Drawn("Accuracy by task and method. sparsity: the highest where left out", _sweep_tasks),
    },
}
"""The figures of each kind of result; those of a study are its exhibits."""
