"""Results of an ablation over many prompts: paired differences from its controls, and sentences about them.

A prompt is one item: what a target does to it is compared with what its controls do to it. Three controls ask three
questions: as many tokens, equal attention, and the effect per unit of attention. All differences of one measure are one
family of tests (`differences.in_family`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE, TARGETS
from analysis.statistics.clustered import as_json, difference
from analysis.statistics.decisions import NATS, POINTS, interval_words
from analysis.statistics.differences import Difference, in_family
from analysis.words import listed


class Measure(NamedTuple):
    """A number per prompt. axis: with its unit. percent: a share. untouched: its value where nothing is acted on, or
    the name of the numbers that hold it. tested: differences in it are tested and drawn; if not, it stands in tables
    alone.
    """

    title: str
    axis: str
    percent: bool
    untouched: float | str
    tested: bool = True


MEASURES: Final[Mapping[str, Measure]] = {
    "divergence": Measure(
        "Change of the predictions", "KL divergence from the untouched prediction (nats)", False, 0.0
    ),
    "aligned": Measure("Agreement with the untouched text", "share of tokens in common, aligned", True, 1.0),
    "agreement": Measure(
        "Agreement by position", "share of tokens that stayed the same at their position", True, 1.0, tested=False
    ),
    "confidence": Measure("Confidence", "mean probability of the tokens chosen", True, "confidence_before"),
}
TESTED: Final = tuple(name for name, measure in MEASURES.items() if measure.tested)
CONTRASTS: Final = (("moving", "steady"), ("most-variable", "least-variable"))
"""Pairs of targets that are compared with each other as well: sinks of high and of low temporal variance, as they are
and at equal attention.
"""
COUNT, MASS, UNIT = "matched", "mass", "unit"  # the controls

Row = Mapping[str, Any]
"""Keys `intervention`, `target` and `control`; for each measure, `share` and `count`, a list with one number per
prompt; and `keys`, one per prompt, where some prompts are alike."""


def control_of(row: Row) -> str:
    """The control that a row is of, of `CONTROLS`; empty for the target itself. Earlier versions had one control."""
    return str(row["control"]) if "control" in row else COUNT if row["matched"] else ""


def effects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Target minus control for every intervention, target, control and measure, over the prompts in which both acted on
    some position, as `Difference` in JSON with intervention, target, against and measure. Prompts of one key
    are one cluster: interval and p are Student's, p the sign flip's where it is larger and few prompts differ.

    against: a row of `CONTROLS`, or a target: the first of each of `CONTRASTS` is also compared with the second. Of
    equal attention only prompts count whose control drew as much, within `MASS_TOLERANCE`. shares: of attention acted
    on. left_out: prompts in which the target acted on nothing, as there were no sinks. unmatched: further ones that
    lack this control. by_position: beside the aligned agreement, the same difference by position.
    """
    by_name = {(row["intervention"], row["target"], control_of(row)): row for row in rows}
    pairs = [
        (key, (key[0], key[1], control if CONTROLS[control].drawn else COUNT), control)
        for key in by_name
        for control in CONTROLS
        if not key[2] and (key[0], key[1], control if CONTROLS[control].drawn else COUNT) in by_name
    ]
    pairs += [
        ((name, most, ""), (name, least, ""), least)
        for name in dict.fromkeys(row["intervention"] for row in rows)
        for most, least in CONTRASTS
        if (name, most, "") in by_name and (name, least, "") in by_name
    ]
    found: list[dict[str, Any]] = []
    for measure in (name for name in TESTED if all(name in row for row in rows)):
        family = []
        for first_key, second_key, against in pairs:
            first, second = by_name[first_key], by_name[second_key]
            if against == UNIT and isinstance(MEASURES[measure].untouched, str) and "confidence_before" not in first:
                continue  # of an earlier version
            chosen = np.array(first["count"]) > 0
            acted = chosen & (np.array(second["count"]) > 0)
            if against == MASS:
                acted &= _equal(first, second)
            elif against == UNIT:
                acted &= np.array(second["share"]) > 0
            target, control = _compared(first, second, acted, measure, per_unit=against == UNIT)
            shares = [float(np.mean(np.array(row["share"])[acted])) if acted.any() else None for row in (first, second)]
            compared = difference(target, control, _clusters(first, acted), test=len(target) > 1)
            named = {"intervention": first_key[0], "target": first_key[1], "against": against, "measure": measure}
            beside: dict[str, Any] = {"shares": shares}
            beside |= {"left_out": int((~chosen).sum()), "unmatched": int((chosen & ~acted).sum())}
            if measure == "aligned" and acted.any() and against != UNIT:
                beside["by_position"] = float(np.subtract(first["agreement"], second["agreement"])[acted].mean())
            family.append((named, compared, beside))
        adjusted = in_family([compared for _, compared, _ in family])
        found += [
            named | as_json(compared) | beside for (named, _, beside), compared in zip(family, adjusted, strict=True)
        ]
    return found


