"""Cutting out whole key/value-head groups and MLP channels, so that the model is smaller and faster anywhere.

A head group is a key/value head with the query heads that share it: rows of q, k and v (and of their biases), columns
of o. A channel is a row of gate and up, a column of down. What a unit is worth (our formula): the sum over its input
features j of the projection it feeds, o or down, of ‖W_·j‖₂ · s_j, with s_j the method's feature score and s_j = 1 for
magnitude. ‖W_·j‖₂ · ‖X_j‖₂ is by how much the block's output changes, in the 2-norm over tokens, when feature j
is lost alone.

Every block loses the same number of head groups, so that a model keeps one head count for all layers: recordings and
masks are arrays over (layer, head). What an allocation gives a block beyond that, more or less, is taken from its
channels. Where layers or attention projections are to be left dense, no heads go at all. Only Llama-shaped blocks are
served, and only shapes that the model's class makes again: MLPs of different widths are for LLaDA, MMaDA, Dream,
a2d-*, Llama and Qwen; in other families every block loses the same.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from analysis.errors import UserError
from analysis.models.family import Architecture, Geometry
from analysis.models.native_code import MLP_PER_BLOCK
from analysis.pruning.selection import lowest

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
HEADS_FEED, CHANNELS_FEED = ATTENTION[-1], MLP[-1]
CHANNEL_STEP = 8  # widths that are a multiple of it stay one, because matrix units want them


@dataclass(frozen=True)
class BlockShape:
    """groups: key/value heads; group_heads: query heads that share one; channels: width of the MLP."""

    groups: int
    group_heads: int
    head_dim: int
    channels: int
    hidden: int

    @property
    def group_weights(self) -> int:
        """Weights that go with one head group."""
        return 2 * (self.group_heads + 1) * self.head_dim * self.hidden

    @property
    def channel_weights(self) -> int:
        """Weights that go with one channel."""
        return 3 * self.hidden

    @property
    def channel_step(self) -> int:
        """Step in which channels are removed."""
        return CHANNEL_STEP if self.channels % CHANNEL_STEP == 0 else 1


@dataclass(frozen=True)
class Scope:
    """Units that may go: head groups (of every block, or of none), and the channels of these layers."""

    heads: bool
    channel_layers: frozenset[int]

    def weights(self, shapes: Sequence[BlockShape]) -> list[int]:
        """Count the weights of each block that may go: the sizes an allocation shares the sparsity out over."""
        return [
            self.heads * shape.groups * shape.group_weights
            + (layer in self.channel_layers) * shape.channels * shape.channel_weights
            for layer, shape in enumerate(shapes)
        ]


@dataclass(frozen=True)
class UnitsKept:
    """Number of head groups that every block keeps, and channels that each block keeps."""

    groups: int
    channels: tuple[int, ...]

    def removed(self, shapes: Sequence[BlockShape]) -> list[int]:
        """Weights that go from each block."""
        return [
            (shape.groups - self.groups) * shape.group_weights + (shape.channels - kept) * shape.channel_weights
            for shape, kept in zip(shapes, self.channels, strict=True)
        ]


@dataclass(frozen=True)
class Kept:
    """Numbers of the head groups and channels of a block that stay, ascending int64."""

    groups: torch.Tensor
    channels: torch.Tensor


@dataclass(frozen=True)
class Cut:
    """The features of a projection that stay: rows of its weight (out, in) and bias (dim 0), or columns (dim 1)."""

    dim: int
    features: torch.Tensor

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what stays of a weight or a bias. A bias has no columns and stays whole where those are cut."""
        return tensor.index_select(self.dim, self.features.to(tensor.device)) if self.dim < tensor.ndim else tensor

    def keeps(self, shape: Sequence[int]) -> torch.Tensor:
        """Flag the weights of a matrix that stay, bool of this shape (out, in)."""
        return torch.zeros(*shape, dtype=torch.bool).index_fill_(self.dim, self.features, True)


def block_shape(block: nn.Module, geometry: Geometry) -> BlockShape:
    """The units of a block. Raises UserError for a block that is not Llama-shaped."""
    weights = {name: tuple(module.weight.shape) for name, module in _linears(block).items()}
    if set(weights) != {*ATTENTION, *MLP}:
        raise UserError(
            "Structured pruning knows blocks with the projections of Llama only; this one has "
            f"{', '.join(sorted(weights)) or 'none'}. Choose another pattern."
        )
    hidden, inner = weights["self_attn.o_proj"]
    head_dim = inner // geometry.heads
    return BlockShape(
        geometry.kv_heads, geometry.heads // geometry.kv_heads, head_dim, weights["mlp.down_proj"][1], hidden
    )


def scope(layers: int, skip_layers: Collection[int] = (), skip_projections: Collection[str] = ()) -> Scope:
    """Return what may go when these layers and projections (named by the last part) stay dense."""

    def spared(names: tuple[str, ...]) -> bool:
        return any(name.split(".")[-1] in skip_projections for name in names)

    channel_layers = frozenset() if spared(MLP) else frozenset(range(layers)) - frozenset(skip_layers)
    return Scope(not skip_layers and not spared(ATTENTION), channel_layers)


