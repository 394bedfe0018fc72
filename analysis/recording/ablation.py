"""Changing attention at chosen positions during denoising, to see what a model needs its sinks for.

A way of choosing is one row of `TARGETS` (analysis/specs/ablation.py), which names its function; what is done to
the positions is one row of `INTERVENTIONS`. Positions are chosen from an untouched forward of the same input, in every
step or in the first one. Rows of a batch are denoised under conditions of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from analysis.attention import Edit
from analysis.models.family import Architecture
from analysis.models.layout import Layout, Span
from analysis.models.loaded import LoadedModel
from analysis.models.tokenizer import token_strings
from analysis.recording.denoising import Again, Forward, Step, stop_tokens
from analysis.recording.interventions import EDITS, InLayers
from analysis.registry import Implementations
from analysis.sinks import definitions as sink_analysis
from analysis.sinks.agreement import agreement
from analysis.sinks.definitions import KINDS
from analysis.sinks.step_inputs import TokenState, seeing_queries
from analysis.specs import CONTROLS, EARLY_SHARE, INTERVENTIONS, MASS_TOLERANCE, QUARTERS, TARGETS, SinkParams

# --- choosing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidates:
    """The positions of one step among which to choose, (S,) each: total mass, which are sinks, the `TokenState`, the
    kind as an index into `KINDS`; variance: of the position's share over the steps of the untouched run. allowed: which
    may be chosen. count: how many to choose, no more than there are sinks among these.
    """

    total: np.ndarray
    sinks: np.ndarray
    state: np.ndarray
    kinds: np.ndarray
    variance: np.ndarray
    allowed: np.ndarray
    count: int
    rng: np.random.Generator

    def heaviest(self, among: np.ndarray) -> np.ndarray:
        """The positions with most mass of those of a mask (S,) that may be chosen: `count`, or fewer where fewer are
        there.
        """
        positions = np.flatnonzero(self.allowed & among)
        return positions[np.argsort(-self.total[positions], kind="stable")][: self.count]

    def most_varying(self, sign: int) -> np.ndarray:
        """The half of the sinks whose share varies most (sign 1) or least (−1), no more than `count`."""
        pool = np.flatnonzero(self.allowed & self.sinks)
        return pool[np.argsort(-sign * self.variance[pool], kind="stable")][: min(self.count, len(pool) // 2)]

    def of_equal_mass(self, sign: int) -> np.ndarray:
        """The sinks among those of `most_varying` that hold as much mass, within `MASS_TOLERANCE`, as some of the other
        sign: of all such pairs of sets the heaviest. None where there is no such pair.
        """
        halves = [self.most_varying(1), self.most_varying(-1)]
        # The heaviest of a half alone, as the sets double with each.
        halves = [half[np.argsort(-self.total[half], kind="stable")][:_LARGEST_HALF] for half in halves]
        # Every set of some of a half, (2^size − 1, size) bool.
        sets = [(np.arange(1, 2**size)[:, None] >> np.arange(size) & 1).astype(bool) for size in map(len, halves)]
        masses = [members @ self.total[half] for members, half in zip(sets, halves, strict=True)]
        first, second = masses[0][:, None], masses[1][None]
        equal = np.abs(first - second) <= MASS_TOLERANCE * np.minimum(first, second)
        if not equal.any():
            return np.empty(0, np.int64)
        pair = np.unravel_index(np.argmax(np.where(equal, first + second, -np.inf)), equal.shape)
        side = 0 if sign > 0 else 1
        return halves[side][sets[side][pair[side]]]


_LARGEST_HALF = 8  # sinks among which sets of equal mass are looked for


Chooser = Callable[[Candidates], np.ndarray]
"""The positions chosen."""

CHOOSERS: Implementations[Chooser] = Implementations(TARGETS)


def choose_sinks(at: Candidates) -> np.ndarray:
    """The heaviest sinks."""
    return at.heaviest(at.sinks)


def choose_random(at: Candidates) -> np.ndarray:
    """As many random positions as there are sinks to choose."""
    return matched(at, at.heaviest(at.sinks), at.count)


def choose_others(at: Candidates) -> np.ndarray:
    """The heaviest that are no sinks."""
    return at.heaviest(~at.sinks)


def choose_first(at: Candidates) -> np.ndarray:
    """The first position."""
    return np.flatnonzero(at.allowed)[: min(1, at.count)]


def choose_moving(at: Candidates) -> np.ndarray:
    """The sinks that vary most."""
    return at.most_varying(1)


def choose_steady(at: Candidates) -> np.ndarray:
    """The sinks that vary least."""
    return at.most_varying(-1)


def choose_most_variable(at: Candidates) -> np.ndarray:
    """The sinks that vary most, at equal attention."""
    return at.of_equal_mass(1)


def choose_least_variable(at: Candidates) -> np.ndarray:
    """The sinks that vary least, at equal attention."""
    return at.of_equal_mass(-1)


def choose_undecided(at: Candidates) -> np.ndarray:
    """The heaviest undecided positions."""
    return at.heaviest(at.state == TokenState.UNDECIDED)


def choose_punctuation(at: Candidates) -> np.ndarray:
    """The heaviest punctuation marks."""
    return at.heaviest(at.kinds == KINDS.index("punctuation"))


def choose_words(at: Candidates) -> np.ndarray:
    """The heaviest words."""
    return at.heaviest(at.kinds == KINDS.index("word"))


def matched(at: Candidates, chosen: np.ndarray, count: int) -> np.ndarray:
    """So many random positions of the same states as those chosen, which are neither chosen nor, where there are
    enough others, sinks. Where a state has too few, as the last undecided token has no other, the rest is of any state.
    """
    free = at.allowed.copy()
    free[chosen] = False
    drawn: list[int] = []

    def draw(state: np.ndarray, wanted: int) -> None:
        pool = np.flatnonzero(free & state & ~at.sinks)
        if len(pool) < wanted:
            pool = np.flatnonzero(free & state)
        positions = at.rng.choice(pool, size=min(wanted, len(pool)), replace=False)
        free[positions] = False
        drawn.extend(positions.tolist())

    for state in np.unique(at.state[chosen[:count]]):
        draw(at.state == state, int((at.state[chosen[:count]] == state).sum()))
    draw(np.ones(len(free), bool), count - len(drawn))
    return np.array(drawn, np.int64)


_TRIES = 64  # orders in which positions are drawn; of those that miss the tolerance the nearest is taken


def equal_mass(at: Candidates, chosen: np.ndarray, wanted: float, states: Sequence[np.ndarray]) -> np.ndarray:
    """Draw random positions that hold the wanted mass within `MASS_TOLERANCE`, and are neither chosen nor sinks: in the
    first of the states (P,) bool that hold enough. Returns the nearest found if none fits, as when sinks draw more than
    all others together.
    """
    if not wanted:
        return np.empty(0, np.int64)
    others = at.allowed & ~at.sinks
    others[chosen] = False
    best, miss = np.empty(0, np.int64), np.inf
    for pool in (others & state for state in states):
        for _ in range(_TRIES):
            order = at.rng.permutation(np.flatnonzero(pool))
            masses = np.cumsum(at.total[order])
            count = int(np.searchsorted(masses, wanted))  # so many draw less, and one more draws enough
            for end in (count, count + 1):
                if 0 < end <= len(order) and abs(masses[end - 1] - wanted) < miss:
                    best, miss = order[:end], abs(float(masses[end - 1]) - wanted)
            if miss <= MASS_TOLERANCE * wanted:
                return best
    return best


@dataclass(frozen=True)
class Drawn:
    """A target's choice in a step: the number of positions, and their share of attention."""

    count: int
    share: float


