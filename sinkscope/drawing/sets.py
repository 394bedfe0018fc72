"""Figures of sets of prompts."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.exhibits import recording_sets
from analysis.exhibits.inside_sets import queries_apart
from analysis.recording.set_file import RecordingSet
from analysis.sinks.metrics import CURVES, of_mass
from analysis.sinks.step_inputs import ALL
from sinkscope.drawing.rows import Drawn, chosen

Beside = Mapping[str, RecordingSet] | None
"""Other sets, by display name."""


def _together(recordings: RecordingSet, beside: Beside) -> dict[str, RecordingSet]:
    return {recordings.info.model.source if beside else "": recordings, **(beside or {})}


def _counts(recordings: RecordingSet, beside: Beside = None) -> go.Figure:
    return recording_sets.counts(_together(recordings, beside)).figure


def _curve(
    recordings: RecordingSet,
    curve: str = "count",
    scope: int = -1,
    tokens: str = ALL,
    singles: bool = False,
    beside: Beside = None,
) -> go.Figure:
    chosen(CURVES, curve, "curve")
    return recording_sets.curve(_together(recordings, beside), curve, scope, tokens, singles).figure


def _heads(recordings: RecordingSet, metric: str = "strength") -> go.Figure:
    chosen(dict.fromkeys(of_mass()), metric, "metric")
    return recording_sets.heads("trained weights", recordings, metric).figure


def _queries(recordings: RecordingSet) -> go.Figure:
    shown = queries_apart(recordings)
    assert shown is not None  # the row fits
    return shown.figure


ROWS = {
    "layers": Drawn(
        "Kinds of tokens that are sinks, by layer; how many, how many new. beside: other sets by name",
        lambda recordings, beside=None: recording_sets.layers_by_kind(_together(recordings, beside)).figure,
    ),
    "strengths": Drawn(
        "Attention to a sink by kind and layer, beside other weights. beside",
        lambda recordings, beside=None: recording_sets.strengths(_together(recordings, beside)).figure,
    ),
    "movement": Drawn(
        "How sinks move in each layer, compared with their nulls",
        lambda recordings: recording_sets.movement("", recordings).figure,
    ),
    "counts": Drawn("Sinks per layer, by how they are counted. beside", _counts),
    "curve": Drawn(
        "One number per step, mean over prompts with its 95 % interval. curve: a row of CURVES; scope: a layer, -1 for "
        "all together; tokens, singles, beside",
        _curve,
    ),
    "kinds": Drawn(
        "Kinds of sinks over the steps. scope, beside",
        lambda recordings, scope=0, beside=None: (
            recording_sets.kinds_over_steps(_together(recordings, beside), scope).figure
        ),
    ),
    "queries": Drawn(
        "How far apart the tokens are that undecided and written queries attend to, by layer",
        _queries,
        lambda recordings: queries_apart(recordings) is not None,
    ),
    "heads": Drawn("A metric of every head, mean over prompts, and that of random weights. metric", _heads),
}
