"""Accuracy without and with the sink discount along sparsities as one figure: of a sweep, or of a study's findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.evaluation.sweep_scores import Comparison, Setting, from_dense
from analysis.exhibits.scored_runs import EXPLAINED
from analysis.exhibits.story_parts import accuracies, cost_of, discounts, strength_told
from analysis.exhibits.with_discount import (
    against_published,
    published_of_study,
    recipe_told,
    tasks_of,
    text_of,
    text_read,
)
from analysis.figures.export import Exhibit
from analysis.figures.style import METHOD_LOOKS, REFERENCE, Look, colors_by_method, ends_of
from analysis.figures.sweep import Change, Line, accuracies_and_changes
from analysis.findings.evaluations import MARGIN, apart_by_rounding, bare_words, inside_margin
from analysis.specs import METHODS, PruneSpec, against, setting_key
from analysis.statistics.decisions import POINTS, over_seeds
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import Findings
from analysis.study.rules import above_chance, margin_of
from analysis.words import counted

TITLE = "Accuracy without and with the sink discount"
_PUBLISHED, _WITHOUT, _WITH = "as published", "without discount", "with discount"
_LOST, _GAINED, _BEYOND = "from dense", f"minus {_WITHOUT}", f"minus {_PUBLISHED}"
_FORMULA = (
    "Right answers, the mean over tasks and calibration seeds. The difference is taken on the same items, seed by "
    "seed, before rounding."
    f"\n\n{EXPLAINED}"
)


@dataclass(frozen=True)
class DiscountLevels:
    """Scores of a method with the discount, of its control and, where there are any, of its published baseline along
    sparsities. methods: of the lines, that with the discount last. losses: the control minus the dense model, by
    sparsity. gained, published: with the discount minus without it, and minus the published baseline, None where that
    was not compared. margin: the least difference that matters. setup: what was pruned, and with what it is compared,
    in sentences. noise: what is drawn and what the intervals are over.
    """

    methods: tuple[str, ...]
    lines: tuple[Line, ...]
    losses: Mapping[float, Difference]
    gained: Change
    published: Change | None
    dense: float
    chance: float | None
    margin: float
    setup: str
    noise: str

    @property
    def shown(self) -> Exhibit:
        """The differences, and the lines beneath."""
        drawn = accuracies_and_changes(self.lines, self._changes, self.dense, self.chance, self.margin)
        return Exhibit(TITLE, self.noise, drawn, self._table(), formula=_FORMULA)

    @property
    def against_published(self) -> str:
        """Tell the largest difference to the published baseline in a sentence; '' where that was not compared."""
        if self.published is None:
            return ""
        found = dict(zip(self.published.x.tolist(), self.published.differences, strict=True))
        inside = inside_margin(self.gained.differences, self.margin)
        return against_published(self.methods[-1], found, self.margin if inside else 0.0)

    @property
    def _changes(self) -> list[Change]:
        """The differences in the order of the lines."""
        return [self.gained] if self.published is None else [self.published, self.gained]

    def _table(self) -> pd.DataFrame:
        frame = pd.DataFrame({"sparsity": self.gained.x}).set_index("sparsity")
        for line in self.lines:
            frame[f"{line.name}, %"] = 100 * line.value
        changes = {f"{line.name}, {line.lost.name}": line.lost for line in self.lines if line.lost is not None}
        for name, change in (changes | {f"{_WITH} {one.name}": one for one in self._changes}).items():
            for end, values in zip(("", ", low", ", high"), ends_of(change.differences, 100), strict=True):
                frame[f"{name}{end}, points"] = pd.Series(values, change.x)
        return frame.reset_index()


def pairs_along(compared: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """Return the comparisons with a control by the method with the discount and what is not the default, each along
    the sparsities."""
    pairs: dict[str, list[Comparison]] = {}
    for one in sorted(compared, key=lambda one: one.setting.pruning.sparsity):
        pairs.setdefault(one.setting.label, []).append(one)
    return pairs


def levels_of_sweep(
    pair: Sequence[Comparison], settings: Sequence[Setting], compared: Sequence[Comparison]
) -> DiscountLevels:
    """Return the accuracies behind comparisons with a control along sparsities. settings, compared: of the sweep, among
    which the published baseline may be.
    """
    first, own = pair[0].setting, {one.setting.name for one in pair}
    beside = {
        one.setting.pruning.sparsity: one.difference
        for one in compared
        if one.relation == "published" and one.setting.name in own
    }
    by_key = {setting_key(one.pruning): one for one in settings if isinstance(one.pruning, PruneSpec)}
    scores = {}
    for one in pair:
        baseline = against(one.setting.pruning, "published")
        published = None if baseline is None else by_key.get(setting_key(baseline))
        scores[one.setting.pruning.sparsity] = [
            _Scored((), None) if each is None else _Scored(each.by_seed, from_dense(each))
            for each in (published, one.other, one.setting)
        ]
    lost = in_family([replace(from_dense(one.other), above_chance=one.other.above_chance) for one in pair])
    point = first.pruning
    return _levels(
        point.method,
        recipe_told(point.method, text_of(point), strength_told(point.discount.discount_strength)),
        scores,
        lost,
        [one.difference for one in pair],
        beside,
        (first.dense.value, first.chance),
        (pair[0].difference.n, len(first.tasks)),
    )


def levels_of_study(findings: Findings) -> DiscountLevels | None:
    """Return the accuracies of the first method that a study has pruned with a discount, at the sparsities of which it
    holds what pruning costs; None where there is none."""
    pruning = findings.pruning
    every = [one for one in discounts(findings).values() if all(accuracies(findings, one))]
    priced = [(one, cost) for one in every if (cost := cost_of(findings, one)) and one.method == every[0].method]
    if pruning is None or not priced:
        return None
    contrasts, costs = zip(*priced, strict=True)
    method, above = contrasts[0].method, above_chance(pruning)
    baseline = METHODS[method].published
    published = {one.sparsity: one.by_seed for one in pruning.settings if one.method == baseline and not one.part}
    ways = {way.sparsity: way for way in pruning.waterfalls if way.method == method}
    scores = {}
    for one, cost in priced:
        without, discounted = accuracies(findings, one)
        start, *_, whole = ways[one.sparsity].stages
        begins_there = baseline is not None and start.title == METHODS[baseline].title
        scores[one.sparsity] = [
            _Scored(published.get(one.sparsity, ()), start.effect if begins_there else None),
            _Scored(without, cost),
            _Scored(discounted, whole.effect),
        ]
    return _levels(
        method,
        recipe_told(method, text_read(method), strength_told(max(findings.parameters.strengths))),
        scores,
        costs,
        [replace(one.effect, above_chance=above) for one in contrasts],
        {at: one for at, one in published_of_study(findings, method).items() if at in scores},
        (pruning.dense, pruning.chance),
        (pruning.items, len(tasks_of(pruning))),
        margin_of(findings),
    )


class _Scored(NamedTuple):
    """Accuracies of each calibration seed of a variant at one sparsity, and their mean minus the dense model's, None
    where that is not known."""

    by_seed: Sequence[float] | np.ndarray
    lost: Difference | None


def _levels(
    method: str,
    recipe: str,
    scores: Mapping[float, Sequence[_Scored]],
    lost: Sequence[Difference],
    gained: Sequence[Difference],
    beside: Mapping[float, Difference],
    levels: tuple[float, float | None],
    items: tuple[int, int],
    margin: float = MARGIN,
) -> DiscountLevels:
    """Return what is drawn. recipe: of `recipe_told`. scores: by sparsity, of the published baseline, the control and
    with the discount. beside: with the discount minus the published baseline, by sparsity. levels: of the dense model
    and of chance. items: their number, and that of their tasks.
    """
    x, row = np.array(list(scores)), METHODS[method]
    (color,) = colors_by_method([method])
    published, control = row.published or "", row.control or method
    variants = (
        (published, _PUBLISHED, METHOD_LOOKS.get(published, Look(REFERENCE, "circle"))),
        (control, _WITHOUT, Look(REFERENCE, "square")),
        (method, _WITH, Look(color, "diamond")),
    )
    drawn = [
        (of, name, look, each)
        for (of, name, look), each in zip(variants, zip(*scores.values(), strict=True), strict=True)
        if all(len(one.by_seed) for one in each) and not (name == _PUBLISHED and published == control)
    ]
    known = all(one.lost is not None for *_, each in drawn for one in each)
    lines = tuple(
        Line(
            name,
            x,
            np.array([np.mean(one.by_seed) for one in each]),
            look,
            _change(_LOST, look, {at: one.lost for at, one in zip(scores, each, strict=True) if one.lost is not None})
            if known
            else None,
        )
        for _, name, look, each in drawn
    )
    methods = tuple(of for of, *_ in drawn)
    baseline = lines[0] if published in methods[:-2] else None
    seeds = max(len(one.by_seed) for *_, each in drawn for one in each)
    over = f" and {over_seeds(seeds)}" if seeds > 1 else ", with one seed"
    scored = f"{items[0]:,} items of {counted(items[1], 'task')}"
    of = "95 % interval of the difference"
    bars = f"Whiskers above: {of}; below: of the change from dense" if known else f"Whiskers: {of}"
    rounded = apart_by_rounding(zip(lines[-2].value, lines[-1].value, gained, strict=True))
    caption = "; ".join(filter(None, (bars, f"grey: ±{POINTS.margin(margin)}", rounded)))
    text = f"{text_read(published)} text; the others: {text_read(method)} text"
    as_published = "" if baseline is None else f"As published: {METHODS[published].title}, {text}."
    free = f"Intervals are Student's, with {counted(seeds - 1, 'degree')} of freedom between seeds." * (seeds > 1)
    sizes = counted(len(x), "sparsity", "sparsities"), counted(len(lines), "variant"), counted(seeds, "seed")
    return DiscountLevels(
        methods,
        lines,
        dict(zip(x.tolist(), lost, strict=True)),
        _change(_GAINED, lines[-2].look, dict(zip(scores, gained, strict=True))),
        _change(_BEYOND, baseline.look, beside) if baseline is not None and beside else None,
        *levels,
        margin,
        f"{recipe} {' × '.join(sizes)}; {scored}.",
        " ".join(filter(None, (f"{caption}.", f"Intervals are over {scored}{over}.", as_published, free))),
    )


def _change(name: str, look: Look, differences: Mapping[float, Difference]) -> Change:
    """Return differences by sparsity as they are drawn."""
    told = [bare_words(one) for one in differences.values()]
    return Change(name, np.array(list(differences)), list(differences.values()), told, look)
