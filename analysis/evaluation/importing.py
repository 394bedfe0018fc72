"""Results that lm-eval wrote elsewhere, read as an evaluation. Imports no lm-eval and no torch.

`lm_eval_results` finds the files. Scores are shares of right answers, so a task without a metric of 0 and 1 is left
out.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.errors import UserError, shorten
from analysis.evaluation import conditions
from analysis.evaluation.item_clusters import cluster, column_of, in_words
from analysis.evaluation.items_file import (
    Answer,
    End,
    EvaluatedBenchmark,
    EvaluatedItem,
    EvaluatedModel,
    Header,
    LineWriter,
)
from analysis.evaluation.joining import Part, joined
from analysis.evaluation.lm_eval_results import WITHOUT_SAMPLES, ImportedModel, TaskSamples, mapping, models_in
from analysis.evaluation.presets import PRESETS
from analysis.evaluation.results import PERPLEXITY, Results, read
from analysis.pruned.report_file import read_report

MODELS_LIMIT = 17  # as many as an evaluation compares
_METRICS = ("acc", "exact_match", "word_perplexity")  # which is shown, where there are several
_LONGEST_QUESTION = 1200  # characters of a question's end that are kept


def import_folders(folders: Sequence[Path], names: Sequence[str] = (), beside: Sequence[Path] = ()) -> Results:
    """What the models in these folders answered, joined on the items that all were asked.

    names: of the models, in the order of the folders; by themselves they are called as lm-eval did. beside: items files
    of evaluations made here, whose models come first, under their own names. Raises UserError for a folder without
    results or samples, for files that are none, for two equal names, and where no item is common.
    """
    models = [model for folder in folders for model in models_in(folder)]
    ours = [(name, results, number) for results in map(read, beside) for number, name in enumerate(results.names)]
    count = len(models) + len(ours)
    if count > MODELS_LIMIT:
        raise UserError(f"There are {count} models to compare. Import up to {MODELS_LIMIT} at once.")
    if names and len(names) != len(models):
        called = ", ".join(model.name for model in models)
        raise UserError(f"There are {len(models)} models ({called}) and {len(names)} names. Give one each.")
    given = list(names) or _told_apart([model.name for model in models])
    parts = [Part(name, results, number) for name, results, number in ours]
    parts += [Part(name, _read(model, name), 0) for name, model in zip(given, models, strict=True)]
    return parts[0].results if len(parts) == 1 else joined(parts)


def write(results: Results, path: Path) -> None:
    """Writes results that are in memory as an items file, ended."""
    lines = LineWriter(path)
    try:
        lines.write(results.header)
        for item in results.documents.values():
            lines.write(item)
        for answer in results.answers.values():
            lines.write(answer)
        lines.write(results.end or End())
    finally:
        lines.close()


def _told_apart(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


# --- reading ----------------------------------------------------------------------------------------------------


def _read(model: ImportedModel, name: str) -> Results:
    """A model's answers, one evaluation with itself alone."""
    documents: dict[str, EvaluatedItem] = {}
    answers: dict[tuple[str, int], Answer] = {}
    tasks: dict[str, list[tuple[TaskSamples, str]]] = {}
    problems = list(model.problems)
    for task in model.tasks.values():
        rows = _rows(task)
        filters = list(dict.fromkeys(row.filter for row in rows))
        if len(filters) > 1:
            problems.append(f"{task.name} was scored by {len(filters)} filters: '{filters[0]}' is shown.")
            rows = [row for row in rows if row.filter == filters[0]]
        metric = _metric(task, rows)
        if metric is None:
            problems.append(f"{task.name} is left out: none of its metrics says right or wrong of an item.")
            continue
        first = tasks.setdefault(task.benchmark, [])
        if first and first[0][1] != metric:
            problems.append(f"{task.name} is left out: {first[0][0].name}, of the same benchmark, has another metric.")
            continue
        first.append((task, metric))
        for row in rows:
            key = f"{task.name}/{row.id}"
            if key in documents:
                raise UserError(
                    f"'{task.samples.name}' holds item {row.id} twice. Give files as --log_samples writes them."
                )
            documents[key] = EvaluatedItem(
                key=key,
                benchmark=task.benchmark,
                place=len(documents),
                question=row.question[-_LONGEST_QUESTION:],
                choices=row.choices,
                right=row.right,
                cluster=row.cluster,
                prompt=row.prompt,
            )
            answers[key, 0] = Answer(
                key=key, model=0, metrics=row.metrics, restored=False, responses=row.responses, draws=()
            )
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
        conditions.TASKS: tuple(benchmark.title for benchmark in benchmarks),
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


