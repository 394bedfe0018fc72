"""Scoring models on benchmark tasks, importing lm-eval results, and the JSON summary of both. An import runs no model.

lm-eval and torch are imported only here, in the worker.
"""

import gc
import hashlib
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.errors import ModelChanged, UserError
from analysis.evaluation import comparing, conditions, importing
from analysis.evaluation.comparing import Pair
from analysis.evaluation.items_file import DOCUMENTS, End, EvaluatedBenchmark, EvaluatedModel, Header, LineWriter
from analysis.evaluation.results import PERPLEXITY, Results, accuracy, average, read, scores
from analysis.evaluation.tables import cut_items, estimated_by, mean_draws, perplexities
from analysis.findings import finding_of
from analysis.job_context import Context, environment
from analysis.jobs.outcome import Outcome
from analysis.jobs.summaries import EvaluateSummary, ImportSummary
from analysis.machine import process
from analysis.models import checkpoint as checkpoints
from analysis.models.before_loading import cached_layers
from analysis.models.checkpoint import Checkpoint, checkpoint_of, fingerprint
from analysis.models.resident import free_memory, loaded, resident_model
from analysis.models.weight_files import bytes_of
from analysis.pruned.report_file import PrunedRun, read_report
from analysis.specs import EvaluateSpec, ImportSpec, ModelSpec, either
from analysis.statistics import clustered
from analysis.statistics.differences import Difference
from cache.keys import code_version, content_key

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from analysis.evaluation.live import EvaluationProgress
    from analysis.evaluation.tasks import Benchmark, ChatTemplate
    from analysis.models.loaded import LoadedModel


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON, for the command line and the job's record."""
    tasks = []
    by_pair = comparing.family(results)
    relations = comparing.related_pairs(results)
    cut, used = cut_items(results), mean_draws(results)
    for benchmark in results.benchmarks:
        row: dict[str, Any] = {
            "task": benchmark.name,
            "title": benchmark.title,
            "metric": benchmark.metric,
            "planned": benchmark.planned,
            "draws": benchmark.draws or None,
            "estimated_by": estimated_by(results, benchmark.name),
            "shots": benchmark.shots,
            "guidance": benchmark.guidance,
            "settings_from": benchmark.source,
            "truncated": cut[benchmark.name],
            "clustered_by": benchmark.cluster,
            "chance": results.chance[benchmark.name],
        }
        if benchmark.kind == PERPLEXITY:
            row["perplexity"] = perplexities(results, benchmark.name)
        else:
            row["models"] = [
                {
                    "model": name,
                    **clustered.as_json(accuracy(results, benchmark.name, index)),
                    "draws_used": used.get((benchmark.name, index)),
                }
                for index, name in enumerate(results.names)
            ]
            row["differences"] = [
                _compared(results, relations, pair, differences[benchmark.name])
                for pair, differences in by_pair.items()
            ]
        tasks.append(row)
    return {
        "models": list(results.names),
        "tasks": tasks,
        "average": [
            {"model": name, **clustered.as_json(average(results, index))} for index, name in enumerate(results.names)
        ],
        "average_differences": [
            _compared(results, relations, pair, comparing.overall(differences))
            for pair, differences in by_pair.items()
            if differences
        ],
        "over_seeds": [
            {
                "pairs": [[results.names[model] for model in pair] for pair in group.pairs],
                "seeds": list(group.seeds),
                **clustered.as_json(group.difference),
                "words": group.difference.words,
                "in_words": finding_of("pairs over seeds", results, group),
            }
            for group in comparing.over_seeds(results)
        ],
        "seed_floors": [
            {"models": [results.names[model] for model in models], **vars(floor)}
            for models, floor in comparing.floors(results).items()
        ],
        "tests": {
            "count": comparing.tests(by_pair, comparing.over_seeds(results)),
            "adjusted_by": "holm",
            "in_words": finding_of("tests of an evaluation", results),
        },
        "bounds": comparing.summary(results),
        "conditions": [
            {conditions.title(name): conditions.told(name, value) for name, value in settings.items()}
            for settings in comparing.conditions_of(results)
        ],
        "without_counterpart": [
            sentence for relation in conditions.RELATIONS for sentence in comparing.missing(results, relation)
        ],
        "answers": len(results.answers),
        "restored": sum(answer.restored for answer in results.answers.values()),
        "complete": all(
            len(scores(results, b.name, index)[0]) == b.planned
            for b in results.benchmarks
            for index in range(len(results.names))
        ),
        "problems": list(results.problems),
        "seed": results.header.seed,
        "end": results.end.model_dump(exclude={"line"}) if results.end is not None else None,
    }


