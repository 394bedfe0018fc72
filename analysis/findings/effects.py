"""Sentences on single effects of an ablation: the strongest, of sinks that move beside sinks that stay, and of many."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analysis.evaluation.ablation_effects import CONTRASTS, COUNT, MASS, MEASURES, UNIT, Row, effect_of, shown
from analysis.findings.ablations import Summary, without_sinks
from analysis.findings.accuracies import differences
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS
from analysis.statistics.decisions import NATS, POINTS, interval_words
from analysis.words import listed, percent

_FEW: Final = 4  # effects of which each is named


def contrasts(summary: Summary) -> list[str]:
    """Tell whether sinks of high temporal variance do other than those of low, with the interval whatever it shows."""
    told = []
    for effect in summary["effects"]:
        pair = effect["target"], effect["against"]
        if pair not in CONTRASTS or effect["measure"] != "divergence" or effect["low"] is None:
            continue
        verdict = "more" if effect["value"] > 0 else "less"
        found = f"predictions change {verdict} than with" if shown(effect) else "no significant difference from"
        unequal = "" if pair == CONTRASTS[1] else ", so they may differ in more than how much they vary"
        held = listed([percent(share, 1) for share in effect["shares"]])
        told.append(
            f"{INTERVENTIONS[effect['intervention']].title.capitalize()}, {TARGETS[pair[0]].title}: {found} "
            f"{TARGETS[pair[1]].title}, {difference_words(effect)} over {effect['n']} prompts. They held "
            f"{held} of the attention{unequal}."
        )
    return told


def sides(drawn: Sequence[Row]) -> str:
    """Say on which side of its control each effect lies, of many effects how many are significant and the largest.
    drawn: effects on one measure, as changes.
    """
    measure, names = MEASURES[drawn[0]["measure"]], [named(effect) for effect in drawn]
    if len(drawn) > _FEW:
        values = np.array([[effect[end] for end in ("value", "low", "high")] for effect in drawn])
        done = [INTERVENTIONS[effect["intervention"]].title for effect in drawn]
        return differences(
            [f"{called} ({what})" for called, what in zip(names, done, strict=True)],
            (100 if measure.percent else 1) * values,
            list(map(shown, drawn)),
            "of 100 tokens" if measure.falls else "points" if measure.percent else "",
            "effect",
        )
    found: dict[str, list[str]] = {}
    for effect, called in zip(drawn, names, strict=True):
        side = "not significant" if not shown(effect) else "more" if effect["value"] > 0 else "less"
        found.setdefault(side, []).append(called.removeprefix(f"{TARGETS['sinks'].title}, "))
    told = "; ".join(f"{side} {listed(found[side])}" for side in ("more", "less", "not significant") if side in found)
    return f"{told[0].upper()}{told[1:]}."


def named(effect: Row) -> str:
    """Return the name of a comparison: its target and its control."""
    target, against = TARGETS[effect["target"]].title, effect["against"]
    if against in CONTROLS and not CONTROLS[against].drawn:
        return f"{target}, {CONTROLS[against].title}"
    return f"{target}, against {CONTROLS[against].title if against in CONTROLS else TARGETS[against].title}"


def strongest(summary: Summary) -> str:
    """Tell what the effects on the predictions show against as many tokens, and whether that holds at equal attention
    and per unit of attention; empty where no effect is significant.
    """
    rows = summary["effects"]
    those = [effect for effect in rows if effect["measure"] == "divergence" and effect["against"] == COUNT]
    told = sorted(filter(shown, those), key=lambda effect: -abs(effect["value"]))
    if not told:
        return ""
    first = told[0]
    others = (
        "" if len(told) == 1 else f" {len(told)} of {len(those)} such effects are significant; this is the largest."
    )
    return (
        f"{TARGETS[first['target']].title.capitalize()}, {INTERVENTIONS[first['intervention']].title}: predictions "
        f"change by {difference_words(first)} against as many random positions of "
        f"the same state, over {first['n']} prompts.{_by_attention(rows, first)} They held "
        f"{percent(first['shares'][0], 0)} of the attention, as many random positions {percent(first['shares'][1], 0)}."
        f"{others}{without_sinks(first)} Intervals cover the choice of prompts only; sampler and controls have one "
        "seed."
    )


def _by_attention(rows: Sequence[Row], effect: Row) -> str:
    """Tell in a sentence whether an effect also holds against the other controls."""
    clauses = []
    for control, words in ((MASS, "at equal attention"), (UNIT, "per unit of attention")):
        other = next((row for row in rows if _alike(row, effect) and row["against"] == control), None)
        if other is None:
            continue
        if other["low"] is None:
            clauses.append(f"{words} there is no comparison, as no other tokens hold as much")
            continue
        same = (other["value"] > 0) == (effect["value"] > 0)
        found = ("the difference is" if same else "it reverses:") if shown(other) else "it is not significant:"
        clauses.append(f"{words} {found} {difference_words(other)}")
    told = listed(clauses)
    return f" {told[0].upper()}{told[1:]}." if told else ""


def _alike(row: Row, other: Row) -> bool:
    return all(row[name] == other[name] for name in ("intervention", "target", "measure"))


def difference_words(row: Row) -> str:
    """Return the difference of an effect with its unit and interval."""
    return interval_words(effect_of(row), POINTS if MEASURES[row["measure"]].percent else NATS)
