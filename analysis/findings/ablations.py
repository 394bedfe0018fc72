"""Sentences on what an ablation over many prompts shows beside its controls."""

from collections.abc import Mapping, Sequence
from typing import Final

from analysis.evaluation.ablation_effects import (
    CONTRASTS,
    COUNT,
    MASS,
    MEASURES,
    UNIT,
    Row,
    control_of,
    effect_of,
    shown,
)
from analysis.evaluation.ablation_levels import THAN, answer_rows, difference_words
from analysis.specs import INTERVENTIONS, TARGETS
from analysis.statistics.decisions import NATS, POINTS, interval_words
from analysis.statistics.differences import Difference
from analysis.words import listed, percent


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
        f"{percent(strongest['shares'][0], 0)} of the attention, as many random positions "
        f"{percent(strongest['shares'][1], 0)}."
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
    sides = side_of(predictions), -side_of(text)  # 1: more than the control
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


def side_of(effect: Difference) -> int:
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


_SIDES: Final[Mapping[int, str]] = {1: "more than", -1: "less than", 0: "not significantly more or less than"}


def text_answer(effects: Sequence[Row]) -> str:
    """Say on which side of each control the text lies where the sinks are hidden, beginning with "But" where that is
    another side than that of the predictions; empty where the text was not compared.
    """
    found = {
        (measure, row["against"]): row
        for measure in ("divergence", "aligned")
        for row in answer_rows(effects, measure)
        if row["against"] in THAN
    }
    controls = [control for control in THAN if ("aligned", control) in found]
    sides = {control: -side_of(effect_of(found["aligned", control])) for control in controls}  # 1: it changes more
    amounts = {control: difference_words(found["aligned", control], "aligned").partition(" [")[0] for control in sides}
    if not sides:
        return ""
    differ = any(
        side_of(effect_of(found["divergence", control])) * side < 0
        for control, side in sides.items()
        if ("divergence", control) in found
    )
    if len(sides) > 1 and len(set(sides.values())) == 1:
        told = f"{_SIDES[sides[controls[0]]]} with either (agreement {listed(list(amounts.values()))})"
    else:
        told = listed(
            [f"{_SIDES[side]} with {THAN[control]} (agreement {amounts[control]})" for control, side in sides.items()]
        )
    return f"{'But the' if differ else 'The'} text changes {told}."


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


def contrast_sentence(rows: Sequence[Row], intervention: str) -> str:
    """Tell whether sinks of high temporal variance do other than those of low, with the interval whatever it shows;
    empty where they were not compared.
    """
    told = []
    for effect in rows:
        pair = effect["target"], effect["against"]
        if pair not in CONTRASTS or (effect["intervention"], effect["measure"]) != (intervention, "divergence"):
            continue
        if effect["low"] is None:
            continue
        verdict = "more" if effect["value"] > 0 else "less"
        found = f"{_of('divergence')} {verdict} than with" if shown(effect) else "no difference is shown from"
        unequal = "" if pair == CONTRASTS[1] else ", so they may differ in more than how much they vary"
        told.append(
            f"{INTERVENTIONS[intervention].title.capitalize()}, {TARGETS[pair[0]].title}: {found} "
            f"{TARGETS[pair[1]].title}, {_number(effect, 'divergence')} over {effect['n']} prompts. They held "
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
    return f"{percent(first, 1)} and {percent(second, 1)}"
