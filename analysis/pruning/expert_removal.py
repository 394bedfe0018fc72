"""Cutting whole experts out of a mixture: the same number in every layer, as its config names one number for all.

The router loses the rows of those that go, and the others move up. Where it first chooses groups of experts, every
group loses the same number, so that the groups stay equal. What stays is written as it was.
"""

import math
import re
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import ForwardCount, OnProgress, level_rows, row_weights
from analysis.calibration.norms import ExpertTally, expert_tallies, unreached_facts
from analysis.calibration.runners import Runner
from analysis.errors import UserError
from analysis.models.canvas import reader_of
from analysis.models.experts import expert_layers, packed_name
from analysis.models.family import why_no_experts_are_cut
from analysis.models.load import parameter_shapes
from analysis.models.loaded import LoadedModel, Projection
from analysis.models.weight_files import expert_of
from analysis.pruning.algorithm import Calibration, Flags, Known, Prepared, Removal, Shapes, require_opens_again
from analysis.pruning.selection import lowest
from analysis.pruning.wanda import moved_of, step_weights_of
from analysis.specs import METHODS, PATTERNS, PruneSpec

_OF_EXPERT = re.compile(r"\bexperts\.\d+\.")
_ROUTER_ROWS = ("gate.weight", "gate.e_score_correction_bias", "router.proj.weight", "router.per_expert_scale")
"""Tensors beside the experts of a block in the native classes that have a row, or a number, for each expert."""


def reads_text(spec: PruneSpec) -> bool:
    """Return True if experts are ranked by what they do to calibration text."""
    return METHODS[spec.method].calibrated and spec.expert_worth != "random"


def refuse(model: LoadedModel, spec: PruneSpec) -> None:
    """Raise UserError where experts cannot be cut out of this model."""
    why = why_no_experts_are_cut(model.architecture) if PATTERNS[spec.pattern].cuts_experts else ""
    if why:
        raise UserError(why)


def worths(runner: Runner, spec: PruneSpec, text: Calibration, tell: OnProgress) -> Prepared:
    """Score every expert by the method on this text: one score (1,) per projection of an expert, by layer."""
    method = METHODS[spec.method]
    if method.noised:
        assert text.noised is not None
        rows = level_rows(text.noised, step_weights_of(spec) if method.weighs_steps else None)
        batches = [row.tokens for row in rows]
        count = ForwardCount((1 + method.discounted) * len(batches), tell)
        discount = spec.discount if method.discounted else None
        weights = row_weights(runner, rows, discount, text.noised, count.step, moved_of(runner.model, spec))
    else:
        batches = [batch.tokens for batch in text.batches()]
        count = ForwardCount(len(batches), tell)
        weights = [[(np.ones((1, 1, tokens.shape[1]), np.float32), 1.0)] * len(tokens) for tokens in batches]
    tallies = expert_tallies(runner, batches, weights, count.step, method.noised)
    scores: list[dict[str, torch.Tensor]] = []
    for layer, block in enumerate(runner.model.blocks):
        of_layer = _of_layer(tallies.get(layer), spec)
        named = ((name, expert_of(name)) for name in runner.model.projections(block))
        scores.append({name: of_layer[expert].clone()[None] for name, expert in named if expert is not None})
    unreached = unreached_facts({layer: tally.unreached for layer, tally in tallies.items()})
    return Prepared(scores, facts={"forwards": count.done} | unreached)


def _of_layer(tally: ExpertTally | None, spec: PruneSpec) -> torch.Tensor:
    if tally is None:
        return torch.zeros(0)
    return tally.tokens if spec.expert_worth == "load" else tally.saliency


