"""Measures on prompts beside their nulls, by layer: attention to sinks, attention explained by position alone, the keys
that queries of each state attend to, and the drift of keys and values. NumPy only.

Shapes: N prompts, T steps, L layers, H heads, S positions.
"""

from typing import NamedTuple

import numpy as np

from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.step_inputs import TokenState


class Pair(NamedTuple):
    """The number of a prompt and its null; NaN where the prompt has nothing to measure."""

    value: float
    null: float


class Paired(NamedTuple):
    """A measure and what its null gives, float64, by layer (L,) of one prompt unless said otherwise; NaN where there is
    nothing to compare.
    """

    value: np.ndarray
    null: np.ndarray

    def means(self) -> Pair:
        """Return the means over those that have both; NaN where none has."""
        both = np.isfinite(self.value) & np.isfinite(self.null)
        if not both.any():
            return Pair(float("nan"), float("nan"))
        return Pair(float(self.value[both].mean()), float(self.null[both].mean()))


def means_of_both(pairs: np.ndarray) -> Paired:
    """Return the means over the steps of a pair (2, T, L), over those that have both."""
    return Paired(*mean_of_finite(np.where(np.isfinite(pairs).all(axis=0), pairs, np.nan), 1))


def against_matched(values: np.ndarray, chosen: np.ndarray, strata: np.ndarray) -> Paired:
    """Return the mean of the values at the chosen positions, and the mean that the others of the same stratum have.

    values (T, L, S), NaN where there is none; chosen (T, L, S) bool; strata (T, S): numbers, below 0 for positions that
    take no part. For each chosen position, the null is the mean over the positions of its step, layer and stratum that
    are not chosen; one without such positions is left out of both.
    """
    finite = np.isfinite(values)
    known = np.where(finite, values, 0).astype(np.float64)
    above, beside, count = (np.zeros(values.shape[1]) for _ in range(3))
    for stratum in np.unique(strata[strata >= 0]):
        there = finite & (strata == stratum)[:, None]
        mine, others = there & chosen, there & ~chosen
        ours, theirs = mine.sum(axis=2), others.sum(axis=2)
        compared = (ours > 0) & (theirs > 0)
        mean = (known * others).sum(axis=2) / np.maximum(theirs, 1)
        above += np.where(compared, (known * mine).sum(axis=2), 0).sum(axis=0)
        beside += np.where(compared, ours * mean, 0).sum(axis=0)
        count += np.where(compared, ours, 0).sum(axis=0)
    whole = np.where(count > 0, count, np.nan)
    return Paired(above / whole, beside / whole)


def value_norms_of_sinks(value_norm: np.ndarray, sinks: np.ndarray, state: np.ndarray) -> Paired:
    """Return the value norm of sinks, and of other tokens of the same state, in units of the mean norm of their step
    and layer (Gu et al., arXiv 2410.10781).

    value_norm (T, L, H_kv, S), NaN where a token is absent; sinks (T, L, S) bool; state (T, S), a `TokenState` each.
    """
    norm = value_norm.astype(np.float64).mean(axis=2)
    present = (state != TokenState.ABSENT)[:, None]
    mean = np.where(present, np.nan_to_num(norm), 0).sum(axis=2, keepdims=True) / present.sum(axis=2, keepdims=True)
    return against_matched(norm / np.where(mean > 0, mean, np.nan), sinks, state)


def read_at_sinks(hits: np.ndarray, sinks: np.ndarray) -> Paired:
    """Return the share of the undecided sinks that each layer already reads as the token they become, and the share of
    the other undecided tokens.

    hits (L, N) bool: whether the likeliest token of the logit lens is the one the position becomes; sinks (N,) bool.
    """
    if not sinks.any() or sinks.all():
        return Paired(*np.full((2, len(hits)), np.nan))
    return Paired(hits[:, sinks].mean(axis=1), hits[:, ~sinks].mean(axis=1))


