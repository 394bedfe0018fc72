"""Accuracies that others published, as reference: the small tables in `published/`, each row with its source."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from analysis.specs import METHODS

_FOLDER = Path(__file__).with_name("published")
_UNNAMED = {"sink-aware": "baseline"}  # of tables that do not name their methods


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
                rows.append(
                    PublishedAccuracy(
                        row["source"],
                        row["model"],
                        row["pattern"],
                        float(row["sparsity"]),
                        row["method"],
                        row["task"],
                        float(row["accuracy"]),
                        float(row["standard_error"]) if row["standard_error"] else None,
                        row["note"],
                    )
                )
    return tuple(rows)


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


def published_pairs(table: Sequence[PublishedAccuracy]) -> PublishedPairs:
    """The pairs of one table: rows of one model, pattern and task."""
    cells = {(row.method, row.sparsity): row for row in table if row.sparsity}
    sparsities = tuple(sorted({sparsity for _, sparsity in cells}))
    against = _UNNAMED | {name: row.published for name, row in METHODS.items() if row.published}
    pairs = [(name, other) for name, other in against.items() if {name, other} <= {method for method, _ in cells}]
    differences = np.full((len(pairs), len(sparsities)), np.nan)
    errors = np.full_like(differences, np.nan)
    for row, pair in enumerate(pairs):
        for place, sparsity in enumerate(sparsities):
            first, second = (cells.get((method, sparsity)) for method in pair)
            if first is None or second is None:
                continue
            differences[row, place] = first.accuracy - second.accuracy
            if first.standard_error is not None and second.standard_error is not None:
                errors[row, place] = np.hypot(first.standard_error, second.standard_error)
    titles = [[METHODS[name].title if name in METHODS else name for name in pair] for pair in pairs]
    known = errors if np.isfinite(errors[np.isfinite(differences)]).all() and np.isfinite(errors).any() else None
    return PublishedPairs(tuple(map(" − ".join, titles)), sparsities, differences, known)
