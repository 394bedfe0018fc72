"""The published procedure of sink-aware pruning (arXiv 2602.17664), written plainly: what `pruning` measures against.

One sequence at a time. Every noise level takes two forwards: the first finds the sinks from the whole attention of
every layer, the second collects the norms with a hook on each of a block's projections. SparseGPT gives every
projection a Hessian and an inverse of its own. The arithmetic is float32 whatever the model's precision, so that masks
can be compared bit for bit.

Shapes: N sequences, T noise levels, S positions, F features.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.attention import AttentionInputs
from analysis.models.blocks import first_input, private_block, run_block
from analysis.models.files import stored_tensors
from analysis.models.loaded import LoadedModel
from analysis.specs import DiscountParams

Place = tuple[int, str]  # layer and projection


class WholeAttention:
    """Sum of the attention paid to each key, from all probabilities of a layer at once."""

    def __init__(self) -> None:
        self.mass: Any = 0

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        group = inputs.query.shape[1] // inputs.key.shape[1]
        key = inputs.key.float().repeat_interleave(group, dim=1)
        scores = inputs.query.float() @ key.transpose(2, 3) * inputs.scaling
        self.mass = self.mass + torch.softmax(scores, dim=-1).sum(dim=(1, 2))


@torch.no_grad()
def feature_scores(model: LoadedModel, rows: np.ndarray, discount: DiscountParams) -> dict[Place, torch.Tensor]:
    """s_j = Σ_n Σ_t ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of every projection over token rows (N, T, S), (F,) float32."""
    sums: dict[Place, torch.Tensor] = {}
    weights: torch.Tensor | None = None

    def add(place: Place, states: torch.Tensor) -> None:
        if weights is not None:
            norms = (states[0].float() * weights[:, None]).norm(dim=0)
            sums[place] = sums[place] + norms if place in sums else norms

    with hooked(model, enumerate(model.blocks), add):
        for sequence in rows:
            for tokens in torch.from_numpy(sequence):
                weights = None
                weights = 1 - discount.discount_strength * sink_score(model, tokens, discount)
                model.predict(tokens[None])
    return sums


@torch.no_grad()
def sink_score(model: LoadedModel, tokens: torch.Tensor, discount: DiscountParams) -> torch.Tensor:
    """φ (S,) of one row of tokens."""
    attention = WholeAttention()
    model.predict(tokens[None], attention)
    mass = attention.mass[0]
    threshold = mass.mean() + discount.sink_std * mass.std(correction=0)
    return torch.sigmoid(discount.sink_alpha * (mass - threshold))


def masks(model: LoadedModel, scores: dict[Place, torch.Tensor], sparsity: float) -> dict[Place, torch.Tensor]:
    """True where a weight goes: the lowest |W|·s of each row."""
    flags = {}
    for (layer, name), score in scores.items():
        metric = model.projections(model.blocks[layer])[name].weight.detach().float().abs() * score
        lowest = metric.topk(int(metric.shape[1] * sparsity), dim=1, largest=False).indices
        flags[layer, name] = torch.zeros_like(metric, dtype=torch.bool).scatter_(1, lowest, True)
    return flags


@torch.no_grad()
def token_weights(model: LoadedModel, rows: np.ndarray, discount: DiscountParams) -> torch.Tensor:
    """ω̄ (N, S): one less the sink score averaged over the noise levels of rows (N, T, S)."""
    scores = [[sink_score(model, tokens, discount) for tokens in torch.from_numpy(sequence)] for sequence in rows]
    return 1 - discount.discount_strength * torch.stack([torch.stack(levels).mean(dim=0) for levels in scores])


@torch.no_grad()
def sparsegpt(
    model: LoadedModel,
    clean: np.ndarray,
    weights: torch.Tensor,
    sparsity: float,
    precision: torch.dtype = torch.float32,
) -> dict[Place, torch.Tensor]:
    """True where a weight goes, block after block on clean tokens (N, S) weighted by ω̄ (N, S).

    precision: of the solver; what differs between two of them is rounding.
    """
    given = [first_input(model, tokens[None]) for tokens in torch.from_numpy(clean)]
    flags = {}
    stored = stored_tensors(model)
    for layer in range(model.geometry.layers):
        block = private_block(model, layer, stored)
        hessians: dict[Place, torch.Tensor] = {}
        seen = dict.fromkeys(model.projections(block), 0)
        for number, inputs in enumerate(given):
            with hooked(model, [(layer, block)], partial(_add_to_hessian, hessians, seen, weights[number])):
                run_block(block, inputs)
        for name, module in model.projections(block).items():
            hessian = hessians.pop((layer, name)).to(precision)
            solved, flags[layer, name] = solve(module.weight.to(precision), hessian, sparsity)
            module.weight.data.copy_(solved)
        for inputs in given:
            inputs.states = run_block(block, inputs)
    return flags


def _add_to_hessian(
    hessians: dict[Place, torch.Tensor], seen: dict[str, int], weights: torch.Tensor, place: Place, states: torch.Tensor
) -> None:
    """Update H = (2/n)·Σ XᵀX as the mean over the n sequences so far."""
    name = place[1]
    rows = states[0].float() * weights[:, None]
    if place not in hessians:
        hessians[place] = torch.zeros(rows.shape[1], rows.shape[1])
    hessians[place] *= seen[name] / (seen[name] + 1)
    seen[name] += 1
    hessians[place] += 2 / seen[name] * (rows.T @ rows)


def solve(weight: torch.Tensor, hessian: torch.Tensor, sparsity: float) -> tuple[torch.Tensor, torch.Tensor]:
    """SparseGPT (arXiv 2301.00774) of one matrix, column by column: its weights, and which of them went."""
    weight = weight.clone()
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    flags = torch.zeros_like(weight, dtype=torch.bool)
    columns = weight.shape[1]
    for start in range(0, columns, 128):
        end = min(start + 128, columns)
        part, errors = weight[:, start:end].clone(), torch.zeros_like(weight[:, start:end])
        corner = upper[start:end, start:end]
        score = part.square() / corner.diagonal().square()
        chosen = score <= score.flatten().sort().values[int(score.numel() * sparsity)]
        for column in range(end - start):
            kept = part[:, column].masked_fill(chosen[:, column], 0)
            errors[:, column] = (part[:, column] - kept) / corner[column, column]
            part[:, column:] -= errors[:, column : column + 1] @ corner[column : column + 1, column:]
            part[:, column] = kept
        weight[:, start:end], flags[:, start:end] = part, chosen
        weight[:, end:] -= errors @ upper[start:end, end:]
    return weight, flags


@contextmanager
def hooked(model: LoadedModel, blocks: Any, add: Callable[[Place, torch.Tensor], None]) -> Iterator[None]:
    """While open, `add` sees the input of every projection of these blocks after it ran."""

    def hook(place: Place, module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        add(place, inputs[0])

    handles = [
        module.register_forward_hook(partial(hook, (layer, name)))
        for layer, block in blocks
        for name, module in model.projections(block).items()
        if isinstance(module, torch.nn.Module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
