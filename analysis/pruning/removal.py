"""Ways to remove weights: zeroed one by one, or cut out as whole head groups and channels, or whole experts.

A run takes one of the ways, by its pattern. They change private copies of blocks; the model given is only read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import rows_of, turned
from analysis.errors import UserError
from analysis.models.checks import is_finite
from analysis.models.files import block_prefix
from analysis.models.load import parameter_shapes
from analysis.models.loaded import LoadedModel, Projection
from analysis.models.weight_files import words_of
from analysis.pruning import selection, structured
from analysis.pruning.algorithm import Algorithm, Blocks, Flags, Known, Removal, Shapes, require_opens_again
from analysis.pruning.allocation import layer_sparsities, weight_counts
from analysis.pruning.expert_removal import CutsExperts
from analysis.pruning.selection import require_numbers
from analysis.specs import ALLOCATIONS, PATTERNS, PUBLISHED, PruneSpec

_BINS = 2**16
_PIECE = 2**22  # scores counted at once: the counts of one piece need 8 bytes per score


class Threshold:
    """A rule of removal: what lies below a score goes, and the first so many of those equal to it.

    score: None where nothing goes. ties: how many of the equal ones are still to go.
    """

    def __init__(self, key: int | None, ties: int) -> None:
        self._key, self.ties = key, ties

    def take(self, score: torch.Tensor) -> torch.Tensor:
        """True where a weight goes, bool (out, in). To be called once for every matrix, in the order of the count."""
        if self._key is None:
            return torch.zeros_like(score, dtype=torch.bool)
        keys = _keys(score)
        gone, equal = keys < self._key, keys == self._key
        number = int(torch.count_nonzero(equal))
        if number > self.ties:
            gone.view(-1)[equal.flatten().nonzero()[: self.ties, 0]] = True
        else:
            gone |= equal
        self.ties -= min(number, self.ties)
        return gone


def lowest_of_all(scores: Callable[[], Iterable[torch.Tensor]], count: int) -> Threshold:
    """The threshold that exactly `count` of all scores fall under, ties by the order in which they come.

    scores: each matrix (out, in) in its turn, the same at every call. Raises UserError for scores that are not numbers,
    ValueError for a count beyond their number.
    """
    if count == 0:
        return Threshold(None, 0)
    upper, below = _bin_of(_histogram((_keys(score) >> 16) + _BINS // 2 for score in scores()), count)
    high = upper - _BINS // 2
    within = (keys[keys >> 16 == high] & (_BINS - 1) for keys in map(_keys, scores()))
    lower, before = _bin_of(_histogram(within), count - below)
    return Threshold((high << 16) | lower, count - below - before)


def _keys(score: torch.Tensor) -> torch.Tensor:
    """int32 numbers that are ordered as the float32 scores are; the two zeros are one."""
    require_numbers(score)
    bits = (score.float() + 0.0).contiguous().view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _histogram(keys: Iterable[torch.Tensor]) -> torch.Tensor:
    """Count the keys that fall on each number from 0 to 2¹⁶ − 1, int64 on the CPU."""
    counts = torch.zeros(_BINS, dtype=torch.int64)
    for matrix in keys:
        for piece in matrix.flatten().split(_PIECE):
            counts += torch.bincount(piece, minlength=_BINS).cpu()
    return counts


def _bin_of(counts: torch.Tensor, count: int) -> tuple[int, int]:
    """The bin that holds the count-th lowest, and how many lie in bins below it."""
    upto = counts.cumsum(0)
    if count > int(upto[-1]):
        raise ValueError(f"{count} of {int(upto[-1])} scores cannot be the lowest.")
    place = int(torch.searchsorted(upto, count))
    return place, int(upto[place] - counts[place])


def removal_for(model: LoadedModel, spec: PruneSpec, algorithm: Algorithm) -> Removal:
    """The way of the pattern. Raises UserError for blocks that have no such units."""
    pattern = PATTERNS[spec.pattern]
    if pattern.cuts_experts:
        return CutsExperts(model, spec)
    return CutsUnits(model, spec) if pattern.cuts_units else ZeroesWeights(model, spec, algorithm)


class ZeroesWeights(Removal):
    """The method decides weight by weight; matrices keep their shapes."""

    def __init__(self, model: LoadedModel, spec: PruneSpec, algorithm: Algorithm) -> None:
        super().__init__(model, spec)
        self.algorithm = algorithm
        self.sparsities: dict[tuple[int, str], float] = {}  # by layer and projection
        self.counts: dict[tuple[int, str], int] = {}  # likewise, where they are exact
        self.of_model: Threshold | None = None
        self.gone: Flags = {}  # of the block pruned last
        self.modules: Mapping[str, Projection] = {}  # likewise, where their weights change
        self._targets: dict[int, dict[str, Projection]] = {}

    @property
    def _changes(self) -> bool:
        """True if the weights that stay are changed."""
        return self.algorithm.updates or self.spec.quantization.active

    def targets(self, layer: int) -> dict[str, Projection]:
        if layer in self.spec.skip_layers:
            return {}
        if layer not in self._targets:
            every = self.model.projections(self.model.blocks[layer])
            spared = set(self.spec.skip_projections)
            self._targets[layer] = {name: module for name, module in every.items() if not words_of(name) & spared}
        return self._targets[layer]

    def check(self) -> None:
        for layer in range(self.model.geometry.layers):
            for name, module in self.targets(layer).items():
                try:
                    selection.check(self.spec.pattern, tuple(rows_of(module).shape), self.spec.sparsity)
                except UserError as error:
                    raise UserError(f"Layer {layer}, {name}: {error}") from error

    def share_out(self, sparsities: np.ndarray) -> None:
        names = {name: place for place, name in enumerate(self.model.projection_names)}
        shares = np.broadcast_to(sparsities.reshape(len(sparsities), -1), (len(sparsities), len(names)))
        sizes = self.sizes()
        self.sparsities = {(layer, name): float(shares[layer, names[name]]) for layer, name in sizes}
        by_weight = self.spec.quota_scope not in (PUBLISHED, "row")
        if by_weight or not ALLOCATIONS[self.spec.allocation].even:
            counts = weight_counts(np.array([*self.sparsities.values()]), np.array([*sizes.values()])).tolist()
            self.counts = dict(zip(sizes, counts, strict=True))

    def sizes(self) -> dict[tuple[int, str], int]:
        """Count the weights that each projection may lose, by layer and name."""
        return {
            (layer, name): module.weight.numel()
            for layer in range(self.model.geometry.layers)
            for name, module in self.targets(layer).items()
        }

    def survey(self, blocks: Blocks) -> None:
        def every_score() -> Iterator[torch.Tensor]:
            for layer, block, scores in blocks():
                modules = self.model.projections(block)
                for name in self.targets(layer):
                    yield self._score(layer, modules[name], scores, name)

        self.of_model = lowest_of_all(every_score, sum(self.counts.values()))

    def prune(self, layer: int, block: nn.Module, scores: Known) -> Flags:
        choose = self._solved if self.algorithm.score is None else self._lowest_scores
        modules = self.model.projections(block)
        self.gone = choose(layer, modules, scores)
        self.modules = modules if self._changes else {}
        return self.gone

    def _lowest_scores(self, layer: int, modules: Mapping[str, Projection], scores: Known) -> Flags:
        names, flags = list(self.targets(layer)), {}
        shared = self.of_model
        if self.spec.scope == "layer":
            count = sum(self.counts[layer, name] for name in names)
            shared = lowest_of_all(lambda: (self._score(layer, modules[name], scores, name) for name in names), count)
        for name in names:
            score = self._score(layer, modules[name], scores, name)
            flags[name] = self._lowest(layer, name, score) if shared is None else shared.take(score)
            rows_of(modules[name]).masked_fill_(flags[name], 0)
        return flags

    def _score(self, layer: int, module: Projection, scores: Known, name: str) -> torch.Tensor:
        weight = rows_of(module)
        require_finite(weight, layer, name)
        assert self.algorithm.score is not None
        return self.algorithm.score(weight, scores.get(name))

    def _lowest(self, layer: int, name: str, score: torch.Tensor) -> torch.Tensor:
        over: Literal["row", "matrix"] = "matrix" if self.spec.scope == "projection" else "row"
        count = self.counts.get((layer, name))
        return selection.pruned_mask(score, self.sparsities[layer, name], self.spec.pattern, over, count)

    def _solved(self, layer: int, modules: Mapping[str, Projection], scores: Known) -> Flags:
        flags = {}
        assert self.algorithm.solve is not None
        for name in self.targets(layer):
            weight = rows_of(modules[name])
            sparsity, count = self.sparsities[layer, name], self.counts.get((layer, name))
            done = self.algorithm.solve(weight.float(), scores.get(name), sparsity, count, self.spec)
            require_finite(done.weight, layer, name)
            weight.copy_(done.weight)
            flags[name] = done.pruned
        return flags

    def stored(self, layer: int, block: nn.Module, name: str, original: torch.Tensor) -> torch.Tensor:
        projection, _, part = name.rpartition(".")
        if part != "weight" or projection not in self.targets(layer):
            return original
        if self._changes:
            return self.modules[projection].weight.detach().to("cpu", original.dtype)
        # What stays is written as it was, whatever precision the model ran in.
        return original.masked_fill(turned(self.targets(layer)[projection], self.gone[projection].cpu()), 0)


class CutsUnits(Removal):
    """Head groups and MLP channels go, and matrices get smaller: see `structured`. What stays is written as it was."""

    def __init__(self, model: LoadedModel, spec: PruneSpec) -> None:
        super().__init__(model, spec)
        self.shapes = [structured.block_shape(block, model.geometry) for block in model.blocks]
        self.scope = structured.scope(model.geometry.layers, spec.skip_layers, spec.skip_projections)
        self.plan = structured.UnitsKept(self.shapes[0].groups, tuple(shape.channels for shape in self.shapes))
        self.one_width = False  # whether the class holds MLPs of one width only
        self.kept: dict[int, structured.Kept] = {}
        self.cuts: dict[int, dict[str, structured.Cut]] = {}
        self.small: dict[int, dict[str, list[int]]] = {}

    def targets(self, layer: int) -> dict[str, Projection]:
        names = (structured.ATTENTION if self.scope.heads else ()) + (
            structured.MLP if layer in self.scope.channel_layers else ()
        )
        every = self.model.projections(self.model.blocks[layer])
        return {name: every[name] for name in names}

    def check(self) -> None:
        spec, sizes = self.spec, np.array(self.scope.weights(self.shapes))
        self.one_width = not self._holds_widths()
        layers = len(self.scope.channel_layers)
        if self.one_width and layers and (not ALLOCATIONS[spec.allocation].even or layers < len(self.shapes)):
            raise UserError(
                f"The MLPs of {self.model.architecture.name} models have one width for all blocks, so all must lose "
                "the same number of channels. Share the sparsity uniformly and leave no layers dense."
            )
        # Whether a sparsity can be reached does not depend on how the layers share it.
        self.share_out(layer_sparsities("uniform", spec.sparsity, sizes))
        what = f"A sliced {self.model.architecture.name} model"
        require_opens_again(what, self._shapes_made(self.plan), self._shapes_needed(self.plan))

    def _holds_widths(self) -> bool:
        """Return True if the model's class makes MLPs of a width of its own for each block."""
        first, *others = (shape.channels for shape in self.shapes)
        uneven = structured.UnitsKept(self.shapes[0].groups, (first + 1, *others))
        return self._shapes_made(uneven) == self._shapes_needed(uneven)

    def _shapes_made(self, plan: structured.UnitsKept) -> Shapes:
        """Return the shapes that the class makes from a sliced model's config, by parameter."""
        checkpoint = self.model.checkpoint
        changes = structured.config_changes(self.model.architecture, self.shapes, plan)
        return parameter_shapes(checkpoint, checkpoint.config | changes)

    def _shapes_needed(self, plan: structured.UnitsKept) -> Shapes:
        """Return the shapes that slicing leaves, by parameter."""
        dense = {name: tuple(parameter.shape) for name, parameter in self.model.network.named_parameters()}
        return structured.shapes_after(dense, block_prefix(self.model), self.shapes, plan)

    def share_out(self, sparsities: np.ndarray) -> None:
        self.plan = structured.plan(self.shapes, self.scope, sparsities.tolist(), self.one_width)

    def prune(self, layer: int, block: nn.Module, scores: Known) -> Flags:
        targets = self.targets(layer)
        for name in targets:
            require_finite(block.get_parameter(f"{name}.weight"), layer, name)
            if name in scores:
                require_finite(scores[name], layer, name)
        shape = self.shapes[layer]
        kept = structured.choose(block, shape, self.plan.groups, self.plan.channels[layer], scores or None)
        structured.slice_(block, shape, kept)
        self.kept[layer], self.cuts[layer] = kept, structured.cuts(shape, kept)
        self.small[layer] = {name: list(module.weight.shape) for name, module in self.model.projections(block).items()}
        return {name: ~self.cuts[layer][name].keeps(module.weight.shape) for name, module in targets.items()}

    def stored(self, layer: int, block: nn.Module, name: str, original: torch.Tensor) -> torch.Tensor:
        cut = self.cuts[layer].get(name.rpartition(".")[0])
        return original if cut is None else cut.of(original)

    def lost_weights(self) -> int:
        return sum(self.plan.removed(self.shapes))

    def config_changes(self) -> dict[str, Any]:
        return structured.config_changes(self.model.architecture, self.shapes, self.plan)

    def notes(self) -> list[str]:
        config = self.model.checkpoint.config | self.config_changes()
        return [structured.elsewhere(self.model.architecture, config)]

    def facts(self) -> dict[str, Any]:
        """head_groups: numbers of those kept, by layer. shapes: (out, in) after slicing, by layer and projection."""
        layers, first = range(len(self.shapes)), self.shapes[0]
        return {
            "sliced": {
                "heads": self.plan.groups * first.group_heads,
                "kv_heads": self.plan.groups,
                "head_dim": first.head_dim,
                "channels": list(self.plan.channels),
                "head_groups": [self.kept[layer].groups.tolist() for layer in layers],
                "shapes": [
                    {name.split(".")[-1]: shape for name, shape in self.small[layer].items()} for layer in layers
                ],
            }
        }


def require_finite(tensor: torch.Tensor, layer: int, name: str) -> None:
    """Raise UserError for weights or scores that are not finite."""
    if not is_finite(tensor):
        raise UserError(
            f"Layer {layer}, {name}: activations or weights are not finite (NaN or infinite), so nothing was pruned. "
            "Run in float32, or check the checkpoint."
        )
