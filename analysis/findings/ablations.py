"""Sentences on an ablation over many prompts beside its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Final

import numpy as np

from analysis.evaluation.ablation_effects import (
    COUNT,
    MASKED,
    MASS,
    MEASURES,
    UNIT,
    Change,
    Row,
    Timing,
    answer_rows,
    as_change,
    changes_of,
    effect_of,
    timing_of,
)
from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE
from analysis.statistics.decisions import NATS, POINTS, Unit, interval_words
from analysis.statistics.differences import Difference
from analysis.words import counted, listed, percent

Summary = Mapping[str, Any]
"""The summary of an `ablate_set` job: `rows` and their `effects`."""
_PREDICTIONS: Final = "divergence"
HIDDEN: Final = "Hidden: not attended to"
"""What hiding a token is, without a full stop."""

# --- the answer -------------------------------------------------------------------------------------------------

THAN: Final[Mapping[str, str]] = {name: CONTROLS[name].title for name in (COUNT, MASKED, MASS)}
"""The controls of the answer, as after "than hiding"."""
_TEXT: Final = "aligned"
TOKENS: Final = Unit("tokens", 100.0, 0)
"""Changes of the text: of 100 tokens."""
Levels = Mapping[str, tuple[float, Difference]]
"""The change with the tokens of each control hidden, and by how much that with the sinks hidden is more."""
PER_UNIT: Final = "Per unit of attention"
"""The beginning of the answer's last sentence."""
_BESIDE: Final = {1: "significantly fewer", -1: "significantly more", 0: "not significantly fewer"}
"""Number of tokens that a control changes beside the sinks, by the side on which these lie."""
_THAN: Final = {1: "more than with", -1: "less than with", 0: "not significantly more or less than with"}
_MORE: Final = {1: "more", -1: "less"}
_MORE_OR_LESS: Final = {1: "significantly more", -1: "significantly less", 0: "not significantly more or less"}


def answer(summary: Summary) -> list[str]:
    """Say whether hiding the sinks changes more of the text than hiding each control does. Empty where sinks were not
    compared.
    """
    if told := _no_sinks(summary["rows"]):
        return [told]
    compared = _compared(summary, _TEXT)
    if not compared:
        return []
    sinks, others = _levels(summary, compared)
    kept, row = summary["unrelated"], next(iter(compared.values()))
    unrelated = None if kept is None else 1 - kept
    changed = changes_of(summary["rows"], row)[0]
    said = text_with_each(sinks, others, row["intervention"], unrelated, (changed.low, changed.high))
    return [f"{said}{_detectable(compared)}"]


def text_with_each(
    sinks: float,
    others: Levels,
    done: str = "attention",
    unrelated: float | None = None,
    ends: tuple[float, float] = (np.nan, np.nan),
) -> str:
    """Say how much of the text changes with the sinks hidden and with random tokens of equal attention, or with each
    control where these are not on every prompt: by how much that is less, and which controls lie on another side.
    sinks: a share of the tokens. done: to the positions, of `INTERVENTIONS`. unrelated: the share that two unrelated
    texts do not have in common, where known. ends: of the interval of `sinks`, where known.
    """
    whole = max(difference.n for _, difference in others.values())
    leads = MASS in others and others[MASS][1].n == whole  # on some prompts no tokens draw as much
    shown = {MASS: others[MASS]} if leads else others
    values = sorted(value for value, _ in shown.values())
    span = " to ".join(dict.fromkeys((_tokens(values[0]), _tokens(values[-1]))))
    instead = "other tokens" if len(shown) > 1 else THAN[next(iter(shown))]
    sides = {of: side_of(difference) for of, (_, difference) in others.items()}
    common = sides[next(iter(shown))] if len({sides[of] for of in shown}) == 1 else 1
    by_side: dict[int, list[str]] = {}
    for of, side in sides.items():
        if side != common:
            by_side.setdefault(side, []).append(THAN[of])
    beside = [f"{_BESIDE[side]}: {listed(those)}" for side, those in by_side.items()]
    if common != 1:
        beside.insert(0, _BESIDE[common])
    changed, hidden = f"{_tokens(sinks)} of 100 tokens", done == "attention"
    alike = unrelated is not None and hidden and ends[0] <= unrelated <= ends[1]
    if unrelated is not None and not alike:
        changed += f" (two unrelated texts: {_tokens(unrelated)})"
    unrelated_too = f" {_tokens(sinks)} is about what two unrelated texts differ in ({_tokens(unrelated or 0.0)})."
    ceiling = unrelated_too if alike else ""
    said = f"Hiding the sinks changes {changed}" if hidden else f"Sinks, {INTERVENTIONS[done].title}: {changed} change"
    if all(sides[of] == 1 for of in shown):
        least = min((difference for _, difference in shown.values()), key=lambda each: each.value)
        more = f"{'at least ' if len(shown) > 1 else ''}{size_told(least, TOKENS, 'more')}"
        than = f"{'hiding' if hidden else 'with'} {instead}"
        return f"{said}, {more} than {than} ({'; '.join((span, *beside))}).{ceiling}"
    exceptions = f" ({'; '.join(beside)})" if beside else ""
    instead = f"hiding {instead} changes" if hidden else f"{instead} instead:"
    return f"{said}; {instead} {span}{exceptions}.{ceiling}"


