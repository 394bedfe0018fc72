"""The accuracies of scored runs together: those of pruned models that answered the same tasks, setting by setting."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.engine.runs import Run, score
from analysis.evaluation.conditions import RELATIONS
from analysis.evaluation.results import Results, begun, clusters, scores
from analysis.evaluation.sweep_scores import Comparison, Setting, between, comparisons, from_dense
from analysis.exhibits.with_discount import text_of
from analysis.figures.export import Exhibit
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import Level, interval_rows
from analysis.figures.style import METHOD_LOOKS, REFERENCE, ends
from analysis.findings.pruning_cost import apart_by_rounding, bare_words
from analysis.pruned.report_file import is_control, plain_title, seed_of
from analysis.specs import METHODS, PruneSpec, against, detail, setting_key, told_apart, where
from analysis.statistics.decisions import interval_words, over_seeds
from analysis.statistics.differences import Difference, flipped, in_family
from analysis.words import counted, listed, percent

EXPLAINED = (
    "With discount: attention sinks count less when weights are chosen. Without discount (control): the same text, "
    "noise and weights' inputs, so that a difference is the discount's alone. Wanda as published: clean text, layer by "
    "layer; it differs from both in more than the discount."
)
"""The methods in words."""
_FORMULA = (
    "Right answers, the mean over tasks. A large dot is the mean over the runs of a setting, which differ in their "
    "calibration seed; the small dots are these. What pruning costs is their difference to the dense model on the same "
    "items, computed before rounding; its interval is over clusters of items that share a key or passage, crossed with "
    "the seeds."
    f"\n\n{EXPLAINED}"
)

_COLUMNS = ["sparsity", "method", "accuracy, %", "minus unpruned, points", "low, points", "high, points", "runs"]

_Group = tuple[PruneSpec, Sequence[tuple[Run, float]]]  # a setting and its runs with their accuracies
_HEADING = ("accuracy", "minus unpruned", "discount minus this row")


class Alike(NamedTuple):
    """Pruned models of one dense model that answered as many items of the same tasks, with their accuracies. tasks:
    the first by their titles. task_count: of all."""

    dense: float | None
    chance: float | None
    items: int
    tasks: str
    runs: list[tuple[Run, float]]
    task_count: int = 1


class Levels(NamedTuple):
    """Mean accuracies by sparsity of one method, without and with the discount; with it none, where it has none. who:
    what the method is called. seeds: of each, at most; 0 where it reads no text."""

    without: dict[float, float]
    discounted: dict[float, float]
    method: str
    who: str
    seeds: int


def scored_alike(runs: Sequence[Run]) -> Alike | None:
    """Return the largest group of pruned models that were scored alike; None where none is scored."""
    groups: dict[tuple[str, float | None, float | None, int, str, int], list[tuple[Run, float]]] = defaultdict(list)
    for run in runs:
        found = score(run) if run.kind == "pruned" else None
        if found is not None:
            groups[run.model, found.dense, found.chance, found.items, found.tasks, found.task_count].append(
                (run, found.value)
            )
    if not groups:
        return None
    (_, dense, chance, items, tasks, count), scored = max(groups.items(), key=lambda one: len(one[1]))
    return Alike(dense, chance, items, tasks, scored, count)


def runs_by_setting(alike: Alike) -> list[tuple[PruneSpec, list[tuple[Run, float]]]]:
    """Return the runs of each setting, from the least sparsity on and method by method."""
    groups: dict[str, tuple[PruneSpec, list[tuple[Run, float]]]] = {}
    for run, value in alike.runs:
        if run.pruning is not None:
            groups.setdefault(setting_key(run.pruning), (run.pruning, []))[1].append((run, value))
    order = list(METHODS)
    return sorted(groups.values(), key=lambda one: (one[0].sparsity, order.index(one[0].method), setting_key(one[0])))


def levels_of(alike: Alike) -> Levels:
    """Return the accuracies of the method with a discount that has most runs beside its control; where there is none,
    of the method with most runs."""
    groups = runs_by_setting(alike)
    by_key = {setting_key(spec): runs for spec, runs in groups}
    details = _details(groups)
    pairs: dict[tuple[str, str], list[_Pair]] = defaultdict(list)
    for spec, runs in groups:
        control = against(spec, "control")
        if control is not None and setting_key(control) in by_key:
            pairs[spec.method, details[setting_key(spec)]].append(
                _Pair(spec.sparsity, by_key[setting_key(control)], runs)
            )
        elif METHODS[spec.method].removes:
            pairs[spec.method, details[setting_key(spec)]].append(_Pair(spec.sparsity, runs, []))
    if not pairs:
        return Levels({}, {}, "", "", 0)
    (method, more), chosen = max(
        pairs.items(),
        key=lambda one: (any(pair.discounted for pair in one[1]), sum(len(pair.without) for pair in one[1])),
    )
    chosen = [pair for pair in chosen if pair.discounted] or chosen
    without = {pair.sparsity: _mean(pair.without) for pair in chosen}
    discounted = {pair.sparsity: _mean(pair.discounted) for pair in chosen if pair.discounted}
    every = [{seed_of(run.parameters) for run, _ in pair.without} - {None} for pair in chosen]
    seeds = max(map(len, every))
    return Levels(without, discounted, method, _called(method, more), seeds)


def _details(groups: Sequence[_Group]) -> dict[str, str]:
    """Return what stands behind a method in the name of each setting, by its key: `detail`, and what tells it from a
    setting at this or another sparsity that has more runs under that name.
    """
    settings = [spec for spec, _ in groups]
    names = [_called(spec.method, detail(spec)) for spec in settings]
    compared = [
        {name: value for name, value in json.loads(setting_key(spec)).items() if name != "sparsity"}
        for spec in settings
    ]
    apart = told_apart(names, compared, PruneSpec)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, more, (_, runs) in zip(names, apart, groups, strict=True):
        counts[name][more] += len(runs)
    return {
        setting_key(spec): " · ".join(
            filter(None, (detail(spec), more if more != counts[name].most_common(1)[0][0] else ""))
        )
        for spec, name, more in zip(settings, names, apart, strict=True)
    }


def _called(method: str, more: str) -> str:
    return " · ".join(filter(None, (plain_title(method), more)))


def discount_comparisons(alike: Alike, levels: Levels, results: Results | None) -> dict[str, Comparison]:
    """Return with against without the discount by sparsity, as `50 %`, at those of the levels, on the same items and
    calibration seeds; none where there are no answers to compare. results: as of `accuracy_of_runs`."""
    if results is None or not levels.discounted:
        return {}
    details = _details(runs_by_setting(alike))
    return {
        where(one.setting.pruning): one
        for one in comparisons(_settings(alike, results))
        if one.relation == "control"
        and isinstance(one.setting.pruning, PruneSpec)
        and _called(one.setting.pruning.method, details[setting_key(one.setting.pruning)]) == levels.who
    }


def _settings(alike: Alike, results: Results) -> list[Setting]:
    """Return the settings with their answers, in the order of `runs_by_setting`."""
    settings, first = [], 1
    for spec, runs in runs_by_setting(alike):
        models: dict[int, int] = {}  # of two runs with one seed the newer, which comes first
        for place, (run, _) in enumerate(runs):
            seed = seed_of(run.parameters)
            models.setdefault(place if seed is None else seed, first + place)
        first += len(runs)
        settings.append(_setting(spec, results, list(models.values()), list(models)))
    return settings


class Costs(NamedTuple):
    """Accuracies of the settings of some methods. accuracies: by what is removed, as `50 %`, and method. losses:
    likewise, each minus the dense model. gaps: of two methods at one sparsity, by it and their names, one family of
    tests; both empty without answers.
    """

    accuracies: dict[str, dict[str, float]]
    losses: dict[str, dict[str, Difference]]
    gaps: dict[tuple[str, str, str], Difference]


def costs_of_runs(alike: Alike, results: Results | None, who: str = "") -> Costs:
    """Return what the settings that are drawn score, cost and differ in. results, who: as of `accuracy_of_runs`."""
    groups = runs_by_setting(alike)
    details = _details(groups)
    drawn = _with_baselines(groups, who)
    accuracies: dict[str, dict[str, float]] = defaultdict(dict)
    for spec, runs in groups:
        if setting_key(spec) in drawn:
            accuracies[where(spec)][_named(spec, details)] = _mean(runs)
    losses: dict[str, dict[str, Difference]] = defaultdict(dict)
    every = [] if results is None else [one for one in _settings(alike, results) if setting_key(one.pruning) in drawn]
    for one in every:
        losses[where(one.pruning)][_named(one.pruning, details)] = _from_dense(one)
    pairs = [
        (one, other, seeds)
        for one, other in combinations(every, 2)
        if where(one.pruning) == where(other.pruning)
        if (seeds := [seed for seed in one.seeds if seed in other.seeds])
    ]
    gaps = in_family([replace(between(*pair), above_chance=pair[0].above_chance) for pair in pairs])
    named = [
        (where(one.pruning), _named(one.pruning, details), _named(other.pruning, details)) for one, other, _ in pairs
    ]
    return Costs(dict(accuracies), dict(losses), dict(zip(named, gaps, strict=True)))


class Gains(NamedTuple):
    """A method with a discount, and what it is called, minus others on the same items and calibration seeds, by what is
    removed and the other's name."""

    method: str
    who: str
    over: dict[tuple[str, str], Difference]


