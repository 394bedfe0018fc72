"""Quality of a model, by which points of a sweep are compared: its accuracy, or how close its answers stay to the dense
model's. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.evaluation.sweep_scores import PointScores, Setting, settings
from analysis.registry import Registry
from analysis.specs import PruneSpec, setting_key
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
