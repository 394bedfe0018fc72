"""Forward noise for calibration: text with tokens replaced by [MASK] or by random ones, and the default noise of models
that only one kind suits. NumPy only.

One function per noise of `NOISES` (analysis/specs/pruning_choices.py) masks the tokens. Shapes: N sequences, T noise
steps, S positions.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from analysis.registry import Implementations
from analysis.specs import NOISES, CalibrationParams, ModelSpec, StepParams, SweepSpec


def noise_levels(diffusion_steps: int, step_interval: int) -> list[int]:
    """The steps t at which text is noised, from the noisiest down: T, …, 2·interval, interval."""
    return list(range(step_interval, diffusion_steps + 1, step_interval))[::-1]


Steps = TypeVar("Steps", float, np.ndarray)


def mask_probability(step: Steps, diffusion_steps: int, eps: float) -> Steps:
    """p = (1 − ε)·t/T + ε (arXiv 2602.17664), of one step t or of each."""
    return (1 - eps) * step / diffusion_steps + eps


def noised(tokens: np.ndarray, probability: float, mask_token: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens with each replaced by [MASK] independently with this probability. Same shape."""
    return np.where(rng.random(tokens.shape) < probability, mask_token, tokens).astype(tokens.dtype)


Masking = Callable[[np.ndarray, int, CalibrationParams, np.random.Generator], np.ndarray]
"""(levels t (T,), S, params, rng) -> which tokens of one sequence are replaced at each step, bool (T, S)."""


def by_steps(levels: np.ndarray, length: int, params: CalibrationParams, rng: np.random.Generator) -> np.ndarray:
    """Each token with the step's probability."""
    probability = mask_probability(levels[:, None], params.diffusion_steps, params.noise_eps)
    return rng.random((len(levels), length)) < probability


def uniformly(levels: np.ndarray, length: int, params: CalibrationParams, rng: np.random.Generator) -> np.ndarray:
    """With a probability drawn per step, but never the first and the last token."""
    probability = mask_probability(rng.random((len(levels), 1)), 1, params.noise_eps)
    masked = rng.random((len(levels), length)) < probability
    if length > 1:
        masked[:, [0, -1]] = False
    return masked


def not_at_all(levels: np.ndarray, length: int, params: CalibrationParams, rng: np.random.Generator) -> np.ndarray:
    """None."""
    return np.zeros((len(levels), length), bool)


MASKINGS: Implementations[Masking] = Implementations(NOISES)


def noised_sequences(
    tokens: np.ndarray, params: CalibrationParams, mask_token: int, beside_clean: bool = False
) -> np.ndarray:
    """Every sequence at every noise step, (N, T, S), from the least noise up; tokens (N, S).

    beside_clean: for families trained block by block each is followed by its clean copy, (N, T, 2S); see
    `Layout.beside_clean`.
    """
    noised = _noised(tokens, params, 0, lambda shape, rng: mask_token)
    if not beside_clean:
        return noised
    return np.concatenate([noised, np.broadcast_to(tokens[:, None], noised.shape)], axis=-1)


def noised_canvases(tokens: np.ndarray, params: CalibrationParams, vocabulary: int, start: int) -> np.ndarray:
    """Every sequence at every noise step, (N, T, S), from the least noise up; tokens (N, S). From position `start` on
    each token is replaced at the step's rate by one drawn evenly from the vocabulary, which may be the same; what
    comes before stays.
    """
    return _noised(tokens, params, start, lambda shape, rng: rng.integers(0, vocabulary, shape, dtype=tokens.dtype))


def _noised(
    tokens: np.ndarray,
    params: CalibrationParams,
    start: int,
    drawn: Callable[[tuple[int, ...], np.random.Generator], np.ndarray | int],
) -> np.ndarray:
    """Replace tokens from `start` on by those that are drawn, (N, T, S).

    Each sequence draws from a generator of its own, so that a sample is the same however many there are.
    """
    levels = np.array(noise_levels(params.diffusion_steps, params.step_interval)[::-1])
    noised = np.repeat(tokens[:, None], len(levels), axis=1)
    for index, sequence in enumerate(tokens):
        rng, canvas = np.random.default_rng((params.seed, index)), sequence[start:]
        replaced = MASKINGS[params.noise](levels, len(canvas), params, rng)
        noised[index, :, start:] = np.where(replaced, drawn(replaced.shape, rng), canvas)
    return noised


def shared_levels(params: CalibrationParams) -> int:
    """Count the steps that mask every token, and so are one row for all sequences."""
    if not NOISES[params.noise].by_step or NOISES[params.noise].random_tokens:
        return 0
    levels = noise_levels(params.diffusion_steps, params.step_interval)
    return sum(mask_probability(level, params.diffusion_steps, params.noise_eps) >= 1 for level in levels)


def why_steps_count_alike(params: CalibrationParams, steps: StepParams) -> str:
    """Return why noise steps cannot be left out or weighted under this noise, or ''."""
    every = {name: getattr(steps, name) for name in StepParams.model_fields} == StepParams().model_dump()
    if every or NOISES[params.noise].by_step:
        return ""
    return (
        f"With the noise '{params.noise}' a step does not say how much is masked, so none can be left out or weighted. "
        "Weight all steps equally, or take the noise 'steps'."
    )


def with_own_noise(calibration: CalibrationParams, model: ModelSpec) -> CalibrationParams:
    """The parameters with the noise of a model that has no [MASK] to noise text with; of every other as they are.

    Raises UserError for a source that names no model.
    """
    from analysis.models.checkpoint import describe  # bad input is refused without it

    family = describe(model)
    if family.noise != "uniform":
        return calibration
    return calibration.model_copy(update={"noise": family.calibration_noise})


def swept_with_own_noise(spec: SweepSpec) -> SweepSpec:
    """The sweep with its model's own noise; of several models with that of the first, as all are swept alike.

    Raises UserError for a source that names no model.
    """
    calibration = with_own_noise(spec.pruning.calibration, spec.model)
    return spec.model_copy(update={"pruning": spec.pruning.model_copy(update={"calibration": calibration})})
