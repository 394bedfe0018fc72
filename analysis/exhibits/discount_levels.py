"""Accuracy without and with the sink discount along sparsities as one figure: of a sweep, or of a study's findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.evaluation.sweep_scores import Comparison, Setting, from_dense, interval_over_items
from analysis.exhibits.story_parts import accuracies, discounts
from analysis.figures.export import Exhibit
from analysis.figures.style import colors_by_method
from analysis.figures.sweep import Gain, Line, Seeds, with_and_without
from analysis.findings.evaluations import MARGIN
from analysis.statistics.decisions import FEW_SEEDS, POINTS
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import Findings
from analysis.study.rules import above_chance
from analysis.words import counted

TITLE = "Accuracy without and with the sink discount"
_WITHOUT, _WITH = "without", "with discount"
_IN_ALL = -1  # the last stage on the way from the dense model: the whole way
_FORMULA = (
    "Right answers, the mean over tasks and calibration seeds. The difference is taken on the same items, seed by seed."
)


@dataclass(frozen=True)
class DiscountLevels:
    """Scores of a method with the discount and of its control along sparsities. losses: one of both minus the dense
    model, by sparsity; discounted_lost: whether that of the discount. noise: what the intervals are over.
    """

    method: str
    without: Line
    discounted: Line
    gain: Gain
    dense: float
    chance: float | None
    losses: dict[float, Difference]
    items: int
    noise: str
    discounted_lost: bool = False

    @property
    def shown(self) -> Exhibit:
        """Both lines, and their difference beneath."""
        (color,) = colors_by_method([self.method])
        drawn = with_and_without(self.without, self.discounted, self.gain, self.dense, self.chance, MARGIN, color)
        return Exhibit(TITLE, self.noise, drawn, self._table(), formula=_FORMULA)

    def _table(self) -> pd.DataFrame:
        columns: dict[str, Sequence[float] | np.ndarray] = {"sparsity": self.gain.x}
        for line in (self.without, self.discounted):
            ends = {"": line.value, ", low": line.low, ", high": line.high}
            columns |= {f"{line.name}{end}, %": 100 * values for end, values in ends.items()}
        of = {"difference": "value", "difference, low": "low", "difference, high": "high"}
        for title, end in of.items():
            columns[f"{title}, points"] = [100 * getattr(one, end) for one in self.gain.differences]
        return pd.DataFrame(columns).dropna(axis=1, how="all")


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
    by_seed = [_by_seed(one.setting, one.seeds) - _by_seed(one.other, one.seeds) for one in pair]
    holds = all(one.difference.holds_seeds for one in pair)
    seeds = max(len(one.seeds) for one in pair)
    return DiscountLevels(
        first.pruning.method,
        _line(_WITHOUT, x, [one.other for one in pair]),
        _line(_WITH, x, [one.setting for one in pair]),
        Gain(x, [one.difference for one in pair], by_seed if seeds > 1 else [np.zeros(0) for _ in pair]),
        first.dense.value,
        first.chance,
        dict(zip(x.tolist(), lost, strict=True)),
        pair[0].difference.n,
        _marks(pair[0].difference.n, seeds, holds),
    )


def levels_of_study(findings: Findings) -> DiscountLevels | None:
    """Return the accuracies of the first method that a study has pruned with a discount; None where there is none. The
    intervals of accuracies are not in a study's findings, so its seeds are drawn.
    """
    pruning = findings.pruning
    contrasts = list(discounts(findings).values())
    contrasts = [one for one in contrasts if one.method == contrasts[0].method and all(accuracies(findings, one))]
    if pruning is None or not contrasts:
        return None
    without, discounted = zip(*(accuracies(findings, one) for one in contrasts), strict=True)
    x = np.array([one.sparsity for one in contrasts])
    above = above_chance(pruning)
    lost = {one.sparsity: one.stages[_IN_ALL].effect for one in pruning.waterfalls if one.method == contrasts[0].method}
    differences = [replace(one.effect, above_chance=above) for one in contrasts]
    by_seed = [np.subtract(*both) for both in zip(discounted, without, strict=True)]
    seeds = max(map(len, without))
    return DiscountLevels(
        contrasts[0].method,
        _means(_WITHOUT, x, without),
        _means(_WITH, x, discounted),
        Gain(x, differences, by_seed),
        pruning.dense,
        pruning.chance,
        {at: replace(one, above_chance=above) for at, one in lost.items()},
        pruning.items,
        _marks(pruning.items, seeds, True, accuracies=False),
        discounted_lost=True,
    )


def _marks(items: int, seeds: int, holds_seeds: bool, accuracies: bool = True) -> str:
    """Say what is drawn. holds_seeds: whether the differences' intervals hold the noise of the calibration seeds.
    accuracies: whether these have intervals of their own."""
    over, free = f"over {items:,} items; one seed", ""
    if holds_seeds:
        wide = ", hence wide" if seeds < FEW_SEEDS else ""
        before = f"over {items:,} items, of differences also over" if accuracies else "of differences, over"
        over = f"{before} {counted(seeds, 'seed')}{wide}"
        free = f" Intervals of differences are Student's, with {counted(seeds - 1, 'degree')} of freedom between seeds."
    dots = "; small dots: seeds" if seeds > 1 else ""
    return f"Bars: 95 % intervals {over}{dots}. Grey band: ±{POINTS.margin(MARGIN)}.{free}"


def _by_seed(setting: Setting, seeds: Sequence[int]) -> np.ndarray:
    return setting.by_seed[[setting.seeds.index(seed) for seed in seeds]]


def _line(name: str, x: np.ndarray, settings: Sequence[Setting]) -> Line:
    value, low, high = np.array([(one.value, one.low, one.high) for one in map(interval_over_items, settings)]).T
    return Line(name, x, value, low, high, [one.by_seed for one in settings])


def _means(name: str, x: np.ndarray, seeds: Seeds) -> Line:
    value = np.array([np.mean(each) for each in seeds])
    return Line(name, x, value, np.full(len(x), np.nan), np.full(len(x), np.nan), seeds)
