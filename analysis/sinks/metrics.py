"""Measures of sinks per step, per head and per position. NumPy only.

Shapes: T steps, L layers, H heads, S positions; NaN where a token is absent. Mass is in units in which uniform
attention gives 1 on average, as in `definitions`. A metric is one row of `CURVES` (a number per step) or `HEAD_METRICS`
(a number per head).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from analysis.machine.process import allotted_cpus
from analysis.registry import Registry
from analysis.sinks import definitions as sink_analysis
from analysis.specs import SinkParams

_T = TypeVar("_T")


def _each_step(function: Callable[[int], _T], steps: int) -> list[_T]:
    """function(0), …, function(steps − 1), on the CPUs allotted: NumPy lets other threads run while it computes."""
    return list(_threads().map(function, range(steps)))


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that compute steps, the same for all metrics."""
    return ThreadPoolExecutor(max_workers=min(allotted_cpus(), 8))


# --- distributions over positions -------------------------------------------------------------------------------


def entropy(mass: np.ndarray) -> np.ndarray:
    """Entropy of the shares over positions, divided by log S: 0 = all on one position, 1 = uniform. (…, S) -> (…)."""
    mass = np.asarray(mass, np.float32)
    total, count = mass.sum(axis=-1), mass.shape[-1]
    if np.isnan(total).any():
        count = np.isfinite(mass).sum(axis=-1)
        mass = np.nan_to_num(mass, nan=0)
        total = mass.sum(axis=-1)
    # −Σ a·log a with a = m/Σm is log Σm − Σ m·log m / Σm: one pass over the mass, not three.
    logarithm = np.log(np.maximum(mass, np.finfo(np.float32).tiny))
    spread = np.log(total) - np.einsum("...s,...s->...", mass, logarithm) / total
    return spread / np.log(np.maximum(count, 2))


