"""The scored runs together: what they score, in a sentence and a figure; and the settings in which some differ."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine.runs import Run
from analysis.evaluation import conditions
from analysis.evaluation.results import Results
from analysis.evaluation.sweep_scores import Comparison
from analysis.exhibits.scored_runs import (
    Alike,
    Levels,
    accuracy_of_runs,
    discount_comparisons,
    levels_of,
    paired_differences,
    runs_by_setting,
)
from analysis.figures import pruning as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.findings.pruned import SAME
from analysis.pruned.report_file import read_report
from analysis.specs import EVERYTHING
from analysis.words import counted, percent
from pages.parts.accuracy.opening import joined_results
from pages.parts.charts import chart, export_button, table
from pages.parts.plain import plain
from pages.parts.study.choice import can_tell, say_study

_NOT_COMPARED: Mapping[str, Comparison] = {}
_MOST = 48  # runs whose answers are read for intervals, as reading those of many takes long


def compared_runs(alike: Alike, results: Results | None) -> dict[str, Comparison]:
    """Return with against without the discount by sparsity. results: of `answers`."""
    return discount_comparisons(alike, levels_of(alike), results)


def say_scores(alike: Alike | None, compared: Mapping[str, Comparison] = _NOT_COMPARED) -> None:
    """Say in the first line of the page whether the runs that were scored alike differ. compared: of
    `compared_runs`."""
    levels = Levels({}, {}, "", 0) if alike is None else levels_of(alike)
    found = {at: one.difference for at, one in compared.items()}
    by_sparsity = {one.setting.pruning.sparsity: one.difference for one in compared.values()}
    told = finding_of("scored alike", None if alike is None else alike.dense, *levels, by_sparsity)
    stands = ""
    if alike is not None:
        stands = (
            f"{paired_differences(compared)} Newest evaluation of each of {counted(len(alike.runs), 'run')}, "
            f"{alike.items:,} items: {alike.tasks}."
        )
    st.markdown(f"##### {plain(told)}", help=plain(stands.strip()) or None)
    if alike is None:
        return
    if found and not can_tell(found):
        prunings = {at: one.setting.pruning for at, one in compared.items()}
        say_study(prunings, max(len(one.seeds) for one in compared.values()), f"{alike.items:,} items here.")
    elif not found:  # else the figure says over how many
        st.caption(f"{alike.items:,} items.")


def overview(alike: Alike, results: Results | None, compared: Mapping[str, Comparison], every: bool) -> None:
    """Draw the accuracy of each setting beside the dense model's. results: of `answers`. compared: of `compared_runs`.
    every: draw all methods, not only the one that the answer speaks of with its control."""
    if every:
        shown = accuracy_of_runs(alike, results)
    else:
        shown = accuracy_of_runs(alike, results, levels_of(alike).who, compared)
    if shown is not None:
        chart(shown, "runs_accuracy")


def answers(alike: Alike) -> Results | None:
    """Return the answers behind the accuracies, if they can be read in short time."""
    runs = [run for _, group in runs_by_setting(alike) for run, _ in group]
    if not runs or len(runs) > _MOST:
        return None
    results = joined_results(runs, dense=True)
    return results if results is not None and results.accuracies else None


def compare_settings(runs: list[Run]) -> None:
    """Draw the settings that tell the runs apart, without results."""
    _settings(runs)
    _profiles(runs)
    export_button("SinkScope: runs", {"runs": [run.name for run in runs]}, ", ".join(run.name for run in runs))


def _settings(runs: list[Run]) -> None:
    known = [run for run in runs if run.folder is not None or run.kept]
    if len(known) < 2:
        st.caption("Tick two pruned models to see which settings differ.")
        return
    every = [
        {conditions.KEPT: run.kept or EVERYTHING}
        | ({} if run.folder is None else conditions.conditions(read_report(run.folder)))
        for run in known
    ]
    rows = conditions.differing_settings(every, [run.name for run in known])
    if rows:
        table(
            "Settings that differ",
            "A blank is a setting that the method does not read.",
            pd.DataFrame(rows),
            "runs_settings",
        )
    else:
        st.caption("These runs have the same settings.")


def _profiles(runs: list[Run]) -> None:
    profiles = {}
    for run in runs:
        by_layer = run.sparsity.get("by_layer") or {}
        if by_layer:
            profiles[run.name] = np.array([by_layer[layer] for layer in sorted(by_layer, key=int)], np.float32)
    if not profiles:
        return
    if all(np.ptp(profile) <= SAME for profile in profiles.values()):
        shares = "; ".join(f"{name}, {percent(profile.mean(), 1)}" for name, profile in profiles.items())
        st.caption(f"Every layer of a run loses the same share of its weights: {plain(shares)}.")
        return
    rows = [
        {"run": name, "layer": layer, "sparsity": float(value)}
        for name, profile in profiles.items()
        for layer, value in enumerate(profile)
    ]
    chart(
        Exhibit(
            "Sparsity by layer",
            "The share of the weights of each layer that was removed.",
            figures.layer_profiles(profiles),
            pd.DataFrame(rows),
            formula="Zeros over all weights of the layer's prunable projections.",
            finding=finding_of("sparsity by layer", profiles),
        ),
        "runs_profiles",
    )
