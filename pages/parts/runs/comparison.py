"""Two to eight runs beside each other: settings that differ, accuracies and paired differences, sparsity by layer."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine.runs import Run, Scored
from analysis.evaluation import conditions
from analysis.evaluation.joining import Part, joined
from analysis.evaluation.results import Results
from analysis.figures import pruning as figures
from analysis.pruned.report_file import read_report
from analysis.readings import reading
from pages.parts.accuracy.disagreements import disagreements
from pages.parts.accuracy.opening import finished_results
from pages.parts.accuracy.results import accuracies, at_a_glance, differences
from pages.parts.charts import chart, export_button, table
from pages.parts.plain import plain
from pages.parts.runs import links
from pages.parts.trouble import EXPECTED, why


def compare_runs(chosen: list[Run]) -> None:
    """Draws the comparison; dense models stand first, as the others are held against the first."""
    runs = sorted(chosen, key=lambda run: run.kind != "dense")
    st.subheader(f"{len(runs)} runs compared")
    with st.container(horizontal=True):
        links.to_masks(runs)
    _settings(runs)
    _profiles(runs)
    results = _results(runs)
    if results is not None and results.accuracies:
        accuracies(results)
        differences(results, at_a_glance(results))
        disagreements(results)
    export_button("SinkScope: runs", {"runs": [run.name for run in runs]}, ", ".join(run.name for run in runs))


def _settings(runs: list[Run]) -> None:
    pruned = [run for run in runs if run.folder is not None]
    if len(pruned) < 2:
        return
    every = [conditions.conditions(read_report(run.folder)) for run in pruned if run.folder is not None]
    rows = conditions.differing_settings(every, [run.name for run in pruned])
    if rows:
        table(
            "Settings that differ",
            "What the prunings depended on and have not in common. A blank is not read by that method.",
            pd.DataFrame(rows),
            "runs_settings",
        )
    else:
        st.caption("These prunings have the same settings.")


def _profiles(runs: list[Run]) -> None:
    profiles = {}
    for run in runs:
        by_layer = run.sparsity.get("by_layer") or {}
        if by_layer:
            profiles[run.name] = np.array([by_layer[layer] for layer in sorted(by_layer, key=int)], np.float32)
    if not profiles:
        return
    rows = [
        {"run": name, "layer": layer, "sparsity": float(value)}
        for name, profile in profiles.items()
        for layer, value in enumerate(profile)
    ]
    chart(
        "Sparsity by layer",
        "The share of the weights of each layer that was removed.",
        "Zeros over all weights of the layer's prunable projections.",
        figures.layer_profiles(profiles),
        "runs_profiles",
        pd.DataFrame(rows),
        finding=reading("sparsity by layer", profiles),
    )


def _results(runs: list[Run]) -> Results | None:
    """What the runs answered: in an evaluation that all share, else in the newest of each, joined item by item."""
    without = [run.name for run in runs if not run.evaluations]
    if without:
        told = ", ".join(without)
        st.info(plain(f"Not evaluated yet: {told}. Put the same items to all of them on the page Accuracy."))
        st.page_link(
            "pages/accuracy.py",
            label="**Compare the accuracy**",
            icon=":material/monitoring:",
            query_params={"with": [run.id for run in runs if run.kind == "pruned"]},
        )
        return None
    try:
        parts = []
        for run, scored in zip(runs, _shared(runs), strict=True):
            results = finished_results(scored.record)
            if results is None:
                st.info(f"The answers of {plain(run.name)} are no longer in the store. Evaluate it again.")
                return None
            parts.append(Part(run.name, results, scored.number))
        together = joined(parts)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    for problem in together.problems:
        st.caption(f":material/join_inner: {plain(problem)}")
    return together


def _shared(runs: list[Run]) -> list[Scored]:
    """A place of each run in an evaluation: in the newest that holds all of them, else in its own newest."""
    for first in runs[0].evaluations:
        places = [
            next((evaluation for evaluation in run.evaluations if evaluation.record.id == first.record.id), None)
            for run in runs
        ]
        shared = [place for place in places if place is not None]
        if len(shared) == len(runs):
            return shared
    return [run.evaluations[0] for run in runs]