def gini(mass: np.ndarray) -> np.ndarray:
    """Gini coefficient of the mass over positions: 0 = uniform, near 1 = all on one position. (…, S) -> (…)."""
    ordered = np.sort(np.asarray(mass, np.float32), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    rank = np.arange(1, ordered.shape[-1] + 1)
    weighted = np.nansum((2 * rank - count - 1) * ordered, axis=-1)
    return weighted / (count[..., 0] * np.nansum(ordered, axis=-1))


def position_variance(share: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Var_t(share[t, s]) of each position over the steps, or over those counted. (T, …, S) -> (…, S)."""
    if counted is not None:
        share = np.where(counted, share, np.nan)
    return _nanvar(np.moveaxis(share, 0, -1))


def temporal_variance(centroid: np.ndarray) -> np.ndarray:
    """Var_t(c_t / S) over the steps that have sinks: high means the sink moves, so it is unstable. (T, …) -> (…).

    NaN where fewer than two steps have sinks.
    """
    count = np.isfinite(centroid).sum(axis=0)
    mean = sink_analysis.mean_of_finite(centroid)
    square = np.nansum(np.square(centroid - mean), axis=0)
    square = np.where(square < 1e-20, 0, square)  # a sink that stays: what is left is rounding
    return np.where(count > 1, square / np.maximum(count, 1), np.nan)


def _nanvar(values: np.ndarray) -> np.ndarray:
    """The variance over the last axis of what is finite, NaN where nothing is."""
    return np.ma.filled(np.ma.masked_invalid(values).var(axis=-1), np.nan)


def strongest_position(mass: np.ndarray) -> np.ndarray:
    """The position with most mass over all steps together, (T, …, S) -> (…)."""
    total = mass.sum(axis=0)
    if np.isnan(total).any():
        total = np.nansum(mass, axis=0)
    return total.argmax(axis=-1)


def highest(values: np.ndarray, layer: int | None = None, head: int | None = None) -> tuple[int, int]:
    """Layer and head of the highest value, (L, H), of all or of a layer or head; the first where all are NaN."""
    allowed = np.full(values.shape, -np.inf)
    rows = slice(None) if layer is None or layer >= values.shape[0] else layer
    columns = slice(None) if head is None or head >= values.shape[1] else head
    allowed[rows, columns] = np.nan_to_num(values[rows, columns], nan=-1e30)
    return divmod(int(allowed.argmax()), values.shape[1])


# --- time -------------------------------------------------------------------------------------------------------


def lifetimes(sinks: np.ndarray) -> np.ndarray:
    """In how many steps each position is a sink, (T, …, S) -> (…, S)."""
    return sinks.sum(axis=0)


# --- one number per step ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepMetric:
    """Number per step. formula: LaTeX. compute: (mass (T, S) averaged over the chosen heads, sinks (T, S), which
    positions are looked at (T, S)) -> (T,).

    by_kind: whether it can be split into [MASK] and other tokens; sinks are then those among the positions looked at.
    counts_sinks: it is the number of sinks, which the Gaussian reference is too. compares_steps: it looks at the step
    before, which steps that are drawn independently do not have.
    """

    name: str
    title: str
    axis: str
    sentence: str
    formula: str
    compute: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    by_kind: bool = False
    percent: bool = False
    counts_sinks: bool = False
    compares_steps: bool = False


CURVES: Registry[StepMetric] = Registry(
    StepMetric(
        "count",
        "Number of sinks",
        "number of sinks",
        "How many positions are sinks in each step.",
        r"\#\{s : s \in \text{sinks}_t\}",
        lambda mass, sinks, looked_at: sinks.sum(axis=-1).astype(np.float32),
        by_kind=True,
        counts_sinks=True,
    ),
    StepMetric(
        "strength",
        "Total sink strength",
        "share of attention",
        "Which share of all attention goes to the sinks of the step.",
        r"\frac{\sum_{s \in \text{sinks}_t} m_{t,s}}{\sum_s m_{t,s}}",
        lambda mass, sinks, looked_at: np.where(sinks, mass, 0).sum(axis=-1) / np.nansum(mass, axis=-1),
        by_kind=True,
        percent=True,
    ),
    StepMetric(
        "centroid",
        "Sink centroid",
        "centroid / length",
        "Where the sinks are on average: 0 is the start of the text, 1 its end. Gaps are steps without sinks.",
        r"\frac{1}{S}\,\frac{\sum_{i \in \text{sinks}_t} i\,M_{t,i}}{\sum_{i \in \text{sinks}_t} M_{t,i}}",
        lambda mass, sinks, looked_at: sink_analysis.sink_centroid(mass, sinks),
        by_kind=True,
    ),
    StepMetric(
        "turnover",
        "Turnover",
        "1 − Jaccard",
        "How much the set of sinks changes from the step before: 0 the same sinks, 1 none in common.",
        r"1 - \frac{|\text{sinks}_{t-1} \cap \text{sinks}_t|}{|\text{sinks}_{t-1} \cup \text{sinks}_t|}",
        lambda mass, sinks, looked_at: np.concatenate([[np.nan], sink_analysis.turnover(sinks)]),
        by_kind=True,
        compares_steps=True,
    ),
    StepMetric(
        "entropy",
        "Entropy of the mass",
        "entropy / log S",
        "How evenly attention is spread over positions: 1 is uniform, 0 all on one position.",
        r"-\frac{1}{\log S}\sum_s a_{t,s} \log a_{t,s}",
        lambda mass, sinks, looked_at: entropy(mass),
    ),
    StepMetric(
        "gini",
        "Gini coefficient of the mass",
        "Gini coefficient",
        "How unequally attention is spread over positions: 0 is uniform, near 1 all on one position.",
        r"\frac{\sum_i (2i - S - 1)\,m_{(i)}}{S \sum_i m_{(i)}}",
        lambda mass, sinks, looked_at: gini(mass),
    ),
    StepMetric(
        "share-variance",
        "Variance of the share over positions",
        "variance",
        "How far the attention shares of the positions lie apart in each step.",
        r"\operatorname{Var}_s(a_{t,s})",
        lambda mass, sinks, looked_at: _nanvar(np.where(looked_at, sink_analysis.attention_share(mass), np.nan)),
        by_kind=True,
    ),
)


# --- one number per head ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heads:
    """Input of the head metrics. mass (T, L, H, S) float32; sinks (T, S) of the whole model; visible: the queries
    that can see each key, broadcast to the mass, all of them when None; value_norm (T, L, H_kv, S) or None where it was
    not recorded; known: moments (T, L, H, 1) of the mass, value_total (T, L, H_kv) the sum of the value norms over
    positions, both computed where not given; counted (T, S): where a head's own sinks count, everywhere when None.
    """

    mass: np.ndarray
    sinks: np.ndarray
    params: SinkParams
    visible: np.ndarray | None = None
    value_norm: np.ndarray | None = None
    known: sink_analysis.Moments | None = None
    value_total: np.ndarray | None = None
    counted: np.ndarray | None = None

    @cached_property
    def moments(self) -> sink_analysis.Moments:
        """Return the moments of every head's mass in every step, each (T, L, H, 1)."""
        return head_moments(self.mass) if self.known is None else self.known

    @cached_property
    def lengths(self) -> np.ndarray:
        """Positions present in each step, (T,)."""
        return sink_analysis.lengths(self.mass)

    def own_sinks(self, step: int) -> np.ndarray:
        """The sinks of each head in a step, by its own mass, (L, H, S)."""
        visible = None if self.visible is None else self.visible[step]
        head_sinks = sink_analysis.find_sinks(self.mass[step], self.params, visible, self.moments.at(step))
        return head_sinks if self.counted is None else head_sinks & self.counted[step]


def head_moments(mass: np.ndarray) -> sink_analysis.Moments:
    """Return the moments of every head's mass in every step, (T, L, H, S) -> each (T, L, H, 1)."""
    rows = _each_step(lambda step: sink_analysis.moments(mass[step]), len(mass))
    return sink_analysis.Moments(
        np.stack([row.count for row in rows]), np.stack([row.mean for row in rows]), np.stack([row.std for row in rows])
    )


def value_totals(value_norm: np.ndarray) -> np.ndarray:
    """The value norms summed over the positions, (T, L, H_kv, S) -> (T, L, H_kv) float32."""

    def total(step: int) -> np.ndarray:
        norms = value_norm[step].astype(np.float32)
        whole = norms.sum(axis=-1)
        return np.nansum(norms, axis=-1) if np.isnan(whole).any() else whole

    return np.stack(_each_step(total, len(value_norm)))


@dataclass(frozen=True)
class HeadMetric:
    """Number per head. formula: LaTeX. compute -> (T, L, H) where `per_step`, else (L, H) over all steps.

    reads_sinks: whether it changes with what counts as a sink. reads_values: whether it looks at the value norms.
    centre: of a ratio, the value that means no difference, which the colours diverge from.
    """

    name: str
    title: str
    sentence: str
    formula: str
    compute: Callable[[Heads], np.ndarray]
    per_step: bool = True
    percent: bool = False
    reads_sinks: bool = True
    reads_values: bool = False
    centre: float | None = None


def _strength_of_heads(heads: Heads) -> np.ndarray:
    total = (heads.moments.mean * heads.moments.count)[..., 0]
    return sink_analysis.sink_strength(heads.mass, heads.sinks, total)


def _head_centroid_variance(heads: Heads) -> np.ndarray:
    heads.moments, heads.lengths  # noqa: B018  computed here, not by two threads at once

    def centroid(step: int) -> np.ndarray:
        rows = heads.mass[step].reshape(-1, heads.mass.shape[-1])
        return sink_analysis.sink_centroid(rows, heads.own_sinks(step).reshape(rows.shape), heads.lengths[step])

    centroids = np.stack(_each_step(centroid, len(heads.mass)))
    return temporal_variance(centroids).reshape(heads.mass.shape[1:3])


def _head_lifetime(heads: Heads) -> np.ndarray:
    heads.moments, heads.lengths  # noqa: B018
    # 64 positions per word: a step's sinks are compared with the step before and counted without being unpacked.
    steps, layers, count, positions = heads.mass.shape
    packed = np.zeros((steps, layers, count, -(-positions // 64) * 8), np.uint8)

    def pack(step: int) -> None:
        packed[step, ..., : -(-positions // 8)] = np.packbits(heads.own_sinks(step), axis=-1)

    _each_step(pack, steps)
    words = packed.view(np.uint64)
    became = words.copy()
    became[1:] &= ~words[:-1]
    total, runs = (np.bitwise_count(flags).sum(axis=(0, -1), dtype=np.int64) for flags in (words, became))
    return total / np.where(runs > 0, runs, np.nan)


def _value_norm_ratio(heads: Heads) -> np.ndarray:
    if heads.value_norm is None:
        raise ValueError("The recording holds no value norms.")
    norm = heads.value_norm
    whole = value_totals(norm) if heads.value_total is None else heads.value_total
    ratio = np.full(norm.shape[:3], np.nan, np.float32)
    for step, flags in enumerate(heads.sinks):
        count, present = int(flags.sum()), int(heads.lengths[step])
        if 0 < count < present:
            sinks = norm[step][:, :, flags].sum(axis=-1, dtype=np.float32)
            ratio[step] = (sinks / count) / ((whole[step] - sinks) / (present - count))
    return ratio.repeat(heads.mass.shape[2] // norm.shape[2], axis=2)


HEAD_METRICS: Registry[HeadMetric] = Registry(
    HeadMetric(
        "strength",
        "Sink strength",
        "The share of each head's attention that goes to the sinks",
        r"\text{strength}_{t,l,h} = \frac{\sum_{s \in \text{sinks}_t} m_{t,l,h,s}}{\sum_s m_{t,l,h,s}}",
        _strength_of_heads,
        percent=True,
    ),
    HeadMetric(
        "first",
        "First token's share",
        "The share of each head's attention that goes to the first token",
        r"\frac{m_{t,l,h,0}}{S}",
        lambda heads: heads.mass[..., 0] / heads.lengths[:, None, None],
        percent=True,
        reads_sinks=False,
    ),
    HeadMetric(
        "entropy",
        "Entropy",
        "How evenly each head spreads its attention: 1 is uniform, 0 all on one position",
        r"-\frac{1}{\log S}\sum_s a_{t,l,h,s} \log a_{t,l,h,s}",
        lambda heads: np.stack(_each_step(lambda step: entropy(heads.mass[step]), len(heads.mass))),
        reads_sinks=False,
    ),
    HeadMetric(
        "temporal-variance",
        "Temporal variance",
        "How much the centroid of each head's own sinks moves over the steps: high means unstable",
        r"\operatorname{Var}_t\!\left(c_{t,l,h} / S\right)",
        _head_centroid_variance,
        per_step=False,
    ),
    HeadMetric(
        "lifetime",
        "Sink lifetime",
        "For how many consecutive steps a sink of each head lasts on average",
        r"\frac{\text{steps as a sink}}{\text{times of becoming one}}",
        _head_lifetime,
        per_step=False,
    ),
    HeadMetric(
        "value-norm",
        "Value norm of the sinks",
        "How large the values of the sinks are beside those of the other tokens: below 1 they are smaller",
        r"\frac{\operatorname{mean}_{s \in \text{sinks}_t} \lVert v_s \rVert}"
        r"{\operatorname{mean}_{s \notin \text{sinks}_t} \lVert v_s \rVert}",
        _value_norm_ratio,
        reads_values=True,
        centre=1.0,
    ),
)


def of_mass() -> tuple[str, ...]:
    """The rows of `HEAD_METRICS` that attention mass alone tells."""
    return tuple(name for name, metric in HEAD_METRICS.items() if not metric.reads_values)


def head_means(heads: Heads) -> np.ndarray:
    """Return every row of `of_mass`, its mean over the steps where it is one per step, (A, L, H) float32."""
    rows = []
    for name in of_mass():
        values = HEAD_METRICS[name].compute(heads)
        rows.append(sink_analysis.mean_of_finite(values) if HEAD_METRICS[name].per_step else values)
    return np.stack(rows).astype(np.float32)


# --- spatial against temporal variance --------------------------------------------------------------------------


def variance_points(
    mass: np.ndarray,
    params: SinkParams,
    by_head: bool,
    uniform_mass: np.ndarray | None = None,
    counted: np.ndarray | None = None,
    known: sink_analysis.Moments | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a point per layer or head: Var_i(mean_t r[t, i]) and Var_t(c_t / S), (N,), with r the corrected share.

    mass (T, L, H, S). Sinks are the positions with r above mean + k·std, since causal masks alone pile attention on the
    first tokens. uniform_mass: what uniform attention gives each key, broadcast to the mass; 1 everywhere when None.
    counted (T, S): what is looked at, for the mean of r and for the sinks; everything when None. known: the moments of
    the mass, where they are known.
    """
    steps, layers, heads, positions = mass.shape
    rule, lengths = SinkParams(k=params.k), sink_analysis.lengths(mass)
    seen = np.isfinite(mass[:, 0, 0])
    if uniform_mass is not None:
        seen &= (uniform_mass > 0).all(axis=(1, 2))
    shape = (layers, heads if by_head else 1)
    of_share = known if by_head and uniform_mass is None else None  # else the share is another mass

    def rows(step: int) -> np.ndarray:
        group = mass[step] if by_head else mass[step].mean(axis=1, keepdims=True)
        return group if uniform_mass is None else sink_analysis.corrected_share(group, uniform_mass[step])

    def centroid(step: int) -> np.ndarray:
        share = rows(step)
        row = sink_analysis.moments(share) if of_share is None else of_share.at(step)
        sinks = sink_analysis.find_sinks(share, rule, seen[step], row)
        if counted is not None:
            sinks &= counted[step]
        return sink_analysis.sink_centroid(share.reshape(-1, positions), sinks.reshape(-1, positions), lengths[step])

    looked_at = seen if counted is None else seen & counted
    total = np.zeros((*shape, positions), np.float32)
    for step, flags in enumerate(looked_at):
        share = rows(step)
        total += share if flags.all() else np.where(flags, share, 0)
    times = looked_at.sum(axis=0)
    mean = total / np.where(times > 0, times, np.nan)
    spatial = _nanvar(mean).ravel()
    temporal = temporal_variance(np.stack(_each_step(centroid, steps)))
    names = [
        f"layer {layer}, head {head}" if by_head else f"layer {layer}"
        for layer in range(layers)
        for head in range(shape[1])
    ]
    return spatial, temporal, names


def telling_step(strength: np.ndarray) -> int | None:
    """The step whose sinks take the greatest share of attention, strength (T,); the first of equals, None for none."""
    strength = np.nan_to_num(strength)
    return int(np.argmax(strength)) if strength.any() else None
