"""Wanda (arXiv 2306.11695), its sink-aware form (arXiv 2602.17664) and the control between them.

All three score a weight by its size and by one number for the feature that it reads, |W_ij|·s_j, and remove the lowest
of each row. They differ in s:

    wanda          ‖X_j‖ = sqrt(mean over sequences of Σ_tokens x_j²), block by block, each fed by the pruned ones
    sink-wanda     Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of the dense model on noised text
    wanda-noised   the same with ω = 1

Noise, order and norm of the last two are switches: text that is not noised, layer by layer, one norm over all tokens.
With all three off and ω = 1 they are Wanda. ω comes from the dense model in any order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import Weights, add_norms, feature_scores, running_sum, step_token_weights
from analysis.calibration.noise import noise_levels, why_steps_count_alike
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.pruning.algorithm import UNREACHED, Algorithm, Calibration, Prepared
from analysis.pruning.magnitude import magnitude_score
from analysis.pruning.placebos import moved_of
from analysis.sinks.discount import step_weights
from analysis.specs import PruneSpec, StepParams


class InputNorms:
    """‖X_j‖ of an input, (F,) float32."""

    def __init__(self) -> None:
        self.squares: torch.Tensor | None = None
        self.sequences = 0
        self.empty = False
        self.facts: dict[str, float] = {}

    def add(self, inputs: torch.Tensor, weights: torch.Tensor | None, positions: torch.Tensor | None = None) -> None:
        """Add the squares of inputs (B, S, F)."""
        squares = inputs.float().square().flatten(0, -2).sum(dim=0)
        self.squares = squares if self.squares is None else self.squares + squares
        self.sequences += len(inputs)

    def done(self) -> torch.Tensor:
        """The norms. Raises UserError where there was no input."""
        if self.squares is None:
            raise UserError("Wanda needs at least one calibration sequence.")
        self.empty = not self.squares.any()
        return (self.squares / self.sequences).sqrt()

    @staticmethod
    def bytes_for(features: int) -> int:
        """The sum of squares and the norms."""
        return 2 * 4 * features

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """One quotient."""
        return 4 * features


class NoisedNorms:
    """Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of an input, (F,) float64, gathered layer by layer."""

    pooled = False

    def __init__(self) -> None:
        self.total: torch.Tensor | None = None
        self.empty = False
        self.facts: dict[str, float] = {}

    def add(self, inputs: torch.Tensor, weights: Weights, positions: torch.Tensor | None = None) -> None:
        """Add the norms of inputs (B, S, F). weights: by row, ω (m, 1, S) and how often it counts, times c."""
        if self.total is None:
            self.total = running_sum(inputs)
        add_norms(self.total, inputs, weights, 0, positions, self.pooled)

    def done(self) -> torch.Tensor:
        """The sums. Raises UserError where there was no input."""
        if self.total is None:
            raise UserError("Noised Wanda needs at least one calibration sequence.")
        self.empty = not self.total.any()
        if self.pooled:
            self.total = self.total.sqrt()
        return self.total.double().cpu() if self.total.device.type == "mps" else self.total

    @staticmethod
    def bytes_for(features: int) -> int:
        """The sums."""
        return 8 * features

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """The norms of one row."""
        return 4 * features


class PooledNorms(NoisedNorms):
    """(Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖²)^½: one norm over all tokens, as Wanda's but for a constant factor."""

    pooled = True


def wanda_score(weight: torch.Tensor, feature_scores: torch.Tensor) -> torch.Tensor:
    """|W_ij| · s_j, (out, in) float32. feature_scores (in,): s. Raises ValueError for another number of features."""
    if feature_scores.shape != weight.shape[1:]:
        raise ValueError(f"{tuple(weight.shape)} weights do not fit {tuple(feature_scores.shape)} feature scores")
    return magnitude_score(weight).mul_(feature_scores.to(weight.device, torch.float32))


def _noised_scores(discounted: bool) -> Callable[..., Prepared]:
    def prepare(
        runner: Runner, text: Calibration, spec: PruneSpec, budget: int, on_forward: Callable[[int, int], None]
    ) -> Prepared:
        assert text.noised is not None
        discount = spec.discount if discounted else None
        moved = moved_of(runner.model, spec)
        if spec.layerwise:
            weights = step_token_weights(runner, text.noised, discount, on_forward, moved)
            return Prepared(token_weights=weights, facts={"mean_token_weight": float(weights.mean())})
        collected = feature_scores(
            *(runner, text.noised, discount, budget, on_forward), step_weights_of(spec), spec.pooled, moved
        )
        facts: dict[str, Any] = {
            "mode": collected.mode,
            "forwards": collected.forwards,
            "rows_a_forward": collected.rows_a_forward,
            "kept_bytes": collected.kept_bytes,
        }
        if collected.unreached:
            facts[UNREACHED] = {str(layer): experts for layer, experts in collected.unreached.items()}
        return Prepared(scores=collected.scores, facts=facts)

    return prepare


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
WANDA_NOISED = Algorithm(wanda_score, None, _noised_scores(discounted=False), NoisedNorms, PooledNorms)
SINK_WANDA = Algorithm(wanda_score, None, _noised_scores(discounted=True), NoisedNorms, PooledNorms)
