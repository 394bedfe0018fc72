"""Magnitude pruning: the smallest weights go, whatever passes through them."""

from typing import Any

import torch

from analysis.pruning.algorithm import Algorithm, PrunedProjection
from analysis.pruning.patterns import pruned_mask
from analysis.specs import PruneSpec


def magnitude_score(weight: torch.Tensor) -> torch.Tensor:
    """|W|, (out, in) float32."""
    return weight.detach().float().abs()


def prune(
    weight: torch.Tensor, statistic: Any, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    """Zeroes the smallest weights (out, in) of each row or of the matrix. statistic: not looked at."""
    pruned = pruned_mask(magnitude_score(weight), sparsity, spec.pattern, spec.magnitude_over, count)
    return PrunedProjection(weight.masked_fill(pruned, 0), pruned)


MAGNITUDE = Algorithm(prune)
