"""The published recipe of Sink-Wanda by its parts: its changes to Wanda, and prunings that change one part alone.

Noise, order and norm are switches of `wanda-noised` and `sink-wanda` (`calibration.noise`, `ranking` and `norm` of a
`PruneSpec`), on as published. With all of them off, the control is Wanda.
"""

from collections.abc import Collection

from analysis.registry import Choice, Registry
from analysis.specs.base import either
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import METHODS, NOISES, PUBLISHED

RECIPE: Registry[Choice] = Registry(
    Choice("noise", "noise", "noised calibration text in place of clean text"),
    Choice("order", "order", "statistics of the dense model, where Wanda feeds each layer by the pruned ones before"),
    Choice("norm", "norm", "norms of single sequences added up in place of one norm over all tokens"),
    Choice("discount", "discount", "tokens that are sinks count less"),
)
"""The parts of the recipe. help: a part's change to Wanda."""


def decomposable(method: str) -> bool:
    """Return True if the gain of a method over its published baseline can be decomposed."""
    row = METHODS[method]
    return row.weighs_steps and row.control is not None and row.published not in (None, row.control)


def changes_alone(method: str, part: str, noise: str) -> dict[str, object]:
    """Return the settings of a pruning with one part of the recipe. method: `decomposable`. noise: the recipe's."""
    switches: dict[str, object] = {
        "calibration": {"noise": noise if part == "noise" else next(name for name, row in NOISES.items() if row.clean)},
        "ranking": PUBLISHED if part == "order" else "layerwise",
        "norm": PUBLISHED if part == "norm" else "pooled",
    }
    return {"method": method if part == "discount" else METHODS[method].control, **switches}


def part_alone(point: PruneSpec) -> str:
    """Return the one part of `RECIPE` that a pruning has; '' if it has none or several."""
    method = METHODS[point.method]
    if not method.weighs_steps:
        return ""
    there = {
        "noise": not NOISES[point.calibration.noise].clean,
        "order": not point.layerwise,
        "norm": not point.pooled,
        "discount": method.discounted,
    }
    parts = [name for name, has in there.items() if has]
    return parts[0] if len(parts) == 1 else ""


def baseline_of(method: str) -> str | None:
    """Return the published baseline of the recipe that a method or control belongs to."""
    return next(
        (row.published for row in METHODS.values() if decomposable(row.name) and method in (row.name, row.control)),
        None,
    )


def called(method: str, part: str = "") -> str:
    """Return the title of a method, or of its baseline with the one part of the recipe that it has."""
    baseline = baseline_of(method) if part else None
    return METHODS[method].title if baseline is None else f"{METHODS[baseline].title} + {RECIPE[part].title}"


def why_not_decomposed(methods: Collection[str], pruning: PruneSpec) -> str:
    """Return why a sweep of these methods cannot decompose the recipe, as a sentence; '' if it can."""
    apart = [name for name in methods if decomposable(name) and METHODS[name].published in methods]
    if not apart:
        known = [name for name in METHODS if decomposable(name)]
        pairs = either(f"{name} with {METHODS[name].published}" for name in known)
        return f"To take the recipe apart, sweep {pairs}."
    if (pruning.ranking, pruning.norm) != (PUBLISHED, PUBLISHED) or NOISES[pruning.calibration.noise].clean:
        return "The recipe is taken apart as published: leave order and norm as published, and the text noised."
    return ""
