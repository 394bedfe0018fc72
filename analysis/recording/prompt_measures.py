"""Measures inside a network on the steps of one recorded prompt: its own network, or one of another null, as random
weights, over the same inputs. Each pairs a measure with its null (`Paired`).

Shapes: T steps, L layers, H heads, S positions. Mass is in units in which uniform attention gives 1 on average.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from analysis.attention import AttentionInputs, Edit, MassObserver, Observed, Observer, together
from analysis.errors import UserError
from analysis.models.loaded import LoadedModel
from analysis.recording.batches import PromptRun, alike_steps, show_steps, show_texts, step_layout, steps_at_once
from analysis.recording.interventions import AddedKey
from analysis.recording.observers import (
    BlockStates,
    ClampedChannels,
    DriftObserver,
    LargestStates,
    LikenessObserver,
    logit_lens,
    other_channels,
)
from analysis.sinks.massive import chance_on_sinks, on_sinks
from analysis.sinks.pairing import DRIFTS, Paired, means_of_both, queries_apart, read_at_sinks
from analysis.sinks.step_inputs import TokenState
from analysis.specs import SinkParams

OnLogits = Callable[[int, torch.Tensor], None]
"""Called with a step and the logits of its text (S, V)."""
_REFERENCE, _COMPARED = 0.25, (0.5, 1.0)  # at which parts of the steps maps are kept, and compared with those kept
_CHANNELS = 4  # massive ones that are clamped


@dataclass(frozen=True)
class PromptMeasures:
    """Measures of a prompt's forwards. mass (T, L, H, S) float16 and value_norm (T, L, H_kv, S) float32, NaN where a
    token is absent; drift: by name of `DRIFTS`, (T, L, S) float32, NaN in the first step.

    apart: of `queries_apart`. carried: whether the token of a layer's largest residual channel is a sink of its step,
    and how likely a random token of the same state is one. other_heads, other_prompt: likeness of a head's map to its
    own of an earlier step, against that step's map of other heads of its layer, and of another prompt (NaN without).
    """

    mass: np.ndarray
    value_norm: np.ndarray
    drift: dict[str, np.ndarray]
    apart: Paired
    carried: Paired
    other_heads: Paired
    other_prompt: Paired

    @property
    def by_layer(self) -> np.ndarray:
        """Mass averaged over heads, (T, L, S) float32."""
        return self.mass.astype(np.float32).mean(axis=2)


def measure(
    network: LoadedModel,
    recording: PromptRun,
    params: SinkParams,
    seed: int = 0,
    beside: PromptRun | None = None,
    on_logits: OnLogits = lambda step, logits: None,
) -> PromptMeasures:
    """Run the steps of a recording through a network once and measure what `PromptMeasures` holds.

    beside: another prompt's recording with as many prompt tokens and steps, whose maps are a null; without one, that
    null is NaN. on_logits: called with each step and its logits (S, V). Raises UserError for a recording whose steps
    ran parts of the text over kept keys.
    """
    require_whole_forwards(network, recording)
    run, rng = recording.run, np.random.default_rng([seed, recording.index])
    steps, positions = run.state.shape
    layers, heads = network.geometry.layers, network.geometry.heads
    mass = np.full((steps, layers, heads, positions), np.nan, np.float16)
    drift = np.full((steps, layers, len(DRIFTS), positions), np.nan, np.float32)
    norms: np.ndarray | None = None
    apart = np.full((2, steps, layers), np.nan)
    largest = np.zeros((steps, layers, 1), np.int64)
    masses, drifts, maps = MassObserver(), DriftObserver(successive=True), _Maps(recording, beside)
    at: dict[int, torch.Tensor] = {}  # by layer, the position of the largest magnitude of each sequence
    with BlockStates(network, lambda layer, states: at.update({layer: _largest(states)}), whole_batch=True):
        for batch in alike_steps(network, recording, steps_at_once(network, positions)):
            _tell_apart(masses, recording, batch, rng)
            # The other prompt's text comes last, and is seen by the maps alone.
            texts = [*(recording.tokens[step] for step in batch), *maps.watch(batch)]
            own = _first(len(batch), together(masses, drifts))
            logits = show_texts(network, recording, texts, batch[0], together(own, maps.observer))
            seen, drifted = masses.take(), drifts.take().numpy()
            if norms is None:
                norms = np.full((steps, layers, seen.value_norm.shape[2], positions), np.nan, np.float32)
            for row, step in enumerate(batch):
                there = run.present[step]
                apart[:, step] = _step_apart(seen, row)
                mass[step][..., there] = seen.mass[row].numpy() * float(run.pattern.relative[step])
                drift[step][..., there] = drifted[row]
                norms[step][..., there] = seen.value_norm[row].numpy()
                where = [int(at[layer][row]) for layer in sorted(at)]
                largest[step, :, 0] = np.flatnonzero(there)[where]
                on_logits(step, logits[row])
            maps.note()
    assert norms is not None
    sinks = run.with_mass(mass.astype(np.float32).mean(axis=2)).sinks(params)[:, -1]
    likeness, other_heads, other_prompt = maps.means(layers)
    return PromptMeasures(
        mass,
        norms,
        dict(zip(DRIFTS, np.moveaxis(drift, 2, 0), strict=True)),
        means_of_both(apart),
        Paired(
            on_sinks(largest, sinks)[..., 0].mean(axis=0),
            chance_on_sinks(largest, sinks, run.state)[..., 0].mean(axis=0),
        ),
        Paired(likeness, other_heads),
        Paired(likeness, other_prompt),
    )


def queries_apart_of(network: LoadedModel, recording: PromptRun, seed: int, on_step: Callable[[int], None]) -> Paired:
    """Return `queries_apart` of the steps of a recording, by forwards of a network over their texts; NaN without any
    forward where no step has an undecided token. on_step: called with the number of forwards that were run. Raises
    UserError as `measure` does.
    """
    run, rng = recording.run, np.random.default_rng([seed, recording.index])
    apart = np.full((2, run.steps, network.geometry.layers), np.nan)
    undecided = (run.state == TokenState.UNDECIDED).any(axis=1)
    if not undecided.any():
        return Paired(*apart[:, 0])
    require_whole_forwards(network, recording)
    observer = MassObserver()
    for alike in alike_steps(network, recording):
        batch = [step for step in alike if undecided[step]]
        if batch:
            _tell_apart(observer, recording, batch, rng)
            show_steps(network, recording, batch, observer)
            seen = observer.take()
            for row, step in enumerate(batch):
                apart[:, step] = _step_apart(seen, row)
            on_step(len(batch))
    return means_of_both(apart)


def require_whole_forwards(network: LoadedModel, recording: PromptRun) -> None:
    """Raise UserError for a recording whose steps ran parts of the text over kept keys."""
    if not network.architecture.by_blocks and recording.run.pattern.partial.any():
        raise UserError("This text was written over kept keys. Record it with the cache set to none.")


def _tell_apart(observer: MassObserver, recording: PromptRun, steps: Sequence[int], rng: np.random.Generator) -> None:
    """Have an observer tell apart the mass of the undecided queries of steps that run as one batch, and of as many
    random ones.
    """
    run = recording.run
    asking = slice(*run.pattern.queries[steps[0]].tolist())
    undecided = [(run.state[step, run.present[step]] == TokenState.UNDECIDED)[asking] for step in steps]
    observer.first = asking.start
    observer.groups = torch.from_numpy(np.stack([undecided, [rng.permutation(row) for row in undecided]]))


def _step_apart(seen: Observed, row: int) -> Paired:
    """Return `queries_apart` of one sequence of a forward, observed as `_tell_apart` has it."""
    assert seen.paid is not None
    return queries_apart(*(mass[row : row + 1].numpy() for mass in (seen.mass, *seen.paid)))


def _largest(states: torch.Tensor) -> torch.Tensor:
    """The position of the largest magnitude of each sequence, (B,), of states (B, S, hidden)."""
    return states.abs().amax(dim=2).argmax(dim=1).cpu()


def _first(count: int, observer: Observer) -> Observer:
    """An observer of the first sequences of a batch."""

    def observe(layer: int, inputs: AttentionInputs) -> None:
        observer(layer, inputs if len(inputs.query) == count else inputs.rows(count))

    return observe


class _Maps:
    """Comparison of the maps of later steps with those of an early one, of as many tokens: with a head's own, with
    those of other heads, and with another prompt's (`LikenessObserver`).
    """

    def __init__(self, recording: PromptRun, beside: PromptRun | None) -> None:
        run, last = recording.run, recording.run.steps - 1
        self.reference = round(_REFERENCE * last)
        later = {round(part * last) for part in _COMPARED} - {self.reference}
        self.later = {step for step in later if run.lengths[step] == run.lengths[self.reference]}
        self.observer, self._found = LikenessObserver(), list[np.ndarray]()
        self._other: list[np.ndarray] = []
        if beside is not None and beside.run.steps == run.steps and self.later:
            alike = beside.run.prompt_length == run.prompt_length and (beside.run.lengths == run.lengths).all()
            self._other = [beside.tokens[self.reference]] if alike else []

    def watch(self, batch: Sequence[int]) -> list[np.ndarray]:
        """Keep and compare what is in the next batch of steps; return the texts that follow its own."""
        keeps = self.reference in batch and bool(self.later)
        texts = self._other if keeps else []
        self.observer.kept = [batch.index(self.reference), *range(len(batch), len(batch) + len(texts))] if keeps else ()
        self.observer.compared = [row for row, step in enumerate(batch) if step in self.later]
        return texts

    def note(self) -> None:
        """Note what the batch just run showed."""
        if self.observer.compared:
            self._found += list(self.observer.take().numpy())

    def means(self, layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return likeness, mean over heads and later steps, (L,) each: to a head's own, to other heads', to another
        prompt's. NaN where texts grow.
        """
        if not self._found:
            nothing = np.full(layers, np.nan)
            return nothing, nothing, nothing
        own, heads, prompts = np.moveaxis(np.mean(self._found, axis=0).mean(axis=1), -1, 0)
        return own, heads, prompts