def plan(
    shapes: Sequence[BlockShape], may_go: Scope, sparsities: Sequence[float], one_width: bool = False
) -> UnitsKept:
    """Plan how much each block keeps so that it loses its sparsity (L,) of the weights that may go.

    Head groups: the overall share of them, rounded down (to the nearest where no channels may go). Channels take the
    rest, in steps of 8; what rounding leaves over is owed by the next block. So the overall sparsity is met to within
    half a step of one block wherever channels may go, but where all of them are too few, so that one more head group
    has to go and is by itself too much. One group and one step of channels stay in every block.
    one_width: every block loses the same number of channels, which meets it to within half a step of all blocks.
    Raises UserError where that makes the sparsity impossible, and where it is too low for a single unit to go.
    """
    wanted = [share * size for share, size in zip(sparsities, may_go.weights(shapes), strict=True)]
    free = [
        shape.channels // shape.channel_step - 1 if layer in may_go.channel_layers else 0
        for layer, shape in enumerate(shapes)
    ]
    steps = [shape.channel_step * shape.channel_weights for shape in shapes]
    in_channels = sum(count * size for count, size in zip(free, steps, strict=True))
    groups = _groups_to_lose(shapes, may_go, sum(wanted), in_channels)
    a_group = sum(shape.group_weights for shape in shapes)
    if may_go.channel_layers and groups * a_group + in_channels < sum(wanted) - 0.5:
        total = sum(may_go.weights(shapes))
        raise UserError(
            f"Structured pruning cannot reach a sparsity of {sum(wanted) / total:.3g} here: one head group and "
            f"{shapes[0].channel_step} channels stay in every block, which allows "
            f"{math.floor(1000 * (groups * a_group + in_channels) / total) / 1000:g} at most."
        )
    due = [want - groups * shape.group_weights for want, shape in zip(wanted, shapes, strict=True)]
    if one_width and may_go.channel_layers:
        count = min(max(math.floor(sum(due) / sum(steps) + 0.5), 0), min(free))
        lost = [count] * len(shapes)
    else:
        lost = _in_turns(due, steps, free)
    if sum(wanted) > 0 and not groups and not any(lost):
        raise UserError(
            f"A sparsity of {sum(wanted) / sum(may_go.weights(shapes)):.3g} is too low for a single head group or "
            f"{shapes[0].channel_step} channels to go here. Choose a higher one."
        )
    channels = (shape.channels - count * shape.channel_step for shape, count in zip(shapes, lost, strict=True))
    return UnitsKept(shapes[0].groups - groups, tuple(channels))


def _in_turns(due: Sequence[float], steps: Sequence[int], free: Sequence[int]) -> list[int]:
    """Return the steps of channels that each block loses of the weights due (L,); the next owes what rounding leaves
    over.

    The second round is for what was owed after the last block.
    """
    lost = [0] * len(due)
    owed = 0.0
    for added in (due, [0.0] * len(due)):
        for layer, more in enumerate(added):
            owed += more
            count = math.floor(owed / steps[layer] + 0.5)
            count = min(max(count, -lost[layer]), free[layer] - lost[layer])
            lost[layer] += count
            owed -= count * steps[layer]
    return lost


def _groups_to_lose(shapes: Sequence[BlockShape], may_go: Scope, wanted: float, in_channels: int) -> int:
    """wanted: weights to lose; in_channels: how many of them channels can take at most.

    Rounded down, for the same weights cost more in heads: Wanda at 0.25 takes the bundled model's loss from 1.28 to
    1.34 with one of six heads gone and to 1.45 with two.
    """
    if not may_go.heads:
        return 0
    groups, a_group = shapes[0].groups, sum(shape.group_weights for shape in shapes)
    share = groups * wanted / sum(may_go.weights(shapes))
    chosen = math.floor(share + 1e-9) if may_go.channel_layers else math.floor(share + 0.5)
    needed = math.ceil((wanted - in_channels) / a_group) if may_go.channel_layers else 0
    return min(max(chosen, needed), groups - 1)


def feature_worth(weight: torch.Tensor, feature_scores: torch.Tensor | None) -> torch.Tensor:
    """‖W_·j‖₂ · s_j of the features j a projection (out, in) reads, (in,) float32. No scores: ‖W_·j‖₂."""
    worth = weight.detach().float().norm(dim=0)
    return worth if feature_scores is None else worth * feature_scores.to(worth)


