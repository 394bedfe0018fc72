"""Changes of the text, and of predictions beside it, from hiding sinks: in the words of the story."""

from collections.abc import Sequence
from math import floor, log10

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, UNIT
from analysis.findings.ablations import NO_QUALITY, is_less, neither_matches, side_of, when_alike, when_shifted
from analysis.findings.evaluations import flipped
from analysis.specs import CONTROLS
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    NATS,
    POINTS,
    WAITING,
    WORSE,
    Unit,
    decide,
    interval_words,
    seen,
)
from analysis.statistics.differences import Difference
from analysis.study.findings import Cause
from analysis.study.rules import cause_of


def tokens_more(agreement: Difference, of_control: bool = False) -> tuple[str, str]:
    """Return a difference of agreement with the untouched text as tokens of 100 that change, and its interval:
    `31 more` and `[23, 39]`. of_control: tell it of the control, beside the sinks: `31 fewer` and `[23, 39]`.
    """
    change = agreement if of_control else flipped(agreement)
    value, low, high = (100 * end for end in (change.value, change.low, change.high))
    decimals, fewer = int(high - low < 2), value < 0
    crosses = low < 0 < high
    ends = (low, high) if crosses or not fewer else (-high, -low)
    rounded = (round(end, decimals) + 0.0 for end in ends)  # no −0
    told = ", ".join(f"{end:{'+' if crosses else ''}.{decimals}f}" for end in rounded).replace("-", "−")
    return f"{abs(value):.{decimals}f} {'fewer' if fewer else 'more'}", f"[{told}]"


def text_causes(causes: Sequence[Cause]) -> dict[str, Cause]:
    """Return what hiding sinks does to the text against each control that it was compared with; empty without the one
    of as many random tokens. causes: of one model.
    """
    of = {cause.control: cause for cause in causes if cause.measure == "aligned"}
    there = {
        name: of[name] for name in (COUNT, MASKED, MASS) if name in of and of[name].effect.low == of[name].effect.low
    }
    return there if COUNT in there else {}


def changed(cause: Cause) -> tuple[float, float]:
    """Return the shares of the text's tokens that change with the sinks and with a control's tokens hidden, of a cause
    of `text_causes`.
    """
    sinks, others = cause.sides
    return sinks.value, others.value


def text_levels(causes: Sequence[Cause]) -> dict[str, tuple[str, str]]:
    """Return how many tokens of 100 change with the sinks and with a control's tokens hidden, by control. causes: of
    one model.
    """
    both = {name: changed(cause) for name, cause in text_causes(causes).items()}
    return {name: (f"{100 * sinks:.0f}", f"{100 * others:.0f}") for name, (sinks, others) in both.items()}


def level_beside(cause: Cause) -> str:
    """Return how many tokens of 100 change with a control's tokens hidden, as it is read beside what the sinks change
    and the difference of both; empty where its rounding contradicts these.
    """
    sinks, others = (round(100 * share) for share in changed(cause))
    more = tokens_more(cause.effect)[0].partition(" ")[0]
    return f"{others}" if more == f"{abs(sinks - others)}" else ""


def beside_sinks(causes: Sequence[Cause]) -> str:
    """Return how much of the text changes with the tokens of the strictest control hidden, as a clause beside what the
    sinks change: `random tokens of equal attention: 43`. causes: of one model.
    """
    control = strictest(causes) or COUNT
    cause, (sinks, others) = text_causes(causes)[control], text_levels(causes)[control]
    over = f" where sinks change {sinks}" if cause.unmatched else ""
    open_one = "" if side_of(cause.effect) else " (not significant)"
    return f"{CONTROLS[control].title}: {others}{over}{open_one}"


def than_controls(causes: Sequence[Cause]) -> list[str]:
    """Return by how much more of the text changes than with each control, a clause each: `31 more [23, 39] than hiding
    as many random tokens (32)`, `20 more [10, 29] than random tokens of equal attention (43)`. causes: of one model.
    """
    levels, told = text_levels(causes), list[str]()
    for control, cause in text_causes(causes).items():
        more, interval = tokens_more(cause.effect)
        beside = ", ".join(filter(None, (level_beside(cause), "" if side_of(cause.effect) else "not significant")))
        ending = f" ({beside})" if beside else ""
        title = CONTROLS[control].title
        if cause.unmatched:
            over = f"over the {cause.effect.n} prompts that have {title}"
            told.append(f"{over} {levels[control][0]} change, {more} {interval} than with these{ending}")
        else:
            told.append(f"{more} {interval} than {'' if told else 'hiding '}{title}{ending}")
    return told


def text_in_words(causes: Sequence[Cause]) -> str:
    """Return a sentence on how much of the text changes; empty where that was not measured. causes: of one model."""
    there, levels = text_causes(causes), text_levels(causes)
    if not there:
        return ""
    could = "" if any(side_of(cause.effect) for cause in there.values()) else _could_see(there[COUNT].effect)
    return f"Hiding sinks changes {levels[COUNT][0]} of 100 tokens: {', '.join(than_controls(causes))}{could}."


