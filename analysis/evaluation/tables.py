"""An evaluation as tables, and as one summary in JSON."""

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
    differences,
    pairs,
    scores,
)
from analysis.evaluation.significance import Difference, Estimate


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
            "truncated": cut_items(results, benchmark.name),
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


def cut_items(results: Results, benchmark: str) -> int:
    """The items whose prompt was longer than some model takes, so that it was asked without its beginning."""
    cut = {key for (key, _), answer in results.answers.items() if answer.cut}
    return sum(results.documents[key].benchmark == benchmark for key in cut)


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
