"""Dose-response of the discount: how accuracy changes with λ, as a slope over calibration seeds and clusters of items.

Each item of each seed has a least-squares slope of its scores in λ. Their mean is tested as a difference from 0, with
seeds and clusters crossed (`crossed.crossed_difference`). An effect of the sinks should grow with the dose.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.evaluation.sweep_scores import Setting
from analysis.specs import setting_key
from analysis.statistics.crossed import crossed_difference
from analysis.statistics.differences import Difference, in_family

LEAST = 3  # strengths that a slope needs


@dataclass(frozen=True)
class DoseResponse:
    """The slope of one method's accuracy in λ at one setting: shares per unit of λ, from no discount to the full one.

    strengths, accuracies: (strengths,) each, in the order of λ. settings: of these.
    """

    settings: tuple[Setting, ...]
    strengths: tuple[float, ...]
    accuracies: tuple[float, ...]
    slope: Difference

    @property
    def method(self) -> str:
        """Its method's name."""
        return self.settings[0].pruning.method


def slope_weights(strengths: Sequence[float]) -> np.ndarray:
    """Return w with Σ w·y the least-squares slope of y in the strengths, (strengths,)."""
    centred = np.asarray(strengths, float) - np.mean(strengths)
    return np.asarray(centred / (centred**2).sum())


def dose_responses(settings: Sequence[Setting]) -> list[DoseResponse]:
    """The slope in λ of every method and setting that has `LEAST` strengths with seeds in common, as one family of
    tests.
    """
    groups: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        if any(row.discounted for row in setting.pruning.readers):
            groups[_but_for_strength(setting)].append(setting)
    found = []
    for group in groups.values():
        doses = sorted(group, key=_strength)
        seeds = [seed for seed in doses[0].seeds if all(seed in dose.seeds for dose in doses)]
        if len(doses) >= LEAST and seeds:
            found.append(_response(doses, seeds))
    adjusted = in_family([response.slope for response in found])
    return [replace(response, slope=slope) for response, slope in zip(found, adjusted, strict=True)]


def _response(doses: Sequence[Setting], seeds: Sequence[int]) -> DoseResponse:
    strengths = [_strength(dose) for dose in doses]
    slopes, clusters = [], []
    for task, (_, _, of) in doses[0].tasks.items():
        runs = [dose.tasks[task][0][[dose.seeds.index(seed) for seed in seeds]] for dose in doses]
        slopes.append(np.tensordot(slope_weights(strengths), np.stack(runs) - runs[0], axes=1))
        clusters.append(of)
    nothing = [np.zeros_like(slope) for slope in slopes]
    complete = all(dose.complete for dose in doses)
    slope = crossed_difference(slopes, nothing, clusters, test=complete)
    return DoseResponse(
        tuple(doses),
        tuple(strengths),
        tuple(dose.accuracy for dose in doses),
        slope if slope.holds_seeds else replace(slope, p=None),
    )


def _strength(setting: Setting) -> float:
    return setting.pruning.discount.discount_strength


def _but_for_strength(setting: Setting) -> str:
    point = setting.pruning
    return setting_key(
        point.model_copy(update={"discount": point.discount.model_copy(update={"discount_strength": 1.0})})
    )


def dose_row(response: DoseResponse) -> dict[str, object]:
    """A dose-response as a row of a table, as shares."""
    point, slope = response.settings[0].pruning, response.slope
    return {
        "model": point.model.source,
        "method": point.method,
        "sparsity": point.sparsity,
        "λ": " ".join(f"{strength:g}" for strength in response.strengths),
        "accuracies": " ".join(f"{accuracy:.4f}" for accuracy in response.accuracies),
        "slope": slope.value,
        "low": float(slope.low),
        "high": float(slope.high),
        "p (Holm)": slope.p_holm,
        "tests": slope.tests,
        "seeds": slope.seeds,
        "items": slope.n,
        "clusters": slope.clusters,
    }