_NO_GAINS = Gains("", "", {})


def discount_gains(costs: Costs, levels: Levels) -> Gains:
    """Return the differences among those of runs that are the method's with the discount; none without a discount."""
    own = levels.who if levels.discounted else ""
    over = {}
    for (at, first, second), gap in costs.gaps.items():
        if own == first:
            over[at, second] = gap
        elif own == second:
            over[at, first] = flipped(gap)
    return Gains(levels.method, own, over)


def _from_dense(setting: Setting) -> Difference:
    return replace(from_dense(setting), above_chance=setting.above_chance)


def paired_differences(compared: Mapping[str, Comparison]) -> str:
    """Return the differences behind comparisons with their intervals, in a sentence; '' where there are none."""
    told = [f"{interval_words(one.difference)} at {at}" for at, one in compared.items()]
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


def accuracy_of_runs(alike: Alike, results: Results | None, who: str = "", gains: Gains = _NO_GAINS) -> Exhibit | None:
    """Return the accuracy of each setting beside the dense model's and chance; None where no run has parameters.

    results: the answers of the dense model and of the runs in the order of `runs_by_setting`, for intervals. who: draw
    this method, as of `Levels`, with what it is compared with alone, where there is that. gains: of `discount_gains`,
    which stand beside the rows of the others.
    """
    groups = runs_by_setting(alike)
    details = _details(groups)
    drawn = _with_baselines(groups, who)
    settings = {} if results is None else {setting_key(one.pruning): one for one in _settings(alike, results)}
    dense = next((one.dense.value for one in settings.values()), alike.dense)
    others: dict[str, list[str]] = {}
    rows: list[IntervalRow] = []
    losses: list[Difference] = []
    table = []
    for spec, runs in groups:
        values = [value for _, value in runs]
        if setting_key(spec) not in drawn:
            others.setdefault(_called(spec.method, details[setting_key(spec)]), []).append(percent(_mean(runs), 1))
            continue
        name, lost = _named(spec, details), None
        if setting_key(spec) in settings:
            lost = _from_dense(settings[setting_key(spec)])
            losses.append(lost)
        gain = gains.over.get((where(spec), name))
        rows.append(_score_row(where(spec), name, text_of(spec), spec.method, values, dense, lost, gain))
        change = (np.nan, np.nan, np.nan) if dense is None else ends(rows[-1])
        table.append((where(spec) or "none", name, 100 * _mean(runs), *change, len(runs)))
    if not rows:
        return None
    briefs = dict.fromkeys(_brief(spec.method) for spec, _ in groups if setting_key(spec) in drawn)
    dots = "dots: calibration seeds" if any(row.points for row in rows) else ""
    noised = "Noised text: calibration as seen while denoising." if any("noised" in row.name for row in rows) else ""
    left_out = [f"{name} ({listed(accuracies)})" for name, accuracies in others.items()]
    undrawn = f"not drawn: {listed(left_out)}" if left_out else ""
    scored = f"{alike.items:,} items of {alike.tasks if alike.task_count == 1 else counted(alike.task_count, 'task')}"
    held = "items and seeds" if all(one.holds_seeds for one in losses) else "items"
    whiskers = f"whiskers: 95 % intervals over {held}" if losses else ""
    over = f"Intervals are {_over(losses)}." if losses else ""
    points = f"Differences are in points{_rounded(groups, gains)}." if losses else ""
    first = f"{'; '.join(filter(None, (*briefs, scored, dots, whiskers, undrawn)))}."
    return Exhibit(
        "What pruning costs" if losses else "Accuracy by sparsity and method",
        " ".join(filter(None, (first, points, over, noised))),
        _scores_figure(rows, dense, alike.chance),
        pd.DataFrame(table, columns=_COLUMNS).dropna(axis=1, how="all"),
        formula=_FORMULA,
    )


