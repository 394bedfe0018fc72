"""What an ablation over many prompts shows: paired differences from matched controls, and sentences about them.

A prompt is one item: what a target does to it is compared with what its control does to it. All differences of one
measure are one family of tests (`differences.in_family`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.evaluation.differences import Difference, in_family
from analysis.evaluation.significance import as_json, difference
from analysis.specs import INTERVENTIONS, TARGETS


class Measure(NamedTuple):
    """A number per prompt. axis: with its unit. percent: a share. tested: differences in it are tested and drawn; if
    not, it stands in tables alone.
    """

    title: str
    axis: str
    percent: bool
    tested: bool = True


MEASURES: Final[Mapping[str, Measure]] = {
    "divergence": Measure("Change of the predictions", "KL divergence from the untouched prediction (nats)", False),
    "aligned": Measure("Agreement with the untouched text", "share of tokens in common, aligned", True),
    "agreement": Measure(
        "Agreement by position", "share of tokens that stayed the same at their position", True, tested=False
    ),
    "confidence": Measure("Confidence", "mean probability of the tokens chosen", True),
}
TESTED: Final = tuple(name for name, measure in MEASURES.items() if measure.tested)
CONTRAST: Final = ("moving", "steady")
"""The two targets that are compared with each other as well: sinks of high and of low temporal variance."""

Row = Mapping[str, Any]
"""intervention, target, matched; and a list of a number a prompt for each measure, `share` and `count`."""


def effects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Target minus control for every intervention, target and measure, over the prompts in which both acted on some
    position, as `Difference` in JSON with intervention, target, against and measure. A prompt is one cluster: interval
    and p are Student's, p the sign flip's where it is larger and few prompts differ.

    against: 'matched', or a target: the first of `CONTRAST` is also compared with the second. by_position: beside the
    aligned agreement, the same difference by position.
    """
    by_name = {(row["intervention"], row["target"], row["matched"]): row for row in rows}
    pairs = [(key, (key[0], key[1], True), "matched") for key in by_name if not key[2]]
    pairs += [
        ((name, CONTRAST[0], False), (name, CONTRAST[1], False), CONTRAST[1])
        for name in dict.fromkeys(row["intervention"] for row in rows)
        if all((name, target, False) in by_name for target in CONTRAST)
    ]
    found: list[dict[str, Any]] = []
    for measure in (name for name in TESTED if all(name in row for row in rows)):
        family = []
        for first_key, second_key, against in pairs:
            first, second = by_name[first_key], by_name[second_key]
            acted = (np.array(first["count"]) > 0) & (np.array(second["count"]) > 0)
            target, control = (np.array(row[measure], float)[acted] for row in (first, second))
            shares = [float(np.mean(np.array(row["share"])[acted])) if acted.any() else None for row in (first, second)]
            compared = difference(target, control, np.arange(len(target)), test=len(target) > 1)
            named = {"intervention": first_key[0], "target": first_key[1], "against": against, "measure": measure}
            beside: dict[str, Any] = {"shares": shares}
            if measure == "aligned" and acted.any():
                beside["by_position"] = float(np.subtract(first["agreement"], second["agreement"])[acted].mean())
            family.append((named, compared, beside))
        adjusted = in_family([compared for _, compared, _ in family])
        found += [
            named | as_json(compared) | beside for (named, _, beside), compared in zip(family, adjusted, strict=True)
        ]
    return found


def effect_of(row: Row) -> Difference:
    """The difference in a row of `effects`, NaN where it has no interval; earlier versions wrote fewer fields."""
    kept = {name: row[name] for name in Difference.__dataclass_fields__ if name in row}
    return Difference(**kept | {name: np.nan for name in ("value", "low", "high") if kept[name] is None})


def shown(effect: Row) -> bool:
    """Whether an effect is significant: by its adjusted p, and by its interval."""
    return effect["p_holm"] is not None and effect_of(effect).shown


def sentence(rows: Sequence[Row], measure: str = "divergence") -> str:
    """What the effects on a measure show against matched controls, in one sentence; nothing where none is shown."""
    those = [effect for effect in rows if effect["measure"] == measure and effect["against"] == "matched"]
    told = sorted(filter(shown, those), key=lambda effect: -abs(effect["value"]))
    if not told:
        return ""
    strongest = told[0]
    others = "" if len(told) == 1 else f" {len(told)} of {len(those)} such effects are shown, this is the largest."
    return (
        f"{_named(strongest)}: {_of(measure)} by {_number(strongest, measure)} beside as many random positions of "
        f"the same state, over {strongest['n']} prompts. They and their control held {_shares(strongest)} of the "
        f"attention.{others} Intervals are of the choice of prompts alone: sampler and controls have one seed."
    )


def contrast_sentence(rows: Sequence[Row], intervention: str, measure: str = "divergence") -> str:
    """Whether sinks of high temporal variance do other than those of low, with the interval whatever it shows; nothing
    where they were not compared.
    """
    for effect in rows:
        if (effect["intervention"], effect["against"], effect["measure"]) == (intervention, CONTRAST[1], measure):
            if effect["low"] is None:
                return ""
            verdict = "more" if effect["value"] > 0 else "less"
            told = f"{_of(measure)} {verdict} than with" if shown(effect) else "no difference is shown from"
            return (
                f"{INTERVENTIONS[intervention].title.capitalize()}, sinks that vary most: {told} those that vary "
                f"least, {_number(effect, measure)} over {effect['n']} prompts. They held {_shares(effect)} of the "
                "attention, so they may differ in more than how much they vary."
            )
    return ""


def _named(effect: Row) -> str:
    return f"{TARGETS[effect['target']].title.capitalize()}, {INTERVENTIONS[effect['intervention']].title}"


def _of(measure: str) -> str:
    what = {"divergence": "predictions change", "confidence": "confidence changes"}
    return what.get(measure, "agreement changes")


def _number(effect: Row, measure: str) -> str:
    """The difference with its interval."""
    if MEASURES[measure].percent:
        value, low, high = (f"{100 * effect[name]:+.1f}" for name in ("value", "low", "high"))
        unit = " points"
    else:
        value, low, high = (f"{effect[name]:+.3g}" for name in ("value", "low", "high"))
        unit = " nats"
    return f"{value}{unit} ({low} to {high})".replace("-", "−")


def _shares(effect: Row) -> str:
    first, second = effect["shares"]
    return f"{first:.1%} and {second:.1%}"
