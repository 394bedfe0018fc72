"""Measurements for claims inside a model, prompt by prompt, and the same with other weights; and accuracy on choice
tasks as the model reads items untouched, with its sinks hidden and with as many others hidden.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import UserError
from analysis.evaluation.items_file import Answer, Line, LineWriter
from analysis.job_context import Context, environment
from analysis.jobs.evaluation import chat_of
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.prompt_by_prompt import rows_at_once
from analysis.jobs.summaries import ClaimMeasuresSummary, HiddenAccuracy, MeasuredPrompts
from analysis.machine import process
from analysis.models.resident import free_memory, resident_model
from analysis.specs import CLAIM_MEASURES, EVERYTHING, ClaimMeasuresSpec, EvaluateSpec, Sampling, kept_of

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel
    from analysis.recording.batches import PromptRun
    from analysis.recording.claim_looks import Look, Pair

TRAINED = "trained"
NULLS = ("random", "permuted")
"""The rows of `MOVEMENT_NULLS` that every claim is held against."""
SCORED = "accuracy"
"""The row that is measured over items of tasks."""
_SCORING = "scoring with sinks hidden"
_SHOWN = 4  # prompts used to find massive channels


def measure_claims(spec: ClaimMeasuresSpec, context: Context) -> Outcome[ClaimMeasuresSummary]:
    """Record the prompts, look inside at some of their steps, and show the same inputs to models with other weights.

    Each prompt's measurements are kept, so that an interrupted job resumes.
    """

    def check(opened: "OpenedModel") -> None:
        from analysis.recording.denoising import own_sampling

        opened.require_tokenizer()
        own_sampling(opened, spec.sampling)
        if opened.architecture.noise == "uniform":
            raise UserError(
                f"{opened.architecture.name} denoises a canvas beside the text that it reads, so it cannot be looked "
                "into at single steps. Leave out the claims that need this: --only sinks-move sinks-stay."
            )

    model = resident_model(spec.model, context, check)
    from analysis.recording import weight_nulls
    from analysis.recording.batches import shown_to

    started = time.perf_counter()
    shown = min(spec.null_prompts, len(spec.prompts))
    total = len(spec.prompts) + shown * len(NULLS) * spec.random_models
    runs = _recorded(spec, model, context, total)
    networks: dict[str, list[MeasuredPrompts]] = {
        TRAINED: [_measured(spec, model, runs, len(runs), context, TRAINED, 0, total)]
    }
    show, done = shown_to(runs), len(runs)
    notes = []
    for null in NULLS:
        networks[null] = []
        for number in range(spec.random_models):
            try:
                drawn = weight_nulls.DRAWS[null](model, spec.seed + number + 1, show)
            except UserError as error:
                notes.append(str(error))
                break
            networks[null].append(_measured(spec, drawn, runs, shown, context, f"{null}-{number}", done, total))
            done += shown
            del drawn
    accuracy = None
    if SCORED in spec.measures:
        try:
            accuracy = hidden_accuracy(spec, model, context, lambda: context.progress(_SCORING, total, total))
        except UserError as error:  # the prompts are measured anyway
            notes.append(f"Accuracy was not measured. {error}")
    summary: ClaimMeasuresSummary = {
        "networks": networks,
        "prompts": len(spec.prompts),
        "steps": [run.run.steps for run in runs],
        "looks": spec.looks,
        "seed": spec.seed,
        "notes": notes,
        "seconds": round(time.perf_counter() - started, 3),
        "architecture": model.architecture.name,
        "fingerprint": model.fingerprint,
        "environment": environment(),
    }
    if accuracy is not None:
        summary["accuracy"] = accuracy
    return Outcome(summary, None, result_key(measure_claims, spec, model.fingerprint))


def _recorded(spec: ClaimMeasuresSpec, model: "LoadedModel", context: Context, total: int) -> "list[PromptRun]":
    """Every prompt recorded, in their order. Raises UserError where one does not fit."""
    from analysis.recording import batches
    from analysis.recording.denoising import own_sampling

    prompts = [model.encode(text, spec.chat_template)[0] for text in spec.prompts]
    sampling = own_sampling(model, spec.sampling, prompts)
    row = batches.row_bytes(model, sampling, max(map(len, prompts)))
    rows = batches.rows_in(free_memory(), row, sampling)
    recorded = batches.recorded(
        model, prompts, sampling, spec.seed, rows, lambda _: context.progress("recording the prompts", 0, total)
    )
    return sorted((run.without_heads() for run in recorded), key=lambda run: run.index)


def _measured(
    spec: ClaimMeasuresSpec,
    network: "LoadedModel",
    runs: "Sequence[PromptRun]",
    shown: int,
    context: Context,
    name: str,
    done: int,
    total: int,
) -> MeasuredPrompts:
    """Return every measure of the first prompts shown, by measure: [value, null] per prompt, None if there is none."""
    from analysis.recording.claim_looks import LOOKS, TOGETHER, Look, by_position, steps_of
    from analysis.recording.denoising import own_sampling
    from analysis.recording.prompt_measures import Channels, channels_of

    @cache
    def channels() -> Channels:
        return channels_of(network, runs[:_SHOWN], spec.seed)

    measured: MeasuredPrompts = {name: [] for name in spec.measures if not CLAIM_MEASURES[name].items}
    sampling, masses = text_sampling(own_sampling(network, spec.sampling)), []
    mass_alone = all(CLAIM_MEASURES[name].of_mass for name in spec.measures)
    for index, run in enumerate(runs[:shown]):
        context.progress(f"looking inside, {name.replace('-', ' weights ')}", done + index, total)
        told, paid = (context.scratch / f"{name}-{index}.{ending}" for ending in ("json", "npy"))
        if not told.is_file():
            look = Look(
                *(network, run, spec.sinks, steps_of(run.run.steps, spec.looks), spec.seed, channels),
                *(sampling, rows_at_once(sampling, network, sampling.length(run.run.prompt_length))),
                None if mass_alone else _alike(run, runs),
                mass_alone,
            )
            pairs = {measure: _looked(LOOKS[measure], look, context) for measure in spec.measures if measure in LOOKS}
            if TOGETHER in spec.measures:
                _place(paid, partial(np.save, arr=look.measured.mass))
            _place(told, partial(Path.write_text, data=json.dumps(pairs)))
        for measure, pair in json.loads(told.read_text()).items():
            measured[measure].append(pair)
        if TOGETHER in spec.measures:
            masses.append(np.load(paid))
    if TOGETHER in spec.measures:
        measured[TOGETHER] = [_finite(pair) for pair in by_position(masses)]
    return measured


def text_sampling(sampling: Sampling) -> Sampling:
    """Return the sampling with a quarter of the new tokens and, where steps are chosen, two tokens written per step; as
    it is where it does not accept that.
    """
    length = max(2, sampling.gen_length // 4)
    return sampling.of_length(length, length // 2) or sampling


def _looked(measure: "Callable[[Look], Pair]", look: "Look", context: Context) -> list[float] | None:
    """The pair of a measure; None where this network or text cannot be measured so, after saying why in the log."""
    try:
        return _finite(measure(look))
    except UserError as error:
        context.log(str(error))
        return None


def _alike(run: "PromptRun", runs: "Sequence[PromptRun]") -> "PromptRun | None":
    """Return the next recording with as many tokens and steps, or None."""
    after = [*runs[run.index + 1 :], *runs[: run.index]]
    same = (run.run.prompt_length, run.run.steps, run.run.state.shape)
    return next((one for one in after if (one.run.prompt_length, one.run.steps, one.run.state.shape) == same), None)


def _place(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name first, so that an existing file is always whole."""
    unfinished = path.with_name(f"partial-{path.name}")
    write(unfinished)
    unfinished.replace(path)