@dataclass(frozen=True)
class _Row:
    """A line of a samples file. prompt: the hash of what was asked first. responses: as lm-eval's metrics take them."""

    id: int
    filter: str
    cluster: str
    prompt: str
    question: str
    choices: tuple[str, ...]
    right: Any
    responses: tuple[Any, ...]
    metrics: dict[str, Any]


def _rows(task: TaskSamples) -> list[_Row]:
    rows: list[_Row] = []
    number = 0
    try:
        with task.samples.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_row(task, json.loads(line), number))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{task.samples.name}' cannot be read: {error}.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"'{task.samples.name}', line {number} is no JSON: the file is damaged or cut off. Copy it again."
        ) from error
    if not rows:
        raise UserError(f"'{task.samples.name}' holds no sample. {WITHOUT_SAMPLES}")
    return rows


def _row(task: TaskSamples, sample: Any, number: int) -> _Row:
    try:
        return _described(task, sample)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"'{task.samples.name}', line {number} is no sample of lm-eval: {type(error).__name__} at {error}. It is "
            "written by --log_samples of lm-eval 0.4."
        ) from error


def _described(task: TaskSamples, sample: Mapping[str, Any]) -> _Row:
    requests = [tuple(_in_order(request)) for request in _in_order(sample["arguments"])]
    kind = task.config.get("output_type")
    context = str(requests[0][0])
    choices: tuple[str, ...] = ()
    right: Any = sample["target"] if kind != PERPLEXITY else None
    if kind == "multiple_choice":
        endings = [str(request[1]) for request in requests]
        together = len(set(endings)) == 1 and len(endings) > 1  # the choices stand in the context, as in WinoGrande
        choices = tuple(
            str(request[0]) if together else ending.strip() for request, ending in zip(requests, endings, strict=True)
        )
        right = _index(right, choices)
    question = context if not choices or context not in choices else f"…{requests[0][1]}"
    responses = tuple(_response(filtered, kind) for filtered in sample["filtered_resps"])
    metrics = {str(name): _number(sample[name]) for name in sample["metrics"]}
    return _Row(
        id=int(sample["doc_id"]),
        filter=str(sample.get("filter", "none")),
        cluster=cluster(mapping(sample.get("doc")), column_of(task.config)),
        prompt=str(sample.get("prompt_hash") or hashlib.sha256(context.encode("utf-8", "replace")).hexdigest()),
        question=question,
        choices=choices,
        right=right,
        responses=responses,
        metrics=metrics,
    )


def _in_order(values: Any) -> list[Any]:
    """The parts of a request, or the requests: a list, or a mapping as lm-eval writes it for the sake of `datasets`."""
    return list(values.values()) if isinstance(values, dict) else list(values)


def _index(target: Any, choices: Sequence[str]) -> Any:
    """The number of the right choice, where the target names one. Digits are a number and no choice, as in lm-eval."""
    text = str(target).strip()
    if text.isdigit() and int(text) < len(choices):
        return int(text)
    return list(choices).index(text) if text in choices else text


def _response(response: Any, kind: Any) -> Any:
    """(log-likelihood, greedy) of a choice, which lm-eval writes as words, or the text that was written."""
    if kind == "multiple_choice" or kind == "loglikelihood":
        value, greedy = response
        return (float(value), str(greedy) == "True")
    return str(response)


def _number(value: Any) -> Any:
    """A metric's value of an item: a number, or the pair of numbers that a perplexity is made of."""
    if isinstance(value, list):
        return [float(part) for part in value]
    return float(value) if isinstance(value, bool | int | float) else value


def _metric(task: TaskSamples, rows: Sequence[_Row]) -> str | None:
    """The metric that is shown: of texts a perplexity, else one that is 0 or 1 of every item, 1 being better."""
    fits = _is_pair if task.config.get("output_type") == PERPLEXITY else _is_verdict
    fitting = [
        metric
        for metric in rows[0].metrics
        if task.better.get(metric) is not False or fits is _is_pair
        if all(fits(row.metrics.get(metric)) for row in rows)
    ]
    return next((metric for metric in _METRICS if metric in fitting), next(iter(fitting), None))


def _is_verdict(value: Any) -> bool:
    return isinstance(value, float) and value in (0.0, 1.0)


def _is_pair(value: Any) -> bool:
    """Whether it is (log-likelihood, words)."""
    return isinstance(value, list) and len(value) == 2 and all(map(isfinite, value)) and value[1] > 0
