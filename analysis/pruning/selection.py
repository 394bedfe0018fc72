"""Selection of the weights that go: the lowest scores of each row, found without sorting, in a pattern.

A pattern is one row of `PATTERNS` (analysis/specs/pruning_choices.py): any weights of a matrix, or N of every M
neighbours of a row. Cutting out whole heads and channels is no pattern: see `structured`.
"""

import math
from typing import Literal

import numpy as np
import torch

from analysis.errors import UserError
from analysis.specs import PATTERNS, Pattern, either

# Rows are handled in pieces of this many numbers, which stay in a core's cache.
_PIECE = 2**20


def pruned_a_row(features: int, sparsity: float) -> int:
    """⌊features · sparsity⌋, safe against 0.7 · 10 being 6.999."""
    return math.floor(features * sparsity + 1e-9)


def order_statistic(score: torch.Tensor, count: int) -> torch.Tensor:
    """The count-th lowest of each row, (rows, 1)."""
    if score.device.type == "cpu" and score.dtype == torch.float32:
        # NumPy's selection is several times as fast as torch's on a CPU.
        return torch.from_numpy(np.partition(score.detach().numpy(), count - 1, axis=1)[:, count - 1 : count])
    return score.kthvalue(count, dim=1, keepdim=True).values


def lowest(score: torch.Tensor, count: int) -> torch.Tensor:
    """True at the `count` lowest of each row of score (rows, n), bool. Of equal scores the first go.

    The same as taking the first `count` of a stable sort, in a fraction of the time. NaN is not served.
    """
    if count == 0 or score.numel() == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    if count == score.shape[1]:
        return torch.ones_like(score, dtype=torch.bool)
    chosen = torch.empty_like(score, dtype=torch.bool)
    rows = max(1, _PIECE // score.shape[1]) if score.device.type == "cpu" else len(score)
    for piece, out in zip(score.split(rows), chosen.split(rows), strict=True):
        threshold = order_statistic(piece, count)
        torch.le(piece, threshold, out=out)
        if int(torch.count_nonzero(out)) > count * len(piece):
            _drop_last_ties(out, piece, threshold, count)
    return chosen


def up_to_threshold(score: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True at every score (1, n) up to and including the one at ⌊n · sparsity⌋ of the sorted scores, bool (1, n).

    So the code of Wanda and of SparseGPT does it, without rounding aids. None at a sparsity of 0, where theirs does not
    prune at all.
    """
    if sparsity == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    return torch.le(score, order_statistic(score, int(score.numel() * sparsity) + 1))


def lowest_spread(score: torch.Tensor, count: int) -> torch.Tensor:
    """True at `count` of the scores (rows, n), bool: the lowest of each row, from no row more than one beyond another.

    The rows that lose one more lie evenly apart. Of equal scores the first go.
    """
    rows = len(score)
    each, rest = divmod(count, rows)
    chosen = lowest(score, each)
    if rest:
        more = evenly_apart(rest, rows, score.device)
        chosen[more] = lowest(score[more], each + 1)
    return chosen


def evenly_apart(some: int, rows: int, device: torch.device) -> torch.Tensor:
    """The numbers of `some` of so many rows, evenly apart, (some,) int64."""
    return (2 * torch.arange(some, device=device) + 1) * rows // (2 * some)


def lowest_of_each(score: torch.Tensor, count: int, size: int) -> torch.Tensor:
    """True at the `count` lowest of every `size` neighbours of each row of score (rows, n · size), bool.

    Of equal scores the first go. A score's rank is how many neighbours go before it: no sort of many tiny lists.
    """
    chosen = torch.empty_like(score, dtype=torch.bool)
    if score.numel() == 0:
        return chosen
    rows = max(1, _PIECE // score.shape[1]) if score.device.type == "cpu" else len(score)
    for piece, out in zip(score.split(rows), chosen.split(rows), strict=True):
        groups = piece.unflatten(1, (-1, size)).unbind(-1)
        rank = torch.zeros(size, *groups[0].shape, dtype=torch.uint8, device=score.device)
        for earlier in range(size):
            for later in range(earlier + 1, size):
                in_order = groups[earlier] <= groups[later]
                rank[later] += in_order
                rank[earlier] += ~in_order
        out.copy_((rank < count).movedim(0, -1).flatten(1))
    return chosen


def _drop_last_ties(chosen: torch.Tensor, score: torch.Tensor, threshold: torch.Tensor, count: int) -> None:
    """Deselect the last of the scores equal to the threshold where a row has more than `count`, in place."""
    excess = torch.count_nonzero(chosen, dim=1) - count
    row, column = (score == threshold).nonzero(as_tuple=True)
    ties = torch.bincount(row, minlength=len(score))
    rank = torch.arange(len(row), device=score.device) - (ties.cumsum(0) - ties)[row]
    gone = rank >= (ties - excess)[row]
    chosen[row[gone], column[gone]] = False


def check(pattern: str, shape: tuple[int, ...], sparsity: float) -> Pattern:
    """The pattern, if it can remove this share of a matrix (out, in). Raises UserError if not."""
    if pattern not in PATTERNS:
        raise UserError(f"Unknown pattern '{pattern}'. Known: {either((*PATTERNS, PATTERNS.beyond))}.")
    row = PATTERNS[pattern]
    if row.cuts_units:
        raise UserError(f"The pattern {pattern} cuts out whole units of a block, not weights of one matrix.")
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"A projection of shape {tuple(shape)} has no weights to prune. Leave it dense.")
    if not 0 <= sparsity < 1:
        raise UserError(f"A sparsity lies between 0 and 1, and 1 would leave nothing; {sparsity} does not serve.")
    if row.group and shape[1] % row.group:
        raise UserError(
            f"The pattern {pattern} needs rows of a multiple of {row.group} weights; this projection's width is "
            f"{shape[1]}. Leave it dense, or choose another pattern."
        )
    if row.sparsity is not None and abs(sparsity - row.sparsity) > 1e-9:
        raise UserError(f"The pattern {pattern} removes exactly {row.sparsity:g} of the weights, not {sparsity:g}.")
    return row


def require_numbers(score: torch.Tensor) -> None:
    """Raise UserError for scores that are not numbers."""
    if torch.isnan(score.sum()) and torch.isnan(score).any():  # a sum needs no flags of the matrix's size
        raise UserError(
            "Scores of this projection are not numbers (NaN): its weights or activations are broken. Check the "
            "checkpoint, or run in float32."
        )


def pruned_mask(
    score: torch.Tensor, sparsity: float, pattern: str, over: Literal["row", "matrix"] = "row", count: int | None = None
) -> torch.Tensor:
    """True where a weight goes, bool (out, in): where its score (out, in) is lowest. Of equal scores the first go.

    unstructured: the lowest ⌊in · sparsity⌋ of each row, or with over = "matrix" every score up to and including the
    one at ⌊out · in · sparsity⌋ of all sorted scores (Wanda's authors' code: one more than the share, and ties with
    it); with a count exactly so many, spread over the rows or lowest of the matrix. N:M: the lowest M − N of every M
    neighbours of a row, whatever else is given. Raises UserError for a width that N:M does not divide, a matrix without
    weights, a sparsity the pattern cannot have, and scores that are not numbers.
    """
    row = check(pattern, tuple(score.shape), sparsity)
    score = score.float()
    require_numbers(score)
    if row.kept is not None and row.group is not None:
        return lowest_of_each(score, row.group - row.kept, row.group)
    if over == "matrix":
        flat = score.reshape(1, -1)
        if count is not None:
            return lowest(flat, count).view_as(score)
        return up_to_threshold(flat, sparsity).view_as(score)
    if count is not None:
        return lowest_spread(score, count)
    return lowest(score, pruned_a_row(score.shape[1], sparsity))
