"""Attention sinks: what they are, where they are, how strong they are and how they move. NumPy only.

Shapes: T steps, L layers, H heads, S positions. Mass may be float16 and is NaN where an autoregressive text has not
got to. "Visible" counts the queries that can see a key. A sink definition is one row of `DEFINITIONS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from analysis.specs import SinkParams

KINDS = ("[MASK]", "first", "last", "end of text", "punctuation", "word")

# --- mass and share ---------------------------------------------------------------------------------------------


def total_mass(mass: np.ndarray) -> np.ndarray:
    """M[t, s] = Σ_l Σ_h m[t, l, h, s], (T, S) float32. Its mean over the positions of a step is L·H."""
    return mass.sum(axis=(1, 2), dtype=np.float32)


def mean_mass(mass: np.ndarray) -> np.ndarray:
    """Mass averaged over layers and heads, (T, S) float32. Uniform bidirectional attention gives 1 everywhere."""
    return total_mass(mass) / (mass.shape[1] * mass.shape[2])


def lengths(mass: np.ndarray) -> np.ndarray:
    """Positions present in each step, (T,)."""
    return np.isfinite(mass[:, 0, 0]).sum(axis=-1)


def attention_share(mass: np.ndarray) -> np.ndarray:
    """m / S, so that the shares of one head sum to 1. Same shape as mass (T, ..., S)."""
    present = np.isfinite(mass).sum(axis=-1, keepdims=True)
    return mass.astype(np.float32) / np.maximum(present, 1)


def uniform_share(length: int, bidirectional: bool) -> np.ndarray:
    """The share uniform attention gives each key under the model's mask, (S,).

    1/S when bidirectional; (1/S)·Σ_{q≥s} 1/(q+1) when causal.
    """
    if bidirectional:
        return np.full(length, 1 / length)
    return np.cumsum((1 / np.arange(1, length + 1))[::-1])[::-1] / length


def corrected_share(mass: np.ndarray, bidirectional: bool) -> np.ndarray:
    """Share divided by what uniform attention would give, (T, …, S): causal and bidirectional models compare on it."""
    share = attention_share(mass)
    expected = np.full((mass.shape[0], mass.shape[-1]), np.nan, np.float32)
    for step, length in enumerate(np.isfinite(mass.reshape(len(mass), -1, mass.shape[-1])[:, 0]).sum(axis=-1)):
        expected[step, :length] = uniform_share(length, bidirectional)
    return share / expected.reshape(len(mass), *[1] * (mass.ndim - 2), mass.shape[-1])


def visible_queries(present: np.ndarray, bidirectional: bool) -> np.ndarray:
    """How many queries can see each key, for (…, S) flags of the positions present."""
    count = present.sum(axis=-1, keepdims=True)
    if bidirectional:
        return np.where(present, count, 0)
    return np.where(present, count - np.arange(present.shape[-1]), 0)


# --- definitions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SinkDefinition:
    """A rule for what a sink is.

    parameter: the field of `SinkParams` it reads. formula: LaTeX. rule: (mass averaged over heads (…, S), visible
    queries (…, S), threshold) -> bool (…, S); False at NaN.
    """

    title: str
    parameter: str
    formula: str
    rule: Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def _above_deviations(mass: np.ndarray, visible: np.ndarray, k: float) -> np.ndarray:
    return mass > deviation_threshold(mass, k)


def _mean_attention(mass: np.ndarray, visible: np.ndarray, level: float) -> np.ndarray:
    return mass > level * np.where(visible > 0, visible, np.nan)


def _above_others(mass: np.ndarray, visible: np.ndarray, epsilon: float) -> np.ndarray:
    count = np.isfinite(mass).sum(axis=-1, keepdims=True)
    others = (np.nansum(mass, axis=-1, keepdims=True) - mass) / np.maximum(count - 1, 1)
    return mass > others + epsilon


DEFINITIONS: dict[str, SinkDefinition] = {
    "std": SinkDefinition(
        "Mass above mean + k·std",
        "k",
        r"M_{t,s} > \operatorname{mean}_s(M_t) + k\,\operatorname{std}_s(M_t)",
        _above_deviations,
    ),
    "mean-attention": SinkDefinition(
        "Mean attention above a level",
        "attention_level",
        r"\frac{m_{t,s}}{\#\{q\ \text{that see}\ s\}} > \varepsilon",
        _mean_attention,
    ),
    "above-others": SinkDefinition(
        "Mass above the others by ε",
        "epsilon",
        r"m_{t,s} - \operatorname{mean}_{i \neq s}(m_{t,i}) > \varepsilon",
        _above_others,
    ),
}


def moments(mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation over positions, NaN left out, each (…, 1) float32."""
    mass = np.asarray(mass, np.float32)
    mean = mass.mean(axis=-1, keepdims=True)
    if not np.isfinite(mean).all():
        return np.nanmean(mass, axis=-1, keepdims=True), np.nanstd(mass, axis=-1, keepdims=True)
    centred = mass - mean
    variance = np.einsum("...s,...s->...", centred, centred)[..., None] / mass.shape[-1]
    return mean, np.sqrt(variance)


