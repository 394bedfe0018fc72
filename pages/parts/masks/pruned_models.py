"""Pruned models to look at: opening one by name or path, its description of itself, and measures of masks, kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine.runs import Run, known_runs
from analysis.exhibits import mask_grids
from analysis.exhibits.mask_grids import Window, grid_of
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import MEASURES, Comparison, Measure
from analysis.pruned.masks_file import MaskFolder
from analysis.pruned.naming import run_names
from analysis.pruned.report_file import REPORT_FILE, PrunedRun, read_report
from analysis.tuning.seed_floor import seed_floor
from analysis.tuning.statistics_file import StatisticsInfo, StoredStatistics, open_statistics
from analysis.words import percent
from pages.parts.controls import pick
from pages.parts.session import engine
from pages.parts.user_errors import told


@dataclass(frozen=True)
class Pruned:
    """A pruned model to look at. id: of its run, as addresses name it; a path where it was typed. label: as every page
    calls it, else its folder's name.
    """

    id: str
    label: str
    masks: MaskFolder
    run: PrunedRun

    @property
    def key(self) -> str:
        return self.masks.stamp


BY_STAMP: dict[str | type[Any], Callable[[Any], Any]] = {Pruned: lambda pruned: pruned.key}
"""Cache key of pruned models; see `Recording`."""


def known_pruned() -> dict[str, Run]:
    """Return the pruned models of the store by their ids, newest first."""
    return {run.id: run for run in known_runs(engine()) if run.has_masks}


def titled(known: Mapping[str, Run]) -> Callable[[str], str]:
    """Return a function that titles a run by id, as on every page; paths stay as they are."""
    return lambda run_id: known[run_id].name if run_id in known else run_id


def read_address(known: Mapping[str, Run]) -> Callable[[str], str]:
    """Return what reads an address from before ids stood in it, where folders went by their names or paths."""

    def read(text: str) -> str:
        folder = engine().pruned_models().get(text) or (Path(text) if Path(text).is_absolute() else None)
        if folder is None:
            return text
        return next((run_id for run_id, run in known.items() if _resolved(run.folder) == _resolved(folder)), text)

    return read


def _resolved(folder: Path | None) -> Path | None:
    try:
        return None if folder is None else folder.resolve()
    except (OSError, ValueError):  # typed
        return None


@told()
def open_pruned(run_id: str, known: Mapping[str, Run]) -> Pruned | None:
    """Return the pruned model of an id or path, or None after saying on the page why it cannot be read."""
    run = known.get(run_id)
    if engine().authorizer.demo and run is None:  # a visitor is not to look around on this disk
        st.error("This demonstration opens only the runs in its store.")
        return None
    if run is None:
        engine().authorizer.check_folder(run_id)
    folder = masks_file.open_masks(run_id if run is None else str(run.folder))
    label = Path(run_id).name if run is None else run.name
    return Pruned(run_id, label, folder, run_of(folder.folder))


def short_labels(runs: Sequence[Pruned]) -> list[str]:
    """Return a label for each of a few runs that tells it from these alone, not from the whole store. A name given by
    hand stays.
    """
    short = run_names([run.run.parameters for run in runs], [run.key for run in runs])
    return [
        name if run.run.settings and run.label.startswith(run.run.title) else run.label
        for run, name in zip(runs, short, strict=True)
    ]


def run_of(folder: Path) -> PrunedRun:
    """Return the run that a folder holds."""
    path = folder / REPORT_FILE
    return _run(str(folder), path.stat().st_mtime_ns if path.is_file() else 0)


@st.cache_data(max_entries=256, show_spinner=False)
def _run(folder: str, changed: int) -> PrunedRun:
    return read_report(Path(folder))


@st.cache_data(max_entries=64, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def compared_masks(first: Pruned, second: Pruned) -> Comparison:
    """Compare two masks."""
    return masks_file.compared(first.masks, second.masks)


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Computing what another seed changes…")
def floor_of_statistics(run: Pruned, key: str, _statistics: StoredStatistics) -> Comparison | None:
    """Compare two calibration seeds of a run's pruning without its discount, from suitable statistics. key: of
    these.
    """
    geometry = run.masks.geometry
    return seed_floor(_statistics, run.run, geometry.heads, geometry.kv_heads)


@st.cache_data(max_entries=64, show_spinner=False)
def statistics_info(key: str, _file: Path) -> StatisticsInfo:
    """Return the description of stored statistics. Raises UserError for a damaged file."""
    return open_statistics(_file).info


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def overlap(runs: list[Pruned]) -> np.ndarray:
    """Return the four counts of every pair of runs, (K, K, 4)."""
    return compare.pairs_of(*compare.overlap(masks_file.groups([run.masks for run in runs]), len(runs)))


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading the masks…")
def mask_pictures(
    first: Pruned, second: Pruned, layer: int, name: str, head: int | None, window: Window
) -> tuple[np.ndarray, int, int]:
    """Return the blocks of two masks and of where they differ, (3, rows, columns), with a block's height and width."""
    return mask_grids.mask_blocks(first.masks, second.masks, layer, name, head, window)


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
