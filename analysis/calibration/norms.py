"""Statistics gathered batch by batch from forwards: norms of the features that blocks read, and the worth of experts.

Scores of projections follow from the norms. REAP (arXiv 2510.13999) ranks an expert by the mean over its tokens of
router weight times the norm of its output. Here tokens count by their weights ω, so that sinks can be discounted. Over
the tokens sent to an expert, those of encoder and decoder where these share it, its worth is

    Σ ω·g·‖f(x)‖₂ / Σ ω.

Shapes: B rows of a forward, m sequences of one row, S positions, F features, E experts.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.calibration.known_mass import Batches
from analysis.calibration.runners import Group, Groups, OnForward, Runner
from analysis.errors import UserError
from analysis.models.experts import Routed, expert_inputs
from analysis.models.weight_files import expert_of, kind_of

Scores = list[dict[str, torch.Tensor]]
"""By layer and projection: s (F,); projections with one input share one tensor."""

UNREACHED = "unreached_experts"
"""The field of a report that names the experts without tokens, by layer."""

Weights = list[tuple[np.ndarray, float]]
"""By row: ω (m, 1 or L, S), or of one layer (m, S), and how often it counts, times c."""


class Statistic(ABC):
    """Statistic that a method needs of one input of a block. empty: whether no token counted; facts: report numbers;
    both are known when it is done.
    """

    empty = False
    facts: Mapping[str, float] = {}

    @abstractmethod
    def add(self, inputs: torch.Tensor, weights: Any, positions: torch.Tensor | None = None) -> None:
        """inputs (B, S, F) of a batch, with its weights of this layer. positions: of an expert's inputs (B, M, F) where
        each token stands in the text, (B, M); see `ExpertInput`.
        """

    @abstractmethod
    def done(self) -> Any:
        """Return what `prune` of the method is given. Called once. Raises UserError where there was no input."""

    @staticmethod
    def bytes_for(features: int) -> int:
        """Bytes that are held for an input of so many features, until the block is pruned."""
        return 8 * features

    @staticmethod
    def bytes_to_finish(features: int) -> int:
        """Bytes that `done` takes for a while beside them."""
        return 4 * features


class InputNorms(Statistic):
    """‖X_j‖ of an input, (F,) float32."""

    squares: torch.Tensor | None = None
    sequences = 0

    def add(self, inputs: torch.Tensor, weights: torch.Tensor | None, positions: torch.Tensor | None = None) -> None:
        squares = inputs.float().square().flatten(0, -2).sum(dim=0)
        self.squares = squares if self.squares is None else self.squares + squares
        self.sequences += len(inputs)

    def done(self) -> torch.Tensor:
        if self.squares is None:
            raise UserError("Wanda needs at least one calibration sequence.")
        self.empty = not self.squares.any()
        return (self.squares / self.sequences).sqrt()


class NoisedNorms(Statistic):
    """Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂ of an input, (F,) float64 on the CPU. Weights are those of one layer."""

    pooled = False
    total: torch.Tensor | None = None

    def add(self, inputs: torch.Tensor, weights: Weights, positions: torch.Tensor | None = None) -> None:
        if self.total is None:
            precise = torch.float32 if inputs.device.type == "mps" else torch.float64
            self.total = torch.zeros(inputs.shape[-1], dtype=precise, device=inputs.device)
        for index, (row, (weight, times)) in enumerate(zip(inputs, weights, strict=True)):
            row_weight = torch.from_numpy(weight).to(row.device)
            if positions is not None:
                row_weight = row_weight[:, positions[index]]
            squares = row.square() if row.dtype == torch.float32 else row.float().square_()
            sums = row_weight.square() @ squares
            self.total += times * (sums if self.pooled else sums.sqrt()).sum(dim=0)

    def done(self) -> torch.Tensor:
        if self.total is None:
            raise UserError("Noised Wanda needs at least one calibration sequence.")
        total = self.total.double().cpu()
        self.empty = not total.any()
        return total.sqrt() if self.pooled else total


class PooledNorms(NoisedNorms):
    """(Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖²)^½: one norm over all tokens, as Wanda's but for a constant factor."""

    pooled = True


def at_layer(weights: np.ndarray, layer: int) -> np.ndarray:
    """Return the weights of a layer, (N, …), of weights (N, 1 or L, …)."""
    return np.asarray(weights[:, layer if weights.shape[1] > 1 else 0])


def of_layer(weights: Weights, layer: int) -> Weights:
    """Return the weights of a layer's rows."""
    return [(at_layer(weight, layer), times) for weight, times in weights]


# --- scores -----------------------------------------------------------------------------------------------------


