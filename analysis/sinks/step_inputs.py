"""Positions of a step's input: the state of each token (given, decided or not yet), its changes, its place and its
name, its readings at each layer, and the queries that see it. NumPy only.

A position that is still masked is never named by the word that it later becomes.

Whatever the model's mask, a query sees the keys up to the end of a block of its own: of the whole text where attention
is bidirectional, of itself where it is causal, else of the block it stands in. Through a window it sees fewer: those
shortly before the block, and where attention is bidirectional as many on either side of it.

Shapes: T steps, L layers, S positions, Q queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from analysis.registry import Registry
from analysis.specs.observing import AttentionKind


class TokenState(IntEnum):
    """State of an input token at a step.

    GIVEN: the prompt's. COMMITTED: written, for good or until it is edited. ACCEPTED: written, but the sampler may take
    it back. UNDECIDED: [MASK], or noise where a model's noise is random tokens. ABSENT: not in this forward.
    """

    ABSENT = -1
    GIVEN = 0
    COMMITTED = 1
    ACCEPTED = 2
    UNDECIDED = 3


def mask_states(undecided: np.ndarray, present: np.ndarray, prompt_length: int) -> np.ndarray:
    """The states (T, S) int8 where a token is written once, in place of a [MASK].

    undecided, present (T, S): which tokens are [MASK], and which are there. A [MASK] of the prompt that gets filled is
    not given but committed.
    """
    filled = np.logical_or.accumulate(undecided, axis=0)
    given = (np.arange(undecided.shape[1]) < prompt_length) & ~filled
    states = np.where(given, TokenState.GIVEN, TokenState.COMMITTED)
    return np.where(present, np.where(undecided, TokenState.UNDECIDED, states), TokenState.ABSENT).astype(np.int8)


# --- what steps change ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Changes:
    """Changes that each step made to the tokens of its input, (T, S) bool each.

    written: undecided or absent before, decided after. edited: decided before and after, by another token.
    taken_back: decided before, undecided after.
    """

    written: np.ndarray
    edited: np.ndarray
    taken_back: np.ndarray


def changes(tokens: np.ndarray, state: np.ndarray, final: np.ndarray, mask_token: int | None) -> Changes:
    """Return what each step changed, by the inputs (T, S) that follow each other and the finished text (S,)."""
    decided = is_decided(state)
    after_tokens, after = after_steps(tokens, state, final, mask_token)
    return Changes(
        written=~decided & after,
        edited=decided & after & (tokens != after_tokens),
        # A token that a later step does not hold was not taken back: it is padding there.
        taken_back=decided & np.concatenate([state[1:] == TokenState.UNDECIDED, ~after[-1:]]),
    )


def after_steps(
    tokens: np.ndarray, state: np.ndarray, final: np.ndarray, mask_token: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens after each step, and which of them are decided, (T, S) each. Arguments: those of `changes`."""
    finished = final != mask_token  # all of them where there is no [MASK]
    return np.concatenate([tokens[1:], final[None]]), np.concatenate([is_decided(state[1:]), finished[None]])


def is_decided(state: np.ndarray) -> np.ndarray:
    """Flag the tokens given or written, of the shape of `state`."""
    return (state != TokenState.UNDECIDED) & (state != TokenState.ABSENT)


