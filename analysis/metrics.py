"""What is measured about sinks: per step, per head, per position. NumPy only.

Shapes: T steps, L layers, H heads, S positions; NaN where an autoregressive text has not got to. A metric is one row of
`CURVES` (a number a step) or `HEAD_METRICS` (a number a head).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis import sinks as sink_analysis
from analysis.specs import SinkParams

# --- distributions over positions -------------------------------------------------------------------------------


def entropy(mass: np.ndarray) -> np.ndarray:
    """Entropy of the shares over positions, divided by log S: 0 = all on one position, 1 = uniform. (…, S) -> (…)."""
    mass = np.asarray(mass, np.float32)
    total = np.nansum(mass, axis=-1)
    # −Σ a·log a with a = m/Σm is log Σm − Σ m·log m / Σm: one pass over the mass, not three.
    spread = np.log(total) - np.nansum(mass * np.log(np.where(mass > 0, mass, 1)), axis=-1) / total
    count = np.isfinite(mass).sum(axis=-1)
    return spread / np.log(np.maximum(count, 2))


def gini(mass: np.ndarray) -> np.ndarray:
    """Gini coefficient of the mass over positions: 0 = uniform, near 1 = all on one position. (…, S) -> (…)."""
    ordered = np.sort(np.asarray(mass, np.float32), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    rank = np.arange(1, ordered.shape[-1] + 1)
    weighted = np.nansum((2 * rank - count - 1) * ordered, axis=-1)
    return weighted / (count[..., 0] * np.nansum(ordered, axis=-1))


def spatial_variance(share: np.ndarray) -> np.ndarray:
    """Var_i(mean_t share[t, i]): how unevenly attention lies over positions. (T, …, S) -> (…)."""
    return np.nanvar(_nanmean(share, axis=0), axis=-1)


def position_variance(share: np.ndarray) -> np.ndarray:
    """Var_t(share[t, s]) of each position over the steps. (T, …, S) -> (…, S)."""
    with np.errstate(invalid="ignore"):
        present = np.isfinite(share)
        count = present.sum(axis=0)
        mean = _nanmean(share, axis=0)
        square = np.where(present, np.square(share - mean), 0).sum(axis=0)
        return square / np.where(count > 0, count, np.nan)


def temporal_variance(centroid: np.ndarray) -> np.ndarray:
    """Var_t(c_t / S) over the steps that have sinks: high means the sink moves, so it is unstable. (T, …) -> (…).

    NaN where fewer than two steps have sinks.
    """
    count = np.isfinite(centroid).sum(axis=0)
    mean = _nanmean(centroid, axis=0)
    square = np.nansum(np.square(centroid - mean), axis=0)
    return np.where(count > 1, square / np.maximum(count, 1), np.nan)


def mean_over_steps(values: np.ndarray) -> np.ndarray:
    """The mean over the steps that have a value, (T, …) -> (…); NaN where none has."""
    return _nanmean(values, axis=0)


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """np.nanmean without its warning for slices that are all NaN."""
    count = np.isfinite(values).sum(axis=axis)
    return np.nansum(values, axis=axis) / np.where(count > 0, count, np.nan)


# --- time -------------------------------------------------------------------------------------------------------


def lifetimes(sinks: np.ndarray) -> np.ndarray:
    """In how many steps each position is a sink, (T, …, S) -> (…, S)."""
    return sinks.sum(axis=0)


def mean_lifetime(sinks: np.ndarray) -> np.ndarray:
    """How many consecutive steps a sink lasts on average, (T, …, S) -> (…). NaN without sinks."""
    starts = sinks.copy()
    starts[1:] &= ~sinks[:-1]
    runs = starts.sum(axis=(0, -1))
    return sinks.sum(axis=(0, -1)) / np.where(runs > 0, runs, np.nan)


# --- one number a step ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A number a step. formula: LaTeX. compute: (mass (T, S) averaged over the chosen heads, sinks (T, S)) -> (T,).

    by_kind: whether it counts sinks, so that it can be split by the kind of the sink.
    """

    title: str
    axis: str
    sentence: str
    formula: str
    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]
    by_kind: bool = False
    percent: bool = False


def _strength(mass: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    return np.where(sinks, mass, 0).sum(axis=-1) / np.nansum(mass, axis=-1)


def _turnover(mass: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], sink_analysis.turnover(sinks)])


