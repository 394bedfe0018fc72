"""Comparisons of models: the pairs looked at, their differences in accuracy and in likelihood of the right answers, and
the cost of a sink-aware pruning step by step.

Everything that is looked at together is one family of tests: all pairs, on every task and on the average, and the pairs
that differ in nothing but their calibration seed taken together. The steps of a cost are the published baseline, its
noise (the control) and the discount.

Likelihood is a bound on the negative log-likelihood in nats per token; lower is better:

    b_i = −log p(right answer of item i) / its tokens

For a diffusion model the log-likelihood is the Monte Carlo estimate of LLaDA's bound, exact where all masked sets are
taken, with masks that all models share; an autoregressive model's is exact. Few draws spread b but do not move its
mean, as they move an accuracy, and it tells models apart where both are right. It is never averaged with accuracies.
"""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.evaluation import conditions
from analysis.evaluation.items_file import EvaluatedBenchmark
from analysis.evaluation.plan_noise import Sample
from analysis.evaluation.results import AVERAGE, Results, Table, clusters, names_of, once, scores
from analysis.specs import METHODS
from analysis.statistics import clustered, crossed
from analysis.statistics.clustered import as_json, clustered_mean, mean_of_means, p_value
from analysis.statistics.crossed import SeedFloor
from analysis.statistics.differences import Difference, in_family

Pair = tuple[int, int]
"""A model and its baseline, by their numbers."""
Pairs = Sequence[Pair]
Family = Mapping[Pair, Mapping[str, Difference]]
"""Differences that are tested together: by pair, on each task and, where there are several, on the average."""

DENSE = "dense"  # the first model, which all others are compared with


# --- pairs ------------------------------------------------------------------------------------------------------


@once
def conditions_of(results: Results) -> list[dict[str, Any]]:
    """Return how each model was pruned, by its report, and the conditions it was scored under so far."""
    by_model = []
    versions = scoring_versions(results)
    for run, model, (precision, device) in zip(results.runs, results.models, results.scored_with, strict=True):
        model_conditions = {conditions.DENSE: model.fingerprint} if model.fingerprint else {}
        model_conditions |= conditions.conditions(run)
        scored = {conditions.SCORED_IN: precision, conditions.SCORED_ON: device}
        model_conditions |= conditions.scoring(results.header, model, versions)
        by_model.append(model_conditions | {name: value for name, value in scored.items() if value})
    return by_model


@once
def related_pairs(results: Results) -> dict[str, list[Pair]]:
    """By relation, the pairs that are looked at: all against the first model, and each sink-aware run against its
    control and its published baseline, as far as they are there.
    """
    every = conditions_of(results)
    by_relation = {DENSE: [(model, 0) for model in range(1, len(every))]}
    for relation in conditions.RELATIONS:
        others = [(model, conditions.counterpart(every, model, relation)) for model in range(len(every))]
        by_relation[relation] = [(model, other) for model, other in others if other is not None]
    return by_relation


@once
def pairs(results: Results) -> list[Pair]:
    """All pairs that are looked at, each once."""
    return list(dict.fromkeys(pair for some in related_pairs(results).values() for pair in some))


@once
def missing(results: Results, relation: str) -> list[str]:
    """A sentence for every sink-aware run that has no such counterpart here, with what comes nearest."""
    every, sentences = conditions_of(results), []
    called = conditions.RELATIONS[relation]
    for model, name in enumerate(results.names):
        wanted = conditions.method_against(every[model], relation)
        if not wanted or conditions.counterpart(every, model, relation) is not None:
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


@once
def differing_settings(results: Results) -> Table:
    """Return the conditions in which the models differ, as rows."""
    return conditions.differing_settings(conditions_of(results), results.names)


@once
def mismatch(results: Results, pair: Pair) -> str:
    """Describe the settings other than the method in which a pair of models differs, or return ''."""
    first, second = (conditions_of(results)[model] for model in pair)
    return conditions.in_words(conditions.differing(first, second), first, second)


