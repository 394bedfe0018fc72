"""Looks inside a model at what claims are about: one number per prompt and its null for each row of `CLAIM_MEASURES`.

Every look sees the same inputs, whatever the weights: some of the steps that the model itself wrote, in pairs of
neighbours. For scoring, which only asks a model for logits, `HiddenSinks` reads every text with its sinks hidden.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch

from analysis.attention import Edit, MassObserver, Observer
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording import prompt_measures
from analysis.recording.ablation import (
    CHOOSERS,
    Ablation,
    Candidates,
    Condition,
    Drawn,
    compare,
    divergence,
    matched,
    queries_seeing,
)
from analysis.recording.batches import (
    MOST_ROWS,
    PromptRun,
    at_steps,
    predicted_together,
    replayed,
    show_steps,
    steps_at_once,
)
from analysis.recording.denoising import denoise
from analysis.recording.interventions import EDITS
from analysis.recording.prompt_measures import Channels, PromptMeasures
from analysis.registry import Implementations
from analysis.sinks import definitions
from analysis.sinks.metrics import position_variance
from analysis.sinks.pairing import (
    DRIFTS,
    LEAST,
    Pair,
    ages,
    drift_of_the_most_attended,
    explained_by_position,
    lost_attention,
    most_attended,
    shallow_against_deep,
    value_norms_of_sinks,
)
from analysis.sinks.step_inputs import TokenState
from analysis.specs import CLAIM_MEASURES, Sampling, SinkParams


@dataclass(frozen=True)
class Look:
    """One prompt seen by one network. whole: the recording of all steps. steps: those looked at. beside: another prompt
    of the same length, at the same steps. channels: gives the network's massive channels, and as many others. sampling:
    of texts that are written anew, in batches of so many rows (`at_once`). mass_alone: whether no measure asks for more
    of the untouched forwards than mass and logits.
    """

    network: LoadedModel
    whole: PromptRun
    params: SinkParams
    steps: Sequence[int]
    seed: int
    channels: Callable[[], Channels]
    sampling: Sampling
    at_once: int
    beside: PromptRun | None = None
    mass_alone: bool = False

    @cached_property
    def recording(self) -> PromptRun:
        """The steps looked at, as a recording of its own."""
        return at_steps(self.whole, self.steps)

    @cached_property
    def measured(self) -> PromptMeasures:
        """Everything that one pass over the steps shows; drift between neighbouring steps alone."""
        return self._watched[0]

    @cached_property
    def _watched(self) -> tuple[PromptMeasures, list[torch.Tensor]]:
        beside = None if self.beside is None else at_steps(self.beside, self.steps)
        untouched: list[torch.Tensor] = []
        found = prompt_measures.measure(
            *(self.network, self.recording, self.params, self.seed, beside),
            on_logits=lambda step, logits: untouched.append(logits[torch.from_numpy(self._asked(step))]),
        )
        apart = np.flatnonzero(np.diff(self.steps) != 1) + 1
        drift = {name: values.copy() for name, values in found.drift.items()}
        for values in drift.values():
            values[apart] = np.nan
        return replace(found, drift=drift), untouched

    @cached_property
    def by_layer(self) -> np.ndarray:
        """Mass averaged over heads, (T, L, S) float32, in units in which uniform attention gives 1 on average."""
        if not self.mass_alone:
            return self.measured.by_layer
        prompt_measures.require_whole_forwards(self.network, self.recording)
        return replayed(self.network, self.recording, MOST_ROWS, lambda forwards: None).run.mass

    @cached_property
    def sinks(self) -> np.ndarray:
        """Sink mask by layer and, last, for all layers together, (T, L + 1, S) bool."""
        return self.recording.run.with_mass(self.by_layer).sinks(self.params)

    @cached_property
    def untouched(self) -> list[torch.Tensor]:
        """Logits of the tokens asked about in each step, (N_t, V): the undecided ones, else the one after the text."""
        if not self.mass_alone:
            return self._watched[1]
        steps = range(self.recording.run.steps)
        return [logits for _, logits in self.predictions([(step, np.empty(0, np.int64)) for step in steps])]

    def predictions(self, blocked: Sequence[tuple[int, np.ndarray]]) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each step with the logits that `untouched` has, where no query sees the positions named with it, in the
        order given. blocked: by step in ascending order, with positions in its text.
        """
        run = self.recording.run
        for alike in predicted_together(self.network, self.recording):
            rows = [row for row in blocked if row[0] in alike]
            asked = [self._asked(step) for step, _ in rows]
            longest = int(run.lengths[alike].max())
            at_once = steps_at_once(self.network, max((longest - int(places[0]) for places in asked), default=1))
            for first in range(0, len(rows), at_once):
                batch = rows[first : first + at_once]
                length = max(int(run.lengths[step]) for step, _ in batch)
                keep = max(length - int(places[0]) for places in asked[first : first + at_once])
                chosen = torch.zeros(len(batch), length, dtype=torch.bool)
                for row, (_, positions) in enumerate(batch):
                    chosen[row, positions] = True
                edit = EDITS["attention"](chosen) if chosen.any() else None
                logits = show_steps(self.network, self.recording, [step for step, _ in batch], edit=edit, keep=keep)
                for row, ((step, _), places) in enumerate(zip(batch, asked[first:], strict=False)):
                    yield step, logits[row, torch.from_numpy(places - (length - keep))]

    def _asked(self, step: int) -> np.ndarray:
        run = self.recording.run
        undecided = np.flatnonzero(run.state[step, run.present[step]] == TokenState.UNDECIDED)
        return undecided if len(undecided) else np.array([int(run.lengths[step]) - 1])

    @property
    def rng(self) -> np.random.Generator:
        """Random choices of this prompt, the same for every network."""
        return np.random.default_rng([self.seed, self.whole.index])