def answer_in_numbers(summary: Summary) -> list[str]:
    """Say the same of the predictions, and of both per unit of attention. Empty where sinks were not compared."""
    return list(filter(None, (_predictions(summary), _per_unit(summary["effects"]))))


def predictions_apart(summary: Summary) -> str:
    """Say beside which controls the predictions say otherwise than the text, and how far they shift; empty where they
    agree.
    """
    text = {of: side_of(effect_of(row)) for of, row in _compared(summary, _TEXT).items()}
    compared = _compared(summary, _PREDICTIONS)
    timings = {of: timing for of, row in compared.items() if (timing := timing_of(row)) is not None}
    return otherwise(text, *_levels(summary, compared), timings)


def otherwise(text: Mapping[str, int], sinks: float, others: Levels, timings: Mapping[str, Timing]) -> str:
    """Say the same of the sides of each control on which the changes of the text with the sinks hidden lie, of the
    shift of predictions with the sinks hidden in nats, of that with each control, and of when they shift.
    """
    told = {}
    for of, (_, difference) in others.items():
        side, than = side_of(difference), f"than with {THAN[of]}"
        if side and side != text.get(of, side):
            told[of] = f"{size_told(difference, NATS, 'more' if side > 0 else 'less')} {than}"
        elif side != text.get(of, side):
            told[of] = f"{_MORE_OR_LESS[0]} {than} ({interval_words(difference, NATS)})"
    if not told:
        return ""
    when = [of for of in told if of in timings and when_shifted(timings[of])]
    if when:
        return _by_half(when[-1], timings, others[when[-1]][1])  # the strictest control
    why = "No half of the steps tells why." if timings else "Why was not measured."
    over_all = f"over all steps they shift by {sinks:.2g} nats, {listed(list(told.values()))}"
    return f"Predicted probabilities say otherwise: {over_all}. {why}"


def _by_half(of: str, timings: Mapping[str, Timing], overall: Difference) -> str:
    """Say whether predictions shift more than with a control in the first half of the steps, where they do otherwise in
    the second, and over all steps; `shifts` holds the second half. overall: the difference from the control over all.
    """
    early, over_all = side_of(timings[of].early), _MORE.get(side_of(overall), _MORE_OR_LESS[0])
    every = len(timings) > 1 and all(side_of(timing.early) == early for timing in timings.values())
    first, second, much = THAN[of], "", interval_words(timings[of].early, NATS)
    if every:
        least = min((timing.early for timing in timings.values()), key=lambda each: abs(each.value))
        first, second = "any control", f" than with {THAN[of]}"
        much = f"{'at least' if early > 0 else 'at most'} {interval_words(least, NATS)}"
    return (
        f"In the first half of the steps predictions shift {_MORE[early]} than with {first} (KL difference {much}); "
        f"over all steps {over_all}{second} ({_in_nats(overall)})."
    )


Held = tuple[float, float]
"""Of some tokens, the share of all attention that they draw, and the share of them that is masked."""
NO_QUALITY: Final = "Quality was not measured."


