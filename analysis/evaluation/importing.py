"""Evaluations that lm-eval wrote elsewhere, and models that were scored apart joined into one comparison. Imports no
lm-eval and no torch.

`lm_eval_results` finds the files and reads them. Scores are shares of right answers, so a task without a metric from 0
to 1 is left out.

Models are joined on the items that all have answered. Two items are the same if their benchmark, prompt and answer are,
whatever their numbers. Answers made under other conditions (draws, examples, versions) are joined all the same; each
model keeps its conditions, so that every sentence about two of them says what differs.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.errors import UserError, shorten
from analysis.evaluation import comparing, conditions
from analysis.evaluation.items_file import (
    Answer,
    End,
    EvaluatedBenchmark,
    EvaluatedItem,
    EvaluatedModel,
    Header,
    LineWriter,
    column_of,
    in_words,
)
from analysis.evaluation.lm_eval_results import ImportedModel, Sample, TaskSamples, mapping, models_in, read_samples
from analysis.evaluation.presets import PRESETS
from analysis.evaluation.results import PERPLEXITY, Results, read
from analysis.pruned.report_file import read_report
from analysis.specs import ImportSpec

Items = Mapping[str, Mapping[str, EvaluatedItem]]
"""By benchmark, the items by what was asked."""


@dataclass(frozen=True)
class Part:
    """A model of some results, and what it is called in the comparison."""

    name: str
    results: Results
    model: int


def joined(parts: Sequence[Part]) -> Results:
    """The models of all parts on the items that they have in common, with a sentence on everything left out.

    Where a part has not answered all of its items, tests wait as in its own evaluation. Raises UserError where two
    parts have one name, and where no item is common to all.
    """
    names = tuple(part.name for part in parts)
    if len(set(names)) != len(names):
        raise UserError("Two models have the same name. Give each a name of its own.")
    answered = [_answered(part) for part in parts]
    shared = {
        benchmark: [question for question in items if all(question in other.get(benchmark, {}) for other in answered)]
        for benchmark, items in answered[0].items()
    }
    shared = {benchmark: questions for benchmark, questions in shared.items() if questions}
    if not shared:
        raise UserError(
            f"No item was answered by all of {', '.join(names)}: their tasks or prompts differ. Compare models that "
            "were asked the same."
        )
    documents: dict[str, EvaluatedItem] = {}
    answers: dict[tuple[str, int], Answer] = {}
    for benchmark, some in shared.items():
        for question in some:
            item = answered[0][benchmark][question]
            documents[item.key] = item
            for number, (part, items) in enumerate(zip(parts, answered, strict=True)):
                answers[item.key, number] = part.results.answers[items[benchmark][question].key, part.model]
    header = Header(
        names=names,
        models=tuple(_model(part) for part in parts),
        benchmarks=tuple(_benchmark(name, len(some), parts) for name, some in shared.items()),
        problems=tuple(_left_out(parts, answered, shared)),
        seed=parts[0].results.header.seed,
    )
    return Results(header, documents, answers, None)


def _answered(part: Part) -> dict[str, dict[str, EvaluatedItem]]:
    """By benchmark, the items that a part's model has answered, by what was asked. What was asked twice is numbered."""
    by_benchmark: dict[str, dict[str, EvaluatedItem]] = {}
    for benchmark in part.results.benchmarks:
        seen: Counter[str] = Counter()
        for item in part.results.shuffled[benchmark.name]:
            question = asked_of(item)
            seen[question] += 1
            if (item.key, part.model) in part.results.answers:
                by_benchmark.setdefault(benchmark.name, {})[f"{question}/{seen[question]}"] = item
    return by_benchmark


def asked_of(item: EvaluatedItem) -> str:
    """Identify an item across files: by its prompt's hash, or its words' where a file has none, and its answer."""
    prompt = item.prompt or hashlib.sha256(item.question.encode("utf-8", "replace")).hexdigest()
    answer = item.choices[item.right] if isinstance(item.right, int) and item.right < len(item.choices) else item.right
    return f"{prompt}/{' '.join(str(answer).split())}"


def _model(part: Part) -> EvaluatedModel:
    """The model with the conditions it was scored under, as they are not those of the others."""
    results = part.results
    joined_model = results.models[part.model]
    scored = joined_model.scored or conditions.scoring_of_all(results.header, comparing.scoring_versions(results))
    return joined_model.model_copy(update={"scored": scored})


