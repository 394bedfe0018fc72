"""Patterns of the weights of a matrix that may go: any, or N of every M neighbours of a row.

A pattern is one row of `PATTERNS` (analysis/specs/pruning_choices.py). Cutting out whole heads and channels is no
pattern of a matrix: see `structured`.
"""

from typing import Literal

import torch

from analysis.errors import UserError
from analysis.pruning.selection import lowest, lowest_of_each, lowest_spread, pruned_a_row, up_to_threshold
from analysis.specs import PATTERNS, Pattern, either


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