def _finite(pair: Sequence[float]) -> list[float] | None:
    """The pair with 7 significant digits, or None where one of it is not a number."""
    return [float(f"{value:.7g}") for value in pair] if np.isfinite(pair).all() else None


# --- accuracy with sinks hidden -----------------------------------------------------------------------------------

READINGS = ("untouched", "hidden", "others")


class _Kept(LineWriter):
    """In-memory metrics of an evaluation, by item and number of the reading."""

    def __init__(self) -> None:
        self.metrics: dict[str, dict[int, dict[str, Any]]] = {}

    def write(self, line: Line) -> None:
        """Keep the metrics of an answer."""
        if isinstance(line, Answer):
            self.metrics.setdefault(line.key, {})[line.model] = dict(line.metrics)

    def close(self) -> None:
        """Do nothing: no file is open."""


def _itself(model: "LoadedModel") -> "LoadedModel":
    return model


def hidden_accuracy(
    spec: ClaimMeasuresSpec, model: "LoadedModel", context: Context, on_step: Callable[[], None]
) -> HiddenAccuracy:
    """Score the tasks' choice items in the three readings, on the same masks. Answers are kept in the answer store, so
    that an interrupted job resumes. Raises UserError if no task is available.
    """
    with process.importing("lm_eval"):
        from analysis.evaluation import live
        from analysis.evaluation.tasks import fitting, load_benchmarks
    from analysis.recording.claim_looks import HiddenSinks

    tokenizer = model.require_tokenizer()
    chat = chat_of(model.spec.source, tokenizer, spec.chat_template, model.fingerprint)
    asked = EvaluateSpec(model=model.spec, tasks=spec.tasks, limit=spec.limit, seed=spec.seed)
    benchmarks, _ = load_benchmarks(asked, chat, context.progress)
    benchmarks, _ = fitting(benchmarks, model.geometry.max_length, lambda text: len(tokenizer.tokenize(text)))
    benchmarks = [benchmark for benchmark in benchmarks if benchmark.chance is not None]
    hidden = HiddenSinks.of(model, spec.sinks, spec.seed)
    networks = (model, hidden, hidden.with_others())
    sinks, whole = spec.sinks.model_dump_json(), kept_of(EVERYTHING)
    slots = [
        live.ModelSlot(name, model.spec, f"{name}-{sinks}-{model.fingerprint}", partial(_itself, it), whole)
        for name, it in zip(READINGS, networks, strict=True)
    ]
    kept = _Kept()
    live.run(
        benchmarks,
        slots,
        lambda benchmark: live.settings_of(benchmark, spec.seed, chat is not None, False),
        context.stores.responses,
        kept,
        True,
        lambda progress: on_step(),
    )
    told: HiddenAccuracy = {"keys": [], "clusters": [], "chances": [], **{name: [] for name in READINGS}}  # type: ignore[typeddict-item]
    for benchmark in benchmarks:
        for document in benchmark.documents:
            metrics = kept.metrics[document.key]
            told["keys"].append(document.key)
            told["clusters"].append(f"cluster {document.cluster}" if document.cluster else f"item {document.key}")
            told["chances"].append(1 / document.choices)
            for number, name in enumerate(READINGS):
                told[name].append(float(metrics[number][benchmark.metric]))  # type: ignore[literal-required]
    return told
