"""Wanda (arXiv 2306.11695), its sink-aware form (arXiv 2602.17664) and the control between them.

All three score a weight by its size and by one number for the feature that it reads, |W_ij|·s_j, and remove the lowest
of each row. They differ in s:

    wanda          ‖X_j‖ = sqrt(mean over sequences of Σ_tokens x_j²), block by block, each fed by the pruned ones
    sink-wanda     Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of the dense model on noised text
    wanda-noised   the same with ω = 1
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import feature_scores
from analysis.calibration.noise import noise_levels, why_steps_count_alike
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.pruning.algorithm import Algorithm, Calibration, Prepared, PrunedProjection
from analysis.pruning.magnitude import magnitude_score
from analysis.pruning.patterns import pruned_mask
from analysis.specs import PruneSpec, StepParams
from analysis.tuning.effects import step_weights


class InputNorms:
    """‖X_j‖ of an input, (F,) float32."""

    def __init__(self) -> None:
        self.squares: torch.Tensor | None = None
        self.sequences = 0
        self.facts: dict[str, float] = {}

    def add(self, inputs: torch.Tensor, weights: torch.Tensor | None) -> None:
        """Takes in the squares of inputs (B, S, F)."""
        squares = inputs.float().square().flatten(0, -2).sum(dim=0)
        self.squares = squares if self.squares is None else self.squares + squares
        self.sequences += len(inputs)

    def done(self) -> torch.Tensor:
        """The norms. Raises UserError where there was no input."""
        if self.squares is None:
            raise UserError("Wanda needs at least one calibration sequence.")
        return (self.squares / self.sequences).sqrt()

    @staticmethod
    def bytes_for(features: int) -> int:
        """The sum of squares and the norms."""
        return 2 * 4 * features

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """One quotient."""
        return 4 * features


def wanda_score(weight: torch.Tensor, feature_scores: torch.Tensor) -> torch.Tensor:
    """|W_ij| · s_j, (out, in) float32. feature_scores (in,): s. Raises ValueError for another number of features."""
    if feature_scores.shape != weight.shape[1:]:
        raise ValueError(f"{tuple(weight.shape)} weights do not fit {tuple(feature_scores.shape)} feature scores")
    return magnitude_score(weight) * feature_scores.to(weight.device, torch.float32)


def prune(
    weight: torch.Tensor, feature_scores: torch.Tensor, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    """Zeroes the weights (out, in) of lowest score in each row, as the pattern has it. feature_scores (in,): s."""
    pruned = pruned_mask(wanda_score(weight, feature_scores), sparsity, spec.pattern, count=count)
    return PrunedProjection(weight.masked_fill(pruned, 0), pruned)


def _noised_scores(discounted: bool) -> Callable[..., Prepared]:
    def prepare(
        runner: Runner, text: Calibration, spec: PruneSpec, budget: int, on_forward: Callable[[int, int], None]
    ) -> Prepared:
        assert text.noised is not None
        discount = spec.discount if discounted else None
        collected = feature_scores(runner, text.noised, discount, budget, on_forward, _step_weights(spec))
        facts: dict[str, Any] = {
            "mode": collected.mode,
            "forwards": collected.forwards,
            "rows_a_forward": collected.rows_a_forward,
            "kept_bytes": collected.kept_bytes,
        }
        return Prepared(scores=collected.scores, facts=facts)

    return prepare


def _step_weights(spec: PruneSpec) -> np.ndarray | None:
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


WANDA = Algorithm(prune, statistic=InputNorms)
WANDA_NOISED = Algorithm(prune, prepare=_noised_scores(discounted=False))
SINK_WANDA = Algorithm(prune, prepare=_noised_scores(discounted=True))
