"""The pruning methods: what each looks at, and how it decides. A method is one row of `METHODS`.

A method may prepare something from the dense model on noised text (feature scores, token weights), gather a statistic
of every projection's inputs while the blocks are run one after the other, each fed by the pruned ones before it, and
then prunes one projection at a time. Importing the table loads no torch: pages read it too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.errors import UserError
from analysis.specs import PruneSpec, StepParams

if TYPE_CHECKING:
    import torch

    from analysis.calibration.activations import Scores
    from analysis.calibration.runners import Runner


@dataclass(frozen=True)
class Calibration:
    """clean (N, S) and noised (N, T, S) token ids; noised is None for a method or model without noise."""

    clean: np.ndarray
    noised: np.ndarray | None


@dataclass(frozen=True)
class Prepared:
    """What the dense model told: feature scores by layer and projection, or token weights ω̄ (N, 1 or L, S).

    facts: for the report.
    """

    scores: "Scores | None" = None
    token_weights: np.ndarray | None = None
    facts: dict[str, Any] | None = None


@dataclass(frozen=True)
class PrunedProjection:
    """weight (out, in), with zeros where `pruned` is True."""

    weight: "torch.Tensor"
    pruned: "torch.Tensor"


class Statistic(Protocol):
    """Gathers what a method needs of one input of a block."""

    def add(self, inputs: "torch.Tensor", weights: "torch.Tensor | None") -> None:
        """inputs (B, S, F), weights (B, S) or None."""

    def done(self) -> Any:
        """What `prune` of the method is given."""


class InputNorms:
    """‖X_j‖ = sqrt(mean over sequences of Σ_tokens x_j²), (F,): Wanda's (arXiv 2306.11695)."""

    def __init__(self) -> None:
        self.squares: Any = None
        self.sequences = 0

    def add(self, inputs: "torch.Tensor", weights: "torch.Tensor | None") -> None:
        squares = inputs.float().square().flatten(0, -2).sum(dim=0)
        self.squares = squares if self.squares is None else self.squares + squares
        self.sequences += len(inputs)

    def done(self) -> "torch.Tensor":
        assert self.squares is not None
        return (self.squares / self.sequences).sqrt()


class Hessian:
    """H = (2/n)·Σ (ω ⊙ X)ᵀ(ω ⊙ X) over n sequences, factorized (SparseGPT, arXiv 2301.00774). ω is 1 if not given."""

    def __init__(self) -> None:
        self.sum: Any = None
        self.sequences = 0

    def add(self, inputs: "torch.Tensor", weights: "torch.Tensor | None") -> None:
        rows = inputs.float() if weights is None else inputs.float() * weights[..., None]
        flat = rows.flatten(0, -2)
        if self.sum is None:
            self.sum = flat.new_zeros(flat.shape[1], flat.shape[1])
        self.sum.addmm_(flat.T, flat)
        self.sequences += len(inputs)

    def done(self) -> Any:
        from analysis.pruning import sparsegpt

        assert self.sum is not None
        return sparsegpt.factorize(self.sum.mul_(2 / self.sequences))


Prune = Callable[["torch.Tensor", Any, float, int | None, PruneSpec], PrunedProjection]
Prepare = Callable[["Runner", Calibration, PruneSpec, int, Callable[[int, int], None]], Prepared]


@dataclass(frozen=True)
class Method:
    """title, help: for people. noised: it reads noised text, so the model needs a mask token. discounted: it reads the
    discount parameters. prepare: from the dense model. statistic: gathered block by block, or None. prune: weight
    (out, in) float32, the prepared score or the statistic, sparsity, how many weights go exactly or None for the
    authors' own rounding, spec. updates: the weights that stay are changed. weighs_steps: its scores are sums over
    noise steps, which `StepParams` choose and weigh. control: the method that differs in the discount alone. published:
    the one that it was published against.
    """

    title: str
    help: str
    prune: Prune
    noised: bool = False
    discounted: bool = False
    prepare: Prepare | None = None
    statistic: Callable[[], Statistic] | None = None
    updates: bool = False
    weighs_steps: bool = False
    control: str | None = None
    published: str | None = None

    @property
    def calibrated(self) -> bool:
        """Whether it reads any text."""
        return self.prepare is not None or self.statistic is not None


