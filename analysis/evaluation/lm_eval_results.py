"""Finding what lm-eval wrote: folders with its results files and, beside them, the samples of `--log_samples`.

They are called `results_TIME.json` (or `NAME_TIME.json`, for an `--output_path` that names a file) and
`samples_TASK_TIME.jsonl`, as lm-eval writes them from 0.4.3 on. A model is what the results files of one folder call by
one name and one set of arguments. Where a task was run more than once, the newest counts. Samples are read as a stream,
since files of long prompts take gigabytes, and of a prompt only its hash and its end are kept. Those of older versions
lack their filter and their metrics' names. Imports no lm-eval.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.errors import UserError, shorten
from analysis.evaluation.items_file import Answer, EvaluatedItem, cluster, column_of
from analysis.evaluation.presets import PRESETS
from analysis.evaluation.results import PERPLEXITY

Json = Mapping[str, Any]
WITHOUT_SAMPLES = "Run lm-eval again with --log_samples, which writes every answer."
_DEPTH = 3  # folders below the one named that are looked into
_DATED = re.compile(r".*_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)")  # results files, without their suffix


@dataclass
class TaskSamples:
    """A task of a model: its benchmark's name, lm-eval's config of it, and the file with its samples.

    better: by the name of a metric, whether more of it is better.
    """

    name: str
    benchmark: str
    config: Json
    shots: Any
    version: Any
    better: Json
    samples: Path


@dataclass
class ImportedModel:
    """A model with results. said: what its newest results file says of the model and of how it was run. problems:
    sentences on what is left out."""

    folder: Path
    said: Json
    tasks: dict[str, TaskSamples] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Model name as lm-eval gives it, without the path before it."""
        source = self.source
        return Path(source).name or source or self.folder.name

    @property
    def source(self) -> str:
        """Source the model was loaded from, if the file says it."""
        arguments = mapping(self.said.get("config")).get("model_args")
        given = _arguments(arguments).get("pretrained") or _arguments(arguments).get("model")
        return str(given or self.said.get("model_name") or "")


def models_in(folder: Path) -> list[ImportedModel]:
    """The models whose results lie in a folder or below it, in order of their folders' names."""
    with contextlib.suppress(RuntimeError):  # the home of a user who does not exist
        folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(
            f"There is no folder '{shorten(str(folder))}'. Give the folder that lm-eval wrote its results to."
        )
    groups: dict[tuple[Path, str], list[tuple[str, Json]]] = {}
    for date, file in sorted(_dated_files(folder), key=lambda dated: (dated[1].parent, dated[0])):
        said = _results(file)
        arguments = mapping(said.get("config")).get("model_args")
        told = json.dumps([said.get("model_name"), arguments], sort_keys=True, default=str)
        groups.setdefault((file.parent, told), []).append((date, said))
    if not groups:
        raise UserError(
            f"'{shorten(str(folder))}' holds no results of lm-eval: no file results_*.json was found in it. Give the "
            "--output_path of a run."
        )
    return [_model(place, files) for (place, _), files in groups.items()]


def _dated_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the results files, each after the time with which its name ends."""
    for depth in range(_DEPTH):
        for file in folder.glob("*/" * depth + "*.json"):
            if (dated := _DATED.fullmatch(file.stem)) is not None:
                yield dated[1], file


def _model(folder: Path, files: Sequence[tuple[str, Json]]) -> ImportedModel:
    """A model by its results, oldest first, with the newest samples of each of its tasks."""
    model = ImportedModel(folder, files[-1][1])
    missing: list[str] = []
    for date, results in files:
        for task, config in results["configs"].items():
            # By its last part: a task's name is text from outside, and a path in it would lead elsewhere.
            samples = folder / Path(f"samples_{task}_{date}.jsonl").name
            if not samples.is_file():
                missing.append(task)
                continue
            model.tasks[task] = TaskSamples(
                name=task,
                benchmark=_benchmark_of(task, mapping(results.get("group_subtasks"))),
                config=mapping(config),
                shots=mapping(results.get("n-shot")).get(task),
                version=mapping(results.get("versions")).get(task),
                better=mapping(mapping(results.get("higher_is_better")).get(task)),
                samples=samples,
            )
    if not model.tasks:
        which = f" of {', '.join(missing[:3])}" if missing else ""
        raise UserError(f"'{shorten(str(folder))}' holds no samples{which} beside its results. {WITHOUT_SAMPLES}")
    absent = [task for task in dict.fromkeys(missing) if task not in model.tasks]
    model.problems += [f"{task} is left out: its file of samples is not beside its results." for task in absent]
    return model


def _results(file: Path) -> Json:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{file.name}' cannot be read as JSON. Give a folder that lm-eval wrote.") from error
    if not isinstance(results, dict) or not isinstance(results.get("configs"), dict):
        raise UserError(f"'{file.name}' is no results file of lm-eval: it has no 'configs' of tasks.")
    return results


def _benchmark_of(task: str, groups: Json) -> str:
    """The benchmark that a task belongs to: a group that is one here, as MMLU, else the task itself."""
    known = {row.task: name for name, row in PRESETS.items()}
    holding = [task]
    for member in holding:
        holding += [
            group
            for group, members in groups.items()
            if isinstance(members, list) and member in members and group not in holding
        ]
    return next((known[name] for name in holding if name in known), task)


def mapping(value: Any) -> Json:
    """A value of a results file that should be a mapping; an empty one where it is not."""
    return value if isinstance(value, dict) else {}


def _arguments(arguments: Any) -> Json:
    """The model's arguments, which lm-eval writes as it was given them: a mapping, or `name=value,…`."""
    if isinstance(arguments, str):
        return dict(part.partition("=")[::2] for part in arguments.split(",") if "=" in part)
    return mapping(arguments)


