"""One recording by layer, and what is measured about its sinks as sums that add up over prompts. NumPy only.

Shapes: T steps, L layers, G = L + 1 scopes (every layer, then all layers together), S positions, K kinds of token.
Mass is averaged over heads, in units in which uniform attention gives 1 on average (see `definitions`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.sinks import definitions
from analysis.sinks.attention_pattern import AttentionPattern
from analysis.sinks.definitions import KINDS
from analysis.sinks.metrics import CURVES
from analysis.sinks.token_states import ALL, SPLITS, TokenState
from analysis.specs import SinkParams

Sums = dict[str, np.ndarray]
"""Sums over a recording, by name."""


@dataclass(frozen=True)
class LayerRun:
    """A recording with its heads averaged. mass (T, L, S) float32, NaN where a token is absent; kinds (T, S) indices
    into `KINDS`, −1 where absent; state (T, S), a `TokenState` each; final (S,) token ids of the finished text.
    """

    mass: np.ndarray
    kinds: np.ndarray
    state: np.ndarray
    pattern: AttentionPattern
    prompt_length: int
    final: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.mass)

    @cached_property
    def present(self) -> np.ndarray:
        """Flag of each token that a step's forward held, (T, S)."""
        return self.state != TokenState.ABSENT

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each step, (T,)."""
        return self.present.sum(axis=1)

    @cached_property
    def by_scope(self) -> np.ndarray:
        """Mass of every layer and, last, its mean over the layers, (T, G, S)."""
        return np.concatenate([self.mass, self.mass.mean(axis=1, keepdims=True)], axis=1)

    @cached_property
    def uniform(self) -> np.ndarray:
        """The mass uniform attention gives each key, (T, G or 1, S); NaN where absent."""
        return _by_scope(self.pattern.uniform_mass)

    @cached_property
    def visible(self) -> np.ndarray:
        """Number of queries that see each key, in the units of mass, (T, G or 1, S); 0 where absent."""
        return _by_scope(self.pattern.largest_mass)

    @cached_property
    def corrected_share(self) -> np.ndarray:
        """Share of attention divided by that of uniform attention, (T, G, S)."""
        return definitions.corrected_share(self.by_scope, self.uniform)

    @property
    def judged(self) -> np.ndarray:
        """Measure that decides which positions are sinks, (T, G, S): the corrected share, as a causal mask alone piles
        mass on the first tokens. It equals the mass where every token sees all others.
        """
        return self.corrected_share

    @cached_property
    def judged_visible(self) -> np.ndarray:
        """Number of queries that see each key, in the units of `judged`, (T, G or 1, S); 0 where absent."""
        return np.where(self.uniform > 0, self.visible / np.where(self.uniform > 0, self.uniform, 1), 0)

    def sinks(self, params: SinkParams) -> np.ndarray:
        """Find the sinks of each scope, by the scope's own corrected share, (T, G, S)."""
        return definitions.find_sinks(self.judged, params, self.judged_visible)

    def with_mass(self, mass: np.ndarray) -> "LayerRun":
        """The same steps with the mass (T, L, S) that another model pays, or another rule."""
        return replace(self, mass=mass)


def _by_scope(values: np.ndarray) -> np.ndarray:
    """(T, L or 1, 1, S) -> (T, G or 1, S): the last scope is the mean over the layers."""
    layers = values[:, :, 0]
    return layers if layers.shape[1] == 1 else np.concatenate([layers, layers.mean(axis=1, keepdims=True)], axis=1)


