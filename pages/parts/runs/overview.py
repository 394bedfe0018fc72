"""The scored runs together: what they score in a sentence, and setting by setting in a figure."""

import streamlit as st

from analysis.engine.runs import Run
from analysis.evaluation.results import Results
from analysis.exhibits.scored_runs import Alike, accuracy_of_runs, runs_by_setting
from analysis.findings import finding_of
from pages.parts.accuracy.opening import joined_results
from pages.parts.charts import chart
from pages.parts.plain import plain, unbroken

_MOST = 48  # runs whose answers are read for intervals, as reading those of many takes long


def say_scores(runs: list[Run], alike: Alike | None) -> None:
    """Say in the first line of the page how many runs there are and what they score."""
    if alike is None:
        st.markdown(f"##### {unbroken(finding_of('scored alike', len(runs), 0, {}, None, None))}")
        return
    dense = any(run.kind == "dense" for run in runs)
    told = finding_of("scored alike", len(runs), len(alike.runs) + dense, alike.by_sparsity, alike.dense, alike.chance)
    stands = f"Newest evaluation of each run, {alike.items:,} items; means over the runs of a sparsity and over tasks"
    st.markdown(f"##### {unbroken(told)}", help=plain(f"{stands}: {alike.tasks}."))


def overview(alike: Alike) -> None:
    """Draw the accuracy of each setting, with dense and chance."""
    shown = accuracy_of_runs(alike, _answers(alike))
    if shown is not None:
        chart(shown, "runs_accuracy")


def _answers(alike: Alike) -> Results | None:
    runs = [run for _, group in runs_by_setting(alike) for run, _ in group]
    if not runs or len(runs) > _MOST:
        return None
    results = joined_results(runs, dense=True)
    return results if results is not None and results.accuracies else None
