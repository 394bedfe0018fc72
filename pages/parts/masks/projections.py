"""Differences between two masks by layer and projection, and the masks of one matrix or a head's part of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits.mask_grids import Window, part_shape
from analysis.exhibits.with_discount import weights_changed
from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.models.projection_names import of_expert
from analysis.pruned import compare
from analysis.pruned.compare import MEASURES, Comparison, Measure
from pages.parts.charts import Point, chart
from pages.parts.columns import keyed_columns
from pages.parts.controls import pick
from pages.parts.masks.pruned_models import Pruned, choose_measure, formula, grid_exhibit, mask_pictures
from pages.parts.plain import plain
from pages.parts.recordings.choice import within

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
    measure: Measure | None = None,
    selected: tuple[int, int] | None = None,
    on_click: Callable[[Point], None] | None = None,
) -> None:
    """Draw a measure by layer and projection beside two calibration seeds. measure: the first one if None. selected:
    layer and number of the projection that is outlined.
    """
    names, measure = comparison.names, measure or next(iter(MEASURES.values()))
    counts, beside = comparison.projections, None if floor is None else floor.projections
    clickable = on_click is not None
    chart(
        grid_exhibit(measure, counts, beside, "projection", names=names, selected=selected, clickable=clickable),
        "mask_projections",
        hint="Click a cell to open it." if on_click is not None else "",
        on_click=on_click,
    )


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
    (a, b, differ), height, width = mask_pictures(first, second, layer, name, head, window)
    exact = height == width == 1
    shown = [
        figures.Picture("first", a),
        figures.Picture("second", b),
        figures.Picture("second − first", compare.block_difference(a, b), signed=True),
    ]
    # Within a block, more pruning here and less there cancels out; differing weights do not.
    shown += [] if exact else [figures.Picture("decided differently", differ)]
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
            figures.pictures(shown, height, width, (top, left)),
            table,
            formula="Share of pruned weights in each block of the matrix (rows: output features, columns: input "
            "features), as many blocks as a screen has room for, and the second share minus the first.",
            finding=finding_of(
                "differing weights", compare.by_input(differ, shown_shape, height, width), *shown_shape, seeds
            ),
        ),
        "mask_picture",
    )


def changed_weights(comparisons: Sequence[Comparison], floor: Comparison | None) -> None:
    """Draw what share of the weights the discount changes, seed by seed, beside two calibration seeds; and the same
    layer by layer in a fold. comparisons: of masks with and without the discount, one per calibration seed."""
    measure, whole = next(iter(MEASURES.values())), compare.pooled(comparisons)
    changed = [float(measure.compute(one.total())) for one in comparisons]
    seeds = [] if floor is None else [float(measure.compute(floor.total()))]
    draw_changed(changed, seeds, float(measure.independent(whole.total())))
    with st.expander("Layer by layer", key="fold_prune_runs_map"):
        projections_map(whole, floor)


def draw_changed(
    changed: Sequence[float], floor: Sequence[float], chance: float, seeds: int = 0, source: str = ""
) -> None:
    """Draw `weights_changed` with its formula."""
    exhibit = weights_changed(changed, floor, chance, seeds, source)
    chart(replace(exhibit, formula=formula(next(iter(MEASURES.values())))), "prune_changed")
