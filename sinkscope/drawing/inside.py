"""Figures of a model's further forwards over a recording."""

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.exhibits.inside import geometry_over, lens_by_layer
from analysis.figures.causes import outcome_bars
from analysis.figures.sinks import attention_map
from analysis.recording.frames import sinks_of, with_relative_mass
from analysis.sinks.geometry import MEASURES
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
