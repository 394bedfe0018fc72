"""What an evaluation has found so far: its file of JSON lines as arrays, curves, tables and a summary. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import UserError
from analysis.evaluation import significance
from analysis.evaluation.significance import Difference, Estimate

DOCUMENTS = "documents.jsonl"  # in the job's folder
STOP = "stop"  # a file of this name in the job's folder ends an evaluation early
CONTROL = "wanda-noised"  # how the name of the control begins
AVERAGE = "average"
PERPLEXITY = "loglikelihood_rolling"


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
    """What one model answered. responses: as lm-eval takes them: [log-likelihood, greedy] a choice, or text."""

    metrics: Mapping[str, Any]
    responses: tuple[Any, ...]
    restored: bool
    draws: tuple[int, ...] = ()
    exact: bool = False

    @property
    def values(self) -> list[float]:
        """Log-likelihoods of the choices, in nats."""
        return [one[0] for one in self.responses if isinstance(one, list)]


@dataclass(frozen=True)
class Results:
    """Everything in the file. answers: by (item, model number). ended: whether the evaluation has come to its end."""

    names: tuple[str, ...]
    models: tuple[Mapping[str, Any], ...]
    benchmarks: tuple[Benchmark, ...]
    problems: tuple[str, ...]
    documents: Mapping[str, Document]
    answers: Mapping[tuple[str, int], Answer]
    header: Mapping[str, Any]
    end: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        return self.end is not None

    @property
    def control(self) -> int | None:
        """The model that the others are also compared with, by its number."""
        return next((index for index, name in enumerate(self.names) if name.startswith(CONTROL)), None)

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of this name."""
        return next(one for one in self.benchmarks if one.name == name)

    @property
    def accuracies(self) -> list[Benchmark]:
        """The benchmarks that count right answers, which perplexities do not."""
        return [one for one in self.benchmarks if one.kind != PERPLEXITY]


def read(path: Path) -> Results:
    """Reads a file that may still grow. Raises UserError for one that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The results of this evaluation cannot be read: {error}.") from error
    header: dict[str, Any] = {}
    end = None
    documents: dict[str, Document] = {}
    answers: dict[tuple[str, int], Answer] = {}
    try:
        for line in text[: text.rfind("\n") + 1].splitlines():  # what follows is being written
            fields = json.loads(line)
            kind = fields.pop("line")
            if kind == "header":
                header = fields
            elif kind == "document":
                documents[fields["key"]] = Document(**{**fields, "choices": tuple(fields["choices"])})
            elif kind == "answer":
                key = fields.pop("key"), fields.pop("model")
                fields["responses"] = tuple(fields["responses"])
                answers[key] = Answer(**{**fields, "draws": tuple(fields.get("draws", ()))})
            elif kind == "end":
                end = fields
        return Results(
            names=tuple(header["names"]), models=tuple(header["models"]),
            benchmarks=tuple(Benchmark(**one) for one in header["benchmarks"]), problems=tuple(header["problems"]),
            documents=documents, answers=answers, header=header, end=end,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("This file holds no evaluation, or a damaged one. Evaluate again.") from error


# --- scores -----------------------------------------------------------------------------------------------------


def scores(results: Results, benchmark: str, model: int, among: Sequence[int] = ()) -> tuple[np.ndarray, list[str]]:
    """Scores of the items a model has answered, in the order of the shuffle, and the items' keys.

    among: only items that these models have answered, too.
    """
    metric = results.benchmark(benchmark).metric
    keys = [
        document.key
        for document in sorted(results.documents.values(), key=lambda one: one.place)
        if document.benchmark == benchmark
        and all((document.key, other) in results.answers for other in (model, *among))
    ]
    values = [results.answers[key, model].metrics.get(metric) for key in keys]
    if values and isinstance(values[0], list):  # (log-likelihood, words): nats a word
        values = [-value / count for value, count in values]
    there = [(key, value) for key, value in zip(keys, values, strict=True) if isinstance(value, int | float)]
    return np.array([value for _, value in there], float), [key for key, _ in there]


@dataclass(frozen=True)
class Curve:
    """A running mean over items 1 … n with its band, each (n,)."""

    name: str
    items: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def running_accuracy(values: np.ndarray, name: str) -> Curve:
    """The accuracy of the first 1 … n items with Wilson's band."""
    items = np.arange(1, len(values) + 1)
    sums = np.cumsum(values)
    if not len(values):
        return Curve(name, items, sums, sums, sums)
    if significance.is_binary(values):
        low, high = significance.wilson(sums, items)
        return Curve(name, items, sums / items, low, high)
    return _running_mean(values, name)


