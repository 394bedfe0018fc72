"""Recording many prompts: those of one length are written together, and of a batch the heads are held in half
precision until each of its recordings is reduced.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from analysis.attention import AttentionInputs, Edit, MassObserver, Observer, stack_layers
from analysis.errors import UserError
from analysis.models.kept_keys import KeptKeys
from analysis.models.layout import Layout, Span, layout_of
from analysis.models.loaded import LoadedModel
from analysis.models.tokenizer import token_strings
from analysis.recording.denoising import choices, denoise, end_ids, own_sampling, stop_tokens
from analysis.recording.steps import Choice
from analysis.recording.trajectory import PADDING
from analysis.sinks import metrics
from analysis.sinks.layer_run import LayerRun, names_of_kinds
from analysis.sinks.step_inputs import AttentionPattern, TokenState
from analysis.specs import Sampling, SinkParams

MOST_ROWS = 16  # sequences in a batch; on two CPU cores more of them gain nothing
_PART_OF_MEMORY = 4  # a batch takes at most this fraction (1/n) of free memory
_SHOWN = 4  # recordings that a network is shown
_LOGIT_BYTES = 2**28  # of the logits of a batch
_LOGIT_COPIES = 3  # a sampler holds the logits, their probabilities and what it ranks by

OnStep = Callable[[int], None]
"""Called with the number of sequences that went through a forward."""


@dataclass(frozen=True)
class PromptRun:
    """A recorded prompt. index: its place among the prompts. tokens (T, S) int32 of every step, PADDING where absent.
    heads (T, L, H, S) float16: the mass of every head, NaN where absent. block_length: tokens per block, where the
    sampler chose it.
    """

    index: int
    run: LayerRun
    tokens: np.ndarray
    heads: np.ndarray
    block_length: int | None

    def without_mass(self) -> "PromptRun":
        """Return a small copy that holds only what replaying needs."""
        run = self.run
        pattern = replace(run.pattern)  # without what it has computed
        return replace(self, run=replace(run, mass=run.mass[:, :0], pattern=pattern), heads=self.heads[:, :0])

    def without_heads(self) -> "PromptRun":
        """The same with the mean over heads alone."""
        return replace(self, heads=self.heads[:, :0])

    def head_means(self, params: SinkParams) -> np.ndarray:
        """Return `metrics.head_means` of every head, (A, L, H)."""
        sinks = self.run.sinks(params)[:, -1]
        return metrics.head_means(
            metrics.Heads(self.heads.astype(np.float32), sinks, params, self.run.pattern.largest_mass)
        )


def row_bytes(model: LoadedModel, sampling: Sampling, prompt_length: int) -> int:
    """Bytes one sequence of a batch takes at most: mass by layer and by head of all its steps, the latter twice more
    while it is reduced, and the logits of one.
    """
    positions, steps = sampling.length(prompt_length), sampling.forwards(0)
    mass = steps * positions * (model.geometry.layers + 4) * 4
    guided = 2 if getattr(sampling, "cfg", 0) else 1
    heads = model.geometry.layers * model.geometry.heads * positions
    maps = 2 * model.geometry.heads * positions**2 * 4 if _sees_prefixes(model) else 0
    kept = mass + steps * heads * (2 + 4 + 4) + maps
    return kept + guided * (_LOGIT_COPIES * positions * model.geometry.vocabulary + heads) * 4


def rows_in(memory: int, row: int, sampling: Sampling) -> int:
    """Return how many sequences of `row` bytes go into a batch, where so many bytes are free."""
    return int(np.clip(memory // _PART_OF_MEMORY // row, 1, MOST_ROWS)) if sampling.same_alone else 1


def batches(prompts: Sequence[Sequence[int]], mask_token: int | None, rows: int) -> list[list[int]]:
    """Indices of prompts to be written together: of one length, with as many [MASK] in them, at most `rows` each."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        masks = 0 if mask_token is None else list(prompt).count(mask_token)
        groups[len(prompt), masks].append(index)
    return [group[start : start + rows] for _, group in sorted(groups.items()) for start in range(0, len(group), rows)]


