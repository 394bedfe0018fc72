"""Accuracy without and with the sink discount by sparsity as one figure: of a sweep, or of a study's findings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.evaluation.sweep_scores import Comparison, Setting, from_dense
from analysis.exhibits.scored_runs import EXPLAINED, bare_title
from analysis.exhibits.story_parts import accuracies, cost_of, discounts
from analysis.exhibits.with_discount import (
    CHANGE,
    against_published,
    changes_figure,
    changes_told,
    published_of_study,
    recipe_told,
    tasks_of,
    text_of,
    text_read,
)
from analysis.figures.export import Exhibit
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import interval_rows
from analysis.figures.style import REFERENCE, colors_by_method, ends
from analysis.figures.sweep import Curve, accuracy
from analysis.findings import finding_of
from analysis.findings.evaluations import MARGIN
from analysis.findings.pruning_cost import no_help
from analysis.findings.sweeps import size_in_points
from analysis.pruned.report_file import is_control
from analysis.specs import METHODS, PruneSpec, against, setting_key
from analysis.statistics.decisions import POINTS, over_seeds, percent
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import Findings
from analysis.study.rules import above_chance, margin_of
from analysis.words import counted

TITLE = "Accuracy without and with the sink discount"
_MOVES = "What moves accuracy"
_FEW = 2  # sparsities, up to which their accuracies are no curve
_FORMULA = (
    "Right answers, the mean over tasks and calibration seeds. The difference is taken on the same items, seed by "
    "seed, before rounding."
    f"\n\n{EXPLAINED}"
)


class _Scored(NamedTuple):
    """A method at one sparsity. by_seed: its accuracies, a share for each calibration seed. seeds: these, empty where
    they are the same for every method. lost: their mean minus the
    dense model's; beyond: the mean with the discount minus this; None where that is not known."""

    method: str
    sparsity: float
    by_seed: Sequence[float] | np.ndarray
    lost: Difference | None
    beyond: Difference | None = None
    seeds: tuple[int, ...] = ()


class Move(NamedTuple):
    """A setting that two pruned models may differ in alone. title: from what to what. name: within a sentence, '' for
    one that no sentence names. sizes (N,): of the differences of accuracy of all such pairs, as shares."""

    title: str
    name: str
    sizes: np.ndarray

    @property
    def typical(self) -> float:
        """The root mean square."""
        return float(np.sqrt(np.mean(np.square(self.sizes))))