def _clusters(row: Row, acted: np.ndarray) -> np.ndarray:
    """The number of the cluster of each prompt acted on, (prompts,): its own where it shares no key."""
    keys = row.get("keys") or list(range(len(acted)))
    numbers: np.ndarray = np.unique(keys, return_inverse=True)[1][acted]
    return numbers


def _equal(first: Row, second: Row) -> np.ndarray:
    """Return in which prompts both acted on as much attention, within the tolerance, (prompts,) bool."""
    target, control = np.array(first["share"]), np.array(second["share"])
    equal: np.ndarray = np.abs(control - target) <= (MASS_TOLERANCE + 1e-9) * target
    return equal


def _compared(
    first: Row, second: Row, acted: np.ndarray, measure: str, per_unit: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the prompts acted on, of a target and of its control, (prompts,) each.

    per_unit: the control's change is scaled up to the target's attention: the mean change times s̄ / s̄', with s̄ and s̄'
    the mean shares of attention of target and control. The interval is that of the ratio by its linear part (the delta
    method): prompt i counts r·d'_i + R·(s_i − r·s'_i), with d' the change under the control, r = s̄/s̄' and R = d̄'/s̄'.
    """
    target, control = (np.array(row[measure], float)[acted] for row in (first, second))
    if not per_unit or not len(target):
        return target, control
    named = MEASURES[measure].untouched
    before = np.array(first[named], float)[acted] if isinstance(named, str) else named
    change, control_change = target - before, control - before
    share, control_share = (np.array(row["share"], float)[acted] for row in (first, second))
    scale, rate = share.mean() / control_share.mean(), control_change.mean() / control_share.mean()
    return change, scale * control_change + rate * (share - scale * control_share)


def effect_of(row: Row) -> Difference:
    """The difference in a row of `effects`, NaN where it has no interval; earlier versions wrote fewer fields."""
    kept = {name: row[name] for name in Difference.__dataclass_fields__ if name in row}
    return Difference(**kept | {name: np.nan for name in ("value", "low", "high") if kept[name] is None})


def shown(effect: Row) -> bool:
    """Return whether an effect is significant: by its adjusted p, and by its interval."""
    return effect["p_holm"] is not None and effect_of(effect).shown


def sentence(rows: Sequence[Row], measure: str = "divergence") -> str:
    """Tell what the effects on a measure show against as many tokens, and whether that holds at equal attention and per
    unit of attention; empty where no effect is significant.
    """
    those = [effect for effect in rows if effect["measure"] == measure and effect["against"] == COUNT]
    told = sorted(filter(shown, those), key=lambda effect: -abs(effect["value"]))
    if not told:
        return ""
    strongest = told[0]
    others = (
        "" if len(told) == 1 else f" {len(told)} of {len(those)} such effects are significant; this is the largest."
    )
    return (
        f"{_named(strongest)}: {_of(measure)} by {_number(strongest, measure)} against as many random positions of "
        f"the same state, over {strongest['n']} prompts.{_by_attention(rows, strongest)} They held "
        f"{strongest['shares'][0]:.0%} of the attention, as many random positions {strongest['shares'][1]:.0%}."
        f"{others}{without_sinks(strongest)} Intervals cover the choice of prompts only; sampler and controls have one "
        "seed."
    )


def _by_attention(rows: Sequence[Row], effect: Row) -> str:
    """Tell in a sentence whether an effect also holds against the other controls."""
    measure, clauses = effect["measure"], []
    for control, words in ((MASS, "at equal attention"), (UNIT, "per unit of attention")):
        other = next((row for row in rows if _alike(row, effect) and row["against"] == control), None)
        if other is None:
            continue
        if other["low"] is None:
            clauses.append(f"{words} there is no comparison, as no other tokens hold as much")
            continue
        same = (other["value"] > 0) == (effect["value"] > 0)
        found = ("the difference is" if same else "it reverses:") if shown(other) else "it is not significant:"
        clauses.append(f"{words} {found} {_number(other, measure)}")
    told = listed(clauses)
    return f" {told[0].upper()}{told[1:]}." if told else ""


def _alike(row: Row, other: Row) -> bool:
    return all(row[name] == other[name] for name in ("intervention", "target", "measure"))


def disagreement(predictions: Difference, text: Difference, where: str) -> str:
    """Say that hiding sinks, compared with one control, does another thing to the predictions than to the text; empty
    where both show the same. predictions, text: sinks minus control of `divergence` and of `aligned`, significant where
    their interval lies on one side of 0 and p, if there is one, is below 0.05. where: the control, before a comma.
    """
    sides = _side(predictions), -_side(text)  # 1: more than the control
    if sides[0] == sides[1]:
        return ""
    words = {1: "more", -1: "less"}
    of_predictions, of_text = interval_words(predictions, NATS), interval_words(text, POINTS)
    if all(sides):
        return (
            f"{where}, predictions and text disagree: hiding the sinks changes the predictions {words[sides[0]]} "
            f"({of_predictions}) but the text {words[sides[1]]} (agreement {of_text})."
        )
    if sides[0]:
        return (
            f"{where}, hiding the sinks changes the predictions {words[sides[0]]} ({of_predictions}); for the text no "
            f"difference is shown (agreement {of_text})."
        )
    return (
        f"{where}, hiding the sinks changes the text {words[sides[1]]} (agreement {of_text}); for the predictions no "
        f"difference is shown ({of_predictions})."
    )


def _side(effect: Difference) -> int:
    """Return 1 or −1 where an effect lies significantly above or below 0, else 0."""
    if effect.adjusted is not None and not effect.shown:
        return 0
    return int(effect.low > 0) - int(effect.high < 0)


WHERE: Final[Mapping[str, str]] = {COUNT: "Against as many matched tokens", MASS: "At equal attention"}
"""The controls against which predictions and text are compared in words."""


def disagreements(rows: Sequence[Row]) -> list[str]:
    """Say against which controls hiding sinks does another thing to the predictions than to the text."""
    found = {
        (row["intervention"], row["against"], row["measure"]): effect_of(row)
        for row in rows
        if row["target"] == "sinks" and row["low"] is not None
    }
    interventions = dict.fromkeys(name for name, _, _ in found)
    told = []
    for name in interventions:
        for control, where in WHERE.items():
            pair = [found.get((name, control, measure)) for measure in ("divergence", "aligned")]
            if pair[0] is not None and pair[1] is not None:
                which = (
                    where if len(interventions) == 1 else f"{INTERVENTIONS[name].title.capitalize()}: {where.lower()}"
                )
                told.append(disagreement(pair[0], pair[1], which))
    return list(filter(None, told))


def without_sinks(effect: Row) -> str:
    """A sentence on the prompts that are left out; nothing where none is."""
    count = effect.get("left_out", 0)
    if not count:
        return ""
    return f" {count} prompt{'s' if count > 1 else ''} had no sinks and {'are' if count > 1 else 'is'} left out."


def no_sinks(rows: Sequence[Row]) -> str:
    """A sentence where no prompt had a sink by the definition in use; else nothing."""
    targets = [row for row in rows if row["target"] == "sinks" and not control_of(row)]
    if not targets or any(any(row["count"]) for row in targets):
        return ""
    return f"None of the {len(targets[0]['count'])} prompts has a sink by this definition, so nothing was compared."


def contrast_sentence(rows: Sequence[Row], intervention: str, measure: str = "divergence") -> str:
    """Tell whether sinks of high temporal variance do other than those of low, with the interval whatever it shows;
    empty where they were not compared.
    """
    told = []
    for effect in rows:
        pair = effect["target"], effect["against"]
        if pair not in CONTRASTS or (effect["intervention"], effect["measure"]) != (intervention, measure):
            continue
        if effect["low"] is None:
            continue
        verdict = "more" if effect["value"] > 0 else "less"
        found = f"{_of(measure)} {verdict} than with" if shown(effect) else "no difference is shown from"
        unequal = "" if pair == CONTRASTS[1] else ", so they may differ in more than how much they vary"
        told.append(
            f"{INTERVENTIONS[intervention].title.capitalize()}, {TARGETS[pair[0]].title}: {found} "
            f"{TARGETS[pair[1]].title}, {_number(effect, measure)} over {effect['n']} prompts. They held "
            f"{_shares(effect)} of the attention{unequal}."
        )
    return " ".join(told)


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
        value, low, high = (f"{effect[name]:+.2g}" for name in ("value", "low", "high"))
        unit = " nats"
    return f"{value}{unit} [{low}, {high}]".replace("-", "−")


def _shares(effect: Row) -> str:
    first, second = effect["shares"]
    return f"{first:.1%} and {second:.1%}"
