"""Results of keeping a part of the keys and values over many prompts: paired differences of policies from their
controls.

A prompt is one item: what a policy does to it is compared with what its control does to it at the same budget. All
differences of one measure are one family of tests (`differences.in_family`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from analysis.evaluation.ablation_effects import Measure, clusters_of
from analysis.specs import POLICIES
from analysis.statistics.clustered import as_json, clustered_mean, difference, inside
from analysis.statistics.differences import Difference, in_family

NAMED: Final = ("policy", "budget", "control")
"""Columns that name a row."""

MEASURES: Final[Mapping[str, Measure]] = {
    "aligned": Measure("Agreement with the full text", "share of tokens in common, aligned", True, 1.0),
    "divergence": Measure(
        "Change of the predictions", "KL divergence from the full run's prediction (nats)", False, 0.0
    ),
    "agreement": Measure(
        "Agreement by position", "share of tokens that stayed the same at their position", True, 1.0, tested=False
    ),
}
TESTED: Final = tuple(name for name, measure in MEASURES.items() if measure.tested)
NUMBERS: Final[Mapping[str, str]] = {
    "share": "share of positions kept",
    "bytes": "bytes of keys and values kept",
    "full_bytes": "bytes of all of them",
    "milliseconds": "ms per forward over the cache",
}
"""Columns of a row beside its measures."""

Row = Mapping[str, Any]
"""Keys of `NAMED`; for each measure and number, a list with one number per prompt; `keys`, one per prompt, where some
prompts are alike."""


def effects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Policy minus control for every policy, control, budget below 1 and measure, over all prompts, as `Difference` in
    JSON with policy, budget, against and measure. Prompts of one key are one cluster: interval and p are Student's, p
    the sign flip's where it is larger and few prompts differ. detectable: the difference that would have been
    significant with a probability of 0.8.
    """
    by_name = {tuple(row[name] for name in NAMED): row for row in rows}
    found: list[dict[str, Any]] = []
    for measure in TESTED:
        family: list[tuple[dict[str, Any], Difference]] = []
        for (policy, budget, control), row in by_name.items():
            if control or budget >= 1:
                continue
            for against in POLICIES[policy].controls:
                named = (policy, budget, against) if POLICIES[against].matched else (against, budget, "")
                if named not in by_name:
                    continue
                first, second = (np.array(one[measure], float) for one in (row, by_name[named]))
                compared = difference(first, second, clusters_of(row, len(first)), test=len(first) > 1)
                family.append(({"policy": policy, "budget": budget, "against": against, "measure": measure}, compared))
        adjusted = in_family([compared for _, compared in family])
        for (named_effect, _), compared in zip(family, adjusted, strict=True):
            detectable = compared.detectable()
            found.append(
                named_effect
                | as_json(compared)
                | {"detectable": float(detectable) if np.isfinite(detectable) else None}
            )
    return found


def mean_of(row: Row, name: str) -> tuple[float, float, float] | None:
    """Return a row's mean over prompts with its 95 % interval, clustered; None where some prompt has no number."""
    values = row.get(name) or [None]
    if any(value is None for value in values):
        return None
    mean = clustered_mean(np.array(values, float), clusters_of(row, len(values)))
    if name not in MEASURES:
        half = mean.half if np.isfinite(mean.variance) else 0.0
        return mean.value, mean.value - half, mean.value + half
    low, high = inside(mean.value - mean.half, mean.value + mean.half, np.array(values, float), 0)
    return mean.value, float(low), float(high)
