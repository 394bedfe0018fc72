"""An evaluation as tables."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from analysis.evaluation import comparing
from analysis.evaluation.comparing import Pairs
from analysis.evaluation.items_file import Answer, EvaluatedItem
from analysis.evaluation.results import (
    AVERAGE,
    PERPLEXITY,
    Results,
    Table,
    accuracy,
    average,
    begun,
    chance_level,
    once,
    scores,
)
from analysis.statistics.clustered import Estimate
from analysis.statistics.differences import Difference
from analysis.words import percent

CHANCE = "choosing at random"
READ_AS = {"than": "compared with", "nats a token": "nats per token"}
"""Headings of columns of differences for people; files for machines keep their names."""
_WIDE = 0.02  # of an interval that supports whole per cents only
DENSE_ROLE = "Dense model"
ROLES = ("Without discount (control)", "With discount")
MEAN = "Average"  # name of the average beside the benchmarks' titles


@once
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
            row[title] = percent_words(average(results, model))
        for benchmark in results.accuracies:
            row[benchmark.title] = percent_words(accuracy(results, benchmark.name, model))
        rows.append(row)
    if any(level is not None for level in results.chance.values()):
        levels = {benchmark.title: results.chance[benchmark.name] for benchmark in results.accuracies}
        if len(results.accuracies) > 1:
            levels = {title: chance_level(results, AVERAGE)} | levels
        rows.append({"model": CHANCE} | _in_percent(levels))
    return rows


@once
def role_table(results: Results) -> list[dict[str, str]]:
    """Return accuracies by role, a row each, on average and on each task, with its run's name or the number of its
    calibration seeds: the dense model, runs with a discount and their controls, each the mean over seeds, other models
    by name, and chance.

    Where pairs of several settings are there, every model has a row of its own.
    """
    members = roles(results)
    tasks = begun(results) if len(results.accuracies) > 1 else []
    rows = [
        {
            "model": role,
            MEAN: percent_words(average(results, *models)),
            **{task.title: percent_words(accuracy(results, task.name, *models)) for task in tasks},
            "run": results.names[models[0]] if len(models) == 1 else f"{len(models)} seeds",
        }
        for role, models in members.items()
    ]
    if chance_level(results, AVERAGE) is None:
        return rows
    levels = {MEAN: chance_level(results, AVERAGE)} | {task.title: chance_level(results, task.name) for task in tasks}
    return [*rows, {"model": "Chance", **_in_percent(levels), "run": ""}]


def _in_percent(levels: Mapping[str, float | None]) -> dict[str, str]:
    return {name: "" if level is None else f"{100 * level:.1f}" for name, level in levels.items()}


def roles(results: Results) -> dict[str, list[int]]:
    """Return the models of each role: the dense one, runs with a discount and their controls at all seeds; others by
    name, as all are where pairs of several settings are there."""
    pairs = comparing.related_pairs(results)["control"]
    members: dict[str, list[int]] = {} if results.runs[0].settings else {DENSE_ROLE: [0]}
    if comparing.is_one_setting(results, pairs):
        for role, side in zip(ROLES, (1, 0), strict=True):
            members[role] = list(dict.fromkeys(pair[side] for pair in pairs))
    placed = {model for models in members.values() for model in models}
    return members | {name: [model] for model, name in enumerate(results.names) if model not in placed}


def percent_words(estimate: Estimate) -> str:
    """An accuracy with its interval, with a decimal where the interval supports one."""
    if not estimate.n:
        return ""
    low, high = max(estimate.low, 0), min(estimate.high, 1)
    decimals = int(high - low < _WIDE)
    return f"{100 * estimate.value:.{decimals}f} [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"


@once
def accuracy_table(results: Results) -> Table:
    """Return accuracy with its interval, one row per benchmark and model, and the averages."""
    asked = [
        (
            benchmark.title,
            partial(accuracy, results, benchmark.name),
            benchmark.planned,
            benchmark.draws or None,
            chance_level(results, benchmark.name),
        )
        for benchmark in results.accuracies
    ]
    if len(asked) > 1:
        planned = results.planned
        asked.append((MEAN, partial(average, results), planned, None, chance_level(results, AVERAGE)))
    return [
        {
            "task": title,
            "model": name,
            "accuracy": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "items": estimate.n,
            "clusters": estimate.clusters,
            "chance": chance,
            "planned": planned,
            "draws": draws,
        }
        for title, estimated, planned, draws, chance in asked
        for name, estimate in zip(results.names, map(estimated, range(len(results.names))), strict=True)
    ]


def _columns(difference: Difference, further: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a difference in points. further: what stands before its test."""
    return {
        "points": 100 * difference.value,
        "low": 100 * difference.low,
        "high": 100 * difference.high,
        "items": difference.n,
        "clusters": difference.clusters,
        **further,
        "p (Holm)": difference.p_holm,
        "in words": difference.words,
    }


