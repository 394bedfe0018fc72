"""Mixtures of experts: their load, the experts of sinks, turnover of routes, and one token's route."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import experts as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording import expert_routes
from analysis.recording.expert_routes import MOST_BARS, SinkLoads
from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite
from analysis.specs import SinkParams
from pages.parts.charts import cells, chart
from pages.parts.controls import keyed_columns, pick
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula, within
from pages.parts.recordings.recording import Recording, cached


@cached(16, "Counting where tokens go…")
def _loads(recording: Recording) -> np.ndarray:
    """Return the load of every expert in each step, (T, M, E)."""
    return expert_routes.loads(recording.trajectory)


@cached(16, "Comparing sinks with other tokens…")
def _sink_loads(recording: Recording, params: SinkParams, split: str) -> SinkLoads | None:
    """Compare where sinks go with all other tokens and with as many random ones of the same states; None without
    sinks.
    """
    sinks = measures.counted_sinks(recording, params, split=split)
    return expert_routes.sink_loads(recording.trajectory, sinks, measures.counted(recording, split))


@cached(16)
def _turnovers(recording: Recording) -> np.ndarray:
    """Return the share of a token's experts that changed since the step before, (T, M)."""
    return expert_routes.turnover(recording.trajectory)


def experts(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab; its controls in `side`."""
    layers = recording.info.model.expert_layers
    layer = pick("Layer", layers, "expert_layer", side, help="Of those that have experts.")
    _load(recording)
    index = layers.index(layer)
    left, right = keyed_columns(2, "experts", gap="medium")
    with left:
        loads = _sink_loads(recording, params, split)
        if loads is None:
            st.info("No step has both sinks and other tokens here. Lower the threshold, or count sinks elsewhere.")
        else:
            _sinks(loads, index, layer, definition_formula(params))
    with right:
        _turnover(recording, index, layer)
    _route(recording)


def _load(recording: Recording) -> None:
    layers, shares = recording.info.model.expert_layers, mean_of_finite(_loads(recording))
    entropy, unused = routing.entropy(shares), routing.unused(shares)
    choices = expert_routes.choices_per_step(recording.trajectory)
    grid, lines = keyed_columns([3, 2], "expert_load", gap="medium")
    with grid:
        chart(
            Exhibit(
                "Load of the experts",
                f"The share of tokens' choices that each of {shares.shape[1]} experts gets, mean over the steps, as a "
                "multiple of an even load.",
                figures.load_grid(shares, layers),
                cells({"layer": layers, "expert": range(shares.shape[1])}, {"share of choices": shares}),
                formula="For each layer, the share of the K choices of all routed tokens of a step that go to an "
                "expert, averaged over the steps and multiplied with the number of experts.",
                finding=finding_of("load of experts", shares, layers, choices),
            ),
            "expert_load",
        )
    with lines:
        chart(
            Exhibit(
                "How evenly they are used",
                "The entropy of each layer's load as a share of the largest, and the share of its experts that are "
                "idle in this recording.",
                figures.layer_lines({"entropy": entropy, "unused experts": unused}, layers),
                pd.DataFrame({"layer": layers, "entropy": entropy, "unused experts": unused}),
                formula=r"$$-\sum_e p_e \log p_e / \log E$$ of the load p over E experts, and the share of experts "
                r"with no token. "
                "One short text uses fewer experts than many would.",
                finding=finding_of("evenness of experts", entropy, unused, layers, shares.shape[1], choices),
            ),
            "expert_evenness",
        )


def _sinks(loads: SinkLoads, index: int, layer: int, formula: str) -> None:
    shown, drawn = loads.of_layer(index)
    mean, low, high = drawn
    sinks, others = loads.sinks[index][shown], loads.others[index][shown]
    away = loads.drawn_distance[:, index]
    cut = f" Shown are the {MOST_BARS} experts that differ most." if len(shown) < loads.sinks.shape[1] else ""
    chart(
        Exhibit(
            "Where the sinks go",
            f"The load of the sinks of layer {layer}, of all other tokens, and of as many random tokens of the same "
            f"states.{cut}",
            figures.group_bars(sinks, others, drawn, shown.tolist()),
            pd.DataFrame(
                {
                    "expert": shown,
                    "sinks": sinks,
                    "all other tokens": others,
                    "random tokens, mean": mean,
                    "lowest draw": low,
                    "highest draw": high,
                }
            ),
            formula="Loads are means over the steps that have sinks. The distance is half the sum of absolute "
            "differences (total variation); few tokens are far from any load by chance, which is why random ones stand "
            "beside. The range is from the smallest to the largest of the draws, of one recording: another text is not "
            f"in it.\n\n{formula}",
            finding=finding_of("routes of sinks", float(loads.distance[index]), away, layer),
        ),
        "expert_sinks",
    )


def _turnover(recording: Recording, index: int, layer: int) -> None:
    changed = _turnovers(recording)
    mean = mean_of_finite(changed, 1)
    chart(
        Exhibit(
            "How routes turn over",
            "How many of a token's experts are not those that the step before chose for its position.",
            figures.turnover_lines(mean, changed[:, index], layer),
            pd.DataFrame({"step": np.arange(len(mean)), "mean over layers": mean, f"layer {layer}": changed[:, index]}),
            formula="Of the K experts of a position, the share that the step before had not chosen for it, averaged "
            "over the positions routed in both steps.",
            finding=finding_of(
                "turnover of routes",
                mean,
                int(expert_routes.routes_of(recording.trajectory)[0].shape[2]),
                recording.info.model.expert_count,
            ),
        ),
        "expert_turnover",
    )


def _route(recording: Recording) -> None:
    positions = expert_routes.routed_positions(recording.trajectory)
    within("expert_position", positions[-1])
    position = st.number_input(
        "Position",
        positions[0],
        positions[-1],
        value=positions[-1],
        key="expert_position",
        bind="query-params",
        help="The token of the text whose route is shown, counted from 0.",
    )
    layers = recording.info.model.expert_layers
    experts, weights = expert_routes.route(recording.trajectory, int(position))
    labels = [recording.trajectory.labels(step)[int(position)] for step in range(recording.trajectory.steps)]
    table = cells({"step": range(len(labels)), "layer": layers}, {"first expert": experts, "weight": weights})
    table.insert(2, "token", np.repeat(labels, len(layers)))
    chart(
        Exhibit(
            "One token's route",
            f"The expert that gets most of position {position} in each step and layer, and its weight."
            + (" Blank: steps that route no token there." if np.isnan(experts).any() else ""),
            figures.route(experts, weights, layers, labels),
            table,
            formula="The first of the K experts that the router chose; the weight is what its output is multiplied "
            "with, and need not be a share.",
            finding=finding_of("route of a token", experts, recording.info.model.expert_count),
        ),
        "expert_route",
    )