@dataclass(frozen=True)
class DiscountLevels:
    """Scores of a method with the discount, of its control and, where there are any, of its published baseline by
    sparsity. method: that with the discount. scores: sparsity by sparsity, with the discount last. losses: the control
    minus the dense model, by sparsity. gained, published: with the discount minus without it, and minus the published
    baseline, by sparsity. margin: the least difference that matters. setup: what was pruned, and with what it is
    compared, in sentences. drawn: what is drawn of the accuracies. noise: what the intervals are over.
    """

    method: str
    scores: tuple[_Scored, ...]
    losses: Mapping[float, Difference]
    gained: Mapping[float, Difference]
    published: Mapping[float, Difference]
    dense: float
    chance: float | None
    margin: float
    setup: str
    drawn: str
    noise: str

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, that with the discount last."""
        return tuple(dict.fromkeys(one.method for one in self.scores))

    @property
    def shown(self) -> Exhibit:
        """A curve for each method, with its 95 % intervals where they are known, beside the dense model and chance."""
        curves = [self._curve(method) for method in self.methods]
        figure = accuracy(curves, "sparsity", self.dense, self.chance, intervals=True)
        return Exhibit(TITLE, f"{self.drawn} {self.noise}", figure, self._table(), formula=_FORMULA)

    @property
    def changes(self) -> Exhibit:
        """The differences that the discount makes, a row each."""
        found = {percent(at): (gain, self.published.get(at)) for at, gain in self.gained.items()}
        figure, table = changes_figure(found, self.method, self.margin), self._table()
        told = changes_told(self.margin, all(one.holds_seeds for one in self.gained.values()))
        return Exhibit(CHANGE, f"{told} {self.noise}", figure, table, formula=_FORMULA)

    @property
    def moves(self) -> tuple[Move, ...]:
        """Settings that pairs of these models differ in alone, from the one that moves accuracy most to the least."""
        by_setting = {(one.method, one.sparsity): one for one in self.scores}
        low, high = (end(self.gained) for end in (min, max))
        changed: dict[tuple[str, str], list[tuple[_Scored, _Scored]]] = defaultdict(list)
        for method in self.methods if low < high else ():
            changed[f"{percent(low)} → {percent(high)} sparsity", "sparsity"].append(
                (by_setting[method, low], by_setting[method, high])
            )
        *baseline, control, method = self.methods
        for at in self.gained:
            own = by_setting[control, at]
            changed["without → with discount", "the discount"].append((own, by_setting[method, at]))
            for published in baseline:
                named = f"{bare_title(published)} → {_within(bare_title(control))}"
                changed[named, ""].append((by_setting[published, at], own))
        moves = [Move(*names, np.concatenate([_apart(*pair) for pair in pairs])) for names, pairs in changed.items()]
        seeds = [abs(one - other) for each in self.scores for one, other in combinations(each.by_seed, 2)]
        moves.append(Move("one calibration seed → another", "another calibration seed", np.array(seeds)))
        return tuple(sorted((one for one in moves if len(one.sizes)), key=lambda one: -one.typical))

    @property
    def moved(self) -> Exhibit | None:
        """How far each setting moves the accuracy of one pruned model; None where sparsities enough make a curve of the
        accuracies, or where there is no second seed to hold the others against.
        """
        moves = self.moves
        if len(self.gained) > _FEW or not any(one.name.endswith("seed") for one in moves) or len(moves) < _FEW:
            return None
        color = colors_by_method([self.method])[0]
        told = finding_of("what moves accuracy", {one.name: one.typical for one in moves if one.name})
        table = pd.DataFrame(
            [
                {"what changes": one.title, "pairs": len(one.sizes), "typical, points": POINTS.scale * one.typical}
                | {f"{end.__name__}, points": POINTS.scale * float(end(one.sizes)) for end in (min, max)}
                for one in moves
            ]
        )
        rows = [
            IntervalRow(
                one.title,
                POINTS.scale * one.typical,
                np.nan,
                np.nan,
                color=color if one.name == "the discount" else REFERENCE,
                beside=(
                    size_in_points(one.typical),
                    " to ".join(map(size_in_points, (one.sizes.min(), one.sizes.max()))),
                ),
            )
            for one in moves
        ]
        return Exhibit(
            _MOVES,
            f"{told} Of two pruned models that differ in this alone, on the same items. Typical: the root mean square "
            "over all such pairs; the range is from the smallest to the largest. Another calibration seed is the "
            "baseline: one model cannot show what moves accuracy less, but a mean over seeds can.",
            interval_rows(rows, "change of accuracy, points", from_zero=True, heading=("typical", "range")),
            table,
        )

    def _curve(self, method: str) -> Curve:
        """Return the accuracies of a method along the sparsities."""
        mine = [one for one in self.scores if one.method == method]
        mean = np.array([np.mean(one.by_seed) for one in mine])
        ends = [
            (one, one) if lost is None else (self.dense + lost.low, self.dense + lost.high)
            for one, lost in zip(mean, (one.lost for one in mine), strict=True)
        ]
        low, high = np.array(ends).T
        x, seeds = np.array([one.sparsity for one in mine]), np.array([len(one.by_seed) for one in mine])
        return Curve(
            bare_title(method), x, mean, low, high, seeds, method, color=REFERENCE if is_control(method) else ""
        )

    @property
    def against_published(self) -> str:
        """Tell the largest difference to the published baseline in a sentence; '' where that was not compared."""
        return against_published(self.method, self.published, self.margin if self.no_help else 0.0)

    @property
    def no_help(self) -> bool:
        """Return whether the discount does not measurably help, as `no_help`."""
        return no_help(list(self.gained.values()), self.margin)

    def _table(self) -> pd.DataFrame:
        rows = []
        for one in self.scores:
            row = {
                "sparsity": one.sparsity,
                "method": bare_title(one.method),
                "accuracy, %": 100 * np.mean(one.by_seed),
            }
            for name, difference in (("minus dense", one.lost), ("discount minus this row", one.beyond)):
                if difference is not None:
                    names = (f"{name}{end}, points" for end in ("", ", low", ", high"))
                    row |= dict(zip(names, ends(difference, 100), strict=True))
            rows.append(row)
        return pd.DataFrame(rows)


def _apart(one: _Scored, other: _Scored) -> np.ndarray:
    """Return how far two settings' accuracies lie apart seed by seed; none where their seeds are not the same."""
    if one.seeds != other.seeds or len(one.by_seed) != len(other.by_seed):
        return np.zeros(0)
    return np.abs(np.asarray(one.by_seed, float) - np.asarray(other.by_seed, float))


