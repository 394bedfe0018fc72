"""Quality against cost: where the settings of a sweep lie, which are on the frontier, and what sink-awareness gains
over its control at the same cost. Imports no torch.

The quality of a model is its accuracy, or how close its answers stay to the dense model's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.evaluation.sweep_scores import Comparison, PointScores, Setting, accuracy_interval, settings
from analysis.registry import Registry
from analysis.specs import METHODS, POLICIES, EvictionPoint, PruneSpec, setting_key
from analysis.statistics.decisions import NATS, POINTS, Unit
from analysis.statistics.differences import Difference


@dataclass(frozen=True)
class Quality:
    """A quality. axis: its title on an axis. help: what it is. sign: −1 where less is better; settings then hold it
    negated, so that a positive difference is always a gain. gains, loses: what a setting does that has more, or less,
    of it, with the size to be filled in.
    """

    name: str
    axis: str
    help: str
    unit: Unit
    gains: str
    loses: str
    sign: int = 1
    percent: bool = False


ACCURACY, DIVERGENCE = "accuracy", "divergence"

QUALITIES: Registry[Quality] = Registry(
    Quality(ACCURACY, "accuracy", "Right answers, the mean over tasks.", POINTS, "gains {}", "loses {}", percent=True),
    Quality(
        DIVERGENCE,
        "KL divergence from the dense model's answers (nats)",
        "KL(dense ‖ compressed) of the probabilities of an item's choices, by their likelihoods under the same masks; "
        "the mean over tasks that have choices.",
        NATS,
        "keeps the answers {} closer to the dense model's",
        "moves the answers {} farther from the dense model's",
        sign=-1,
    ),
)


def settings_of(
    points: Sequence[PointScores], prunings: Sequence[PruneSpec], quality: Quality = QUALITIES[ACCURACY]
) -> list[Setting]:
    """Return the settings of a sweep with one quality in the place of their scores. Whether anything can be told is
    decided by the dense model's accuracy, whatever the quality.
    """
    right = settings(points, prunings)
    if quality.name == ACCURACY:
        return right
    told = {setting_key(setting.pruning): setting.above_chance for setting in right}
    moved = settings([_diverging(point) for point in points], prunings)
    return [replace(setting, judged=told[setting_key(setting.pruning)]) for setting in moved if setting.tasks]


def _diverging(point: PointScores) -> PointScores:
    tasks = [
        replace(task, pruned=-task.divergence, dense=np.zeros(len(task.keys)), chance=None)
        for task in point.tasks
        if task.divergence is not None
    ]
    return replace(point, tasks=tuple(tasks))


def shown_interval(difference: Difference, quality: Quality) -> tuple[float, float, float]:
    """Return the value and the ends of its interval as they are drawn, lowest end first."""
    low, high = sorted((quality.sign * float(difference.low), quality.sign * float(difference.high)))
    return quality.sign * difference.value, low, high


def size_words(difference: Difference, unit: Unit) -> str:
    """The size of a significant difference with its interval, without a sign: `2.1 points [0.4, 3.8]`."""
    low, high = sorted((abs(difference.low), abs(difference.high)))  # of the same sign
    digits = unit.decimals
    while low and unit.scale * low < 0.5 * 10**-digits:
        digits += 1
    value, *ends = (f"{unit.scale * end:.{digits}f}" for end in (abs(difference.value), low, high))
    return f"{value} {unit.name} [{', '.join(ends)}]"


TIMES, CACHE = "ms per forward", "cache bytes"


@dataclass(frozen=True)
class Cost:
    """A cost of a compressed model. name: a column of the table of points. title: of the axis. help: how it is known.

    dense: the column of the dense model's, where it is known. scale: from the column's unit to that of the axis. named:
    what a share is one of.
    """

    name: str
    title: str
    help: str
    dense: str = ""
    scale: float = 1.0
    named: str = "weights"


COSTS: Registry[Cost] = Registry(
    Cost(
        "bytes",
        "MB of all weights (theoretical)",
        "By arithmetic: codes, scales and zero points, or a bit mask and the values left, whichever is less.",
        dense="dense bytes",
        scale=1e-6,
        named="bytes",
    ),
    Cost(
        TIMES,
        "milliseconds per forward",
        "Measured, beside the dense model in turns. Fake quantization gets none, as its weights run as the dense "
        "model's. This is no promise of a serving engine's speed.",
        dense="dense ms",
        named="time",
    ),
    Cost(
        CACHE,
        "MB of keys and values (theoretical)",
        "By arithmetic from the model's shape: of one text as long as the model takes, in the precision that it was "
        "scored in.",
        dense="dense cache bytes",
        scale=1e-6,
        named="keys and values",
    ),
    Cost("weights not 0", "weights left in the pruned projections", "Counted, whatever the bits of each weight."),
    Cost("of the model", "weights left in the model", "Counted in the files."),
)


MEASURED_COSTS = (COSTS["bytes"], COSTS[CACHE], COSTS[TIMES])
"""Those that are drawn unasked."""


@dataclass(frozen=True)
class Placed:
    """A setting on the plane. cost: in the unit of the axis. quality: its scores with their interval over clusters of
    items and seeds. share: of the dense model's cost, None where that is not known.
    """

    setting: Setting
    cost: float
    quality: Difference
    share: float | None

    @property
    def series(self) -> str:
        """Its line: its method and bits along the sparsities, without pruning its quantizer along the bits, or its
        policy along the budgets.
        """
        point = self.setting.pruning
        if isinstance(point, EvictionPoint):
            return f"{point.keeping.title}{f' as {POLICIES[point.policy].title}' if point.control else ''}"
        if not METHODS[point.method].removes:
            return point.readers[-1].title + (f" · g{point.quantization.group}" if point.quantization.group else "")
        return self.setting.label


def placed(
    settings: Sequence[Setting], prunings: Iterable[PruneSpec], rows: Iterable[Mapping[str, Any]], cost: Cost
) -> list[Placed]:
    """Return the settings whose cost is known, cheapest first. rows: of `point_row`, in the order of `prunings`; a
    setting costs what its seeds cost on average.
    """
    known: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for pruning, row in zip(prunings, rows, strict=True):
        if row.get(cost.name) is not None:
            dense = row.get(cost.dense) if cost.dense else None
            known[setting_key(pruning)].append((float(row[cost.name]), float("nan") if dense is None else float(dense)))
    found = []
    for setting in settings:
        costs = known.get(setting_key(setting.pruning))
        if costs:
            own, dense = (float(part) for part in np.mean(costs, axis=0))
            share = own / dense if dense == dense and dense else None
            found.append(Placed(setting, cost.scale * own, accuracy_interval(setting), share))
    return sorted(found, key=lambda one: one.cost)


def on_frontier(cost: Sequence[float] | np.ndarray, quality: Sequence[float] | np.ndarray) -> np.ndarray:
    """True at the points (N,) that no other beats: none costs no more, keeps no less, and differs in one of them."""
    cost, quality = np.asarray(cost, float), np.asarray(quality, float)
    as_good = (cost[None] <= cost[:, None]) & (quality[None] >= quality[:, None])
    better = as_good & ((cost[None] < cost[:, None]) | (quality[None] > quality[:, None]))
    return np.asarray(~better.any(axis=1))


def controlled(compared: Sequence[Comparison], points: Sequence[Placed]) -> list[tuple[Comparison, Placed, Placed]]:
    """Return the comparisons of sink-aware settings with their controls of which both are on the plane."""
    by_key = {setting_key(one.setting.pruning): one for one in points}
    pairs = []
    for comparison in compared:
        sides = [by_key.get(setting_key(side.pruning)) for side in (comparison.setting, comparison.other)]
        if comparison.relation == "control" and sides[0] is not None and sides[1] is not None:
            pairs.append((comparison, sides[0], sides[1]))
    return pairs


def plane_row(
    point: Placed, pairs: Sequence[tuple[Comparison, Placed, Placed]], best: bool, quality: Quality
) -> dict[str, Any]:
    """A setting on the plane as a row of a table, accuracies as shares. best: whether it is on the frontier."""
    control = next((other for _, one, other in pairs if one is point), None)
    value, low, high = shown_interval(point.quality, quality)
    return {
        "setting": point.setting.name,
        "series": point.series,
        "cost": point.cost,
        "share of the dense cost": point.share,
        quality.name: value,
        "low": low,
        "high": high,
        "seeds": len(point.setting.seeds),
        "on the frontier": best,
        "control": None if control is None else control.setting.name,
        "gain over the control": None if control is None else point.quality.value - control.quality.value,
    }