def text_effect(causes: Sequence[Cause], control: str) -> Difference:
    """Return the difference of agreement with the untouched text, against a control of `text_causes`."""
    return text_causes(causes)[control].effect


def text_matters(causes: Sequence[Cause]) -> bool:
    """Return whether hiding sinks changes more of the text than hiding as many random tokens, and than with random
    weights. causes: of one model.
    """
    return bool(text_causes(causes)) and side_of(text_effect(causes, COUNT)) < 0 and not no_less_with_random(causes)


def strictest(causes: Sequence[Cause]) -> str:
    """Return the control of `text_causes` that sinks exceed by least, one that they do not exceed before all others;
    empty where there is none but as many random tokens. causes: of one model.
    """
    others = {name: cause for name, cause in text_causes(causes).items() if name != COUNT}
    return max(others, key=lambda name: (side_of(others[name].effect) >= 0, others[name].effect.value), default="")


def control_told(causes: Sequence[Cause]) -> str:
    """Tell by how much more of the text changes with the sinks hidden than with the tokens of the strictest control,
    beside what the other one changes: `20 more [10, 29]; other masked positions: 38 (drawing less).` Where that is not
    significant, beside the controls that sinks do exceed. A control that some prompts lack is named. causes: of one
    model.
    """
    control, there = strictest(causes), text_causes(causes)
    levels = text_levels(causes)
    cause = there[control or COUNT]
    effect = cause.effect
    if not cause.unmatched:
        beside = "".join(
            f"; {CONTROLS[name].title}: {levels[name][1]}{_less_drawn(other)}"
            for name, other in there.items()
            if name not in (control, COUNT) and not other.unmatched
        )
        if side_of(effect) >= 0:
            beside = "".join(
                f"; {' '.join(tokens_more(other.effect))} than {CONTROLS[name].title}"
                for name, other in there.items()
                if name not in (control, COUNT) and side_of(other.effect) < 0
            )
        return f"{' '.join(tokens_more(effect))}{beside}."
    told = " ".join(tokens_more(effect, of_control=True)) + ("" if side_of(effect) else ", not significant")
    title = CONTROLS[control or COUNT].title
    sinks, others = levels[control or COUNT]
    over = f", over the {effect.n} prompts that have these"
    return f"{title[0].upper()}{title[1:]}{over}: {others} beside {sinks} ({told})."


def _less_drawn(cause: Cause) -> str:
    """Say, after a control's number, that its tokens draw less attention than the sinks, where they do."""
    sinks, others = cause.sides
    return " (drawing less)" if is_less(others.share, sinks.share) else ""


def quality_told(causes: Sequence[Cause], margin: float) -> str:
    """Say what a control that is missing could explain, that a change of text is not a loss of quality, and how
    predictions shift beside random tokens of equal attention where that was measured. causes, margin: as of
    `predictions_told`.
    """
    masking = "Masking may partly explain it." if no_match(causes) and strictest(causes) != MASS else ""
    return " ".join(filter(None, (masking, NO_QUALITY, _shift_told(causes, margin, briefly=True))))


def no_match(causes: Sequence[Cause]) -> bool:
    """Return whether it is known that no control matches the sinks in both masking and attention: these are masked, and
    draw attention, more often. causes: of one model.
    """
    there = text_causes(causes)
    light, equal = there.get(MASKED), there.get(MASS)
    if light is None or equal is None:
        return False
    (sinks, others), (masked, unmasked) = light.sides, equal.sides
    return neither_matches((sinks.share, others.share), (masked.masked, unmasked.masked))


def _shift_told(causes: Sequence[Cause], margin: float, briefly: bool = False) -> str:
    """Say how far predictions shift beside random tokens of equal attention; empty where that was not measured.
    causes, margin: as of `predictions_told`. briefly: after a sentence on the text at equal attention; else with the
    half of the steps in which it is otherwise.
    """
    cause = cause_of(causes, "divergence", MASS)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS:
        return ""
    change = f"(KL difference {bare_nats(cause.effect)})"
    much = f"{_SHIFTS[outcome]} {'as' if outcome == EQUIVALENT else 'than'}"
    by_half = cause.timing if cause.timing is not None and when_shifted(cause.timing) else None
    same = {BETTER: 1, WORSE: -1}.get(outcome, 0)
    halves = () if by_half is None else ((by_half.early, "early", "first"), (by_half.late, "late", "second"))
    otherwise = [
        (effect, "more" if side_of(effect) > 0 else "less", when, half)
        for effect, when, half in halves
        if side_of(effect) != same
    ]
    if briefly and by_half is not None:
        told = " and ".join(f"{more} {when}" for _, more, when, _ in otherwise)
        return f"At equal attention, predictions shift {_SHIFTS[outcome]} on average, {told}."
    if briefly:
        return f"{'Also, ' if outcome == BETTER else 'Yet '}predictions shift {much} with random ones."
    each = ", ".join(
        f"in the {half} half of the steps, {more} ({bare_nats(effect)})" for effect, more, _, half in otherwise
    )
    shifts = f"Hiding sinks shifts predictions {much} hiding random tokens of equal attention {change}"
    return f"{shifts}; {each}." if each else f"{shifts}."


