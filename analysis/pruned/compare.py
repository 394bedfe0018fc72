"""Overlap of two pruning masks, by head, projection and layer. NumPy only.

A mask is bool (out, in), True where the weight is pruned. The paper speaks of mask differences and gives no formula:
these measures are ours. All of them follow from four counts of a slice's weights, which is what is stored:
arrays (…, 4) of int64: its weights, those that the first mask prunes, the second, and both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.models.weight_files import expert_of, of_any_expert
from analysis.registry import Registry
from analysis.specs import PATTERNS
from analysis.specs.pruning_choices import LARGEST_GROUP

HEAD_AXIS = {"q_proj": 0, "k_proj": 0, "v_proj": 0, "o_proj": 1}
"""The axis of a head's slice: rows of the query, key and value projections, columns of the output projection."""
SHARED = ("k_proj", "v_proj")
WHOLE_HEAD, WHOLE_EXPERT = "whole head", "whole expert"
ATTENTION, MLP, EXPERTS, ALL = "attention", "MLP", "experts", "all projections"
MAX_CELLS = 1024

# --- measures of counts -----------------------------------------------------------------------------------------


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def disagreement(counts: np.ndarray) -> np.ndarray:
    """Share of the weights that one mask prunes and the other keeps, (…)."""
    weights, first, second, both = np.moveaxis(counts, -1, 0)
    return _ratio(first + second - 2 * both, weights)


def jaccard(counts: np.ndarray) -> np.ndarray:
    """|A ∩ B| / |A ∪ B| of the pruned sets, (…). NaN where neither prunes anything."""
    _, first, second, both = np.moveaxis(counts, -1, 0)
    return _ratio(both, first + second - both)


def jaccard_distance(counts: np.ndarray) -> np.ndarray:
    """1 − `jaccard`, (…)."""
    return 1 - jaccard(counts)


