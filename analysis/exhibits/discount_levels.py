"""Accuracy without and with the sink discount along sparsities as one figure: of a sweep, or of a study's findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.evaluation.sweep_scores import Comparison, from_dense
from analysis.exhibits.story_parts import accuracies, cost_of, discounts
from analysis.figures.export import Exhibit
from analysis.figures.style import colors_by_method, ends_of
from analysis.figures.sweep import Change, Line, Seeds, with_and_without
from analysis.findings.evaluations import MARGIN, bare_words
from analysis.statistics.decisions import POINTS, over_seeds
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import Findings
from analysis.study.rules import above_chance
from analysis.words import counted

TITLE = "Accuracy without and with the sink discount"
_WITHOUT, _WITH = "without", "with discount"
_LOST, _GAINED = "pruning alone", "discount on top"
_FORMULA = (
    "Right answers, the mean over tasks and calibration seeds. The difference is taken on the same items, seed by seed."
)


@dataclass(frozen=True)
class DiscountLevels:
    """Scores of a method with the discount and of its control along sparsities. lost: the control minus the dense
    model. gained: with the discount minus without it. noise: what the intervals are over.
    """

    method: str
    without: Line
    discounted: Line
    lost: Change
    gained: Change
    dense: float
    chance: float | None
    noise: str

    @property
    def losses(self) -> dict[float, Difference]:
        """Change of accuracy from pruning without the discount, by sparsity."""
        return dict(zip(self.lost.x.tolist(), self.lost.differences, strict=True))

    @property
    def shown(self) -> Exhibit:
        """Both lines, and their differences beneath."""
        (color,) = colors_by_method([self.method])
        changes = self.lost, self.gained
        drawn = with_and_without(self.without, self.discounted, changes, self.dense, self.chance, MARGIN, color)
        return Exhibit(TITLE, self.noise, drawn, self._table(), formula=_FORMULA)

    def _table(self) -> pd.DataFrame:
        columns = {"sparsity": self.gained.x}
        columns |= {f"{line.name}, %": 100 * line.value for line in (self.without, self.discounted)}
        for change in (self.lost, self.gained):
            titles = (f"{change.name}{end}, points" for end in ("", ", low", ", high"))
            columns |= dict(zip(titles, ends_of(change.differences, 100), strict=True))
        return pd.DataFrame(columns)


def pairs_along(compared: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """Return the comparisons with a control by the method with the discount and what is not the default, each along
    the sparsities."""
    pairs: dict[str, list[Comparison]] = {}
    for one in sorted(compared, key=lambda one: one.setting.pruning.sparsity):
        pairs.setdefault(one.setting.label, []).append(one)
    return pairs


def levels_of_sweep(pair: Sequence[Comparison]) -> DiscountLevels:
    """Return the accuracies behind comparisons with a control along sparsities."""
    first = pair[0].setting
    x = np.array([one.setting.pruning.sparsity for one in pair])
    lost = in_family([replace(from_dense(one.other), above_chance=one.other.above_chance) for one in pair])
    return DiscountLevels(
        first.pruning.method,
        _line(_WITHOUT, x, [one.other.by_seed for one in pair]),
        _line(_WITH, x, [one.setting.by_seed for one in pair]),
        _change(_LOST, x, lost),
        _change(_GAINED, x, [one.difference for one in pair]),
        first.dense.value,
        first.chance,
        _marks(pair[0].difference.n, max(len(one.seeds) for one in pair)),
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
    without, discounted = zip(*(accuracies(findings, one) for one in contrasts), strict=True)
    x, above = np.array([one.sparsity for one in contrasts]), above_chance(pruning)
    return DiscountLevels(
        contrasts[0].method,
        _line(_WITHOUT, x, without),
        _line(_WITH, x, discounted),
        _change(_LOST, x, costs),
        _change(_GAINED, x, [replace(one.effect, above_chance=above) for one in contrasts]),
        pruning.dense,
        pruning.chance,
        _marks(pruning.items, max(map(len, without))),
    )


def _marks(items: int, seeds: int) -> str:
    """Say what is drawn."""
    over, dots, free = "one seed", "", "."
    if seeds > 1:
        over = over_seeds(seeds)
        dots = "; small dots: seeds"
        free = f". Intervals are Student's, with {counted(seeds - 1, 'degree')} of freedom between seeds."
    bars = f"bars: 95 % intervals over {items:,} items and {over}, above of the change from dense, below of that from"
    return f"Large marks: means{dots}; {bars} without to with the discount; grey band: ±{POINTS.margin(MARGIN)}{free}"


def _change(name: str, x: np.ndarray, differences: Sequence[Difference]) -> Change:
    return Change(name, x, differences, [bare_words(one) for one in differences])


def _line(name: str, x: np.ndarray, seeds: Seeds) -> Line:
    return Line(name, x, np.array([np.mean(each) for each in seeds]), seeds)
