"""The accuracies of scored runs together: those of pruned models that answered the same tasks, setting by setting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError

from analysis.engine.runs import Run, score
from analysis.evaluation.results import Results, begun, clusters, scores
from analysis.evaluation.sweep_scores import Comparison, Setting, comparisons, from_dense, interval_over_items
from analysis.figures.export import Exhibit
from analysis.figures.runs import Scores, accuracy_by_setting
from analysis.pruned.naming import is_control, plain_title, seed_of
from analysis.specs import METHODS, PruneSpec, against, detail, setting_key, where
from analysis.statistics.decisions import POINTS, interval_words, over_seeds
from analysis.statistics.differences import Difference
from analysis.words import listed, percent

EXPLAINED = (
    "With discount: attention sinks count less when weights are chosen. Without discount (control): the same text, "
    "noise and weights' inputs, so that a difference is the discount's alone. Wanda as published: clean text, layer by "
    "layer; it differs from both in more than the discount."
)
"""The methods in words."""
_FORMULA = (
    "Right answers, the mean over tasks. A diamond is the mean over the runs of a setting, which differ in their "
    "calibration seed; the dots are these. Its interval is Student's, with items that share a key or passage as one "
    f"cluster, and holds the noise of the items alone.\n\n{EXPLAINED}"
)
_NOT_COMPARED: Mapping[str, Comparison] = {}


class Alike(NamedTuple):
    """Pruned models of one dense model that answered as many items of the same tasks, with their accuracies."""

    dense: float | None
    chance: float | None
    items: int
    tasks: str
    runs: list[tuple[Run, float]]


class Levels(NamedTuple):
    """Mean accuracies by sparsity of one method, without and with the discount; with it none, where it has none. who:
    what the method is called. seeds: of each, at most; 0 where it
    reads no text."""

    without: dict[float, float]
    discounted: dict[float, float]
    who: str
    seeds: int


def scored_alike(runs: Sequence[Run]) -> Alike | None:
    """Return the largest group of pruned models that were scored alike; None where none is scored."""
    groups: dict[tuple[str, float | None, float | None, int, str], list[tuple[Run, float]]] = defaultdict(list)
    for run in runs:
        found = score(run) if run.kind == "pruned" else None
        if found is not None:
            groups[run.model, found.dense, found.chance, found.items, found.tasks].append((run, found.value))
    if not groups:
        return None
    (_, dense, chance, items, tasks), scored = max(groups.items(), key=lambda one: len(one[1]))
    return Alike(dense, chance, items, tasks, scored)


def runs_by_setting(alike: Alike) -> list[tuple[PruneSpec, list[tuple[Run, float]]]]:
    """Return the runs of each setting, from the least sparsity on and method by method."""
    groups: dict[str, tuple[PruneSpec, list[tuple[Run, float]]]] = {}
    for run, value in alike.runs:
        try:
            spec = PruneSpec.model_validate(run.parameters)
        except ValidationError:  # of an older version
            continue
        groups.setdefault(setting_key(spec), (spec, []))[1].append((run, value))
    order = list(METHODS)
    return sorted(groups.values(), key=lambda one: (one[0].sparsity, order.index(one[0].method), setting_key(one[0])))


def levels_of(alike: Alike) -> Levels:
    """Return the accuracies of the method with a discount that has most runs beside its control; where there is none,
    of the method with most runs."""
    groups = runs_by_setting(alike)
    by_key = {setting_key(spec): runs for spec, runs in groups}
    pairs: dict[tuple[str, str], list[_Pair]] = defaultdict(list)
    for spec, runs in groups:
        control = against(spec, "control")
        if control is not None and setting_key(control) in by_key:
            pairs[spec.method, detail(spec)].append(_Pair(spec.sparsity, by_key[setting_key(control)], runs))
        elif METHODS[spec.method].removes:
            pairs[spec.method, detail(spec)].append(_Pair(spec.sparsity, runs, []))
    if not pairs:
        return Levels({}, {}, "", 0)
    (method, more), chosen = max(
        pairs.items(),
        key=lambda one: (any(pair.discounted for pair in one[1]), sum(len(pair.without) for pair in one[1])),
    )
    chosen = [pair for pair in chosen if pair.discounted] or chosen
    without = {pair.sparsity: _mean(pair.without) for pair in chosen}
    discounted = {pair.sparsity: _mean(pair.discounted) for pair in chosen if pair.discounted}
    every = [{seed_of(run.parameters) for run, _ in pair.without} - {None} for pair in chosen]
    seeds = max(map(len, every))
    return Levels(without, discounted, _called(method, more), seeds)


def _called(method: str, more: str) -> str:
    return " · ".join(filter(None, (plain_title(method), more)))


def discount_comparisons(alike: Alike, levels: Levels, results: Results | None) -> dict[str, Comparison]:
    """Return with against without the discount by sparsity, as `50 %`, at those of the levels, on the same items and
    calibration seeds; none where there are no answers to compare. results: as of `accuracy_of_runs`."""
    if results is None or not levels.discounted:
        return {}
    settings, first = [], 1
    for spec, runs in runs_by_setting(alike):
        models: dict[int, int] = {}  # of two runs with one seed the newer, which comes first
        for place, (run, _) in enumerate(runs):
            seed = seed_of(run.parameters)
            models.setdefault(place if seed is None else seed, first + place)
        first += len(runs)
        settings.append(_setting(spec, results, list(models.values()), list(models)))
    return {
        where(one.setting.pruning): one
        for one in comparisons(settings)
        if one.relation == "control"
        and isinstance(one.setting.pruning, PruneSpec)
        and _called(one.setting.pruning.method, detail(one.setting.pruning)) == levels.who
    }


def paired_differences(compared: Mapping[str, Comparison]) -> str:
    """Return the differences behind comparisons with their intervals, in a sentence; '' where there are none."""
    told = [f"{value} {POINTS.name} {ends} at {at}" for at, (value, ends) in _differences(compared).items()]
    return f"With minus without the discount, on the same items and seeds: {listed(told)}." if told else ""


class _Pair(NamedTuple):
    """Runs at one sparsity, each with its accuracy."""

    sparsity: float
    without: list[tuple[Run, float]]
    discounted: list[tuple[Run, float]]


def _mean(runs: Sequence[tuple[Run, float]]) -> float:
    return float(np.mean([value for _, value in runs]))


def from_dense_of_runs(alike: Alike, results: Results | None) -> dict[str, Difference]:
    """Return each run minus the dense model on the same items, by the run's id; none without answers. results: as of
    `accuracy_of_runs`."""
    if results is None:
        return {}
    every = [(spec, run) for spec, runs in runs_by_setting(alike) for run, _ in runs]
    return {run.id: from_dense(_setting(spec, results, [at], [0])) for at, (spec, run) in enumerate(every, 1)}


def accuracy_of_runs(
    alike: Alike, results: Results | None, who: str = "", compared: Mapping[str, Comparison] = _NOT_COMPARED
) -> Exhibit | None:
    """Return the accuracy of each setting beside the dense model's and chance; None where no run has parameters.

    results: the answers of the dense model and of the runs in the order of `runs_by_setting`, for intervals. who: draw
    this method, as of `Levels`, with its control alone, where it has one. compared: of `discount_comparisons` of that
    method: write these differences, which hold what runs have in common, in place of the accuracies' intervals.
    """
    groups = runs_by_setting(alike)
    paired = _with_controls(groups, who)
    others: dict[str, list[str]] = {}
    rows: list[Scores] = []
    cleans: list[bool] = []
    counts, first = [], 1
    for spec, runs in groups:
        values = [value for _, value in runs]
        low = high = np.nan
        if results is not None and not compared:
            models = range(first, first + len(runs))
            whole = interval_over_items(_setting(spec, results, models, range(len(models))))
            low, high = whole.low, whole.high
        first += len(runs)
        if paired and setting_key(spec) not in paired:
            others.setdefault(_called(spec.method, detail(spec)), []).append(percent(np.mean(values), 1))
            continue
        seeds = values if len(values) > 1 else []
        looks = "" if is_control(spec.method) else spec.method
        rows.append(Scores(where(spec) or "none", _named(spec), looks, float(np.mean(values)), low, high, seeds))
        counts.append(len(runs))
        cleans.append(_reads_clean(spec))
    if not rows:
        return None
    bars = f" with 95 % intervals over {alike.items:,} items" if results is not None and not compared else ""
    brackets = f"; brackets: {_brackets(compared)}; differences are computed before rounding" if compared else ""
    dots = "; dots: single runs" if max(counts) > 1 else ""
    chance = "" if alike.chance is None else f" Chance: {percent(alike.chance, 1)}."
    clean = list(dict.fromkeys(row.name for row, on_clean in zip(rows, cleans, strict=True) if on_clean))
    text = f"; {listed(clean)} on clean text" if clean and not all(cleans) else ""
    left_out = [f"{name} ({listed(accuracies)})" for name, accuracies in others.items()]
    undrawn = f"; not drawn: {listed(left_out)}" if left_out else ""
    return Exhibit(
        "Accuracy by sparsity and method",
        f"Diamonds: means{bars}{dots}{brackets}{text}{undrawn}.{chance}",
        accuracy_by_setting(rows, alike.dense, alike.chance, _heads(compared)),
        pd.DataFrame(
            {
                "sparsity": [row.group for row in rows],
                "method": [row.name for row in rows],
                **{
                    title: [100 * getattr(row, end) for row in rows]
                    for title, end in (("accuracy, %", "value"), ("low, %", "low"), ("high, %", "high"))
                },
                "runs": counts,
            }
        ).dropna(axis=1, how="all"),
        formula=_FORMULA,
    )


def _heads(compared: Mapping[str, Comparison]) -> dict[str, list[str]]:
    """Return what stands above the panels: of which group each is, and its difference."""
    if not compared:
        return {"": ["weights removed"]}
    return {"": ["weights removed", "with − without, points", "95 % interval"], **_differences(compared)}


def _differences(compared: Mapping[str, Comparison]) -> dict[str, list[str]]:
    """Return the differences behind comparisons, with one decimal as all accuracies here, and their intervals."""
    every = {at: one.difference for at, one in compared.items()}
    return {
        at: [POINTS.number(one.value, 1), interval_words(one).partition(f"{POINTS.name} ")[2]]
        for at, one in every.items()
    }


def _brackets(compared: Mapping[str, Comparison]) -> str:
    """Return what the intervals of differences are over."""
    differences = [one.difference for one in compared.values()]
    items, seeds = (max(getattr(one, name) for one in differences) for name in ("n", "seeds"))
    seeded = all(one.holds_seeds for one in differences)
    return f"95 % intervals over {items:,} items{f' and {over_seeds(seeds)}' if seeded else ' alone'}"


def _with_controls(groups: Sequence[tuple[PruneSpec, Sequence[tuple[Run, float]]]], who: str) -> set[str]:
    """Return the keys of the settings of a method and of its controls; none where it has no control here."""
    keys = {setting_key(spec) for spec, _ in groups}
    pairs = [(spec, against(spec, "control")) for spec, _ in groups if _called(spec.method, detail(spec)) == who]
    controls = {setting_key(control) for _, control in pairs if control is not None} & keys
    return controls | {setting_key(spec) for spec, _ in pairs} if controls else set()


def _reads_clean(spec: PruneSpec) -> bool:
    """Return whether a method is calibrated on text without noise."""
    return METHODS[spec.method].calibrated and not METHODS[spec.method].noised


def _named(spec: PruneSpec) -> str:
    name = plain_title(spec.method).partition(" (control)")[0]
    return " · ".join(filter(None, (name, detail(spec))))


def _setting(spec: PruneSpec, results: Results, models: Sequence[int], seeds: Sequence[int]) -> Setting:
    every = range(len(results.names))
    tasks = begun(results)
    return Setting(
        spec,
        tuple(seeds),
        len(models),
        {
            task.name: (
                np.stack([scores(results, task.name, model, every)[0] for model in models]),
                scores(results, task.name, 0, every)[0],
                clusters(results, task.name, every),
            )
            for task in tasks
        },
        {task.name: task.title for task in tasks},
        {task.name: results.chance[task.name] for task in tasks},
    )
