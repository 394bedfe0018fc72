"""Figures of pruned folders: removed weights, and differences between masks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.exhibits.mask_grids import grid_of, mask_blocks, pictures
from analysis.exhibits.with_discount import Changed, weights_changed
from analysis.figures import masks as figures
from analysis.figures import pruning
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import MEASURES, Comparison
from analysis.pruned.report_file import Report, load_report
from sinkscope.drawing.rows import Drawn, chosen
from sinkscope.results import PrunedFolder

Folder = str | Path
Floor = tuple[Folder, Folder] | None
"""Two prunings of one method with two calibration seeds."""
_ALONE = "this pruning"


def _compared(first: Folder, second: Folder) -> Comparison:
    return masks_file.compared(masks_file.open_masks(str(first)), masks_file.open_masks(str(second)))


def _sparsity(pruned: PrunedFolder) -> go.Figure:
    told = pruned.report["sparsity"]
    return pruning.sparsity_grid(np.array(told["grid"], np.float64), told["projections"])


def _profile(pruned: PrunedFolder, beside: Mapping[str, Folder] | None = None) -> go.Figure:
    reports: dict[str, Report] = {_ALONE: pruned.report}
    for name, folder in (beside or {}).items():
        report = load_report(Path(folder))
        if report is None:
            raise UserError(f"'{folder}' is not a pruned folder.")
        reports[name] = report
    layers = {name: report["sparsity"]["by_layer"] for name, report in reports.items()}
    return pruning.layer_profiles(
        {name: np.array([each[layer] for layer in sorted(each, key=int)]) for name, each in layers.items()}
    )


def _disagreement(pruned: PrunedFolder, other: Folder, measure: str = "disagreement", floor: Floor = None) -> go.Figure:
    row, told = chosen(MEASURES, measure, "measure"), _compared(pruned.folder, other)
    seeds = None if floor is None else _compared(*floor).projections
    return grid_of(row, told.projections, seeds, told.names)


def _changed(pruned: PrunedFolder, other: Folder, floor: Floor = None) -> go.Figure:
    told = {_ALONE: _compared(pruned.folder, other)}
    told |= {} if floor is None else {"another calibration seed": _compared(*floor)}
    shown = [
        figures.Changed(
            name, compare.disagreement(counts.sum(axis=0)), compare.disagreement(counts), is_floor=name != _ALONE
        )
        for name, counts in ((name, one.projections) for name, one in told.items())
    ]
    return figures.changed_by_projection(shown, told[_ALONE].names)


def _changed_in_all(pruned: PrunedFolder, other: Folder, floor: Floor = None) -> go.Figure:
    told = _compared(pruned.folder, other).total()
    seeds = [] if floor is None else [float(compare.disagreement(_compared(*floor).total()))]
    chance = float(MEASURES["disagreement"].independent(told))
    return weights_changed([Changed("", [float(compare.disagreement(told))], seeds, chance)]).figure


def _by_part(
    parts_of: Callable[[Comparison], Mapping[str, np.ndarray]],
    cell: str,
    pruned: PrunedFolder,
    other: Folder,
    part: str = "",
    measure: str = "disagreement",
    floor: Floor = None,
) -> go.Figure:
    told = parts_of(_compared(pruned.folder, other))
    if not told:
        raise UserError(f"The projections of this architecture are not laid out by {cell}.")
    row, name = chosen(MEASURES, measure, "measure"), part or next(iter(told))
    counts = chosen(told, name, f"part of a {cell}")
    return grid_of(row, counts, None if floor is None else parts_of(_compared(*floor))[name], cell)


_by_head = partial(_by_part, Comparison.head_parts, "head")
_by_expert = partial(_by_part, Comparison.expert_parts, "expert")


def _head_sparsity(pruned: PrunedFolder, other: Folder, part: str = "") -> go.Figure:
    told = _compared(pruned.folder, other)
    parts = told.head_parts()
    name = part or next(iter(parts), "")
    counts = chosen(parts, name, "part of a head")
    if not told.fixed_parts(name)[1]:
        raise UserError("A head's sparsity cannot differ between these two: the method or pattern fixes it.")
    spread = figures.spread_lines(compare.independent_spread(counts))
    grid = figures.Grid("", compare.sparsity_difference(counts), spread)
    return figures.grids([grid], "sparsity, second − first", "head", signed=True)


def _depth(
    pruned: PrunedFolder, other: Folder, measure: str = "disagreement", floor: Floor = None, log: bool = True
) -> go.Figure:
    row, parts = chosen(MEASURES, measure, "measure"), _compared(pruned.folder, other).depth()
    floors = {"independent masks": row.independent(parts[compare.ALL])}
    if floor is not None:
        seeds = _compared(*floor).depth()[compare.ALL]
        floors = {f"two calibration seeds, {compare.ALL}": row.compute(seeds), **floors}
    return figures.over_depth({name: row.compute(counts) for name, counts in parts.items()}, floors, row.title, log)


def _overlap(pruned: PrunedFolder, others: Sequence[Folder]) -> go.Figure:
    folders = [pruned.folder, *map(Path, others)]
    masks = [masks_file.open_masks(str(folder)) for folder in folders]
    counts = compare.pairs_of(*compare.overlap(masks_file.groups(masks), len(masks)))
    similarity, names = compare.jaccard(counts), [folder.name for folder in folders]
    return figures.overlap_matrix(
        similarity, names, figures.overlap_lines(similarity, compare.independent_jaccard(counts), names)
    )


def _picture(
    pruned: PrunedFolder, other: Folder, layer: int = 0, projection: str = "", head: int | None = None
) -> go.Figure:
    pair = [masks_file.open_masks(str(folder)) for folder in (pruned.folder, other)]
    name = projection or pair[0].names[0]
    if (layer, name) not in pair[0].weights:
        raise UserError(f"Layer {layer} has no '{name}'. There are: {', '.join(pair[0].names)}.")
    blocks, height, width = mask_blocks(pair[0], pair[1], layer, name, head)
    return figures.pictures(pictures(blocks, height == width == 1), height, width)


_MASKS = "other: a folder; measure: a row of MEASURES; floor: two folders that differ in the calibration seed alone"
ROWS = {
    "weights changed": Drawn("Weights that two masks decide differently, in all. other, floor", _changed_in_all),
    "changed weights": Drawn("Weights that two masks decide differently, by projection. other, floor", _changed),
    "sparsity": Drawn("Share of weights removed, by layer and projection", _sparsity),
    "profile": Drawn("Share of weights removed, by layer. beside: other folders by name", _profile),
    "phases": Drawn(
        "Where the time of the pruning went",
        lambda pruned: pruning.phase_bar([(phase["phase"], phase["seconds"]) for phase in pruned.report["phases"]]),
    ),
    "disagreement": Drawn(f"Weights that one mask prunes and the other keeps, by projection. {_MASKS}", _disagreement),
    "heads": Drawn("The same by head. other, part, measure, floor", _by_head),
    "experts": Drawn(
        "The same by expert. other, part, measure, floor",
        _by_expert,
        lambda pruned: bool(pruned.report["sparsity"].get("by_expert")),
    ),
    "head sparsity": Drawn("How much sparser each head is in the other mask. other, part", _head_sparsity),
    "depth": Drawn("A measure by layer. other, measure, floor, log", _depth),
    "overlap": Drawn("Jaccard index of every two masks. others: folders", _overlap),
    "mask": Drawn("The two masks of one projection. other, layer, projection, head", _picture),
}
