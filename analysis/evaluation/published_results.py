"""Accuracies that others published, as reference: the small tables in `published/`, each row with its source."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("published")


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
