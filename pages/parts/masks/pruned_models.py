"""Pruned models to look at: opening one by name or path, its description of itself, and differences between masks by
layer, projection, matrix or head.

Measures of masks are kept, also those of pairs with and without the discount and of two calibration seeds.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.run_pairs import RunPair
from analysis.engine.runs import Run, known_runs
from analysis.exhibits import mask_grids
from analysis.exhibits.mask_grids import Window, grid_of, part_shape
from analysis.exhibits.with_discount import Changed, weights_changed
from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.models.weight_files import of_expert
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import MEASURES, Comparison, Measure
from analysis.pruned.masks_file import MaskFolder
from analysis.pruned.report_file import REPORT_FILE, PrunedRun, read_report, run_names, seed_pair
from analysis.tuning.statistics_file import StatisticsInfo, StoredStatistics, open_statistics, seed_floor
from analysis.words import percent
from pages.parts.charts import Point, chart, chart_in_fold, kept
from pages.parts.controls import keyed_columns, pick
from pages.parts.plain import plain
from pages.parts.recordings.choice import within
from pages.parts.session import EXPECTED, engine, told


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
    source = run_id if run is None else str(run.folder)
    folder = _opened(source, _files(source)) if Path(source).is_dir() else masks_file.open_masks(source)
    label = Path(run_id).name if run is None else run.name
    return Pruned(run_id, label, folder, run_of(folder.folder))


@lru_cache(maxsize=64)
def _opened(folder: str, files: frozenset[tuple[str, int, int]]) -> MaskFolder:
    """files: of the folder, which is opened again when they are others."""
    return masks_file.open_masks(folder)


def _files(folder: str) -> frozenset[tuple[str, int, int]]:
    """Return the name, time of change and size of each file in a folder."""
    with os.scandir(folder) as entries:
        files = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    return frozenset((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)


def short_labels(runs: Sequence[Pruned]) -> list[str]:
    """Return a label for each of a few runs that tells it from these alone, not from the whole store. A name given by
    hand stays.
    """
    short = run_names([run.run.parameters for run in runs], [run.key for run in runs])
    return [
        name if run.run.settings and run.label.startswith(run.run.title) else run.label
        for run, name in zip(runs, short, strict=True)
    ]


def titles_apart(runs: Sequence[Pruned]) -> list[str]:
    """Return how each of a few runs was pruned, with all that tells it from the others."""
    return short_labels([replace(run, label=run.run.title) for run in runs])


def run_of(folder: Path) -> PrunedRun:
    """Return the run that a folder holds."""
    return _run(str(folder), _reported(folder))


def _reported(folder: Path) -> int:
    """Return when a folder's report changed; 0 without one."""
    path = folder / REPORT_FILE
    return path.stat().st_mtime_ns if path.is_file() else 0


@lru_cache(maxsize=1024)
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


def reports_of(known: Mapping[str, Run]) -> list[PrunedRun]:
    """Return what the folders of pruned models say of themselves."""
    return [run_of(run.folder) for run in known.values() if run.folder is not None]


def ids_of_seeds(first: Pruned, second: Pruned, known: Mapping[str, Run]) -> list[str]:
    """Return two runs in the store that differ only in calibration seed, as these two are; empty if there are none."""
    ids = list(known)
    return [ids[index] for index in seed_pair(reports_of(known), first.run, second.run) or ()]


def _seeds_at_hand(first: Pruned, second: Pruned, known: Mapping[str, Run]) -> Comparison | None:
    """Compare two runs in the store that differ only in calibration seed, as the floor of these two; None if there are
    none. Draws nothing.
    """
    pair = [run for run_id in ids_of_seeds(first, second, known) if (run := open_pruned(run_id, known)) is not None]
    alike = len(pair) == 2 and not any(masks_file.why_not_comparable(first.masks, run.masks) for run in pair)
    return compared_masks(*pair) if alike else None


class PairMasks(NamedTuple):
    """The masks of controls beside those of runs with a discount, one comparison per calibration seed; those of two
    calibration seeds, where the store has them."""

    comparisons: list[Comparison]
    floor: Comparison | None
    changed: Changed


