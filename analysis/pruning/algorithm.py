"""Parts of a pruning: what a method reads, what it gathers, how it prunes one projection, and ways to remove weights.

Shapes: N sequences, T noise steps, S positions, L layers, F features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import TOKENS_A_FORWARD, OnProgress
from analysis.calibration.norms import Scores, Statistic
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.models.loaded import LoadedModel, Projection
from analysis.specs import PruneSpec


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
    them: ω (B, S) on the model's device, or by row ω (m, S) and how often it counts; None where all count alike.
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
    facts: dict[str, Any] = field(default_factory=dict)
    quantizer_weights: np.ndarray | None = None


class PrunedProjection(NamedTuple):
    """weight (out, in), in the precision given, with zeros where `pruned` (out, in) is True."""

    weight: torch.Tensor
    pruned: torch.Tensor


Score = Callable[[torch.Tensor, Any], torch.Tensor]
Solve = Callable[[torch.Tensor, Any, float, int | None, PruneSpec], PrunedProjection]
Prepare = Callable[[Runner, Calibration, PruneSpec, int, OnProgress], Prepared]


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


Known = Mapping[str, Any]
"""Statistics of a block's inputs by projection; empty for a method that reads no text."""

Flags = dict[str, torch.Tensor]
"""Weights of a block that went, by projection: bool (out, in) of the dense shape."""

Blocks = Callable[[], Iterator[tuple[int, nn.Module, Known]]]
"""Every block of the dense model as a private copy, with its number."""


class Removal(ABC):
    """One way to remove weights. `check` comes first, then `share_out`, then `survey` where a quota spans layers, all
    before the first block; `config_changes`, `notes` and `facts` come after the last block.
    """

    def __init__(self, model: LoadedModel, spec: PruneSpec) -> None:
        self.model, self.spec = model, spec

    @abstractmethod
    def targets(self, layer: int) -> dict[str, Projection]:
        """The projections of a block that may lose weights, by name."""

    @abstractmethod
    def check(self) -> None:
        """Raise UserError for what cannot be done, before any work."""

    @abstractmethod
    def share_out(self, sparsities: np.ndarray) -> None:
        """Set the sparsity of every layer (L,), or of every layer's projections (L, P)."""

    def survey(self, blocks: Blocks) -> None:
        """Read every block, twice, where what goes from one depends on all."""
        raise NotImplementedError

    @abstractmethod
    def prune(self, layer: int, block: nn.Module, scores: Known) -> Flags:
        """Prune a private block in place."""

    @abstractmethod
    def stored(self, layer: int, block: nn.Module, name: str, original: torch.Tensor) -> torch.Tensor:
        """Return a tensor of a pruned block as it is written, by its name in the block and as it was stored."""

    def written_as(self, layer: int, name: str, stored_name: str) -> str | None:
        """Return a tensor's name in the new files, by its names in the block and in the old ones; None for one that is
        not written. Asked after the block was pruned.
        """
        return stored_name

    def lost_weights(self) -> int:
        """Return how many weights fewer than the dense model's are written."""
        return 0

    def config_changes(self) -> dict[str, Any]:
        """Fields of the config that differ from the dense model's; None removes one."""
        return {}

    def notes(self) -> list[str]:
        """Return sentences for the report."""
        return []

    def facts(self) -> dict[str, Any]:
        """Fields for the report."""
        return {}


Shapes = Mapping[str, tuple[int, ...]]


def require_opens_again(what: str, made: Shapes, needed: Shapes) -> None:
    """Raise UserError where the shapes that a model's class makes from its new config are not those that are left."""
    misfit = next((name for name in needed if made.get(name) != needed[name]), None)
    if misfit is None:
        return
    advice = "another pattern"
    if ".self_attn." in misfit:
        advice = "to leave q_proj dense, so that only MLP channels go, or another pattern"
    raise UserError(
        f"{what} could not be opened again: its class makes {misfit} of shape {made.get(misfit)}, and "
        f"{needed[misfit]} would be left. Choose {advice}."
    )