def recorded(
    model: LoadedModel, prompts: Sequence[Sequence[int]], sampling: Sampling, seed: int, rows: int, on_step: OnStep
) -> Iterator[PromptRun]:
    """Every prompt recorded, batch by batch, so not in their order. sampling: of `own_sampling`. rows: most sequences
    in a batch. Raises UserError as `denoise` does.
    """
    write = _write_by_prefix if _sees_prefixes(model) else _write_by_step
    for batch in batches(prompts, model.mask_token, rows if sampling.same_alone else 1):
        prompt = torch.tensor([list(prompts[index]) for index in batch], dtype=torch.long)
        for index, steps in zip(batch, write(model, prompt, sampling, seed, on_step), strict=True):
            yield _prompt_run(model, index, prompt.shape[1], steps, getattr(sampling, "block_length", None))


def replayed(network: LoadedModel, recording: PromptRun, rows: int, on_step: OnStep) -> PromptRun:
    """The steps of a recording through another network of its family: that network's mass in place of the recorded, of
    the queries that were run, over keys kept where the recording's were.
    """
    run, shape = recording.run, network.geometry
    inputs = [tokens[tokens != PADDING] for tokens in recording.tokens]
    mass = np.full((run.steps, shape.layers, run.state.shape[1]), np.nan, np.float32)
    heads = np.full((run.steps, shape.layers, shape.heads, run.state.shape[1]), np.nan, np.float16)
    if _sees_prefixes(network):
        [prefixes] = _prefix_masses(network, [inputs[-1]], [[len(tokens) for tokens in inputs]])
        for step, (paid, by_head) in enumerate(prefixes):
            mass[step, :, : paid.shape[1]], heads[step, :, :, : paid.shape[1]] = paid, by_head
        on_step(run.steps)
        return replace(recording, run=run.with_mass(mass), heads=heads)
    by_length: dict[int, list[int]] = defaultdict(list)
    for step, tokens in enumerate(inputs):
        by_length[len(tokens)].append(step)
    blocks, queries = network.architecture.by_blocks, run.pattern.queries.tolist()
    kept = KeptKeys(network) if not blocks and run.pattern.partial.any() else None
    size = 1 if blocks or kept is not None else rows
    observer = MassObserver()
    for steps in by_length.values():
        for start in range(0, len(steps), size):
            part = steps[start : start + size]
            layout = step_layout(network, recording, part[0])
            stacked = _filled([inputs[step] for step in part])
            if kept is not None:
                kept.predict(stacked, tuple(queries[part[0]]), observer)
            else:
                observer.first = queries[part[0]][0] if blocks else 0
                network.predict(stacked, observer, keep=1, layout=layout)
            for step, row in zip(part, observer.take().mass.numpy(), strict=True):
                mass[step][:, run.present[step]] = row.mean(axis=1)
                heads[step][:, :, run.present[step]] = row
            on_step(len(part))
    mass, heads = _relative(mass, run.pattern), _relative(heads, run.pattern)
    return replace(recording, run=run.with_mass(mass), heads=heads)


def at_steps(recording: PromptRun, steps: Sequence[int]) -> PromptRun:
    """Some steps of a recording as a recording of its own."""
    run, at = recording.run, list(steps)
    pattern = replace(
        run.pattern,
        present=run.pattern.present[at],
        queries=run.pattern.queries[at],
        open_block=run.pattern.open_block[at],
    )
    chosen = replace(run, mass=run.mass[at], kinds=run.kinds[at], state=run.state[at], pattern=pattern)
    return replace(recording, run=chosen, tokens=recording.tokens[at], heads=recording.heads[at])


