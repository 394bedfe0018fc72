"""Results of an evaluation so far: its items and answers, their scores as arrays, accuracies and what chance gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from analysis.evaluation.items_file import (
    Answer,
    End,
    EvaluatedBenchmark,
    EvaluatedItem,
    EvaluatedModel,
    Header,
    LineReader,
)
from analysis.pruned.report_file import PrunedRun
from analysis.statistics import clustered
from analysis.statistics.clustered import Estimate

AVERAGE = "average"
PERPLEXITY = "loglikelihood_rolling"
Table = list[dict[str, Any]]
"""Rows by the names of columns."""
_Given = ParamSpec("_Given")
_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Results:
    """Everything in the file. documents: the items by key. answers: by (item, model number).

    ended: whether the evaluation has come to its end.
    """

    header: Header
    documents: Mapping[str, EvaluatedItem]
    answers: Mapping[tuple[str, int], Answer]
    end: End | None

    @property
    def names(self) -> tuple[str, ...]:
        return self.header.names

    @property
    def models(self) -> tuple[EvaluatedModel, ...]:
        return self.header.models

    @cached_property
    def runs(self) -> tuple[PrunedRun, ...]:
        """Pruning of each model, by its report; empty for models that have none."""
        return tuple(model.pruning for model in self.header.models)

    @property
    def benchmarks(self) -> tuple[EvaluatedBenchmark, ...]:
        return self.header.benchmarks

    @property
    def problems(self) -> tuple[str, ...]:
        return self.header.problems

    @cached_property
    def shuffled(self) -> Mapping[str, tuple[EvaluatedItem, ...]]:
        """The items of each benchmark that some model has answered, in the order of the shuffle."""
        rows: dict[str, list[EvaluatedItem]] = {benchmark.name: [] for benchmark in self.benchmarks}
        for document in sorted(self.documents.values(), key=lambda document: document.place):
            rows[document.benchmark].append(document)
        return {name: tuple(documents) for name, documents in rows.items()}

    @cached_property
    def scored(self) -> Mapping[str, np.ndarray]:
        """Metric of every item, (models, items in the order of `shuffled`), NaN where there is none.

        A text's perplexity is in nats per word.
        """
        metrics = {benchmark.name: benchmark.metric for benchmark in self.benchmarks}

        def metric(item: EvaluatedItem, answer: Answer) -> float | None:
            value = answer.metrics.get(metrics[item.benchmark])
            if isinstance(value, list):  # (log-likelihood, words)
                return float(-value[0] / value[1])
            return value if isinstance(value, int | float) else None

        return self._numbers(metric)

    @cached_property
    def bounds(self) -> Mapping[str, np.ndarray]:
        """Bound on the negative log-likelihood of the right choice in nats per token, as `scored`, NaN where there is
        none: no choices, a guided likelihood, one of draws that ended early, or a file that does not say its tokens.
        """
        guided = {benchmark.name for benchmark in self.benchmarks if benchmark.guidance}

        def bound(item: EvaluatedItem, answer: Answer) -> float | None:
            early = self.header.early_draws and not answer.exact
            if item.benchmark in guided or early or not isinstance(item.right, int):
                return None
            if item.right >= min(len(item.choices), len(answer.tokens)) or not answer.tokens[item.right]:
                return None
            return -answer.values[item.right] / answer.tokens[item.right]

        return self._numbers(bound)

    def _numbers(self, of: Callable[[EvaluatedItem, Answer], float | None]) -> Mapping[str, np.ndarray]:
        """A number of every answer, (models, items in the order of `shuffled`) by benchmark, NaN for None."""
        places = {item.key: place for items in self.shuffled.values() for place, item in enumerate(items)}
        tables = {name: np.full((len(self.names), len(items)), np.nan) for name, items in self.shuffled.items()}
        for (key, model), answer in self.answers.items():
            item = self.documents[key]
            number = of(item, answer)
            tables[item.benchmark][model, places[key]] = np.nan if number is None else number
        return tables

    @cached_property
    def clusters(self) -> Mapping[str, np.ndarray]:
        """The number of every item's cluster, (items in the order of `shuffled`): its own where it has no other."""
        numbers = {}
        for name, documents in self.shuffled.items():
            named = [f"cluster {item.cluster}" if item.cluster else f"item {item.key}" for item in documents]
            numbers[name] = np.unique(named, return_inverse=True)[1] if named else np.zeros(0, int)
        return numbers

    @cached_property
    def chance(self) -> Mapping[str, float | None]:
        """By benchmark, the accuracy of a choice at random: as written, of imported answers by the choices of items.

        None where answers are written, or nothing is known yet.
        """
        levels: dict[str, float | None] = {}
        for benchmark in self.benchmarks:
            choices = [len(item.choices) for item in self.shuffled[benchmark.name] if item.choices]
            seen = float(np.mean([1 / count for count in choices])) if choices else None
            levels[benchmark.name] = seen if benchmark.chance is None else benchmark.chance
        return levels

    @cached_property
    def scored_with(self) -> tuple[tuple[str, str], ...]:
        """The precision and the device of each model's answers; several with `and` between, '' where none is known."""
        seen: list[tuple[set[str], set[str]]] = [(set(), set()) for _ in self.names]
        for (_, model), answer in self.answers.items():
            seen[model][0].add(answer.precision)
            seen[model][1].add(answer.device)
        return tuple((" and ".join(sorted(left - {""})), " and ".join(sorted(two - {""}))) for left, two in seen)

    @cached_property
    def _told(self) -> dict[tuple[Any, ...], Any]:
        return {}

    def benchmark(self, name: str) -> EvaluatedBenchmark:
        """The benchmark of this name."""
        return next(candidate for candidate in self.benchmarks if candidate.name == name)

    @property
    def accuracies(self) -> list[EvaluatedBenchmark]:
        """The benchmarks that count right answers, which perplexities do not."""
        return [benchmark for benchmark in self.benchmarks if benchmark.kind != PERPLEXITY]

    @property
    def titles(self) -> dict[str, str]:
        """Titles of these, by name."""
        return {benchmark.name: benchmark.title for benchmark in self.accuracies}

    @property
    def planned(self) -> int:
        """Items of these, as fixed before the start."""
        return sum(benchmark.planned for benchmark in self.accuracies)


