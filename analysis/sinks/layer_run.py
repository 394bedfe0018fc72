"""One recording by layer: sums about its sinks that add up over prompts, and checks of their count. NumPy only.

The checks are the count under other definitions, the count in log-normal attention, and the gap or heavy tail that sets
sinks apart. Log-normal attention is independent mass, whose logarithm has the mean and the standard deviation over the
positions of the observed log-mass, per step and scope. There, about as many positions lie above mean + k·std whatever
the model does.

Shapes: T steps, L layers, G = L + 1 scopes (every layer, then all layers together), S positions, K kinds of token. Mass
is averaged over heads, in units in which uniform attention gives 1 on average (see `definitions`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.registry import Registry
from analysis.sinks import definitions
from analysis.sinks.definitions import KINDS
from analysis.sinks.metrics import CURVES
from analysis.sinks.step_inputs import ALL, SPLITS, AttentionPattern, TokenState
from analysis.specs import DEFINITIONS, SinkParams

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


DRAWS = 4  # of log-normal attention, per step
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Variant:
    """Another way of counting sinks than the one in use. title: as in 'with …'."""

    name: str
    title: str
    params: SinkParams


def _of_definition(name: str) -> Variant:
    row, params = DEFINITIONS[name], SinkParams(definition=name)
    return Variant(name, f"{row.title[0].lower()}{row.title[1:]}", params)


VARIANTS: Registry[Variant] = Registry(
    *(Variant(f"k{k:g}", f"k = {k:g}", SinkParams(k=k)) for k in (1.5, 2.0, 2.5, 3.0)),
    *(_of_definition(name) for name in ("mean-attention", "above-others")),
)
"""Three definitions at their presets, and the paper's for k from 1.5 to 3."""

CHECKS = dict.fromkeys(("iid_sinks", "gap", "gap_steps", "iid_gap", "iid_gap_steps", "tail", "iid_tail"), "G")
"""Sums of `count_checks` other than the variants, and their shapes after the prompts."""


def by_variant(run: LayerRun) -> np.ndarray:
    """Count sinks by kind under each of `VARIANTS`, summed over the steps, (V, G, K) float64."""
    judged, visible, kinds = run.judged, run.judged_visible, one_hot(run.kinds)
    known = definitions.moments(judged)
    return np.stack(
        [add_up(definitions.find_sinks(judged, row.params, visible, known), kinds) for row in VARIANTS.values()]
    )


def count_checks(run: LayerRun, params: SinkParams, rng: np.random.Generator) -> Sums:
    """Return sums over the steps, (G,) each: iid_sinks of log-normal attention; gap and iid_gap, log-ratios of the
    lightest sink to the heaviest other position (each relative to its threshold), over gap_steps and iid_gap_steps that
    have both; tail and iid_tail, the largest log-mass in standard deviations above the mean (Grubbs 1950). iid: means
    of `DRAWS` draws.
    """
    judged = run.judged
    logs = np.log(np.maximum(judged, _TINY))
    row = definitions.moments(logs)
    gap, gap_steps = _gap(judged, params, run.judged_visible)[:2]
    sums = {"gap": gap, "gap_steps": gap_steps, "tail": _tail(logs, row)}
    draws = []
    for _ in range(DRAWS):
        noise = row.mean + row.std * rng.standard_normal(logs.shape, dtype=np.float32)
        noise = np.where(np.isfinite(logs), noise, np.nan)
        gap, gap_steps, count = _gap(np.exp(noise), params, run.judged_visible)
        tail = _tail(noise, definitions.moments(noise))
        draws.append({"iid_sinks": count, "iid_gap": gap, "iid_gap_steps": gap_steps, "iid_tail": tail})
    return sums | {name: np.mean([draw[name] for draw in draws], axis=0) for name in draws[0]}


def _gap(mass: np.ndarray, params: SinkParams, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of the gaps over the steps, the number of steps with a gap, and the sinks, (G,) float64 each."""
    over = mass / np.maximum(definitions.thresholds(mass, params, visible), _TINY)
    sinks, others = over > 1, over <= 1
    lightest = np.where(sinks, over, np.inf).min(axis=-1)
    heaviest = np.where(others, over, -np.inf).max(axis=-1)
    both = np.isfinite(lightest) & np.isfinite(heaviest)
    gap = np.log(np.where(both, lightest, 1)) - np.log(np.maximum(np.where(both, heaviest, 1), _TINY))
    return gap.sum(axis=0, dtype=np.float64), both.sum(axis=0, dtype=np.float64), sinks.sum(axis=(0, 2), dtype=float)


def _tail(logs: np.ndarray, row: definitions.Moments) -> np.ndarray:
    largest = np.nanmax(logs, axis=-1) - row.mean[..., 0]
    spread = row.std[..., 0]
    return np.where(spread > 0, largest / np.where(spread > 0, spread, 1), 0).sum(axis=0, dtype=np.float64)