def _compared(results: Results, relations: dict[str, list[Pair]], pair: Pair, difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON. as: the other model's relation to this one. also_differs: conditions besides the
    method.
    """
    return {
        "model": results.names[pair[0]],
        "than": results.names[pair[1]],
        **clustered.as_json(difference),
        "words": difference.words,
        "as": [relation for relation, some in relations.items() if pair in some],
        "also_differs": comparing.mismatch(results, pair),
    }


EVALUATING = "evaluating"  # the phase once tasks and items are loaded
_HEADROOM = 1.3  # weights, activations and logits of all models at once


def evaluate(spec: EvaluateSpec, context: Context) -> Outcome[EvaluateSummary]:
    """Score models item by item. The file holds a JSON line for every item and answer, and grows during the run.

    When asked to stop it ends early with the items so far. Answers are kept in the answer store, so a later run
    resumes, and reads models that were scored before.
    """
    began = time.perf_counter()
    context.progress("looking for the models")
    opened = [downloaded(model, context) for model in spec.models]
    canvas_score = _canvas_score(spec, opened)
    names = spec.names or _names(spec)
    context.progress("starting lm-eval")
    with process.importing("lm_eval"):
        from analysis.evaluation import live
        from analysis.evaluation.tasks import fitting, load_benchmarks

    tokenizer = _tokenizers(spec, opened)[0]
    chat = chat_of(spec.model.source, tokenizer, spec.chat_template, fingerprint(opened[0]))
    first = opened[0].architecture
    # The tasks' own guidance is on LLaDA's scale; Dream's scripts use none, and texts in blocks are scored without.
    if spec.guidance is None and (first.sampler == "dream" or first.by_blocks):
        spec = spec.model_copy(update={"guidance": 0.0})
    benchmarks, problems = load_benchmarks(spec, chat, context.progress)
    benchmarks, too_long = fitting(
        benchmarks, min(model.geometry.max_length for model in opened), lambda text: len(tokenizer.tokenize(text))
    )
    prints = [fingerprint(checkpoint) for checkpoint in opened]
    runs = [read_report(checkpoint.folder) for checkpoint in opened]
    key = _key(spec, prints, runs, benchmarks)
    models = _Models(spec.models, opened, prints, context)
    slots = [live.ModelSlot(*row) for row in zip(names, spec.models, prints, models.loaders(), spec.keeps, strict=True)]
    path = context.folder / DOCUMENTS
    lines = LineWriter(path)
    context.grows(path)
    lines.write(
        Header(
            names=names,
            models=_evaluated_models(spec, opened, prints, runs, canvas_score),
            benchmarks=tuple(_evaluated_benchmark(benchmark) for benchmark in benchmarks),
            problems=(*problems, *too_long),
            seed=spec.seed,
            together=models.together,
            early_draws=spec.early_draws,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
    )
    stopped = False
    try:
        live.run(
            benchmarks,
            slots,
            lambda benchmark: live.settings_of(benchmark, spec.seed, chat is not None, spec.early_draws, canvas_score),
            context.stores.responses,
            lines,
            models.together,
            partial(_report, context),
        )
    except live.Stopped:
        stopped = True
    finally:
        models.release()
        lines.write(End(stopped=stopped, seconds=round(time.perf_counter() - began, 2), environment=environment()))
        lines.close()
    results = read(path)
    numbers = cast(
        EvaluateSummary, {**summary(results), "key": key, "fingerprint": prints[0], "cache": _cache(spec, opened[0])}
    )
    return Outcome(numbers, path, key if not stopped else f"{key}-{len(results.answers)}")


def _key(spec: EvaluateSpec, prints: list[str], runs: list[PrunedRun], benchmarks: "list[Benchmark]") -> str:
    """Return the key of an evaluation's answers, by everything they depend on."""
    from analysis.models.loaded import pick_device

    return content_key(
        kind="evaluate",
        fingerprints=prints,
        parameters=spec.model_dump(mode="json", exclude={"model", "compare"}),
        items=[document.key for benchmark in benchmarks for document in benchmark.documents],
        precision=[[pick_device(model.device), model.dtype] for model in spec.models],
        runs=[asdict(run) for run in runs],
        code=code_version(__name__),
    )


def _evaluated_models(
    spec: EvaluateSpec, opened: list[Checkpoint], prints: list[str], runs: list[PrunedRun], canvas_score: str
) -> tuple[EvaluatedModel, ...]:
    """Return the file's description of its models."""
    return tuple(
        EvaluatedModel(
            source=model.source,
            fingerprint=content,
            pruning=run,
            sampler=checkpoint.architecture.sampler,
            revision=checkpoint.revision,
            likelihood=canvas_score,
            kept="" if kept.all_stays else str(kept),
        )
        for model, content, run, checkpoint, kept in zip(spec.models, prints, runs, opened, spec.keeps, strict=True)
    )


def _evaluated_benchmark(benchmark: "Benchmark") -> EvaluatedBenchmark:
    """Return the file's description of a benchmark."""
    return EvaluatedBenchmark(
        name=benchmark.name,
        title=benchmark.preset.title,
        metric=benchmark.metric,
        kind=benchmark.kind,
        planned=len(benchmark.documents),
        draws=benchmark.draws,
        shots=benchmark.shots,
        guidance=benchmark.guidance,
        gen_length=benchmark.gen_length,
        source=benchmark.preset.source,
        cluster=benchmark.cluster,
        chance=benchmark.chance,
    )


def _report(context: Context, progress: "EvaluationProgress") -> None:
    """Report progress. Raises Stopped if the context asks to stop."""
    from analysis.evaluation.live import Stopped

    if context.stopping:
        raise Stopped
    rate = progress.rate
    context.progress(
        EVALUATING,
        progress.done,
        progress.total,
        items_per_second=rate,
        seconds_left=(progress.total - progress.done) / rate if rate else None,
        restored=progress.done - progress.fresh,
    )


def downloaded(model: ModelSpec, context: Context) -> Checkpoint:
    """The model's checkpoint, downloaded if need be. Raises UserError for a bad source."""
    checkpoint = checkpoint_of(model)
    if checkpoint is None:
        context.progress(f"downloading {model.source}")
        checkpoint = checkpoints.download(model)
    return checkpoint


def _cache(spec: EvaluateSpec, checkpoint: Checkpoint) -> list[dict[str, int]]:
    """The keys and values of the first model in the precision that it is scored in, by arithmetic from its shape."""
    from analysis.models.loaded import pick_device

    sizes, on_cpu = checkpoint.geometry, pick_device(spec.model.device) == "cpu"
    stored = 4 if on_cpu else bytes_of(checkpoints.main_dtype(checkpoint))
    each = {"bfloat16": 2, "float32": 4, "auto": stored}[spec.model.dtype]
    if checkpoint.architecture.noise == "uniform":
        rooms: Counter[int] = Counter()
        for numbers, room in cached_layers(checkpoint):
            rooms[room or sizes.max_length] += int(numbers * each)
        return [{"bytes_per_token": size, "tokens": room} for room, size in rooms.items()]
    head = checkpoint.config.get("head_dim") or sizes.hidden // sizes.heads
    return [{"bytes_per_token": int(2 * sizes.layers * sizes.kv_heads * head * each), "tokens": sizes.max_length}]


def _canvas_score(spec: EvaluateSpec, opened: list[Checkpoint]) -> str:
    """Return the source of likelihoods, from `CANVAS_SCORES`, if the models' noise is random tokens; otherwise ''.
    Raises UserError for models of both kinds, whose likelihoods are not comparable.
    """
    kinds = {checkpoint.architecture.noise == "uniform" for checkpoint in opened}
    if len(kinds) > 1:
        names = either(dict.fromkeys(checkpoint.architecture.name for checkpoint in opened))
        raise UserError(
            f"Likelihoods of models whose noise is random tokens are no others' ({names}): such models are compared "
            "among themselves. Leave one kind out."
        )
    return spec.canvas_score if kinds == {True} else ""


def _names(spec: EvaluateSpec) -> tuple[str, ...]:
    """Return default names of models: the last part of the source and the part of their keys that is kept, with a
    number for duplicates.
    """
    short = [
        f"{Path(model.source).name or model.source}{'' if kept.all_stays else f' {kept.in_words}'}"
        for model, kept in zip(spec.models, spec.keeps, strict=True)
    ]
    return tuple(importing.numbered(short))


def _tokenizers(spec: EvaluateSpec, opened: list[Checkpoint]) -> list["PreTrainedTokenizerBase"]:
    """The tokenizer of each model. Raises UserError for a model without one, and for a config that cannot be run."""
    from analysis.models.load import config_of, opened_model, register

    register()
    return [
        opened_model(model, checkpoint, config_of(checkpoint)).require_tokenizer()
        for model, checkpoint in zip(spec.models, opened, strict=True)
    ]


def chat_of(
    source: str, tokenizer: "PreTrainedTokenizerBase", chat_template: str, content: str
) -> "ChatTemplate | None":
    """Return the chat template of a model, for all that are compared: a pruned copy must get its dense model's prompts.

    content: the model's fingerprint.
    """
    from analysis.evaluation.tasks import ChatTemplate
    from analysis.models.tokenizer import chat_text, uses_chat

    if not uses_chat(source, tokenizer, chat_template):
        return None
    chat_text(tokenizer, [{"role": "user", "content": "?"}])
    return ChatTemplate(partial(chat_text, tokenizer), content)


class _Models:
    """Models of an evaluation, loaded at first use: all at once if they fit, else one at a time."""

    def __init__(
        self, specs: tuple[ModelSpec, ...], opened: list[Checkpoint], prints: list[str], context: Context
    ) -> None:
        self._specs, self._prints, self._context = specs, prints, context
        self._held: dict[ModelSpec, LoadedModel] = {}
        self.together = len(specs) == 1 or self._all_fit(opened)

    def loaders(self) -> list[Any]:
        """One function a model that returns it, in memory."""
        return [lambda index=index: self._load(index) for index in range(len(self._specs))]

    def _load(self, index: int) -> "LoadedModel":
        spec = self._specs[index]
        if not self.together or spec == self._specs[0]:
            return self._same(resident_model(spec, self._context), index)
        if spec not in self._held:
            self._context.progress(f"loading model {index + 1} of {len(self._specs)}")
            self._held[spec] = self._same(loaded(spec, self._context), index)
        return self._held[spec]

    def _same(self, model: "LoadedModel", index: int) -> "LoadedModel":
        """Its answers are kept by the fingerprint that was taken before it was loaded. Raises ModelChanged for another
        one."""
        if model.fingerprint != self._prints[index]:
            raise ModelChanged(self._specs[index].source)
        return model

    def release(self) -> None:
        """Free all but the one the worker keeps."""
        self._held.clear()
        gc.collect()

    def _all_fit(self, opened: list[Checkpoint]) -> bool:
        from analysis.models.load import width_in_memory
        from analysis.models.loaded import free_bytes, pick_device

        need: dict[str, float] = {}
        for model, checkpoint in dict(zip(self._specs, opened, strict=True)).items():
            device = pick_device(model.device)
            size = checkpoints.weight_bytes(checkpoint, width_in_memory(model, device)) * _HEADROOM
            need[device] = need.get(device, 0) + size
        return all(size < (free_memory() if device == "cpu" else free_bytes(device)) for device, size in need.items())


def import_results(spec: ImportSpec, context: Context) -> Outcome[ImportSummary]:
    """Read folders of lm-eval results and compare their models. The file holds a JSON line for every item and answer.

    The key is that of the content, so the same answers are one result wherever they are. Raises UserError as
    `importing.import_folders` does.
    """
    context.progress("looking for results")
    results = importing.import_folders(spec, lambda task: context.progress(f"reading {task}"))
    if not results.answers:
        raise UserError("Nothing was answered in these folders. Give folders that lm-eval wrote with --log_samples.")
    context.progress("comparing")
    path = context.folder / DOCUMENTS
    importing.write(results, path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    key = content_key(kind="import", content=content, code=code_version(__name__))
    sources = [model.source for model in results.models]
    return Outcome(cast(ImportSummary, {**summary(results), "key": key, "sources": sources}), path, key)