def _score_row(
    at: str,
    name: str,
    read: str,
    method: str,
    by_run: Sequence[float] | np.ndarray,
    dense: float | None,
    lost: Difference | None,
    gain: Difference | None,
) -> IntervalRow:
    """Return the accuracy of a setting as it is drawn. at: what is removed, as `50 %`; read: the text that the method
    reads; '' for none. by_run: accuracies, as shares. lost: their mean minus the dense model's. gain: the method with
    the discount minus this one. Each None where it is not known. Drawn is the change from the dense model, so that the
    interval is of what the axis shows; where that model has no accuracy, the accuracy without an interval.
    """
    mean, base = float(np.mean(by_run)), 0.0 if dense is None else dense
    low, high = (np.nan, np.nan) if lost is None else (lost.low, lost.high)
    look = None if is_control(method) else METHOD_LOOKS.get(method)
    return IntervalRow(
        f"{name} · {read} text" if read else name,
        100 * (mean - base),
        100 * low,
        100 * high,
        color=REFERENCE if look is None else look.color,
        points=tuple(100 * (value - base) for value in by_run) if len(by_run) > 1 else (),
        section=f"{at} of the weights removed" if at else "No weights removed",
        beside=(percent(mean, 1), "" if lost is None else bare_words(lost), "" if gain is None else bare_words(gain)),
    )


