"""Models against each other: which pairs are looked at, what differs beside their method, and differences and tests.

Everything that is looked at together is one family of tests: all pairs, on every task and on the average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.evaluation import conditions, significance
from analysis.evaluation.results import AVERAGE, Results, begun, clusters, scores
from analysis.evaluation.significance import Difference

Pair = tuple[int, int]
"""A model and the one it is held against, by their numbers."""
Family = Mapping[Pair, Mapping[str, Difference]]
"""Differences that are tested together: by pair, on each task and, where there are several, on the average."""

DENSE = "dense"  # the first model, which all others are compared with


# --- pairs ------------------------------------------------------------------------------------------------------


def conditions_of(results: Results) -> list[dict[str, Any]]:
    """How every model was pruned, by its report, and under what conditions it was scored so far."""
    found = []
    versions = results.end.environment.get("versions", {}) if results.end is not None else {}
    for run, model, (precision, device) in zip(results.runs, results.models, results.scored_with, strict=True):
        own = {conditions.DENSE: model.fingerprint} | conditions.conditions(run)
        scored = {conditions.SCORED_IN: precision, conditions.SCORED_ON: device}
        own |= conditions.scoring(results.header, model, versions)
        found.append(own | {name: value for name, value in scored.items() if value})
    return found


def related_pairs(results: Results) -> dict[str, list[Pair]]:
    """By relation, the pairs that are looked at: all against the first model, and each sink-aware run against its
    control and its published baseline, as far as they are there.
    """
    every = conditions_of(results)
    found = {DENSE: [(model, 0) for model in range(1, len(every))]}
    for relation in conditions.RELATIONS:
        others = [(model, conditions.counterpart(every, model, relation)) for model in range(len(every))]
        found[relation] = [(model, other) for model, other in others if other is not None]
    return found


def pairs(results: Results) -> list[Pair]:
    """All pairs that are looked at, each once."""
    return list(dict.fromkeys(pair for some in related_pairs(results).values() for pair in some))


def missing(results: Results, relation: str) -> list[str]:
    """A sentence for every sink-aware run that has no such counterpart here, with what comes nearest."""
    every, sentences = conditions_of(results), []
    called = conditions.RELATIONS[relation]
    for model, name in enumerate(results.names):
        wanted = conditions.method_against(every[model], relation)
        if wanted is None or conditions.counterpart(every, model, relation) is not None:
            continue
        near = conditions.nearest(every, model, relation)
        if near is None:
            told = f"its method would be {wanted}, all else being equal."
        else:
            other, names = near
            differs = conditions.in_words(names, every[model], every[other])
            told = f"{results.names[other]} differs in more than the method: {differs}."
        sentences.append(f"{name} has no {called} here: {told}")
    return sentences


def mismatch(results: Results, pair: Pair) -> str:
    """What differs beside the method of a pair of models, or ''."""
    every = conditions_of(results)
    first, second = every[pair[0]], every[pair[1]]
    return conditions.in_words(conditions.differing(first, second), first, second)


# --- differences ------------------------------------------------------------------------------------------------


def is_final(results: Results, benchmark: str, models: Sequence[int]) -> bool:
    """Whether all of these models have answered the number of items fixed before the start."""
    planned = results.benchmark(benchmark).planned
    return all(len(scores(results, benchmark, model)[0]) == planned for model in models)


def all_final(results: Results, task: str) -> bool:
    """Whether every model has answered all items of a benchmark, or of all of them for the average."""
    chosen = results.accuracies if task == AVERAGE else [results.benchmark(task)]
    return all(is_final(results, benchmark.name, range(len(results.names))) for benchmark in chosen)


def family(results: Results, some: Sequence[Pair] | None = None) -> Family:
    """The paired differences of pairs of models on each benchmark of right answers and on their average.

    some: the pairs, those of `pairs` if not given. They are tested when all items of all of their models are in, and
    Holm's adjustment is over all of them, so that it is the same wherever a number is shown.
    """
    chosen = tuple(pairs(results) if some is None else dict.fromkeys(some))
    if chosen in results.compared:
        return results.compared[chosen]
    models = sorted({model for pair in chosen for model in pair})
    final = all(is_final(results, benchmark.name, models) for benchmark in results.accuracies)
    counted = [benchmark.name for benchmark in begun(results)]
    found: dict[Pair, dict[str, Difference]] = {}
    for pair in chosen:
        found[pair] = {}
        for benchmark in results.accuracies:
            first, _ = scores(results, benchmark.name, pair[0], pair[1:])
            second, _ = scores(results, benchmark.name, pair[1], pair[:1])
            found[pair][benchmark.name] = significance.difference(
                first, second, clusters(results, benchmark.name, pair), final
            )
        if len(results.accuracies) > 1:
            rows = [paired(results, name, pair) for name in counted]
            found[pair][AVERAGE] = significance.average_difference(
                rows, [clusters(results, name, pair) for name in counted], final
            )
    places = [(pair, task) for pair, tasks in found.items() for task in tasks]
    adjusted = significance.holm([found[pair][task].p for pair, task in places])
    for (pair, task), p in zip(places, adjusted, strict=True):
        found[pair][task] = replace(found[pair][task], p_holm=p)
    results.compared[chosen] = found
    return found


def overall(differences: Mapping[str, Difference]) -> Difference:
    """Of a pair: the difference on the average, or on the only task."""
    return differences[AVERAGE] if AVERAGE in differences else next(iter(differences.values()))


def tests(of: Family) -> int:
    """How many tests a family holds; 0 until the items are in."""
    return sum(one.p is not None for tasks in of.values() for one in tasks.values())


def paired(results: Results, benchmark: str, pair: Pair) -> np.ndarray:
    """First minus second on the items that both have answered."""
    first, _ = scores(results, benchmark, pair[0], [pair[1]])
    second, _ = scores(results, benchmark, pair[1], [pair[0]])
    difference: np.ndarray = first - second
    return difference


def family_with(results: Results, some: Sequence[Pair]) -> Family:
    """The family of all pairs that are looked at by themselves and of those that are chosen besides."""
    return family(results, list(dict.fromkeys([*pairs(results), *some])))