def caveats(summary: Summary) -> str:
    """Say what the comparison leaves open: where no control matches the sinks in both attention and masking, and that
    a changed text may be as good. Empty where sinks were not compared.
    """
    held = {of: changes_of(summary["rows"], row) for of, row in _compared(summary, _TEXT).items()}
    return caveats_of({of: ((one.share, one.masked), (two.share, two.masked)) for of, (one, two) in held.items()})


def caveats_of(held: Mapping[str, tuple[Held, Held]]) -> str:
    """Say the same of what the sinks and the tokens of each control hold."""
    return f"{_no_match(held)} {NO_QUALITY}".strip() if held else ""


def _no_match(held: Mapping[str, tuple[Held, Held]]) -> str:
    """Say which of attention and masking each of the two strict controls lacks; empty where one of them lacks none."""
    if not {MASKED, MASS} <= held.keys():
        return ""
    (drawn, _), (light, _) = held[MASKED]
    (_, masked), (_, fewer) = held[MASS]
    if not neither_matches((drawn, light), (masked, fewer)):
        return ""
    return (
        f"Over all steps no control matches both masking and attention: {THAN[MASS]} are {percent(fewer, 0)} masked "
        f"(sinks {percent(masked, 0)}), {THAN[MASKED]} draw {percent(light, 0)} of attention (sinks "
        f"{percent(drawn, 0)})."
    )


def neither_matches(attention: tuple[float, float], masking: tuple[float, float]) -> bool:
    """Return whether no control matches the sinks in both. attention: that sinks and other masked positions draw;
    masking: the share of sinks, and of random tokens of equal attention, that is masked.
    """
    return is_less(attention[1], attention[0]) and is_less(masking[1], masking[0])


SHIFTS: Final = ("KL in nats", "first half of the steps", "second half", "all steps")
"""Titles of the columns of `shifts`."""
SHIFTS_TOLD: Final = (
    "From the predictions with nothing hidden, at undecided positions of the same input; means over prompts, "
    "differences with 95 % intervals."
)
"""What they hold."""


def shifts(summary: Summary) -> list[tuple[str, ...]]:
    """Return how far predictions shift with the sinks hidden, and by how much more than with each control, over each
    half of the steps and over all, with intervals; empty where that was not measured. Columns: `SHIFTS`.
    """
    compared = _compared(summary, _PREDICTIONS)
    timings = {of: timing for of, row in compared.items() if (timing := timing_of(row)) is not None}
    return shifts_beside(*_levels(summary, compared), timings)


def shifts_beside(sinks: float, others: Levels, timings: Mapping[str, Timing]) -> list[tuple[str, ...]]:
    """Return the same of the shift of predictions with the sinks and with each control, and of when they shift. The
    first row has no intervals; it is left out where controls were compared over different prompts.
    """
    rows = [
        (
            f"sinks minus {THAN[of]}{_masked_first(of, timing)}",
            *map(_in_nats, (timing.early, timing.late, others[of][1])),
        )
        for of, timing in timings.items()
    ]
    if not rows or len({others[of][1].n for of in timings}) > 1:
        return rows
    quarters = next(iter(timings.values())).target
    half = len(quarters) // 2
    levels = fmean(quarters[:half]), fmean(quarters[half:]), sinks
    return [("sinks", *(f"{level:.3f}" for level in levels)), *rows]


def _masked_first(of: str, timing: Timing) -> str:
    """Return in which steps other masked positions draw as much attention as the sinks, where that is in the first."""
    return " (equal attention in the first half)" if of == MASKED and alike_early(timing) else ""


def alike_early(timing: Timing) -> bool:
    """Return whether target and control draw as much attention in the first half of the steps."""
    return abs(timing.shares[1] - timing.shares[0]) <= MASS_TOLERANCE * timing.shares[0]


def _in_nats(difference: Difference) -> str:
    return interval_words(difference, NATS).replace(f" {NATS.name}", "")


def when_alike(timing: Timing) -> str:
    """Say whether predictions shift more in the first half of the steps than with other masked positions hidden, in a
    sentence; empty where these draw less attention than the sinks there.
    """
    if not alike_early(timing):
        return ""
    side = _MORE_OR_LESS[side_of(timing.early)].removeprefix("significantly ")
    return (
        f"In the first half of the steps hiding sinks shifts predictions {side} than hiding {THAN[MASKED]} of equal "
        f"attention (KL {interval_words(timing.early, NATS)})."
    )


