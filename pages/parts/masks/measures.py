"""Measures of the masks of pruned models, computed once and kept."""

from pathlib import Path

import numpy as np
import streamlit as st

from analysis.exhibits import mask_grids
from analysis.exhibits.mask_grids import Window
from analysis.pruned import compare as masks
from analysis.pruned import masks_file
from analysis.tuning.seed_floor import seed_floor
from analysis.tuning.statistics_file import StatisticsInfo, StoredStatistics, open_statistics
from pages.parts.masks.pruned_models import BY_STAMP, Pruned


@st.cache_data(max_entries=64, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def compared(first: Pruned, second: Pruned) -> masks.Comparison:
    """Compare two masks."""
    return masks_file.compared(first.masks, second.masks)


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Computing what another seed changes…")
def floor_of_statistics(run: Pruned, key: str, _statistics: StoredStatistics) -> masks.Comparison | None:
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
    return masks.pairs_of(*masks.overlap(masks_file.groups([run.masks for run in runs]), len(runs)))


def part_shape(first: Pruned, layer: int, name: str, head: int | None) -> tuple[int, int]:
    """Return (out, in) of a projection, or of a head's slice of it."""
    return mask_grids.part_shape(first.masks, layer, name, head)


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading the masks…")
def pictures(
    first: Pruned, second: Pruned, layer: int, name: str, head: int | None, window: Window
) -> tuple[np.ndarray, int, int]:
    """Return the blocks of two masks and of where they differ, (3, rows, columns), with a block's height and width."""
    return mask_grids.mask_blocks(first.masks, second.masks, layer, name, head, window)
