"""What a weight is worth: magnitude and Wanda (arXiv 2306.11695), and which weights of a row go.

Scores are pure functions of a weight matrix (out, in) and, for Wanda, of the norms of its inputs; how the norms are
collected is another matter. A pruned weight is exactly zero.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import nn

from analysis.errors import UserError
from analysis.models.load import LoadedModel
from analysis.pruning.selection import lowest


def magnitude_score(weight: torch.Tensor) -> torch.Tensor:
    """|W|, (out, in) float32."""
    return weight.detach().float().abs()


def wanda_score(weight: torch.Tensor, feature_norms: torch.Tensor) -> torch.Tensor:
    """|W_ij| · ‖X_j‖, (out, in) float32. feature_norms (in,): sqrt(mean over sequences of Σ_tokens x²)."""
    if feature_norms.shape != weight.shape[1:]:
        raise ValueError(f"{tuple(weight.shape)} weights do not fit {tuple(feature_norms.shape)} feature norms")
    return magnitude_score(weight) * feature_norms.to(weight.device, torch.float32)


def lowest_in_rows(score: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True at the ⌊in · sparsity⌋ lowest scores of each row, bool (out, in). Of equal scores the first go."""
    return lowest(score, pruned_a_row(score.shape[1], sparsity))


def pruned_a_row(features: int, sparsity: float) -> int:
    """⌊features · sparsity⌋, safe against 0.7 · 10 being 6.999. Raises UserError outside 0…1."""
    if not 0 <= sparsity <= 1:
        raise UserError(f"A sparsity lies between 0 and 1; {sparsity} does not.")
    return math.floor(features * sparsity + 1e-9)


@torch.no_grad()
def prune_rows_(weight: torch.Tensor, score: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Zeroes the lowest-scored weights of each row in place and returns which they are."""
    pruned = lowest_in_rows(score, sparsity)
    weight.masked_fill_(pruned, 0)
    return pruned


@torch.no_grad()
def feature_norms(model: LoadedModel, block: nn.Module, batches: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    """‖X_j‖ of every projection of a block by its name: sqrt(mean over sequences of Σ_tokens x_j²), float32 (in,).

    batches: token ids (B, S).
    """
    sums: dict[str, torch.Tensor] = {}
    sequences = 0

    def adds_to(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            squares = inputs[0].float().square().flatten(0, -2).sum(dim=0)
            sums[name] = sums[name] + squares if name in sums else squares

        return hook

    hooks = [module.register_forward_hook(adds_to(name)) for name, module in model.projections(block).items()]
    try:
        for tokens in batches:
            model.predict(tokens)
            sequences += len(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    if not sequences:
        raise UserError("Wanda needs at least one calibration sequence.")
    return {name: (total / sequences).sqrt() for name, total in sums.items()}


def pruned_copy(
    model: LoadedModel, method: str, sparsity: float, calibration: Iterable[torch.Tensor] = ()
) -> LoadedModel:
    """The model with every block projection pruned per row; the one given is left as it was.

    method: magnitude or wanda. Wanda's norms of a block come from inputs that passed the pruned blocks before it.
    """
    if method not in ("magnitude", "wanda"):
        raise UserError(f"Unknown method '{method}'. Known: magnitude, wanda.")
    pruned = replace(model, network=copy.deepcopy(model.network))
    batches = list(calibration)
    for block in pruned.blocks:
        norms = feature_norms(pruned, block, batches) if method == "wanda" and sparsity > 0 else {}
        for name, module in pruned.projections(block).items():
            weight = module.weight.data
            score = magnitude_score(weight) if method == "magnitude" or not norms else wanda_score(weight, norms[name])
            prune_rows_(weight, score, sparsity)
    return pruned