# --- differences ------------------------------------------------------------------------------------------------


def is_final(results: Results, benchmark: str, models: Sequence[int]) -> bool:
    """Return True if all of these models have answered the number of items fixed before the start."""
    planned = results.benchmark(benchmark).planned
    return all(len(scores(results, benchmark, model)[0]) == planned for model in models)


@once
def all_final(results: Results, task: str) -> bool:
    """Return True if every model has answered all items of a benchmark, or of all benchmarks for the average."""
    chosen = results.accuracies if task == AVERAGE else [results.benchmark(task)]
    return all(is_final(results, benchmark.name, range(len(results.names))) for benchmark in chosen)


def above_chance(results: Results, task: str, pair: Pair) -> bool:
    """Return whether a benchmark, or the average of those begun, can tell two models apart.

    It can where the whole interval of the dense model, the first, lies above chance, or above 0 where answers are
    written. Without a dense model, one of the two above chance is enough.
    """
    names, models = names_of(results, task), (0,) if _has_dense(results, pair) else pair
    levels = [results.chance[name] or 0.0 for name in names]
    return bool(levels) and any(_accuracy(results, names, model).low > np.mean(levels) for model in models)


def _has_dense(results: Results, pair: Pair) -> bool:
    """Return whether the first model is the dense one of a pair: it has no pruning report, and one of the two has."""
    return not results.runs[0].settings and any(results.runs[model].settings for model in pair)


def _judged(difference: Difference, results: Results, task: str, pair: Pair) -> Difference:
    return replace(difference, above_chance=above_chance(results, task, pair))


def _accuracy(results: Results, names: Sequence[str], model: int) -> clustered.Estimate:
    """A model's mean accuracy over benchmarks, with its interval."""
    answered = [scores(results, name, model)[0] for name in names]
    of = [clusters(results, name, [model]) for name in names]
    return clustered.estimate(answered[0], of[0]) if len(names) == 1 else clustered.average(answered, of)


@dataclass(frozen=True)
class OverSeeds:
    """The pairs of one method against another, or against one model, that differ in their calibration seed alone."""

    pairs: tuple[Pair, ...]
    seeds: tuple[Any, ...]
    difference: Difference


def family(results: Results, some: Pairs | None = None) -> Family:
    """The paired differences of pairs of models on each benchmark of right answers and on their average.

    some: the pairs, those of `pairs` if not given. They are tested when all items of all of their models are in, and
    Holm's adjustment is over all of them and those of `over_seeds`, so that it is the same wherever a number is shown.
    """
    return _both(results, some)[0]


def over_seeds(results: Results, some: Pairs | None = None) -> tuple[OverSeeds, ...]:
    """The average differences over seeds and clusters crossed, wherever two or more of the pairs differ in nothing but
    their calibration seed; of two calibrated models both have the same. some, tests: as of `family`.
    """
    return _both(results, some)[1]


def _both(results: Results, some: Pairs | None) -> tuple[Family, tuple[OverSeeds, ...]]:
    return _compared(results, tuple(pairs(results) if some is None else dict.fromkeys(some)))


@once
def _compared(results: Results, chosen: tuple[Pair, ...]) -> tuple[Family, tuple[OverSeeds, ...]]:
    models = _models(chosen)
    final = all(is_final(results, benchmark.name, models) for benchmark in results.accuracies)
    counted = names_of(results, AVERAGE)
    differences: dict[Pair, dict[str, Difference]] = {}
    for pair in chosen:
        differences[pair] = {}
        for benchmark in results.accuracies:
            first, second = (scores(results, benchmark.name, model, pair)[0] for model in pair)
            difference = clustered.difference(first, second, clusters(results, benchmark.name, pair), final)
            differences[pair][benchmark.name] = _judged(difference, results, benchmark.name, pair)
        if len(results.accuracies) > 1:
            rows = [paired(results, name, pair) for name in counted]
            average = clustered.average_difference(rows, [clusters(results, name, pair) for name in counted], final)
            differences[pair][AVERAGE] = _judged(average, results, AVERAGE, pair)
    groups = _crossed(results, chosen, final)
    places = [(pair, task) for pair, tasks in differences.items() for task in tasks]
    adjusted = in_family([differences[pair][task] for pair, task in places] + [group.difference for group in groups])
    for (pair, task), difference in zip(places, adjusted, strict=False):
        differences[pair][task] = difference
    together = tuple(
        replace(group, difference=difference) for group, difference in zip(groups, adjusted[len(places) :], strict=True)
    )
    return differences, together