def pair_masks(pairs: list[RunPair]) -> PairMasks | None:
    """Compare the masks of pairs; None where there is none, or they cannot be read. pairs: of `matched_pairs`."""
    known, opened = known_pruned(), []
    for pair in pairs:
        first, second = (open_pruned(run.id, known) for run in (pair.control, pair.run))
        if first is None or second is None:
            return None
        opened.append((first, second))
    if not opened:
        return None
    try:
        reports = tuple((run.id, _reported(run.folder)) for run in known.values() if run.folder is not None)
        return _compared_pairs(opened, percent(pairs[0].spec.sparsity), reports, known)
    except EXPECTED:
        return None  # shown under Masks


@st.cache_resource(max_entries=8, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def _compared_pairs(
    pairs: list[tuple[Pruned, Pruned]], sparsity: str, reports: tuple[tuple[str, int], ...], _known: Mapping[str, Run]
) -> PairMasks:
    """sparsity: of all, in words. reports: ids of `_known`, and when their reports changed."""
    compared, floor = [compared_masks(*pair) for pair in pairs], _seeds_at_hand(*pairs[0], _known)
    return PairMasks(compared, floor, _changed_by_discount(compared, floor, sparsity))


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


WHOLE_MATRIX = "whole matrix"


def projections_view(first: Pruned, second: Pruned, comparison: Comparison, floor: Comparison | None) -> None:
    """Draw a measure by layer and projection, and the masks of the chosen one."""
    names = comparison.names
    measure = choose_measure()
    counts = comparison.projections
    layers = first.masks.geometry.layers
    within("mask_layer", layers - 1)
    if st.session_state.get("mask_projection") not in (None, *names):
        del st.session_state["mask_projection"]
    if not any(
        key in place for key in ("mask_layer", "mask_projection") for place in (st.session_state, st.query_params)
    ):
        layer, projection = compare.furthest(measure, comparison, floor)
        st.session_state["mask_layer"], st.session_state["mask_projection"] = layer, names[projection]

    def clicked(point: Point) -> None:
        layer, projection = point.cell
        st.session_state["mask_layer"], st.session_state["mask_projection"] = layer, names[projection]

    plot = st.container()  # above the boxes, whose values it outlines
    st.divider()
    left, middle, right = keyed_columns(3, "mask_matrix")
    layer = pick("Layer", range(layers), "mask_layer", left)
    name = pick("Projection", names, "mask_projection", middle)
    with plot:
        projections_map(comparison, floor, measure, (layer, names.index(name)), clicked)
    if name in comparison.experts:
        _expert_picture(first, second, layer, name, right)
        return
    heads = range(first.masks.geometry.heads) if name in comparison.heads else ()
    parts = [WHOLE_MATRIX, *(f"head {head}" for head in heads)]
    part = pick("Part", parts, "mask_slice", right, disabled=not heads)
    if not counts[layer, names.index(name), 0]:
        st.info(plain(f"Layer {layer} has no {name}."))
        return
    seeds = None if floor is None else float(compare.disagreement(floor.projections[layer, names.index(name)]))
    head = None if part == WHOLE_MATRIX else parts.index(part) - 1
    _picture(first, second, layer, name, head, seeds)


def projections_map(
    comparison: Comparison,
    floor: Comparison | None,
    measure: Measure,
    selected: tuple[int, int],
    on_click: Callable[[Point], None],
) -> None:
    """Draw a measure by layer and projection beside two calibration seeds. selected: layer and number of the projection
    that is outlined.
    """
    chart(
        _projections_exhibit(comparison, floor, measure, selected=selected, clickable=True),
        _PROJECTIONS,
        hint="Click a cell to open it.",
        on_click=on_click,
    )


def projections_in_fold(comparisons: Sequence[Comparison], floor: Comparison | None) -> None:
    """Draw what masks of several calibration seeds differ in by layer and projection, in a fold."""
    chart_in_fold(
        "Layer by layer",
        "fold_prune_runs_map",
        lambda: _projections_exhibit(compare.pooled(comparisons), floor, MEASURES["disagreement"]),
        _PROJECTIONS,
    )


_PROJECTIONS = "mask_projections"


def _projections_exhibit(comparison: Comparison, floor: Comparison | None, measure: Measure, **options: Any) -> Exhibit:
    counts, beside = comparison.projections, None if floor is None else floor.projections
    return grid_exhibit(measure, counts, beside, "projection", names=comparison.names, **options)


def _expert_picture(first: Pruned, second: Pruned, layer: int, name: str, box: DeltaGenerator) -> None:
    experts = first.masks.experts(layer, name)
    if not experts:
        st.info(plain(f"Layer {layer} has no {name}."))
        return
    expert = pick("Expert", experts, "mask_expert", box)
    _picture(first, second, layer, of_expert(name, expert), None)


def _window(shape: tuple[int, int]) -> Window:
    """Draw the choice of a part of the matrix. Keys carry the size, so that a kept range always lies inside."""
    ranges = []
    for column, side, size in zip(
        keyed_columns(2, "mask_window", gap="large"), ("output", "input"), shape, strict=True
    ):
        last = size - 1
        ranges.append(
            column.slider(
                f"{side.capitalize()} features",
                0,
                last,
                (0, last),
                key=f"mask_{side}s_{size}",
                bind="query-params",
                help="Narrow it down until a cell is one weight.",
            )
            if last
            else (0, 0)
        )
    return ranges[0], ranges[1]


def _picture(
    first: Pruned, second: Pruned, layer: int, name: str, head: int | None, seeds: float | None = None
) -> None:
    """Draw the masks. seeds: the share of the whole matrix that two calibration seeds decide differently, if known."""
    shape = part_shape(first.masks, layer, name, head)
    window = _window(shape)
    if head is not None or window != ((0, shape[0] - 1), (0, shape[1] - 1)):
        seeds = None
    (top, bottom), (left, right) = window
    shown_shape = bottom - top + 1, right - left + 1
    blocks, height, width = mask_pictures(first, second, layer, name, head, window)
    a, b, differ = blocks
    exact = height == width == 1
    cells = "one weight" if exact else f"{height} × {width} weights"
    rows, columns = (axis.ravel() for axis in np.indices(a.shape))
    table = pd.DataFrame(
        {
            "output": top + rows * height,
            "input": left + columns * width,
            "share pruned, first": a.ravel(),
            "share pruned, second": b.ravel(),
            "decided differently": differ.ravel(),
        }
    )
    chart(
        Exhibit(
            f"The masks of layer {layer}, {name}" + (f", head {head}" if head is not None else ""),
            f"Bright is pruned; a cell is {cells}. Blue: the second keeps more, red: it prunes more. They zoom "
            "together.",
            figures.pictures(mask_grids.pictures(blocks, exact), height, width, (top, left)),
            table,
            formula="Share of pruned weights in each block of the matrix (rows: output features, columns: input "
            "features), as many blocks as a screen has room for, and the second share minus the first.",
            finding=finding_of(
                "differing weights", compare.by_input(differ, shown_shape, height, width), *shown_shape, seeds
            ),
        ),
        "mask_picture",
    )


def _changed_by_discount(comparisons: Sequence[Comparison], floor: Comparison | None, sparsity: str) -> Changed:
    """Return what share of the weights the discount changes. comparisons: of masks with and without it, one per
    calibration seed. floor: of two calibration seeds.
    """
    measure, whole = MEASURES["disagreement"], compare.pooled(comparisons)
    changed = tuple(float(measure.compute(one.total())) for one in comparisons)
    seeds = () if floor is None else (float(measure.compute(floor.total())),)
    return Changed(sparsity, changed, seeds, float(measure.independent(whole.total())))


_weights_changed = kept(weights_changed)


def draw_changed(changes: Sequence[Changed], said: str, seeds: int = 0) -> None:
    """Draw `weights_changed` with its formula. said: its finding."""
    exhibit = _weights_changed(changes, seeds)
    chart(replace(exhibit, finding=said, formula=formula(MEASURES["disagreement"])), "prune_changed")
