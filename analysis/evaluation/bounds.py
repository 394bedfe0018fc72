"""How likely the right answers are: the bound on their negative log-likelihood, in nats a token. Lower is better.

    b_i = −log p(right answer of item i) / its tokens

For a diffusion model the log-likelihood is the Monte Carlo estimate of LLaDA's bound, exact where all masked sets are
taken, with masks that all models share; an autoregressive model's is exact. Few draws spread b but do not move its
mean, as they move an accuracy, and it tells models apart where both are right. A unit of its own: never averaged with
accuracies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.evaluation import comparing
from analysis.evaluation.comparing import Pair
from analysis.evaluation.items_file import EvaluatedBenchmark
from analysis.evaluation.results import Results
from analysis.statistics.clustered import ClusteredMean, clustered_mean, mean_of_means, p_value
from analysis.statistics.differences import LEVEL, SHOWN, holm

MEAN = "Average"
LEFT_OUT = "Not of written answers, under guidance, or where draws end early: there is no such bound to compare."


def bounded(results: Results) -> list[EvaluatedBenchmark]:
    """The benchmarks of which some answer has a bound."""
    return [benchmark for benchmark in results.benchmarks if np.isfinite(results.bounds[benchmark.name]).any()]


def bound_table(results: Results) -> list[dict[str, Any]]:
    """The mean bound with its clustered 95 % interval, a row a task and model, and the average over tasks."""
    rows: list[dict[str, Any]] = []
    of_model: dict[int, list[ClusteredMean]] = {model: [] for model in range(len(results.names))}
    for benchmark in bounded(results):
        for model, name in enumerate(results.names):
            mean = _mean(results, benchmark.name, results.bounds[benchmark.name][model])
            of_model[model].append(mean)
            rows.append({"task": benchmark.title, "model": name, **_numbers(mean.value, _half(mean), mean)})
    if len(bounded(results)) > 1:
        for model, name in enumerate(results.names):
            rows.append({"task": MEAN, "model": name, **_average(of_model[model])})
    return rows


def bound_differences(results: Results, some: Sequence[Pair]) -> list[dict[str, Any]]:
    """Paired differences in nats a token, a row a task and pair, with clustered intervals; below 0 the first is better.

    Tested when all planned items are in; p is Student's, or the sign flip's where it is larger and few clusters differ,
    adjusted by Holm over all rows.
    """
    final = all(comparing.is_final(results, scored.name, range(len(results.names))) for scored in bounded(results))
    rows: list[dict[str, Any]] = []
    ps: list[float | None] = []
    for pair in some:
        means = []
        for benchmark in bounded(results):
            table = results.bounds[benchmark.name]
            mean = _mean(results, benchmark.name, table[pair[0]] - table[pair[1]])
            means.append(mean)
            rows.append({"task": benchmark.title, **_who(results, pair), **_numbers(mean.value, _half(mean), mean)})
            tested = final and np.isfinite(mean.variance)
            ps.append(p_value(mean.value, mean.variance, mean.clusters - 1, mean.sums) if tested else None)
        if len(means) > 1:
            rows.append({"task": MEAN, **_who(results, pair), **_average(means)})
            spread = [mean for mean in means if np.isfinite(mean.variance)]
            whole = mean_of_means(spread) if final and len(spread) == len(means) else None
            ps.append(None if whole is None else p_value(whole.value, whole.variance, whole.freedom, whole.shares))
    return [
        row | {"p (Holm)": adjusted, "verdict": _words(row["nats a token"], adjusted, final)}
        for row, adjusted in zip(rows, holm(ps), strict=True)
    ]


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON: of every model, and of every pair that is looked at."""
    return {
        "unit": "nats per token, lower is better",
        "models": bound_table(results),
        "differences": bound_differences(results, comparing.pairs(results)),
    }


def _who(results: Results, pair: Pair) -> Mapping[str, str]:
    return {"model": results.names[pair[0]], "than": results.names[pair[1]]}


def _mean(results: Results, benchmark: str, values: np.ndarray) -> ClusteredMean:
    there = np.isfinite(values)
    return clustered_mean(values[there], results.clusters[benchmark][there])


def _half(mean: ClusteredMean) -> float:
    """Half an interval; NaN where there is no spread to go by, as a bound has no range that would say how far."""
    return mean.half if np.isfinite(mean.variance) else np.nan


def _average(means: Sequence[ClusteredMean]) -> dict[str, Any]:
    """The tasks' means with the same weight each."""
    value = float(np.mean([mean.value for mean in means]))
    spread = all(np.isfinite(mean.variance) for mean in means)
    half = mean_of_means(means).half if spread else np.nan
    return {
        **_ends(value, half),
        "items": sum(mean.items for mean in means),
        "clusters": sum(mean.clusters for mean in means),
    }


def _numbers(value: float, half: float, mean: ClusteredMean) -> dict[str, Any]:
    return {**_ends(value, half), "items": mean.items, "clusters": mean.clusters}


def _ends(value: float, half: float) -> dict[str, float | None]:
    ends = {"nats a token": value, "low": value - half, "high": value + half}
    return {name: number if np.isfinite(number) else None for name, number in ends.items()}


def _words(value: float | None, p: float | None, final: bool) -> str:
    if value is None:
        return "no common items yet"
    if p is None:
        return "no spread to go by" if final else "interim"
    return SHOWN[0 if value < 0 else 1] if p < 1 - LEVEL else "no difference shown"