def _benchmark(name: str, common: int, parts: Sequence[Part]) -> EvaluatedBenchmark:
    """A benchmark as the first part has it. Tests wait for the items that a part still has to answer.

    Draws are not stated (0) where they are not of some part.
    """
    first = parts[0].results.benchmark(name)
    open_items = max(part.results.benchmark(name).planned - len(_done(part, name)) for part in parts)
    stated = all(part.results.benchmark(name).draws for part in parts)
    return first.model_copy(update={"planned": common + max(open_items, 0), "draws": first.draws if stated else 0})


def _done(part: Part, benchmark: str) -> list[EvaluatedItem]:
    return [item for item in part.results.shuffled[benchmark] if (item.key, part.model) in part.results.answers]


def _left_out(parts: Sequence[Part], answered: Sequence[Items], shared: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the parts' problems and what of them is not compared, a sentence each."""
    told = [f"{part.name}: {problem}" for part in parts for problem in part.results.problems]
    for part, items in zip(parts, answered, strict=True):
        alone = [part.results.benchmark(name).title for name in items if name not in shared]
        if alone:
            told.append(f"{', '.join(alone)} of {part.name} is not compared: not all others have answered its items.")
    for name, some in shared.items():
        counts = {part.name: len(items[name]) for part, items in zip(parts, answered, strict=True)}
        if any(count != len(some) for count in counts.values()):
            title = parts[0].results.benchmark(name).title
            each = ", ".join(f"{count:,} of {who}" for who, count in counts.items())
            told.append(f"{title} is compared on the {len(some):,} items whose prompts all were asked ({each}).")
    return told


MODELS_LIMIT = 17  # as many as an evaluation compares
_METRICS = ("acc", "exact_match", "word_perplexity")  # which is shown, where there are several


def import_folders(spec: ImportSpec, on_task: Callable[[str], None] = lambda task: None) -> Results:
    """Read the answers of the models in these folders, joined on the items that all were asked.

    on_task: told each task before it is read. Raises UserError for a folder without results or samples, for files that
    are none, for two equal names, and where no item is common.
    """
    models = [model for folder in spec.folders for model in models_in(Path(folder))]
    before = [read(Path(file)) for file in spec.beside]
    ours = [(name, results, number) for results in before for number, name in enumerate(results.names)]
    count = len(models) + len(ours)
    if count > MODELS_LIMIT:
        raise UserError(f"There are {count} models to compare. Import up to {MODELS_LIMIT} at once.")
    if spec.names and len(spec.names) != len(models):
        called = ", ".join(model.name for model in models)
        raise UserError(f"There are {len(models)} models ({called}) and {len(spec.names)} names. Give one each.")
    given = list(spec.names) or numbered([model.name for model in models])
    parts = [Part(name, results, number) for name, results, number in ours]
    parts += [Part(name, _read(model, name, spec, on_task), 0) for name, model in zip(given, models, strict=True)]
    return parts[0].results if len(parts) == 1 else joined(parts)


def write(results: Results, path: Path) -> None:
    """Write results from memory as an items file, ended."""
    lines = LineWriter(path)
    try:
        lines.write(results.header)
        for item in results.documents.values():
            lines.write(item)
        for (key, model), answer in results.answers.items():  # joined ones are still as their own file has them
            lines.write(answer.model_copy(update={"key": key, "model": model}))
        lines.write(results.end or End())
    finally:
        lines.close()


def numbered(names: Sequence[str]) -> list[str]:
    """Return names of models, with its number after each that another one shares."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


# --- reading ----------------------------------------------------------------------------------------------------


def _read(model: ImportedModel, name: str, spec: ImportSpec, on_task: Callable[[str], None]) -> Results:
    """A model's answers, one evaluation with itself alone."""
    documents: dict[str, EvaluatedItem] = {}
    answers: dict[tuple[str, int], Answer] = {}
    tasks: dict[str, list[tuple[TaskSamples, str]]] = {}
    problems = list(model.problems)
    for task in model.tasks.values():
        on_task(task.name)
        rows = list(read_samples(task))
        filters = list(dict.fromkeys(row.filter for row in rows))
        if len(filters) > 1:
            chosen = next((name for name in spec.filters if name in filters), filters[0])
            problems.append(f"{task.name} was scored through the filters {', '.join(filters)}: '{chosen}' counts.")
            rows = [row for row in rows if row.filter == chosen]
        metric = _metric(task, rows, spec.metrics)
        if metric is None:
            problems.append(f"{task.name} is left out: none of its metrics is a share of what is right of each item.")
            continue
        first = tasks.setdefault(task.benchmark, [])
        if first and first[0][1] != metric:
            problems.append(f"{task.name} is left out: {first[0][0].name}, of the same benchmark, has another metric.")
            continue
        first.append((task, metric))
        for row in rows:
            key = row.item.key
            if key in documents:
                raise UserError(
                    f"'{task.samples.name}' holds item {row.id} twice. Give files as --log_samples writes them."
                )
            documents[key] = row.item.model_copy(update={"place": len(documents)})
            answers[key, 0] = row.answer
    if not tasks:
        raise UserError(f"Nothing of '{shorten(str(model.folder))}' can be compared. {' '.join(problems)}")
    benchmarks = []
    for benchmark, parts in tasks.items():
        items = [item for item in documents.values() if item.benchmark == benchmark]
        parted = len({item.cluster for item in items}) > 1
        if not parted:  # a column that says the same of all parts nothing
            documents |= {item.key: item.model_copy(update={"cluster": ""}) for item in items}
        task, metric = parts[0]
        benchmarks.append(
            EvaluatedBenchmark(
                name=benchmark,
                title=_title(benchmark),
                metric=metric,
                kind=str(task.config.get("output_type", "")),
                planned=len(items),
                draws=0,
                shots=task.shots if isinstance(task.shots, int) else 0,
                guidance=0.0,
                gen_length=None,
                source="lm-eval",
                cluster=in_words(column_of(part.config) for part, _ in parts) if parted else "",
            )
        )
    source = model.source
    run = read_report(Path(source) if Path(source).is_dir() else model.folder)
    described = EvaluatedModel(
        source=source,
        pruning=run,
        revision=str(mapping(model.said.get("config")).get("model_sha") or ""),
        scored=_scored(model, benchmarks),
    )
    header = Header(
        names=(name,),
        models=(described,),
        benchmarks=tuple(benchmarks),
        problems=tuple(problems),
        created=_time(model.said.get("date")),
    )
    return Results(header, documents, answers, None)


def _time(seconds: Any) -> str:
    """ISO time of seconds since 1970; '' where the file says none."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="microseconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _title(benchmark: str) -> str:
    return PRESETS[benchmark].title if benchmark in PRESETS else benchmark


def _scored(model: ImportedModel, benchmarks: Sequence[EvaluatedBenchmark]) -> dict[str, Any]:
    """The conditions of a model's answers that its results file tells of."""
    said, config = model.said, mapping(model.said.get("config"))
    versions = {f"the task {task.name}": task.version for task in model.tasks.values() if task.version is not None}
    versions |= {
        package: said[f"{package}_version"] for package in ("lm_eval", "transformers") if said.get(f"{package}_version")
    }
    shots = {
        _title(task.benchmark): task.shots
        for task in model.tasks.values()
        if isinstance(task.shots, int) and any(task.benchmark == benchmark.name for benchmark in benchmarks)
    }
    scored: dict[str, Any] = {
        conditions.TASKS: conditions.in_order(benchmark.title for benchmark in benchmarks),
        conditions.ITEMS: conditions.by_task({benchmark.title: benchmark.planned for benchmark in benchmarks}),
        conditions.TEMPLATE: str(said.get("chat_template_sha") or "none")[:12],
        conditions.SCORED_IN: str(config.get("model_dtype") or "").removeprefix("torch."),
        conditions.SCORED_ON: str(config.get("device") or "").partition(":")[0],
    }
    if any(shots.values()):
        scored[conditions.EXAMPLES_SEED] = config.get("fewshot_seed")
    if shots:
        scored["shots"] = conditions.by_task(shots)
    return conditions.with_versions(
        {name: value for name, value in scored.items() if value not in ("", None)}, versions
    )


def _metric(task: TaskSamples, rows: Sequence[Sample], wanted: Sequence[str]) -> str | None:
    """The metric that counts: of texts a perplexity, else one that is a share of what is right, 1 being all.

    Those that are wanted go first, then what is right or wrong, then what has degrees.
    """
    texts = task.config.get("output_type") == PERPLEXITY
    metrics, fits = [row.answer.metrics for row in rows], _is_pair if texts else _is_share
    better = [name for name in metrics[0] if texts or task.better.get(name) is not False]
    shares = [name for name in better if all(fits(of.get(name)) for of in metrics)]
    verdicts = [name for name in shares if texts or all(of[name] in (0.0, 1.0) for of in metrics)]
    return next((name for name in (*wanted, *_METRICS, *verdicts, *shares) if name in shares), None)


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def _is_pair(value: Any) -> bool:
    """Return True if it is (log-likelihood, words)."""
    return isinstance(value, list) and len(value) == 2 and all(map(isfinite, value)) and value[1] > 0