def shown_to(recordings: Sequence[PromptRun]) -> Callable[[LoadedModel, Observer], None]:
    """Return what shows a network the first, middle and last step of some of the recordings, as whole texts."""

    def show(network: LoadedModel, observer: Observer) -> None:
        for recording in recordings[:_SHOWN]:
            steps = recording.run.steps
            for step in sorted({0, steps // 2, steps - 1}):
                show_steps(network, recording, [step], observer)

    return show


def step_layout(network: LoadedModel, recording: PromptRun, step: int) -> Layout | None:
    """Return the blocks of the text in a step of a recording, for a network that attends by them."""
    if not network.architecture.by_blocks:
        return None
    layout = layout_of(network.architecture, recording.run.prompt_length, recording.block_length)
    return replace(layout, open_from=int(recording.run.pattern.open_block[step, 0]))


def show_steps(
    network: LoadedModel,
    recording: PromptRun,
    steps: Sequence[int],
    observer: Observer | None = None,
    edit: Edit | None = None,
    keep: int | None = 1,
) -> torch.Tensor:
    """Run the whole texts of steps of a recording through a network, as one batch; return the logits (B, keep, V).

    steps: some of one of `alike_steps` or `predicted_together`, each as often as wanted; shorter texts are filled in
    at their end. keep: as `LoadedModel.predict` has it.
    """
    texts = [recording.tokens[step] for step in steps]
    return show_texts(network, recording, texts, steps[0], observer, edit, keep)


def show_texts(
    network: LoadedModel,
    recording: PromptRun,
    texts: Sequence[np.ndarray],
    step: int,
    observer: Observer | None,
    edit: Edit | None = None,
    keep: int | None = None,
) -> torch.Tensor:
    """Run texts (S,) as long as that of a step of a recording through a network, as one batch with its blocks; return
    the logits (B, keep, V). keep: as `LoadedModel.predict` has it.
    """
    layout = step_layout(network, recording, step)
    return network.predict(_filled([tokens[tokens != PADDING] for tokens in texts]), observer, edit, keep, layout)


def steps_at_once(network: LoadedModel, keep: int) -> int:
    """Return how many sequences go into a batch whose last `keep` positions are predicted: at most `MOST_ROWS`."""
    return max(1, min(MOST_ROWS, _LOGIT_BYTES // (4 * keep * network.geometry.vocabulary)))


def alike_steps(network: LoadedModel, recording: PromptRun, most: int = MOST_ROWS) -> Iterator[list[int]]:
    """Yield the steps of a recording in order, together those that follow each other with as many tokens, the same
    queries and the same blocks, at most `most`.
    """
    run = recording.run
    facts = [run.lengths, *run.pattern.queries.T]
    facts += [run.pattern.open_block[:, 0]] if network.architecture.by_blocks else []
    changes = np.flatnonzero((np.diff(np.stack(facts)) != 0).any(axis=0)) + 1
    for group in np.split(np.arange(run.steps), changes):
        for start in range(0, len(group), most):
            yield group[start : start + most].tolist()


def predicted_together(network: LoadedModel, recording: PromptRun) -> Iterator[list[int]]:
    """Yield the steps of a recording in order, together those whose predictions may come from one batch: all of them
    where no token sees a later one, as what is filled in after a shorter text then changes nothing; else `alike_steps`.
    """
    if _sees_prefixes(network):
        yield list(range(recording.run.steps))
    else:
        yield from alike_steps(network, recording)


def _filled(texts: Sequence[np.ndarray]) -> torch.Tensor:
    """Token ids (N,) of each text as one batch (B, S), with token 0 after shorter ones."""
    tokens = torch.zeros((len(texts), max(map(len, texts))), dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.from_numpy(text)
    return tokens


# --- writing ----------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """One step of a sequence: tokens and state (S_t,), mass (L, S_t) averaged over heads and (L, H, S_t) of each in
    half precision, open_block and queries, from and to.
    """

    tokens: np.ndarray
    state: np.ndarray
    mass: np.ndarray
    heads: np.ndarray
    open_block: Span
    queries: Span


_Written = tuple[list[_Step], np.ndarray]
"""The steps of a sequence, and its finished text."""


def _write_by_step(
    model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int, on_step: OnStep
) -> list[_Written]:
    taken: list[tuple[Choice, np.ndarray, np.ndarray]] = []
    for step in denoise(model, prompt, sampling, seed):
        taken.append((step.choice, step.mass.mean(dim=2).numpy(), step.mass.numpy().astype(np.float16)))
        on_step(len(prompt))

    def step_of(row: int, choice: Choice, mass: np.ndarray, heads: np.ndarray) -> _Step:
        tokens, state = (part[row].cpu().numpy() for part in (choice.tokens, choice.state))
        return _Step(tokens, state, mass[row], heads[row], choice.open_block, choice.query_range)

    finished = taken[-1][0].output.cpu().numpy()
    return [([step_of(row, *step) for step in taken], final) for row, final in enumerate(finished)]


def _write_by_prefix(
    model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int, on_step: OnStep
) -> list[_Written]:
    """Write with a causal model, observing every step in one forward over the finished text: no token sees a later
    one, so the mass of a step is that of the text's first queries.
    """
    own_sampling(model, sampling, prompt.tolist())
    prompt = prompt.to(model.device)
    ends = end_ids(model)
    counts = torch.zeros(len(prompt), dtype=torch.long)
    ended = torch.zeros(len(prompt), dtype=torch.bool)

    def predict(tokens: torch.Tensor, observed: int) -> torch.Tensor:
        return model.predict(tokens, keep=1)

    for choice in choices(model, predict, prompt, sampling, seed, ends):
        counts += ~ended
        ended |= torch.isin(choice.output[:, -1], ends).cpu()
        on_step(len(prompt))
        output = choice.output
        if ended.all():
            break
    given = prompt.shape[1]
    texts = [row[: given + count].cpu().numpy() for row, count in zip(output, counts.tolist(), strict=True)]
    lengths = [list(range(given, len(text))) for text in texts]
    masses_of_texts = _prefix_masses(model, [text[:-1] for text in texts], lengths)
    written: list[_Written] = []
    for text, masses in zip(texts, masses_of_texts, strict=True):
        state = np.where(np.arange(len(text)) < given, TokenState.GIVEN, TokenState.COMMITTED)
        steps = [
            _Step(text[:length], state[:length], *paid, (length, length + 1), (0, length))
            for length, paid in enumerate(masses, start=given)
        ]
        written.append((steps, text))
    return written


def _sees_prefixes(model: LoadedModel) -> bool:
    return model.architecture.attention == "causal" and not model.architecture.by_blocks


class _PrefixMassObserver:
    """Mass that the first n queries pay to each key, for every n asked of each sequence: (N, H, S) by layer."""

    def __init__(self, lengths: Sequence[Sequence[int]]) -> None:
        self.lengths = lengths
        self.layers: dict[int, list[torch.Tensor]] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        paid = torch.cat(list(inputs.probabilities()), dim=2)
        prefixes = paid.cumsum(dim=2).transpose(1, 2)
        self.layers[layer] = [
            rows[torch.tensor(of, device=rows.device) - 1].cpu()
            for rows, of in zip(prefixes, self.lengths, strict=True)
        ]


def _prefix_masses(
    network: LoadedModel, texts: Sequence[np.ndarray], lengths: Sequence[Sequence[int]]
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """The mass of the first n tokens of each text, for the lengths n asked for: (L, n) averaged over heads, and
    (L, H, n) of each in half precision.

    What is filled in after a shorter text is seen by none of its tokens.
    """
    observer = _PrefixMassObserver(lengths)
    network.predict(_filled(texts), observer, keep=1)
    masses = []
    for row, of in enumerate(lengths):
        by_head = stack_layers({layer: rows[row] for layer, rows in observer.layers.items()})
        mass, halves = by_head.mean(dim=2).numpy(), by_head.numpy().astype(np.float16)
        if not np.isfinite(mass).all():
            raise UserError("The attention of this model is not finite (NaN or infinite). Run in float32.")
        masses.append([(mass[step, :, :length], halves[step, :, :, :length]) for step, length in enumerate(of)])
    return masses


def _prompt_run(
    model: LoadedModel, index: int, prompt_length: int, written: _Written, block_length: int | None
) -> PromptRun:
    steps, final = written
    positions, family = len(final), model.architecture
    tokens = np.full((len(steps), positions), PADDING, np.int32)
    state = np.full(tokens.shape, TokenState.ABSENT, np.int8)
    mass = np.full((len(steps), len(steps[0].mass), positions), np.nan, np.float32)
    heads = np.full((len(steps), *steps[0].heads.shape[:2], positions), np.nan, np.float16)
    for number, step in enumerate(steps):
        there = np.flatnonzero(step.state != TokenState.ABSENT)
        tokens[number, there], state[number, there] = step.tokens[there], step.state[there]
        mass[number][:, there], heads[number][:, :, there] = step.mass[:, there], step.heads[:, :, there]
    open_block = np.array([step.open_block for step in steps], np.int32)
    queries = np.array([step.queries for step in steps], np.int32)
    starts = (
        layout_of(family, prompt_length, block_length).starts(positions) if family.attention == "block-causal" else ()
    )
    pattern = AttentionPattern(family.attention, state != TokenState.ABSENT, queries, open_block, starts, model.windows)
    names = token_strings(model.tokenizer, set(np.unique(tokens).tolist()) - {PADDING})
    kinds = names_of_kinds(tokens, state, names, stop_tokens(model))
    run = LayerRun(_relative(mass, pattern), kinds, state, pattern, prompt_length, final)
    return PromptRun(index, run, tokens, _relative(heads, pattern), block_length)


def _relative(mass: np.ndarray, pattern: AttentionPattern) -> np.ndarray:
    """Mass (T, …) in units in which uniform attention gives 1 on average, in its precision; in place."""
    factor = pattern.relative.astype(np.float32).astype(mass.dtype)
    mass *= factor.reshape(-1, *[1] * (mass.ndim - 1))
    return mass