class CutsExperts(Removal):
    """Whole experts go."""

    def __init__(self, model: LoadedModel, spec: PruneSpec) -> None:
        super().__init__(model, spec)
        self.layers = expert_layers(model.blocks)
        self.experts = model.geometry.experts
        config = model.network.config
        self.groups: int = getattr(config, "n_group", None) or 1
        self.chosen_groups: int = getattr(config, "topk_group", None) or 1
        self.left = self.experts  # of each layer
        self.kept: dict[int, list[int]] = {}
        self.worth: dict[int, list[float]] = {}

    def targets(self, layer: int) -> dict[str, Projection]:
        every = self.model.projections(self.model.blocks[layer])
        return {name: module for name, module in every.items() if expert_of(name) is not None}

    def check(self) -> None:
        self.share_out(np.full(self.model.geometry.layers, self.spec.sparsity))
        what = f"A {self.model.architecture.name} model with fewer experts"
        checkpoint = self.model.checkpoint
        made = parameter_shapes(checkpoint, checkpoint.config | self.config_changes(), every_name=True)
        require_opens_again(what, made, self._shapes_needed())

    def share_out(self, sparsities: np.ndarray) -> None:
        wanted = float(sparsities[self.layers[0]])  # a layer without experts has none to lose
        lost = self.groups * math.floor(wanted * self.experts / self.groups + 0.5)
        at_once = f"{self.groups} at once, one of each group" if self.groups > 1 else "a single expert"
        if wanted > 0 and lost == 0:
            raise UserError(
                f"A sparsity of {wanted:.3g} of {self.experts} experts a layer is less than {at_once}. Choose a higher "
                "one."
            )
        least = self._least()
        if self.experts - lost < least:
            grouped = f", {self.chosen_groups} of {self.groups} groups of them" if self.groups > 1 else ""
            raise UserError(
                f"A sparsity of {wanted:.3g} leaves {self.experts - lost} of {self.experts} experts a layer, and each "
                f"token is sent to {self.model.geometry.experts_per_token}{grouped}: {least} have to stay, which "
                f"allows {math.floor(1000 * (1 - least / self.experts)) / 1000:g} at most."
            )
        self.left = self.experts - lost

    def _least(self) -> int:
        """Return the fewest experts that may stay: as many as a token is sent to, in the chosen groups where groups are
        chosen; and two of every group, which is ranked by its best two.
        """
        chosen = self.model.geometry.experts_per_token
        return chosen if self.groups == 1 else self.groups * max(2, math.ceil(chosen / self.chosen_groups))

    def prune(self, layer: int, block: nn.Module, scores: Known) -> Flags:
        targets = self.targets(layer)
        if not targets:
            return {}
        worth = self._worths(layer, block, scores)
        if not torch.isfinite(worth).all():
            raise UserError(
                f"Layer {layer}: what its experts are worth is not finite (NaN or infinite), so nothing was pruned. "
                "Run in float32, or check the checkpoint."
            )
        gone = lowest(worth.view(self.groups, -1), (self.experts - self.left) // self.groups).flatten().tolist()
        self.kept[layer] = [expert for expert, goes in enumerate(gone) if not goes]
        self.worth[layer] = [float(f"{value:.6g}") for value in worth.tolist()]
        return {
            name: torch.full(tuple(module.weight.shape), gone[expert_of(name) or 0]) for name, module in targets.items()
        }

    def _worths(self, layer: int, block: nn.Module, scores: Known) -> torch.Tensor:
        """(E,) float64."""
        worth = torch.zeros(self.experts, dtype=torch.float64)
        if self.spec.expert_worth == "random":
            return torch.from_numpy(np.random.default_rng([self.spec.calibration.seed, layer]).random(self.experts))
        for name, module in self.model.projections(block).items():
            expert = expert_of(name)
            if expert is None:
                continue
            if METHODS[self.spec.method].calibrated:
                worth[expert] = float(scores[name])
            else:
                worth[expert] += float(module.weight.double().square().sum())
        return worth if METHODS[self.spec.method].calibrated else worth.sqrt()

    def stored(self, layer: int, block: nn.Module, name: str, original: torch.Tensor) -> torch.Tensor:
        if layer in self.kept and name in self._router(block):
            return original.index_select(0, torch.tensor(self.kept[layer]))
        return original

    def written_as(self, layer: int, name: str, stored_name: str) -> str | None:
        expert = expert_of(name.removesuffix(".weight"))
        if expert is None or layer not in self.kept:
            return stored_name
        if expert not in self.kept[layer]:
            return None
        return _OF_EXPERT.sub(f"experts.{self.kept[layer].index(expert)}.", stored_name)

    def _router(self, block: nn.Module) -> set[str]:
        """Return the tensors of a block that have a row for each expert, other than the experts themselves."""
        packed = packed_name(block)
        if packed is None:
            return set()
        tensors = {**dict(block.named_parameters()), **dict(block.named_buffers())}
        return {packed.removesuffix("experts") + name for name in _ROUTER_ROWS} & set(tensors)

    def lost_weights(self) -> int:
        return sum(
            sum(module.weight.numel() for module in self.targets(layer).values()) // self.experts
            for layer in self.layers
        ) * (self.experts - self.left)

    def config_changes(self) -> dict[str, Any]:
        family, fields = self.model.architecture, {self.model.architecture.field("experts"): self.left}
        return {family.text: {**self.model.checkpoint.config[family.text], **fields}} if family.text else fields

    def _shapes_needed(self) -> Shapes:
        """Return the shapes of what is left, by parameter."""
        network = self.model.network
        every = network.named_parameters(remove_duplicate=False)
        shapes = {name: tuple(parameter.shape) for name, parameter in every}
        names = {module: name for name, module in network.named_modules()}
        for layer in self.layers:
            writer = self.model.blocks[layer]
            packed, router = packed_name(writer), self._router(writer)
            for block in filter(None, (writer, reader_of(writer))):
                for name, parameter in block.named_parameters():
                    if name in router or name.startswith(f"{packed}."):
                        shapes[f"{names[block]}.{name}"] = (self.left, *parameter.shape[1:])
        return shapes

    def notes(self) -> list[str]:
        grouped = f", the same number of each of {self.groups} groups" if self.groups > 1 else ""
        notes = [
            f"Every layer with experts keeps {self.left} of {self.experts}{grouped}; they were numbered anew in their "
            "old order."
        ]
        if reads_text(self.spec) and any(reader_of(self.model.blocks[layer]) is not None for layer in self.layers):
            notes.append(
                "Encoder and decoder share their experts, so these are ranked by the tokens of both: the prefix that "
                "the encoder reads and the canvas that the decoder does."
            )
        return notes

    def facts(self) -> dict[str, Any]:
        """of: experts per layer before. kept: numbers of those that stay, and worth of all, by layer."""
        return {
            "experts_cut": {
                "of": self.experts,
                "kept": {str(layer): numbers for layer, numbers in self.kept.items()},
                "worth": {str(layer): worth for layer, worth in self.worth.items()},
            }
        }
