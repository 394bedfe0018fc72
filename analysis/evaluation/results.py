"""What an evaluation has found so far: its file of JSON lines, scores of items as arrays, and paired differences."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis import outputs
from analysis.errors import UserError
from analysis.evaluation.significance import Difference
from analysis.pruned.report_file import PrunedRun

DOCUMENTS = "documents.jsonl"  # in the job's folder
HEADER_BYTES = 2**20  # more than the first line of such a file can take
AVERAGE = "average"
PERPLEXITY = "loglikelihood_rolling"
NO_REPORT: Mapping[str, Any] = {"settings": {}, "seed": None, "model": ""}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it was run. planned: the number of items fixed before the start."""

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


@dataclass(frozen=True)
class Document:
    """An item for people. right: index of a choice, or text."""

    key: str
    benchmark: str
    place: int
    question: str
    choices: tuple[str, ...]
    right: Any


@dataclass(frozen=True)
class Answer:
    """What one model answered. responses: as lm-eval takes them: [log-likelihood, greedy] a choice, or text.

    restored: read from the answer store. cut: its prompt was too long for the model and was cut from the left.
    precision, device: of the weights as it was asked, as `bfloat16` and `cuda`; '' in files that do not say.
    """

    metrics: Mapping[str, Any]
    responses: tuple[Any, ...]
    restored: bool
    draws: tuple[int, ...] = ()
    exact: bool = False
    cut: bool = False
    precision: str = ""
    device: str = ""

    @property
    def values(self) -> list[float]:
        """Log-likelihoods of the choices, in nats."""
        return [one[0] for one in self.responses if isinstance(one, list)]


@dataclass(frozen=True)
class Results:
    """Everything in the file. answers: by (item, model number). ended: whether the evaluation has come to its end.

    runs: how each model was pruned, by its report; empty ones for models that have none.
    """

    names: tuple[str, ...]
    models: tuple[Mapping[str, Any], ...]
    runs: tuple[PrunedRun, ...]
    benchmarks: tuple[Benchmark, ...]
    problems: tuple[str, ...]
    documents: Mapping[str, Document]
    answers: Mapping[tuple[str, int], Answer]
    header: Mapping[str, Any]
    end: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        return self.end is not None

    @cached_property
    def shuffled(self) -> Mapping[str, tuple[Document, ...]]:
        """The items of each benchmark that some model has answered, in the order of the shuffle."""
        rows: dict[str, list[Document]] = {benchmark.name: [] for benchmark in self.benchmarks}
        for document in sorted(self.documents.values(), key=lambda one: one.place):
            rows[document.benchmark].append(document)
        return {name: tuple(documents) for name, documents in rows.items()}

    @cached_property
    def scored(self) -> Mapping[str, np.ndarray]:
        """What the metric says of every item, (models, items in the order of `shuffled`), NaN where nothing is.

        Of a text's perplexity: nats a word.
        """
        places = {one.key: place for documents in self.shuffled.values() for place, one in enumerate(documents)}
        tables = {name: np.full((len(self.names), len(rows)), np.nan) for name, rows in self.shuffled.items()}
        metrics = {one.name: one.metric for one in self.benchmarks}
        for (key, model), answer in self.answers.items():
            benchmark = self.documents[key].benchmark
            value = answer.metrics.get(metrics[benchmark])
            if isinstance(value, list):  # (log-likelihood, words)
                value = -value[0] / value[1]
            if isinstance(value, int | float):
                tables[benchmark][model, places[key]] = value
        return tables

    @cached_property
    def scored_with(self) -> tuple[tuple[str, str], ...]:
        """The precision and the device of each model's answers; several with `and` between, '' where none is known."""
        seen: list[tuple[set[str], set[str]]] = [(set(), set()) for _ in self.names]
        for (_, model), answer in self.answers.items():
            seen[model][0].add(answer.precision)
            seen[model][1].add(answer.device)
        return tuple((" and ".join(sorted(one - {""})), " and ".join(sorted(two - {""}))) for one, two in seen)

    @cached_property
    def at_work(self) -> list[int]:
        """The models that have answered anything."""
        return sorted({model for _, model in self.answers})

    @cached_property
    def compared(self) -> dict[tuple[tuple[int, int], ...], Mapping[tuple[int, int], Mapping[str, Difference]]]:
        """What `comparing.family` has found for pairs of models, as it takes a moment where there are many items."""
        return {}

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of this name."""
        return next(one for one in self.benchmarks if one.name == name)

    @property
    def accuracies(self) -> list[Benchmark]:
        """The benchmarks that count right answers, which perplexities do not."""
        return [one for one in self.benchmarks if one.kind != PERPLEXITY]


class Growing:
    """A results file that is read again and again while it grows, each of its lines once.

    Where another file has taken its place, as when a run is started again, it is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._at = 0
        self._first = b""  # its first line, which says when it was begun
        self._header: dict[str, Any] = {}
        self._end: dict[str, Any] | None = None
        self._documents: dict[str, Document] = {}
        self._answers: dict[tuple[str, int], Answer] = {}

    def read(self) -> Results:
        """What is there by now. Raises UserError for a file that holds no evaluation."""
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
            try:
                for line in whole.splitlines():
                    self._take(json.loads(line))
                self._first = self._first or whole[: whole.find(b"\n") + 1]
                self._at += len(whole)
                header = self._header
                return Results(
                    names=tuple(header["names"]),
                    models=tuple(header["models"]),
                    runs=tuple(PrunedRun(**one.get("pruning", NO_REPORT)) for one in header["models"]),
                    benchmarks=tuple(Benchmark(**one) for one in header["benchmarks"]),
                    problems=tuple(header["problems"]),
                    documents=dict(self._documents),
                    answers=dict(self._answers),
                    header=header,
                    end=self._end,
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError("This file holds no evaluation, or a damaged one. Evaluate again.") from error

    def _take(self, fields: dict[str, Any]) -> None:
        kind = fields.pop("line")
        if kind == "header":
            self._header = fields
        elif kind == "document":
            self._documents[fields["key"]] = Document(**{**fields, "choices": tuple(fields["choices"])})
        elif kind == "answer":
            key = fields.pop("key"), fields.pop("model")
            fields["responses"] = tuple(fields["responses"])
            self._answers[key] = Answer(**{**fields, "draws": tuple(fields.get("draws", ()))})
        elif kind == "end":
            self._end = fields


def read(path: Path) -> Results:
    """Reads a file as it is now. Raises UserError for one that holds no evaluation."""
    return Growing(path).read()


def refusal(path: Path) -> str:
    """Why an evaluation's items may not replace what is at `path`, as the end of a sentence; nothing where they may."""

    def wrote(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline(HEADER_BYTES))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(header, dict) and header.get("line") == "header" and "benchmarks" in header

    return outputs.file_judge(wrote)(path)


# --- scores -----------------------------------------------------------------------------------------------------


def scores(results: Results, benchmark: str, model: int, among: Sequence[int] = ()) -> tuple[np.ndarray, list[str]]:
    """Scores of the items a model has answered, in the order of the shuffle, and the items' keys, both (items,).

    among: only items that these models have answered, too.
    """
    table = results.scored[benchmark]
    there = np.flatnonzero(np.isfinite(table[[model, *among]]).all(axis=0))
    documents = results.shuffled[benchmark]
    return table[model, there], [documents[place].key for place in there]


def begun(results: Results) -> list[Benchmark]:
    """The benchmarks that averages are over: those of which every model at work has answered an item."""
    at_work = results.at_work
    return [one for one in results.accuracies if at_work and len(scores(results, one.name, at_work[0], at_work)[0])]