# --- interventions ----------------------------------------------------------------------------------------------


def mass_of(
    network: LoadedModel, recording: PromptRun, adding: Callable[[list[int]], Edit] | None = None
) -> np.ndarray:
    """Return the mass that the steps of a recording show, averaged over heads, (T, L, S) float32, NaN where a token is
    absent. Raises UserError as `measure` does.

    adding: gives the edit that adds a last key to steps that run as one batch; the mass is then what queries would pay
    the text's own keys without it.
    """
    require_whole_forwards(network, recording)
    run = recording.run
    steps, positions = run.state.shape
    mass = np.full((steps, network.geometry.layers, positions), np.nan, np.float32)
    own = MassObserver()

    def without_added(layer: int, inputs: AttentionInputs) -> None:
        mask = None if inputs.mask is None else inputs.mask[..., :-1]
        own(layer, replace(inputs, key=inputs.key[:, :, :-1], value=inputs.value[:, :, :-1], mask=mask))

    for batch in alike_steps(network, recording):
        own.first = int(run.pattern.queries[batch[0], 0])
        show_steps(
            network,
            recording,
            batch,
            own if adding is None else without_added,
            None if adding is None else adding(batch),
        )
        for step, seen in zip(batch, own.take().mass.mean(dim=2).numpy(), strict=True):
            mass[step][:, run.present[step]] = seen * float(run.pattern.relative[step])
    return mass


