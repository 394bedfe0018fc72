"""Accuracies of every method of a sweep, as a plot or as a table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.evaluation import sweep_tables
from analysis.evaluation.frontier import CACHE, COSTS
from analysis.evaluation.sweep_scores import Setting
from analysis.exhibits import sweep_axes
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.words import percent
from pages.parts.charts import chart, kept, table

_ACCURACY = "Right answers, the mean over tasks and then over calibration seeds; the band spans the seeds."
THEORETICAL = ("bytes", "dense bytes", CACHE, f"dense {CACHE}")
"""Columns of points that are known by arithmetic."""
_NO_SHARES = {
    *("λ", "k", "seed", "dense ms", "speed beside dense", "seconds to prune", "seconds to score"),
    *COSTS,
    *(f"{name} (theoretical)" for name in THEORETICAL),
}
_accuracy = kept(figures.accuracy)


def draw_accuracies(settings: Sequence[Setting]) -> None:
    """Draw the accuracy of every setting: as a plot, or of evictions alone, which have no sparsity, as a table."""
    first = settings[0]
    waiting = sum(setting.planned - len(setting.seeds) for setting in settings)
    interim = f"Interim: {waiting} more runs of these settings are to come." if waiting else ""
    along = sweep_axes.by_sparsity(settings)
    frame = pd.DataFrame([sweep_tables.setting_row(setting) for setting in settings])
    if not along:
        table(
            "Accuracy of every setting",
            f"Of {_items(first)}: means over seeds, and their lowest and highest.",
            frame.dropna(axis=1, how="all"),
            "sweep_accuracy",
            _ACCURACY,
            finding=_seeds_apart(along),
            hint=interim,
            shares=shares_of(frame),
            column_order=telling(frame),
        )
        return
    chart(
        Exhibit(
            "Accuracy against sparsity",
            f"Of {_items(first)}. A dot is the mean over calibration seeds, the band spans the seeds; it holds no "
            "noise of the items.",
            _accuracy(along, "sparsity", first.dense.value, first.chance),
            frame,
            formula=_ACCURACY,
            finding=_seeds_apart(along),
        ),
        "sweep_accuracy",
        hint=interim,
    )


def _items(setting: Setting) -> str:
    """Return how many items a setting answered, with the dense model's accuracy on them and chance."""
    count = sum(len(dense) for _, dense, _ in setting.tasks.values())
    chance = "" if setting.chance is None else f", chance {percent(setting.chance, 1)}"
    return f"{count:,} items (dense {percent(setting.dense.value, 1)}{chance})"


def _seeds_apart(along: Sequence[figures.Curve]) -> str:
    """Say where all seeds of one curve lie above those of every other."""
    x = sorted({float(at) for curve in along for at in curve.x})
    low, high, seeds = (np.full((len(along), len(x)), empty) for empty in (np.nan, np.nan, 0.0))
    for row, curve in enumerate(along):
        at = [x.index(float(place)) for place in curve.x]
        low[row, at], high[row, at], seeds[row, at] = curve.low, curve.high, curve.seeds
    return finding_of(
        "seeds apart", [curve.name for curve in along], [f"{percent(at, 0)}" for at in x], low, high, seeds
    )


def shares_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a table that hold shares."""
    return [name for name in frame.select_dtypes("float").columns if name not in _NO_SHARES]


def telling(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a table that are not the same in all rows; the file has the others too."""
    if len(frame) < 2:
        return list(frame.columns)
    return [name for name in frame.columns if name in ("accuracy", "seeds") or frame[name].nunique() > 1]
