"""Magnitude pruning: the smallest weights go, whatever passes through them."""

from typing import Any

import torch

from analysis.pruning.algorithm import Algorithm


def magnitude_score(weight: torch.Tensor, statistic: Any = None) -> torch.Tensor:
    """|W|, (out, in) float32, in memory of its own. statistic: not looked at."""
    weight = weight.detach()
    return weight.abs() if weight.dtype == torch.float32 else weight.float().abs_()


MAGNITUDE = Algorithm(magnitude_score)
