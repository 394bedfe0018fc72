"""The benchmarks as lm-eval has them: which items are taken, what is asked of a model, and what its answers score.

Prompts, filters and metrics are lm-eval's own functions, called item by item.
"""

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.utils import hash_string

from analysis import hub
from analysis.errors import UserError, shorten
from analysis.evaluation import items_file
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.items_file import EvaluatedItem
from analysis.evaluation.lm_eval_fixes import may_have, nothing_remembered, quiet, settle, templates_kept
from analysis.evaluation.presets import BUNDLED_PREFIX, Preset, expand, preset, why_left_out
from analysis.models.tokenizer import TemplateTooBig
from analysis.specs import EvaluateSpec, ModelSpec

FEWSHOT_SEED = 1234  # lm-eval's own default
TUNING_SHARE = 4  # one item in so many is kept for choosing settings
DEFAULT_NEW_TOKENS = 256  # lm-eval's own, where a task names none

Stamp = tuple[str, int, int]
"""A file, when it was changed and its bytes."""


@dataclass(frozen=True)
class TaskItem:
    """One item. id: its place in the task's split. requests: what a model is asked. place: in the seeded shuffle.

    cluster: what it shares with other items, '' where it has its own. choices: how many there are, 0 for none.
    """

    task: str
    id: int
    place: int
    requests: tuple[Instance, ...]
    cluster: str = ""
    choices: int = 0

    @property
    def key(self) -> str:
        """Name of the item in the results."""
        return f"{self.task}/{self.id}"

    @property
    def length(self) -> int:
        """Length in characters of its longest request, by which items of a window are sorted."""
        return max(sum(len(str(part)) for part in request.args[:2]) for request in self.requests)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark to be run: its preset with the user's changes, lm-eval's tasks in it, and the items taken.

    cluster: the columns that say which items belong together, '' where each is on its own.
    """

    name: str
    preset: Preset
    shots: int
    draws: int
    guidance: float
    gen_length: int | None
    metric: str
    kind: str  # lm-eval's output type
    tasks: dict[str, Task]
    documents: tuple[TaskItem, ...]
    cluster: str = ""

    @property
    def chance(self) -> float | None:
        """The accuracy of a choice at random, over the items taken; None where there is nothing to choose from."""
        offered = [document.choices for document in self.documents]
        return sum(1 / count for count in offered) / len(offered) if offered and all(offered) else None

    @property
    def needs_greedy(self) -> bool:
        """True if a metric asks whether greedy decoding writes an answer."""
        if self.kind == "loglikelihood":
            return True
        return self.kind == "multiple_choice" and any(
            "exact_match" in task.aggregation() for task in self.tasks.values()
        )

    @property
    def is_perplexity(self) -> bool:
        return self.kind == "loglikelihood_rolling"


@dataclass(frozen=True)
class ChatTemplate:
    """Turns as text, where prompts are wrapped as a user's turn."""

    apply: Callable[..., str]
    name: str


@quiet()
@templates_kept()
def load_benchmarks(
    spec: EvaluateSpec, chat: ChatTemplate | None, progress: Callable[[str], None] = lambda phase: None
) -> tuple[list[Benchmark], list[str]]:
    """Every benchmark that can be had, and a sentence on each that cannot.

    Raises UserError for a folder of tasks that is none, and when no benchmark is left.
    """
    names = expand(spec.tasks)
    progress("reading the tasks")
    if spec.include_path is None and chat is None and all(name.startswith(BUNDLED_PREFIX) for name in names):
        whoever = {"model": ModelSpec(), "compare": (), "names": (), "kept": ()}
        benchmarks, problems = _shipped(spec.model_copy(update=whoever), _stamps())
    else:
        benchmarks, problems = _loaded(names, spec, chat, progress)
    if not benchmarks:
        raise UserError(" ".join(problems))
    return list(benchmarks), list(problems)


@lru_cache(maxsize=1)
def _shipped(asked: EvaluateSpec, stamps: tuple[Stamp, ...]) -> tuple[list[Benchmark], list[str]]:
    """Return the bundled tasks that are asked, whoever answers: the same for all points of a sweep. stamps: of their
    files.
    """
    return _loaded(expand(asked.tasks), asked, None, lambda phase: None)


def _stamps() -> tuple[Stamp, ...]:
    files = [(path, path.stat()) for path in sorted(FOLDER.iterdir()) if path.is_file()]
    return tuple((path.name, told.st_mtime_ns, told.st_size) for path, told in files)


