"""SparseGPT (Frantar and Alistarh, arXiv 2301.00774): prune columns in order and let the later ones make up for it.

A Hessian belongs to an input, so projections that share an input (q, k and v; gate and up) share the Hessian and its
factorization. Sinks enter through the Hessian alone, as weights of its tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from analysis.calibration.activations import OnProgress, mean_token_weights
from analysis.calibration.norms import Statistic
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.machine import process
from analysis.models.checks import is_finite
from analysis.pruning.algorithm import Algorithm, Calibration, Prepared, PrunedProjection
from analysis.pruning.selection import (
    check,
    evenly_apart,
    lowest,
    lowest_of_each,
    pruned_a_row,
    pruned_mask,
    up_to_threshold,
)
from analysis.pruning.wanda import magnitude_score, moved_of
from analysis.sinks.discount import SURE
from analysis.specs import PATTERNS, PruneSpec

BLOCK = 128  # columns that share a threshold and are compensated together
_NARROWEST = 256  # columns of a Hessian that are summed in one product; fewer take longer than they save
_DAMPING_GROWTH = 10.0
_LARGEST_DAMPING = 1e4


class Hessian(Statistic):
    """H = (2/n)·Σ (ω ⊙ X)ᵀ(ω ⊙ X) over n sequences, then factorized. ω is 1 if not given."""

    sum: torch.Tensor | None = None
    sequences = 0

    def add(self, inputs: torch.Tensor, weights: torch.Tensor | None, positions: torch.Tensor | None = None) -> None:
        """Add inputs (B, S, F), their tokens weighted by weights (B, S)."""
        if weights is not None and positions is not None:
            weights = weights.gather(1, positions)
        rows = inputs.float() if weights is None else inputs.float() * weights[..., None]
        flat = rows.flatten(0, -2)
        if self.sum is None:
            self.sum = flat.new_zeros(flat.shape[1], flat.shape[1])
        for start, end in self._columns():
            self.sum[:end, start:end].addmm_(flat[:, :end].T, flat[:, start:end])
        self.sequences += len(inputs)

    def done(self) -> "Factor":
        """The factor; the sum is let go. Raises UserError where there was no input, and as `factorize` does."""
        if self.sum is None:
            raise UserError("A Hessian needs at least one calibration sequence.")
        for start, end in self._columns():
            self.sum[start:end, :start] = self.sum[:start, start:end].T
        hessian, self.sum = self.sum.mul_(2 / self.sequences), None
        factor = factorize(hessian)
        self.empty = bool(factor.dead.all())
        self.facts = {"damping": factor.damping}
        return factor

    def _columns(self) -> Iterator[tuple[int, int]]:
        """Yield blocks of columns that are summed down to their last row: what lies below is the same as what lies
        right.
        """
        assert self.sum is not None
        size = len(self.sum)
        width = max(_NARROWEST, size // 8)
        for start in range(0, size, width):
            yield start, min(start + width, size)

    @staticmethod
    def bytes_for(features: int) -> int:
        """The sum, then the factor in its place."""
        return 4 * features**2

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """Of `factorize` in float32: three matrices beside the sum."""
        return 3 * 4 * features**2


@dataclass(frozen=True)
class Factor:
    """upper (F, F) float32: U with UᵀU = (H + damping · mean(diag H) · I)⁻¹, upper triangular.

    dead (F,) bool: features that were zero on all of the calibration text. damping: the share of the mean that was
    used at last. precision: what the factorization ran in.
    """

    upper: torch.Tensor
    dead: torch.Tensor
    damping: float
    precision: str


@torch.no_grad()
def factorize(hessian: torch.Tensor, damping: float = 0.01) -> Factor:
    """The factor of a Hessian (F, F) that `prune` works with. The Hessian is left as it was.

    A dead feature gets a diagonal of 1. Where the Hessian is not positive definite in float32, float64 is tried; then
    the damping grows tenfold. Raises UserError for a Hessian that is empty, not finite, or stays singular.
    """
    size = len(hessian)
    if hessian.shape != (size, size) or size == 0:
        raise UserError(f"SparseGPT needs a square Hessian of some features, not one of {tuple(hessian.shape)}.")
    diagonal = hessian.diagonal().float()
    if not is_finite(hessian):
        raise UserError(
            "The activations of this projection are not finite, so the Hessian says nothing. Check the "
            "checkpoint, or run in float32."
        )
    dead = diagonal == 0
    mean = torch.where(dead, 1.0, diagonal).mean()
    while damping <= _LARGEST_DAMPING:
        for precision in (torch.float32, torch.float64):
            upper = _inverse_factor(hessian, dead, damping * mean, precision)
            if upper is not None:
                return Factor(upper, dead, damping, str(precision).removeprefix("torch."))
        damping *= _DAMPING_GROWTH
    raise UserError(
        f"The Hessian of this projection's inputs cannot be factorized, even damped by {_LARGEST_DAMPING:g} times its "
        "mean diagonal. Use more calibration text, or another method."
    )


def _inverse_factor(
    hessian: torch.Tensor, dead: torch.Tensor, shift: torch.Tensor, precision: torch.dtype
) -> torch.Tensor | None:
    """The upper Cholesky factor of (H + shift · I)⁻¹ in float32; None where H is not positive definite.

    With J the reversal, J·H·J = L·Lᵀ gives H = R·Rᵀ with R = J·L·J upper triangular, so the factor is R⁻¹: one
    Cholesky and one triangular solve, and no inverse. On a CPU with one thread: with more, LAPACK rounds otherwise, and
    a bit of the factor can turn into thousands of the masks.
    """
    device = hessian.device
    if device.type == "mps" and precision == torch.float64:
        device = torch.device("cpu")  # Apple's GPUs have no double precision
    reversed_hessian = hessian.to(device, precision).flip((0, 1))
    diagonal = reversed_hessian.diagonal()
    diagonal.add_(dead.flip(0).to(device, precision)).add_(shift.to(device, precision))
    with process.one_thread():
        lower, failed = torch.linalg.cholesky_ex(reversed_hessian)
        del reversed_hessian, diagonal
        if failed:
            return None
        # Transposed, the identity lies as LAPACK wants it, and becomes the solution where it is.
        solution = torch.eye(len(hessian), dtype=precision, device=device).t()
        upper = torch.linalg.solve_triangular(lower.flip((0, 1)), solution, upper=True, out=solution)
    return upper.to(hessian.device, torch.float32) if torch.isfinite(upper.sum()) else None


@torch.no_grad()
def prune(
    weight: torch.Tensor,
    factor: Factor,
    sparsity: float,
    pattern: str,
    block: int = BLOCK,
    count: int | None = None,
    scope: str | None = None,
) -> PrunedProjection:
    """Prune a matrix (out, in) and let the weights right of each removed one make up for it.

    A weight's score is w²/U_jj². unstructured: in each block of columns every score up to the one at ⌊n · sparsity⌋
    of its n sorted scores goes, over all rows at once; as published, that is one more than ⌊n · sparsity⌋. With a count
    exactly so many go, from each block its share. scope `row`: from each row the same number in every block; a count
    is spread over the rows. scope `projection`: the lowest `count` of the whole matrix, by the scores before anything
    is made up for, which is a block of all columns. N:M: the lowest M − N of every M neighbours of a row, scored when
    the first of them is reached. Weights of dead features are zero. The matrix given is left as it was. Raises
    UserError as `patterns.check` does, and for weights that are not finite.
    """
    row = check(pattern, tuple(weight.shape), sparsity)
    columns = weight.shape[1]
    if len(factor.upper) != columns:
        raise ValueError(f"A matrix of {columns} columns does not fit a factor of {len(factor.upper)} features.")
    if row.group and block % row.group:
        raise ValueError(f"Blocks of {block} columns cannot be split into groups of {row.group}.")
    if not is_finite(weight):
        raise UserError("This projection has weights that are not finite. Check the checkpoint.")
    # Transposed, so that the columns worked through are contiguous.
    work = weight.t().to(factor.upper.device, torch.float32, copy=True).contiguous()
    pruned = torch.zeros_like(work, dtype=torch.bool)
    if sparsity == 0:
        return PrunedProjection(weight.clone(), pruned.t().to(weight.device))
    work[factor.dead] = 0
    beforehand = None
    if row.group is None and scope == "projection":
        count = round(sparsity * weight.numel()) if count is None else count
        scores = work.square() / factor.upper.diagonal().square()[:, None]
        beforehand = lowest(scores.view(1, -1), count).view_as(work)
    for start in range(0, columns, block):
        end = min(start + block, columns)
        part, chosen, upper = work[start:end], pruned[start:end], factor.upper[start:end, start:end]
        scale = upper.diagonal().square()[:, None]
        if beforehand is not None:
            chosen.copy_(beforehand[start:end])
        elif row.group is None and scope == "row":
            chosen.copy_(_lowest_of_rows(part.square() / scale, sparsity, count, start, columns))
        elif row.group is None:
            score = (part.square() / scale).view(1, -1)
            if count is None:
                chosen.copy_(up_to_threshold(score, sparsity).view_as(chosen))
            else:
                due = count * end // columns - count * start // columns
                chosen.copy_(lowest(score, due).view_as(chosen))
        # Views are made once a block, and flags are numbers: of the loop's time most would go there.
        errors, gone, diagonal = torch.empty_like(part), chosen.float(), upper.diagonal().tolist()
        parts, error_rows, gone_rows, upper_rows = part.unbind(), errors.unbind(), gone.unbind(), upper.unbind()
        for column in range(end - start):
            if row.group is not None and row.kept is not None and column % row.group == 0:
                group = slice(column, column + row.group)
                score = (part[group].square() / scale[group]).t().contiguous()
                chosen[group] = lowest_of_each(score, row.group - row.kept, row.group).t()
                gone[group] = chosen[group].float()
            error = torch.mul(parts[column], gone_rows[column], out=error_rows[column]).div_(diagonal[column])
            # The column itself changes too: a pruned weight becomes zero but for rounding.
            part[column:].addr_(upper_rows[column][column:], error, alpha=-1)
        part.masked_fill_(chosen, 0)
        work[end:].addmm_(factor.upper[start:end, end:].t(), errors, alpha=-1)
    return PrunedProjection(
        work.t().to(weight.device, weight.dtype).contiguous(), pruned.t().contiguous().to(weight.device)
    )


def _lowest_of_rows(score: torch.Tensor, sparsity: float, count: int | None, start: int, columns: int) -> torch.Tensor:
    """True at the lowest of each row's part of a block of columns from `start` on; score (columns of it, out).

    count: of the whole matrix, spread over the rows; None for ⌊in · sparsity⌋ a row. Over all blocks exactly so many.
    """
    rows, end = score.shape[1], start + len(score)
    each, more = divmod(count, rows) if count is not None else (pruned_a_row(columns, sparsity), 0)
    by_row = score.t().contiguous()
    gone = lowest(by_row, each * end // columns - each * start // columns)
    if more:
        extra = evenly_apart(more, rows, score.device)
        gone[extra] = lowest(by_row[extra], (each + 1) * end // columns - (each + 1) * start // columns)
    return gone.t()


def _prune_projection(
    weight: torch.Tensor, factor: Factor, sparsity: float, count: int | None, spec: PruneSpec
) -> PrunedProjection:
    if factor.dead.all():  # an expert that no token reached: its weights go by magnitude, and none makes up for them
        over: Literal["row", "matrix"] = "row" if spec.scope == "row" else "matrix"
        pruned = pruned_mask(magnitude_score(weight), sparsity, spec.pattern, over, count)
        return PrunedProjection(weight.masked_fill(pruned, 0), pruned)
    group = PATTERNS[spec.pattern].group or 1
    block = BLOCK - BLOCK % group  # whole groups
    return prune(weight, factor, sparsity, spec.pattern, block, count, spec.scope)


def _mean_weights(runner: Runner, text: Calibration, spec: PruneSpec, budget: int, on_forward: OnProgress) -> Prepared:
    """ω̄_n = 1 − λ·mean_t φ_{n,t}, the weights of the clean tokens in the Hessian, of a sham on other tokens: a token
    that was a sink at some level counts as one.
    """
    assert text.noised is not None
    placebo = moved_of(runner.model, spec, clean=True)
    sure, clean = SURE / text.noised.shape[1], text.clean[:, None]
    moved = None if placebo is None else lambda scores, mass: placebo(scores, mass, clean, sure)
    weights = mean_token_weights(runner, text.noised, spec.discount, on_forward, moved)
    return Prepared(token_weights=weights, facts={"mean_token_weight": float(weights.mean())})


SPARSEGPT = Algorithm(solve=_prune_projection, statistic=Hessian)
SINK_SPARSEGPT = Algorithm(solve=_prune_projection, prepare=_mean_weights, statistic=Hessian)