@once
def seed_table(results: Results, some: Pairs) -> Table:
    """Average differences over calibration seeds in points, a row for pairs that differ in their seed alone; standard
    errors by the seeds and by the clusters of items alone.
    """
    rows = []
    for group in comparing.over_seeds(results, comparing.pairs_with(results, some)):
        if not set(group.pairs) <= set(some):
            continue
        difference = group.difference
        first, second = (results.names[model] for model in group.pairs[0])
        errors = {
            "standard error, seeds": 100 * float(np.sqrt(difference.seed_variance or 0.0)),
            "standard error, clusters": 100 * float(np.sqrt(difference.parts[0][0])),
        }
        named = {"model": first, "than": second, "seeds": ", ".join(map(str, group.seeds))}
        rows.append(named | _columns(difference, errors))
    return rows


@once
def difference_table(results: Results, some: Pairs) -> Table:
    """Return paired differences in points with interval and tests, one row per benchmark and pair, averages first.

    The column of the tests, adjusted over all that is looked at, stands only where there are any.
    """
    family = comparing.family_with(results, some)
    titles = {AVERAGE: MEAN} if len(results.accuracies) > 1 else {}
    titles |= results.titles
    rows = []
    for task, title in titles.items():
        for pair in some:
            difference = family[pair][task]
            alone = {"only this model right": difference.only_first, "only the other right": difference.only_second}
            first, second = (results.names[model] for model in pair)
            rows.append({"task": title, "model": first, "than": second} | _columns(difference, alone))
    if all(row["p (Holm)"] is None for row in rows):
        rows = [{name: value for name, value in row.items() if name != "p (Holm)"} for row in rows]
    return rows


@once
def perplexities(results: Results, benchmark: str) -> Table:
    """Return each model's perplexity per word and bits per byte over the texts that all have read.

    For a diffusion model the likelihood is the evidence lower bound, so its perplexity is an upper bound.
    """
    every = range(len(results.names))
    rows = []
    for model in every:
        _, keys = scores(results, benchmark, model, every)
        metrics = [results.answers[key, model].metrics for key in keys]
        if not metrics:
            continue
        total = sum(document["word_perplexity"][0] for document in metrics)
        words = sum(document["word_perplexity"][1] for document in metrics)
        bytes_ = sum(document["byte_perplexity"][1] for document in metrics if "byte_perplexity" in document)
        rows.append(
            {
                "model": results.names[model],
                "texts": len(metrics),
                "perplexity a word": float(np.exp(-total / words)),
                "bits a byte": float(-total / bytes_ / np.log(2)) if bytes_ else None,
            }
        )
    return rows


@once
def cut_items(results: Results) -> dict[str, int]:
    """By benchmark, the items whose prompt was longer than some model takes, so that its beginning was not read."""
    cut = {key for (key, _), answer in results.answers.items() if answer.cut}
    counts = Counter(results.documents[key].benchmark for key in cut)
    return {benchmark.name: counts[benchmark.name] for benchmark in results.benchmarks}


