"""Sentences on single effects of an ablation: of sinks that move beside sinks that stay, and of many effects."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analysis.evaluation.ablation_effects import CONTRASTS, MEASURES, Row, shown
from analysis.findings.ablations import Summary, difference_words
from analysis.findings.accuracies import differences
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS
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
        found = f"predictions change {verdict} than with" if shown(effect) else "no difference is shown from"
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