ControlChooser = Callable[[Candidates, np.ndarray, Drawn], np.ndarray]
"""Function that chooses a control's positions like those that its target chose in the same step of its own text. The
array: the target's positions in the control's text, which soon differs.
"""

CONTROL_CHOOSERS: Implementations[ControlChooser] = Implementations(CONTROLS)


def control_by_state(at: Candidates, chosen: np.ndarray, like: Drawn) -> np.ndarray:
    """As many random positions, of the same states."""
    return matched(at, chosen, like.count)


def control_by_mass(at: Candidates, chosen: np.ndarray, like: Drawn) -> np.ndarray:
    """Random positions that draw as much attention: of the states of the chosen ones if those hold enough."""
    states = np.isin(at.state, at.state[chosen]), np.ones_like(at.allowed)
    return equal_mass(at, chosen, like.share * float(at.total.sum()), states)


def control_masked(at: Candidates, chosen: np.ndarray, like: Drawn) -> np.ndarray:
    """Random undecided positions that are no sinks: those that draw as much attention, or all of a step that has
    less."""
    return equal_mass(at, chosen, like.share * float(at.total.sum()), [at.state == TokenState.UNDECIDED])


# --- ablating ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """Choice of positions in one row of a batch. control: the control of `CONTROLS` that takes their place; '' for
    none.
    """

    target: str
    control: str = ""


@dataclass
class Told:
    """Measures of one row, one number per step: the share of attention that went to the positions acted on, how many
    they were, how many of these undecided, and the mean KL divergence in nats of the prediction from the untouched
    one, on the same input, over the undecided tokens, or of the next token where there are none. A row whose text has
    ended has no more steps.
    """

    share: list[float] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    divergence: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """Return the mean of each over the steps, of the divergence over each quarter of the steps as well, and of the
        share over the first half."""
        steps = len(self.divergence)
        begins = [quarter * steps // len(QUARTERS) for quarter in range(len(QUARTERS) + 1)]
        parts = [slice(begin, max(begin + 1, end)) for begin, end in pairwise(begins)]  # of few steps, some twice
        quarters = {name: float(np.mean(self.divergence[part])) for name, part in zip(QUARTERS, parts, strict=True)}
        early = {EARLY_SHARE: float(np.mean(self.share[: max(1, steps // 2)]))}
        return {name: float(np.mean(values)) for name, values in vars(self).items()} | quarters | early


@dataclass
class Ablation:
    """A `Rerun` that acts on chosen positions, row by row under a condition of its own, and notes what that did.

    prompt_length: tokens given. count: positions chosen in a step at most; None for as many as there are sinks. layers:
    where sinks are judged and acted on; all when None. window: the last tokens of the prefix that stay, where an
    intervention keeps some. variance (S,): see `Candidates`. drawn: by target, what it chose in each step, to which
    this adds; a control's target comes before it, in a row before or in an ablation with the same mapping.
    """

    model: LoadedModel
    prompt_length: int
    conditions: Sequence[Condition]
    count: int | None
    params: SinkParams
    seed: int
    intervention: str = "attention"
    layers: range | None = None
    window: int = 1
    variance: np.ndarray = field(default_factory=lambda: np.zeros(0))
    drawn: dict[str, list[Drawn]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told = [Told() for _ in self.conditions]
        self._row = INTERVENTIONS[self.intervention]
        self._rngs = [np.random.default_rng(self.seed) for _ in self.conditions]
        self._ends, self._names = stop_tokens(self.model), dict[int, str]()
        self._step, self._ended = 0, np.zeros(len(self.conditions), bool)
        self._edit: Edit | None = None
        self._positions = np.zeros((len(self.conditions), 0), bool)

    def __call__(self, forward: Forward, again: Again) -> torch.Tensor:
        """The logits of the same forward, acted on."""
        rows = len(self.conditions)
        mass = forward.observed.mass[:, self.layers or slice(None)].numpy()
        length, (first, end) = mass.shape[-1], forward.queries
        each_query = np.float32(length / (end - first))  # in these units uniform attention gives 1 on average
        mass = mass * each_query
        visible = each_query * queries_seeing(self.model.architecture, length, forward.layout, forward.queries)
        sinks = sink_analysis.find_sinks(sink_analysis.mean_mass(mass), self.params, visible)
        total = sink_analysis.total_mass(mass)
        tokens = forward.tokens[:rows].cpu().numpy()
        at = self._candidates(tokens, total, sinks)
        if self.model.architecture.noise is None and length > self.prompt_length:
            self._ended |= np.isin(tokens[:, -1], list(self._ends))  # what a row of a batch writes then is not read
        if self._edit is None or not self._row.first_step:
            self._positions = np.stack(
                [
                    np.zeros(length, bool) if ended else self._acted(row, condition, self._step)
                    for row, condition, ended in zip(at, self.conditions, self._ended, strict=True)
                ]
            )
            # Under guidance the rows stand twice, with the prompt and without.
            repeated = torch.from_numpy(self._positions).repeat(len(forward.tokens) // rows, 1)
            edit = EDITS[self.intervention](repeated)
            self._edit = edit if self.layers is None else InLayers(edit, self.layers)
        logits = again(self._edit)
        self._step += 1
        for row, told in enumerate(self.told):
            if self._ended[row]:
                continue
            positions = np.flatnonzero(self._positions[row])
            told.share.append(float(total[row][positions].sum() / total[row].sum()))
            told.count.append(len(positions))
            told.undecided.append(int((at[row].state[positions] == TokenState.UNDECIDED).sum()))
            undecided = np.flatnonzero(at[row].state[first:end] == TokenState.UNDECIDED)
            undecided = undecided if len(undecided) else np.array([-1])
            told.divergence.append(divergence(forward.logits[row, undecided], logits[row, undecided]))
        return logits

    def _candidates(self, tokens: np.ndarray, total: np.ndarray, sinks: np.ndarray) -> list[Candidates]:
        undecided = tokens == self.model.mask_token
        self._names |= token_strings(self.model.tokenizer, set(np.unique(tokens).tolist()) - set(self._names))
        kinds = sink_analysis.token_kinds(tokens, undecided, self._names, self._ends)
        length = tokens.shape[1]
        given = (np.arange(length) < self.prompt_length) & ~undecided
        state = np.where(undecided, TokenState.UNDECIDED, np.where(given, TokenState.GIVEN, TokenState.COMMITTED))
        variance = np.zeros(length)
        known = min(length, len(self.variance))
        variance[:known] = np.nan_to_num(self.variance[:known])
        everywhere = np.ones(length, bool)
        most = length if self.count is None else self.count
        counts = np.minimum(sinks.sum(axis=1), most).tolist()
        return [
            Candidates(
                *(total[row], sinks[row], state[row], kinds[row]), variance, everywhere, counts[row], self._rngs[row]
            )
            for row in range(len(tokens))
        ]

    def _acted(self, at: Candidates, condition: Condition, step: int) -> np.ndarray:
        """Return the mask of the positions to act on, (S,) bool. step: number of steps before this one."""
        if self._row.keeps:
            undecided = np.flatnonzero(at.state == TokenState.UNDECIDED)
            prefix = np.arange(len(at.state)) < (undecided[0] if len(undecided) else len(at.state))
            prefix[max(0, int(prefix.sum()) - self.window) :] = False
            at = replace(at, allowed=prefix, count=min(at.count, int((at.sinks & prefix).sum())))
        chosen = CHOOSERS[condition.target](at)
        like = Drawn(len(chosen), float(at.total[chosen].sum() / at.total.sum()))
        if condition.control:
            before = self.drawn.get(condition.target, [])[step : step + 1]
            chosen = CONTROL_CHOOSERS[condition.control](at, chosen, *(before or [like]))
        else:
            self.drawn.setdefault(condition.target, []).append(like)
        acted = np.zeros(len(at.state), bool)
        acted[chosen] = True
        # A step in which nothing is chosen is left alone, also where all else would go.
        return at.allowed & ~acted if self._row.keeps and len(chosen) else acted


def divergence(untouched: torch.Tensor, changed: torch.Tensor) -> float:
    """Return KL(untouched ‖ changed) of the predictions (N, V) in nats, mean over N."""
    before, after = untouched.float().log_softmax(dim=-1), changed.float().log_softmax(dim=-1)
    return float((before.exp() * (before - after)).sum(dim=-1).mean())


def queries_seeing(
    architecture: Architecture, length: int, layout: Layout | None, queries: Span, window: int = 0
) -> np.ndarray:
    """Count the queries that see each key of a text of this length, (S,). window: of `key_ranges`."""
    starts: tuple[int, ...] = ()
    if layout is not None and architecture.attention == "block-causal":
        starts = layout.starts(length)
    elif layout is not None and layout.open_from is not None:
        starts = (layout.open_from,)
    return seeing_queries(architecture.attention, starts, queries, np.ones(length, bool), window)


def compare(steps: list[Step], untouched: list[Step], prompt_length: int, row: int = 0) -> dict[str, Any]:
    """Compare what a row of the steps wrote with the untouched text (`sinks.agreement`).

    aligned; agreement: by position; same: which tokens are part of the alignment; missing: tokens left out before each
    of them, and at the end; confidence: the mean of the chosen tokens.
    """
    written = steps[-1].choice.output[row, prompt_length:].cpu().numpy()
    like = agreement(untouched[-1].choice.output[0, prompt_length:].cpu().numpy(), written)
    confidence = torch.cat([step.choice.confidence[row][step.choice.chosen[row]] for step in steps])
    return {
        "tokens": written.tolist(),
        "same": like.kept[1].tolist(),
        "missing": like.missing.tolist(),
        "aligned": like.aligned,
        "agreement": like.by_position,
        "confidence": float(confidence.mean()),
    }
