"""An evaluation as tables, and as one summary in JSON."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.evaluation import significance
from analysis.evaluation.results import (
    AVERAGE,
    PERPLEXITY,
    Answer,
    Document,
    Results,
    all_final,
    average_difference,
    begun,
    differences,
    pairs,
    scores,
)
from analysis.evaluation.significance import Difference, Estimate

MEAN = "Average"  # how the average over benchmarks is called beside their titles
CLEAR = "interval without 0"  # of an average, which is not tested


def accuracy_grid(results: Results) -> list[dict[str, str]]:
    """Model × benchmark in percent, with the interval, as text: the numbers at a glance.

    While not all benchmarks are begun, the average's title says over how many it is.
    """
    counted = begun(results)
    over_all = len(counted) == len(results.accuracies)
    title = MEAN if over_all else f"{MEAN} of {len(counted)} of {len(results.accuracies)} tasks"
    rows = []
    for model, name in enumerate(results.names):
        row = {"model": name}
        if len(results.accuracies) > 1:
            row[title] = _percent(significance.average([scores(results, one.name, model)[0] for one in counted]))
        for one in results.accuracies:
            row[one.title] = _percent(significance.estimate(scores(results, one.name, model)[0]))
        rows.append(row)
    return rows


def _percent(one: Estimate) -> str:
    if not one.n:
        return ""
    return f"{100 * one.value:.1f} [{100 * max(one.low, 0):.1f}, {100 * min(one.high, 1):.1f}]"


def accuracy_table(results: Results) -> list[dict[str, Any]]:
    """Accuracy with its interval, a row a benchmark and model, and the averages."""
    rows = []
    for benchmark in results.accuracies:
        for model, name in enumerate(results.names):
            one = significance.estimate(scores(results, benchmark.name, model)[0])
            rows.append(_row(benchmark.title, name, one, benchmark.planned, benchmark.draws))
    if len(results.accuracies) > 1:
        for model, name in enumerate(results.names):
            one = significance.average([scores(results, b.name, model)[0] for b in begun(results)])
            rows.append(_row(MEAN, name, one, sum(b.planned for b in results.accuracies), None))
    return rows


def _row(task: str, model: str, one: Estimate, planned: int, draws: int | None) -> dict[str, Any]:
    return {
        "task": task, "model": model, "accuracy": one.value, "low": one.low, "high": one.high, "items": one.n,
        "planned": planned, "draws": draws,
    }  # fmt: skip


def verdicts(results: Results, some: Sequence[tuple[int, int]]) -> list[str]:
    """One sentence a pair: the average difference, and on which benchmarks there is one."""
    sentences = []
    for pair in some:
        found = differences(results, pair)
        mean = average_difference(results, pair) if len(found) > 1 else next(iter(found.values()))
        if not mean.n:
            sentences.append(f"{results.names[pair[0]]} against {results.names[pair[1]]}: no common items yet.")
            continue
        shown = {
            side: [results.benchmark(name).title for name, one in found.items() if one.words == side]
            for side in ("better", "worse")
        }
        if not all(one.final for one in found.values()):
            told = "interim, no tests yet"
        else:
            told = "; ".join(f"{side} on {', '.join(titles)}" for side, titles in shown.items() if titles)
            told = told or "no difference shown on any task"
        where = "on average " if len(found) > 1 else ""
        sentences.append(
            f"{results.names[pair[0]]} against {results.names[pair[1]]}: {where}{100 * mean.value:+.1f} points "
            f"[{100 * mean.low:+.1f}, {100 * mean.high:+.1f}]; {told}."
        )
    return [re.sub(r"-(?=\d+\.\d)", "−", sentence) for sentence in sentences]


def difference_table(results: Results, some: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Paired differences in points with interval and tests, a row a benchmark and pair, the averages first.

    Averages are not tested: their interval says what is shown. The columns of the tests stand only where there are any.
    """
    rows = []
    found = {pair: differences(results, pair) for pair in some}
    if len(results.accuracies) > 1:
        interim = "" if all_final(results, AVERAGE) else "interim: "
        for pair in some:
            mean = average_difference(results, pair)
            shown = "no difference shown" if not mean.n or mean.low <= 0 <= mean.high else CLEAR
            rows.append(_points(results, MEAN, pair, mean) | {"in words": interim + shown})
    for benchmark in results.accuracies:
        for pair in some:
            one = found[pair][benchmark.name]
            rows.append(
                _points(results, benchmark.title, pair, one)
                | {
                    "only this model right": one.only_first, "only the other right": one.only_second,
                    "p": one.p, "p (Holm)": one.p_holm, "in words": one.words,
                }
            )  # fmt: skip
    if all(row.get("p") is None for row in rows):
        rows = [
            {name: value for name, value in row.items() if not name.startswith("p ") and name != "p"} for row in rows
        ]
    return rows


