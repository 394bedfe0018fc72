"""The figures of every kind of result: one row per figure."""

from functools import partial

import plotly.io as pio

from analysis.evaluation.results import Results
from analysis.exhibits import study as exhibits
from analysis.recording.set_file import RecordingSet
from analysis.recording.trajectory import Trajectory
from analysis.study.findings import Findings
from analysis.tuning.statistics_file import StoredStatistics
from sinkscope.drawing import evaluations, inside, pairs, prunings, recordings, sets, tuning
from sinkscope.drawing.rows import Drawn
from sinkscope.results import Ablation, AttentionMap, Geometry, Lens, PrunedFolder, Result, Search, Sweep, Written

__all__ = ["FIGURES", "Drawn", "figures_of"]

FIGURES: dict[type, dict[str, Drawn]] = {
    Trajectory: {**recordings.ROWS, **inside.EXPERT_ROWS, **pairs.ROWS},
    RecordingSet: sets.ROWS,
    Results: evaluations.ROWS,
    PrunedFolder: prunings.ROWS,
    Sweep: evaluations.SWEEP_ROWS,
    StoredStatistics: tuning.ROWS,
    Search: tuning.SEARCH_ROWS,
    AttentionMap: inside.ATTENTION_ROWS,
    Ablation: inside.ABLATION_ROWS,
    Lens: inside.LENS_ROWS,
    Geometry: inside.GEOMETRY_ROWS,
}
"""The figures of each kind of result; those of a study are its exhibits, and a written folder has its own."""


def figures_of(result: Result) -> dict[str, Drawn]:
    """Return the available figures of a result, by name."""
    if isinstance(result, Findings):
        return _of_study(result)
    if isinstance(result, Written):
        return {name: Drawn("Figure as saved", partial(_as_saved, name)) for name in result.figures}
    return {name: row for name, row in FIGURES[type(result)].items() if row.fits(result)}


def _of_study(findings: Findings) -> dict[str, Drawn]:
    return {
        name: Drawn(exhibit.title, lambda result, figure=exhibit.figure: figure)
        for name, exhibit in exhibits.all_exhibits(findings).items()
        if exhibit.figure.data
    }


def _as_saved(name: str, result: Written):  # type: ignore[no-untyped-def]
    return pio.from_json(result.figures[name].read_text(encoding="utf-8"))
