"""What every view of masks shows of a measure: its choice, its formula, its numbers and its floors."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import masks as figures
from analysis.pruned import compare
from analysis.pruned.compare import MEASURES, Comparison, Measure

OURS = "The paper speaks of mask differences without a formula: this measure is ours."


def table_of(counts: np.ndarray, floor: np.ndarray | None, *axes: str) -> pd.DataFrame:
    """Every measure of counts (…, 4) and their floors; axes name the leading axes."""
    flat = counts.reshape(-1, 4)
    columns = dict(zip(axes, (index.ravel() for index in np.indices(counts.shape[:-1])), strict=True))
    p, q = compare.sparsities(flat)
    columns |= {"weights": flat[:, 0], "sparsity, first": p, "sparsity, second": q}
    for measure in MEASURES.values():
        name = measure.title.lower()
        columns |= {name: measure.compute(flat), f"{name}, independent masks": measure.independent(flat)}
        if floor is not None:
            columns[f"{name}, two seeds"] = measure.compute(floor.reshape(-1, 4))
    return pd.DataFrame(columns)


def choose_measure() -> Measure:
    """The box of measures."""
    name = st.selectbox(
        "Measure",
        list(MEASURES),
        key="mask_measure",
        bind="query-params",
        format_func=lambda name: MEASURES[name].title,
    )
    return MEASURES[name]


def formula(measure: Measure) -> str:
    """What a measure is computed by, as help text."""
    return (
        f"$${measure.formula}$$\n\n$A$ and $B$ are the pruned weights of the first and the second run, $n$ the weights "
        f"of the slice, $p$ and $q$ the two sparsities in it. {OURS}"
    )


def grids_of(
    measure: Measure, counts: np.ndarray, floor: np.ndarray | None, title: str = "first against second"
) -> list[figures.Grid]:
    """The grid of a measure, its floors in the hover, and the grid of two seeds beside it."""
    chance = measure.independent(counts)
    seeds = None if floor is None else measure.compute(floor)
    shown = [figures.Grid(title, measure.compute(counts), figures.floor_lines(chance, seeds))]
    return shown if seeds is None else [*shown, figures.Grid("two calibration seeds", seeds)]


def chance_in_words(measure: Measure, counts: np.ndarray, floor: Comparison | None) -> str:
    """What chance alone would show of a measure."""
    chance = measure.independent(counts)
    low, high = (f"{end:.1%}" for end in (np.nanmin(chance), np.nanmax(chance)))
    reach = low if low == high else f"{low} to {high}"
    seeds = "right: two calibration seeds" if floor is not None else "two calibration seeds: none to show"
    return f"Independent masks would show {reach}; {seeds}."
