"""Sentences on what keeping a part of the keys and values costs compared with its controls."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from analysis.evaluation.ablation_effects import Row, effect_of, shown
from analysis.evaluation.eviction_effects import MEASURES, mean_of
from analysis.specs import POLICIES
from analysis.words import listed, percent

Summary = Mapping[str, Any]
"""The summary of an `evict` job: `rows` and their `effects`, of so many `prompts`."""


def policies(summary: Summary) -> list[str]:
    """Say what keeping by each policy gains over its controls, the headline first; empty where nothing was tested."""
    told = [
        _finding(those, summary["prompts"], summary.get("gone", False))
        for policy, row in POLICIES.items()
        for against in row.controls
        if (those := _of(summary["effects"], policy, against, "aligned"))
    ]
    return [*told, _predictions(summary["effects"]), LEFT_OUT] if told else []


def headline(summary: Summary) -> list[str]:
    """Say the first of `policies`."""
    return policies(summary)[:1]


def others(summary: Summary) -> list[str]:
    """Say the rest of `policies`."""
    return policies(summary)[1:]


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
        others = f" Significant at {len(told)} of {len(those)} budgets; this is the largest."
        return (
            f"At {percent(strongest['budget'], 0)} of the {what}, keeping {policy} {verb} "
            f"{_points(abs(strongest['value']))} "
            f"points of agreement with the full text [{_ends(strongest)}] compared with keeping {against}, over "
            f"{prompts} prompts.{others}"
        )
    best = min(those, key=lambda effect: effect["detectable"] or np.inf)
    seen = best["detectable"]
    could = (
        f"a difference of {_points(seen)} points would have been seen"
        if seen and seen < 1
        else "with so few prompts none would have been"
    )
    at = "at the budget" if len(those) == 1 else f"at any of {len(those)} budgets"
    return (
        f"Keeping {policy} preserves neither significantly more nor less of the text than keeping {against} {at}: "
        f"{_signed(best['value'])} points [{_ends(best)}] at {percent(best['budget'], 0)} of the {what}; {could} "
        f"({prompts} prompts, Holm)."
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


# --- figures ----------------------------------------------------------------------------------------------------


def least_kept(rows: Mapping[tuple[str, float, str], Mapping[str, Any]], policy: str, budget: float, name: str) -> str:
    """Say what a policy and its matched control keep at the smallest budget; empty where either is missing."""
    matched = POLICIES[policy].matched_control
    there = rows.get((policy, budget, "")), rows.get((policy, budget, matched))
    if not matched or there[0] is None or there[1] is None:
        return ""
    kept, beside = (mean_of(row, name) for row in there if row is not None)
    if kept is None or beside is None:
        return ""
    begins, control = f"At {percent(budget, 0)}, keeping {POLICIES[policy].title}", POLICIES[matched].title
    if MEASURES[name].percent:
        return f"{begins} preserves {percent(kept[0], 0)} of the text; {control} preserve {percent(beside[0], 0)}."
    return f"{begins} changes the predictions by {kept[0]:.2g} nats; {control} by {beside[0]:.2g}."


def sides(drawn: Sequence[Row]) -> str:
    """Say at which budgets each policy is better or worse than each of its controls. drawn: effects on one measure."""
    more_is_better = MEASURES[drawn[0]["measure"]].percent
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for effect in drawn:
        side = (
            "not significant" if not shown(effect) else "better" if (effect["value"] > 0) == more_is_better else "worse"
        )
        pair = POLICIES[effect["policy"]].title, POLICIES[effect["against"]].title
        told.setdefault(pair, {}).setdefault(side, []).append(percent(effect["budget"], 0))
    return " ".join(
        f"{policy[0].upper()}{policy[1:]} against {control}: "
        f"{', '.join(f'{side} at {listed(budgets)}' for side, budgets in sides.items())}."
        for (policy, control), sides in told.items()
    )


# --- numbers ----------------------------------------------------------------------------------------------------


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _ends(effect: Row) -> str:
    tested = effect_of(effect)
    flipped = effect["value"] < 0 and shown(effect)  # "loses 2 points [1, 3]", not "gains −2 points [−3, −1]"
    low, high = (-tested.high, -tested.low) if flipped else (tested.low, tested.high)
    return f"{100 * low:.1f}, {100 * high:.1f}".replace("-", "−")