def running_difference(first: np.ndarray, second: np.ndarray, name: str) -> Curve:
    """The mean difference over the first 1 … n items with the interval of the paired differences."""
    return _running_mean(first - second, name)


def _running_mean(values: np.ndarray, name: str) -> Curve:
    from scipy import stats

    items = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / items
    squares = np.cumsum(values**2) / items
    spread = np.sqrt(np.maximum(squares - mean**2, 0) / np.maximum(items - 1, 1))
    half = stats.t.ppf(0.5 + significance.LEVEL / 2, np.maximum(items - 1, 1)) * spread
    if len(items):
        half = np.where(spread > 1e-9, half, significance.reach(items))
    half = np.where(items > 1, half, np.nan)
    return Curve(name, items, mean, mean - half, mean + half)


def average_curve(rows: Sequence[np.ndarray], name: str) -> Curve:
    """The mean over benchmarks of the running means, after the same number of items of each, with a normal band.

    A benchmark that has no more items keeps its last mean.
    """
    from scipy import stats

    rows = [row for row in rows if len(row)]
    if not rows:
        return running_accuracy(np.zeros(0), name)
    longest = max(len(row) for row in rows)
    items = np.arange(1, longest + 1)
    normal = stats.norm.ppf(0.5 + significance.LEVEL / 2)
    means, variances = [], []
    for row in rows:
        curve = _running_mean(row, "")
        own = np.minimum(items, len(row)) - 1
        squares = (np.cumsum(row**2) / curve.items)[own]
        means.append(curve.mean[own])
        spread = np.maximum(squares - means[-1] ** 2, 0) / np.maximum(own, 1)
        variances.append(np.where(spread > 1e-12, spread, (significance.reach(own + 1) / normal) ** 2))
    mean = np.mean(means, axis=0)
    half = normal * np.sqrt(np.sum(variances, axis=0)) / len(rows)
    half = np.where(items > 1, half, np.nan)
    return Curve(name, items, mean, mean - half, mean + half)


# --- comparing --------------------------------------------------------------------------------------------------


def pairs(results: Results) -> list[tuple[int, int]]:
    """(model, other) for every model against the first, and against the control where there is one."""
    models, control = range(len(results.names)), results.control
    found = [(model, 0) for model in models if model != 0]
    if control:
        found += [(model, control) for model in models if model not in (0, control)]
    return found


def is_final(results: Results, benchmark: str, models: Sequence[int]) -> bool:
    """Whether all of these models have answered the number of items fixed before the start."""
    planned = results.benchmark(benchmark).planned
    return all(len(scores(results, benchmark, model)[0]) == planned for model in models)


def differences(results: Results, pair: tuple[int, int]) -> dict[str, Difference]:
    """The paired difference on each benchmark of right answers, tested where all its items are in, Holm over those."""
    found: dict[str, Difference] = {}
    for benchmark in results.accuracies:
        first, _ = scores(results, benchmark.name, pair[0], pair[1:])
        second, _ = scores(results, benchmark.name, pair[1], pair[:1])
        found[benchmark.name] = significance.difference(first, second, is_final(results, benchmark.name, pair))
    adjusted = significance.holm([one.p for one in found.values()])
    return {name: replace(one, p_holm=p) for (name, one), p in zip(found.items(), adjusted, strict=True)}


def average_difference(results: Results, pair: tuple[int, int]) -> Estimate:
    """The mean over benchmarks of the paired differences."""
    return significance.average([_paired(results, benchmark.name, pair) for benchmark in results.accuracies])