def choose(
    block: nn.Module, shape: BlockShape, groups: int, channels: int, feature_scores: Mapping[str, torch.Tensor] | None
) -> Kept:
    """The `groups` head groups and `channels` channels of a block that are worth most. Of equals the last stay.

    feature_scores: s (in,) of o_proj and down_proj by name; None for magnitude. Raises UserError for scores that are
    not numbers.
    """
    kept = []
    for name, units, count in ((HEADS_FEED, shape.groups, groups), (CHANNELS_FEED, shape.channels, channels)):
        scores = None if feature_scores is None else feature_scores[name]
        worth = feature_worth(block.get_parameter(f"{name}.weight"), scores).view(units, -1).sum(dim=1)
        if torch.isnan(worth).any():
            raise UserError("Scores of this block are not numbers (NaN). Check the checkpoint, or run in float32.")
        kept.append((~lowest(worth[None], units - count)[0]).nonzero()[:, 0].cpu())
    return Kept(*kept)


def cuts(shape: BlockShape, kept: Kept) -> dict[str, Cut]:
    """Return the cut of every projection of a block."""
    query = _features(kept.groups, shape.group_heads * shape.head_dim)
    key = _features(kept.groups, shape.head_dim)
    rows = {
        "self_attn.q_proj": query,
        "self_attn.k_proj": key,
        "self_attn.v_proj": key,
        "mlp.gate_proj": kept.channels,
        "mlp.up_proj": kept.channels,
    }
    columns = {HEADS_FEED: query, CHANNELS_FEED: kept.channels}
    return {name: Cut(dim, features) for dim, named in ((0, rows), (1, columns)) for name, features in named.items()}


def shapes_after(
    shapes: Mapping[str, tuple[int, ...]], prefix: str, blocks: Sequence[BlockShape], made: UnitsKept
) -> dict[str, tuple[int, ...]]:
    """Return a model's parameter shapes after slicing, from those before; block i's begin with `{prefix}.{i}.`."""
    after = dict(shapes)
    for layer, (shape, channels) in enumerate(zip(blocks, made.channels, strict=True)):
        kept = Kept(torch.arange(made.groups), torch.arange(channels))
        for projection, cut in cuts(shape, kept).items():
            for part in ("weight", "bias"):
                name = f"{prefix}.{layer}.{projection}.{part}"
                if name in after and cut.dim < len(after[name]):
                    sizes = list(after[name])
                    sizes[cut.dim] = len(cut.features)
                    after[name] = tuple(sizes)
    return after


@torch.no_grad()
def slice_(block: nn.Module, shape: BlockShape, kept: Kept) -> None:
    """Cut the units that are not kept out of a block, in place: its projections get smaller, biases with them."""
    linears = _linears(block)
    for name, cut in cuts(shape, kept).items():
        module = linears[name]
        module.weight.data = cut.of(module.weight.data)
        if module.bias is not None:
            module.bias.data = cut.of(module.bias.data)
        module.out_features, module.in_features = module.weight.shape


def _linears(block: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in block.named_modules() if isinstance(module, nn.Linear)}


def _features(units: torch.Tensor, size: int) -> torch.Tensor:
    """The features of units of this size."""
    return (units[:, None] * size + torch.arange(size)).flatten()


def config_changes(architecture: Architecture, shapes: Sequence[BlockShape], made: UnitsKept) -> dict[str, Any]:
    """The fields of a config that make it load the sliced blocks, under the family's own names.

    `head_dim` is named wherever heads are fewer, and `mlp_per_block` where the widths of the MLPs differ.
    """
    changes: dict[str, Any] = {}
    if made.groups != shapes[0].groups:
        changes[architecture.field("heads")] = made.groups * shapes[0].group_heads
        changes[architecture.field("kv_heads")] = made.groups
        changes["head_dim"] = shapes[0].head_dim
    if made.channels != tuple(shape.channels for shape in shapes):
        even = len(set(made.channels)) == 1
        changes[architecture.field("mlp")] = made.channels[0] if even else max(made.channels)
        changes[MLP_PER_BLOCK] = None if even else list(made.channels)
    return changes


def elsewhere(architecture: Architecture, config: Mapping[str, Any]) -> str:
    """Say, for the report, whether code other than this project opens a sliced checkpoint with this config."""
    if architecture.by_blocks:
        return "SinkScope opens this checkpoint; whether the authors' code does was not checked."
    heads, hidden = config[architecture.field("heads")], config[architecture.field("hidden")]
    authors = config["model_type"] in ("llada", "mmada", "Dream")
    # The authors' code takes hidden / heads as the head size; of the native families only Llama minds a remainder.
    if authors:
        odd = config.get("head_dim") not in (None, hidden // heads)
    else:
        odd = config["model_type"].endswith("llama") and hidden % heads != 0
    reasons = ["its number of heads does not fit its hidden size"] if odd else []
    if config.get(MLP_PER_BLOCK) is not None:
        reasons.append("the MLPs of its blocks differ in width")
    code = "The authors' code" if authors else "transformers' own code for this family"
    if not reasons:
        return f"{code} opens this checkpoint too."
    return f"{code} cannot open this checkpoint, because {' and '.join(reasons)}; SinkScope can."
