"""The pruned models at hand, and what is measured about their masks, computed once and kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from analysis.pruned import compare as masks
from analysis.pruned import masks_file
from analysis.pruned.masks_file import MaskFolder
from analysis.pruned.report_file import REPORT_FILE, PrunedRun, read_report
from pages.parts.plain import plain
from pages.parts.trouble import EXPECTED, why


@dataclass(frozen=True)
class Pruned:
    """A pruned model to look at. name: what it is called in boxes and addresses; a path where it was typed."""

    name: str
    masks: MaskFolder
    run: PrunedRun

    @property
    def key(self) -> str:
        return self.masks.stamp

    @property
    def label(self) -> str:
        """Its name as a legend shows it."""
        return Path(self.name).name


BY_STAMP: dict[str | type[Any], Callable[[Any], Any]] = {Pruned: lambda pruned: pruned.key}
"""How caches tell pruned models apart; see `Recording`."""


def open_pruned(name: str, known: dict[str, Path]) -> Pruned | None:
    """The pruned model of a name or path, or None after saying on the page why it cannot be read."""
    try:
        folder = masks_file.open_masks(str(known.get(name, name)))
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    return Pruned(name, folder, run_of(folder.folder))


def run_of(folder: Path) -> PrunedRun:
    """What a folder says about itself."""
    path = folder / REPORT_FILE
    return _run(str(folder), path.stat().st_mtime_ns if path.is_file() else 0)


@st.cache_data(max_entries=256, show_spinner=False)
def _run(folder: str, changed: int) -> PrunedRun:
    return read_report(Path(folder))


# --- measures ---------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=64, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def compared(first: Pruned, second: Pruned) -> masks.Comparison:
    """Two masks, counted."""
    geometry = first.masks.geometry
    pairs = masks_file.pairs(first.masks, second.masks)
    return masks.compare(pairs, geometry.layers, first.masks.names, geometry.heads, geometry.kv_heads)


@st.cache_data(max_entries=16, hash_funcs=BY_STAMP, show_spinner="Reading and comparing the masks…")
def overlap(runs: list[Pruned]) -> np.ndarray:
    """The four counts of every two of several runs, (K, K, 4)."""
    return masks.pairs_of(*masks.overlap(masks_file.groups([run.masks for run in runs]), len(runs)))


Window = tuple[tuple[int, int], tuple[int, int]]
"""First and last output, first and last input feature of a part of a matrix."""


def part_shape(first: Pruned, layer: int, name: str, head: int | None) -> tuple[int, int]:
    """(out, in) of a projection, or of a head's slice of it."""
    shape, geometry = first.masks.shape((layer, name)), first.masks.geometry
    return shape if head is None else masks.slice_shape(shape, name, geometry.heads, geometry.kv_heads)


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
        pair = [masks.head_slice(mask, name, head, geometry.heads, geometry.kv_heads) for mask in pair]
    (top, bottom), (left, right) = window
    pair = [mask[top : bottom + 1, left : right + 1] for mask in pair]
    (a, height, width), (b, _, _), (differ, _, _) = [masks.shares(mask, most) for mask in (*pair, pair[0] ^ pair[1])]
    return np.stack([a, b, differ]), height, width
