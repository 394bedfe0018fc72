"""Lifetime of each position as a sink, and variance of its share of attention."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import dynamics as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.sinks.definitions import attention_share
from analysis.sinks.metrics import lifetimes, position_variance
from analysis.specs import SinkParams
from analysis.words import UNTRAINED_LABEL
from pages.parts.charts import chart
from pages.parts.dynamics.curves import scope_boxes
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.recording import Recording


def positions(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the view. side: the column of its controls."""
    with side:
        scope = scope_boxes(recording)
        drawn = references.reference_toggle(recording)
    trajectory = recording.trajectory
    flags = measures.counted_sinks(recording, params, scope, split)
    labels, over_steps = trajectory.labels(), trajectory.names.over_steps()

    def alive(member: Recording) -> np.ndarray:
        return lifetimes(measures.counted_sinks(member, params, scope, split))

    def spread(member: Recording) -> np.ndarray:
        share = attention_share(measures.mean_mass(member, scope))
        return position_variance(share, measures.counted(member, split))

    left, right = st.columns(2, gap="large")
    for column, name, title, sentence, formula, unit, measure in (
        (
            left,
            "lifetime",
            "Lifetime of each sink",
            "In how many steps each position is a sink.",
            definition_formula(params),
            "steps as a sink",
            alive,
        ),
        (
            right,
            "position_variance",
            "How much each position's share varies",
            "The variance over the steps of the share of attention each position gets.",
            "$\\operatorname{Var}_t(a_{t,s})$ with the share $a = m/S$.",
            "variance of the share",
            spread,
        ),
    ):
        values = measure(recording)
        random = measure(drawn) if drawn is not None else None
        table = pd.DataFrame({"position": np.arange(trajectory.positions), "finished token": labels, unit: values})
        if random is not None:
            table[f"{unit}, {UNTRAINED_LABEL}"] = random
        with column:
            chart(
                Exhibit(
                    title,
                    sentence,
                    figures.position_bars(
                        values, labels, over_steps, unit, measure is alive, random, trajectory.names.later()
                    ),
                    table,
                    formula=formula,
                    finding=" ".join(
                        filter(
                            None, (finding_of("lifetimes", flags, over_steps), finding_of("long-lived sinks", flags))
                        )
                    )
                    if measure is alive
                    else finding_of("varying positions", values, over_steps, random),
                ),
                name,
            )
