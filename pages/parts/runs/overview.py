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
    accuracy_of_runs,
    costs_of_runs,
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
from analysis.statistics.decisions import family_words
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


def say_scores(
    alike: Alike | None,
    results: Results | None = None,
    compared: Mapping[str, Comparison] = _NOT_COMPARED,
    every: bool = False,
) -> None:
    """Say in the first line of the page what the runs that were scored alike cost, and whether a method is better.
    results, compared, every: as of `overview`."""
    if alike is None:
        st.markdown(f"##### {plain(finding_of('scored alike', None, {}, {}, {}))}")
        return
    costs = costs_of_runs(alike, results, _drawn(alike, every))
    said = finding_of("scored alike", alike.dense, *costs)
    brackets = "Brackets: 95 % intervals; of several methods, the reach of theirs." if costs.losses else ""
    family = f"Methods are compared {family_words(len(costs.gaps))}." if costs.gaps else ""
    stands = f"Newest evaluation of each of {counted(len(alike.runs), 'run')}, {alike.items:,} items: {alike.tasks}."
    explained = " ".join(filter(None, (brackets, family, paired_differences(compared), stands)))
    st.markdown(f"##### {plain(said)}", help=plain(explained))
    found = {at: one.difference for at, one in compared.items()}
    if found and not can_tell(found):
        prunings = {at: one.setting.pruning for at, one in compared.items()}
        say_study(prunings, max(len(one.seeds) for one in compared.values()), f"{alike.items:,} items here.")
    elif not costs.losses:  # else the figure says over how many
        st.caption(f"{alike.items:,} items.")


def overview(alike: Alike, results: Results | None, compared: Mapping[str, Comparison], every: bool) -> None:
    """Draw the accuracy of each setting beside the dense model's. results: of `answers`. compared: of `compared_runs`.
    every: draw all methods, not only one with what it is compared with."""
    shown = accuracy_of_runs(alike, results, _drawn(alike, every), compared)
    if shown is not None:
        chart(shown, "runs_accuracy")


def _drawn(alike: Alike, every: bool) -> str:
    """Return which method is drawn with what it is compared with; '' for all."""
    return "" if every else levels_of(alike).who


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