def _points(results: Results, task: str, pair: tuple[int, int], one: Estimate | Difference) -> dict[str, Any]:
    return {
        "task": task, "model": results.names[pair[0]], "than": results.names[pair[1]], "points": 100 * one.value,
        "low": 100 * one.low, "high": 100 * one.high, "items": one.n,
    }  # fmt: skip


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
    cut, used = cut_items(results), _mean_draws(results)
    for benchmark in results.benchmarks:
        row: dict[str, Any] = {
            "task": benchmark.name, "title": benchmark.title, "metric": benchmark.metric,
            "planned": benchmark.planned, "draws": benchmark.draws, "shots": benchmark.shots,
            "guidance": benchmark.guidance, "settings_from": benchmark.source,
            "truncated": cut[benchmark.name],
        }  # fmt: skip
        if benchmark.kind == PERPLEXITY:
            row["perplexity"] = perplexities(results, benchmark.name)
        else:
            row["models"] = [
                {"model": name, **_json(significance.estimate(scores(results, benchmark.name, index)[0])),
                 "draws_used": used.get((benchmark.name, index))}
                for index, name in enumerate(results.names)
            ]  # fmt: skip
            row["differences"] = [
                {"model": results.names[pair[0]], "than": results.names[pair[1]], **_json(found[benchmark.name]),
                 "words": found[benchmark.name].words}
                for pair, found in by_pair.items()
            ]  # fmt: skip
        tasks.append(row)
    counted = begun(results)
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


def cut_items(results: Results) -> dict[str, int]:
    """By benchmark, the items whose prompt was longer than some model takes, so that its beginning was not read."""
    cut = {key for (key, _), answer in results.answers.items() if answer.cut}
    counts = Counter(results.documents[key].benchmark for key in cut)
    return {benchmark.name: counts[benchmark.name] for benchmark in results.benchmarks}


def _mean_draws(results: Results) -> dict[tuple[str, int], float]:
    """The draws an answer was estimated with, by benchmark and model."""
    used: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (key, model), answer in results.answers.items():
        if answer.draws:
            used[results.documents[key].benchmark, model].append(sum(answer.draws) / len(answer.draws))
    return {where: sum(draws) / len(draws) for where, draws in used.items()}


def _json(one: Estimate | Difference) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in vars(one).items()
    }


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
                "who is right": "both" if all(hits) else names[0] if hits[0] else names[1] if hits[1] else "neither",
                **{
                    f"{name} log-likelihoods": " | ".join(f"{value:.2f}" for value in answer.values)
                    for name, answer in zip(names, (one, other), strict=True)
                },
                "item": document.key,
            }
        )
    return rows


def choice_table(results: Results, item: str, first: int, second: int) -> list[dict[str, Any]]:
    """The choices of an item, a row each: whether it is right, and each model's log-likelihood of it in nats."""
    document = results.documents[item]
    models = (first, second)
    values = {model: results.answers[item, model].values for model in models}
    return [
        {
            "choice": choice,
            "right": index == document.right or choice == document.right,
            **{f"{results.names[model]} log-likelihood": values[model][index] for model in models},
            **{f"{results.names[model]} chose": index == int(np.argmax(values[model])) for model in models},
        }
        for index, choice in enumerate(document.choices)
        if all(index < len(values[model]) for model in models)
    ]


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