UNFILTERED = "none"
_LONGEST_QUESTION = 1200  # characters of a question's end that are kept
_NO_METRICS = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"} | {
    f"{part}_hash" for part in ("doc", "prompt", "target")
}


@dataclass(frozen=True)
class Sample:
    """Answer of a model to an item, through one filter. id: the item's in its task. Of the item the prompt is the hash
    of what was asked first, and right the index of a choice, or text; its place is not known.
    """

    id: int
    filter: str
    item: EvaluatedItem
    answer: Answer


def read_samples(task: TaskSamples) -> Iterator[Sample]:
    """The samples of a task, in the order of the file. Raises UserError for a file that holds none, or is damaged."""
    seen: Counter[int] = Counter()
    empty = True
    try:
        with task.samples.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    empty = False
                    yield _read(task, line, number, seen)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{task.samples.name}' cannot be read: {error}.") from error
    if empty:
        raise UserError(f"'{task.samples.name}' holds no sample. {WITHOUT_SAMPLES}")


def _read(task: TaskSamples, line: str, number: int, seen: Counter[int]) -> Sample:
    name = f"'{task.samples.name}', line {number}"
    try:
        return _described(task, json.loads(line), seen)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{name} is not JSON: the file is damaged or cut off. Copy it again.") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else "a field holds what lm-eval does not write there"
        raise UserError(
            f"{name} is no sample of lm-eval: {why}. Expected what --log_samples of lm-eval 0.4.3 or newer writes."
        ) from error


def _described(task: TaskSamples, sample: Json, seen: Counter[int]) -> Sample:
    requests = [tuple(_in_order(request)) for request in _in_order(sample["arguments"])]
    kind = task.config.get("output_type")
    context = str(requests[0][0])
    responses = tuple(_response(response, kind) for response in sample["filtered_resps"])
    filtered = responses[0] if responses and isinstance(responses[0], str) and kind != PERPLEXITY else None
    if filtered is not None and sample.get("resps"):
        responses = tuple(_written(response) for response in sample["resps"])
    metrics = {name: _number(sample[name]) for name in _metric_names(sample)}
    question = context
    choices: tuple[str, ...] = ()
    right: Any = sample["target"] if kind != PERPLEXITY else None
    if kind == "multiple_choice":
        endings = [str(request[1]) for request in requests]
        if len(set(endings)) == 1 and len(endings) > 1:  # the choices stand in the context, as in WinoGrande
            choices = tuple(_without_examples(str(request[0]), task.config) for request in requests)
            right, question = _scored_right(responses, metrics.get("acc"), right), f"…{endings[0]}"
        else:
            choices = tuple(ending.strip() for ending in endings)
            right = _index(right, choices)
    number = int(sample["doc_id"])
    key = f"{task.name}/{number}"
    item = EvaluatedItem(
        key=key,
        benchmark=task.benchmark,
        place=0,
        question=question[-_LONGEST_QUESTION:],
        choices=choices,
        right=right,
        cluster=cluster(mapping(sample.get("doc")), column_of(task.config)),
        prompt=str(sample["prompt_hash"]),
    )
    answer = Answer(key=key, model=0, metrics=metrics, restored=False, responses=responses, filtered=filtered)
    return Sample(number, str(sample["filter"]) if "filter" in sample else _filter(task, number, seen), item, answer)


def _metric_names(sample: Json) -> list[str]:
    """The names of the metrics of a sample; where the file does not say them, of all that lm-eval adds to it."""
    stated = sample.get("metrics")
    return list(map(str, stated)) if stated is not None else [name for name in sample if name not in _NO_METRICS]


def _filter(task: TaskSamples, number: int, seen: Counter[int]) -> str:
    """The filter of a sample that does not say its own: an item stands in the file once per filter, in their order."""
    filters = [str(mapping(entry).get("name")) for entry in task.config.get("filter_list") or ()] or [UNFILTERED]
    seen[number] += 1
    return filters[min(seen[number], len(filters)) - 1]


def _without_examples(context: str, config: Json) -> str:
    """Cut the examples from a context that may begin with them."""
    return context.rpartition(str(config.get("fewshot_delimiter") or "\n\n"))[2]


def _scored_right(responses: Sequence[Any], right: Any, target: Any) -> Any:
    """The number of the right one of choices that stand in the context, as the file only names what follows them.

    right: whether the likeliest choice is the right one. Where it is not, and there are more than two, nothing says it.
    """
    values = [response[0] for response in responses]
    best = values.index(max(values))
    if right == 1:
        return best
    return 1 - best if right == 0 and len(values) == 2 else str(target)


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


def _written(response: Any) -> str:
    """The text as it was written: the first, where an item was asked several times."""
    return str(response[0] if isinstance(response, list) and response else response)


def _number(value: Any) -> Any:
    """A metric's value of an item: a number, or the pair of numbers that a perplexity is made of."""
    if isinstance(value, list):
        return [float(number) for number in value]
    return float(value) if isinstance(value, bool | int | float) else value
