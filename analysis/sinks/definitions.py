"""Attention sinks: what they are, where they are, how strong they are and how they move. NumPy only.

A sink definition is one row of `DEFINITIONS` (analysis/specs/sinks.py), its threshold one function; `criterion` puts
the one in force into words.

Shapes: T steps, L layers, H heads, S positions. Mass may be float16 and is NaN where a token is absent; it is in units
in which uniform attention gives 1 on average: m where every token asks, else m·K/Q with K keys and Q queries. "Visible"
is how many queries can see a key, in the same units (`AttentionPattern.largest_mass`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.registry import Implementations
from analysis.specs import DEFINITIONS, SinkParams

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


def corrected_share(mass: np.ndarray, uniform_mass: np.ndarray) -> np.ndarray:
    """Share divided by what uniform attention would give under the model's mask, (T, …, S) float32: models that attend
    differently compare on it. uniform_mass: of an `AttentionPattern`, broadcast to the mass; NaN where no query sees a
    key.
    """
    return mass.astype(np.float32) / np.where(uniform_mass > 0, uniform_mass, np.nan)


def seen_by_all(mass: np.ndarray) -> np.ndarray:
    """Count the queries that see each key, (…, S), where every token asks and sees every token; 0 at NaN."""
    present = np.isfinite(mass)
    return np.where(present, present.sum(axis=-1, keepdims=True), 0)


def mean_of_finite(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of what is finite along an axis, by default over the steps; NaN where nothing is."""
    # A masked mean of nothing is masked; np.nanmean warns, which only a filter that all threads share can silence.
    return np.ma.filled(np.ma.masked_invalid(values).mean(axis=axis), np.nan)