def when_shifted(timing: Timing) -> str:
    """Say in which half of the steps predictions shift more than with the control and in which less, as after "shift";
    empty where that is not significant in both.
    """
    early, late = side_of(timing.early), side_of(timing.late)
    if not early or early != -late:
        return ""
    return f"{_MORE[early]} in the first half of the steps, {_MORE[late]} in the second"


def size_told(difference: Difference, unit: Unit, word: str) -> str:
    """Return the size of a difference, the word for its side and the interval: `20 fewer [10, 29]`."""
    value, low, high = difference.value, difference.low, difference.high
    size = replace(difference, value=-value, low=-high, high=-low) if value < 0 else difference
    number, _, ends = interval_words(size, unit).replace("+", "").partition(f" {unit.name}")
    return f"{number} {word}{ends}"


def _compared(summary: Summary, measure: str) -> dict[str, dict[str, Any]]:
    """Return the changes of the answer in a measure by their control."""
    return {row["against"]: as_change(row) for row in answer_rows(summary["effects"], measure, tuple(THAN))}


def _levels(summary: Summary, compared: Mapping[str, Row]) -> tuple[float, Levels]:
    """Return the change with the sinks hidden, and that with each control. compared: of `_compared`."""
    changes = {of: changes_of(summary["rows"], row) for of, row in compared.items()}
    sinks = next((both[0].value for both in changes.values()), 0.0)
    return sinks, {of: (changes[of][1].value, effect_of(row)) for of, row in compared.items()}


def _predictions(summary: Summary) -> str:
    """Say how far the predictions shift with the sinks hidden, and whether that is more than with each control."""
    compared = _compared(summary, _PREDICTIONS)
    if not compared:
        return ""
    sinks, others = _levels(summary, compared)
    return f"With the sinks hidden, predictions shift {_beside(sinks, others)}.{_detectable(compared)}"


def _beside(sinks: float, others: Levels) -> str:
    """Say by how much predictions shift with the sinks hidden, and whether that is more than with each control, as
    after "shift": `by 0.09 nats (KL), more than with as many random tokens (0.046), less than with …`.
    """
    by_side: dict[int, list[str]] = {}
    for of, (value, difference) in sorted(others.items(), key=lambda each: -side_of(each[1][1])):
        by_side.setdefault(side_of(difference), []).append(f"{THAN[of]} ({value:.2g})")
    told = [f"{_THAN[side]} {listed(those)}" for side, those in by_side.items()]
    return f"by {sinks:.2g} nats (KL), {', '.join(told)}"


def too_light(sinks: Change, control: Change) -> str:
    """Say how much attention a control's tokens draw where that is less than the sinks draw; else nothing."""
    light = is_less(control.share, sinks.share)
    return f"{percent(control.share, 0)} beside {percent(sinks.share, 0)}" if light else ""


def is_less(control: float, sinks: float) -> bool:
    """Return whether what a control's tokens hold is less than what the sinks hold, beyond the tolerance."""
    return control < (1 - MASS_TOLERANCE) * sinks


def _tokens(share: float) -> str:
    """Return a share of changed tokens as a number of 100."""
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def _per_unit(effects: Sequence[Row]) -> str:
    """Say what is left of the differences per unit of attention hidden."""
    told: dict[int, list[str]] = {}
    for measure, what in ((_TEXT, "the text"), (_PREDICTIONS, "the predictions")):
        for row in answer_rows(effects, measure, (UNIT,)):
            told.setdefault(side_of(effect_of(as_change(row))), []).append(what)
    if not told:
        return ""
    if list(told) == [0]:
        return f"{PER_UNIT}, sinks and {THAN[COUNT]} do not differ significantly."
    clauses = [f"sinks change {listed(what)} {_MORE_OR_LESS[side]}" for side, what in told.items() if side]
    rest = f"; for {listed(told[0])} no difference is significant" if 0 in told else ""
    return f"{PER_UNIT}, {', and '.join(clauses)} than {THAN[COUNT]}{rest}."


