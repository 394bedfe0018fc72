"""Worth of the experts of each layer on calibration text: how many tokens they were sent, and what they added.

REAP (arXiv 2510.13999) ranks an expert by the mean over its tokens of router weight times the norm of its output. Here
tokens count by their weights ω, so that sinks can be discounted: Σ ω·g·‖f(x)‖₂ / Σ ω over the tokens sent to it. Of
an encoder and a decoder that share their experts, the tokens are those of both.

Shapes: B sequences, S positions, E experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from analysis.calibration.known_mass import Batches
from analysis.calibration.norms import Weights, of_layer
from analysis.calibration.runners import OnForward, Runner
from analysis.models.experts import Routed, expert_inputs


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
