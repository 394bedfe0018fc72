"""Grids of what differs between two masks, beside its floor, and blocks of the masks themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures import masks as figures
from analysis.pruned import compare
from analysis.pruned.compare import Measure
from analysis.pruned.masks_file import MaskFolder

Window = tuple[tuple[int, int], tuple[int, int]]
"""First and last output, first and last input feature of a part of a matrix."""


def grid_of(
    measure: Measure, counts: np.ndarray, floor: np.ndarray | None, columns: str | Sequence[str], **options: Any
) -> go.Figure:
    """Draw a measure of counts (L, C, 4) by layer and column: how far it lies above two calibration seeds, or, where
    there are none, itself on colours that reach what independent masks give. options: of `figures.masks.grids`.
    """
    values, chance = measure.compute(counts), measure.independent(counts)
    lines, name = figures.floor_lines(chance), measure.title.lower()
    if floor is None:
        top = float(np.nanmax(chance, initial=0.0))
        return figures.grids([figures.Grid("", values, lines)], name, columns, top=top, **options)
    shown = figures.beyond("", values, measure.compute(floor), lines, name)
    told = f"{name} minus two seeds"
    return figures.grids([shown], told, columns, signed=True, bar_title="points, 0 = two calibration seeds", **options)


def part_shape(masks: MaskFolder, layer: int, name: str, head: int | None) -> tuple[int, int]:
    """Return (out, in) of a projection, or of a head's slice of it."""
    shape, heads = masks.shape((layer, name)), masks.geometry.heads
    return shape if head is None else compare.slice_shape(shape, name, heads, masks.kv_heads(layer))


def mask_blocks(
    first: MaskFolder, second: MaskFolder, layer: int, name: str, head: int | None = None, window: Window | None = None
) -> tuple[np.ndarray, int, int]:
    """Return the shares of two masks that are pruned in blocks of a projection, and the share decided differently, (3,
    rows, columns), as many blocks as a figure has room for, with a block's height and width. window: the part of it.
    """
    pair = [masks.pruned(layer, name) for masks in (first, second)]
    if head is not None:
        heads, kv_heads = first.geometry.heads, first.kv_heads(layer)
        pair = [compare.head_slice(mask, name, head, heads, kv_heads) for mask in pair]
    if window is not None:
        (top, bottom), (left, right) = window
        pair = [mask[top : bottom + 1, left : right + 1] for mask in pair]
    most = figures.room(*pair[0].shape)
    (a, height, width), (b, _, _), (differ, _, _) = [compare.shares(mask, most) for mask in (*pair, pair[0] ^ pair[1])]
    return np.stack([a, b, differ]), height, width


def pictures(blocks: np.ndarray, exact: bool) -> list[figures.Picture]:
    """Return what is drawn of blocks as `mask_blocks` gives them. exact: a block is one weight; else more pruning here
    and less there cancels out within a block, and differing weights are drawn, too.
    """
    a, b, differ = blocks
    shown = [
        figures.Picture("first", a),
        figures.Picture("second", b),
        figures.Picture("second − first", compare.block_difference(a, b), signed=True),
    ]
    return shown if exact else [*shown, figures.Picture("decided differently", differ)]