def _by_magnitude(
    weight: "torch.Tensor", statistic: Any, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    from analysis.pruning.patterns import pruned_mask
    from analysis.pruning.scores import magnitude_score

    pruned = pruned_mask(magnitude_score(weight), sparsity, spec.pattern, spec.magnitude_over, count)
    return PrunedProjection(weight.masked_fill(pruned, 0), pruned)


def _by_features(
    weight: "torch.Tensor", statistic: Any, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    from analysis.pruning.patterns import pruned_mask
    from analysis.pruning.scores import wanda_score

    pruned = pruned_mask(wanda_score(weight, statistic), sparsity, spec.pattern, count=count)
    return PrunedProjection(weight.masked_fill(pruned, 0), pruned)


def _by_sparsegpt(
    weight: "torch.Tensor", statistic: Any, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    from analysis.pruning import sparsegpt

    solved = sparsegpt.prune(weight, statistic, sparsity, spec.pattern, count=count)
    return PrunedProjection(solved.weight, solved.pruned)


def _step_weights(spec: PruneSpec) -> np.ndarray | None:
    """c of every noise level of the calibration (T,), None where all count alike. Raises UserError where none does."""
    from analysis.calibration.noise import noise_levels, why_steps_count_alike
    from analysis.tuning.effects import step_weights

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


def _noised_scores(discounted: bool) -> Prepare:
    def prepare(
        runner: "Runner", text: Calibration, spec: PruneSpec, budget: int, told: Callable[[int, int], None]
    ) -> Prepared:
        from analysis.calibration.activations import feature_scores

        assert text.noised is not None
        discount = spec.discount if discounted else None
        found = feature_scores(runner, text.noised, discount, budget, told, _step_weights(spec))
        facts = {
            "mode": found.mode,
            "forwards": found.forwards,
            "rows_a_forward": found.rows_a_forward,
            "kept_bytes": found.kept_bytes,
        }
        return Prepared(scores=found.scores, facts=facts)

    return prepare


def _mean_weights(
    runner: "Runner", text: Calibration, spec: PruneSpec, budget: int, told: Callable[[int, int], None]
) -> Prepared:
    from analysis.calibration.activations import mean_token_weights

    assert text.noised is not None
    weights = mean_token_weights(runner, text.noised, spec.discount, told)
    return Prepared(token_weights=weights, facts={"mean_token_weight": float(weights.mean())})


METHODS: dict[str, Method] = {
    "magnitude": Method("Magnitude", "The smallest weights go. Looks at no text.", _by_magnitude),
    "wanda": Method(
        "Wanda",
        "|W|·‖X‖ on clean text, layer by layer, each fed by the pruned ones before it.",
        _by_features,
        statistic=InputNorms,
    ),
    "wanda-noised": Method(
        "Wanda, noised (control)",
        "Sink-Wanda without its discount: the same noised text, order and norm. What differs is the sinks alone.",
        _by_features,
        noised=True,
        prepare=_noised_scores(discounted=False),
        weighs_steps=True,
    ),
    "sink-wanda": Method(
        "Sink-Wanda",
        "|W|·s on noised text of the dense model, with tokens that are attention sinks discounted.",
        _by_features,
        noised=True,
        discounted=True,
        prepare=_noised_scores(discounted=True),
        weighs_steps=True,
        control="wanda-noised",
        published="wanda",
    ),
    "sparsegpt": Method(
        "SparseGPT",
        "Removes what the Hessian of clean inputs says costs least; the weights left make up for it.",
        _by_sparsegpt,
        statistic=Hessian,
        updates=True,
    ),
    "sink-sparsegpt": Method(
        "Sink-SparseGPT",
        "SparseGPT with clean tokens weighted by how little of a sink they were on noised text.",
        _by_sparsegpt,
        noised=True,
        discounted=True,
        prepare=_mean_weights,
        statistic=Hessian,
        updates=True,
        control="sparsegpt",
        published="sparsegpt",
    ),
}
