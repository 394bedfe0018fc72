"""Accuracies of a sweep along its axes, as its plots show them: means and ranges over calibration seeds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.evaluation.sweep_tables import comparison_row
from analysis.figures.sweep import Curve, Delta
from analysis.specs import EvictionPoint, detail, part_alone, step_range, titles_apart
from analysis.specs.recipe import called
from analysis.words import percent


@dataclass(frozen=True)
class Grid:
    """Accuracies of two axes, (rows, columns) as shares; NaN if there is none."""

    values: np.ndarray
    rows: list[str]
    columns: list[str]


def by_sparsity(settings: Sequence[Setting]) -> list[Curve]:
    """Return a curve for each method and each value of the other axes; evictions have no sparsity."""
    groups: dict[tuple[str, str], dict[float, np.ndarray]] = defaultdict(dict)
    for setting in settings:
        if isinstance(setting.pruning, EvictionPoint):
            continue
        groups[setting.label, setting.pruning.method][setting.pruning.sparsity] = setting.by_seed
    return [_along(*named, [([x], values) for x, values in group.items()]) for named, group in groups.items()]


def by_task(settings: Sequence[Setting]) -> Grid:
    """Return the dense model and every setting by task. settings: at least one, all of one model."""
    first = settings[0]
    tasks = list(first.tasks)
    dense = [float(first.tasks[task][1].mean()) for task in tasks]
    values = np.array([dense, *([setting.of_task(task) for task in tasks] for setting in settings)])
    return Grid(values, ["dense", *(setting.label for setting in settings)], [first.titles[task] for task in tasks])


def step_ranges(settings: Sequence[Setting]) -> list[str]:
    """Return the ranges of noise steps swept for methods that weigh steps."""
    return list(dict.fromkeys(step_range(setting.pruning) for setting in weighing_steps(settings)))


def weighing_steps(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings whose method weighs noise steps."""
    return [setting for setting in settings if any(row.weighs_steps for row in setting.pruning.readers)]


def by_steps(settings: Sequence[Setting], method: str) -> Grid:
    """Return a method's accuracies by range of noise steps and sparsity, the mean over seeds and, if several,
    discounts.
    """
    weighing = weighing_steps(settings)
    sparsities = sorted({setting.pruning.sparsity for setting in weighing})
    ranges = step_ranges(settings)
    cells: dict[tuple[str, float], list[float]] = defaultdict(list)
    for setting in weighing:
        if setting.pruning.method == method:
            cells[step_range(setting.pruning), setting.pruning.sparsity].append(setting.accuracy)
    values = np.array([[np.mean(cells.get((steps, x), [np.nan])) for x in sparsities] for steps in ranges])
    return Grid(values, ranges, [percent(sparsity, 0) for sparsity in sparsities])


def _along(name: str, method: str, dots: Sequence[tuple[Sequence[float], Sequence[float] | np.ndarray]]) -> Curve:
    """Return a curve through dots, in order of x. dots: where the seeds of each lie, and their accuracies."""
    dots = sorted(dots, key=lambda dot: float(np.mean(dot[0])))
    return Curve(
        name,
        np.array([np.mean(x) for x, _ in dots]),
        np.array([np.mean(accuracies) for _, accuracies in dots]),
        np.array([np.min(accuracies) for _, accuracies in dots]),
        np.array([np.max(accuracies) for _, accuracies in dots]),
        np.array([len(accuracies) for _, accuracies in dots]),
        method,
    )


def pair_name(comparison: Comparison) -> str:
    """Return the name of a comparison: its method, what it is held against and as what, and what is not the default."""
    part = part_alone(comparison.setting.pruning)
    titles = list(titles_apart(comparison.setting.pruning, comparison.other.pruning))
    if part:
        titles[0] = called(comparison.setting.pruning.method, part)
    more = detail(comparison.setting.pruning).replace(f"{part} alone", "").strip()
    known = HELD_AGAINST[comparison.relation]
    named = titles[1] if known in titles[1] else f"{titles[1]} ({known})"
    return f"{titles[0]} − {named}{f' · {more}' if more else ''}"


def differences_along(compared: Sequence[Comparison]) -> list[Delta]:
    """Return the differences of a sweep, those of one pair of methods together, by sparsity; none of evictions."""
    compared = [one for one in compared if not isinstance(one.setting.pruning, EvictionPoint)]
    groups: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in sorted(compared, key=lambda one: one.setting.pruning.sparsity):
        groups[pair_name(comparison)].append(comparison)
    return [_delta(name, groups[name]) for name in dict.fromkeys(map(pair_name, compared))]


def _delta(name: str, group: Sequence[Comparison]) -> Delta:
    rows = [comparison_row(comparison) for comparison in group]
    words = [
        f"{name}: {100 * row['difference']:+.2f} points [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}], "
        f"{row['verdict']}, {row['seeds']} seeds, {row['clusters']} clusters"
        for row in rows
    ]
    return Delta(
        name,
        [one.setting.pruning.sparsity for one in group],
        [one.difference for one in group],
        [one.shown for one in group],
        words,
        group[0].setting.pruning.method,
    )
