"""Allocation of the overall sparsity over the layers, or over the projections of all layers.

What an allocation of `ALLOCATIONS` (analysis/specs/pruning_choices.py) computes is a preference for each of them, which
is shifted until the overall sparsity is met.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from analysis.errors import UserError
from analysis.registry import Implementations
from analysis.specs import ALLOCATIONS

CEILING = 0.99  # no layer is emptied for the sake of the others


Preference = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""(numbers of the layers or projections pruned (A,), what was measured of them (A,) or None) -> (A,) within −1…1, more
where one should be sparser. Measured are outlier ratios or tail exponents, as the allocation's row says."""


def uniform(layers: np.ndarray, measured: np.ndarray | None) -> np.ndarray:
    """No preference."""
    return np.zeros(len(layers))


def owl(layers: np.ndarray, outliers: np.ndarray | None) -> np.ndarray:
    """The outlier ratios scaled to a range of 2 and negated, so that a range of ± spread becomes 2 · spread wide."""
    if outliers is None:
        raise ValueError("owl needs the outlier ratio of every layer.")
    return -_scaled(outliers)


def alpha(layers: np.ndarray, exponents: np.ndarray | None) -> np.ndarray:
    """Linear in the exponent: the lighter the tail, the sparser (AlphaPruning, arXiv 2410.10912). Theirs multiplies to
    meet the overall sparsity, here it is shifted as with every allocation."""
    if exponents is None:
        raise ValueError("alpha needs the tail exponent of every layer.")
    return _scaled(exponents)


def depth(layers: np.ndarray, measured: np.ndarray | None) -> np.ndarray:
    """A linear ramp down with depth."""
    return -_scaled(layers.astype(float))


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values moved to −1…1; zeros where they are all equal."""
    low, high = values.min(), values.max()
    return np.zeros(len(values)) if high == low else 2 * (values - low) / (high - low) - 1


PREFERENCES: Implementations[Preference] = Implementations(ALLOCATIONS)


def layer_sparsities(
    allocation: str, sparsity: float, sizes: np.ndarray, measured: np.ndarray | None = None, spread: float = 0.08
) -> np.ndarray:
    """The sparsity of every layer, or of every projection, (L,) float64; their mean weighted by `sizes` is `sparsity`.

    sizes (L,): how many weights of each are to be pruned; one of size 0 is left dense and gets 0. measured (L,): what
    the allocation needs, D of OWL or the exponents of AlphaPruning. spread λ: a layer lies within sparsity ± λ, and
    within 0 and 0.99. S_l = clip(S + λ·preference_l + c) with the one c that meets the overall sparsity: published OWL
    has no clip, so a lone layer of outliers may leave its own ± λ there.
    Raises UserError for an unknown allocation, a sparsity outside 0…1, and nothing to prune.
    """
    if allocation not in ALLOCATIONS:
        raise UserError(f"Unknown allocation '{allocation}'. Known: {', '.join(ALLOCATIONS)}.")
    row = ALLOCATIONS[allocation]
    if not 0 <= sparsity < 1:
        raise UserError(f"A sparsity lies between 0 and 1, and 1 would leave nothing; {sparsity} does not serve.")
    sizes = np.asarray(sizes, dtype=float)
    layers = np.flatnonzero(sizes > 0)
    if not len(layers):
        raise UserError("Every layer and projection is skipped, so there is nothing to prune. Skip fewer.")
    needed = None
    if measured is not None and (row.needs_outliers or row.needs_tails):
        needed = np.asarray(measured, dtype=float)[layers]
        if not np.isfinite(needed).all():
            raise UserError(
                f"What the allocation {allocation} goes by is not a number for some layers. Check the checkpoint's "
                "weights."
            )
    preference = spread * PREFERENCES[allocation](layers, needed)
    low, high = max(0.0, sparsity - spread), max(sparsity, min(CEILING, sparsity + spread))
    shares = np.zeros(len(sizes))
    weights = sizes[layers] / sizes[layers].sum()
    shares[layers] = _shifted(sparsity + preference, weights, sparsity, low, high)
    return shares


def weight_counts(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return how many weights to remove from each matrix, (P,) int64: of `sizes` (P,) weights the shares (P,), within
    one weight.

    What rounding leaves over goes to the next matrix, so the sum is Σ shares · sizes rounded to the nearest.
    """
    wanted = np.cumsum(np.asarray(shares, float) * np.asarray(sizes, float))
    return np.diff(np.rint(wanted), prepend=0).astype(np.int64)


def _shifted(values: np.ndarray, weights: np.ndarray, mean: float, low: float, high: float) -> np.ndarray:
    """clip(values + c, low, high) with c such that the weighted mean is `mean`, which lies between low and high.

    The mean is a piecewise linear, rising function of c: its corners are sorted and c lies on one segment.
    """

    if np.ptp(values) == 0:
        return np.full(len(values), mean)  # without a rounding error, so that N:M finds its very sparsity

    def at(shift: float) -> float:
        return float(weights @ np.clip(values + shift, low, high))

    corners = np.unique(np.concatenate([low - values, high - values]))
    after = int(np.searchsorted([at(corner) for corner in corners], mean))
    if after == 0 or after == len(corners):
        shift = corners[min(after, len(corners) - 1)]
    else:
        left, right = corners[after - 1], corners[after]
        shift = left + (right - left) * (mean - at(left)) / (at(right) - at(left))
    return np.clip(values + shift, low, high)


def outlier_ratio(scores: Iterable[torch.Tensor], threshold: float) -> float:
    """D of OWL: the share of a block's scores that exceed `threshold` times their mean over the whole block.

    scores: (out, in) for each projection of the block that is pruned. 0 for a block without any.
    """
    matrices = tuple(scores)
    count = sum(score.numel() for score in matrices)
    if count == 0:
        return 0.0
    mean = sum(score.sum(dtype=torch.float64).item() for score in matrices) / count
    return sum(int(torch.count_nonzero(score > threshold * mean)) for score in matrices) / count


def tail_exponent(weight: torch.Tensor) -> float:
    """Hill's exponent of the eigenvalues of WᵀW of a matrix (out, in), the upper half being the tail; NaN without one.

    1 + k / Σ_{i<k} ln(λ_i / λ_k), λ falling from λ_0, k half of their number: the exponent of AlphaPruning (arXiv
    2410.10912), which begins the tail at the spectrum's peak. Eigenvalues that are zero but for rounding are left out.
    """
    singular = torch.linalg.svdvals(weight.float()).double()
    values = singular[singular > singular.max() * 1e-6].square()
    tail = len(values) // 2
    if tail == 0:
        return float("nan")
    logarithms = values.log()
    spread = float((logarithms[:tail] - logarithms[tail]).sum())
    return 1 + tail / spread if spread > 0 else float("inf")
