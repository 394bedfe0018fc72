"""The samples that lm-eval has logged of a task, one after another, whatever the version that wrote them.

From 0.4.3 on a file holds one JSON object a line; before, one JSON array over many lines, whose samples lack their
filter, their metrics' names and the hash of their prompt. Files are read as a stream, since those of long prompts take
gigabytes, and of a prompt only its hash and its end are kept. Imports no lm-eval.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from analysis.errors import UserError
from analysis.evaluation.item_clusters import cluster, column_of
from analysis.evaluation.items_file import Answer, EvaluatedItem
from analysis.evaluation.lm_eval_results import WITHOUT_SAMPLES, Json, TaskSamples, mapping
from analysis.evaluation.results import PERPLEXITY

UNFILTERED = "none"
_LONGEST_QUESTION = 1200  # characters of a question's end that are kept
_PIECE = 2**20  # characters of an array that are read at once
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
            for place, sample in _objects(file, task.samples.name):
                empty = False
                yield _read(task, sample, place, seen)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{task.samples.name}' cannot be read: {error}.") from error
    if empty:
        raise UserError(f"'{task.samples.name}' holds no sample. {WITHOUT_SAMPLES}")


def _objects(file: IO[str], name: str) -> Iterator[tuple[str, Any]]:
    """Yield the objects of a file, each after its place for messages."""
    first = file.read(1)
    while first.isspace():
        first = file.read(1)
    if first == "[":
        for number, element in enumerate(_elements(file, name), start=1):
            yield f"sample {number}", element
        return
    file.seek(0)
    for number, line in enumerate(file, start=1):
        if line.strip():
            place = f"line {number}"
            try:
                yield place, json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(_damaged(name, place)) from error


def _elements(file: IO[str], name: str) -> Iterator[Any]:
    """The elements of a JSON array whose opening bracket has been read."""
    decoder, text, number, more = json.JSONDecoder(), "", 0, _PIECE
    while True:
        text = text.lstrip().removeprefix(",").lstrip()
        if text.startswith("]"):
            return
        try:
            element, end = decoder.raw_decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            piece = file.read(more)
            if not piece or isinstance(error, RecursionError):
                raise UserError(_damaged(name, f"sample {number + 1}")) from error
            text, more = text + piece, 2 * more  # an element that is longer than all read so far is read few times
            continue
        number, more = number + 1, _PIECE
        yield element
        text = text[end:]


def _damaged(name: str, place: str) -> str:
    return f"'{name}', {place} is not JSON: the file is damaged or cut off. Copy it again."


def _read(task: TaskSamples, sample: Any, place: str, seen: Counter[int]) -> Sample:
    try:
        return _described(task, sample, seen)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else "a field holds what lm-eval does not write there"
        raise UserError(
            f"'{task.samples.name}', {place} is no sample of lm-eval: {why}. Expected what --log_samples of lm-eval "
            "0.4 writes."
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
        prompt=str(sample.get("prompt_hash") or hashlib.sha256(context.encode("utf-8", "replace")).hexdigest()),
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