def sparsities(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the weights that the first mask prunes, and the second, each (…)."""
    weights, first, second, _ = np.moveaxis(counts, -1, 0)
    return _ratio(first, weights), _ratio(second, weights)


def sparsity_difference(counts: np.ndarray) -> np.ndarray:
    """Sparsity of the second mask minus that of the first, (…)."""
    first, second = sparsities(counts)
    return second - first


# --- floors -----------------------------------------------------------------------------------------------------


def independent_disagreement(counts: np.ndarray) -> np.ndarray:
    """The disagreement expected of independent masks of these sparsities: p(1 − q) + q(1 − p), so 2p(1 − p)
    where p = q.
    """
    p, q = sparsities(counts)
    return p * (1 - q) + q * (1 - p)


def independent_jaccard(counts: np.ndarray) -> np.ndarray:
    """pq / (p + q − pq): the Jaccard index of the expected counts of independent masks of these sparsities, (…)."""
    p, q = sparsities(counts)
    return _ratio(p * q, p + q - p * q)


def independent_spread(counts: np.ndarray) -> np.ndarray:
    """Standard deviation of the sparsity difference of independent masks, √((p(1 − p) + q(1 − q)) / weights)."""
    p, q = sparsities(counts)
    return np.sqrt(_ratio(p * (1 - p) + q * (1 - q), counts[..., 0]))


def least_disagreement(counts: np.ndarray) -> np.ndarray:
    """|p − q|: what masks of different sparsity differ by at least, whatever they chose."""
    return np.abs(sparsity_difference(counts))


@dataclass(frozen=True)
class Measure:
    """Difference of two masks: a share of 0 … 1 by slice. compute and independent: counts (…, 4) -> (…)."""

    name: str
    title: str
    sentence: str
    formula: str
    compute: Callable[[np.ndarray], np.ndarray]
    independent: Callable[[np.ndarray], np.ndarray]


MEASURES: Registry[Measure] = Registry(
    Measure(
        "disagreement",
        "Mask disagreement",
        "Share of the weights that one run prunes and the other keeps",
        r"\frac{|A \,\triangle\, B|}{n}, \quad \text{independent masks: } p(1-q) + q(1-p) = 2p(1-p)\ \text{for}\ p = q",
        disagreement,
        independent_disagreement,
    ),
    Measure(
        "jaccard",
        "1 − Jaccard of the pruned sets",
        "Of the weights that at least one run prunes, the share that only one of them does",
        r"1 - \frac{|A \cap B|}{|A \cup B|}, \quad \text{independent masks: } 1 - \frac{pq}{p + q - pq}",
        jaccard_distance,
        lambda counts: 1 - independent_jaccard(counts),
    ),
)

# --- counting ---------------------------------------------------------------------------------------------------


Parts = dict[str, np.ndarray]
"""Counts of each part of a model, by its name."""


@dataclass(frozen=True)
class Comparison:
    """Two masks of one model, counted.

    names: the projections of a block, those of experts once for all. projections: (L, P, 4). experts: (L, E, 4) of each
    projection that experts have; zeros in layers without. heads: (L, H, 4) of each attention projection whose
    slices belong to heads; a shared key/value head counts for every query head that reads it. fixed: what makes a
    head's sparsity the same in both masks, for each of those projections: 'rows' (all rows lose equally many), the name
    of a pattern, 'dense' (neither mask touches it), or '' where it may differ.
    """

    names: tuple[str, ...]
    projections: np.ndarray
    heads: Parts
    fixed: dict[str, str]
    experts: Parts = field(default_factory=dict)

    def total(self) -> np.ndarray:
        """Sum the counts over all projections of all layers, (4,)."""
        return self.projections.sum(axis=(0, 1))

    def head_parts(self) -> Parts:
        """Return the counts of the heads' slices: all together, then projection by projection, each (L, H, 4)."""
        return {WHOLE_HEAD: np.sum(list(self.heads.values()), axis=0), **self.heads} if self.heads else {}

    def expert_parts(self) -> Parts:
        """Return the counts of the experts: all projections of each together, then one by one, each (L, E, 4)."""
        return {WHOLE_EXPERT: np.sum(list(self.experts.values()), axis=0), **self.experts} if self.experts else {}

    def fixed_parts(self, part: str) -> tuple[dict[str, list[str]], list[str]]:
        """Of a head's part (a projection or `WHOLE_HEAD`): projections whose sparsity a head cannot move, by what
        fixes them, and those where it can.
        """
        names = list(self.heads) if part == WHOLE_HEAD else [part]
        stuck: dict[str, list[str]] = {}
        for name in names:
            if self.fixed[name]:
                stuck.setdefault(self.fixed[name], []).append(name)
        return stuck, [name for name in names if not self.fixed[name]]

    def depth(self) -> Parts:
        """Return the counts by layer, (L, 4): all projections, the attention's, the experts', and the rest, the MLP."""
        named = {
            ATTENTION: [index for index, name in enumerate(self.names) if name in HEAD_AXIS],
            EXPERTS: [index for index, name in enumerate(self.names) if name in self.experts],
        }
        rest = set(range(len(self.names))).difference(*named.values())
        named[MLP] = sorted(rest)
        parts = {name: self.projections[:, indices].sum(axis=1) for name, indices in named.items() if indices}
        return {ALL: self.projections.sum(axis=1), **(parts if len(parts) > 1 else {})}


def compare(
    pairs: Iterable[tuple[int, str, np.ndarray, np.ndarray]],
    layers: int,
    names: Sequence[str],
    heads: int,
    kv_heads: int,
    experts: int = 0,
    kv_heads_of: Mapping[int, int] | None = None,
) -> Comparison:
    """Count two masks in one pass. pairs: (layer, projection, first mask, second mask), one matrix at a time, so that
    a large model never lies in memory as a whole. heads, kv_heads, experts: of a layer; kv_heads_of: of layers whose
    own number differs.
    """
    projections = np.zeros((layers, len(names), 4), np.int64)
    by_head: Parts = {}
    by_expert: Parts = {}
    kinds: dict[str, set[str]] = {}
    for layer, name, first, second in pairs:
        if first.shape != second.shape:
            raise ValueError(f"The masks of layer {layer}, {name} have shapes {first.shape} and {second.shape}")
        both = first & second
        groups = (kv_heads_of or {}).get(layer, kv_heads) if name in SHARED else heads
        axis = HEAD_AXIS.get(name)
        if axis is None or first.shape[axis] % groups:
            counts = [first.size, *(int(np.count_nonzero(mask)) for mask in (first, second, both))]
            kind, expert = of_any_expert(name), expert_of(name)
            projections[layer, names.index(kind)] += np.array(counts)
            if expert is not None:
                by_expert.setdefault(kind, np.zeros((layers, experts, 4), np.int64))[layer, expert] = counts
            continue
        sums = [mask.sum(axis=1 - axis, dtype=np.int64) for mask in (first, second, both)]
        slices = np.stack([part.reshape(groups, -1).sum(axis=1) for part in sums], axis=-1)
        slices = np.insert(slices, 0, first.size // groups, axis=1)
        projections[layer, names.index(name)] = slices.sum(axis=0)
        by_head.setdefault(name, np.zeros((layers, heads, 4), np.int64))[layer] = np.repeat(
            slices, heads // groups, axis=0
        )
        kinds.setdefault(name, set()).add(_fixed(first, second, axis, groups, sums))
    fixed = {
        name: "" if "" in methods else min(methods - {"dense"}, default="dense") for name, methods in kinds.items()
    }
    of_heads = {name: by_head[name] for name in HEAD_AXIS if name in by_head}
    return Comparison(tuple(names), projections, of_heads, fixed, by_expert)


def pooled(comparisons: Sequence[Comparison]) -> Comparison:
    """Sum comparisons of one model's masks by layer and projection; heads and experts are left out."""
    first = comparisons[0]
    return Comparison(first.names, np.sum([one.projections for one in comparisons], axis=0), {}, {})


def furthest(measure: Measure, comparison: Comparison, floor: Comparison | None) -> tuple[int, int]:
    """Return layer and number of the projection that lies furthest above two calibration seeds, or, where there are
    none, the one whose masks differ most.
    """
    values = measure.compute(comparison.projections)
    above = values if floor is None else values - measure.compute(floor.projections)
    layer, projection = np.unravel_index(np.argmax(np.where(np.isfinite(above), above, -np.inf)), above.shape)
    return int(layer), int(projection)


def _fixed(first: np.ndarray, second: np.ndarray, axis: int, groups: int, sums: list[np.ndarray]) -> str:
    """Name what fixes the sparsity of head slices in both masks, or return ''. sums: each mask's, along the other
    axis.
    """
    if not (sums[0].any() or sums[1].any()):
        return "dense"
    width = first.shape[1] if axis == 0 else first.shape[1] // groups
    named = [(row.kept, row.group) for row in PATTERNS.values() if row.kept is not None and row.group is not None]
    # Of a row that is one group any mask with even rows would be N:M.
    sizes = range(2, min(LARGEST_GROUP, first.shape[1] - 1) + 1)
    others = [(size - int(first[0, :size].sum()), size) for size in sizes]
    for kept, group in (*named, *others):
        if width % group or not 1 <= kept < group:
            continue
        if all(keeps_of_every(mask, kept, group) for mask in (first, second)):
            return f"{kept}:{group}"
    same = axis == 0 and (sums[0] == sums[0][0]).all() and (sums[1] == sums[0][0]).all()
    return "rows" if same else ""


def keeps_of_every(mask: np.ndarray, kept: int, group: int) -> bool:
    """Return True if exactly `kept` of every `group` neighbours of each row of a mask stay."""
    if mask.shape[1] % group:
        return False

    def holds(rows: np.ndarray) -> bool:
        return bool((rows.reshape(-1, group).sum(axis=1, dtype=np.int16) == group - kept).all())

    return holds(mask[:1]) and holds(mask)  # a mask without the pattern shows it in its first row


# --- several masks ----------------------------------------------------------------------------------------------


def overlap(matrices: Iterable[Sequence[np.ndarray]], masks: int) -> tuple[np.ndarray, int]:
    """Count the weights that each two of K masks both prune, (K, K) int64 with each mask's own number on the diagonal,
    and all weights. matrices: the K masks of one projection at a time.
    """
    shared, weights = np.zeros((masks, masks), np.int64), 0
    for group in matrices:
        packed = [np.packbits(mask) for mask in group]
        weights += group[0].size
        for row in range(masks):
            for column in range(row, masks):
                shared[row, column] += int(np.bitwise_count(packed[row] & packed[column]).sum(dtype=np.int64))
    return np.triu(shared) + np.triu(shared, 1).T, weights


def pairs_of(shared: np.ndarray, weights: int) -> np.ndarray:
    """The four counts of every two masks, (K, K, 4), from what `overlap` returns."""
    pruned_counts = np.diag(shared)
    first, second = np.broadcast_arrays(pruned_counts[:, None], pruned_counts[None])
    return np.stack([np.full_like(shared, weights), first, second, shared], axis=-1)


# --- pictures ---------------------------------------------------------------------------------------------------


def head_slice(mask: np.ndarray, name: str, head: int, heads: int, kv_heads: int) -> np.ndarray:
    """The part of a projection's mask that belongs to a query head. Raises ValueError where no part does."""
    groups = kv_heads if name in SHARED else heads
    axis = HEAD_AXIS.get(name)
    if axis is None or mask.shape[axis] % groups:
        raise ValueError(f"{name} has no slices of heads")
    size = mask.shape[axis] // groups
    start = head // (heads // groups) * size
    return mask[start : start + size] if axis == 0 else mask[:, start : start + size]


def slice_shape(shape: tuple[int, int], name: str, heads: int, kv_heads: int) -> tuple[int, int]:
    """(out, in) of a head's slice of a projection of this shape."""
    groups, axis = kv_heads if name in SHARED else heads, HEAD_AXIS[name]
    return (shape[0] // groups, shape[1]) if axis == 0 else (shape[0], shape[1] // groups)


def shares(mask: np.ndarray, most: tuple[int, int] = (MAX_CELLS, MAX_CELLS)) -> tuple[np.ndarray, int, int]:
    """Share of True in blocks so large that there are at most `most` (rows, columns) of them, float32, with the
    blocks' height and width. The last block of a side may be smaller.
    """
    height, width = (max(1, -(-size // limit)) for size, limit in zip(mask.shape, most, strict=True))
    rows, columns = np.arange(0, mask.shape[0], height), np.arange(0, mask.shape[1], width)
    # Row by row of blocks: reduceat down the columns of a large matrix is twenty times slower.
    bands = np.stack([mask[row : row + height].sum(axis=0, dtype=np.int32) for row in rows])
    sums = np.add.reduceat(bands, columns, axis=1)
    sizes = np.diff(np.append(rows, mask.shape[0]))[:, None] * np.diff(np.append(columns, mask.shape[1]))
    return (sums / sizes).astype(np.float32), height, width


def block_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the shares of the second mask minus those of the first, −1 … 1."""
    return second - first


def by_input(shares: np.ndarray, shape: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Convert shares of blocks to numbers of weights, (C,): a block of neighbouring input features each.

    shares: of the blocks of a matrix of this shape (rows, columns), `height` × `width` weights each but for the last.
    """
    sizes = [
        np.minimum(step, size - np.arange(0, size, step)) for size, step in zip(shape, (height, width), strict=True)
    ]
    return np.rint(shares * np.outer(*sizes)).sum(axis=0).astype(np.int64)
