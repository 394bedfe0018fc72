"""Settings, comparisons and points of a sweep as rows of tables. Imports no torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.specs import EvictionPoint, PruneSpec, part_alone


def setting_row(setting: Setting) -> dict[str, Any]:
    """A setting as a row of a table: what it is, how many seeds, accuracies as shares."""
    point = setting.pruning
    spread = float(setting.by_seed.std(ddof=1)) if len(setting.seeds) > 1 else None
    return {
        **axes_of(point),
        "seeds": len(setting.seeds),
        "of": setting.planned,
        "accuracy": setting.accuracy,
        "lowest seed": float(setting.by_seed.min()),
        "highest seed": float(setting.by_seed.max()),
        "standard deviation of seeds": spread,
        "dense": setting.dense.value,
        "chance": setting.chance,
        **{setting.titles[name]: setting.of_task(name) for name in setting.tasks},
    }


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    """A comparison as a row of a table, as shares."""
    told = comparison.difference
    return {
        **axes_of(comparison.setting.pruning),
        "against": _called(comparison.other.pruning),
        "as": HELD_AGAINST[comparison.relation],
        "difference": told.value,
        "low": float(told.low),
        "high": float(told.high),
        "p (Holm)": told.p_holm,
        "tests": told.tests,
        "verdict": comparison.decision,
        "seeds": told.seeds,
        "items": told.n,
        "clusters": told.clusters,
        "standard error of seeds": _root(told.seed_variance),
        "standard error of clusters": _root(told.cluster_variance),
    }


def _called(point: PruneSpec) -> str:
    return (point.control or point.policy) if isinstance(point, EvictionPoint) else point.method


def _root(variance: float | None) -> float | None:
    return None if variance is None else float(np.sqrt(max(variance, 0.0)))


MEASURED = (
    "ms per forward",
    "dense ms",
    "timed",
    "speed beside dense",
    "seconds to prune",
    "seconds to score",
    "pruning",
    "evaluation",
)
"""Columns of a point's row that are others whenever it is run: times, and ids of jobs."""
_EVICTED = ("policy", "drawn", "budget")  # columns that points of evictions alone have


def parted(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A point's row in two: what was found, the same whenever it is run, and where the point lies with what is not."""
    found = {name: value for name, value in row.items() if name not in MEASURED}
    place = ("model", "method", "sparsity", "pattern", "bits", "λ", "k", "noise steps", "part", *_EVICTED, "seed")
    return found, {name: row[name] for name in (*place, *MEASURED) if name in row}


def axes_of(point: PruneSpec) -> dict[str, Any]:
    """Return a point's place on the axes of a sweep, without its seed; None on axes that it does not depend on."""
    discounted, weighs_steps = (
        any(getattr(row, name) for row in point.readers) for name in ("discounted", "weighs_steps")
    )
    evicted = (point.policy, point.control or None, point.budget) if isinstance(point, EvictionPoint) else ()
    return {
        "model": point.model.source,
        "method": point.method,
        "sparsity": point.sparsity,
        "pattern": point.pattern,
        "bits": point.quantization.title or None,
        "λ": point.discount.discount_strength if discounted else None,
        "k": point.discount.sink_std if discounted else None,
        "noise steps": f"{point.steps.first_step}–{point.steps.last_step}" if weighs_steps else None,
        "part": part_alone(point) or None,
        **dict(zip(_EVICTED, evicted, strict=False)),
    }