def sums_by_kind(run: LayerRun, sinks: np.ndarray) -> Sums:
    """Return the sums whose quotients are the measures by layer and kind. sinks (T, G, S).

    steps (): steps recorded. sinks (G, K): sinks, counted anew in every step. share (G, K): their corrected shares.
    attention (G, K): their shares of attention. runs (G, K): times a position became a sink, by its kind then; a sink
    of the first step became one there. lived (G, K): steps those runs lasted, as far as they were recorded. tokens
    (K,) and token_share (G, K): all tokens of a kind and their corrected shares, sinks or not.
    """
    kinds = one_hot(run.kinds)
    share = np.nan_to_num(run.corrected_share)
    attention = np.nan_to_num(run.by_scope) / run.lengths[:, None, None]
    runs, lived = _lives(sinks, run.kinds)
    return {
        "steps": np.asarray(float(run.steps)),
        "sinks": add_up(sinks, kinds),
        "share": add_up(np.where(sinks, share, 0), kinds),
        "attention": add_up(np.where(sinks, attention, 0), kinds),
        "runs": runs,
        "lived": lived,
        "tokens": kinds.sum(axis=(0, 1)),
        "token_share": add_up(share, kinds),
    }


def counts_over_steps(run: LayerRun, sinks: np.ndarray) -> np.ndarray:
    """Count the sinks of each kind in each scope and step, (G, T, K) uint16."""
    counts = np.matmul(sinks.astype(np.float32), one_hot(run.kinds))
    return counts.transpose(1, 0, 2).astype(np.uint16)


SPLIT_CURVES = tuple(name for name, row in CURVES.items() if row.by_kind)
"""The rows of `CURVES` that can be told of a part of the tokens."""
PARTS = tuple(name for name in SPLITS if name != ALL)
"""Parts of the tokens that they are given for: `SPLITS` without all tokens."""


def curves(run: LayerRun, sinks: np.ndarray) -> np.ndarray:
    """Every row of `CURVES` for every scope, (G, C, T) float32."""
    return _curves(run, sinks, CURVES, run.present)


def split_curves(run: LayerRun, sinks: np.ndarray) -> np.ndarray:
    """Every one of `SPLIT_CURVES` for every one of `PARTS` and scope, (P, G, D, T) float32."""
    parts = (SPLITS[split].holds(run.state, run.pattern.open_block, run.prompt_length) for split in PARTS)
    return np.stack([_curves(run, sinks & there[:, None], SPLIT_CURVES, there) for there in parts])


def _curves(run: LayerRun, sinks: np.ndarray, names: Iterable[str], there: np.ndarray) -> np.ndarray:
    scopes = [
        [CURVES[name].compute(run.by_scope[:, scope], flags, there) for name in names]
        for scope, flags in enumerate(np.moveaxis(sinks, 1, 0))
    ]
    return np.array(scopes, np.float32)


def names_of_kinds(tokens: np.ndarray, state: np.ndarray, text: Mapping[int, str], end_tokens: set[int]) -> np.ndarray:
    """The kind of every token, (T, S) int8, as `definitions.token_kinds` tells it."""
    undecided = state == TokenState.UNDECIDED
    return definitions.token_kinds(tokens, undecided, text, end_tokens).astype(np.int8)


def one_hot(kinds: np.ndarray) -> np.ndarray:
    """(T, S) -> (T, S, K) float32; all 0 where there is no token."""
    return (kinds[..., None] == np.arange(len(KINDS))).astype(np.float32)


def add_up(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Values (T, G, S) added up by kind (T, S, K), over steps and positions, (G, K) float64."""
    return np.matmul(values.astype(np.float32), kinds).sum(axis=0, dtype=np.float64)


def _lives(sinks: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count runs of consecutive steps as a sink, and the steps they lasted, by the kind at their beginning, (G, K)
    each.
    """
    _, scopes, positions = sinks.shape
    runs, lived = (np.zeros(scopes * len(KINDS)) for _ in range(2))
    born_as = np.zeros((scopes, positions), np.int64)
    row = np.arange(scopes)[:, None] * len(KINDS)
    before = np.zeros((scopes, positions), bool)
    for flags, now in zip(sinks, kinds, strict=True):
        began = flags & ~before
        born_as = np.where(began, now, born_as)
        runs += np.bincount((row + born_as)[began], minlength=len(runs))
        lived += np.bincount((row + born_as)[flags], minlength=len(lived))
        before = flags
    return runs.reshape(scopes, -1), lived.reshape(scopes, -1)