def halves_told(causes: Sequence[Cause]) -> str:
    """Tell by how much more predictions shift than with random tokens of equal attention in each half of the steps;
    empty where both halves say the same, or that was not measured. causes: of one model.
    """
    cause = cause_of(causes, "divergence", MASS)
    if cause is None or cause.timing is None or not when_shifted(cause.timing):
        return ""
    early, late = map(bare_nats, (cause.timing.early, cause.timing.late))
    halves = f"{early} in the first half of the steps, {late} in the second"
    return f"Shift of predictions at equal attention: KL difference {halves}."


def predictions_follow(causes: Sequence[Cause], margin: float) -> bool:
    """Return whether predictions shift more than with random tokens of equal attention hidden, or that was not
    measured. causes, margin: as of `predictions_told`.
    """
    cause = cause_of(causes, "divergence", MASS)
    outcome = BETTER if cause is None else decide(cause.effect, margin)
    return outcome == BETTER or outcome not in _PREDICTIONS


def bare_nats(difference: Difference) -> str:
    """Return a difference of predictions with its interval, without its unit."""
    return interval_words(difference, NATS).replace(f" {NATS.name}", "")


def _nats_told(cause: Cause) -> str:
    """Return how far predictions shift with the sinks and with a control's tokens hidden, and the difference with its
    interval: `KL 0.09 against 0.13, difference −0.041 [−0.062, −0.019]`.
    """
    return f"KL {' against '.join(levels_apart(cause))}, difference {bare_nats(cause.effect)}"


def levels_apart(cause: Cause) -> list[str]:
    """Return the levels with the sinks and with the control hidden, in as many decimals as tell them apart."""
    decimals = min(max(2, 1 - floor(log10(abs(cause.effect.value) or 1))), 4)
    return [f"{abs(side.value):.{decimals}f}" for side in cause.sides]


def early_told(causes: Sequence[Cause]) -> str:
    """Tell how far predictions shift beside other masked positions while these draw as much attention as the sinks;
    empty where they never do, or that was not measured. causes: of one model.
    """
    alike = cause_of(causes, "divergence", MASKED)
    return "" if alike is None or alike.timing is None else when_alike(alike.timing).replace(f" {NATS.name}", "")


def predictions_told(causes: Sequence[Cause], margin: float) -> str:
    """Tell how far predictions shift with the sinks and with random tokens of equal attention hidden, and whether the
    text does the same; empty where either was not measured. causes: of one model. margin: of the predictions, in nats.
    """
    cause = cause_of(causes, "divergence", MASS)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS or MASS not in text_causes(causes):
        return ""
    if cause.timing is not None and when_shifted(cause.timing):
        return _shift_told(causes, margin)
    side = side_of(text_effect(causes, MASS))  # agreement falls as the text changes
    but = "and" if (side, outcome) in ((-1, BETTER), (1, WORSE), (0, EQUIVALENT)) else "but"
    verdict = f"{_TEXT[side]}, {but} predictions {_PREDICTIONS[outcome]}"
    if (side, outcome) == (0, CANNOT_TELL):
        verdict = "neither text nor predictions differ significantly"
    return f"At equal attention {verdict} ({_nats_told(cause)})."


_TEXT = {-1: "the text changes more", 0: "the text does not differ significantly", 1: "the text changes less"}
_SHIFTS = {BETTER: "more", WORSE: "less", EQUIVALENT: "about as much", CANNOT_TELL: "not significantly more or less"}
_PREDICTIONS = {
    BETTER: "shift more",
    WORSE: "shift less",
    EQUIVALENT: "shift about as much",
    CANNOT_TELL: "do not differ significantly",
}


def no_less_with_random(causes: Sequence[Cause]) -> bool:
    """Return whether hiding as much changes no less of the text with random weights. causes: of one model."""
    own = cause_of(causes, "aligned", COUNT)
    if own is None or own.untrained is None:
        return False
    return side_of(own.untrained) < 0 and own.effect.high >= own.untrained.low


def by_attention(causes: Sequence[Cause]) -> str:
    """Return how many more tokens of the text change per unit of attention hidden, and what would have been detected
    where that is not significant; empty where that was not measured. causes: of one model.
    """
    cause = cause_of(causes, "aligned", UNIT)
    if cause is None or cause.effect.low != cause.effect.low:
        return ""
    effect = cause.effect
    could = "" if side_of(effect) else _could_see(effect)
    return f"Per unit of attention, {' '.join(tokens_more(effect))}{could}."


def _could_see(effect: Difference) -> str:
    """Return which difference would have been detected, as the end of a clause."""
    return seen(effect, POINTS if effect.detectable() >= 1 else _OF_100)


_OF_100 = Unit("tokens", 100.0, 0)
