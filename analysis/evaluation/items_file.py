"""The file of an evaluation, and the clusters of items whose answers are not independent. Imports no torch.

The file holds JSON lines: a header, each item before its first answer, answers as they come, and an end line when the
evaluation has ended. It is written and read here alone; older files lack the fields that have a default.

Clusters go by a column of the task's data set. A task's own YAML file names it as `metadata: {cluster: COLUMN}`; for
data sets of the hub it stands in `COLUMNS`.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from analysis import outputs
from analysis.errors import UserError
from analysis.pruned.report_file import PrunedRun

if TYPE_CHECKING:
    from lm_eval.api.task import Task


DOCUMENTS = "documents.jsonl"  # in the job's folder
HEADER_BYTES = 2**20  # more than the first line of such a file can take


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class EvaluatedModel(_Record):
    """A model of an evaluation. pruning: how it was pruned, by its report; an empty one for a model that has none.

    revision: of the hub, '' for one from elsewhere. scored: conditions by name (`conditions.scoring`), where they are
    its own and not those of all models of the file. likelihood: of `CANVAS_SCORES`, for one whose noise is random
    tokens. kept: how much of its keys and values it kept, as `EvaluateSpec.kept` has it; '' for everything.
    """

    source: str = ""
    fingerprint: str = ""
    pruning: PrunedRun = PrunedRun()
    sampler: str = ""
    revision: str = ""
    likelihood: str = ""
    kept: str = ""
    scored: dict[str, Any] = Field(default_factory=dict)


class EvaluatedBenchmark(_Record):
    """A benchmark as it was run. planned: the number of items fixed before the start. kind: lm-eval's output type.

    cluster: the column of its data set that says which items belong together; '' where each is on its own. chance: the
    accuracy of a choice at random, over its items; None where there is nothing to choose from. draws: 0 where
    answers were made elsewhere, and nothing says how many.
    """

    name: str
    title: str
    metric: str
    kind: str
    planned: int
    draws: int
    shots: int
    guidance: float
    gen_length: int | None
    source: str
    cluster: str = ""
    chance: float | None = None


class Header(_Record):
    """The first line. problems: sentences on what was left out. together: whether the models took turns."""

    line: Literal["header"] = "header"
    names: tuple[str, ...]
    models: tuple[EvaluatedModel, ...]
    benchmarks: tuple[EvaluatedBenchmark, ...]
    problems: tuple[str, ...]
    seed: int | None = None
    together: bool = False
    early_draws: bool = False
    created: str = ""


class EvaluatedItem(_Record):
    """An item for people. right: index of a choice, or text. place: in the seeded shuffle of its benchmark.

    cluster: what it shares with other items of the benchmark, as their passage or subject; '' where it has its own.
    prompt: lm-eval's hash of what is asked first, with examples and template; '' of imported answers that lack it.
    """

    line: Literal["document"] = "document"
    key: str
    benchmark: str
    place: int
    question: str
    choices: tuple[str, ...]
    right: Any
    cluster: str = ""
    prompt: str = ""


class Reply(_Record):
    """Answer of a model to an item, before it is scored. responses: as lm-eval takes them: (log-likelihood, greedy) per
    choice, or text.

    draws, exact, tokens: of each log-likelihood, tokens being those of its answer; empty of imported answers.
    cut: the prompt was too long for the model and was cut from the left. precision, device: of the
    weights as it was asked, as `bfloat16` and `cuda`; '' of imported answers.
    """

    responses: tuple[Any, ...]
    draws: tuple[int, ...] = ()
    exact: bool = False
    tokens: tuple[int, ...] = ()
    cut: bool = False
    precision: str = ""
    device: str = ""

    @property
    def values(self) -> list[float]:
        """Log-likelihood of each choice, in nats."""
        return [response[0] for response in self.responses if isinstance(response, list | tuple)]


class Answer(Reply):
    """A model's reply to an item, scored. model: its number in the header. restored: read from the answer store.

    filtered: what the metric read of a written answer; None for choices, and of imported answers that do not say it.
    """

    line: Literal["answer"] = "answer"
    key: str
    model: int
    metrics: Mapping[str, Any]
    restored: bool
    filtered: str | None = None


class End(_Record):
    """The last line. stopped: whether it ended before its last item. seconds: of the whole evaluation."""

    line: Literal["end"] = "end"
    stopped: bool = False
    seconds: float = 0.0
    environment: dict[str, Any] = Field(default_factory=dict)


Line = Header | EvaluatedItem | Answer | End
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="line")])


@lru_cache(maxsize=2**13)
def _parsed(line: bytes) -> Line:
    """Parse a line once: evaluations of the same items repeat these, and the dense model's answers, word for word."""
    return _LINE.validate_json(line)