def first_beside_mean(summary: Summary) -> str:
    """Say how many tokens of the text that is shown change with the sinks hidden, beside the mean over all prompts;
    empty where sinks were not compared. Of texts of two lengths only the share is told.
    """
    drawn = answer_rows(summary["effects"], _TEXT, (COUNT,))
    if not drawn:
        return ""
    target = next(row for row in summary["rows"] if _same_target(row, drawn[0]))
    here, mean = 1 - target[_TEXT][summary["shown"]], changes_of(summary["rows"], drawn[0])[0].value
    lengths, share = {len(words) for words in _first_texts(summary)}, percent(here, 0)
    [length] = lengths if len(lengths) == 1 else [0]
    changed = f"{here * length:.0f} of {length} tokens change ({share})" if length else f"{share} of tokens change"
    return f"{changed}; mean {percent(mean, 0)}."


def _first_texts(summary: Summary) -> list[Sequence[str]]:
    """Return the tokens of the text that is shown, untouched and with its sinks hidden; empty where none are."""
    hidden = [row["words"] for row in summary["texts"] if _of_hidden_sinks(row)]
    return [summary["untouched"], *hidden] if hidden else []


def _of_hidden_sinks(row: Row) -> bool:
    return not row["control"] and row["intervention"] == "attention" and row["target"] == "sinks"


def _same_target(row: Row, effect: Row) -> bool:
    return not row["control"] and all(row[name] == effect[name] for name in ("intervention", "target"))


def _no_sinks(rows: Sequence[Row]) -> str:
    """Say where no prompt had a sink by the definition in use; else nothing."""
    targets = [row for row in rows if row["target"] == "sinks" and not row["control"]]
    if not targets or any(any(row["count"]) for row in targets):
        return ""
    return f"None of the {len(targets[0]['count'])} prompts has a sink by this definition, so nothing was compared."


def _detectable(compared: Mapping[str, Row]) -> str:
    """Say which difference would have been detected, where none is significant."""
    change = compared.get(COUNT)
    if change is None or any(side_of(effect_of(row)) for row in compared.values()):
        return ""
    size = effect_of(change).detectable()
    if size is None or not np.isfinite(size):
        return ""
    amount = f"{100 * size:.2g} of 100 tokens" if MEASURES[change["measure"]].falls else f"{size:.2g} nats"
    return f" A difference of {amount} from as many random tokens would have been detected."


def without_sinks(effect: Row) -> str:
    """Say how many prompts are left out; nothing if none is."""
    count = effect["left_out"]
    return f" {counted(count, 'prompt')} had no sinks and {'are' if count > 1 else 'is'} left out." if count else ""


# --- predictions against text -----------------------------------------------------------------------------------

WHERE: Final[Mapping[str, str]] = {COUNT: "Against as many matched tokens", MASS: "At equal attention"}
"""The controls against which predictions and text are compared in words."""


def disagreements(summary: Summary) -> list[str]:
    """Say against which controls hiding sinks does another thing to the predictions than to the text."""
    found = {
        (row["intervention"], row["against"], row["measure"]): effect_of(row)
        for row in summary["effects"]
        if row["target"] == "sinks" and row["low"] is not None
    }
    interventions = dict.fromkeys(name for name, _, _ in found)
    told = []
    for name in interventions:
        for control, where in WHERE.items():
            pair = [found.get((name, control, measure)) for measure in (_PREDICTIONS, "aligned")]
            if pair[0] is not None and pair[1] is not None:
                which = (
                    where if len(interventions) == 1 else f"{INTERVENTIONS[name].title.capitalize()}: {where.lower()}"
                )
                told.append(disagreement(pair[0], pair[1], which))
    return list(filter(None, told))


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


def correction(summary: Summary) -> list[str]:
    """Say over how many tests significance is corrected and what intervals cover; empty where nothing was tested."""
    tests = [row["tests"] for row in summary["effects"] if row["p_holm"] is not None]
    if not tests:
        return []
    return [
        f"Significant: after Holm correction over {counted(max(tests), 'test')} per measure. Intervals cover the "
        "choice of prompts, not the seed."
    ]