def _within(title: str) -> str:
    return f"{title[0].lower()}{title[1:]}" if title.startswith("With") else title


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
        at, named = one.setting.pruning.sparsity, "" if baseline is None else baseline.method
        scores[at] = [_Scored(named, at, (), None) if published is None else _score(at, published)]
        scores[at] += [_score(at, each) for each in (one.other, one.setting)]
    lost = in_family([replace(from_dense(one.other), above_chance=one.other.above_chance) for one in pair])
    point = first.pruning
    return _levels(
        point.method,
        recipe_told(point.method, text_of(point), f"λ = {point.discount.discount_strength:g}"),
        scores,
        lost,
        [one.difference for one in pair],
        beside,
        (first.dense.value, first.chance),
        (pair[0].difference.n, len(first.tasks)),
        planned=max(one.setting.planned for one in pair),
    )


def _score(sparsity: float, setting: Setting) -> _Scored:
    return _Scored(setting.pruning.method, sparsity, setting.by_seed, from_dense(setting), seeds=setting.seeds)


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
    baseline, control = METHODS[method].published or "", METHODS[method].control or method
    published = {one.sparsity: one.by_seed for one in pruning.settings if one.method == baseline and not one.part}
    ways = {way.sparsity: way for way in pruning.waterfalls if way.method == method}
    scores = {}
    for one, cost in priced:
        without, discounted = accuracies(findings, one)
        start, *_, whole = ways[one.sparsity].stages
        begins_there = bool(baseline) and start.title == METHODS[baseline].title
        first = _Scored(baseline, one.sparsity, published.get(one.sparsity, ()), start.effect if begins_there else None)
        own = _Scored(method, one.sparsity, discounted, whole.effect)
        scores[one.sparsity] = [first, _Scored(control, one.sparsity, without, cost), own]
    return _levels(
        method,
        recipe_told(method, text_read(method), f"λ = {max(findings.parameters.strengths):g}"),
        scores,
        costs,
        [replace(one.effect, above_chance=above) for one in contrasts],
        {at: one for at, one in published_of_study(findings, method).items() if at in scores},
        (pruning.dense, pruning.chance),
        (pruning.items, len(tasks_of(pruning))),
        margin_of(findings),
    )


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
    planned: int = 0,
) -> DiscountLevels:
    """Return what is drawn. recipe: of `recipe_told`. scores: by sparsity, of the published baseline, the control and
    with the discount. beside: with the discount minus the published baseline, by sparsity. levels: of the dense model
    and of chance. items: their number, and that of their tasks. planned: seeds of each setting, of which some may be
    missing.
    """
    gains = dict(zip(scores, gained, strict=True))
    baseline, control = next(iter(scores.values()))[:2]
    everywhere = baseline.method != control.method and all(len(first.by_seed) for first, *_ in scores.values())
    beside = beside if everywhere else {}
    drawn = [
        one._replace(beyond={baseline.method: beside, control.method: gains}.get(one.method, {}).get(at))
        for at, each in scores.items()
        for one in (each if everywhere else each[1:])
    ]
    known = all(one.lost is not None for one in drawn)
    drawn = drawn if known else [one._replace(lost=None) for one in drawn]
    seeds = max(len(one.by_seed) for one in drawn)
    over = f" and {over_seeds(seeds)}" if seeds > 1 else ", with one seed"
    scored = f"{items[0]:,} items of {counted(items[1], 'task')}"
    bars = "; whiskers: 95 % intervals of the change from dense" if known else ""
    caption = f"{scored}{bars}"
    free = f"Intervals are over items{over}, Student's, with {counted(seeds - 1, 'degree')} of freedom between seeds."
    sizes = counted(len(scores), "sparsity", "sparsities"), counted(3 if everywhere else 2, "method")
    there = min(len(one.by_seed) for one in drawn)  # at every setting
    pruned = counted(seeds, "seed") if there >= planned else f"{there} of {counted(planned, 'seed')}"
    return DiscountLevels(
        method,
        tuple(drawn),
        dict(zip(scores, lost, strict=True)),
        gains,
        beside,
        *levels,
        margin,
        f"{recipe}. {' × '.join((*sizes, pruned))}.",
        f"{caption}.",
        free if seeds > 1 else f"Intervals are over items{over}.",
    )
