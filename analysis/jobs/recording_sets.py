"""Recording a set of prompts, beside models with other weights, into the arrays of one file.

Each recording is reduced to its measures as soon as it is there, and so are its nulls.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.bundled import prompts as bundled
from analysis.errors import UserError, shorten
from analysis.job_context import Context, environment, now
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.recordings import recorded_model, written
from analysis.jobs.summaries import RecordSetSummary
from analysis.models.resident import free_memory, resident_model
from analysis.recording import set_file
from analysis.recording.set_file import RecordingSet, RecordingSetInfo, SetPrompt
from analysis.sinks import layer_run, metrics, movement
from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.specs import (
    BUNDLED_PROMPTS,
    OWN_PROMPTS,
    AutoregressiveSampling,
    EvaluateSpec,
    RecordSetSpec,
    Sampling,
    SinkParams,
)
from cache.environment import gigabytes

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel
    from analysis.recording.batches import PromptRun


Measures = dict[str, np.ndarray]
"""Arrays of one prompt or of all, by name."""


class SetArrays:
    """Measures of each prompt, by the model or null that gave them."""

    def __init__(self, prompts: int) -> None:
        self.prompts = prompts
        self.taken: dict[str, dict[int, Measures]] = {}

    def take(self, which: str, index: int, measured: Measures) -> None:
        """Add the measures of one prompt. measured: arrays without the axis of the prompts."""
        self.taken.setdefault(which, {})[index] = measured

    def keep(self, indices: Sequence[int]) -> None:
        """Keep only these prompts, renumbered in their order."""
        self.prompts = len(indices)
        for which, rows in self.taken.items():
            self.taken[which] = {place: rows[index] for place, index in enumerate(indices)}

    def halve(self, tokens: int) -> None:
        """Keep the kinds of the sinks in each recording's first `tokens` steps, one step per token."""
        for row in self.taken["trained"].values():
            counts = row["counts"][:, :tokens]
            row["half_sinks"] = counts.sum(axis=1, dtype=np.float64)
            row["half_steps"] = np.asarray(float(counts.shape[1]))

    def stacked(self, info: RecordingSetInfo, steps: int) -> Measures:
        """The arrays of the file. steps: of the longest recording."""
        arrays = {}
        for name in set_file.stored(info):
            which, measure = name.split(".")
            if which in WEIGHT_NULLS:
                models = len(info.seeds_of(which))
                if measure == "curves":
                    arrays[name] = self._mean_curves(models, steps)
                    continue
                parts = [self._of(f"{which}{number}", measure, name, steps) for number in range(models)]
                shape = self._of("trained", measure, name, steps).shape
                arrays[name] = np.stack(parts) if parts else np.empty((0, *shape))
            else:
                arrays[name] = self._of(which, measure, name, steps)
        return arrays

    def _of(self, which: str, measure: str, name: str, steps: int) -> np.ndarray:
        """One array, NaN (or 0 in counts) at prompts that were not seen and after the end of a recording."""
        rows = self.taken[which]
        over_steps = set_file.SHAPES[name].find("T") - 1
        example = next(iter(rows.values()))[measure]
        shape = list(example.shape)
        if over_steps >= 0:
            shape[over_steps] = steps
        counts = example.dtype.kind == "u"
        whole = np.full((self.prompts, *shape), 0 if counts else np.nan, example.dtype)
        for index, row in rows.items():
            values = row[measure]
            place: list[int | slice] = [index, *[slice(None)] * values.ndim]
            if over_steps >= 0:
                place[over_steps + 1] = slice(values.shape[over_steps])
            whole[tuple(place)] = values
        return whole

    def _mean_curves(self, models: int, steps: int) -> np.ndarray:
        """The curves of random weights, mean over the models that saw a prompt."""
        parts = [self._of(f"random{number}", "curves", "random.curves", steps) for number in range(models)]
        if not parts:
            return np.full_like(self._of("trained", "curves", "trained.curves", steps), np.nan)
        return mean_of_finite(np.stack(parts)).astype(np.float32)


LEAST = 2  # prompts of a set: its intervals are over prompts


@dataclass(frozen=True)
class _Plan:
    """prompts: token ids. rows: sequences in a batch, which takes at most `batch_bytes`. forwards: of one prompt."""

    texts: list[str]
    prompts: list[list[int]]
    chat: bool
    sampling: Any
    rows: int
    batch_bytes: int
    forwards: int
    notes: list[str]