def attention_to(mass: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the share of attention that goes to the positions, mean over the steps, (L,); NaN where no step has one.

    mass (T, L, S): 1 on average if all goes to these tokens, NaN where one is absent; positions (T, L, S) bool. Steps
    without such a position are left out.
    """
    known = np.nan_to_num(mass).astype(np.float64)
    share = (known * positions).sum(axis=2) / np.isfinite(mass).sum(axis=2)
    steps = positions.any(axis=2)
    return np.where(steps, share, 0).sum(axis=0) / np.where(steps.any(axis=0), steps.sum(axis=0), np.nan)


def lost_attention(mass: np.ndarray, changed: np.ndarray, null: np.ndarray, sinks: np.ndarray) -> Paired:
    """Return the share of attention that the sinks lose by an intervention, and by its null: positive where they lose.

    mass (T, L, S): of the untouched forwards, whose sinks (T, L, S) these are; changed, null: of the same inputs.
    """
    before = attention_to(mass, sinks)
    return Paired(before - attention_to(changed, sinks), before - attention_to(null, sinks))


LEAST = 3  # prompts of one length: each is compared with the mean of the others


def explained_by_position(mass: np.ndarray) -> np.ndarray:
    """Return the share of the variance of a head's mass over the positions that the mean mass of the other prompts
    explains, mean over heads and steps, (N, L) float64.

    mass (N, T, L, H, S), NaN where a token is absent; the prompts have one length and as many steps. The share is the
    squared correlation over the positions, 0 where the correlation is negative; a head whose mass does not vary is left
    out. Each prompt is predicted by others alone, so few prompts bias the share down, never up. Raises ValueError for
    fewer than `LEAST` prompts.
    """
    prompts = len(mass)
    if prompts < LEAST:
        raise ValueError(f"Position is told apart from content over {LEAST} prompts of one length, not {prompts}.")
    explained = np.full((prompts, mass.shape[2]), np.nan)
    for layer in range(mass.shape[2]):
        paid = mass[:, :, layer].astype(np.float64)  # (N, T, H, S)
        others = (paid.sum(axis=0) - paid) / (prompts - 1)
        there = np.isfinite(paid) & np.isfinite(others)
        left, right = (_centred(values, there) for values in (paid, others))
        spread = (left**2).sum(axis=-1) * (right**2).sum(axis=-1)
        varies = spread > 1e-12 * np.square(np.where(there, paid, 0)).sum(axis=-1) ** 2
        correlation = (left * right).sum(axis=-1) / np.sqrt(np.where(varies, spread, np.nan))
        share = np.square(np.maximum(correlation, 0)).reshape(prompts, -1)
        count = np.isfinite(share).sum(axis=1)
        explained[:, layer] = np.nansum(share, axis=1) / np.where(count > 0, count, np.nan)
    return explained


def shallow_against_deep(explained: np.ndarray) -> Paired:
    """Return the mean share of the first third of the layers, and of as many last ones, of each prompt, (N,) each.

    explained (N, L), of `explained_by_position`.
    """
    count = max(1, round(explained.shape[1] / 3))
    return Paired(explained[:, :count].mean(axis=1), explained[:, -count:].mean(axis=1))


def _centred(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    known = np.where(there, values, 0)
    mean = known.sum(axis=-1, keepdims=True) / np.maximum(there.sum(axis=-1, keepdims=True), 1)
    return np.where(there, known - mean, 0)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the total-variation distance, 0 to 1, of two distributions over keys, each scaled to a sum of 1: half the
    sum of |p − q|.

    first, second (…, S): masses, NaN where there is no key. NaN where one of them is empty.
    """
    parts = [np.nan_to_num(mass).astype(np.float64) for mass in (first, second)]
    sums = [np.where(part.sum(axis=-1, keepdims=True) > 0, part.sum(axis=-1, keepdims=True), np.nan) for part in parts]
    return np.abs(parts[0] / sums[0] - parts[1] / sums[1]).sum(axis=-1) / 2


def queries_apart(mass: np.ndarray, undecided: np.ndarray, permuted: np.ndarray) -> Paired:
    """Return how far the keys that undecided queries attend to are from those of written queries, mean over the heads
    and the steps that have both, and the same with the states of the queries permuted within each step.

    mass (T, L, H, S): of all queries; undecided: of the undecided ones alone; permuted: of as many random queries. A
    distance between few queries is never 0, which is what the null is for.
    """
    return means_of_both(np.stack([_steps_apart(mass, group) for group in (undecided, permuted)]))


def _steps_apart(mass: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Distance of a group's keys from those of the other queries, mean over heads, (T, L); NaN without one of them."""
    others = np.maximum(mass.astype(np.float32) - group, 0)
    whole, paid = (np.nan_to_num(part).sum(axis=-1) for part in (mass, group))
    there = (paid > 0.5) & (whole - paid > 0.5)  # a rest below 0.5 is rounding, as each query pays 1
    return np.where(there, distance(group, others), np.nan).mean(axis=-1)


DRIFTS = ("key_distance", "key_change", "value_distance", "value_change")
"""Drift of a token's key or value: 1 − cosine of it and that of the step before, and the norm of their difference over
the norm before. The key and value of a token are those of all heads in a row.
"""


def ages(tokens: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return for how many steps before each position has held the same token in the same state, (T, S); 0 in the first.

    tokens, state (T, S).
    """
    result = np.zeros(tokens.shape, np.int64)
    for step in range(1, len(tokens)):
        same = (tokens[step] == tokens[step - 1]) & (state[step] == state[step - 1])
        result[step] = np.where(same, result[step - 1] + 1, 0)
    return result


def most_attended(mass: np.ndarray, part: float = 0.1) -> np.ndarray:
    """Return which positions draw most attention in their step and layer, (T, L, S) bool: this part of them, at least
    one. mass (T, L, S), NaN where a token is absent.
    """
    known = np.where(np.isfinite(mass), mass, -np.inf)
    present = np.isfinite(mass).sum(axis=2, keepdims=True)
    count = np.maximum(1, np.round(part * present)).astype(np.int64)
    rank = np.argsort(np.argsort(-known, axis=2, kind="stable"), axis=2, kind="stable")
    return (rank < count) & np.isfinite(mass)


def drift_of_the_most_attended(
    drift: np.ndarray, attended: np.ndarray, tokens: np.ndarray, state: np.ndarray, age: np.ndarray
) -> Paired:
    """Return the mean drift of attended tokens, and of other tokens of the same state and age, whose token stays, in
    units of the mean drift of all tokens that stay in that step and layer.

    drift (T, L, S): from the step before to this one, NaN in the first and where a token is absent. attended (T, L, S)
    bool: chosen by the mass of the step before, in row t − 1. tokens, state (T, S). age (T, S): of `ages`. Ages
    count as alike between powers of two (0, 1–2, 3–6, …): every written token would otherwise have an age of its own.
    """
    group = np.floor(np.log2(age + 1)).astype(np.int64)
    strata = np.where(state == TokenState.ABSENT, -1, state.astype(np.int64) * 64 + group)[:-1]
    stays = (tokens[1:] == tokens[:-1]) & (state[1:] == state[:-1])
    moved = np.where(stays[:, None] & np.isfinite(drift[1:]), drift[1:], np.nan)
    count = np.isfinite(moved).sum(axis=2, keepdims=True)
    mean = np.nansum(moved, axis=2, keepdims=True) / np.maximum(count, 1)
    return against_matched(moved / np.where(mean > 0, mean, np.nan), attended[:-1], np.where(stays, strata, -1))
