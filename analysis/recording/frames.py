"""Tables of one recording, for notebooks, scripts and exports: a row per token and step, per step, and per head.

Sinks are judged on the mass averaged over all layers and heads, as the pages do by themselves.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.recording.trajectory import PADDING, Trajectory
from analysis.sinks import definitions, metrics
from analysis.sinks.step_inputs import ALL, TokenState
from analysis.specs import SinkParams


def with_relative_mass(trajectory: Trajectory) -> Trajectory:
    """Return the recording with mass in the units that sinks are judged in: 1 on average whatever part asks."""
    return replace(trajectory, mass=trajectory.relative_mass())


def mean_mass(trajectory: Trajectory, layer: int | None = None, head: int | None = None) -> np.ndarray:
    """Return the mass averaged over a layer or head (T, S); over all of them where None."""
    layers = slice(None) if layer is None else slice(layer, layer + 1)
    heads = slice(None) if head is None else slice(head, head + 1)
    return definitions.mean_mass(trajectory.mass[:, layers, heads])


def sinks_of(
    trajectory: Trajectory, params: SinkParams, layer: int | None = None, head: int | None = None, split: str = ALL
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean mass over layers and heads (T, S), and which tokens of a split are sinks (T, S) bool.

    trajectory: of `with_relative_mass`. layer, head: as in `mean_mass`.
    """
    mean = mean_mass(trajectory, layer, head)
    flags = definitions.find_sinks(mean, params, trajectory.pattern.visible(layer))
    return mean, flags & trajectory.counted(split)


def heads_of(trajectory: Trajectory, params: SinkParams, split: str = ALL) -> metrics.Heads:
    """Return what the rows of `HEAD_METRICS` are computed from. trajectory: of `with_relative_mass`."""
    _, flags = sinks_of(trajectory, params, split=split)
    largest, norms = trajectory.pattern.largest_mass, trajectory.value_norm
    return metrics.Heads(trajectory.mass, flags, params, largest, norms, counted=trajectory.counted(split))


def token_frame(trajectory: Trajectory, params: SinkParams) -> pd.DataFrame:
    """Return a row per step and token that is there: what it is, its share, its corrected share, and whether it is a
    sink.
    """
    trajectory = with_relative_mass(trajectory)
    mean, flags = sinks_of(trajectory, params)
    info = trajectory.info
    kinds = definitions.token_kinds(trajectory.tokens, trajectory.undecided, info.tokens, info.model.end_tokens)
    step, position = np.nonzero(trajectory.present)
    share = definitions.attention_share(mean)
    corrected = share / trajectory.pattern.uniform_share
    states = {state.value: state.name.lower() for state in TokenState}
    final = trajectory.final[position]
    return pd.DataFrame(
        {
            "step": step,
            "position": position,
            "token": [info.tokens[token] for token in trajectory.tokens[step, position].tolist()],
            "later": ["" if token == PADDING else info.tokens.get(token, "") for token in final.tolist()],
            "state": [states[state] for state in trajectory.state[step, position].tolist()],
            "kind": [definitions.KINDS[kind] for kind in kinds[step, position].tolist()],
            "share": share[step, position],
            "corrected_share": corrected[step, position],
            "sink": flags[step, position],
        }
    )


def step_frame(trajectory: Trajectory, params: SinkParams) -> pd.DataFrame:
    """Return a row per step: every curve of `analysis.sinks.metrics.CURVES`, and the share of tokens undecided."""
    trajectory = with_relative_mass(trajectory)
    mean, flags = sinks_of(trajectory, params)
    everywhere = np.ones_like(flags)
    curves = {column_of(name): curve.compute(mean, flags, everywhere) for name, curve in metrics.CURVES.items()}
    return pd.DataFrame({"step": np.arange(trajectory.steps), "share_undecided": trajectory.share_undecided, **curves})


def head_frame(trajectory: Trajectory, params: SinkParams) -> pd.DataFrame:
    """Return a row per layer and head: every row of `analysis.sinks.metrics.HEAD_METRICS`, its mean over the steps."""
    trajectory = with_relative_mass(trajectory)
    heads = heads_of(trajectory, params)
    layer, head = np.indices((trajectory.layers, trajectory.heads)).reshape(2, -1)
    columns = {"layer": layer, "head": head}
    for name, metric in metrics.HEAD_METRICS.items():
        if metric.reads_values and trajectory.value_norm is None:
            continue
        values = metric.compute(heads)
        columns[column_of(name)] = (definitions.mean_of_finite(values) if metric.per_step else values).reshape(-1)
    return pd.DataFrame(columns)


def column_of(name: str) -> str:
    """Return the column that a row of a registry has in tables."""
    return name.replace("-", "_")
