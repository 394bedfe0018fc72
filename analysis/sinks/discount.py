"""From attention mass to how much each calibration token counts: ω = 1 − λ·φ (arXiv 2602.17664), and placebos that
discount other tokens than the sinks. NumPy only.

Every page and every pruning computes φ by `sink_scores` and ω by `discounted`. Placebos tell whether a gain comes from
the sinks: they move the scores φ of a row to other tokens and change none of them, so that as many tokens count as
little.

Shapes: N sequences, T noise levels, L layers, S positions.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from analysis.sinks.definitions import Moments, moments
from analysis.specs import DiscountParams, StepParams

SURE = 0.5  # φ from which a token counts as a sink


def sham(
    scores: np.ndarray, mass: np.ndarray, state: np.ndarray, rng: np.random.Generator, sure: float = SURE
) -> np.ndarray:
    """Return φ of a row (S,) with each sink's score swapped with that of a random non-sink of its state.

    Where a state has too few others, the sinks left over keep their scores. sure: φ from which a token is a sink.
    """
    moved = scores.copy()
    for each in np.unique(state):
        here = np.flatnonzero(state == each)
        sinks, others = here[scores[here] >= sure], here[scores[here] < sure]
        count = min(len(sinks), len(others))
        from_, to = (rng.choice(among, count, replace=False) for among in (sinks, others))
        moved[to], moved[from_] = scores[from_], scores[to]
    return moved


def light(
    scores: np.ndarray, mass: np.ndarray, state: np.ndarray, rng: np.random.Generator, sure: float = SURE
) -> np.ndarray:
    """Return φ of a row (S,) turned around: the token of least mass gets the score of that of most, and so on."""
    order = np.argsort(mass, kind="stable")
    moved = scores.copy()
    moved[order] = scores[order[::-1]]
    return moved


Placebo = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator, float], np.ndarray]
"""φ, mass and state of a row, (S,) each, a generator, and φ from which a token is a sink -> φ in other places."""

PLACEBOS: Final[Mapping[str, Placebo]] = {"sham": sham, "light": light}


class Moved:
    """Mover of sink scores by a placebo, row by row. states: of tokens (N, T, S), numbers of the same shape.

    A row is drawn for by the seed and its tokens, so that it comes out the same in any batch.
    """

    def __init__(self, placebo: str, states: Callable[[np.ndarray], np.ndarray], seed: int) -> None:
        self._placebo, self._states, self._seed = PLACEBOS[placebo], states, seed

    def __call__(self, scores: np.ndarray, mass: np.ndarray, tokens: np.ndarray, sure: float = SURE) -> np.ndarray:
        """φ in other places. scores, mass (N, T, 1 or L, S); tokens (N, T, S). sure: φ from which a token is a sink."""
        states, moved = self._states(tokens), np.empty_like(scores)
        for sequence, level, layer in np.ndindex(scores.shape[:3]):
            row, at = tokens[sequence, level], (sequence, level, layer)
            rng = np.random.default_rng([self._seed, zlib.crc32(row.astype("<i8").tobytes()), layer])
            moved[at] = self._placebo(scores[at], mass[at], states[sequence, level], rng, sure)
        return moved


def sink_scores(mass: np.ndarray, params: DiscountParams, known: Moments | None = None) -> np.ndarray:
    """φ of total mass (…, S), float32: how surely each position is a sink of its row.

    soft: sigmoid(α·(M − (mean + k·std))), or sigmoid(α·(z − k)) where α counts in std; hard: 1 above the threshold,
    else 0. known: the moments of the rows, (…, 1) each, where the mass given is not all of a row's; else computed.
    """
    from scipy.special import expit  # where it is needed: SciPy takes longer to import than all else of a page

    mass = np.asarray(mass, np.float32)
    row = moments(mass) if known is None else known
    if params.alpha_unit == "std" and params.sink_score == "soft":
        return expit(params.sink_alpha * (standardised(mass, row) - params.sink_std))
    above = mass - (row.mean + params.sink_std * row.std)
    if params.sink_score == "hard":
        return (above > 0).astype(np.float32)
    return expit(params.sink_alpha * above)


def discounted(scores: np.ndarray, params: DiscountParams) -> np.ndarray:
    """ω = 1 − λ·φ of the scores φ, float32 of their shape."""
    return np.float32(1) - np.float32(params.discount_strength) * scores


def token_weights(
    mass: np.ndarray, params: DiscountParams, moved: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """ω of every token, float32: (N, T, 1, S), or (N, T, L, S) where each layer has sinks of its own.

    mass (N, T, L, S): attention mass summed over heads. With `sink_steps` mean, T is 1: one weight for all levels.
    moved: gives φ and mass of the rows φ in other places, for controls (`analysis.sinks.discount`).
    """
    scored = scored_mass(mass, params.sink_scope)
    scores = sink_scores(scored, params)
    if moved is not None:
        scores = moved(scores, scored)
    if params.sink_steps == "mean":
        scores = scores.mean(axis=1, keepdims=True, dtype=np.float32)
    return discounted(scores, params)


def scored_mass(mass: np.ndarray, scope: str) -> np.ndarray:
    """The mass whose rows sinks are found in: (N, T, L, S) with scope 'layer', else all layers' sum (N, T, 1, S)."""
    return mass if scope == "layer" else mass.sum(axis=2, keepdims=True, dtype=np.float32)


def standardised(mass: np.ndarray, row: Moments) -> np.ndarray:
    """z = (M − mean)/std of mass (…, S), float32. row: its moments, (…, 1) each.

    Equal masses have no deviation beyond rounding, so z is 0: none of them stands out.
    """
    above = mass - row.mean
    return np.divide(above, row.std, out=np.zeros_like(above), where=row.std > 1e-6 * row.mean)


def step_weights(levels: tuple[int, ...], total: int, params: StepParams) -> np.ndarray:
    """c of every noise level t, (T,): 0 outside the steps that count. total: the steps of the noise schedule."""
    steps = np.array(levels, np.float64)
    by = {"even": np.ones_like(steps), "noisy": steps / total, "clean": (total + 1 - steps) / total}
    return np.where((steps >= params.first_step) & (steps <= params.last_step), by[params.step_weighting], 0.0)