# --- definitions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Over the positions of each row of mass (…, S), NaN left out: their number, the mean and the population standard
    deviation of the mass, each (…, 1) float32.
    """

    count: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def at(self, step: int) -> "Moments":
        """Those of one step, where the first axis is the steps."""
        return Moments(self.count[step], self.mean[step], self.std[step])


def moments(mass: np.ndarray) -> Moments:
    """The moments of each row of mass (…, S)."""
    mass = np.asarray(mass, np.float32)
    mean = mass.mean(axis=-1, keepdims=True)
    if not np.isfinite(mean).all():
        count = np.isfinite(mass).sum(axis=-1, keepdims=True, dtype=np.float32)
        return Moments(count, np.nanmean(mass, axis=-1, keepdims=True), np.nanstd(mass, axis=-1, keepdims=True))
    centred = mass - mean
    variance = np.einsum("...s,...s->...", centred, centred)[..., None] / np.float32(mass.shape[-1])
    return Moments(np.full_like(mean, mass.shape[-1]), mean, np.sqrt(variance))


def deviations(row: Moments, visible: np.ndarray, k: float) -> np.ndarray:
    """The mean and k standard deviations."""
    return row.mean + np.float32(k) * row.std


def mean_attention(row: Moments, visible: np.ndarray, level: float) -> np.ndarray:
    """A level per query that can see the key."""
    return np.float32(level) * np.where(visible > 0, visible, np.nan).astype(np.float32)


def above_others(row: Moments, visible: np.ndarray, epsilon: float) -> np.ndarray:
    """The mean of the others and ε."""
    # m − (n·mean − m)/(n − 1) > ε, solved for m. A position alone has no others, whose mean is then 0.
    above = row.mean + np.float32(epsilon) * (row.count - 1) / row.count
    return np.where(row.count > 1, above, np.float32(epsilon))


Threshold = Callable[[Moments, np.ndarray, float], np.ndarray]
"""(moments of the rows, queries that can see each key (broadcast to (…, S)), the definition's parameter) -> what the
mass must exceed, (…, 1) or (…, S); NaN where nothing is a sink.
"""

THRESHOLDS: Implementations[Threshold] = Implementations(DEFINITIONS)


def thresholds(
    mass: np.ndarray, params: SinkParams, visible: np.ndarray | None = None, known: Moments | None = None
) -> np.ndarray:
    """Return what the mass (…, S) of a sink must exceed, (…, 1) or (…, S); NaN where nothing is a sink.

    visible: the queries that can see each key, broadcast to the mass; all of them by default. known: the
    moments of the mass, computed by default.
    """
    mass = np.asarray(mass, np.float32)
    visible = seen_by_all(mass) if visible is None else visible
    row = moments(mass) if known is None else known
    return THRESHOLDS[params.definition](row, visible, threshold_parameter(params))


def threshold_parameter(params: SinkParams) -> float:
    """The value of the parameter that the definition in use reads."""
    return float(getattr(params, DEFINITIONS[params.definition].parameter))


def common_threshold(mass: np.ndarray, params: SinkParams, visible: np.ndarray) -> float | None:
    """The threshold of one step's mass (S,), None where each position has another. visible: as in `thresholds`."""
    levels = thresholds(mass, params, visible)
    levels = levels[np.isfinite(levels)]
    return float(levels[0]) if len(levels) and (levels == levels[0]).all() else None


def find_sinks(
    mass: np.ndarray, params: SinkParams, visible: np.ndarray | None = None, known: Moments | None = None
) -> np.ndarray:
    """Flag the positions that are sinks, bool of the shape of `mass` (…, S); False at NaN.

    mass is one head's own, or averaged over the heads to be judged together (`mean_mass`). visible and known: as in
    `thresholds`.
    """
    mass = np.asarray(mass, np.float32)
    return mass > thresholds(mass, params, visible, known)


def gaussian_reference(length: np.ndarray, params: SinkParams) -> np.ndarray | None:
    """S·(1 − Φ(k)): how many of `length` positions lie above mean + k·std where mass is Gaussian noise, in the shape of
    `length`. None for a definition that does not count standard deviations.
    """
    if not DEFINITIONS[params.definition].in_deviations:
        return None
    from scipy.special import ndtr

    return np.asarray(length * ndtr(-threshold_parameter(params)))


# --- measures ---------------------------------------------------------------------------------------------------


def sink_strength(mass: np.ndarray, sinks: np.ndarray, total: np.ndarray | None = None) -> np.ndarray:
    """Share of a head's attention that goes to the sinks of the step, (T, L, H) float32 (our formula).

    mass (T, L, H, S), sinks (T, S). total (T, L, H): the mass of all positions, where it is known.
    """
    strength = np.empty(mass.shape[:3], np.float32)
    for step, flags in enumerate(sinks):
        whole = np.nansum(mass[step], axis=-1, dtype=np.float32) if total is None else total[step]
        strength[step] = mass[step][:, :, flags].sum(axis=-1, dtype=np.float32) / whole
    return strength


def strength_at(mass: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    """Share of attention that one recording pays, step by step, to the sinks of ANOTHER one of the same prompt, (T,).

    mass (T, S) is averaged over heads, sinks (T', S') are the other's. Steps that only one of them has are left out;
    positions that only one has take nothing.
    """
    steps, positions = (min(sizes) for sizes in zip(mass.shape, sinks.shape, strict=True))
    taken = np.where(sinks[:steps, :positions], np.nan_to_num(mass[:steps, :positions]), 0).sum(axis=-1)
    return taken / np.nansum(mass[:steps], axis=-1)


def kept_share(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """after / before for the steps that both have, (T,). NaN where there was nothing to keep."""
    steps = min(len(after), len(before))
    return after[:steps] / np.where(before[:steps] > 0, before[:steps], np.nan)


def shared_inputs(tokens: np.ndarray, others: np.ndarray) -> float:
    """Share of the tokens (T, S) that another recording (T', S') has at the same step and position, padding (−1) left
    out.
    """
    steps, positions = (min(sizes) for sizes in zip(tokens.shape, others.shape, strict=True))
    a, b = tokens[:steps, :positions], others[:steps, :positions]
    return float((a == b)[(a >= 0) & (b >= 0)].mean())


def uniform_strength(sinks: np.ndarray, uniform_share: np.ndarray) -> np.ndarray:
    """The sink strength uniform attention would have at these sinks (T, S), (T,): Σ_{s∈sinks_t} of its share under the
    mask, which an `AttentionPattern` knows.
    """
    return np.where(sinks, uniform_share, 0).sum(axis=-1)


def sink_centroid(total: np.ndarray, sinks: np.ndarray, length: np.ndarray | int | None = None) -> np.ndarray:
    """c_t / S with c_t = Σ_{i∈sinks_t} i·M[t,i] / Σ_{i∈sinks_t} M[t,i], (T,). NaN at a step without sinks.

    length: the positions S of each step; counted where not given.
    """
    if length is None:
        length = total.shape[-1] - np.isnan(total).sum(axis=-1)
    at = np.flatnonzero(sinks)
    row = at // total.shape[-1]
    mass = np.ascontiguousarray(total).reshape(-1)[at].astype(np.float64)
    weight = np.bincount(row, mass, minlength=len(total))
    moment = np.bincount(row, mass * (at - row * total.shape[-1]), minlength=len(total))
    return moment / np.where(weight > 0, weight, np.nan) / length


def turnover(sinks: np.ndarray) -> np.ndarray:
    """1 − Jaccard index of the sinks of consecutive steps, (T − 1,). NaN where neither step has any."""
    before, after = sinks[:-1], sinks[1:]
    either = (before | after).sum(axis=-1)
    return 1 - (before & after).sum(axis=-1) / np.where(either > 0, either, np.nan)


def token_kinds(
    tokens: np.ndarray, undecided: np.ndarray, text: Mapping[int, str], end_tokens: Collection[int]
) -> np.ndarray:
    """The kind of each token, (T, S) indices into `KINDS`, −1 where there is none.

    An undecided token is [MASK] wherever it stands; then position decides (first, last), then what the token is.
    """
    present = tokens >= 0
    ids, inverse = np.unique(tokens, return_inverse=True)
    by_id = np.array([_kind_of_text(int(token), text.get(int(token), ""), end_tokens) for token in ids])
    kinds = by_id[inverse].reshape(tokens.shape)
    kinds[:, 0] = KINDS.index("first")
    last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=-1)
    kinds[np.arange(len(tokens)), last] = KINDS.index("last")
    kinds[undecided] = KINDS.index("[MASK]")
    kinds[~present] = -1
    return kinds


def _kind_of_text(token: int, text: str, end_tokens: Collection[int]) -> int:
    if token in end_tokens:
        return KINDS.index("end of text")
    stripped = text.strip()
    wordless = bool(stripped) and not any(character.isalnum() for character in stripped)
    return KINDS.index("punctuation" if wordless else "word")


def count_by_kind(sinks: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Count the sinks of each kind in each step, (T, len(KINDS))."""
    return np.stack([(sinks & (kinds == kind)).sum(axis=-1) for kind in range(len(KINDS))], axis=-1)


def criterion(params: SinkParams) -> str:
    """Return what the attention of a sink exceeds, as after "above": 'mean + 2 std'. As `criterion` in sentence.js."""
    if params.definition == "std":
        return f"mean + {params.k:g} std"
    if params.definition == "above-others":
        return f"the mean of the others + {params.epsilon:g}"
    return f"a mean attention of {params.attention_level:g}"
