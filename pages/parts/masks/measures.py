"""What is measured about the masks of pruned models, computed once and kept."""

from pathlib import Path

import numpy as np
import streamlit as st

from analysis.pruned import compare as masks
from analysis.pruned import masks_file
from analysis.tuning.seed_floor import seed_floor
from analysis.tuning.statistics_file import StatisticsInfo, StoredStatistics, open_statistics
from pages.parts.masks.pruned_models import BY_STAMP, Pruned


@st.cache_data(max_entries=64, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def compared(first: Pruned, second: Pruned) -> masks.Comparison:
    """Two masks, counted."""
    return masks_file.compared(first.masks, second.masks)


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Computing what another seed changes…")
def floor_of_statistics(run: Pruned, key: str, _statistics: StoredStatistics) -> masks.Comparison | None:
    """Two calibration seeds of a run's pruning without its discount, from statistics that serve it. key: of these."""
    geometry = run.masks.geometry
    return seed_floor(_statistics, run.run, geometry.heads, geometry.kv_heads)


@st.cache_data(max_entries=64, show_spinner=False)
def statistics_info(key: str, _file: Path) -> StatisticsInfo:
    """What stored statistics say of themselves. Raises UserError for a damaged file."""
    return open_statistics(_file).info


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def overlap(runs: list[Pruned]) -> np.ndarray:
    """The four counts of every two of several runs, (K, K, 4)."""
    return masks.pairs_of(*masks.overlap(masks_file.groups([run.masks for run in runs]), len(runs)))


Window = tuple[tuple[int, int], tuple[int, int]]
"""First and last output, first and last input feature of a part of a matrix."""


def part_shape(first: Pruned, layer: int, name: str, head: int | None) -> tuple[int, int]:
    """(out, in) of a projection, or of a head's slice of it."""
    shape, geometry = first.masks.shape((layer, name)), first.masks.geometry
    return shape if head is None else masks.slice_shape(shape, name, geometry.heads, first.masks.kv_heads(layer))


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading the masks…")
def pictures(
    first: Pruned, second: Pruned, layer: int, name: str, head: int | None, window: Window, most: tuple[int, int]
) -> tuple[np.ndarray, int, int]:
    """Shares of two masks in at most `most` blocks, and of where they differ, (3, rows, columns), with a block's height
    and width.
    """
    pair = [run.masks.pruned(layer, name) for run in (first, second)]
    if head is not None:
        geometry = first.masks.geometry
        pair = [masks.head_slice(mask, name, head, geometry.heads, first.masks.kv_heads(layer)) for mask in pair]
    (top, bottom), (left, right) = window
    pair = [mask[top : bottom + 1, left : right + 1] for mask in pair]
    (a, height, width), (b, _, _), (differ, _, _) = [masks.shares(mask, most) for mask in (*pair, pair[0] ^ pair[1])]
    return np.stack([a, b, differ]), height, width
