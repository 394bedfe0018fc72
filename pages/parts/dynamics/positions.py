"""Where the sinks of one recording are, and how long each stays."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import dynamics as figures
from analysis.readings import reading
from analysis.sinks.definitions import KINDS, attention_share
from analysis.sinks.metrics import lifetimes, position_variance
from analysis.sinks.token_states import undecided_named
from analysis.specs import SinkParams
from pages.parts.charts import chart
from pages.parts.dynamics.curves import RANDOM, scope_boxes
from pages.parts.plot import Point
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula
from pages.parts.recordings.measures import SplitName
from pages.parts.recordings.one_token import to_sinks
from pages.parts.recordings.recording import Recording

_CLICKED = "raster_clicked"


def positions(recording: Recording, params: SinkParams, split: SplitName, side: DeltaGenerator) -> None:
    """Draws the view. side: the column of its controls."""
    with side:
        scope = scope_boxes(recording)
        drawn = references.reference_toggle(recording)
    trajectory = recording.trajectory
    flags = measures.counted_sinks(recording, params, scope, split)
    labels, over_steps = trajectory.labels(), trajectory.names.over_steps()
    step, position = np.nonzero(flags)
    kinds = measures.kinds(recording)
    names = recording.info.tokens
    called = [undecided_named(kind, recording.info.model.noise) for kind in KINDS]

    def clicked(point: Point) -> None:
        st.session_state[_CLICKED] = recording.key, *point.cell

    chart(
        "Where the sinks are",
        "Each row is a step, each square a sink, coloured by what the token was in that step. "
        "Dots: where a step writes.",
        definition_formula(params),
        measures.with_writing(
            recording,
            figures.raster(flags, kinds, called, labels, [trajectory.names.at(at) for at in range(trajectory.steps)]),
        ),
        "raster",
        pd.DataFrame(
            {
                "step": step,
                "position": position,
                "token": [names[token] for token in trajectory.tokens[step, position].tolist()],
                "kind": [called[kind] for kind in kinds[step, position]],
            }
        ),
        finding=reading("lifetimes", flags, over_steps),
        hint="Click a square for a way to its step and token.",
        on_click=clicked,
    )
    of, at, where = st.session_state.get(_CLICKED, ("", 0, 0))
    if of == recording.key:
        chosen = {"layer": scope[0], "head": scope[1]}
        named = {name: str(value) for name, value in chosen.items() if value is not None}
        to_sinks(recording, f"Open step {at}, position {where} on Sinks", step=str(at), position=str(where), **named)

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
            table[f"{unit}, {RANDOM}"] = random
        with column:
            chart(
                title,
                sentence,
                formula,
                figures.position_bars(values, labels, over_steps, unit, measure is alive, random),
                name,
                table,
                finding=reading("long-lived sinks", flags)
                if measure is alive
                else reading("varying positions", values, over_steps, random),
            )
