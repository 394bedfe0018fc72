"""Share of a head's attention explained by position alone, over prompts of one length. NumPy only.

Shapes: N prompts, T steps, L layers, H heads, S positions.
"""

import numpy as np

from analysis.sinks.pairing import Paired

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


def shallow_against_deep(explained: np.ndarray, part: float = 1 / 3) -> Paired:
    """Return the mean share of the first part of the layers, and of as many last ones, of each prompt, (N,) each.

    explained (N, L), of `explained_by_position`.
    """
    count = max(1, round(part * explained.shape[1]))
    return Paired(explained[:, :count].mean(axis=1), explained[:, -count:].mean(axis=1))


def _centred(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    known = np.where(there, values, 0)
    mean = known.sum(axis=-1, keepdims=True) / np.maximum(there.sum(axis=-1, keepdims=True), 1)
    return np.where(there, known - mean, 0)
