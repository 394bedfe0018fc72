"""Figures of a model's further forwards over a recording."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.exhibits.inside import geometry_over, lens_by_layer
from analysis.figures import experts as figures
from analysis.figures.causes import outcome_bars
from analysis.figures.sinks import attention_map
from analysis.recording import expert_routes
from analysis.recording.frames import sinks_of, with_relative_mass
from analysis.recording.trajectory import Trajectory
from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.geometry import MEASURES
from analysis.sinks.step_inputs import ALL
from analysis.specs import SinkParams
from sinkscope.drawing.rows import Drawn, chosen
from sinkscope.results import Ablation, AttentionMap, Geometry, Lens


def _map(read: AttentionMap) -> go.Figure:
    there = read.recording.present[read.step]
    labels = [label for label, held in zip(read.recording.labels(read.step), there, strict=True) if held]
    return attention_map(read.values, labels)


def _outcome(ablation: Ablation, name: str, axis: str, percent: bool) -> go.Figure:
    rows = ablation.rows
    return outcome_bars({ablation.source: dict(zip(rows["title"], rows[name], strict=True))}, axis, percent)


def _lens(read: Lens, **params: object) -> go.Figure:
    _, flags = sinks_of(with_relative_mass(read.recording), SinkParams.model_validate(params))
    return lens_by_layer(read.recording, read.step, read.at, read.summary, flags[read.step][read.at]).figure


def _geometry(measured: Geometry, measure: str = "", by: str = "layer") -> go.Figure:
    name = measure or next(iter(MEASURES))
    chosen(MEASURES, name, "measure")
    if by not in ("layer", "step"):
        raise UserError(f"Geometry is drawn by 'layer' or by 'step', not by '{by}'.")
    axis = "layer" if by == "layer" else "denoising step"
    models = {"this model": measured.arrays[f"own_{name}"]}
    random = measured.arrays.get(f"random_{name}", np.empty(0))
    return geometry_over(name, axis, measured.steps, models, random).figure


ATTENTION_ROWS = {"map": Drawn("The attention that each token pays to each other one", _map)}
ABLATION_ROWS = {
    "agreement": Drawn(
        "Tokens in common with the untouched text, by what was hidden",
        lambda ablation: _outcome(ablation, "aligned", "agreement", True),
    ),
    "confidence": Drawn(
        "Mean probability of the tokens chosen, by what was hidden",
        lambda ablation: _outcome(ablation, "confidence", "confidence", False),
    ),
}
LENS_ROWS = {"lens": Drawn("Probability of the later token behind every layer, sinks marked. k", _lens)}
GEOMETRY_ROWS = {
    "geometry": Drawn("Dimensions that attention and token states take up. measure: a row of MEASURES; by", _geometry)
}


# --- a mixture of experts --------------------------------------------------------------------------------------------


def _has_experts(recording: Trajectory) -> bool:
    return recording.experts is not None


def _index(recording: Trajectory, layer: int | None) -> tuple[int, int]:
    """Return the place of a layer among those with experts, and the layer; the first one where it is None."""
    layers = recording.info.model.expert_layers
    layer = layers[0] if layer is None else layer
    if layer not in layers:
        raise UserError(f"Layer {layer} has no experts. These have: {', '.join(map(str, layers))}.")
    return layers.index(layer), layer


def _load(recording: Trajectory) -> go.Figure:
    return figures.load_grid(mean_of_finite(expert_routes.loads(recording)), recording.info.model.expert_layers)


def _evenness(recording: Trajectory) -> go.Figure:
    shares = mean_of_finite(expert_routes.loads(recording))
    lines = {"entropy": routing.entropy(shares), "unused experts": routing.unused(shares)}
    return figures.layer_lines(lines, recording.info.model.expert_layers)


def _sinks(recording: Trajectory, layer: int | None = None, tokens: str = ALL, **params: Any) -> go.Figure:
    index, _ = _index(recording, layer)
    _, flags = sinks_of(with_relative_mass(recording), SinkParams(**params), split=tokens)
    loads = expert_routes.sink_loads(recording, flags, recording.counted(tokens))
    if loads is None:
        raise UserError("No step has both sinks and other tokens here. Lower the threshold.")
    shown, ranges = loads.of_layer(index)
    return figures.group_bars(loads.sinks[index][shown], loads.others[index][shown], ranges, shown.tolist())


def _turnover(recording: Trajectory, layer: int | None = None) -> go.Figure:
    index, layer = _index(recording, layer)
    changed = expert_routes.turnover(recording)
    return figures.turnover_lines(mean_of_finite(changed, 1), changed[:, index], layer)


def _route(recording: Trajectory, position: int | None = None) -> go.Figure:
    routed = expert_routes.routed_positions(recording)
    position = routed[-1] if position is None else position
    if position not in routed:
        raise UserError(f"Position {position} was never sent to an expert. Choose one of {routed[0]} to {routed[-1]}.")
    labels = [recording.labels(step)[position] for step in range(recording.steps)]
    return figures.route(*expert_routes.route(recording, position), recording.info.model.expert_layers, labels)


EXPERT_ROWS = {
    "expert load": Drawn("Share of tokens' choices that each expert gets, by layer", _load, _has_experts),
    "expert evenness": Drawn("How evenly experts are used, by layer", _evenness, _has_experts),
    "expert sinks": Drawn(
        "Experts of the sinks, of other tokens and of random tokens of the same states. layer, tokens, k",
        _sinks,
        _has_experts,
    ),
    "expert turnover": Drawn("How many of a token's experts change from step to step. layer", _turnover, _has_experts),
    "expert route": Drawn("One token's first expert by step and layer. position", _route, _has_experts),
}