def _crossed(results: Results, chosen: Pairs, final: bool) -> list[OverSeeds]:
    """The chosen pairs that differ in their seed alone, together."""
    groups = []
    for by_seed in _by_seed(results, chosen):
        group = tuple(by_seed.values())
        scored = _scored(results, group)
        if scored:
            first, second, of = zip(*scored.values(), strict=True)
            difference = crossed.crossed_difference(first, second, of, test=final)
            groups.append(OverSeeds(group, tuple(by_seed), _judged(difference, results, AVERAGE, group[0])))
    return groups


def _by_seed(results: Results, chosen: Pairs) -> list[dict[Any, Pair]]:
    """Those of the pairs that differ in nothing but their calibration seed, by seed, in its order."""
    every = conditions_of(results)
    members: dict[tuple[Any, Any], dict[Any, Pair]] = defaultdict(dict)
    for first, second in chosen:
        seed, other = (every[model].get(conditions.CALIBRATION_SEED) for model in (first, second))
        if seed is not None and other in (None, seed):
            against = second if other is None else conditions.but_for_the_seed(every[second])
            members[conditions.but_for_the_seed(every[first]), against].setdefault(seed, (first, second))
    return [dict(sorted(by_seed.items())) for by_seed in members.values() if len(by_seed) > 1]


@once
def floors(results: Results) -> dict[tuple[int, ...], SeedFloor]:
    """Return the difference between two seeds of one method, for all sets of two or more models that differ in their
    seed alone.
    """
    measured = {}
    for by_seed in _by_seed(results, [(model, model) for model in range(len(results.names))]):
        scored = _scored(results, tuple(by_seed.values()))
        if scored:
            runs, _, of = zip(*scored.values(), strict=True)
            measured[tuple(model for model, _ in by_seed.values())] = crossed.seed_floor(runs, of)
    return measured


def samples(results: Results, relation: str, among: Sequence[int], left_out: Container[Pair] = ()) -> list[Sample]:
    """Return the scores a plan for a comparison can use: those of the pairs of a relation whose first model is in
    `among`, with pairs that differ only in their calibration seed in one sample. left_out: pairs that count elsewhere.

    relation: of `related_pairs`. Pairs that have no item in common are left out.
    """
    chosen = [pair for pair in related_pairs(results)[relation] if pair[0] in among and pair not in left_out]
    groups = [group.pairs for group in _crossed(results, chosen, final=False)]
    groups += [(pair,) for pair in chosen if not any(pair in group for group in groups)]
    found = []
    for group in groups:
        scored = _scored(results, group)
        if scored:
            names = tuple((results.names[one], results.names[other]) for one, other in group)
            known = tuple(run_pair(results, pair) for pair in group)
            first, second, of = zip(*scored.values(), strict=True)
            found.append(Sample(first, second, of, names, known))
    return found


def run_pair(results: Results, pair: Pair) -> tuple[str, str]:
    """Identify two runs by their fingerprints, or by their names in files without fingerprints."""
    one, other = (results.models[model].fingerprint or results.names[model] for model in pair)
    return one, other


def _models(group: Pairs) -> list[int]:
    return sorted({model for pair in group for model in pair})