@dataclass(frozen=True)
class Channels:
    """Residual channels of a network: those that reach furthest beyond the median magnitude of their layer, and as many
    random others, (K,) int64 each.
    """

    massive: torch.Tensor
    others: torch.Tensor


def channels_of(network: LoadedModel, recordings: Sequence[PromptRun], seed: int) -> Channels:
    """Return the massive channels of a network by the first, middle and last steps of recordings, and others."""
    with LargestStates(network) as states:
        for recording in recordings:
            last = recording.run.steps - 1
            for step in sorted({0, last // 2, last}):
                show_steps(network, recording, [step])
    massive = states.channels(_CHANNELS)
    return Channels(massive, other_channels(massive, network.geometry.hidden, seed))


def clamped(network: LoadedModel, recording: PromptRun, channels: torch.Tensor) -> np.ndarray:
    """Return the mass of `mass_of` with residual channels clamped to the median magnitude behind each layer."""
    with ClampedChannels(network, channels):
        return mass_of(network, recording)


def with_added_token(network: LoadedModel, recording: PromptRun, sources: np.ndarray, silent: bool) -> np.ndarray:
    """Run the steps of a recording with one token more in every layer, seen by all and attending to itself alone
    (arXiv 2601.19657): its key is that of the position `sources[t]` (T,), its value zero if `silent`, else that one's.
    Returns the mass of `mass_of`, of each query's attention to the text alone, so that dilution does not count.
    """
    return mass_of(network, recording, lambda steps: AddedKey(torch.from_numpy(sources[steps]), silent))


def added_sources(
    mass: np.ndarray, sinks: np.ndarray, state: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each step with most mass, and a random one of its state that is no sink where there is
    one, (T,) each: the sources of an added sink token and of its null.

    mass (T, S): of all layers together, NaN where absent; sinks (T, S) bool; state (T, S).
    """
    heaviest = np.nanargmax(mass, axis=1)
    drawn = np.empty_like(heaviest)
    for step, top in enumerate(heaviest):
        others = (np.arange(mass.shape[1]) != top) & (state[step] != TokenState.ABSENT)
        same = others & (state[step] == state[step, top])
        pools = (same & ~sinks[step], same, others & ~sinks[step], others)
        drawn[step] = rng.choice(np.flatnonzero(next(pool for pool in pools if pool.any())))
    return heaviest, drawn


def lens_at_sinks(network: LoadedModel, recording: PromptRun, sinks: np.ndarray) -> Paired:
    """Return `read_at_sinks` of the middle step of a recording. sinks (T, S): of all layers together.

    NaN where the step has no undecided sink, or no other undecided token. Raises UserError as `logit_lens` does.
    """
    run = recording.run
    step = round(0.5 * (run.steps - 1))
    text = np.flatnonzero(run.present[step])
    undecided = run.state[step, text] == TokenState.UNDECIDED
    if not undecided.any():
        return Paired(*np.full((2, network.geometry.layers), np.nan))
    tokens = torch.from_numpy(recording.tokens[step, text].astype(np.int64))[None]
    places = torch.from_numpy(np.flatnonzero(undecided))
    read = logit_lens(network, tokens, places, step_layout(network, recording, step))
    hits = read.argmax(dim=-1).numpy() == run.final[text[undecided]]
    return read_at_sinks(hits, sinks[step, text[undecided]])
