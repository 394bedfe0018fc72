"""Movement of sinks from one step to the next, and what the same recording would show if only chance, or only the
filling in of masks, moved them. NumPy only; shapes as in `layer_run`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.registry import Implemented, Registry
from analysis.sinks import definitions
from analysis.sinks.layer_run import LayerRun, Sums
from analysis.sinks.metrics import temporal_variance
from analysis.sinks.step_inputs import TokenState, is_decided
from analysis.specs import SinkParams
from analysis.words import UNTRAINED, UNTRAINED_LABEL


@dataclass(frozen=True)
class Coincidence:
    """Event that the birth or death of a sink can coincide with. title: as the end of "coincides with"."""

    name: str
    title: str
    help: str


@dataclass(frozen=True)
class MovementNull(Implemented):
    """A null that movement is compared with. title: for legends and tables; sentence: what it is; brief: its name for a
    reader who is new to it, empty where that is the title; label: that name in a figure, empty where it is the same.
    One that runs the same inputs through models with other weights has what draws these
    (analysis/recording/weight_nulls.py).
    """

    name: str
    title: str
    sentence: str
    brief: str = ""
    label: str = ""

    @property
    def called(self) -> str:
        """The name that sentences give it."""
        return self.brief or self.title

    @property
    def labelled(self) -> str:
        """The name that figures give it."""
        return self.label or self.called

    @property
    def weights(self) -> bool:
        """True where it is models with other weights."""
        return self.implementation is not None


COINCIDENCES: Registry[Coincidence] = Registry(
    Coincidence("written", "its token being written", "The token at the sink was written between the two steps."),
    Coincidence("neighbour", "a neighbour being written", "Not its own token, but the one before or after it was."),
    Coincidence("block", "a block being opened", "Neither, but the second step writes in a new block."),
    Coincidence("nothing", "nothing", "None of these: attention moved by itself."),
)
"""Events that a birth or death of a sink can coincide with; the first that holds."""


def movement(run: LayerRun, sinks: np.ndarray) -> Sums:
    """Return sums over the pairs of steps that follow each other. sinks (T, G, S).

    pairs (): such pairs. change_squares (G,): squared changes of the corrected share at the positions both steps hold;
    changes (): how many. births, deaths (G, C): positions that become a sink, or stop being one, by what that coincides
    with (`COINCIDENCES`). alive (G,): sinks that could have died. centroid_variance (G,): Var_t(c_t/S), NaN where
    fewer than two steps have sinks.
    """
    change = np.diff(run.corrected_share, axis=0)
    both = np.isfinite(change)
    causes = _one_hot_causes(run)
    return {
        "pairs": np.asarray(float(run.steps - 1)),
        "change_squares": np.square(np.where(both, change, 0), dtype=np.float64).sum(axis=(0, 2)),
        "changes": both[:, 0].sum(dtype=np.float64),
        "births": _by_cause(sinks[1:] & ~sinks[:-1], causes),
        "deaths": _by_cause(sinks[:-1] & ~sinks[1:], causes),
        "alive": sinks[:-1].sum(axis=(0, 2), dtype=np.float64),
        "centroid_variance": _centroid_variance(run, sinks),
    }


def written_between(state: np.ndarray) -> np.ndarray:
    """Flag the tokens written between a step and the next, (T − 1, S): absent or undecided before, decided after."""
    decided = is_decided(state)
    return ~decided[:-1] & decided[1:]


def _one_hot_causes(run: LayerRun) -> np.ndarray:
    """Encode what a change at each position between two steps coincides with, (T − 1, S, C) float32."""
    written = written_between(run.state)
    neighbour = np.zeros_like(written)
    neighbour[:, 1:] |= written[:, :-1]
    neighbour[:, :-1] |= written[:, 1:]
    start, end = run.pattern.open_block.T
    # A block of one token, as autoregressive decoding has, is opened in every step: that counts as writing.
    opened = (np.diff(start) != 0) & (end[1:] - start[1:] > 1)
    index = np.where(written, 0, np.where(neighbour, 1, np.where(opened[:, None], 2, 3)))
    return (index[..., None] == np.arange(len(COINCIDENCES))).astype(np.float32)


def _by_cause(happened: np.ndarray, causes: np.ndarray) -> np.ndarray:
    return np.matmul(happened.astype(np.float32), causes).sum(axis=0, dtype=np.float64)


def _centroid_variance(run: LayerRun, sinks: np.ndarray) -> np.ndarray:
    steps, scopes, positions = sinks.shape
    flat = np.nan_to_num(run.by_scope).reshape(-1, positions)
    lengths = np.repeat(run.lengths, scopes)
    centroid = definitions.sink_centroid(flat, sinks.reshape(-1, positions), lengths)
    return temporal_variance(centroid.reshape(steps, scopes))


# --- nulls of the same recording --------------------------------------------------------------------------------


def shuffled(run: LayerRun, sinks: np.ndarray, draws: int, rng: np.random.Generator) -> Sums:
    """Movement with the positions of each step shuffled among those of the same state, every layer alike, so that each
    step has as many sinks of each state as it had: the mean over `draws`.
    """
    parts = [movement(changed, flags) for changed, flags in _shuffles(run, sinks, draws, rng)]
    return {name: definitions.mean_of_finite(np.stack([part[name] for part in parts])) for name in parts[0]}


def held_fixed(run: LayerRun, params: SinkParams) -> Sums:
    """Movement where each position keeps its mean corrected share for as long as its token is in one state: only the
    writing of tokens moves anything.
    """
    share = run.corrected_share
    fixed = np.full_like(share, np.nan)
    for state in TokenState:
        there = (run.state == state) & run.present
        times = there.sum(axis=0)
        total = np.where(there[:, None], np.nan_to_num(share), 0).sum(axis=0)
        mean = total / np.where(times > 0, times, np.nan)
        fixed = np.where(there[:, None], mean, fixed)
    changed = run.with_mass((fixed * run.uniform)[:, :-1])
    return movement(changed, changed.sinks(params))


def _shuffles(
    run: LayerRun, sinks: np.ndarray, draws: int, rng: np.random.Generator
) -> Iterator[tuple[LayerRun, np.ndarray]]:
    # Positions sorted by state stand at the places of positions sorted by state and a random number.
    places = np.argsort(run.state, axis=1, kind="stable")
    for _ in range(draws):
        drawn = np.lexsort((rng.random(run.state.shape), run.state), axis=1)
        source = np.empty_like(places)
        np.put_along_axis(source, places, drawn, axis=1)
        share = np.take_along_axis(run.corrected_share, source[:, None], axis=2)
        yield run.with_mass((share * run.uniform)[:, :-1]), np.take_along_axis(sinks, source[:, None], axis=2)


MOVEMENT_NULLS: Registry[MovementNull] = Registry(
    MovementNull("shuffled", "random positions", "as many sinks, in every step, at random positions of the same state"),
    MovementNull(
        "fixed",
        "shares held fixed",
        "every position keeps its mean share while its token's state stays, so that only writing moves sinks",
        "writing alone",
        "writing alone (attention fixed)",
    ),
    MovementNull(
        "random",
        "random weights",
        "models of the same shape with random weights on the same inputs",
        implementation="analysis.recording.weight_nulls:draw_random",
    ),
    MovementNull(
        "permuted",
        "permuted weights",
        "the model with the entries of each weight matrix in random order, on the same inputs",
        "shuffled weights",
        implementation="analysis.recording.weight_nulls:permuted_like",
    ),
    MovementNull(
        "matched",
        "logit-matched random weights",
        "random weights whose attention logits spread as the trained ones do, layer by layer, on the same inputs",
        UNTRAINED,
        UNTRAINED_LABEL,
        implementation="analysis.recording.weight_nulls:matched_like",
    ),
)
"""Nulls for movement."""


def null_name(title: str) -> str:
    """Return what figures call a null, by its title in tables; anything else is what it is."""
    return next((null.labelled for null in MOVEMENT_NULLS.values() if null.title == title), title)


WEIGHT_NULLS = tuple(name for name, row in MOVEMENT_NULLS.items() if row.weights)
"""Those that are other weights. Random weights attend almost uniformly, which any trained model beats."""


def weight_nulls(skip_matched: bool) -> tuple[str, ...]:
    """Return the rows of `WEIGHT_NULLS` that a set shows its inputs to. skip_matched: of `SetParams`."""
    return tuple(name for name in WEIGHT_NULLS if name != "matched" or not skip_matched)
