"""What the scored runs show before any is ticked: their accuracies beside the dense model and chance."""

from typing import NamedTuple

import pandas as pd
import streamlit as st

from analysis.engine.runs import Run, score
from analysis.figures import sweep as figures
from analysis.readings import reading
from pages.parts.charts import chart, kept
from pages.parts.plain import plain
from pages.parts.run_rows import method_title

_accuracy = kept(figures.accuracy)


class Alike(NamedTuple):
    """Pruned models of one dense model that answered as many items of the same tasks, with their accuracies."""

    dense: float | None
    chance: float | None
    items: int
    tasks: str
    runs: list[tuple[Run, float]]


def scored_alike(runs: list[Run]) -> Alike | None:
    """Return the largest group of pruned models that were scored alike; None where none is scored."""
    groups: dict[tuple[str, float | None, float | None, int, str], list[tuple[Run, float]]] = {}
    for run in runs:
        found = score(run) if run.kind == "pruned" else None
        if found is not None:
            key = (run.model, found.dense, found.chance, found.items, found.tasks)
            groups.setdefault(key, []).append((run, found.value))
    if not groups:
        return None
    (_, dense, chance, items, tasks), scored = max(groups.items(), key=lambda one: len(one[1]))
    return Alike(dense, chance, items, tasks, scored)


def say_scores(alike: Alike) -> None:
    """Say the accuracies of runs, what they stand beside and on which items."""
    values = [value for _, value in alike.runs]
    levels, _, tasks = reading("scored alike", values, alike.dense, alike.chance, alike.items, alike.tasks).partition(
        " Tasks: "
    )
    st.markdown(f"##### {plain(levels)}")
    st.caption(f"Newest evaluation of each run, on {plain(tasks)} Tick runs to compare them on the same items.")


def accuracy_of_runs(alike: Alike) -> None:
    """Draw accuracy against sparsity, a curve per method over its calibration seeds; nothing below two sparsities."""
    rows = [
        {"run": run.name, "method": method_title(run), "sparsity": float(run.sparsity["overall"]), "accuracy": value}
        for run, value in alike.runs
        if isinstance(run.sparsity.get("overall"), int | float)
    ]
    frame = pd.DataFrame(rows)
    if not rows or frame["sparsity"].round(2).nunique() < 2:
        return
    methods = {method_title(run): str(run.parameters.get("method", "")) for run, _ in alike.runs}
    curves = []
    for name, own in frame.groupby("method", sort=False):
        at = own.groupby(own["sparsity"].round(2))["accuracy"]
        spread = at.agg(["mean", "min", "max", "count"])
        mean, low, high, seeds = (spread[column].to_numpy(float) for column in spread)
        x = spread.index.to_numpy(float)
        curves.append(figures.Curve(str(name), x, mean, low, high, seeds, method=methods[str(name)]))
    chart(
        "Accuracy by sparsity, all scored runs",
        "One dot per method and sparsity, the mean of its runs; the band spans them. It holds no noise of the items.",
        "Right answers, the mean over tasks, in the newest evaluation of each run.",
        _accuracy(curves, "sparsity", alike.dense, alike.chance),
        "runs_accuracy",
        frame,
        finding=reading("accuracy over sparsity", frame["sparsity"].to_numpy(), frame["accuracy"].to_numpy()),
    )
