"""Differences between two masks by layer and head, and the heads that lose more in one of them."""

import numpy as np
import streamlit as st

from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare
from analysis.pruned.compare import Comparison
from analysis.specs import PATTERNS
from pages.parts.charts import chart
from pages.parts.keyed import keyed_columns
from pages.parts.masks.pruned_models import Pruned
from pages.parts.masks.shown_measures import OURS, choose_measure, grid_exhibit, table_of
from pages.parts.plain import plain


def heads_view(first: Pruned, comparison: Comparison, floor: Comparison | None) -> None:
    """Draw a measure by layer and head, and how much sparser each head gets."""
    parts = comparison.head_parts()
    if not parts:
        st.info("This architecture's attention projections are not laid out by head. See Projections instead.")
        return
    left, right = keyed_columns(2, "mask_heads")
    with left:
        measure = choose_measure()
    with right:
        part = st.selectbox(
            "Slice of a head",
            list(parts),
            key="mask_part",
            bind="query-params",
            help="Rows of the query, key and value projections, columns of the output projection (o_proj). A "
            "key/value head that several query heads share counts for each of them.",
        )
    counts, beside = parts[part], None if floor is None else floor.head_parts()[part]
    geometry = first.masks.geometry
    shared = {geometry.heads // first.masks.kv_heads(layer) for layer in range(geometry.layers)}
    if max(shared) > 1 and part in compare.SHARED:
        several = " or ".join(map(str, sorted(shared)))
        st.caption(f"{plain(several)} query heads share one key/value head, so neighbouring cells are the same.")
    chart(grid_exhibit(measure, counts, beside, "head", part), "mask_heads")
    st.divider()
    _head_sparsity(comparison, floor, part)


def _head_sparsity(comparison: Comparison, floor: Comparison | None, part: str) -> None:
    title = f"Sparsity of each head, second minus first, {part}"
    stuck, free = comparison.fixed_parts(part)
    note = " ".join(f"{', '.join(names)}: {_why_fixed(why)}." for why, names in stuck.items())
    if not free:
        st.markdown(f"**{plain(title)}**")
        st.info(plain(f"A head's sparsity cannot differ here, so there is nothing to draw. {note}"))
        return
    counts = comparison.head_parts()[part]
    values, spread = compare.sparsity_difference(counts), compare.independent_spread(counts)
    table = table_of(counts, None, "layer", "head").assign(
        **{"second − first": values.ravel(), "spread of independent masks": spread.ravel()}
    )
    beside = None if floor is None else floor.head_parts()[part]
    seeds = None if beside is None else compare.sparsity_difference(beside)
    top = float(np.nanmax(np.abs(values if seeds is None else np.stack([values, seeds]))))
    axis = "sparsity, second − first"
    # One plot each, stacked on narrow screens, so that their numbers stay legible.
    places = st.columns(1 if seeds is None else 2, gap="medium", vertical_alignment="bottom")
    moves = f" It can move only in {', '.join(free)}. {note}" if stuck else ""
    with places[0]:
        chart(
            Exhibit(
                title,
                f"Blue: the second run keeps more of this head; red: it prunes more (our measure).{moves}",
                figures.grids(
                    [figures.Grid("", values, figures.spread_lines(spread))], axis, "head", signed=True, top=top
                ),
                table,
                formula="$$\\frac{|B| - |A|}{n}$$\n\nof the slice's weights. Independent masks of these sparsities "
                f"spread by $\\sqrt{{(p(1-p) + q(1-q))/n}}$ around 0, a little less where every row loses equally "
                f"many. {OURS}",
                finding=finding_of("head sparsity", values, spread, seeds),
            ),
            "head_sparsity",
        )
    if beside is None or seeds is None:
        return
    with places[1]:
        chart(
            Exhibit(
                f"Two calibration seeds, second minus first, {part}",
                "What another draw of the calibration text does to the sparsity of heads, on the same colours.",
                figures.grids([figures.Grid("", seeds)], axis, "head", signed=True, top=top),
                table_of(beside, None, "layer", "head").assign(**{"second − first": seeds.ravel()}),
                formula=f"$$\\frac{{|B| - |A|}}{{n}}$$\n\nof the slice's weights, $A$ and $B$ pruned with two seeds. "
                f"{OURS}",
            ),
            "head_sparsity_seeds",
        )


_WHY_FIXED = {
    "dense": "neither run prunes it",
    "rows": "every row loses the same number of weights in both runs, as per-row pruning does",
}


def _why_fixed(reason: str) -> str:
    """Return why both masks prune a head alike, for one of `Comparison.fixed`."""
    if reason in PATTERNS:
        pattern = PATTERNS[reason]
        return (
            f"the {pattern.title} pattern keeps {pattern.kept} of every {pattern.group} neighbours, whatever is chosen"
        )
    return _WHY_FIXED[reason]
