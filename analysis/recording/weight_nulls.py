"""Models of the same shape with other weights: what a model's attention stands beside. One function per row of
`MOVEMENT_NULLS` that is other weights.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from analysis.attention import AttentionInputs, Observer
from analysis.errors import UserError
from analysis.models.load import random_like
from analysis.models.loaded import LoadedModel
from analysis.registry import Implementations
from analysis.sinks.movement import MOVEMENT_NULLS

Show = Callable[[LoadedModel, Observer], None]
"""Function that runs a model over the inputs on which its attention is compared, with an observer."""

_ROUNDS = 12  # of matching the logits: a layer that is scaled changes what the next ones see
_NEAR = 0.01  # relative difference at which two spreads are the same


def permuted_like(model: LoadedModel, seed: int, show: Show | None = None) -> LoadedModel:
    """Return the model with the entries of each weight matrix in random order; vectors, as the gains of norms, stay.

    The matrices of experts that share a tensor are permuted one by one; the recorded inputs are not looked at. Raises
    UserError as `random_like` does.
    """
    drawn = random_like(model, seed)
    own = dict(model.network.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in drawn.network.named_parameters():
            trained = own[name].detach()
            for target, source in zip(_matrices(parameter), _matrices(trained), strict=True):
                order = slice(None) if trained.dim() < 2 else torch.randperm(source.numel(), generator=generator)
                target.copy_(source.reshape(-1)[order].view_as(source))
    return replace(drawn, fingerprint=f"permuted-{seed}-{model.fingerprint[:16]}")


def matched_like(model: LoadedModel, seed: int, show: Show) -> LoadedModel:
    """Return random weights whose attention logits have, in every layer, the standard deviation over the keys that the
    model's have on the same inputs.

    Raises UserError as `random_like` does, and where an attention layer has no scale that can be set.
    """
    wanted = logit_spread(model, show)
    drawn = random_like(model, seed)
    layers = [_scaled(block, drawn) for block in drawn.blocks]
    for _ in range(_ROUNDS):
        ratio = wanted / logit_spread(drawn, show)  # NaN where no query sees two keys
        ratio = ratio.where(ratio.isfinite() & (ratio > 0), 1.0)
        if ((ratio - 1).abs() < _NEAR).all():
            break
        for module, factor in zip(layers, ratio.tolist(), strict=True):
            module.scaling = float(module.scaling) * factor  # type: ignore[arg-type, assignment]
    return replace(drawn, fingerprint=f"matched-{seed}-{model.fingerprint[:16]}")


def draw_random(model: LoadedModel, seed: int, show: Show) -> LoadedModel:
    """Random weights; the recorded inputs are not looked at."""
    return random_like(model, seed)


DRAWS: Implementations[Callable[[LoadedModel, int, Show], LoadedModel]] = Implementations(MOVEMENT_NULLS)
"""(model, seed, show) -> a model of the null; the one given is left as it is. Raises UserError where there is no memory
for it, or where its class does not let the logits be scaled.
"""


def logit_spread(model: LoadedModel, show: Show) -> torch.Tensor:
    """Return the standard deviation of the attention logits over the keys that a query sees, root mean square over
    queries and heads, (L,) float64.
    """
    observer = _LogitSpread()
    show(model, observer)
    return torch.tensor(
        [observer.squares[layer] / max(observer.queries[layer], 1) for layer in sorted(observer.squares)]
    ).sqrt()


class _LogitSpread:
    """Sum of the variance of each query's logits over the keys that it sees, by layer."""

    def __init__(self) -> None:
        self.squares: dict[int, float] = {}
        self.queries: dict[int, int] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        for probabilities in inputs.probabilities():
            # Logits are log-probabilities but for a constant of the query, which the variance does not see.
            sees = probabilities > 0
            count = sees.sum(dim=-1)
            logits = torch.where(sees, probabilities.clamp_min(torch.finfo(torch.float32).tiny).log(), 0.0).double()
            mean = logits.sum(dim=-1, keepdim=True) / count.clamp_min(1)[..., None]
            variance = (torch.where(sees, logits - mean, 0.0) ** 2).sum(dim=-1) / count.clamp_min(1)
            several = count > 1
            self.squares[layer] = self.squares.get(layer, 0.0) + float(variance[several].sum())
            self.queries[layer] = self.queries.get(layer, 0) + int(several.sum())


def _matrices(parameter: torch.Tensor) -> list[torch.Tensor]:
    """The matrices of a parameter, or the whole of it where it has fewer dimensions."""
    return [parameter] if parameter.dim() <= 2 else list(parameter.view(-1, *parameter.shape[-2:]).unbind())


def _scaled(block: nn.Module, model: LoadedModel) -> nn.Module:
    """The module of a block that attends, whose `scaling` multiplies the logits."""
    found = [module for module in block.modules() if isinstance(getattr(module, "scaling", None), float)]
    if len(found) != 1:
        raise UserError(
            f"The attention logits of {model.architecture.name} cannot be brought to another scale: a layer has "
            f"{len(found)} scales where one was expected. This null is left out."
        )
    return found[0]
