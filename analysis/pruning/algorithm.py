"""Parts of a pruning method: what it reads, what it gathers, and how it prunes one projection.

Shapes: N sequences, T noise steps, S positions, L layers, F features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from analysis.calibration.activations import TOKENS_A_FORWARD, Scores
from analysis.calibration.runners import Runner
from analysis.specs import PruneSpec

UNREACHED = "unreached_experts"
"""The field of a report that names the experts without tokens, by layer."""


@dataclass(frozen=True)
class Batch:
    """Token ids (B, S) of one forward, and which sequences of the calibration they are."""

    rows: slice
    tokens: torch.Tensor


@dataclass(frozen=True)
class Calibration:
    """Token ids, clean (N, S) and noised (N, T, S); noised is None for a method or model without noise.

    other_lengths: further clean sequences, each array (M, S') of a length of its own. They are not noised.
    """

    clean: np.ndarray
    noised: np.ndarray | None = None
    other_lengths: tuple[np.ndarray, ...] = ()

    def batches(self) -> list[Batch]:
        """The clean sequences as they are run together, at most `TOKENS_A_FORWARD` tokens at once."""
        batches: list[Batch] = []
        first = 0
        for sequences in (self.clean, *self.other_lengths):
            size = max(1, TOKENS_A_FORWARD // sequences.shape[1])
            for start in range(0, len(sequences), size):
                tokens = torch.from_numpy(sequences[start : start + size])
                batches.append(Batch(slice(first, first + len(tokens)), tokens))
                first += len(tokens)
        return batches


@dataclass(frozen=True)
class LayerBatch:
    """Token ids (B, S) that pass through the blocks together. weights: of a layer, as the method's statistic takes
    them: ω (B, S) on the model's device, or by row ω (m, 1, S) and how often it counts; None where all count alike.
    """

    tokens: torch.Tensor
    weights: Callable[[int], Any]


@dataclass(frozen=True)
class Prepared:
    """Statistics of the dense model: feature scores by layer and projection, or token weights, ω̄ (N, 1 or L, S) of
    clean text or ω (N or 1, T or 1, 1 or L, S) of noised.

    quantizer_weights: ω of noised text, as the quantizer weighs it. facts: for the report.
    """

    scores: Scores | None = None
    token_weights: np.ndarray | None = None
    facts: dict[str, Any] | None = None
    quantizer_weights: np.ndarray | None = None


@dataclass(frozen=True)
class PrunedProjection:
    """weight (out, in), with zeros where `pruned` is True."""

    weight: torch.Tensor
    pruned: torch.Tensor


class Statistic(Protocol):
    """Statistic that a method needs of one input of a block, gathered batch by batch."""

    @property
    def empty(self) -> bool:
        """True if no token counted, known when it is done."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Report numbers, known when it is done."""

    def add(self, inputs: torch.Tensor, weights: Any, positions: torch.Tensor | None = None) -> None:
        """inputs (B, S, F) of a `LayerBatch`, with its weights of this layer. positions: of an expert's inputs
        (B, M, F) where each token stands in the text, (B, M); see `ExpertInput`.
        """

    def done(self) -> Any:
        """Return what `prune` of the method is given. Called once."""

    @staticmethod
    def bytes_for(features: int) -> int:
        """Bytes that are held for an input of so many features, until the block is pruned."""

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """Bytes that `done` takes for a while beside them."""


Score = Callable[[torch.Tensor, Any], torch.Tensor]
Solve = Callable[[torch.Tensor, Any, float, int | None, PruneSpec], PrunedProjection]
Prepare = Callable[[Runner, Calibration, PruneSpec, int, Callable[[int, int], None]], Prepared]


@dataclass(frozen=True)
class Algorithm:
    """Implementation of a method of `METHODS`.

    score: what every weight is worth, (out, in) float32, from the weights (out, in) float32 and the prepared score or
    the statistic; the lowest go. Or in its place solve, which chooses and changes the weights that stay: weight, the
    same, sparsity, how many weights go exactly or None for the authors' own rounding, spec. prepare: from the dense
    model on noised text, or None; a budget of bytes for kept inputs, and told how many forwards are done. statistic:
    gathered while the blocks are run one after the other, or None; of noised text where the method weighs its steps.
    pooled: the statistic in its place where the norm is pooled.
    """

    score: Score | None = None
    solve: Solve | None = None
    prepare: Prepare | None = None
    statistic: type[Statistic] | None = None
    pooled: type[Statistic] | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.solve is None):
            raise ValueError("An algorithm either scores weights or solves for them.")

    @property
    def updates(self) -> bool:
        """True if the weights that stay are changed."""
        return self.solve is not None

    @property
    def calibrated(self) -> bool:
        """True if it reads any text."""
        return self.prepare is not None or self.statistic is not None
