"""Accuracies that others published, as reference: the small tables in `published/`, each row with its source."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.specs import METHODS
from analysis.words import listed, percent

_FOLDER = Path(__file__).with_name("published")
_UNNAMED = {"sink-aware": "baseline"}  # of tables that do not name their methods
_CHOICES = {
    "mmlu": 4,
    "arc_challenge": 4,
    "arc_easy": 4,
    "hellaswag": 4,
    "gpqa": 4,
    "race": 4,
    "piqa": 2,
    "winogrande": 2,
}
_NUMBERS = ("sparsity", "accuracy", "standard_error")
_SAME_DENSE = 0.01  # dense accuracies of two sources that differ by more are of other settings


@dataclass(frozen=True)
class PublishedAccuracy:
    """One cell of a table. task: `average` is the mean over eight tasks. accuracy, standard_error: shares, the latter
    None where the source has none."""

    source: str
    model: str
    pattern: str
    sparsity: float
    method: str
    task: str
    accuracy: float
    standard_error: float | None
    note: str


@cache
def published() -> tuple[PublishedAccuracy, ...]:
    """Every row of every table."""
    rows = []
    for path in sorted(_FOLDER.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                cells: dict[str, Any] = {**row, **{name: float(row[name]) if row[name] else None for name in _NUMBERS}}
                rows.append(PublishedAccuracy(**cells))
    return tuple(rows)


def chance_of(task: str) -> float | None:
    """The accuracy of a choice at random, by the number of choices an item has; None for written answers and means."""
    return 1 / _CHOICES[task] if task in _CHOICES else None


def remarks(table: Sequence[PublishedAccuracy]) -> list[str]:
    """Return the caveats of a table, rows of one model, pattern and task: where methods are at chance or below,
    and where another source has another dense accuracy.
    """
    if not table:
        return []
    chance, said = chance_of(table[0].task), []
    if chance is not None:
        cells = {
            (row.method, row.sparsity): row.accuracy - 2 * (row.standard_error or 0.0) <= chance
            for row in table
            if row.sparsity
        }
        for first, second in _pairs({method for method, _ in cells}):
            low = [
                percent(sparsity, 0)
                for method, sparsity in sorted(cells)
                if method == first and cells[first, sparsity] and cells.get((second, sparsity))
            ]
            if low:
                both = listed(_titles((first, second)))
                said.append(
                    f"At {listed(low)} {both} are not above chance ({percent(chance, 0)}): their difference is no gain."
                )
    sources = {row.source for row in table}
    for dense in (row for row in table if not row.sparsity):
        for other in published():
            same = (other.task, other.sparsity) == (dense.task, 0.0) and other.source not in sources
            if same and abs(other.accuracy - dense.accuracy) > _SAME_DENSE:
                said.append(
                    f"The dense model scores {percent(dense.accuracy, 2)} here and {percent(other.accuracy, 2)} in "
                    "another source "
                    f"({other.source}): model, items or settings differ, so compare within one table only."
                )
    return said


@dataclass(frozen=True)
class PublishedPairs:
    """Methods minus what each was published against, M of them at X sparsities. names (M,). differences (M, X): shares,
    NaN where a table lacks one of the two. errors (M, X): both standard errors added in squares; None where the table
    has none.
    """

    names: tuple[str, ...]
    sparsities: tuple[float, ...]
    differences: np.ndarray
    errors: np.ndarray | None


def _pairs(methods: set[str]) -> list[tuple[str, str]]:
    """The methods among these with what each was published against."""
    against = _UNNAMED | {name: row.published for name, row in METHODS.items() if row.published}
    return [(name, other) for name, other in against.items() if {name, other} <= methods]


def _titles(methods: Sequence[str]) -> list[str]:
    return [METHODS[name].title if name in METHODS else name for name in methods]


def published_pairs(table: Sequence[PublishedAccuracy]) -> PublishedPairs:
    """The pairs of one table: rows of one model, pattern and task."""
    last = {(row.method, row.sparsity): row for row in table if row.sparsity}  # of several sources
    if not last:
        return PublishedPairs((), (), np.empty((0, 0)), None)
    cells = pd.DataFrame(list(last.values())).pivot(index="method", columns="sparsity")
    pairs = _pairs(set(cells.index))
    first, second = (cells.loc[[pair[side] for pair in pairs]] for side in (0, 1))
    differences = first["accuracy"].to_numpy() - second["accuracy"].to_numpy()
    errors = np.hypot(*(side["standard_error"].to_numpy(float) for side in (first, second)))
    known = errors if np.isfinite(errors[np.isfinite(differences)]).all() and np.isfinite(errors).any() else None
    names = tuple(" − ".join(_titles(pair)) for pair in pairs)
    return PublishedPairs(names, tuple(cells["accuracy"].columns), differences, known)
