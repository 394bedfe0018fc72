"""A measure and its null on one prompt, layer by layer. NumPy only.

Shapes: T steps, L layers, S positions.
"""

from typing import NamedTuple

import numpy as np

from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.token_states import TokenState


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