def _share_variance(mass: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    return np.nanvar(sink_analysis.attention_share(mass), axis=-1)


CURVES: dict[str, Curve] = {
    "count": Curve(
        "Number of sinks",
        "number of sinks",
        "How many positions are sinks in each step.",
        r"\#\{s : s \in \text{sinks}_t\}",
        lambda mass, sinks: sinks.sum(axis=-1).astype(np.float32),
        by_kind=True,
    ),
    "strength": Curve(
        "Total sink strength",
        "share of attention",
        "Which share of all attention goes to the sinks of the step.",
        r"\frac{\sum_{s \in \text{sinks}_t} m_{t,s}}{\sum_s m_{t,s}}",
        _strength,
        by_kind=True,
        percent=True,
    ),
    "centroid": Curve(
        "Sink centroid",
        "centroid / length",
        "Where the sinks are on average: 0 is the start of the text, 1 its end. Gaps are steps without sinks.",
        r"\frac{1}{S}\,\frac{\sum_{i \in \text{sinks}_t} i\,M_{t,i}}{\sum_{i \in \text{sinks}_t} M_{t,i}}",
        sink_analysis.sink_centroid,
        by_kind=True,
    ),
    "turnover": Curve(
        "Turnover",
        "1 − Jaccard",
        "How much the set of sinks changes from the step before: 0 the same sinks, 1 none in common.",
        r"1 - \frac{|\text{sinks}_{t-1} \cap \text{sinks}_t|}{|\text{sinks}_{t-1} \cup \text{sinks}_t|}",
        _turnover,
        by_kind=True,
    ),
    "entropy": Curve(
        "Entropy of the mass",
        "entropy / log S",
        "How evenly attention is spread over positions: 1 is uniform, 0 all on one position.",
        r"-\frac{1}{\log S}\sum_s a_{t,s} \log a_{t,s}",
        lambda mass, sinks: entropy(mass),
    ),
    "gini": Curve(
        "Gini coefficient of the mass",
        "Gini coefficient",
        "How unequally attention is spread over positions: 0 is uniform, near 1 all on one position.",
        r"\frac{\sum_i (2i - S - 1)\,m_{(i)}}{S \sum_i m_{(i)}}",
        lambda mass, sinks: gini(mass),
    ),
    "share-variance": Curve(
        "Variance of the share over positions",
        "variance",
        "How far the attention shares of the positions lie apart in each step.",
        r"\operatorname{Var}_s(a_{t,s})",
        _share_variance,
    ),
}


# --- one number a head ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heads:
    """What a head metric may read. mass (T, L, H, S) float32; sinks (T, S) of the whole model; value_norm
    (T, L, H_kv, S) or None where it was not recorded; moments: mean and std (T, L, H, 1) of the mass, where known.
    """

    mass: np.ndarray
    sinks: np.ndarray
    params: SinkParams
    bidirectional: bool
    value_norm: np.ndarray | None = None
    moments: tuple[np.ndarray, np.ndarray] | None = None

    def own_sinks(self, step: int) -> np.ndarray:
        """The sinks of each head in a step, by its own mass, (L, H, S)."""
        if self.moments is not None and self.params.definition == "std":
            mean, std = self.moments
            return self.mass[step] > mean[step] + self.params.k * std[step]
        return sink_analysis.find_sinks(self.mass[step], self.params, self.bidirectional)


@dataclass(frozen=True)
class HeadMetric:
    """A number a head. formula: LaTeX. compute -> (T, L, H) where `per_step`, else (L, H) over all steps.

    reads_sinks: whether it changes with what counts as a sink.
    """

    title: str
    sentence: str
    formula: str
    compute: Callable[[Heads], np.ndarray]
    per_step: bool = True
    percent: bool = False
    reads_sinks: bool = True


def _first_share(heads: Heads) -> np.ndarray:
    present = np.isfinite(heads.mass[:, 0, 0]).sum(axis=-1)
    return heads.mass[..., 0] / present[:, None, None]


def _head_centroid_variance(heads: Heads) -> np.ndarray:
    steps = len(heads.mass)
    centroid = np.empty(heads.mass.shape[:3], np.float32)
    for step in range(steps):
        rows = heads.mass[step].reshape(-1, heads.mass.shape[-1])
        own = heads.own_sinks(step).reshape(rows.shape)
        centroid[step] = sink_analysis.sink_centroid(rows, own).reshape(heads.mass.shape[1:3])
    return temporal_variance(centroid)


def _head_lifetime(heads: Heads) -> np.ndarray:
    total = np.zeros(heads.mass.shape[1:3])
    runs = np.zeros(heads.mass.shape[1:3])
    before = np.zeros(heads.mass.shape[1:], bool)
    for step in range(len(heads.mass)):
        own = heads.own_sinks(step)
        total += own.sum(axis=-1)
        runs += (own & ~before).sum(axis=-1)
        before = own
    return total / np.where(runs > 0, runs, np.nan)


def _value_norm_ratio(heads: Heads) -> np.ndarray:
    if heads.value_norm is None:
        raise ValueError("The recording holds no value norms.")
    norm = heads.value_norm
    group = heads.mass.shape[2] // norm.shape[2]
    ratio = np.full(norm.shape[:3], np.nan, np.float32)
    for step, flags in enumerate(heads.sinks):
        count = int(flags.sum())
        present = int(np.isfinite(norm[step, 0, 0]).sum())
        if 0 < count < present:
            sinks = norm[step][:, :, flags].sum(axis=-1, dtype=np.float32)
            whole = norm[step][:, :, :present].sum(axis=-1, dtype=np.float32)
            ratio[step] = (sinks / count) / ((whole - sinks) / (present - count))
    return ratio.repeat(group, axis=2)


HEAD_METRICS: dict[str, HeadMetric] = {
    "strength": HeadMetric(
        "Sink strength",
        "The share of each head's attention that goes to the sinks",
        r"\text{strength}_{t,l,h} = \frac{\sum_{s \in \text{sinks}_t} m_{t,l,h,s}}{\sum_s m_{t,l,h,s}}",
        lambda heads: sink_analysis.sink_strength(heads.mass, heads.sinks),
        percent=True,
    ),
    "first": HeadMetric(
        "First token's share",
        "The share of each head's attention that goes to the first token",
        r"\frac{m_{t,l,h,0}}{S}",
        _first_share,
        percent=True,
        reads_sinks=False,
    ),
    "entropy": HeadMetric(
        "Entropy",
        "How evenly each head spreads its attention: 1 is uniform, 0 all on one position",
        r"-\frac{1}{\log S}\sum_s a_{t,l,h,s} \log a_{t,l,h,s}",
        lambda heads: np.stack([entropy(step) for step in heads.mass]),
        reads_sinks=False,
    ),
    "temporal-variance": HeadMetric(
        "Temporal variance",
        "How much the centroid of each head's own sinks moves over the steps: high means unstable",
        r"\operatorname{Var}_t\!\left(c_{t,l,h} / S\right)",
        _head_centroid_variance,
        per_step=False,
    ),
    "lifetime": HeadMetric(
        "Sink lifetime",
        "For how many consecutive steps a sink of each head lasts on average",
        r"\frac{\text{steps as a sink}}{\text{times of becoming one}}",
        _head_lifetime,
        per_step=False,
    ),
    "value-norm": HeadMetric(
        "Value norm of the sinks",
        "How large the values of the sinks are beside those of the other tokens: below 1 they are smaller",
        r"\frac{\operatorname{mean}_{s \in \text{sinks}_t} \lVert v_s \rVert}"
        r"{\operatorname{mean}_{s \notin \text{sinks}_t} \lVert v_s \rVert}",
        _value_norm_ratio,
    ),
}


# --- spatial against temporal variance --------------------------------------------------------------------------


def variance_points(
    mass: np.ndarray, params: SinkParams, bidirectional: bool, by_head: bool, counted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One point a layer, or a head: Var_i(mean_t r[t, i]) and Var_t(c_t / S), (N,), with r the corrected share.

    mass (T, L, H, S). Sinks are the positions with r above mean + k·std, since causal masks alone pile attention on the
    first tokens. counted (T, S): where sinks count for the centroid; everywhere when None.
    """
    layers = mass.shape[1]
    rule = SinkParams(k=params.k)
    groups = mass if by_head else mass.mean(axis=2, keepdims=True)
    spatial = np.empty(groups.shape[1:3], np.float64)
    temporal = np.empty(groups.shape[1:3], np.float64)
    for layer in range(layers):
        share = sink_analysis.corrected_share(groups[:, layer], bidirectional)
        own = sink_analysis.find_sinks(share, rule, bidirectional)
        if counted is not None:
            own &= counted[:, None]
        for index in range(groups.shape[2]):
            spatial[layer, index] = spatial_variance(share[:, index])
            temporal[layer, index] = temporal_variance(sink_analysis.sink_centroid(share[:, index], own[:, index]))
    names = [
        f"layer {layer}, head {head}" if by_head else f"layer {layer}"
        for layer in range(layers)
        for head in range(groups.shape[2])
    ]
    return spatial.ravel(), temporal.ravel(), names
