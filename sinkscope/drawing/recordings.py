"""Figures of one recording, alone or with others beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.exhibits.inside import channels_by_layer
from analysis.figures import dynamics
from analysis.figures import sinks as sink_figures
from analysis.figures.style import DIFFERENCE_SCALE, MASS_SCALE
from analysis.recording.frames import heads_of, sinks_of, with_relative_mass
from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions, metrics
from analysis.sinks.step_inputs import ALL, REGIONS, undecided_named
from analysis.specs import SinkParams
from sinkscope.drawing.rows import Drawn, chosen

Beside = Mapping[str, Trajectory] | None
"""Other recordings, by display name."""
_MOST_NAMED = 20_000  # positions times steps up to which every point has a label


def together(recording: Trajectory, beside: Beside, alone: str = "this recording") -> dict[str, Trajectory]:
    """Return a recording and those beside it by name, in the units that sinks are judged in."""
    named = {"this recording" if beside else alone: recording, **(beside or {})}
    return {name: with_relative_mass(each) for name, each in named.items()}


def _heads(recording: Trajectory, metric: str = "strength", tokens: str = ALL, **params: Any) -> go.Figure:
    row = chosen(metrics.HEAD_METRICS, metric, "metric")
    values = row.compute(heads_of(with_relative_mass(recording), SinkParams(**params), tokens))
    values = definitions.mean_of_finite(values) if row.per_step else values
    return sink_figures.head_grid(values, row.title, percent=row.percent, centre=row.centre)


def _heads_by_step(
    recording: Trajectory, metric: str = "strength", steps: Sequence[int] = (), tokens: str = ALL, **params: Any
) -> go.Figure:
    row = chosen(metrics.HEAD_METRICS, metric, "metric")
    if not row.per_step:
        raise UserError(f"'{metric}' has one number for all steps. Draw 'heads', or choose another metric.")
    values = row.compute(heads_of(with_relative_mass(recording), SinkParams(**params), tokens))
    at = list(steps) or sorted({round(share * (recording.steps - 1)) for share in (0, 1 / 3, 2 / 3, 1)})
    scale = MASS_SCALE if row.centre is None else DIFFERENCE_SCALE
    grids = {f"step {step}": values[step] for step in at}
    return dynamics.small_multiples(grids, row.title.lower(), scale, row.percent, row.centre)


def _mass(recording: Trajectory, layer: int = 0, head: int = 0, **params: Any) -> go.Figure:
    whole = with_relative_mass(recording)
    _, flags = sinks_of(whole, SinkParams(**params), layer, head)
    mass = whole.mass[:, layer, head]
    names = [recording.names.at(step) for step in range(recording.steps)] if mass.size <= _MOST_NAMED else None
    return sink_figures.mass_over_steps(mass, recording.labels(), flags, names)


def _curve(
    recording: Trajectory,
    curve: str = "count",
    layer: int | None = None,
    head: int | None = None,
    tokens: str = ALL,
    beside: Beside = None,
    **params: Any,
) -> go.Figure:
    row = chosen(metrics.CURVES, curve, "curve")
    values = {}
    for name, member in together(recording, beside, row.title).items():
        mean, flags = sinks_of(member, SinkParams(**params), layer, head, tokens)
        values[name] = row.compute(mean, flags, member.counted(tokens))
    return dynamics.curves(dynamics.lines(values), "denoising step", row.axis, percent=row.percent)


def _kinds(
    recording: Trajectory, layer: int | None = None, tokens: str = ALL, beside: Beside = None, **params: Any
) -> go.Figure:
    panels = {}
    for name, member in together(recording, beside, "").items():
        _, flags = sinks_of(member, SinkParams(**params), layer, split=tokens)
        info = member.info
        kinds = definitions.token_kinds(member.tokens, member.undecided, info.tokens, info.model.end_tokens)
        panels[name] = definitions.count_by_kind(flags, kinds)
    names = [undecided_named(kind, recording.info.model.noise) for kind in definitions.KINDS]
    return dynamics.kinds_over_steps(panels, names)


def _regions(recording: Trajectory, layer: int | None = None, **params: Any) -> go.Figure:
    whole = with_relative_mass(recording)
    counts = [sinks_of(whole, SinkParams(**params), layer, split=region)[1].sum(axis=1) for region in REGIONS]
    names = [undecided_named(title, recording.info.model.noise) for title in REGIONS.values()]
    return dynamics.kinds_over_steps({"": np.stack(counts, axis=-1)}, names)


def _changes(recording: Trajectory) -> go.Figure:
    changed = recording.changes
    flags = {"written": changed.written, "edited": changed.edited, "taken back": changed.taken_back}
    counts = {name: each.sum(axis=1) for name, each in flags.items()}
    return dynamics.curves(dynamics.lines(counts), "denoising step", "tokens")


def _variances(
    recording: Trajectory,
    by_head: bool = True,
    log: bool = False,
    tokens: str = ALL,
    beside: Beside = None,
    **params: Any,
) -> go.Figure:
    clouds = []
    for name, member in together(recording, beside, "").items():
        even, counted = member.pattern.is_even, member.counted(tokens)
        uniform = None if even else member.pattern.uniform_mass
        spatial, temporal, names = metrics.variance_points(member.mass, SinkParams(**params), by_head, uniform, counted)
        layers = np.arange(len(names)) // (len(names) // member.layers)
        clouds.append(dynamics.Cloud(name, spatial, temporal, names, layers.tolist()))
    return dynamics.variances(clouds, log)


def _lifetimes(
    recording: Trajectory, layer: int | None = None, head: int | None = None, tokens: str = ALL, **params: Any
) -> go.Figure:
    _, flags = sinks_of(with_relative_mass(recording), SinkParams(**params), layer, head, tokens)
    return _position_bars(recording, metrics.lifetimes(flags), "steps as a sink", True)


def _position_variance(
    recording: Trajectory, layer: int | None = None, head: int | None = None, tokens: str = ALL
) -> go.Figure:
    mean, _ = sinks_of(with_relative_mass(recording), SinkParams(), layer, head)
    share = definitions.attention_share(mean)
    values = metrics.position_variance(share, recording.counted(tokens))
    return _position_bars(recording, values, "variance of the share")


def _position_bars(recording: Trajectory, values: np.ndarray, title: str, sinks: bool = False) -> go.Figure:
    names = recording.names
    return dynamics.position_bars(values, recording.labels(), names.over_steps(), title, sinks, later=names.later())


def _channels(recording: Trajectory, **params: Any) -> go.Figure:
    _, flags = sinks_of(with_relative_mass(recording), SinkParams(**params))
    return channels_by_layer(recording, flags).figure


ROWS = {
    "heads": Drawn(
        "One number per layer and head. metric: a row of HEAD_METRICS; tokens: a row of SPLITS; k: of the sinks", _heads
    ),
    "heads by step": Drawn("The same at chosen steps. metric, steps, tokens, k", _heads_by_step),
    "mass": Drawn("One head's attention mass by step and position, its sinks marked. layer, head, k", _mass),
    "curve": Drawn(
        "One number per step. curve: a row of CURVES; layer, head, tokens, k; beside: other recordings by name", _curve
    ),
    "kinds": Drawn(
        "Which tokens are sinks, by step: masked, first, last, punctuation, words. layer, tokens, k, beside", _kinds
    ),
    "regions": Drawn("In which part of the text the sinks stand, by step. layer, k", _regions),
    "changes": Drawn("Tokens that each step writes, edits and takes back", _changes),
    "variances": Drawn(
        "Spatial against temporal variance, a point per head. by_head, log, tokens, k, beside", _variances
    ),
    "lifetimes": Drawn("Steps in which each position is a sink. layer, head, tokens, k", _lifetimes),
    "position variance": Drawn(
        "Variance of each position's share of attention. layer, head, tokens", _position_variance
    ),
    "channels": Drawn(
        "The largest residual channel of each layer and step, sinks marked. k",
        _channels,
        lambda recording: recording.largest_channel is not None,
    ),
}