def record_set(spec: RecordSetSpec, context: Context) -> Outcome[RecordSetSummary]:
    """Record the prompts, show the same inputs to models with other weights, and keep the measurements of each. Ends
    early if the context asks for it and at least two prompts are done.
    """

    def check(opened: "OpenedModel") -> None:
        from analysis.recording.denoising import own_sampling

        opened.require_tokenizer()
        own_sampling(opened, spec.sampling)

    model = resident_model(spec.model, context, check)
    from analysis.recording import prompt_measures
    from analysis.recording.batches import recorded
    from analysis.recording.denoising import stop_tokens

    started = time.perf_counter()
    plan = _plan(spec, model, context)
    count, models = len(plan.prompts), spec.random_models
    seen_by = _turns(count, min(spec.null_prompts, count), models, spec.seed)
    shown = sum(len(rows) for rows in seen_by) * len(movement.weight_nulls(spec.skip_matched))
    # Whether a layer's kinds depend on the length is tested at half of it, in half the steps.
    shorter = plan.sampling.of_length(plan.sampling.gen_length // 2, max(1, getattr(plan.sampling, "steps", 0) // 2))
    halves = 0 if shorter is None or isinstance(shorter, AutoregressiveSampling) else shorter.forwards(0) * count
    asked = plan.forwards * count if spec.by_query else 0
    progress = _Progress(context, plan.forwards * (count + shown) + halves + asked)
    kept: list[PromptRun | None] = [None] * count
    arrays = SetArrays(count)
    with contextlib.suppress(_Stopped):
        progress(0)
        for recording in recorded(model, plan.prompts, plan.sampling, spec.seed, plan.rows, progress):
            run, rng = recording.run, np.random.default_rng([spec.seed, recording.index])
            sinks = run.sinks(spec.sinks)
            measured = _measured(recording, sinks, spec.sinks) | {
                "split_curves": layer_run.split_curves(run, sinks),
                "variants": layer_run.by_variant(run),
                **layer_run.count_checks(run, spec.sinks, rng),
            }
            if spec.by_query:
                apart = prompt_measures.queries_apart_of(model, recording, spec.seed, progress)
                measured |= {"apart": apart.value, "apart_permuted": apart.null}
            arrays.take("trained", recording.index, measured)
            arrays.take("shuffled", recording.index, movement.shuffled(run, sinks, spec.null_draws, rng))
            arrays.take("fixed", recording.index, movement.held_fixed(run, spec.sinks))
            kept[recording.index] = recording.without_mass()
            progress.kept += 1
    there = [index for index, recording in enumerate(kept) if recording is not None]
    if len(there) < count:
        plan = _stopped_after(plan, there)
        arrays.keep(there)
        seen_by = []
    recordings = [recording for recording in kept if recording is not None]
    half_tokens = _record_halves(model, spec, plan, shorter, arrays, progress)
    seeds = _weight_nulls(model, spec, plan, recordings, seen_by, arrays, progress)
    steps = [recording.run.steps for recording in recordings]
    ends = stop_tokens(model)
    keys = cluster_keys(spec)
    info = RecordingSetInfo(
        model=recorded_model(model),
        layers=model.geometry.layers,
        heads=model.geometry.heads,
        prompts_from=spec.prompts,
        prompts=tuple(
            SetPrompt(
                text=text,
                tokens=recording.run.prompt_length,
                steps=recording.run.steps,
                written=written(model, recording.run.final[recording.run.prompt_length :].tolist(), ends),
                key=keys.get(text, ""),
            )
            for text, recording in zip(plan.texts, recordings, strict=True)
        ),
        chat_template=plan.chat,
        sampling=plan.sampling,
        seed=spec.seed,
        sinks=spec.sinks,
        random_seeds=tuple(seeds["random"]),
        weight_seeds={null: tuple(of_null) for null, of_null in seeds.items() if null != "random"},
        null_draws=spec.null_draws,
        notes=tuple(plan.notes),
        parts=layer_run.PARTS,
        split_curves=layer_run.SPLIT_CURVES,
        head_metrics=metrics.of_mass(),
        variants=tuple(layer_run.VARIANTS),
        half_tokens=half_tokens,
        by_query=spec.by_query,
        batch_bytes=plan.batch_bytes,
        seconds=time.perf_counter() - started,
        created=now(),
        environment=environment(),
    )
    recording_set = RecordingSet(info, arrays.stacked(info, max(steps)))
    key = result_key(record_set, spec, model.fingerprint)
    path = context.new_file(key)
    set_file.save(recording_set, path)
    summary = _summary(spec, info, count, sum(steps), plan.rows, path.stat().st_size)
    stopped = progress.stopped
    return Outcome(
        summary, path, f"{key}-{len(there)}-{sum(map(len, seeds.values()))}" if stopped else key, stopped=stopped
    )


def _stopped_after(plan: _Plan, there: list[int]) -> _Plan:
    """Return the plan for the finished prompts, with a note on how many were left out."""
    told = f"Stopped after {len(there)} of {len(plan.prompts)} prompts. Models with other weights were not shown them."
    return replace(
        plan,
        texts=[plan.texts[index] for index in there],
        prompts=[plan.prompts[index] for index in there],
        notes=[*plan.notes, told],
    )


def _summary(
    spec: RecordSetSpec, info: RecordingSetInfo, planned: int, steps: int, rows: int, size: int
) -> RecordSetSummary:
    return {
        "source": spec.model.source,
        "prompts": len(info.prompts),
        "planned": planned,
        "prompts_from": spec.prompts,
        "layers": info.layers,
        "heads": info.heads,
        "steps": steps,
        "seed": spec.seed,
        "random_models": len(info.random_seeds),
        "batch_rows": rows,
        "batch_bytes": info.batch_bytes,
        "notes": list(info.notes),
        "seconds": round(info.seconds, 3),
        "bytes": size,
        "fingerprint": info.model.fingerprint,
    }


# --- recording --------------------------------------------------------------------------------------------------


def _plan(spec: RecordSetSpec, model: "LoadedModel", context: Context) -> _Plan:
    """Read the prompts and divide the memory. Raises UserError if they are unavailable or do not fit, and if the model
    has no random-weight counterparts.
    """
    from analysis.recording import batches
    from analysis.recording.denoising import own_sampling

    if spec.random_models and model.architecture.noise == "uniform":
        raise UserError(
            f"Models with other weights are shown forwards over one text, and {model.architecture.name} reads a text "
            "and denoises a canvas beside it. Set the random-weight models to 0."
        )
    sampling = own_sampling(model, spec.sampling)
    texts, notes = prompt_texts(spec.prompts, spec.own_prompts, spec.count, spec.seed, context)
    encoded = [model.encode(text, spec.chat_template) for text in texts]
    prompts = [ids for ids, _ in encoded]
    if spec.prompts not in (BUNDLED_PROMPTS, OWN_PROMPTS):
        fits = [sampling.length(len(ids)) <= model.geometry.max_length for ids in prompts]
        if not all(fits):
            notes.append(f"{fits.count(False)} contexts were left out, as they do not fit the model's length.")
        texts = [text for text, fit in zip(texts, fits, strict=True) if fit]
        prompts = [ids for ids, fit in zip(prompts, fits, strict=True) if fit]
    if len(prompts) < LEAST:
        raise UserError("A set needs at least two prompts that fit the model, as its intervals are over prompts.")
    own_sampling(model, sampling, prompts)
    row, there = batches.row_bytes(model, sampling, max(map(len, prompts))), free_memory()
    if row > there:
        raise UserError(
            f"Not enough memory for these recordings: one at a time takes {gigabytes(row)} and there are "
            f"{gigabytes(there)}. Take fewer steps or tokens."
        )
    rows = batches.rows_in(there, row, sampling)
    context.log(
        f"{len(prompts)} prompts, {rows} at a time at most: a batch takes up to {rows * row / 1e6:,.0f} MB of the "
        f"{gigabytes(there)} there are. Each recording is reduced at once."
    )
    chat = any(wrapped for _, wrapped in encoded)
    return _Plan(texts, prompts, chat, sampling, rows, rows * row, sampling.forwards(0), notes)


def prompt_texts(
    prompts: str, own: Sequence[str], count: int, seed: int, context: Context
) -> tuple[list[str], list[str]]:
    """The texts that `SetParams.prompts` names, of a benchmark at most `count`, and notes on them. own: those given.

    Raises UserError for a benchmark that has no contexts.
    """
    if prompts == OWN_PROMPTS:
        return list(own), []
    if prompts == BUNDLED_PROMPTS:
        return bundled.prompts(count), []
    from analysis.evaluation.tasks import load_benchmarks

    asked = EvaluateSpec(tasks=(prompts,), limit=count, shots=0, seed=seed)
    benchmarks, notes = load_benchmarks(asked, None, context.progress)
    texts = [str(item.requests[0].args[0]) for benchmark in benchmarks for item in benchmark.documents]
    if any(benchmark.is_perplexity for benchmark in benchmarks):
        raise UserError(f"'{shorten(prompts)}' has whole texts and no contexts to go on from. Take another benchmark.")
    texts = list(dict.fromkeys(texts))[:count]
    if len(texts) < count:
        notes.append(f"{len(texts)} different contexts were there of the {count} asked for.")
    return texts, notes


def cluster_keys(spec: RecordSetSpec) -> dict[str, str]:
    """Map the texts of prompts that are alike to the key they share; for bundled prompts, their template."""
    if spec.own_keys:
        return dict(zip(spec.own_prompts, spec.own_keys, strict=True))
    if spec.prompts != BUNDLED_PROMPTS:
        return {}
    return {prompt.text: prompt.template for prompt in bundled.keyed_prompts(spec.count)}


def _turns(prompts: int, each: int, models: int, seed: int) -> list[list[int]]:
    """Return the prompts that each model of a null sees: `each` of them, taken in turns in a seeded order."""
    order = np.random.default_rng(seed).permutation(prompts).tolist()
    return [[order[(model * each + place) % prompts] for place in range(each)] for model in range(models)]


class _Stopped(Exception):
    """Raised inside unfinished work."""


class _Progress:
    """Number of sequences done, out of those planned. kept: prompts recorded; from `LEAST` on, it raises _Stopped if
    someone asked the job to end early. stopped: True if it did.
    """

    def __init__(self, context: Context, planned: int) -> None:
        self.context, self.planned, self.done = context, planned, 0
        self.phase = "recording the prompts"
        self.kept, self.stopped = 0, False

    def __call__(self, sequences: int) -> None:
        self.done += sequences
        if self.context.stopping and self.kept >= LEAST:
            self.stopped = True
            raise _Stopped
        self.context.progress(self.phase, min(self.done, self.planned), self.planned)


# --- stored results ---------------------------------------------------------------------------------------------


def _measured(recording: "PromptRun", sinks: np.ndarray, params: SinkParams) -> Measures:
    run = recording.run
    return {
        **layer_run.sums_by_kind(run, sinks),
        **movement.movement(run, sinks),
        "curves": layer_run.curves(run, sinks),
        "counts": layer_run.counts_over_steps(run, sinks),
        "heads": recording.head_means(params),
    }


def _weight_nulls(
    model: "LoadedModel",
    spec: RecordSetSpec,
    plan: _Plan,
    recordings: Sequence["PromptRun"],
    seen_by: list[list[int]],
    arrays: SetArrays,
    progress: _Progress,
) -> dict[str, list[int]]:
    """Show the inputs to models with other weights, one after the other. Return the seeds of each null; fewer if memory
    runs out or someone asked the job to end.
    """
    from analysis.recording import weight_nulls
    from analysis.recording.batches import replayed, shown_to

    show = shown_to(recordings)
    seeds: dict[str, list[int]] = {null: [] for null in movement.weight_nulls(spec.skip_matched)}
    for null in seeds if seen_by else ():
        title = MOVEMENT_NULLS[null].title
        for number, rows in enumerate(seen_by):
            progress.phase = f"{title}, model {number + 1} of {len(seen_by)}"
            try:
                progress(0)
                network = weight_nulls.DRAWS[null](model, spec.seed + number + 1, show)
                for index in rows:
                    recording = replayed(network, recordings[index], plan.rows, progress)
                    measured = _measured(recording, recording.run.sinks(spec.sinks), spec.sinks)
                    del measured["counts"]
                    arrays.take(f"{null}{number}", index, measured)
            except _Stopped:
                plan.notes.append(f"Stopped after {number} of {len(seen_by)} models of {title}.")
                return seeds
            except UserError as error:
                plan.notes.append(f"{title.capitalize()}: only {number} models were drawn. {error}")
                break
            seeds[null].append(spec.seed + number + 1)
            del network
    return seeds


def _record_halves(
    model: "LoadedModel",
    spec: RecordSetSpec,
    plan: _Plan,
    shorter: Sampling | None,
    arrays: SetArrays,
    progress: _Progress,
) -> int:
    """Record the prompts with half the new tokens, and keep the kinds of their sinks. Returns the number of new tokens,
    0 where that is not done.
    """
    from analysis.recording.batches import recorded

    if shorter is None or progress.stopped:
        return 0
    if isinstance(shorter, AutoregressiveSampling):  # a shorter text is the beginning of the longer one
        arrays.halve(shorter.gen_length)
        return int(shorter.gen_length)
    halves: dict[int, Measures] = {}
    progress.phase = f"recording {shorter.gen_length} new tokens"
    try:
        for recording in recorded(model, plan.prompts, shorter, spec.seed, plan.rows, progress):
            run = recording.run
            sums = layer_run.sums_by_kind(run, run.sinks(spec.sinks))
            halves[recording.index] = {"half_sinks": sums["sinks"], "half_steps": sums["steps"]}
    except (UserError, _Stopped) as error:
        why = "" if isinstance(error, _Stopped) else f" {error}"
        plan.notes.append(f"The prompts were not recorded with {shorter.gen_length} new tokens.{why}")
        return 0
    for index, row in halves.items():
        arrays.taken["trained"][index] |= row
    return int(shorter.gen_length)
