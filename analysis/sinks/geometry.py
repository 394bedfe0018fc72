"""Number of dimensions that attention and token states take up. NumPy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.sinks.definitions import mean_of_finite

KEPT = 0.9  # of the points, by μ: Facco et al. leave out the largest tenth


def effective_rank(singular: np.ndarray) -> np.ndarray:
    """exp(−Σ p log p) with p = σ / Σσ (Roy and Vetterli, The Effective Rank, EUSIPCO 2007). (…, N) -> (…).

    1 for a matrix of rank one, N where all singular values are equal; NaN where all are 0.
    """
    singular = np.asarray(singular, np.float64)
    total = singular.sum(axis=-1, keepdims=True)
    p = singular / np.where(total > 0, total, np.nan)
    return np.exp(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1))


def participation_ratio(singular: np.ndarray) -> np.ndarray:
    """(Σλ)² / Σλ² with λ = σ²: over how many directions variance is spread (Gao et al., bioRxiv 214262).

    (…, N) -> (…); NaN where all are 0.
    """
    variance = np.square(np.asarray(singular, np.float64))
    square = np.square(variance).sum(axis=-1)
    return np.square(variance.sum(axis=-1)) / np.where(square > 0, square, np.nan)


def two_nn(nearest: np.ndarray, second: np.ndarray) -> float:
    """Intrinsic dimension from the distances of each point to its nearest and second nearest neighbour, (N,) each.

    With μ = r₂/r₁ and F its empirical distribution, the slope through the origin of −log(1 − F(μ)) over log μ, without
    the largest tenth (Facco et al., Scientific Reports 7:12140, 2017). Points that stand twice are left out; NaN where
    fewer than 10 are left or all are equally far.
    """
    there = nearest > 0
    ratio = np.sort(np.log(second[there] / nearest[there]))
    count = len(ratio)
    if count < 10:
        return np.nan
    kept = int(count * KEPT)
    x, y = ratio[:kept], -np.log(1 - np.arange(1, kept + 1) / count)
    square = float((x * x).sum())
    return float((x * y).sum() / square) if square > 0 else np.nan


def neighbour_distances(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each point's distances to its nearest and second nearest neighbour, (N,) each; points (N, D), N > 2.

    Raises ValueError for fewer.
    """
    if len(points) < 3:
        raise ValueError(f"{len(points)} points have no two neighbours each")
    points = np.asarray(points, np.float64)
    square = np.square(points).sum(axis=1)
    distances = np.sqrt(np.maximum(square[:, None] + square - 2 * points @ points.T, 0))
    # Below this it is rounding: tokens of equal states, as [MASK] before any layer, are one point.
    distances[distances < 1e-6 * np.sqrt(square.max())] = 0
    np.fill_diagonal(distances, np.inf)
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    return first, second


@dataclass(frozen=True)
class Measure:
    """Number per layer, or per head. title, axis: for plots. formula: LaTeX with its source."""

    title: str
    axis: str
    formula: str


MEASURES: Final[Mapping[str, Measure]] = {
    "map_rank": Measure(
        "Effective rank of head maps",
        "effective rank",
        "$\\exp(-\\sum_i p_i \\log p_i)$ with $p = \\sigma / \\sum\\sigma$ of each head's map (Roy and Vetterli 2007).",
    ),
    "map_participation": Measure(
        "Participation ratio of head maps",
        "participation ratio",
        "$(\\sum\\lambda)^2 / \\sum\\lambda^2$ with $\\lambda = \\sigma^2$ of each head's map.",
    ),
    "output_rank": Measure(
        "Effective rank of head outputs",
        "effective rank",
        "$\\exp(-\\sum_i p_i \\log p_i)$ with $p = \\sigma / \\sum\\sigma$ of each head's centred outputs.",
    ),
    "output_participation": Measure(
        "Participation ratio of head outputs",
        "participation ratio",
        "$(\\sum\\lambda)^2 / \\sum\\lambda^2$ with $\\lambda = \\sigma^2$ of each head's centred outputs.",
    ),
    "dimension": Measure(
        "Intrinsic dimension of token states",
        "two-NN dimension",
        "Two-NN (Facco et al. 2017) over the tokens of a step behind each layer: the slope of $-\\log(1 - F(\\mu))$ "
        "over $\\log\\mu$, $\\mu = r_2/r_1$, without the largest tenth. With few tokens it is rough.",
    ),
}


def by_layer(values: np.ndarray) -> np.ndarray:
    """The mean over steps and heads, (T, L, …) -> (L,), without what has no value."""
    flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    return mean_of_finite(flat, 1)


def by_step(values: np.ndarray) -> np.ndarray:
    """The mean over layers and heads, (T, L, …) -> (T,), without what has no value."""
    return mean_of_finite(values.reshape(len(values), -1), 1)


def sentence(own: np.ndarray, random: np.ndarray, axis: str = "layer") -> str:
    """In how many layers a measure lies outside what random weights give, own (L,) against random (R, L); nothing where
    it does in none. axis: what the numbers are of, such as denoising steps. It stands beneath the measure's title.
    """
    low, high = random.min(axis=0), random.max(axis=0)
    below, above = int((own < low).sum()), int((own > high).sum())
    if not below + above:
        return ""
    means = np.nanmean(random, axis=1)
    counts = [(way, count) for way, count in (("above", above), ("below", below)) if count]
    (way, count), *other = counts
    beside = "".join(f", {way} all of them in {count}" for way, count in other)
    return (
        f"{way.capitalize()} every one of {len(random)} models of its shape with random weights in {count} of "
        f"{len(own)} {axis}s{beside}: {np.nanmean(own):.1f} on average, theirs {means.min():.1f} to {means.max():.1f}. "
        "One prompt: the range is of the weights drawn, not of prompts."
    )