def _who_is_right(names: tuple[str, str], scores_of: Sequence[float]) -> str:
    """Of two models; where answers are right by degrees, the one that scores higher."""
    if scores_of[0] == scores_of[1]:
        return "both" if scores_of[0] else "neither"
    return names[int(scores_of[1] > scores_of[0])]


@once
def estimated_by(results: Results, name: str) -> str:
    """Say how the likelihoods of a benchmark's answers came about: '32 draws', 'exact', or draws with the share that is
    exact; '' where there are none, or nothing says it.
    """
    planned = results.benchmark(name).draws
    exact = [
        answer.exact
        for (key, _), answer in results.answers.items()
        if answer.draws and results.documents[key].benchmark == name
    ]
    if not planned or not exact:
        return ""
    share = sum(exact) / len(exact)
    if share == 1:
        return "exact"
    return f"{planned} draws" + (f", {percent(share, 0)} of the answers exact" if share else "")


def mean_draws(results: Results) -> dict[tuple[str, int], float]:
    """The draws an answer was estimated with, by benchmark and model."""
    used: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (key, model), answer in results.answers.items():
        if answer.draws:
            used[results.documents[key].benchmark, model].append(sum(answer.draws) / len(answer.draws))
    return {where: sum(draws) / len(draws) for where, draws in used.items()}


@once
def disagreements(results: Results, first: int, second: int, benchmark: str | None = None) -> Table:
    """The items on which two models choose differently, one row each: what was asked, answered and right."""
    rows = []
    for document in sorted(results.documents.values(), key=lambda document: (document.benchmark, document.place)):
        ours, theirs = (results.answers.get((document.key, model)) for model in (first, second))
        if ours is None or theirs is None or (benchmark and document.benchmark != benchmark):
            continue
        metric = results.benchmark(document.benchmark).metric
        # Of two written answers what the metrics read, or of both the whole text where a file says nothing else.
        read = ours.filtered is not None and theirs.filtered is not None
        chosen = [_chosen(document, answer, read) for answer in (ours, theirs)]
        if chosen[0] == chosen[1] or results.benchmark(document.benchmark).kind == PERPLEXITY:
            continue
        right = document.right
        if isinstance(right, int) and document.choices and 0 <= right < len(document.choices):
            right = document.choices[right]
        names = results.names[first], results.names[second]
        scores_of = [float(answer.metrics.get(metric) or 0) for answer in (ours, theirs)]
        rows.append(
            {
                "task": results.benchmark(document.benchmark).title,
                "question": document.question,
                "choices": " | ".join(document.choices),
                "right": str(right),
                **{f"{name} chose": what for name, what in zip(names, chosen, strict=True)},
                "who is right": _who_is_right(names, scores_of),
                **{
                    f"{name} log-likelihoods": " | ".join(f"{value:.2f}" for value in answer.values)
                    for name, answer in zip(names, (ours, theirs), strict=True)
                },
                "item": document.key,
            }
        )
    return rows


def choice_table(results: Results, item: str, first: int, second: int) -> Table:
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


def _chosen(document: EvaluatedItem, answer: Answer, filtered: bool) -> str:
    values = answer.values
    if document.choices and len(values) >= len(document.choices):
        return document.choices[int(np.argmax(values[: len(document.choices)]))]
    if filtered:
        return str(answer.filtered).strip()
    return str(answer.responses[0]).strip() if answer.responses and isinstance(answer.responses[0], str) else "…"


def filtered(rows: Table, right: str | None, text: str) -> Table:
    """The rows where this model is right (None: any row) and that hold all words of a text, in any case."""
    words = text.lower().split()
    return [
        row
        for row in rows
        if (right is None or row["who is right"] == right)
        and all(word in f"{row['question']} {row['choices']}".lower() for word in words)
    ]
