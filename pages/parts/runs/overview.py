"""The accuracies of the scored runs beside the dense model's and chance, before a run is ticked."""

import streamlit as st

from analysis.exhibits.scored_runs import Alike, by_sparsity
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from pages.parts.charts import chart, kept
from pages.parts.plain import plain
from pages.parts.run_rows import method_title

_accuracy = kept(figures.accuracy)


def say_scores(alike: Alike) -> None:
    """Say the accuracies of runs with the dense model's, chance and the items."""
    values = [value for _, value in alike.runs]
    levels, _, tasks = finding_of(
        "scored alike", values, alike.dense, alike.chance, alike.items, alike.tasks
    ).partition(" Tasks: ")
    st.markdown(f"##### {plain(levels)}")
    st.caption(
        f"Newest evaluation of each run, the mean over {plain(tasks)} Tick runs to compare them on the same items."
    )


def accuracy_of_runs(alike: Alike) -> None:
    """Draw accuracy against sparsity, a curve per method over its calibration seeds; nothing below two sparsities."""
    curves, frame = by_sparsity(alike, method_title)
    if len({at for curve in curves for at in curve.x}) < 2:
        return
    chart(
        Exhibit(
            "Accuracy by sparsity, all scored runs",
            "One dot per method and sparsity, the mean of its runs; the band spans them. It holds no noise of the "
            "items.",
            _accuracy(curves, "sparsity", alike.dense, alike.chance),
            frame,
            formula="Right answers, the mean over tasks, in the newest evaluation of each run.",
            finding=finding_of("accuracy over sparsity", frame["sparsity"].to_numpy(), frame["accuracy"].to_numpy()),
        ),
        "runs_accuracy",
    )
