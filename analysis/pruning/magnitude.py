"""Magnitude pruning: the smallest weights go, whatever passes through them."""

from typing import Any

import torch

from analysis.pruning.algorithm import Algorithm


def magnitude_score(weight: torch.Tensor, statistic: Any = None) -> torch.Tensor:
    """|W|, (out, in) float32. statistic: not looked at."""
    return weight.detach().float().abs()


MAGNITUDE = Algorithm(magnitude_score)
