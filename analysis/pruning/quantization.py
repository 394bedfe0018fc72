"""Quantization: every weight becomes one of 2^bits levels of its row or group, and is written dequantized.

GPTQ (Frantar et al., arXiv 2210.17323) rounds the columns in order, and lets the later ones make up for each error as
SparseGPT does, by the same factor of the Hessian. Its quantizers differ in the tokens of the Hessian alone. A weight
that is exactly zero, pruned before or now, stays zero: the later columns make up for what would have moved it.

Shapes: a matrix is (out, in); a grid has one scale and one zero point per row, and per group of columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from analysis.calibration.norms import Statistic
from analysis.pruning.sparsegpt import BLOCK, Factor, Hessian
from analysis.specs import QuantizationParams


class Rounded(NamedTuple):
    """codes (out, in) uint8, and weight (out, in) float32, which is scale · (code − zero point)."""

    weight: torch.Tensor
    codes: torch.Tensor


class Grid(NamedTuple):
    """scale and zero (rows,) float32: levels scale · (code − zero) for codes from 0 to `largest`."""

    scale: torch.Tensor
    zero: torch.Tensor
    largest: int

    def codes(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the code of the level nearest to each weight (rows,) or (columns, rows), as float32."""
        return torch.round(weights / self.scale).add_(self.zero).clamp_(0, self.largest)

    def levels(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the weights that codes stand for."""
        return (codes - self.zero).mul_(self.scale)


Quantize = Callable[[torch.Tensor, Any, QuantizationParams], Rounded]


@dataclass(frozen=True)
class Quantization:
    """Implementation of a quantizer of `QUANTIZERS`.

    quantize: from weights (out, in) float32, what was gathered of their input, and the bits. statistic: gathered of the
    inputs of each block, fed by the finished blocks before it; None without text. bytes_per_weight: what quantizing a
    matrix holds beside its float32 weights at most.
    """

    quantize: Quantize
    statistic: type[Statistic] | None = None
    bytes_per_weight: int = 20  # measured; levels and codes, in order and again as rows


def grid_of(columns: torch.Tensor, params: QuantizationParams) -> Grid:
    """Return the grid of weights (columns, rows), one per row, as GPTQ's published code has it.

    Asymmetric levels span from the least to the largest weight and include zero; symmetric ones span twice the largest
    size. Zero is a level of both, so it is kept exactly. Rows of zeros get levels around zero.
    """
    largest = 2**params.bits - 1
    low, high = columns.amin(dim=0).clamp_(max=0), columns.amax(dim=0).clamp_(min=0)
    if params.symmetric:
        high = torch.maximum(-low, high)
        low = torch.where(low < 0, -high, low)
    empty = (low == 0) & (high == 0)
    low, high = low.masked_fill_(empty, -1), high.masked_fill_(empty, 1)
    scale = (high - low) / largest
    zero = torch.full_like(scale, (largest + 1) / 2) if params.symmetric else torch.round(-low / scale)
    return Grid(scale, zero, largest)


def round_to_nearest(weight: torch.Tensor, statistic: Any, params: QuantizationParams) -> Rounded:
    """Round every weight to the nearest level of its row or group. statistic is not looked at."""
    columns = weight.t()
    width = params.group or len(columns)
    codes, levels = [], []
    for group in columns.split(width):
        grid = grid_of(group, params)
        codes.append(grid.codes(group))
        levels.append(grid.levels(codes[-1]))
    return Rounded(torch.cat(levels).t().contiguous(), torch.cat(codes).t().contiguous().to(torch.uint8))


@torch.no_grad()
def gptq(weight: torch.Tensor, factor: Factor, params: QuantizationParams) -> Rounded:
    """Round column by column in blocks of 128, and let the columns to the right make up for each error.

    A row's grid is of the weights given; a group's is of the weights as its block of columns finds them, as published.
    Weights of dead features become zero, as published. Where all are dead, as of an expert that no token reached,
    every weight is rounded to the nearest level. Errors add up in float64, but on Apple's GPUs, which have none: in
    float32, as published, some weights of 8 bits get the level beside theirs.
    """
    if factor.dead.all():
        return round_to_nearest(weight, None, params)
    # Transposed, so that the columns worked through are contiguous.
    device = factor.upper.device
    precision = torch.float32 if device.type == "mps" else torch.float64
    work = weight.t().to(device, precision, copy=True).contiguous()
    held = work == 0
    row_grid = None if params.group else grid_of(work, params)
    work[factor.dead] = 0
    held |= factor.dead[:, None]
    codes = torch.empty(work.shape, dtype=torch.uint8, device=device)
    levels = torch.empty(work.shape, dtype=torch.float32, device=device)
    for start in range(0, len(work), BLOCK):
        end = min(start + BLOCK, len(work))
        part, upper = work[start:end], factor.upper[start:end, start:end].to(precision)
        width = params.group or len(part)
        grids = [row_grid or grid_of(group, params) for group in part.split(width)]
        errors, diagonal = torch.empty_like(part), upper.diagonal().tolist()
        for column, given in enumerate(part.unbind()):
            grid = grids[column // width]
            code = torch.where(held[start + column], grid.zero, grid.codes(given))
            level = grid.levels(code)
            error = torch.sub(given, level, out=errors[column]).div_(diagonal[column])
            part[column:].addr_(upper[column, column:], error, alpha=-1)
            codes[start + column], levels[start + column] = code, level
        work[end:].addmm_(factor.upper[start:end, end:].t().to(precision), errors, alpha=-1)
    return Rounded(levels.t().to(weight.device).contiguous(), codes.t().to(weight.device).contiguous())


RTN = Quantization(round_to_nearest)
GPTQ = Quantization(gptq, Hessian)
