"""Two to eight runs beside each other: the settings that differ, and sparsity by layer."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine.runs import Run
from analysis.evaluation import conditions
from analysis.figures import pruning as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.findings.pruned import SAME
from analysis.pruned.report_file import read_report
from analysis.specs import EVERYTHING
from analysis.words import percent
from pages.parts.charts import chart, export_button, table
from pages.parts.plain import plain


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
