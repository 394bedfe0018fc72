"""Common parts of the views of masks: the choice of a measure, its formula, numbers and floors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.exhibits.mask_grids import grid_of
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare
from analysis.pruned.compare import MEASURES, Measure
from analysis.words import percent
from pages.parts.controls import pick

OURS = "The paper speaks of mask differences without a formula: this measure is ours."


def table_of(counts: np.ndarray, floor: np.ndarray | None, *axes: str) -> pd.DataFrame:
    """Return every measure of counts (…, 4) and their floors; axes name the leading axes."""
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
    """Draw the box of measures."""
    name = pick("Measure", MEASURES, "mask_measure", format_func=lambda name: MEASURES[name].title)
    return MEASURES[name]


def formula(measure: Measure) -> str:
    """Return a measure's formula as help text."""
    return (
        f"$${measure.formula}$$\n\n$A$ and $B$ are the pruned weights of the first and the second run, $n$ the weights "
        f"of the slice, $p$ and $q$ the two sparsities in it. {OURS}"
    )


def grid_exhibit(
    measure: Measure,
    counts: np.ndarray,
    floor: np.ndarray | None,
    column: str,
    part: str = "",
    names: Sequence[str] = (),
    **options: Any,
) -> Exhibit:
    """Return a measure of counts (L, C, 4) by layer and column, less that of two calibration seeds if there are any.

    column: what a column is. part: of it. names: of the columns, where they are not numbered. options: of `grid_of`.
    """
    beside = f" by layer and {column}" if floor is None else ", minus that of two calibration seeds"
    table, columns = table_of(counts, floor, "layer", column), names or column
    if names:
        table[column] = [names[index] for index in table[column]]
    return Exhibit(
        ", ".join(filter(None, (f"{measure.title}{beside}", part))),
        f"{measure.sentence} (our measure). {_chance_in_words(measure, counts, floor)}",
        grid_of(measure, counts, floor, columns, **options),
        table,
        formula=formula(measure),
        finding=_cells_in_words(measure, counts, floor, "matrix" if names else column, columns),
    )


def _cells_in_words(
    measure: Measure, counts: np.ndarray, floor: np.ndarray | None, what: str, columns: str | Sequence[str]
) -> str:
    """Say which cells of a grid exceed two seeds; where none does, all of them together beside seeds or chance. what:
    name of a cell.
    """
    said = ""
    if floor is not None:
        said = finding_of("cells against seeds", measure.compute(counts), measure.compute(floor), what, columns)
    sums = tuple(range(counts.ndim - 1))
    whole = counts.sum(axis=sums)
    called = "all matrices" if what == "matrix" else f"all {what}s"
    seeds = None if floor is None else float(measure.compute(floor.sum(axis=sums)))
    value, chance = (float(share(whole)) for share in (measure.compute, measure.independent))
    if said:
        return said
    below = f"In every {what} the two masks differ no more than those of two calibration seeds (blue)."
    if floor is not None and what == "matrix":  # all of them together are the first line of the page
        return below
    none = "" if floor is None else f"{below} "
    return none + finding_of("whole against seeds", measure.title, value, seeds, chance, called)


def _chance_in_words(measure: Measure, counts: np.ndarray, floor: np.ndarray | None) -> str:
    """Say what chance alone would show of a measure, and what colours mean."""
    chance = measure.independent(counts)
    low, high = (f"{percent(end, 1)}" for end in (np.nanmin(chance), np.nanmax(chance)))
    reach = low if low == high else f"{low} to {high}"
    if floor is None:
        return f"Independent masks would show {reach}, where the colours end; two calibration seeds: none to show."
    return f"Shown is what lies above two calibration seeds (red) or below them (blue). Independent masks: {reach}."
