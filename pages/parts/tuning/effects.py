"""Effects of a discount setting on every layer, computed and shown layer by layer."""

import time

import numpy as np
import streamlit as st

from analysis.figures import masks as grids
from analysis.specs import DiscountParams, TuneParams
from analysis.tuning import effects
from analysis.tuning.effects import LayerEffect
from analysis.tuning.statistics_file import StoredStatistics
from analysis.tuning.stored_effects import effect_of, plain_of
from pages.parts.charts import plot
from pages.parts.plain import plain

PATIENCE = 1.0  # seconds without news before drawing partial results


def every_layer(
    statistics: StoredStatistics, key: str, setting: TuneParams, name: str, growing: tuple[str, str] | None
) -> list[LayerEffect]:
    """Return the effects on all layers. Moving a control meanwhile starts over, with the finished layers kept.

    growing: title and field of `Effects` of the grid to draw meanwhile if it takes longer than a moment: the first
    layer at once, the others as they come in.
    """
    effects_so_far: list[LayerEffect] = []
    layers, began = statistics.info.layers, time.monotonic()
    # The place is made when it is needed: an empty one would be drawn again by each of the sidebar's refreshes.
    drawn, above, place = began, st.container(), None
    for layer in range(layers):
        effects_so_far.append(_effect(statistics, key, layer, setting))
        now = time.monotonic()
        whole = (now - began) / (layer + 1) * layers
        if layer + 1 == layers or whole < PATIENCE or (layer and now - drawn < PATIENCE):
            continue
        drawn = now
        place = above.empty() if place is None else place
        with place.container():
            st.progress((layer + 1) / layers, text=f"{layer + 1:d} of {layers:d} layers, {plain(name)}")
            if growing:
                title, field = growing
                values = getattr(effects.together(effects_so_far, layers), field)
                columns = [projection.split(".")[-1] for projection in statistics.info.inputs]
                plot(
                    grids.grids([grids.Grid(name, values)], title, columns),
                    key=f"growing_{name}_{layer}",
                    alt=f"{title} of the layers computed so far.",
                    config={"displayModeBar": False},
                )
    if place is not None:
        place.empty()
    return effects_so_far


@st.cache_data(max_entries=16, show_spinner=False)
def _weights(_statistics: StoredStatistics, key: str, discount: DiscountParams) -> np.ndarray:
    return _statistics.group_weights(discount)


@st.cache_data(max_entries=2048, show_spinner=False)
def _effect(_statistics: StoredStatistics, key: str, layer: int, setting: TuneParams) -> LayerEffect:
    weights = _weights(_statistics, key, setting.discount)
    undiscounted = setting.model_copy(update={"discount": DiscountParams()})
    return effect_of(_statistics, layer, setting, weights, _plain(_statistics, key, layer, undiscounted))


@st.cache_resource(max_entries=256, show_spinner=False)
def _plain(_statistics: StoredStatistics, key: str, layer: int, setting: TuneParams) -> effects.Plain:
    """Return the result without a discount: it stays the same while the discount is moved."""
    return plain_of(_statistics, layer, setting)
