"""Forward noise: text with tokens replaced by [MASK], as calibration sees it. NumPy only."""

import numpy as np


def noise_levels(diffusion_steps: int, step_interval: int) -> list[int]:
    """The steps t at which text is noised, from the noisiest down: T, …, 2·interval, interval."""
    return list(range(step_interval, diffusion_steps + 1, step_interval))[::-1]


def mask_probability(step: int, diffusion_steps: int, eps: float) -> float:
    """p = (1 − ε)·t/T + ε (arXiv 2602.17664)."""
    return (1 - eps) * step / diffusion_steps + eps


def noised(tokens: np.ndarray, probability: float, mask_token: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens (S,) with each replaced by [MASK] independently with this probability."""
    return np.where(rng.random(len(tokens)) < probability, mask_token, tokens).astype(tokens.dtype)
