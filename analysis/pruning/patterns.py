"""Which weights of a matrix may go: any, or N of every M neighbours of a row.

A pattern is one row of `PATTERNS`. Cutting out whole heads and channels is no pattern of a matrix: see `structured`.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from analysis.errors import UserError
from analysis.pruning.scores import pruned_a_row
from analysis.pruning.selection import lowest, lowest_of_each, lowest_spread, up_to_threshold


@dataclass(frozen=True)
class Pattern:
    """kept of every `group` neighbours of a row stay; both None: any weights may go."""

    title: str
    help: str
    kept: int | None = None
    group: int | None = None

    @property
    def sparsity(self) -> float | None:
        """The share of weights the pattern itself removes; None where that is a free choice."""
        return None if self.kept is None or self.group is None else 1 - self.kept / self.group


PATTERNS: dict[str, Pattern] = {
    "unstructured": Pattern("unstructured", "Any weights: the most accurate, and no faster to run."),
    "2:4": Pattern("2:4", "Two of every four neighbours of a row stay, which GPUs from Ampere on can use.", 2, 4),
    "4:8": Pattern("4:8", "Four of every eight neighbours of a row stay: freer than 2:4.", 4, 8),
}


def find_pattern(name: str) -> Pattern:
    """The row of `PATTERNS`. Raises UserError for an unknown name."""
    if name not in PATTERNS:
        raise UserError(f"Unknown pattern '{name}'. Known: {', '.join(PATTERNS)}.")
    return PATTERNS[name]


def check(pattern: str, shape: tuple[int, ...], sparsity: float) -> Pattern:
    """The pattern, if it can remove this share of a matrix (out, in). Raises UserError if not."""
    found = find_pattern(pattern)
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"A projection of shape {tuple(shape)} has no weights to prune. Leave it dense.")
    if not 0 <= sparsity < 1:
        raise UserError(f"A sparsity lies between 0 and 1, and 1 would leave nothing; {sparsity} does not serve.")
    if found.group and shape[1] % found.group:
        raise UserError(
            f"The pattern {pattern} needs rows of a multiple of {found.group} weights; this projection's width is "
            f"{shape[1]}. Leave it dense, or choose another pattern."
        )
    if found.sparsity is not None and abs(sparsity - found.sparsity) > 1e-9:
        raise UserError(f"The pattern {pattern} removes exactly {found.sparsity:g} of the weights, not {sparsity:g}.")
    return found


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
    found = check(pattern, tuple(score.shape), sparsity)
    score = score.float()
    if torch.isnan(score).any():
        raise UserError(
            "Scores of this projection are not numbers (NaN): its weights or activations are broken. Check the "
            "checkpoint, or run in float32."
        )
    if found.kept is not None and found.group is not None:
        return lowest_of_each(score, found.group - found.kept, found.group)
    if over == "matrix":
        flat = score.reshape(1, -1)
        if count is not None:
            return lowest(flat, count).view_as(score)
        return up_to_threshold(flat, sparsity).view_as(score)
    if count is not None:
        return lowest_spread(score, count)
    return lowest(score, pruned_a_row(score.shape[1], sparsity))
