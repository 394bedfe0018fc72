"""Differences of accuracy over calibration seeds as one figure, task by task."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.evaluation import comparing, tables
from analysis.evaluation.comparing import Pair
from analysis.evaluation.results import AVERAGE, Results
from analysis.exhibits.with_discount import Shift
from analysis.figures.accuracy import Accuracy, OverSeeds, accuracy_levels, over_seeds
from analysis.figures.export import Exhibit
from analysis.figures.style import PER_CENT, REFERENCE, colors_by_method, ends
from analysis.findings.evaluations import MARGIN
from analysis.pruned.naming import is_control
from analysis.statistics.decisions import POINTS, interval_words
from analysis.statistics.differences import Difference
from analysis.words import counted, percent

_TITLE = "Accuracy with minus without the discount"
_SENTENCE = (
    "In points, on the same items. A diamond is the mean over calibration seeds; its 95 % interval holds the noise of "
    "seeds and items, and ends in an arrow where it is wider than the axis. A dot is one seed. In the band a "
    "difference is smaller than what a study asks about."
)


def differences_over_seeds(results: Results, pairs: Sequence[Pair]) -> Exhibit:
    """Return the difference on each task and their average. pairs: that differ in nothing but their seed."""
    color = colors_by_method([results.runs[pairs[0][0]].settings.get("method", "")])[0]
    drawn = over_seeds(_by_task(results, pairs), POINTS.scale * MARGIN, color, "points of accuracy")
    told = pd.DataFrame(tables.difference_table(results, pairs))
    return Exhibit(_TITLE, _SENTENCE, drawn, told.rename(columns=tables.READ_AS))


def accuracy_by_role(results: Results, title: str) -> Exhibit:
    """Return the average accuracy of each role (`tables.roles`), with what its seeds give alone."""
    members, chance = tables.roles(results), tables.chance_level(results, AVERAGE)
    first = [models[0] for models in members.values()]
    settings = [results.runs[model].settings.get("method", "" if model else "dense") for model in first]
    rows = []
    colors = [
        REFERENCE if is_control(setting) else color
        for setting, color in zip(settings, colors_by_method(settings), strict=True)
    ]
    for (role, models), color in zip(members.items(), colors, strict=True):
        whole = tables.average(results, *models)
        alone = [tables.average(results, model).value for model in models] if len(models) > 1 else []
        seeds = tuple(100 * float(one) for one in alone)
        rows.append(Accuracy(role, *ends(whole, 100), seeds, _per_cent(tables.percent_words(whole)), color))
    beside = "" if chance is None else f"; chance: {percent(chance, 1)}"
    most = max(len(row.seeds) for row in rows)
    dots, over = ("; dots: seeds", f"tasks and {most} calibration seeds") if most else ("", "tasks")
    planned = sum(benchmark.planned for benchmark in results.accuracies)
    return Exhibit(
        title,
        f"Right answers to {planned:,} items, the mean over {over}{beside}. The interval covers the choice of items "
        "alone.",
        accuracy_levels(rows, f"right answers; line: 95 % over items{dots}"),
        pd.DataFrame(results.once(tables.role_table)),
    )


def shifts_of_runs(results: Results, pairs: Sequence[Pair]) -> list[Shift]:
    """Return what pruning costs and the discount changes at each sparsity of pairs that differ in it and in the
    calibration seed alone, in the order of the pairs: the first, which is asked, and the others as one family of tests.
    """
    names = {pair: percent(results.runs[pair[0]].settings["sparsity"], 0) for pair in pairs}
    lost = {(control, 0): names[run, control] for run, control in pairs}
    costs, discounts = ({**_at(results, of, True), **_at(results, of, False)} for of in (lost, names))
    shifts = []
    for name, discount in discounts.items():
        alike = [pair for pair, setting in names.items() if setting == name]
        without, discounted = (tables.average(results, *(pair[side] for pair in alike)).value for side in (1, 0))
        shifts.append(Shift(name, costs[name], discount, (without, discounted)))
    return shifts


def _at(results: Results, names: Mapping[Pair, str], first: bool) -> dict[str, Difference]:
    """Return the differences at the first setting, or at the others."""
    asked = next(iter(names.values()))
    chosen = {pair: name for pair, name in names.items() if (name == asked) == first}
    return comparing.at_settings(results, chosen) if chosen else {}


def _per_cent(words: str) -> str:
    """Return an accuracy with its unit after the estimate, before the interval."""
    value, space, interval = words.partition(" ")
    return f"{value}{PER_CENT}{space}{interval}"


def _by_task(results: Results, pairs: Sequence[Pair]) -> list[OverSeeds]:
    alone = comparing.family(results, list(pairs))
    found = comparing.on_tasks(results, pairs)
    rows = [
        _row(results.benchmark(name).title, whole, [alone[pair][name] for pair in pairs])
        for name, whole in found.items()
    ]
    if len(results.accuracies) > 1:
        (whole,) = comparing.at_settings(results, dict.fromkeys(pairs, "")).values()
        rows.insert(0, _row(tables.MEAN, whole, [alone[pair][AVERAGE] for pair in pairs]))
    return rows


def _row(name: str, whole: Difference, seeds: Sequence[Difference]) -> OverSeeds:
    stands = f"{whole.n:,} items" + (f", {counted(len(seeds), 'calibration seed')}" if whole.seeds else "")
    alone = tuple(POINTS.scale * seed.value for seed in seeds) if len(seeds) > 1 else ()
    words = interval_words(whole)
    return OverSeeds(name, *ends(whole, POINTS.scale), alone, words, f"{name}<br>{words}<br>{stands}")