def disagreements(results: Results, first: int, second: int, benchmark: str | None = None) -> list[dict[str, Any]]:
    """The items on which two models choose differently, one row each: what was asked, answered and right."""
    rows = []
    for document in sorted(results.documents.values(), key=lambda one: (one.benchmark, one.place)):
        one, other = (results.answers.get((document.key, model)) for model in (first, second))
        if one is None or other is None or (benchmark and document.benchmark != benchmark):
            continue
        metric = results.benchmark(document.benchmark).metric
        chosen = [_chosen(document, answer) for answer in (one, other)]
        if chosen[0] == chosen[1] or results.benchmark(document.benchmark).kind == PERPLEXITY:
            continue
        right = document.right
        if isinstance(right, int) and document.choices and 0 <= right < len(document.choices):
            right = document.choices[right]
        names = results.names[first], results.names[second]
        hits = [bool(answer.metrics.get(metric)) for answer in (one, other)]
        rows.append(
            {
                "task": results.benchmark(document.benchmark).title,
                "question": document.question,
                "choices": " | ".join(document.choices),
                "right": str(right),
                **{f"{name} chose": what for name, what in zip(names, chosen, strict=True)},
                **{
                    f"{name} log-likelihoods": " | ".join(f"{value:.2f}" for value in answer.values)
                    for name, answer in zip(names, (one, other), strict=True)
                },
                "who is right": "both" if all(hits) else names[0] if hits[0] else names[1] if hits[1] else "neither",
            }
        )
    return rows


def _chosen(document: Document, answer: Answer) -> str:
    values = answer.values
    if document.choices and len(values) >= len(document.choices):
        return document.choices[int(np.argmax(values[: len(document.choices)]))]
    return str(answer.responses[0]).strip() if answer.responses and isinstance(answer.responses[0], str) else "…"


def filtered(rows: list[dict[str, Any]], right: str | None, text: str) -> list[dict[str, Any]]:
    """The rows where this model is right (None: any row) and that hold all words of a text, in any case."""
    words = text.lower().split()
    return [
        row
        for row in rows
        if (right is None or row["who is right"] == right)
        and all(word in f"{row['question']} {row['choices']}".lower() for word in words)
    ]


def all_final(results: Results, task: str) -> bool:
    """Whether every model has answered all items of a benchmark, or of all of them for the average."""
    chosen = results.accuracies if task == AVERAGE else [results.benchmark(task)]
    return all(is_final(results, benchmark.name, range(len(results.names))) for benchmark in chosen)


def accuracy_curves(results: Results, task: str) -> list[Curve]:
    """The running accuracy of every model on a benchmark, or averaged over all."""
    curves = []
    for model, name in enumerate(results.names):
        if task == AVERAGE:
            curves.append(average_curve([scores(results, b.name, model)[0] for b in results.accuracies], name))
        else:
            curves.append(running_accuracy(scores(results, task, model)[0], name))
    return curves


def difference_curves(results: Results, task: str, some: Sequence[tuple[int, int]]) -> list[Curve]:
    """The running paired difference of pairs of models on a benchmark, or averaged over all."""
    curves = []
    for pair in some:
        name = f"{results.names[pair[0]]} − {results.names[pair[1]]}"
        if task == AVERAGE:
            curves.append(average_curve([_paired(results, b.name, pair) for b in results.accuracies], name))
        else:
            curves.append(_running_mean(_paired(results, task, pair), name))
    return curves


def accuracy_table(results: Results) -> list[dict[str, Any]]:
    """Accuracy with its interval, a row a benchmark and model, and the averages."""
    rows = []
    for benchmark in results.accuracies:
        for model, name in enumerate(results.names):
            one = significance.estimate(scores(results, benchmark.name, model)[0])
            rows.append(_row(benchmark.title, name, one, benchmark.planned, benchmark.draws))
    if len(results.accuracies) > 1:
        for model, name in enumerate(results.names):
            one = significance.average([scores(results, b.name, model)[0] for b in results.accuracies])
            rows.append(_row(AVERAGE, name, one, sum(b.planned for b in results.accuracies), None))
    return rows


def _row(task: str, model: str, one: Estimate, planned: int, draws: int | None) -> dict[str, Any]:
    return {
        "task": task, "model": model, "accuracy": one.value, "low": one.low, "high": one.high, "items": one.n,
        "planned": planned, "draws": draws,
    }  # fmt: skip


