"""From attention mass to how much each calibration token counts: ω = 1 − λ·φ (arXiv 2602.17664). NumPy only.

Shapes: N sequences, T noise levels, L layers, S positions.
"""

import numpy as np
from scipy.special import expit

from analysis.sinks.definitions import moments
from analysis.specs import DiscountParams


def sink_scores(mass: np.ndarray, params: DiscountParams) -> np.ndarray:
    """φ over the last axis, float32, of total mass (…, S): how surely each position is a sink of its row.

    soft: sigmoid(α·(M − (mean + k·std))), or sigmoid(α·(z − k)) where α counts in std; hard: 1 above the threshold,
    else 0.
    """
    mass = np.asarray(mass, np.float32)
    found = moments(mass)
    mean, std = found.mean, found.std
    if params.alpha_unit == "std" and params.sink_score == "soft":
        # Equal masses have no deviation beyond rounding, so none of them stands out.
        z = np.divide(mass - mean, std, out=np.zeros_like(mass), where=std > 1e-6 * mean)
        return expit(params.sink_alpha * (z - params.sink_std))
    above = mass - (mean + params.sink_std * std)
    if params.sink_score == "hard":
        return (above > 0).astype(np.float32)
    return expit(params.sink_alpha * above)


def token_weights(mass: np.ndarray, params: DiscountParams) -> np.ndarray:
    """ω of every token, float32: (N, T, 1, S), or (N, T, L, S) where each layer has sinks of its own.

    mass (N, T, L, S): attention mass summed over heads. With `sink_steps` mean, T is 1: one weight for all levels.
    """
    scored = mass if params.sink_scope == "layer" else mass.sum(axis=2, keepdims=True, dtype=np.float32)
    scores = sink_scores(scored, params)
    if params.sink_steps == "mean":
        scores = scores.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.float32(1) - np.float32(params.discount_strength) * scores
