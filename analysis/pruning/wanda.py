"""Scores of single weights by magnitude, by Wanda (arXiv 2306.11695), by its sink-aware form (arXiv 2602.17664) and by
the controls of the discount.

Magnitude looks at the weight alone. The others score a weight by its size and by one number for the feature that it
reads, |W_ij|·s_j, and remove the lowest of each row. They differ in s:

    wanda          ‖X_j‖ = sqrt(mean over sequences of Σ_tokens x_j²), block by block, each fed by the pruned ones
    sink-wanda     Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of the dense model on noised text
    wanda-noised   the same with ω = 1

Noise, order and norm of the last two are switches: text that is not noised, layer by layer, one norm over all tokens.
With all three off and ω = 1 they are Wanda. ω comes from the dense model in any order. Further controls discount other
tokens than the sinks.
"""

from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import OnProgress, feature_scores, step_token_weights
from analysis.calibration.noise import noise_levels, why_steps_count_alike
from analysis.calibration.noised_text import calibration_states, clean_states
from analysis.calibration.norms import InputNorms, NoisedNorms, PooledNorms
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.models.loaded import LoadedModel
from analysis.pruning.algorithm import Algorithm, Calibration, Prepared
from analysis.sinks.discount import Moved, step_weights
from analysis.specs import METHODS, PruneSpec, StepParams


def moved_of(model: LoadedModel, spec: PruneSpec, clean: bool = False) -> Moved | None:
    """Return the function that moves the discount from the sinks to other tokens; None where the method discounts
    sinks. clean: whether the tokens that it is given are those of the clean text.
    """
    placebo = METHODS[spec.method].tokens
    if placebo == "sinks":
        return None
    states = clean_states if clean else calibration_states
    return Moved(placebo, lambda tokens: states(model, tokens), spec.calibration.seed)


def magnitude_score(weight: torch.Tensor, statistic: Any = None) -> torch.Tensor:
    """|W|, (out, in) float32, in memory of its own. statistic: not looked at."""
    weight = weight.detach()
    return weight.abs() if weight.dtype == torch.float32 else weight.float().abs_()


MAGNITUDE = Algorithm(magnitude_score)


def wanda_score(weight: torch.Tensor, feature_scores: torch.Tensor) -> torch.Tensor:
    """|W_ij| · s_j, (out, in) float32. feature_scores (in,): s. Raises ValueError for another number of features."""
    if feature_scores.shape != weight.shape[1:]:
        raise ValueError(f"{tuple(weight.shape)} weights do not fit {tuple(feature_scores.shape)} feature scores")
    return magnitude_score(weight).mul_(feature_scores.to(weight.device, torch.float32))


def _noised_scores(runner: Runner, text: Calibration, spec: PruneSpec, budget: int, on_forward: OnProgress) -> Prepared:
    assert text.noised is not None
    discount = spec.discount if METHODS[spec.method].discounted else None
    moved = moved_of(runner.model, spec)
    if spec.layerwise:
        weights = step_token_weights(runner, text.noised, discount, on_forward, moved)
        return Prepared(token_weights=weights, facts={"mean_token_weight": float(weights.mean())})
    collected = feature_scores(
        *(runner, text.noised, discount, budget, on_forward), step_weights_of(spec), spec.pooled, moved
    )
    return Prepared(scores=collected.scores, facts=collected.facts)


def step_weights_of(spec: PruneSpec) -> np.ndarray | None:
    """c of every noise level of the calibration (T,), None where all count alike. Raises UserError where none does."""
    if spec.steps == StepParams():
        return None
    problem = why_steps_count_alike(spec.calibration, spec.steps)
    if problem:
        raise UserError(problem)
    total = spec.calibration.diffusion_steps
    levels = tuple(noise_levels(total, spec.calibration.step_interval)[::-1])
    steps = step_weights(levels, total, spec.steps)
    if not steps.any():
        raise UserError(
            f"No noise step of the calibration ({', '.join(map(str, levels))}) lies in the range of steps that count. "
            "Widen it."
        )
    return steps


WANDA = Algorithm(wanda_score, statistic=InputNorms)
WANDA_NOISED = SINK_WANDA = Algorithm(wanda_score, None, _noised_scores, NoisedNorms, PooledNorms)
