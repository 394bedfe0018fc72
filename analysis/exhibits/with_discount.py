"""One pruning with and without the sink discount, the same for a study and for runs: the text that the method reads,
the weights that the discount changes, and the accuracies, also task by task over calibration seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.evaluation import comparing, tables
from analysis.evaluation.comparing import Pair
from analysis.evaluation.results import AVERAGE, Results, average, chance_level, once
from analysis.exhibits.story_parts import accuracies, cost_of, discounts
from analysis.figures.export import Exhibit
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import difference_row, interval_rows
from analysis.figures.style import DIFFERENCE, PER_CENT, REFERENCE, colors_by_method, ends
from analysis.findings import finding_of
from analysis.findings.evaluations import MARGIN
from analysis.findings.pruning_cost import bare_words
from analysis.pruned.report_file import is_control, plain_title
from analysis.specs import METHODS, NOISES, PruneSpec
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    ONE_SEED,
    POINTS,
    WAITING,
    WORSE,
    decide,
    interval_words,
)
from analysis.statistics.differences import SHOWN, Difference
from analysis.study.findings import Contrast, Findings, Pruning
from analysis.study.rules import above_chance
from analysis.words import counted, listed, percent

_CHANGED = "Weights kept without the discount and pruned with it, or the reverse."
CHANGE = "Accuracy change"
_COST, _DISCOUNT, _PUBLISHED = "pruned minus dense", "discount minus none", "discount minus published"
_DOTS = {"seed": "seeds", "pair": "pairs"}


def text_read(method: str) -> str:
    """Return whether a method reads `clean` or `noised` text as published; '' where it reads none. Its control tells,
    as a method may read clean text and take its discount from noised text."""
    row = METHODS[METHODS[method].control or method]
    return ("noised" if row.noised else "clean") if row.calibrated else ""


def text_of(spec: PruneSpec) -> str:
    """Return whether a pruning was calibrated on `clean` or `noised` text; '' where none was read."""
    read = text_read(spec.method)
    return "clean" if read and NOISES[spec.calibration.noise].clean else read


def recipe_told(method: str, read: str, strength: str = "") -> str:
    """Return what is pruned with and without a method's discount, in words. read: of `text_of`. strength: of the
    discount, in words."""
    row = METHODS[method]
    text = f" on {read} text{' (part masked)' if read == 'noised' else ''}" if read else ""
    without = METHODS[row.published or row.control or method]
    return f"{without.title}{text}{f', {strength}' if strength else ''}"


class Shift(NamedTuple):
    """Accuracy at one sparsity, as `50 %`. cost: pruned without the discount minus dense. discount: with minus without
    it. accuracies: without and with the discount. published: with it minus the method's published baseline, None where
    these were not compared.
    """

    sparsity: str
    cost: Difference
    discount: Difference
    accuracies: tuple[float, float]
    published: Difference | None = None


def shifts_of_study(findings: Findings, contrast: Contrast) -> list[Shift]:
    """Return what a study has found at each sparsity of a method, that of a contrast first; empty where it does not
    hold what pruning costs there."""
    pruning = findings.pruning
    if pruning is None:
        return []
    alike = [one for one in discounts(findings).values() if one.method == contrast.method]
    found, published = [], published_of_study(findings, contrast.method)
    for one in sorted(alike, key=lambda one: one.sparsity != contrast.sparsity):
        cost, (without, discounted) = cost_of(findings, one), accuracies(findings, one)
        if cost is None or not without:
            if one.sparsity == contrast.sparsity:
                return []
            continue
        levels = float(np.mean(without)), float(np.mean(discounted))
        effect = replace(one.effect, above_chance=cost.above_chance)
        found.append(Shift(percent(one.sparsity, 0), cost, effect, levels, published.get(one.sparsity)))
    return found


def shown_shifts(shifts: Sequence[Shift]) -> list[Shift]:
    """Return the first one, and that of the others where pruning costs most."""
    return [*shifts[:1], *sorted(shifts[1:], key=lambda one: one.cost.value)[:1]]


def compared_in(findings: Findings, contrast: Contrast) -> str:
    """Return what a study compares, in sentences."""
    spec, without, discounted = findings.parameters, METHODS[contrast.against].title, METHODS[contrast.method].title
    return (
        f"Without the discount: {without} against the dense model. The discount: {discounted} against that. "
        f"Calibration: {spec.samples} sequences of {spec.seq_len} tokens."
    )


def tasks_of(pruning: Pruning) -> list[str]:
    """Return the tasks that a study has scored, by their titles."""
    return list(dict.fromkeys(task for setting in pruning.settings for task in setting.by_task))


def published_of_study(findings: Findings, method: str) -> dict[float, Difference]:
    """Return a study's differences of a method to its published baseline by sparsity; none where both are not
    compared."""
    if findings.pruning is None:
        return {}
    recipes, above = discounts(findings, "recipe").values(), above_chance(findings.pruning)
    return {one.sparsity: replace(one.effect, above_chance=above) for one in recipes if one.method == method}


_DECIDED = {
    BETTER: "significantly better",
    WORSE: "significantly worse",
    EQUIVALENT: "less than {margin} too",
    CANNOT_TELL: "undecided",
    ONE_SEED: "undecided with one seed",
    WAITING: "so far",
}


def against_published(method: str, found: Mapping[float, Difference], margin: float = 0.0) -> str:
    """Tell the largest difference of a method to its published baseline in a sentence; '' where there is none. found:
    by sparsity. margin: that others lie inside of, as the sentence before says; 0 where it says nothing of one.
    """
    baseline = METHODS[method].published
    if not found or baseline is None:
        return ""
    at = max(found, key=lambda at: abs(found[at].value))
    most, read = found[at], text_read(baseline)
    who = f"{plain_title(baseline)}{f' ({read} text)' if read else ''}"
    decided = decide(most, margin, most.above_chance)
    told = _DECIDED.get(decided, "").format(margin=POINTS.margin(margin)) if margin or decided in SHOWN else ""
    alike = [percent(each, 0) for each, one in found.items() if decide(one, margin, one.above_chance) == EQUIVALENT]
    rest = f"; at {listed(alike)}, less than {POINTS.margin(margin)}" if alike and decided != EQUIVALENT else ""
    return f"Against {who}: {bare_words(most)} at {percent(at, 0)}{f', {told}' if told else ''}{rest}."


class Changed(NamedTuple):
    """Shares of the weights that the discount changes at a sparsity, as `50 %`, one per calibration seed; those that
    another random calibration sample changes, one per pair of seeds, none where that is not known; and the share by
    which independent masks differ.
    """

    sparsity: str
    changed: Sequence[float]
    floor: Sequence[float]
    chance: float

    @property
    def by_sample(self) -> str:
        """Say which share of the weights another calibration sample changes, its mean; '' if that is not known."""
        return f"another calibration sample changes {percent(fmean(self.floor))}" if self.floor else ""

    def words(self) -> str:
        """Say how much the discount changes."""
        at = f"At {self.sparsity} sparsity the discount"
        told: str = finding_of("discounted mask", self.changed, self.floor, self.chance, at)
        return told


def changes_of_study(findings: Findings, contrast: Contrast) -> list[Changed]:
    """Return how far a study's masks with and without the discount differ at each sparsity of a method, that of a
    contrast first; empty if it has not compared them there."""
    alike = [one for one in findings.mask_changes if one.method == contrast.method and one.changed]
    alike.sort(key=lambda one: one.sparsity != contrast.sparsity)
    if not alike or alike[0].sparsity != contrast.sparsity:
        return []
    return [Changed(percent(one.sparsity, 0), tuple(one.changed), tuple(one.floor), one.chance) for one in alike]


def weights_changed(changes: Sequence[Changed], seeds: int = 0) -> Exhibit:
    """Return what share of the weights the discount changes, beside what another random calibration sample changes: at
    the first sparsity as a figure, at all of them in the table. seeds: that were scored, where that is told.
    """
    first = changes[0]
    color = colors_by_method([PruneSpec().method])[0]
    kinds = [
        (one.sparsity, *kind)
        for one in changes
        for kind in (("sink discount", "seed", one.changed, color), ("another sample", "pair", one.floor, REFERENCE))
        if kind[2]
    ]
    rows = [
        _share(_of_many(f"{at}: {name}" if at else name, len(all), each), all, color)
        for at, name, each, all, color in kinds
        if at == first.sparsity
    ]
    part = (
        f" Accuracy is of all {seeds} seeds, masks of {len(first.changed)}, as reading those of many takes long; the "
        "floor is of every pair of these."
        if len(first.changed) < seeds
        else ""
    )
    chance = [f"{percent(one.chance)}{f' at {one.sparsity}' if one.sparsity else ''}" for one in changes]
    table = pd.DataFrame(
        [
            {"sparsity": at, "what changes": name, "dots": len(all), "chosen differently, %": 100 * np.mean(all)}
            for at, name, _, all, _ in kinds
        ]
    )
    dots = dict.fromkeys(_DOTS[each] for _, _, each, all, _ in kinds if len(all) > 1)
    small = f"Small dots: {', '.join(dots)}. " if dots else ""
    return Exhibit(
        "Weights chosen differently",
        f"{small}{_CHANGED} Independent masks would differ in {listed(chance)}.{part}",
        interval_rows(rows, "weights chosen differently", unit=PER_CENT, from_zero=True),
        table,
    )


def _of_many(name: str, count: int, noun: str) -> str:
    return name if count == 1 else f"{name}, {counted(count, noun)}"


def accuracy_shifts(
    shifts: Sequence[Shift], dense: float, chance: float | None, method: str, margin: float, compared: str
) -> Exhibit:
    """Return what the discount changes of accuracy, with its intervals, and in the table what pruning does before.
    shifts: at least one, of which `shown_shifts` are drawn. method: with the discount. compared: what is compared, in
    sentences.
    """
    first = shifts[0]
    found = {one.sparsity: (one.discount, one.published) for one in shown_shifts(shifts)}
    without, discounted = (percent(level, 1) for level in first.accuracies)
    guessing = "" if chance is None else f"; chance {percent(chance, 1)}"
    return Exhibit(
        CHANGE,
        f"{changes_told(margin, first.discount.holds_seeds)} Right answers at {first.sparsity} sparsity: "
        f"{percent(dense, 1)} unpruned, {without} without the discount, {discounted} with it{guessing}. {compared}",
        changes_figure(found, method, margin),
        pd.DataFrame([told for one in shifts for told in _told(one, dense)]),
    )


def changes_told(margin: float, holds_seeds: bool) -> str:
    """Say what `changes_figure` draws. holds_seeds: the intervals cover the choice of calibration seeds, too."""
    over = "items and seeds" if holds_seeds else "items"
    within = POINTS.margin(margin).replace(" ", "\u00a0")
    return f"Whiskers: 95 % intervals over {over}; shaded: too small to matter, ±{within}."


def changes_figure(found: Mapping[str, tuple[Difference, Difference | None]], method: str, margin: float) -> go.Figure:
    """Draw what the discount changes of accuracy. found: with minus without it, and minus the published baseline, if
    that was compared, by sparsity, as `50 %`. method: with the discount."""
    baseline = METHODS[method].published
    names = "against no discount", f"against {plain_title(baseline)}" if baseline else ""
    rows = [
        difference_row(name, effect, color=DIFFERENCE, section=f"Discount at {at} sparsity")
        for at, effects in found.items()
        for name, effect in zip(names, effects, strict=True)
        if effect is not None
    ]
    return interval_rows(rows, "accuracy change, points", even="", margin=POINTS.scale * margin)


def _told(shift: Shift, dense: float) -> list[dict[str, str | float]]:
    """Return the differences as rows of a table."""
    after = shift.accuracies[1]
    of = {_COST: (shift.cost, dense, dense + shift.cost.value), _DISCOUNT: (shift.discount, *shift.accuracies)} | (
        {_PUBLISHED: (shift.published, after - shift.published.value, after)} if shift.published is not None else {}
    )
    return [
        {"sparsity": shift.sparsity, "difference": name}
        | dict(zip(("points", "low", "high"), ends(one, POINTS.scale), strict=True))
        | {"from, %": 100 * before, "to, %": 100 * after}
        for name, (one, before, after) in of.items()
    ]


def _share(name: str, values: Sequence[float], color: str) -> IntervalRow:
    """Return a row of a mean with what its seeds give alone; no interval."""
    mean = 100 * float(np.mean(values))
    seeds = tuple(100 * one for one in values) if len(values) > 1 else ()
    return IntervalRow(name, mean, np.nan, np.nan, percent(np.mean(values)), color=color, points=seeds)


_TITLE = "Accuracy with minus without the discount"
_SENTENCE = (
    "In points, on the same items. A large dot is the mean over calibration seeds; its 95 % interval holds the noise "
    "of seeds and items, and ends in an arrow where it is wider than the axis. A small dot is one seed. In the band a "
    "difference is smaller than what a study asks about."
)


@once
def differences_over_seeds(results: Results, pairs: Sequence[Pair]) -> Exhibit:
    """Return the difference on each task and their average. pairs: that differ in nothing but their seed."""
    rows = _by_task(results, pairs)
    drawn = interval_rows(rows, "points of accuracy", even="", margin=POINTS.scale * MARGIN)
    told = pd.DataFrame(tables.difference_table(results, pairs))
    return Exhibit(_TITLE, _SENTENCE, drawn, told.rename(columns=tables.READ_AS))


@once
def accuracy_by_role(results: Results, title: str) -> Exhibit:
    """Return the average accuracy of each role (`tables.roles`), with what its seeds give alone."""
    members, chance = tables.roles(results), chance_level(results, AVERAGE)
    first = [models[0] for models in members.values()]
    settings = [results.runs[model].settings.get("method", "" if model else "dense") for model in first]
    rows = []
    colors = [
        REFERENCE if is_control(setting) else color
        for setting, color in zip(settings, colors_by_method(settings), strict=True)
    ]
    for (role, models), color in zip(members.items(), colors, strict=True):
        whole = average(results, *models)
        alone = [average(results, model).value for model in models] if len(models) > 1 else []
        seeds = tuple(100 * float(one) for one in alone)
        words = _per_cent(tables.percent_words(whole))
        rows.append(IntervalRow(role, *ends(whole, 100), words, color=color, points=seeds))
    beside = "" if chance is None else f"; chance: {percent(chance, 1)}"
    most = max(len(row.points) for row in rows)
    dots, over = ("; dots: seeds", f"tasks and {most} calibration seeds") if most else ("", "tasks")
    planned = results.planned
    return Exhibit(
        title,
        f"Right answers to {planned:,} items, the mean over {over}{beside}. The interval covers the choice of items "
        "alone.",
        interval_rows(rows, f"right answers; line: 95 % over items{dots}", unit=PER_CENT),
        pd.DataFrame(tables.role_table(results)),
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
        without, discounted = (average(results, *(pair[side] for pair in alike)).value for side in (1, 0))
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


def _by_task(results: Results, pairs: Sequence[Pair]) -> list[IntervalRow]:
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


def _row(name: str, whole: Difference, seeds: Sequence[Difference]) -> IntervalRow:
    stands = f"{whole.n:,} items" + (f", {counted(len(seeds), 'calibration seed')}" if whole.seeds else "")
    alone = tuple(POINTS.scale * seed.value for seed in seeds) if len(seeds) > 1 else ()
    return difference_row(name, whole, words=interval_words(whole), color=DIFFERENCE, points=alone, hover=(stands,))
