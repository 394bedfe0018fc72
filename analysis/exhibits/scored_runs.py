"""The accuracies of scored runs together: those of pruned models that answered the same tasks, by sparsity."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.engine.runs import Run, score
from analysis.figures.sweep import Curve


class Alike(NamedTuple):
    """Pruned models of one dense model that answered as many items of the same tasks, with their accuracies."""

    dense: float | None
    chance: float | None
    items: int
    tasks: str
    runs: list[tuple[Run, float]]


def scored_alike(runs: Sequence[Run]) -> Alike | None:
    """Return the largest group of pruned models that were scored alike; None where none is scored."""
    groups: dict[tuple[str, float | None, float | None, int, str], list[tuple[Run, float]]] = defaultdict(list)
    for run in runs:
        found = score(run) if run.kind == "pruned" else None
        if found is not None:
            groups[run.model, found.dense, found.chance, found.items, found.tasks].append((run, found.value))
    if not groups:
        return None
    (_, dense, chance, items, tasks), scored = max(groups.items(), key=lambda one: len(one[1]))
    return Alike(dense, chance, items, tasks, scored)


def by_sparsity(alike: Alike, title_of: Callable[[Run], str]) -> tuple[list[Curve], pd.DataFrame]:
    """Return a curve per method, the mean and the span of its runs at each sparsity, and a row per run. title_of: what
    a run's method is called.
    """
    rows = [
        {"run": run.name, "method": title_of(run), "sparsity": float(run.sparsity["overall"]), "accuracy": value}
        for run, value in alike.runs
        if isinstance(run.sparsity.get("overall"), int | float)
    ]
    frame = pd.DataFrame(rows, columns=["run", "method", "sparsity", "accuracy"])
    names = {title_of(run): str(run.parameters.get("method", "")) for run, _ in alike.runs}
    curves = []
    for title, own in frame.groupby("method", sort=False):
        at = own.groupby(own["sparsity"].round(2))["accuracy"].agg(["mean", "min", "max", "count"])
        mean, low, high, seeds = (at[column].to_numpy(float) for column in at)
        curves.append(
            Curve(str(title), at.index.to_numpy(np.float64), mean, low, high, seeds, method=names[str(title)])
        )
    return curves, frame