def once(function: Callable[Concatenate[Results, _Given], _Told]) -> Callable[Concatenate[Results, _Given], _Told]:
    """Return a function that answers once for its results and each of its further arguments, which are hashable, or
    lists and mappings of what is; nobody may change an answer.
    """

    @wraps(function)
    def answer(results: Results, /, *given: _Given.args, **named: _Given.kwargs) -> _Told:
        asked = (function, *map(_fixed, (*given, *named.items())))
        if asked not in results._told:
            results._told[asked] = function(results, *given, **named)
        told: _Told = results._told[asked]
        return told

    return answer


def _fixed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value


class Growing(LineReader):
    """The results in a file that is read again and again while it grows, each of its lines once."""

    def read(self) -> Results:
        """Return what is there by now. Raises UserError for a file that holds no evaluation."""
        return Results(*self.lines())


def read(path: Path) -> Results:
    """Read a file as it is now. Raises UserError for one that holds no evaluation."""
    return Growing(path).read()


# --- scores -----------------------------------------------------------------------------------------------------


def scores(results: Results, benchmark: str, model: int, among: Sequence[int] = ()) -> tuple[np.ndarray, list[str]]:
    """Return scores of the items a model has answered, in the order of the shuffle, and the items' keys, both (items,).

    among: keep only items that these models have answered, too.
    """
    there = _places(results, benchmark, (model, *among))
    documents = results.shuffled[benchmark]
    return results.scored[benchmark][model, there], [documents[place].key for place in there]


def clusters(results: Results, benchmark: str, models: Sequence[int]) -> np.ndarray:
    """The numbers of the clusters of the items that all of these models have answered, in the order of `scores`."""
    return np.asarray(results.clusters[benchmark][_places(results, benchmark, models)])


def _places(results: Results, benchmark: str, models: Sequence[int]) -> np.ndarray:
    """Return the places in the shuffle of the items that all of these models have answered."""
    return np.flatnonzero(np.isfinite(results.scored[benchmark][list(models)]).all(axis=0))


@once
def begun(results: Results) -> list[EvaluatedBenchmark]:
    """The benchmarks that averages are over: those of which every model at work has answered an item."""
    at_work = sorted({model for _, model in results.answers})
    return [
        benchmark
        for benchmark in results.accuracies
        if at_work and len(scores(results, benchmark.name, at_work[0], at_work)[0])
    ]


def names_of(results: Results, task: str) -> list[str]:
    """The benchmark of this name, or, of `AVERAGE`, those begun."""
    return [benchmark.name for benchmark in begun(results)] if task == AVERAGE else [task]


@once
def chance_level(results: Results, task: str) -> float | None:
    """The accuracy of choosing at random, on a benchmark or on the average of those begun.

    None where an answer is written, so that nothing is chosen.
    """
    levels = [results.chance[name] for name in names_of(results, task)]
    known = [level for level in levels if level is not None]
    return float(np.mean(known)) if known and len(known) == len(levels) else None


def accuracy(results: Results, benchmark: str, *models: int) -> Estimate:
    """The accuracy on a benchmark, the mean over models of the items that all of them have answered."""
    return clustered.estimate(_scored(results, benchmark, models), clusters(results, benchmark, models))


def _scored(results: Results, benchmark: str, models: Sequence[int]) -> np.ndarray:
    return np.asarray(np.mean([scores(results, benchmark, model, models)[0] for model in models], axis=0))


@once
def average(results: Results, *models: int) -> Estimate:
    """The accuracy over the benchmarks that are begun, each with the same weight, the mean over models of the items
    that all of them have answered."""
    names = names_of(results, AVERAGE)
    answered = [_scored(results, name, models) for name in names]
    return clustered.average(answered, [clusters(results, name, models) for name in names])