def difference_table(results: Results, some: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Paired differences in points with interval and tests, a row a benchmark and pair, and the averages."""
    rows = []
    for pair in some:
        who = {"model": results.names[pair[0]], "than": results.names[pair[1]]}
        for name, one in differences(results, pair).items():
            rows.append(
                {
                    "task": results.benchmark(name).title, **who, "points": 100 * one.value, "low": 100 * one.low,
                    "high": 100 * one.high, "items": one.n, "only first right": one.only_first,
                    "only other right": one.only_second, "p": one.p, "p (Holm)": one.p_holm, "in words": one.words,
                }
            )  # fmt: skip
        if len(results.accuracies) > 1:
            mean = average_difference(results, pair)
            shown = "no difference shown" if not mean.n or mean.low <= 0 <= mean.high else "interval without 0"
            interim = "" if all_final(results, AVERAGE) else "interim: "
            rows.append(
                {
                    "task": AVERAGE, **who, "points": 100 * mean.value, "low": 100 * mean.low, "high": 100 * mean.high,
                    "items": mean.n, "in words": interim + shown,
                }
            )  # fmt: skip
    return rows


def _paired(results: Results, benchmark: str, pair: tuple[int, int]) -> np.ndarray:
    """First minus second on the items that both have answered."""
    first, second = (scores(results, benchmark, model, [other])[0] for model, other in (pair, pair[::-1]))
    return first - second


def perplexities(results: Results, benchmark: str) -> list[dict[str, Any]]:
    """Of every model: its perplexity a word and bits a byte over the texts that all have read.

    For a diffusion model the likelihood is the evidence lower bound, so its perplexity is an upper bound.
    """
    every = range(len(results.names))
    rows = []
    for model in every:
        _, keys = scores(results, benchmark, model, [other for other in every if other != model])
        metrics = [results.answers[key, model].metrics for key in keys]
        if not metrics:
            continue
        total = sum(one["word_perplexity"][0] for one in metrics)
        words = sum(one["word_perplexity"][1] for one in metrics)
        bytes_ = sum(one["byte_perplexity"][1] for one in metrics if "byte_perplexity" in one)
        rows.append(
            {
                "model": results.names[model], "texts": len(metrics),
                "perplexity a word": float(np.exp(-total / words)),
                "bits a byte": float(-total / bytes_ / np.log(2)) if bytes_ else None,
            }
        )  # fmt: skip
    return rows


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON, for the command line and the job's record."""
    tasks = []
    by_pair = {pair: differences(results, pair) for pair in pairs(results)}
    for benchmark in results.benchmarks:
        row: dict[str, Any] = {
            "task": benchmark.name, "title": benchmark.title, "metric": benchmark.metric,
            "planned": benchmark.planned, "draws": benchmark.draws, "shots": benchmark.shots,
            "guidance": benchmark.guidance, "settings_from": benchmark.source,
        }  # fmt: skip
        if benchmark.kind == PERPLEXITY:
            row["perplexity"] = perplexities(results, benchmark.name)
        else:
            row["models"] = [
                {"model": name, **_json(significance.estimate(scores(results, benchmark.name, index)[0])),
                 "draws_used": _mean_draws(results, benchmark.name, index)}
                for index, name in enumerate(results.names)
            ]  # fmt: skip
            row["differences"] = [
                {"model": results.names[pair[0]], "than": results.names[pair[1]], **_json(found[benchmark.name]),
                 "words": found[benchmark.name].words}
                for pair, found in by_pair.items()
            ]  # fmt: skip
        tasks.append(row)
    counted = results.accuracies
    return {
        "models": list(results.names),
        "tasks": tasks,
        "average": [
            {"model": name, **_json(significance.average([scores(results, b.name, index)[0] for b in counted]))}
            for index, name in enumerate(results.names)
        ],
        "average_differences": [
            {"model": results.names[pair[0]], "than": results.names[pair[1]],
             **_json(average_difference(results, pair))}
            for pair in by_pair
        ],
        "answers": len(results.answers),
        "restored": sum(answer.restored for answer in results.answers.values()),
        "complete": all(
            len(scores(results, b.name, index)[0]) == b.planned
            for b in results.benchmarks for index in range(len(results.names))
        ),
        "problems": list(results.problems),
        "seed": results.header.get("seed"),
        "end": results.end,
    }  # fmt: skip


def _mean_draws(results: Results, benchmark: str, model: int) -> float | None:
    used = [
        np.mean(answer.draws)
        for (key, other), answer in results.answers.items()
        if other == model and answer.draws and results.documents[key].benchmark == benchmark
    ]
    return float(np.mean(used)) if used else None


def _json(one: Estimate | Difference) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in vars(one).items()
    }