# --- where in the text ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """A part of the tokens of each step, to look at sinks on. name: as it is chosen and stands in addresses.

    holds: (state (T, S), open blocks (T, 2), length of the prompt) -> (T, S) bool.
    """

    name: str
    help: str
    holds: Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _before(state: np.ndarray, end: np.ndarray | int) -> np.ndarray:
    """Flag the positions before `end`, that of every step or (T, 1) of each."""
    return np.arange(state.shape[1]) < end


ALL = "all tokens"
SPLITS: Registry[Split] = Registry(
    Split(ALL, "every token", lambda state, open_block, prompt_length: state != TokenState.ABSENT),
    Split(
        "[MASK] only",
        "tokens that are not decided yet: [MASK], or noise where a model's noise is random tokens",
        lambda state, open_block, prompt_length: state == TokenState.UNDECIDED,
    ),
    Split(
        "without [MASK]", "tokens that are given or written", lambda state, open_block, prompt_length: is_decided(state)
    ),
    Split(
        "in the prompt",
        "those of the prompt",
        lambda state, open_block, prompt_length: is_decided(state) & _before(state, prompt_length),
    ),
    Split(
        "in finished blocks",
        "those written in blocks before the open one",
        lambda state, open_block, prompt_length: (
            is_decided(state) & ~_before(state, prompt_length) & _before(state, open_block[:, :1])
        ),
    ),
    Split(
        "written in the open block",
        "those already written in the block that is being written",
        lambda state, open_block, prompt_length: (
            is_decided(state) & ~_before(state, prompt_length) & ~_before(state, open_block[:, :1])
        ),
    ),
)


def undecided_named(text: str, noise: str | None) -> str:
    """A name or sentence of these, with what undecided tokens are called where a model's noise is random tokens. noise:
    of `Architecture`.
    """
    return text.replace("[MASK]", "undecided") if noise == "uniform" else text


REGIONS = {
    "[MASK] only": "[MASK]",
    "in the prompt": "prompt",
    "in finished blocks": "finished blocks",
    "written in the open block": "open block, written",
}
"""The splits that every token is in one of, and what they are called in a legend."""


def position_name(position: int, text: str, hidden: str = "", later: str = "") -> str:
    """Return the name of a position: its token where one stands there, else what hides it and what it becomes.

    text: of the token that stands there. hidden: what is there instead, such as "still masked"; empty where nothing
    hides the token. later: the text that comes to stand there, empty where there is none.
    """
    if not hidden:
        return f"‘{_visible(text)}’ at {position}"
    becomes = f" (later ‘{_visible(later)}’)" if later else ""
    return f"position {position}, {hidden}{becomes}"


def _visible(text: str) -> str:
    return text.strip() or "␣"


@dataclass(frozen=True)
class TokenNames:
    """The positions of a recording by name. texts: of each token id. tokens (T, S) ids; state (T, S), a `TokenState`
    each; final (S,) ids. mask_token: the id of [MASK], None where there is none. noise: as of `RecordedModel`.
    """

    texts: Mapping[int, str]
    tokens: np.ndarray
    state: np.ndarray
    final: np.ndarray
    mask_token: int | None = None
    noise: str | None = None

    def at(self, step: int) -> list[str]:
        """Return the name of each position in the input of a step."""
        hidden: dict[int, str] = {TokenState.UNDECIDED: f"still {self._masked}", TokenState.ABSENT: "not there yet"}
        return [
            position_name(position, self.texts.get(token, ""), hidden.get(state, ""), self._later(position))
            for position, (token, state) in enumerate(
                zip(self.tokens[step].tolist(), self.state[step].tolist(), strict=True)
            )
        ]

    def over_steps(self) -> list[str]:
        """Return the name of each position over all steps, which says in how many of them it was masked."""
        there = (self.state != TokenState.ABSENT).sum(axis=0).tolist()
        masked = (self.state == TokenState.UNDECIDED).sum(axis=0).tolist()
        return [
            position_name(position, self.texts.get(token, ""), self._in_steps(hidden, steps), self._later(position))
            for position, (token, hidden, steps) in enumerate(zip(self.final.tolist(), masked, there, strict=True))
        ]

    def short(self) -> list[str]:
        """Return each position in the fewest words, for boxes: its token, or what it becomes where it was masked."""
        later = self.later()
        return [
            f"{position}{', later' if position in later else ''} ‘{_visible(self.texts.get(token, ''))}’"
            for position, token in enumerate(self.final.tolist())
        ]

    def later(self) -> frozenset[int]:
        """Return the positions that were masked in some step: their final token came later."""
        return frozenset(np.flatnonzero((self.state == TokenState.UNDECIDED).any(axis=0)).tolist())

    @property
    def _masked(self) -> str:
        return "noise" if self.noise == "uniform" else "masked"

    def _in_steps(self, hidden: int, steps: int) -> str:
        if not hidden:
            return ""
        return f"still {self._masked}" if hidden == steps else f"{self._masked} in {hidden} of {steps} steps"

    def _later(self, position: int) -> str:
        token = int(self.final[position])
        return "" if token == self.mask_token else _visible(self.texts.get(token, ""))


def settled_layer(hits: np.ndarray) -> np.ndarray:
    """The first layer from which on a position's likeliest token is the one it becomes, (L, N) -> (N,); L for none."""
    return len(hits) - np.cumprod(hits[::-1], axis=0).sum(axis=0)


def sentence(hits: np.ndarray, sinks: np.ndarray) -> str:
    """Say how many undecided sinks are read as what they become by the last layer, beside the other undecided tokens;
    or how many of all undecided tokens, where either group is empty.

    hits (L, N): whether the likeliest token is the one the position becomes. sinks (N,).
    """
    if not sinks.any() or sinks.all():
        return (
            f"{int(hits[-1].sum())} of {len(sinks)} undecided tokens are read as the token they become by the last "
            f"layer. {'All' if sinks.any() else 'None'} of them are sinks, so there is nothing to compare."
        )
    those, others = hits[-1, sinks], hits[-1, ~sinks]
    settled = f", from layer {np.median(settled_layer(hits)[sinks][those]):.0f} on in the median" if those.any() else ""
    return (
        f"{int(those.sum())} of {len(those)} undecided sinks are read as the token they become by the last layer "
        f"({int(others.sum())} of {len(others)} other undecided tokens){settled}. One step of one prompt: no interval "
        "is given."
    )


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
