"""Keys that the queries of each step see, and each key's share if attention were spread evenly over them. NumPy only.

Whatever the model's mask, a query sees the keys up to the end of a block of its own: of the whole text where attention
is bidirectional, of itself where it is causal, else of the block it stands in. Through a window it sees fewer: those
shortly before the block, and where attention is bidirectional as many on either side of it. Shapes: T steps, L layers,
S positions, Q queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.specs.attention_kinds import AttentionKind


def expected_share(
    kind: AttentionKind, block_starts: Sequence[int], queries: tuple[int, int], present: np.ndarray, window: int = 0
) -> np.ndarray:
    """The share of attention each key gets where every query spreads its own evenly over the keys it sees, (S,): a sum
    over the queries of 1/(Q · keys seen). It sums to 1; NaN where absent.

    block_starts: where the blocks begin that a block-causal model attends by, or where the open block begins. queries:
    the first and one past the last. present (S,): the positions there are, at the last of which the keys end. window:
    as in `key_ranges`.
    """
    asking, first, last = _seen_ranges(kind, block_starts, queries, present, window)
    before = np.concatenate([[0], np.cumsum(present)])  # how many keys there are before each position
    seen = before[last] - before[first]
    paid = np.where(seen > 0, 1 / np.maximum(seen, 1), 0) / max(len(asking), 1)
    share = _over_ranges(first, last, paid, len(present))
    return np.where(present, share, np.nan)


def seeing_queries(
    kind: AttentionKind, block_starts: Sequence[int], queries: tuple[int, int], present: np.ndarray, window: int = 0
) -> np.ndarray:
    """Count the queries that see each key, (S,); 0 where absent. The arguments are those of `expected_share`."""
    asking, first, last = _seen_ranges(kind, block_starts, queries, present, window)
    return np.where(present, _over_ranges(first, last, np.ones(len(asking)), len(present)), 0)


def _seen_ranges(
    kind: AttentionKind, block_starts: Sequence[int], queries: tuple[int, int], present: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The positions that ask, and `key_ranges` of each."""
    there = np.flatnonzero(present)
    asking = there[(there >= queries[0]) & (there < queries[1])]
    return asking, *key_ranges(kind, block_starts, asking, int(there[-1]) + 1 if len(there) else 0, window)


def key_ranges(
    kind: AttentionKind, block_starts: Sequence[int], queries: np.ndarray, end: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first key each query sees and one past its last, (Q,) each; end: where the keys end.

    window: how many tokens a layer sees back from the start of the query's block, that token included; 0 for all. Where
    attention is bidirectional, back and ahead from the query itself.
    """
    if kind == "bidirectional":
        start, last = queries, queries + window if window else np.full_like(queries, end)
    else:
        starts = np.unique([0, *block_starts])
        block = np.searchsorted(starts, queries, side="right") - 1
        start, last = starts[block], np.append(starts[1:], end)[block]
        if kind == "causal" or (kind == "open-block" and not block_starts):
            start, last = queries, queries + 1
        elif kind == "open-block":
            context = queries < min(block_starts)
            start, last = np.where(context, queries, start), np.where(context, queries + 1, last)
    first = np.maximum(start - (window - 1), 0) if window else np.zeros_like(queries)
    return first, np.minimum(last, end)


def _over_ranges(first: np.ndarray, last: np.ndarray, values: np.ndarray, positions: int) -> np.ndarray:
    """The sum at each position of the values whose range [first, last) holds it, (S,)."""
    change = np.zeros(positions + 1)
    np.add.at(change, first, values)
    np.add.at(change, last, -values)
    return np.maximum(np.cumsum(change)[:-1], 0)


@dataclass(frozen=True)
class AttentionPattern:
    """Attention pattern of a recording's steps. present (T, S) bool; queries and open_block (T, 2); block_starts: of a
    block-causal model; windows (L,), or empty where all layers see all.
    """

    kind: AttentionKind
    present: np.ndarray
    queries: np.ndarray
    open_block: np.ndarray
    block_starts: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()

    @cached_property
    def uniform_mass(self) -> np.ndarray:
        """The mass uniform attention gives each key, in units in which it is 1 on average, (T, L, 1, S) float32, with L
        of 1 where all layers see the same; NaN where absent.
        """
        keys = self.present.sum(axis=1)[:, None, None, None]
        return (self._by_layer(expected_share) * keys).astype(np.float32)

    @cached_property
    def uniform_share(self) -> np.ndarray:
        """The share uniform attention gives each key, mean over layers, (T, S); NaN where absent."""
        return self._by_layer(expected_share).mean(axis=(1, 2))

    @cached_property
    def largest_mass(self) -> np.ndarray:
        """The mass a key gets when all queries that see it attend to nothing else: their number, in the units of
        `uniform_mass` and in its shape; 0 where absent.
        """
        return (self._by_layer(seeing_queries) * self.relative[:, None, None, None]).astype(np.float32)

    @cached_property
    def relative(self) -> np.ndarray:
        """K/Q of each step, (T,): mass times it is 1 on average where attention is uniform, whatever part asks."""
        return self.present.sum(axis=1) / query_counts(self.present, self.queries)

    @property
    def partial(self) -> np.ndarray:
        """Flag the steps in which only some of the tokens ask, (T,)."""
        return self.relative > 1

    def visible(self, layer: int | None = None) -> np.ndarray:
        """`largest_mass` of a layer, or the mean over layers, (T, S)."""
        if layer is None or self.largest_mass.shape[1] == 1:
            return self.largest_mass.mean(axis=(1, 2))
        return self.largest_mass[:, layer, 0]

    @property
    def is_even(self) -> bool:
        """True if uniform attention gives every key the same."""
        return self.kind == "bidirectional" and not any(self.windows)

    def _by_layer(self, measure: Callable[..., np.ndarray]) -> np.ndarray:
        windows = self.windows or (0,)
        result = np.empty((len(self.present), len(windows), 1, self.present.shape[1]))
        for step, present in enumerate(self.present):
            starts = (int(self.open_block[step, 0]),) if self.kind == "open-block" else self.block_starts
            queries = (int(self.queries[step, 0]), int(self.queries[step, 1]))
            of_window = {window: measure(self.kind, starts, queries, present, window) for window in set(windows)}
            result[step, :, 0] = [of_window[window] for window in windows]
        return result


def query_counts(present: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Q, how many queries each step has, (T,): the tokens there from `queries[t, 0]` up to `queries[t, 1]`."""
    positions = np.arange(present.shape[1])
    asking = (positions >= queries[:, :1]) & (positions < queries[:, 1:])
    return (present & asking).sum(axis=1)