def _loaded(
    names: Sequence[str], spec: EvaluateSpec, chat: ChatTemplate | None, progress: Callable[[str], None]
) -> tuple[list[Benchmark], list[str]]:
    manager = _manager(names, spec.include_path)
    benchmarks, problems = [], []
    for name in names:
        row = preset(name)
        progress(f"reading {row.title}")
        try:
            benchmark, left_out = _benchmark(name, row, spec, manager, chat)
            benchmarks.append(benchmark)
            problems += left_out
        except TemplateTooBig as error:
            problems.append(f"{row.title} was left out: a template of its YAML file {error}")
        except UserError as error:
            problems.append(str(error))
        except Exception as error:  # lm-eval, datasets and task files raise everything
            problems.append(why_left_out(row, error))
    return benchmarks, problems


def fitting(
    benchmarks: Sequence[Benchmark], longest: int, tokens: Callable[[str], int]
) -> tuple[list[Benchmark], list[str]]:
    """The benchmarks and items whose answers fit into `longest` tokens, and a sentence on each that does not.

    tokens: the length of a text. Raises UserError where no benchmark is left.
    """
    kept, problems = [], []
    for benchmark in benchmarks:
        row, written = benchmark.preset, _new_tokens(benchmark)
        fit = tuple(
            document
            for document in benchmark.documents
            if _answer_tokens(benchmark, document, longest, tokens) < longest
        )
        left_out = len(benchmark.documents) - len(fit)
        if written >= longest:
            problems.append(
                f"{row.title} was left out: its answers are written in {written} tokens, and a model takes {longest} "
                f"with the prompt. Choose fewer new tokens, or {row.alternative}, which ships with SinkScope."
            )
        elif not fit:
            problems.append(
                f"{row.title} was left out: its answers are longer than the {longest} tokens a model takes. Choose "
                f"{row.alternative}, which ships with SinkScope."
            )
        else:
            kept.append(replace(benchmark, documents=fit))
            if left_out:
                problems.append(
                    f"{row.title}: {left_out} of {len(benchmark.documents)} items were left out, as an answer of "
                    f"theirs is longer than the {longest} tokens a model takes."
                )
    if not kept:
        raise UserError(" ".join(problems))
    return kept, problems