def new_statistics(kind: type[Statistic], groups: Groups) -> list[dict[str, Statistic]]:
    """Return an empty statistic per input of every layer."""
    return [{first: kind() for first in group} for group in groups]


def by_projection(
    gathered: Mapping[str, Statistic], group: Group, scored: bool = True
) -> tuple[dict[str, Any], list[int]]:
    """Return each projection's finished statistic, and the experts that no token counted for. scored: whether those
    experts get even scores.
    """
    done = {first: statistic.done() for first, statistic in gathered.items()}
    experts = {expert_of(first) for first, statistic in gathered.items() if statistic.empty}
    missed = sorted(expert for expert in experts if expert is not None)
    if scored:
        done = _with_even_scores(done, missed)
    return {name: done[first] for first, together in group.items() for name in together}, missed


def scores_of(gathered: Sequence[Mapping[str, Statistic]], runner: Runner) -> tuple[Scores, dict[str, Any]]:
    """Scores from the statistics of all layers; and for the report the experts that no token counted for, if any."""
    told = [by_projection(*layer) for layer in zip(gathered, runner.groups, strict=True)]
    return [scores for scores, _ in told], unreached_facts(dict(enumerate(missed for _, missed in told)))


def unreached_facts(missed: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """For the report, the experts that no token counted for, by layer; nothing without any."""
    unreached = {str(layer): experts for layer, experts in missed.items() if experts}
    return {UNREACHED: unreached} if unreached else {}


def _with_even_scores(scores: Mapping[str, torch.Tensor], missed: Sequence[int]) -> dict[str, torch.Tensor]:
    """Feature scores (F,) of a layer's inputs, for these experts the same for all features: within them weights are
    then ranked by magnitude. It is the mean over the layer's other experts (1 without any), so that beside the others
    they weigh as much as usual.
    """
    usual: dict[str, list[float]] = {}
    for name, score in scores.items():
        if expert_of(name) is not None and expert_of(name) not in missed:
            usual.setdefault(kind_of(name), []).append(float(score.mean()))
    return {
        name: torch.full_like(score, float(np.mean(usual.get(kind_of(name), [1.0]))))
        if expert_of(name) in missed
        else score
        for name, score in scores.items()
    }


@dataclass
class ExpertTally:
    """Of a layer's experts: tokens, Σ ω of those sent to each, (E,) float64; added, Σ ω·g·‖f(x)‖₂ of them."""

    tokens: torch.Tensor
    added: torch.Tensor

    @property
    def saliency(self) -> torch.Tensor:
        """REAP's, (E,) float64; 0 for an expert that no token counted for."""
        return torch.where(self.tokens > 0, self.added / self.tokens.clamp_min(1e-300), 0.0)

    @property
    def unreached(self) -> list[int]:
        """The experts that no token counted for."""
        return (self.tokens == 0).nonzero()[:, 0].tolist()


@torch.no_grad()
def expert_tallies(
    runner: Runner, batches: Batches, weights: Sequence[Weights], on_forward: OnForward, noised: bool
) -> dict[int, ExpertTally]:
    """The tally of each layer that has experts, over token rows (B, S) a batch, with the weights of each row's tokens.

    noised: whether the text is, see `Runner.inputs`. weights: as many as there are batches.
    """
    tallies: dict[int, ExpertTally] = {}

    def take(batch: int, layer: int, module: nn.Module, given: Routed) -> None:
        _add(tallies, layer, module, given, weights[batch])

    runner.routes(batches, take, on_forward, noised)
    return tallies


def _add(tallies: dict[int, ExpertTally], layer: int, module: nn.Module, given: Routed, by_row: Weights) -> None:
    """Add what the experts of a layer made of the tokens of one forward."""
    assert given.weights is not None
    # (B, S): of each token of a row in all, over the sequences whose text it is.
    of_rows = [times * weight.sum(axis=0, dtype=np.float64) for weight, times in of_layer(by_row, layer)]
    counted = torch.from_numpy(np.stack(of_rows)).to(given.states.device)
    if layer not in tallies:
        zeros = torch.zeros(len(module.get_parameter("down_proj")), dtype=torch.float64)
        tallies[layer] = ExpertTally(zeros, zeros.clone())
    tally = tallies[layer]
    for read in expert_inputs(module, given):
        sent = given.experts == read.expert
        tally.tokens[read.expert] += float((counted * sent.any(dim=-1)).sum())
        router = (given.weights.double() * sent).sum(dim=-1).gather(1, read.positions)
        # Rows that are filled up with zeros have outputs of zero.
        output = nn.functional.linear(read.inner, module.get_parameter("down_proj")[read.expert]).double().norm(dim=-1)
        tally.added[read.expert] += float((counted.gather(1, read.positions) * router * output).sum())