class LineWriter:
    """The file as it is written, each line whole before the next."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, line: Line) -> None:
        """Append a line that readers of the growing file see at once."""
        self._file.write(json.dumps({"line": line.line, **line.model_dump()}, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class LineReader:
    """A file that is read again and again while it grows, each of its lines once.

    Where another file has taken its place, as when a run is started again, it is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._at = 0
        self._first = b""  # its first line, which says when it was begun
        self._header: Header | None = None
        self._end: End | None = None
        self._items: dict[str, EvaluatedItem] = {}
        self._answers: dict[tuple[str, int], Answer] = {}

    def lines(self) -> tuple[Header, dict[str, EvaluatedItem], dict[tuple[str, int], Answer], End | None]:
        """Header, items by key, answers by item and model, and the end line, if it is there yet.

        Raises UserError for a file that holds no evaluation.
        """
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    if file.read(len(self._first)) != self._first or file.seek(0, os.SEEK_END) < self._at:
                        self._forget()
                    file.seek(self._at)
                    text = file.read()
            except OSError as error:
                raise UserError(f"The results of this evaluation cannot be read: {error}.") from error
            whole = text[: text.rfind(b"\n") + 1]  # what follows is being written
            damaged = "This file holds no evaluation, or a damaged one. Evaluate again."
            try:
                for line in whole.splitlines():
                    self._take(_parsed(line))
            except ValueError as error:
                raise UserError(damaged) from error
            if self._header is None:
                raise UserError(damaged)
            self._first = self._first or whole[: whole.find(b"\n") + 1]
            self._at += len(whole)
            return self._header, dict(self._items), dict(self._answers), self._end

    def _take(self, line: Line) -> None:
        if isinstance(line, Header):
            self._header = line
        elif isinstance(line, EvaluatedItem):
            self._items[line.key] = line
        elif isinstance(line, Answer):
            self._answers[line.key, line.model] = line
        else:
            self._end = line


def _wrote(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return isinstance(_LINE.validate_json(file.readline(HEADER_BYTES)), Header)
    except (OSError, ValueError):
        return False


refusal = outputs.file_refusal(_wrote)
"""Why an evaluation's items may not replace what is at a path, as the end of a sentence, or ''."""


COLUMNS: dict[tuple[str, str], str] = {
    ("cais/mmlu", ""): "subject",
    ("hails/mmlu_no_train", ""): "subject",
    ("TIGER-Lab/MMLU-Pro", ""): "category",
    ("Idavidrein/gpqa", ""): "Subdomain",
    ("Rowan/hellaswag", ""): "source_id",
    ("EleutherAI/race", ""): "article",
    ("EleutherAI/drop", ""): "passage",
    ("facebook/belebele", ""): "flores_passage",
    ("aps/super_glue", "boolq"): "passage",
    ("aps/super_glue", "multirc"): "paragraph",
    ("aps/super_glue", "record"): "passage",
}
"""By data set and its configuration, '' for any: the column with the passage, the subject or the source of an item."""

_LONGEST = 64  # characters of a cluster's name; of a longer one, as a passage, the hash stands for it


def columns(tasks: Mapping[str, "Task"]) -> dict[str, str]:
    """By the name of each task of a benchmark, the column that holds its items' clusters; '' where each is on its own.

    A column that says the same of all items of the benchmark, as the subject where one subject alone is asked, parts
    nothing and is none.
    """
    named = {name: column_of(vars(task.config)) for name, task in tasks.items()}
    parts: set[Any] = set()
    for name, task in tasks.items():
        for doc in task.eval_docs:
            parts.add(_value(doc, named[name]))
            if len(parts) > 1:
                return named
    return dict.fromkeys(tasks, "")


def cluster(doc: Mapping[str, Any], column: str) -> str:
    """The name of an item's cluster, '' where it is on its own."""
    value = _value(doc, column)
    if value is None:
        return ""
    text = str(value)
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()[:32]


def column_of(config: Mapping[str, Any]) -> str:
    """The column that holds the clusters of a task's items, by lm-eval's config of it; '' where each is on its own."""
    metadata = config.get("metadata")
    stated = metadata.get("cluster") if isinstance(metadata, Mapping) else None
    if isinstance(stated, str):
        return stated
    path = str(config.get("dataset_path") or "")
    return COLUMNS.get((path, str(config.get("dataset_name") or ""))) or COLUMNS.get((path, ""), "")


def in_words(named: Iterable[str]) -> str:
    """The distinct columns, with commas between; '' where there is none."""
    return ", ".join(dict.fromkeys(column for column in named if column))


def _value(doc: Mapping[str, Any], column: str) -> Any:
    return doc.get(column) if column and isinstance(doc, Mapping) else None