def steps_of(steps: int, looks: int) -> list[int]:
    """About so many steps of a recording: pairs of neighbours, evenly spread from the first to the last."""
    starts = {round(step) for step in np.linspace(0, max(0, steps - 2), max(1, looks // 2))}
    return sorted({step for start in starts for step in (start, start + 1) if step < steps})


def hiding(look: Look) -> Pair:
    """KL divergence in nats of the predictions at undecided positions, or of the next token, from the untouched ones:
    with all sinks hidden, and with as many random tokens of the same states.
    """
    return _hidden(look, lambda at: at.heaviest(at.sinks), lambda at, chosen: matched(at, chosen, len(chosen)))


def variable(look: Look) -> Pair:
    """The same with the most variable sinks hidden, and with the least variable ones that draw as much attention."""
    return _hidden(look, CHOOSERS["most-variable"], lambda at, chosen: CHOOSERS["least-variable"](at))


def _hidden(
    look: Look, choose: Callable[[Candidates], np.ndarray], control: Callable[[Candidates, np.ndarray], np.ndarray]
) -> Pair:
    run, rng = look.recording.run, look.rng
    total = look.by_layer.sum(axis=1)
    variance = position_variance(total / np.nansum(total, axis=1, keepdims=True))
    blocked: list[tuple[int, np.ndarray]] = []
    for step in range(run.steps):
        there = np.flatnonzero(run.present[step])
        sinks = look.sinks[step, -1, there]
        if sinks.sum() > len(sinks) // 2:
            continue
        at = Candidates(
            total[step, there],
            sinks,
            run.state[step, there],
            run.kinds[step, there],
            np.nan_to_num(variance[there]),
            np.ones(len(sinks), bool),
            int(sinks.sum()),
            rng,
        )
        chosen = choose(at)
        others = control(at, chosen) if len(chosen) else chosen
        if len(chosen) and len(others):
            blocked += [(step, chosen), (step, others)]
    changes = [divergence(look.untouched[step], logits) for step, logits in look.predictions(blocked)]
    return Pair(*np.reshape(changes, (-1, 2)).mean(axis=0)) if changes else Pair(np.nan, np.nan)


def changed_text(look: Look) -> Pair:
    """The share of a newly written text that is not in common with the untouched one, aligned: with all sinks hidden in
    every step, and with as many random tokens of the same states.
    """
    network, given = look.network, look.whole.run.prompt_length
    prompt = torch.from_numpy(look.whole.tokens[0, :given].astype(np.int64))[None]
    untouched = list(denoise(network, prompt, look.sampling, look.seed, growing=True))
    conditions, shared = [Condition("sinks"), Condition("sinks", "matched")], dict[str, list[Drawn]]()
    changed = []
    for first in range(0, len(conditions), look.at_once):
        batch = conditions[first : first + look.at_once]
        ablation = Ablation(network, given, batch, None, look.params, look.seed, drawn=shared)
        rows = prompt.expand(len(batch), -1)
        steps = list(denoise(network, rows, look.sampling, look.seed, ablation, growing=True))
        for row, told in enumerate(ablation.told):
            alike = compare(steps[: len(told.share)], untouched, given, row)["aligned"]
            changed.append(1 - alike if any(told.count) else np.nan)
    return Pair(*changed)


def value_norm(look: Look) -> Pair:
    state = look.recording.run.state
    return value_norms_of_sinks(look.measured.value_norm, look.sinks[:, :-1], state).means()


def clamped(look: Look) -> Pair:
    """Attention that the sinks lose when massive channels are clamped, and when as many others are."""
    channels = look.channels()
    massive, others = (
        prompt_measures.clamped(look.network, look.recording, which) for which in (channels.massive, channels.others)
    )
    return lost_attention(look.by_layer, massive, others, look.sinks[:, :-1]).means()


def _drift(look: Look, of: str) -> Pair:
    """Drift of keys and values from a step to the next, the mean of both. of: the end of the names in `DRIFTS`."""
    run, attended = look.recording.run, most_attended(look.by_layer)
    age = ages(look.whole.tokens, look.whole.run.state)[list(look.steps)]
    pairs = [
        drift_of_the_most_attended(look.measured.drift[name], attended, look.recording.tokens, run.state, age).means()
        for name in DRIFTS
        if name.endswith(of)
    ]
    return Pair(*np.mean(pairs, axis=0))


def pattern(look: Look) -> Pair:
    """Overlap of a head's map with its own of an earlier step, and the larger with another head's or prompt's."""
    own, head = look.measured.other_heads.means()
    prompt = look.measured.other_prompt.means()[1]
    return Pair(own, max(head, prompt) if np.isfinite(prompt) else head)


def added(look: Look) -> Pair:
    """Attention that sinks lose to an added sink token, and to an added random token, of each query's attention to the
    text alone.
    """
    run, mass = look.recording.run, look.by_layer
    sources = prompt_measures.added_sources(mass.mean(axis=1), look.sinks[:, -1], run.state, look.rng)
    sink, token = (
        prompt_measures.with_added_token(look.network, look.recording, source, silent)
        for source, silent in zip(sources, (True, False), strict=True)
    )
    return lost_attention(mass, sink, token, look.sinks[:, :-1]).means()


def massive(look: Look) -> Pair:
    """The layers and steps whose largest residual channel is at a sink."""
    return look.measured.carried.means()


def drift(look: Look) -> Pair:
    """The relative change of keys and values."""
    return _drift(look, "change")


def turn(look: Look) -> Pair:
    """The cosine distance of keys and values."""
    return _drift(look, "distance")


def queries(look: Look) -> Pair:
    """The agreement of the tokens that undecided and written queries attend to."""
    return look.measured.apart.means()


def lens(look: Look) -> Pair:
    """The logit lens at sinks."""
    return prompt_measures.lens_at_sinks(look.network, look.recording, look.sinks[:, -1]).means()


LOOKS: Implementations[Callable[[Look], Pair]] = Implementations(CLAIM_MEASURES)
"""Measures taken of each prompt."""
TOGETHER = "position"
"""The row that compares prompts with each other: how much of a prompt's mass the others' mass explains."""


def by_position(masses: Sequence[np.ndarray]) -> list[Pair]:
    """Return how much of each prompt's mass position explains in the first third of the layers, and in the last.

    masses: (T, L, H, S) of each prompt; positions and steps that not all have are left out. NaN for fewer than
    three prompts.
    """
    if len(masses) < LEAST:
        return [Pair(np.nan, np.nan) for _ in masses]
    steps, positions = min(len(mass) for mass in masses), min(mass.shape[-1] for mass in masses)
    stacked = np.stack([mass[:steps, ..., :positions] for mass in masses]).astype(np.float32)
    shallow, deep = shallow_against_deep(explained_by_position(stacked))
    return [Pair(*pair) for pair in zip(shallow.tolist(), deep.tolist(), strict=True)]


@dataclass(frozen=True)
class HiddenSinks(LoadedModel):
    """Model that runs each forward twice: untouched, which shows where the sinks are, and with them hidden from all
    queries.

    others: hides as many random tokens of the same states instead, drawn by the seed and the text. seen: total mass
    and sinks of batches, (B, S) each, that the untouched forward of one reading leaves for the next, which takes them.
    """

    params: SinkParams = field(default_factory=SinkParams)
    others: bool = False
    seed: int = 0
    seen: dict[bytes, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: LoadedModel, params: SinkParams, seed: int) -> Self:
        """Return a model in memory as one that reads so; the weights are shared."""
        return cls(**{known.name: getattr(model, known.name) for known in fields(model)}, params=params, seed=seed)

    def with_others(self) -> Self:
        """Return the same model hiding others. Batches read by both, this one first, take one untouched forward."""
        return replace(self, others=True)

    def predict(
        self,
        tokens: torch.Tensor,
        observer: Observer | None = None,
        edit: Edit | None = None,
        keep: int | None = None,
        layout: Layout | None = None,
        aligned: bool = True,
    ) -> torch.Tensor:
        """Logits as those of `LoadedModel.predict`. Raises UserError as it does, and ValueError for a further edit."""
        if edit is not None:
            raise ValueError("A model whose sinks are hidden takes no further edit.")
        texts = tokens.cpu().numpy()
        key = repr((texts.shape, layout)).encode() + texts.tobytes()
        shown = self.seen.pop(key, None)
        if shown is None:
            observer_of_mass = MassObserver()
            super().predict(tokens, observer_of_mass, keep=1, layout=layout, aligned=aligned)
            shown = self._shown(observer_of_mass.take().mass.numpy(), layout)
            if not self.others:
                self.seen[key] = shown
        hidden = torch.from_numpy(self._hidden(texts, *shown))
        return super().predict(tokens, observer, EDITS["attention"](hidden), keep, layout, aligned)

    def _shown(self, mass: np.ndarray, layout: Layout | None) -> tuple[np.ndarray, np.ndarray]:
        """Total mass and sinks of texts, (B, S) each. mass (B, L, H, S): of their untouched forwards."""
        length = mass.shape[-1]
        visible = queries_seeing(self.architecture, length, layout, (0, length))
        sinks = definitions.find_sinks(definitions.mean_mass(mass), self.params, visible)
        return definitions.total_mass(mass), sinks

    def _hidden(self, tokens: np.ndarray, total: np.ndarray, sinks: np.ndarray) -> np.ndarray:
        """Positions that are hidden in texts (B, S), bool."""
        length, hidden = tokens.shape[1], np.zeros(tokens.shape, bool)
        state = np.where(tokens == self.mask_token, TokenState.UNDECIDED, TokenState.GIVEN)
        nothing, everywhere = np.zeros(length, np.int64), np.ones(length, bool)
        for row, text in enumerate(tokens):
            at = Candidates(
                *(total[row], sinks[row], state[row], nothing, np.zeros(length), everywhere, int(sinks[row].sum())),
                np.random.default_rng([self.seed, *text.tolist()]),
            )
            chosen = CHOOSERS["sinks"](at)
            hidden[row, matched(at, chosen, len(chosen)) if self.others else chosen] = True
        return hidden
