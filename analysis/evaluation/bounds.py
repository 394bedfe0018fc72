"""Likelihood of the right answers: the bound on their negative log-likelihood, in nats per token. Lower is better.

    b_i = −log p(right answer of item i) / its tokens

For a diffusion model the log-likelihood is the Monte Carlo estimate of LLaDA's bound, exact where all masked sets are
taken, with masks that all models share; an autoregressive model's is exact. Few draws spread b but do not move its
mean, as they move an accuracy, and it tells models apart where both are right. It has a unit of its own and is never
averaged with accuracies.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.evaluation import comparing
from analysis.evaluation.comparing import Pairs
from analysis.evaluation.items_file import EvaluatedBenchmark
from analysis.evaluation.results import Results, Table
from analysis.statistics.clustered import ClusteredMean, as_json, clustered_mean, mean_of_means, p_value
from analysis.statistics.differences import Difference, in_family

MEAN = "Average"
LEFT_OUT = "Not of written answers, under guidance, or where draws end early: there is no such bound to compare."


def bounded(results: Results) -> list[EvaluatedBenchmark]:
    """The benchmarks of which some answer has a bound."""
    return [benchmark for benchmark in results.benchmarks if np.isfinite(results.bounds[benchmark.name]).any()]


def bound_table(results: Results) -> Table:
    """Return the mean bound with its clustered 95 % interval, one row per task and model, and the task average."""
    tasks, models = bounded(results), range(len(results.names))
    means = {
        (task.name, model): _mean(results, task.name, results.bounds[task.name][model])
        for task in tasks
        for model in models
    }
    rows = [
        {"task": task.title, "model": results.names[model], **_numbers(_over([means[task.name, model]]))}
        for task in tasks
        for model in models
    ]
    if len(tasks) > 1:
        averages = [_over([means[task.name, model] for task in tasks]) for model in models]
        rows += [
            {"task": MEAN, "model": name, **_numbers(whole)}
            for name, whole in zip(results.names, averages, strict=True)
        ]
    return rows


def bound_differences(results: Results, some: Pairs) -> Table:
    """Return paired differences in nats per token, one row per task and pair, with clustered intervals; below 0 the
    first is better.

    Tested when all planned items are in; p is Student's, or the sign flip's where it is larger and few clusters differ,
    adjusted by Holm over all rows.
    """
    tasks = bounded(results)
    final = all(comparing.is_final(results, task.name, range(len(results.names))) for task in tasks)
    named, differences = [], []
    for first, second in some:
        tables = [results.bounds[task.name] for task in tasks]
        means = [
            _mean(results, task.name, table[first] - table[second]) for task, table in zip(tasks, tables, strict=True)
        ]
        groups = [[mean] for mean in means] + ([means] if len(means) > 1 else [])
        titles = [*(task.title for task in tasks), MEAN][: len(groups)]
        named += [{"task": title, "model": results.names[first], "than": results.names[second]} for title in titles]
        differences += [_over(group, final) for group in groups]
    return [
        {**who, **_numbers(difference), "p (Holm)": difference.p_holm, "verdict": _verdict(difference)}
        for who, difference in zip(named, in_family(differences), strict=True)
    ]


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON: of every model, and of every pair that is looked at."""
    return {
        "unit": "nats per token, lower is better",
        "models": bound_table(results),
        "differences": bound_differences(results, comparing.pairs(results)),
    }


def _mean(results: Results, benchmark: str, values: np.ndarray) -> ClusteredMean:
    there = np.isfinite(values)
    return clustered_mean(values[there], results.clusters[benchmark][there])


def _over(means: Sequence[ClusteredMean], test: bool = False) -> Difference:
    """The tasks' means with the same weight each. Without interval and p where a task has no spread to go by, as a
    bound has no range that would say how far it could lie.
    """
    value, half, p = float(np.mean([mean.value for mean in means])), np.nan, None
    if all(np.isfinite(mean.variance) for mean in means):
        whole = mean_of_means(means)
        half = whole.half
        p = p_value(whole.value, whole.variance, whole.freedom, whole.shares) if test else None
    items, clusters = sum(mean.items for mean in means), sum(mean.clusters for mean in means)
    return Difference(value, value - half, value + half, items, clusters, p=p, final=test)


def _numbers(difference: Difference) -> dict[str, Any]:
    numbers = as_json(difference)
    ends = {"nats a token": numbers["value"], "low": numbers["low"], "high": numbers["high"]}
    return {**ends, "items": difference.n, "clusters": difference.clusters}


def _verdict(difference: Difference) -> str:
    """Less is better."""
    if np.isfinite(difference.value) and difference.p is None:
        return "no spread to go by" if difference.final else "interim"
    value, low, high = (-end for end in (difference.value, difference.high, difference.low))
    return replace(difference, value=value, low=low, high=high).words if np.isfinite(value) else "no common items yet"
