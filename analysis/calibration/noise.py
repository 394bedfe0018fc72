"""Forward noise: text with tokens replaced by [MASK], as calibration sees it. NumPy only."""

import numpy as np

from analysis.specs import CalibrationParams


def noise_levels(diffusion_steps: int, step_interval: int) -> list[int]:
    """The steps t at which text is noised, from the noisiest down: T, …, 2·interval, interval."""
    return list(range(step_interval, diffusion_steps + 1, step_interval))[::-1]


def mask_probability(step: int, diffusion_steps: int, eps: float) -> float:
    """p = (1 − ε)·t/T + ε (arXiv 2602.17664)."""
    return (1 - eps) * step / diffusion_steps + eps


def noised(tokens: np.ndarray, probability: float, mask_token: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens with each replaced by [MASK] independently with this probability. Same shape."""
    return np.where(rng.random(tokens.shape) < probability, mask_token, tokens).astype(tokens.dtype)


def noised_sequences(tokens: np.ndarray, params: CalibrationParams, mask_token: int) -> np.ndarray:
    """Every sequence at every noise level, (N, T, S), levels from the least noise up; tokens (N, S).

    Each sequence draws from a generator of its own, so that a sample is the same however many there are.
    """
    levels = noise_levels(params.diffusion_steps, params.step_interval)[::-1]
    probabilities = [mask_probability(level, params.diffusion_steps, params.noise_eps) for level in levels]
    return np.stack(
        [
            np.stack([noised(sequence, probability, mask_token, rng) for probability in probabilities])
            for index, sequence in enumerate(tokens)
            for rng in [np.random.default_rng((params.seed, index))]
        ]
    )