def _scored(results: Results, group: Pairs) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores (pairs, items) of either side and clusters (items,) on every benchmark, of the items that all models of
    the pairs have answered; benchmarks without any are left out.
    """
    models, scored = _models(group), {}
    for benchmark in results.accuracies:
        of = clusters(results, benchmark.name, models)
        if len(of):
            first, second = (
                np.stack([scores(results, benchmark.name, pair[side], models)[0] for pair in group]) for side in (0, 1)
            )
            scored[benchmark.name] = first, second, of
    return scored


def overall(differences: Mapping[str, Difference]) -> Difference:
    """Of a pair: the difference on the average, or on the only task."""
    return differences[AVERAGE] if AVERAGE in differences else next(iter(differences.values()))


def tests(of: Family, together: Sequence[OverSeeds] = ()) -> int:
    """Count the tests in a family, with those over seeds; 0 until the items are in."""
    alone = sum(difference.p is not None for tasks in of.values() for difference in tasks.values())
    return alone + sum(group.difference.p is not None for group in together)


def paired(results: Results, benchmark: str, pair: Pair) -> np.ndarray:
    """First minus second on the items that both have answered."""
    first, second = (scores(results, benchmark, model, pair)[0] for model in pair)
    return np.asarray(first - second)


@once
def family_with(results: Results, some: Pairs) -> Family:
    """The family of all pairs that are looked at by themselves and of those that are chosen besides."""
    return family(results, pairs_with(results, some))


def pairs_with(results: Results, some: Pairs) -> list[Pair]:
    """The pairs that are looked at by themselves, and those that are chosen besides."""
    return list(dict.fromkeys([*pairs(results), *some]))


@once
def is_one_setting(results: Results, some: Pairs) -> bool:
    """Return whether these are one pair, or pairs that differ in nothing but their calibration seed."""
    groups = over_seeds(results, pairs_with(results, some)) if len(some) > 1 else ()
    return len(some) == 1 or any(set(some) == set(group.pairs) for group in groups)


@once
def at_settings(results: Results, names: Mapping[Pair, str]) -> dict[str, Difference]:
    """Return the average difference at each setting, over its calibration seeds where it has several: a family of tests
    of its own, as in a sweep. One seed is one draw of a method, so that its difference is not tested. names: of the
    setting of each pair.
    """
    alone, every = family(results, list(names)), conditions_of(results)
    found = {names[group.pairs[0]]: group.difference for group in over_seeds(results, list(names))}
    for pair, name in names.items():
        difference = overall(alone[pair])
        if any(conditions.CALIBRATION_SEED in every[model] for model in pair):
            difference = replace(difference, p=None, seeds=1)
        found.setdefault(name, difference)
    in_order = list(dict.fromkeys(names.values()))
    return dict(zip(in_order, in_family([found[name] for name in in_order]), strict=True))


@once
def on_tasks(results: Results, some: Pairs) -> dict[str, Difference]:
    """Return the difference on each task of pairs that differ in nothing but their calibration seed, over the seeds and
    clusters of items crossed: a family of tests of its own."""
    found = {}
    for name, (first, second, of) in _scored(results, some).items():
        difference = crossed.crossed_difference([first], [second], [of], test=is_final(results, name, _models(some)))
        found[name] = _judged(difference, results, name, some[0])
    return dict(zip(found, in_family(list(found.values())), strict=True))


def scoring_versions(results: Results) -> dict[str, str]:
    """The versions of packages that scored the models, by name; empty until the evaluation has ended."""
    return {} if results.end is None else dict(results.end.environment.get("versions", {}))


@dataclass(frozen=True)
class Stage:
    """A step from one model to the next. pair: the model, and the one before it. total: the whole way from the first
    model, not a step of it.
    """

    title: str
    pair: Pair
    difference: Difference
    total: bool = False


@once
def decomposed(results: Results) -> list[int]:
    """The sink-aware runs whose cost can be taken apart: those whose control is here, by their numbers."""
    every = conditions_of(results)
    return [model for model in range(1, len(every)) if conditions.chain(every, model)]


@once
def stages(results: Results, model: int, task: str) -> list[Stage]:
    """The steps from the first model to a sink-aware run, each a paired difference, and at last the whole way.

    task: a benchmark's name, or `AVERAGE`. On the same items the steps add up to the whole. Without the published
    baseline the first step is the control. Empty where the run has no control here.
    """
    every = conditions_of(results)
    chain = conditions.chain(every, model)
    if not chain:
        return []
    way = [0, *chain]
    pairs = [*zip(way[1:], way[:-1], strict=True)]
    differences = family(results, [*pairs, (model, 0)])
    titles = [METHODS[every[chain[0]][conditions.METHOD]].title]
    if len(chain) > 2:
        titles.append("+ noise (control)")
    titles.append("+ discount")
    steps = [Stage(title, pair, _on(differences[pair], task)) for title, pair in zip(titles, pairs, strict=True)]
    whole = METHODS[every[model][conditions.METHOD]].title
    return [*steps, Stage(f"{whole} in all", (model, 0), _on(differences[model, 0], task), total=True)]


def _on(differences: Mapping[str, Difference], task: str) -> Difference:
    return overall(differences) if task == AVERAGE else differences[task]


MEAN = "Average"
LEFT_OUT = "Not of written answers, under guidance, or where draws end early: there is no such bound to compare."


@once
def bounded(results: Results) -> list[EvaluatedBenchmark]:
    """The benchmarks of which some answer has a bound."""
    return [benchmark for benchmark in results.benchmarks if np.isfinite(results.bounds[benchmark.name]).any()]


@once
def bound_table(results: Results) -> Table:
    """Return the mean bound with its clustered 95 % interval, one row per task and model, and the task average."""
    return [
        {"task": title, "model": name, **_numbers(_over(results, tasks, [model]))}
        for title, tasks in _titled(results)
        for model, name in enumerate(results.names)
    ]


@once
def bound_differences(results: Results, some: Pairs) -> Table:
    """Return paired differences in nats per token, one row per task and pair, with clustered intervals; below 0 the
    first is better.

    Tested when all planned items are in; p is Student's, or the sign flip's where it is larger and few clusters differ,
    adjusted by Holm over all rows.
    """
    final = all(is_final(results, task.name, range(len(results.names))) for task in bounded(results))
    rows = [(pair, title, tasks) for pair in some for title, tasks in _titled(results)]
    differences = [_over(results, tasks, pair, final) for pair, _, tasks in rows]
    return [
        {
            "task": title,
            "model": results.names[one],
            "than": results.names[other],
            **_numbers(difference),
            "p (Holm)": difference.p_holm,
            "verdict": _verdict(difference),
        }
        for ((one, other), title, _), difference in zip(rows, in_family(differences), strict=True)
    ]


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON: of every model, and of every pair that is looked at."""
    return {
        "unit": "nats per token, lower is better",
        "models": bound_table(results),
        "differences": bound_differences(results, pairs(results)),
    }


def _titled(results: Results) -> list[tuple[str, list[EvaluatedBenchmark]]]:
    """The tasks with a bound one by one, and all of them where there are several."""
    tasks = bounded(results)
    return [(task.title, [task]) for task in tasks] + ([(MEAN, tasks)] if len(tasks) > 1 else [])


def _over(
    results: Results, tasks: Sequence[EvaluatedBenchmark], models: Sequence[int], test: bool = False
) -> Difference:
    """The tasks' means, of a model or of its differences to another, with the same weight each. Without interval and p
    where a task has no spread to go by, as a bound has no range that would say how far it could lie.
    """
    means = []
    for task in tasks:
        values = np.subtract.reduce(results.bounds[task.name][list(models)])
        there = np.isfinite(values)
        means.append(clustered_mean(values[there], results.clusters[task.name][there]))
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