def _scores_figure(rows: Sequence[IntervalRow], dense: float | None, chance: float | None) -> go.Figure:
    """Draw rows of `_score_row`. dense, chance: those of the dense model and of choosing at random, as shares."""
    cells = zip(*(row.beside for row in rows), strict=True)
    heading = [title if any(column) else "" for title, column in zip(_HEADING, cells, strict=True)]
    levels = [] if dense is None else [Level(f"unpruned {percent(dense, 1)}", 0.0, "dash")]
    if chance is not None:
        levels.append(Level(f"chance {percent(chance, 1)}", 100 * (chance - (dense or 0.0)), "dot", needed=False))
    title = "accuracy, %" if dense is None else "change from the unpruned model, points"
    return interval_rows(rows, title, levels=levels, heading=heading, point="one run")


def _brief(method: str) -> str:
    """Return in a clause what the method removes that this one is or rests on; '' where that is not told."""
    base = METHODS[METHODS[method].published or method]
    base = next(
        (METHODS[str(row.published)] for row in METHODS.values() if row.control == base.name and row.published), base
    )
    return f"{base.title} {base.brief}" if base.brief else ""


def _rounded(groups: Sequence[_Group], gains: Gains) -> str:
    """Say in the end of a clause that the differences beside rows were taken before rounding; '' where all agree."""
    details = _details(groups)
    levels = {(where(spec), _named(spec, details)): _mean(runs) for spec, runs in groups}
    there = [(at, name) for at, name in gains.over if {(at, name), (at, gains.who)} <= levels.keys()]
    apart = apart_by_rounding((levels[at, name], levels[at, gains.who], gains.over[at, name]) for at, name in there)
    return ", before rounding" if apart else ""


def _over(differences: Sequence[Difference]) -> str:
    """Return what the intervals of differences are over."""
    seeds = max(one.seeds for one in differences)
    return f"over items{f' and {over_seeds(seeds)}' if all(one.holds_seeds for one in differences) else ' alone'}"


def _with_baselines(groups: Sequence[_Group], who: str) -> set[str]:
    """Return the keys of the settings of a method and of what it is compared with; of all settings where that has no
    runs here."""
    keys, details = {setting_key(spec) for spec, _ in groups}, _details(groups)
    own = [spec for spec, _ in groups if _called(spec.method, details[setting_key(spec)]) == who]
    others = [against(spec, relation) for spec in own for relation in RELATIONS]
    baselines = {setting_key(other) for other in others if other is not None} & keys
    return baselines | {setting_key(spec) for spec in own} if baselines else keys


def _named(spec: PruneSpec, details: Mapping[str, str]) -> str:
    """Return the name of a setting. details: of `_details`."""
    return " · ".join(filter(None, (bare_title(spec.method), details[setting_key(spec)])))


def bare_title(method: str) -> str:
    """Return the plain title of a method without saying that it is a control."""
    return plain_title(method).partition(" (control)")[0]


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