def _answer_tokens(benchmark: Benchmark, document: TaskItem, longest: int, tokens: Callable[[str], int]) -> int:
    """The length of an item's longest answer; 0 where answers are written or texts are read in windows."""
    if benchmark.kind not in ("loglikelihood", "multiple_choice"):
        return 0
    most = 0
    for request in document.requests:
        context, answer = request.args[:2]
        alone = tokens(answer)
        # Where it matters, as lm-eval splits them: context and answer are encoded together.
        most = max(most, tokens(context + answer) - tokens(context) if alone > longest // 2 else alone)
    return most


def _new_tokens(benchmark: Benchmark) -> int:
    """The most tokens that an item's answer is written in; 0 where answers are scored."""
    if benchmark.kind != "generate_until":
        return 0
    if benchmark.gen_length is not None:
        return benchmark.gen_length
    limits = (request.args[1].get("max_gen_toks") for document in benchmark.documents for request in document.requests)
    return max((int(tokens or DEFAULT_NEW_TOKENS) for tokens in limits), default=0)


def _manager(names: Sequence[str], include_path: str | None) -> TaskManager:
    """lm-eval's own thousands of task files are read only where a task of theirs is asked for."""
    folders = [str(FOLDER)]
    if include_path is not None:
        try:
            folder = Path(include_path).expanduser()
            there = folder.is_dir()
        except (OSError, RuntimeError) as error:  # too long a name, an unknown user's home
            raise UserError(f"'{shorten(include_path)}' cannot be the folder of tasks: {error}.") from error
        if not there:
            raise UserError(f"There is no folder '{include_path}' with tasks. Give one that holds lm-eval YAML files.")
        folders.append(str(folder))
    manager = _reading(folders, include_defaults=False)
    elsewhere = {preset(name).task for name in names} - set(manager.task_index)
    if not elsewhere or not may_have(elsewhere):
        return manager
    return _reading(folders)


def _reading(folders: list[str], include_defaults: bool = True) -> TaskManager:
    """lm-eval's index of the tasks in folders. Raises UserError for files that it cannot list."""
    try:
        return TaskManager(include_path=folders, include_defaults=include_defaults)
    except Exception as error:  # task files raise everything
        raise UserError(
            f"The tasks in '{shorten(folders[-1])}' cannot be listed. Expected YAML files of lm-eval that each give a "
            'task, group or tag a name that is text: `task: "5"`, not `task: 5`.'
        ) from error


def _benchmark(
    name: str, row: Preset, spec: EvaluateSpec, manager: TaskManager, chat: ChatTemplate | None
) -> tuple[Benchmark, list[str]]:
    """One benchmark, and a sentence on the items of it that are left out, if any. Raises UserError, and what lm-eval,
    `datasets` and task files raise."""
    if row.task not in manager.task_index:
        raise UserError(
            f"There is no task '{row.task}'. `python -m lm_eval ls tasks` lists lm-eval's, --include-path adds yours; "
            "the bundled tasks are bundled_knowledge, bundled_story and so on."
        )
    elsewhere = not row.task.startswith(BUNDLED_PREFIX) and not hub.reachable()
    with hub.offline() if elsewhere else nullcontext(), _seeded(), nothing_remembered():
        tasks: dict[str, Task] = manager.load([row.task])["tasks"]
        for task in tasks.values():
            settle(task)
    shots = row.shots if spec.shots is None else spec.shots
    for task in tasks.values():
        task_shots = task.get_config("num_fewshot")
        if task_shots is None or (shots is not None and task_shots != 0):  # a task that says 0 cannot take examples
            task.set_config("num_fewshot", shots or 0)
        task.set_fewshot_seed(FEWSHOT_SEED)
    first = next(iter(tasks.values()))
    if getattr(first, "UNSAFE_CODE", False):
        raise UserError(f"'{row.title}' runs code that the model writes. SinkScope does not.")
    if getattr(first, "MULTIMODAL", False):
        raise UserError(f"'{row.title}' needs images or sound, which these models do not read.")
    kind = first.OUTPUT_TYPE
    chosen = _chosen(name, tasks, spec)
    if not chosen:
        raise UserError(f"{row.title} was left out: none of its items is in the part '{spec.part}'.")
    clustered_by = items_file.columns(tasks)
    documents, unanswerable = [], 0
    for document in _documents(tasks, chosen, chat, clustered_by):
        if _has_answer(tasks[document.task], document.requests[0].doc):
            documents.append(document)
        else:
            unanswerable += 1
    problems = []
    if unanswerable:
        if not documents:
            raise UserError(
                f"{row.title} was left out: the right answer of each of its items is none of the item's choices. Check "
                "doc_to_target and doc_to_choice of the task."
            )
        problems.append(
            f"{row.title}: {unanswerable} of {len(chosen)} items were left out, as their right answer is none of their "
            "choices."
        )
    benchmark = Benchmark(
        name,
        row,
        shots=first.get_config("num_fewshot") or 0,
        draws=row.draws if spec.draws is None else spec.draws,
        guidance=row.guidance if spec.guidance is None else spec.guidance,
        gen_length=row.gen_length if spec.gen_length is None else spec.gen_length,
        metric=row.metric or next(iter(first.aggregation()), "acc"),
        kind=kind,
        tasks=tasks,
        documents=tuple(documents),
        cluster=items_file.in_words(clustered_by.values()),
    )
    return benchmark, problems


def _chosen(name: str, tasks: dict[str, Task], spec: EvaluateSpec) -> list[tuple[str, int]]:
    """(task, id) of the items taken, in a shuffle that depends on the seed and the benchmark alone.

    A smaller limit takes the beginning of a larger one's. A part takes its items in the order that all have.
    """
    texts = {task_name: task.eval_docs for task_name, task in tasks.items()}
    items = [(task_name, index) for task_name, all_of_it in texts.items() for index in range(len(all_of_it))]
    random.Random(f"items {spec.seed} {name}").shuffle(items)
    if spec.part != "all":
        items = [(task_name, index) for task_name, index in items if part_of(texts[task_name][index]) == spec.part]
    return items[: spec.limit]


def part_of(item: Mapping[str, Any]) -> str:
    """Assign an item to be used for 'tuning' or 'reported', by its content, so that equal items are never in both."""
    text = json.dumps(item, sort_keys=True, default=str)
    return "reported" if int(hashlib.sha256(text.encode()).hexdigest(), 16) % TUNING_SHARE else "tuning"


def _documents(
    tasks: dict[str, Task], chosen: list[tuple[str, int]], chat: ChatTemplate | None, clustered_by: Mapping[str, str]
) -> tuple[TaskItem, ...]:
    places = {item: place for place, item in enumerate(chosen)}
    documents: list[TaskItem] = []
    for task_name, task in tasks.items():
        ids = sorted(index for other, index in chosen if other == task_name)
        if not ids:
            continue
        whole = len(ids) == len(task.eval_docs)
        task.build_all_requests(
            samples=None if whole else ids,
            apply_chat_template=chat is not None,
            fewshot_as_multiturn=chat is not None,
            chat_template=chat.apply if chat else None,
            tokenizer_name=chat.name if chat else "",
        )
        requests: dict[int, list[Instance]] = defaultdict(list)
        for request in task.instances:
            requests[ids[request.doc_id]].append(request)  # lm-eval numbers the items of a subset from 0
        documents += [
            TaskItem(
                task_name,
                index,
                places[task_name, index],
                tuple(sorted(document_requests, key=lambda r: r.idx)),
                items_file.cluster(document_requests[0].doc, clustered_by[task_name]),
                _choices(task, document_requests),
            )
            for index, document_requests in requests.items()
        ]
    return tuple(sorted(documents, key=lambda document: document.place))


def _choices(task: Task, requests: Sequence[Instance]) -> int:
    """Count the choices of an item; each is asked twice where a metric needs its likelihood without the question."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return 0
    return len(requests) // 2 if "acc_mutual_info" in task.aggregation() else len(requests)


# --- scoring ----------------------------------------------------------------------------------------------------


def scored(benchmark: Benchmark, document: TaskItem, responses: Sequence[Any]) -> tuple[dict[str, Any], str | None]:
    """lm-eval's metrics of one item, as JSON; and of a written answer what the benchmark's metric read, else None.

    A metric of a named filter is `metric,filter`.
    """
    task = benchmark.tasks[document.task]
    instances = [
        Instance(r.request_type, r.doc, r.arguments, r.idx, r.metadata, resps=[response] * (r.repeats or 1))
        for r, response in zip(document.requests, responses, strict=True)
    ]
    filters = getattr(task, "_filters", [])
    for metric_filter in filters:
        metric_filter.apply(instances)
    metrics: dict[str, Any] = {}
    for number, name in enumerate(instances[0].filtered_resps):
        values = task.process_results(instances[0].doc, [each.filtered_resps[name] for each in instances])
        for metric, value in values.items():
            plain = _plain(value)
            if number == 0:
                metrics[metric] = plain
            if name != "none":
                metrics[f"{metric},{name}"] = plain
    read = instances[0].filtered_resps
    counted = read.get(benchmark.metric.partition(",")[2], next(iter(read.values()), None))
    return metrics, str(counted) if isinstance(responses[0], str) else None


def described(benchmark: Benchmark, document: TaskItem) -> EvaluatedItem:
    """The item for people: its question, its choices, and which is right (an index, or text)."""
    task, first = benchmark.tasks[document.task], document.requests[0]
    choices: list[str] = []
    right = None
    if benchmark.kind == "multiple_choice":
        choices = [str(choice) for choice in task.doc_to_choice(first.doc)]
    if not benchmark.is_perplexity:
        right = task.doc_to_text(first.doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(first.doc)
        if choices and isinstance(right, str) and right in choices:
            right = choices.index(right)
    if getattr(task, "multiple_input", 0):  # the choices stand in the context, and what follows is the same
        question = f"…{first.args[1]}"
    else:  # what is asked of this item, without the examples before it
        question = task.doc_to_text(first.doc) or first.args[0]
    return EvaluatedItem(
        key=document.key,
        benchmark=benchmark.name,
        place=document.place,
        question=str(question)[-1200:],
        choices=tuple(choices),
        right=_plain(right),
        cluster=document.cluster,
        prompt=hash_string(str(first.args[0])),
    )


def _plain(value: Any) -> Any:
    """Convert to plain numbers, text, lists and dicts."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item") and not isinstance(value, str):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@contextmanager
def _seeded() -> Iterator[None]:
    """Some tasks shuffle an item's choices with Python's own generator as they are read: the same way every time."""
    before = random.getstate()
    random.seed(FEWSHOT_SEED)
    try:
        yield
    finally:
        random.setstate(before)


def _has_answer(task: Task, doc: Mapping[str, Any]) -> bool:
    """Say whether an answer can be right: lm-eval counts an item whose right answer is none of its choices as wrong,
    whatever a model answers. Tasks with a scoring function of their own decide for themselves."""
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results):
        return True
    choices = task.doc_to_choice(doc)
    right = task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
    return any(_is_choice(one, choices) for one in (right if isinstance(right, list) else [right]))


def _is_choice(right: Any, choices: Sequence[Any]) -> bool:
    """Say whether a right answer, a place among the choices or the text of one, is one of them."""
    if isinstance(right, int):
        return 0 <= right < len(choices)
    return right in choices
