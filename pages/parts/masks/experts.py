"""Where two masks differ by layer and expert of a mixture."""

import streamlit as st

from analysis.exhibits.mask_grids import grid_of
from analysis.figures.export import Exhibit
from analysis.pruned.compare import Comparison
from pages.parts.charts import chart
from pages.parts.keyed import keyed_columns
from pages.parts.masks.shown_measures import (
    cells_in_words,
    chance_in_words,
    choose_measure,
    formula,
    table_of,
    title_of,
)


def experts_view(comparison: Comparison, floor: Comparison | None) -> None:
    """A measure by layer and expert."""
    parts = comparison.expert_parts()
    left, right = keyed_columns(2, "mask_experts")
    with left:
        measure = choose_measure()
    with right:
        part = st.selectbox("Projection of an expert", list(parts), key="mask_expert_part", bind="query-params")
    counts, beside = parts[part], None if floor is None else floor.expert_parts()[part]
    bare = [str(layer) for layer, weights in enumerate(counts[..., 0].sum(axis=1)) if not weights]
    if bare:
        st.caption(f"Layers without experts: {', '.join(bare)}.")
    chart(
        Exhibit(
            title_of(measure, beside, f"by layer and expert, {part}"),
            f"{measure.sentence} (our measure). {chance_in_words(measure, counts, floor)}",
            grid_of(measure, counts, beside, "expert"),
            table_of(counts, beside, "layer", "expert"),
            formula=formula(measure),
            finding=cells_in_words(measure, counts, beside, "expert", "expert"),
        ),
        "mask_experts",
    )