def deviation_threshold(mass: np.ndarray, k: float) -> np.ndarray:
    """mean + k·std over positions (population std, NaN left out), (…, 1)."""
    mean, std = moments(mass)
    return mean + k * std


def find_sinks(mass: np.ndarray, params: SinkParams, bidirectional: bool) -> np.ndarray:
    """Which positions are sinks, bool of the shape of `mass` (…, S).

    mass is one head's own, or averaged over the heads to be judged together (`mean_mass`).
    """
    mass = np.asarray(mass, np.float32)
    definition = DEFINITIONS[params.definition]
    visible = visible_queries(np.isfinite(mass), bidirectional)
    return definition.rule(mass, visible, getattr(params, definition.parameter))


def soft_sink_score(total: np.ndarray, k: float = 2.0, alpha: float = 5.0) -> np.ndarray:
    """φ = sigmoid(α·(M − (mean + k·std))), (…, S), from total mass (arXiv 2602.17664)."""
    return expit(alpha * (total - deviation_threshold(total, k)))


def gaussian_reference(length: int | np.ndarray, k: float) -> float | np.ndarray:
    """S·(1 − Φ(k)): how many positions lie above mean + k·std where mass is Gaussian noise."""
    return length * norm.sf(k)


# --- measures ---------------------------------------------------------------------------------------------------


def sink_strength(mass: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    """Share of a head's attention that goes to the sinks of the step, (T, L, H) float32 (our formula).

    mass (T, L, H, S), sinks (T, S).
    """
    strength = np.empty(mass.shape[:3], np.float32)
    for step, flags in enumerate(sinks):
        taken = mass[step][:, :, flags].sum(axis=-1, dtype=np.float32)
        strength[step] = taken / np.nansum(mass[step], axis=-1, dtype=np.float32)
    return strength


def uniform_strength(sinks: np.ndarray, steps_length: np.ndarray, bidirectional: bool) -> np.ndarray:
    """The sink strength uniform attention would have at these sinks, (T,): Σ_{s∈sinks_t} of its share under the mask.

    sinks (T, S), steps_length (T,): positions present in each step.
    """
    strength = np.empty(len(sinks))
    for step, length in enumerate(steps_length):
        strength[step] = uniform_share(int(length), bidirectional)[sinks[step, :length]].sum()
    return strength


def sink_centroid(total: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    """c_t / S with c_t = Σ_{i∈sinks_t} i·M[t,i] / Σ_{i∈sinks_t} M[t,i], (T,). NaN at a step without sinks."""
    row, position = np.nonzero(sinks)
    mass = total[row, position].astype(np.float64)
    weight = np.bincount(row, mass, minlength=len(total))
    moment = np.bincount(row, mass * position, minlength=len(total))
    present = total.shape[-1] - np.isnan(total).sum(axis=-1)
    return moment / np.where(weight > 0, weight, np.nan) / present


def turnover(sinks: np.ndarray) -> np.ndarray:
    """1 − Jaccard index of the sinks of consecutive steps, (T − 1,). NaN where neither step has any."""
    before, after = sinks[:-1], sinks[1:]
    either = (before | after).sum(axis=-1)
    return 1 - (before & after).sum(axis=-1) / np.where(either > 0, either, np.nan)


def token_kinds(
    tokens: np.ndarray, masked: np.ndarray, text: Mapping[int, str], end_tokens: Collection[int]
) -> np.ndarray:
    """The kind of each token, (T, S) indices into `KINDS`, −1 where there is none.

    A masked token is [MASK] wherever it stands; then position decides (first, last), then what the token is.
    """
    present = tokens >= 0
    ids, inverse = np.unique(tokens, return_inverse=True)
    by_id = np.array([_kind_of_text(int(token), text.get(int(token), ""), end_tokens) for token in ids])
    kinds = by_id[inverse].reshape(tokens.shape)
    kinds[:, 0] = KINDS.index("first")
    kinds[np.arange(len(tokens)), present.sum(axis=-1) - 1] = KINDS.index("last")
    kinds[masked] = KINDS.index("[MASK]")
    kinds[~present] = -1
    return kinds


def _kind_of_text(token: int, text: str, end_tokens: Collection[int]) -> int:
    if token in end_tokens:
        return KINDS.index("end of text")
    stripped = text.strip()
    wordless = bool(stripped) and not any(character.isalnum() for character in stripped)
    return KINDS.index("punctuation" if wordless else "word")


def count_by_kind(sinks: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """How many sinks of each kind a step has, (T, len(KINDS))."""
    return np.stack([(sinks & (kinds == kind)).sum(axis=-1) for kind in range(len(KINDS))], axis=-1)
