"""Results of keeping a part of the keys and values over many prompts: paired differences of policies from their
controls, and sentences about them.

A prompt is one item: what a policy does to it is compared with what its control does to it at the same budget. All
differences of one measure are one family of tests (`differences.in_family`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from analysis.evaluation.ablation_effects import Measure, effect_of, shown
from analysis.specs import POLICIES
from analysis.statistics.clustered import as_json, clustered_mean, difference, inside
from analysis.statistics.differences import Difference, in_family
from analysis.words import listed

NAMED: Final = ("policy", "budget", "control")
"""What names a row."""

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
"""What a row holds beside its measures."""

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
                compared = difference(first, second, clusters_of(row), test=len(first) > 1)
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


def clusters_of(row: Row) -> np.ndarray:
    """Return the number of the cluster of each prompt, (prompts,): its own where it shares no key."""
    keys = row.get("keys") or list(range(len(row["aligned"])))
    numbers: np.ndarray = np.unique(keys, return_inverse=True)[1]
    return numbers


def mean_of(row: Row, name: str) -> tuple[float, float, float] | None:
    """Return a row's mean over prompts with its 95 % interval, clustered; None where some prompt has no number."""
    values = row.get(name) or [None]
    if any(value is None for value in values):
        return None
    mean = clustered_mean(np.array(values, float), clusters_of(row))
    if name not in MEASURES:
        half = mean.half if np.isfinite(mean.variance) else 0.0
        return mean.value, mean.value - half, mean.value + half
    low, high = inside(mean.value - mean.half, mean.value + mean.half, np.array(values, float), 0)
    return mean.value, float(low), float(high)


# --- sentences --------------------------------------------------------------------------------------------------


def in_words(effects_found: Sequence[Row], prompts: int, gone: bool) -> list[str]:
    """Say what keeping by each policy gains over its controls, the headline first; empty where nothing was tested.

    gone: whether positions left a cache; else their keys were hidden.
    """
    told = [
        _finding(those, prompts, gone)
        for policy, row in POLICIES.items()
        for against in row.controls
        if (those := _of(effects_found, policy, against, "aligned"))
    ]
    return [*told, _predictions(effects_found), LEFT_OUT] if told else []


LEFT_OUT: Final = "Intervals cover the choice of prompts only; the sampler and the random draws have one seed."


def _of(effects_found: Sequence[Row], policy: str, against: str, measure: str) -> list[Row]:
    return [
        effect
        for effect in effects_found
        if (effect["policy"], effect["against"], effect["measure"]) == (policy, against, measure)
        and effect["low"] is not None
        and effect["p_holm"] is not None
    ]


def _finding(those: Sequence[Row], prompts: int, gone: bool) -> str:
    """Say the largest significant difference of one policy from one control over the budgets, else what could have
    been seen.
    """
    policy, against = POLICIES[those[0]["policy"]].title, POLICIES[those[0]["against"]].title
    what = "cache" if gone else "keys"
    told = sorted(filter(shown, those), key=lambda effect: -abs(effect["value"]))
    if told:
        strongest = told[0]
        verb = "gains" if strongest["value"] > 0 else "loses"
        others = f" It is significant at {len(told)} of {len(those)} budgets; this is the largest difference."
        return (
            f"At {strongest['budget']:.0%} of the {what}, keeping {policy} {verb} {_points(abs(strongest['value']))} "
            f"points of agreement with the full text [{_ends(strongest)}] compared with keeping {against}, over "
            f"{prompts} prompts.{others}"
        )
    best = min(those, key=lambda effect: effect["detectable"] or np.inf)
    seen = best["detectable"]
    could = (
        f"; a difference of {_points(seen)} points would have been seen"
        if seen and seen < 1
        else "; with so few prompts none would have been"
    )
    budgets = listed([f"{effect['budget']:.0%}" for effect in those])
    return (
        f"At {budgets} of the {what}, keeping {policy} compared with keeping {against} is not significant after "
        "Holm correction: "
        f"{_signed(best['value'])} points at {best['budget']:.0%} [{_ends(best)}]{could} ({prompts} prompts)."
    )


def _predictions(effects_found: Sequence[Row]) -> str:
    """Say for how many of the comparisons the predictions, too, stay closer to those of the full run."""
    those = [effect for effect in effects_found if effect["measure"] == "divergence" and effect["low"] is not None]
    closer = sum(shown(effect) and effect["value"] < 0 for effect in those)
    farther = sum(shown(effect) and effect["value"] > 0 for effect in those)
    return (
        f"On the inputs of the full run, predictions lie significantly closer to its own than those of the control in "
        f"{closer} of {len(those)} comparisons, and farther in {farther} (Holm)."
    )


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _ends(effect: Row) -> str:
    tested = effect_of(effect)
    flipped = effect["value"] < 0 and shown(effect)  # a loss is told as such, with its ends turned round
    low, high = (-tested.high, -tested.low) if flipped else (tested.low, tested.high)
    return f"{100 * low:.1f}, {100 * high:.1f}".replace("-", "−")
