"""What hiding sinks does to perplexity, and to predictions beside it, in the words of the story."""

from collections.abc import Sequence
from math import floor, log10

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, UNIT
from analysis.findings.ablations import (
    LENGTH,
    moved,
    neither_matches,
    perplexity,
    perplexity_change,
    perplexity_seen,
    side_of,
    size_told,
)
from analysis.findings.shifts import when_alike, when_shifted
from analysis.specs import CONTROLS
from analysis.statistics.decisions import BETTER, CANNOT_TELL, EQUIVALENT, NATS, WAITING, WORSE, decide, interval_words
from analysis.statistics.differences import Difference
from analysis.study.findings import Cause
from analysis.study.rules import cause_of
from analysis.words import counted, listed, percent


def text_causes(causes: Sequence[Cause]) -> dict[str, Cause]:
    """Return what hiding sinks does to perplexity against each control that it was compared with; empty without the one
    of as many random tokens. causes: of one model.
    """
    of = {cause.control: cause for cause in causes if cause.measure == "nll" and cause.rise is not None}
    there = {
        name: of[name] for name in (COUNT, MASKED, MASS) if name in of and of[name].effect.low == of[name].effect.low
    }
    return there if COUNT in there else {}


def untouched_of(causes: Sequence[Cause]) -> float:
    """Return the negative log-likelihood with nothing hidden, in nats per token. causes: of one model, measured."""
    cause = text_causes(causes)[COUNT]
    return cause.sides[0].value - (cause.rise.value if cause.rise else 0.0)


def hidden_moves(causes: Sequence[Cause]) -> str:
    """Return `raises perplexity from 2.6 to 4.0`, of hiding the sinks. causes: of one model, measured."""
    cause = text_causes(causes)[COUNT]
    return moved(cause.sides[0].value, cause.rise) if cause.rise else ""


def levels_of(cause: Cause) -> tuple[str, str]:
    """Return perplexity with the sinks and with a control's tokens hidden, of a cause of `text_causes`."""
    sinks, others = cause.sides
    return perplexity(sinks.value), perplexity(others.value)


def masked_told(cause: Cause) -> str:
    """Return which share of a control's tokens is masked, in brackets, of as many random tokens: these are drawn from
    those in the sinks' state as far as there are enough; empty of others, and where no sink is masked.
    """
    sinks, others = cause.sides
    return f" ({percent(others.masked, 0)} masked)" if cause.control == COUNT and sinks.masked > 0 else ""


def told_by(causes: Sequence[Cause]) -> str:
    """Return the control that titles tell: of those that the sinks exceed on all prompts the one they exceed by least;
    as many random tokens where there is none. causes: of one model.
    """
    exceeded = {
        name: cause.effect.value
        for name, cause in text_causes(causes).items()
        if side_of(cause.effect) > 0 and not (name != COUNT and cause.unmatched)  # levels of the same prompts
    }
    return min(exceeded, key=exceeded.__getitem__, default=COUNT)


def open_controls(causes: Sequence[Cause]) -> list[str]:
    """Return the controls that perplexity with the sinks hidden does not exceed. causes: of one model."""
    return [name for name, cause in text_causes(causes).items() if side_of(cause.effect) <= 0]


def _endings(cause: Cause) -> str:
    """Say at which token texts end with the sinks hidden, and by how many earlier or later that is than with a
    control hidden; empty where that is not significant.
    """
    if cause.longer is None or not side_of(cause.longer):
        return ""
    return f"texts end at token {cause.tokens:.0f}, {size_told(cause.longer, LENGTH, _LATER[side_of(cause.longer)])}"


def _ends_untouched(cause: Cause) -> str:
    """Return at which token texts end with nothing hidden, in brackets; empty where that is not known."""
    return f" (untouched: {cause.tokens_before:.0f})" if cause.tokens_before else ""


_LATER = {1: "later", -1: "earlier"}


def yes_by_text(causes: Sequence[Cause]) -> str:
    """Return whether sinks matter, where perplexity is higher than with as many random tokens: a yes without a
    condition where it is higher than with every control, and per token where only attention that is alike, which
    takes more tokens, may do as much. causes: of one model.
    """
    open_ones = open_controls(causes)
    yes = "Yes" if not open_ones else "Yes, token for token" if open_ones == [MASS] else "It depends"
    there = text_causes(causes)
    undecided = [name for name in open_ones if not side_of(there[name].effect) and open_ones != [MASS]]
    less = [name for name in open_ones if side_of(there[name].effect)]
    beside = [
        f"{against[0].upper()}{against[1:]} {outcome}."
        for names, outcome in ((undecided, "not significantly"), (less, "it hurts less"))
        if (against := listed([AGAINST[name] for name in names]))
    ]
    rise = there[COUNT].rise
    moves = f"hiding sinks {moved_beside(causes)}"
    if rise is None or not side_of(rise):
        moves = f"hiding them hurts more than hiding {CONTROLS[COUNT].title}"
    return " ".join((f"{yes}: {moves}.", *beside))


def moved_beside(causes: Sequence[Cause]) -> str:
    """Return what hiding sinks does to perplexity, and the perplexity with the control of `told_by` hidden: `raises
    perplexity from 2.6 to 4.0, hiding other masked positions to 3.1`. causes: of one model, measured."""
    there, told = text_causes(causes), told_by(causes)
    moves, other = hidden_moves(causes), levels_of(there[told])[1]
    if not side_of(there[told].effect) or not moves.startswith("raises"):
        return f"{moves} ({CONTROLS[told].title}: {other})"
    return f"{moves}, hiding {CONTROLS[told].title} to {other}"


def ends_earlier(cause: Cause) -> bool:
    """Return whether texts end earlier with the sinks than with a control hidden."""
    return cause.longer is not None and side_of(cause.longer) < 0


AGAINST = {COUNT: "against as many random tokens", MASKED: "against other masked positions", MASS: "at equal attention"}
"""The controls, as what a difference of the sinks is from."""


def changes_told(causes: Sequence[Cause], controls: Sequence[str]) -> list[str]:
    """Return a sentence on each control: by how much perplexity with the sinks hidden differs from it, and on the last
    by how many tokens earlier or later texts end. causes: of one model. controls: of `text_causes`.
    """
    there = text_causes(causes)
    told = [
        f"{AGAINST[name][0].upper()}{AGAINST[name][1:]}: {perplexity_change(there[name].effect)}"
        f"{'' if side_of(there[name].effect) else ', not significant'}"
        for name in controls
    ]
    longer = there[controls[-1]].longer
    if longer is not None and side_of(longer):
        told[-1] += f"; texts end {size_told(longer, LENGTH, f'{LENGTH.name} {_LATER[side_of(longer)]}')}"
    return [f"{each}." for each in told]


def open_told(causes: Sequence[Cause]) -> list[str]:
    """Return a sentence on each control that perplexity with the sinks hidden does not exceed: what it makes of
    perplexity, by how much that with the sinks differs from it, and where texts end. causes: of one model.
    """
    there = text_causes(causes)
    return [_open_one(name, there[name]) for name in open_controls(causes)]


def open_briefly(causes: Sequence[Cause]) -> list[str]:
    """Return a sentence on each of these controls without its numbers: where perplexity lies, and where texts end."""
    there = text_causes(causes)
    told = []
    for name in open_controls(causes):
        cause, ends = there[name], _endings(there[name])
        where = "is lower" if side_of(cause.effect) else "does not differ significantly"
        less = f" ({counted(cause.effect.n, 'prompt')} with a match)" if cause.unmatched else ""
        against = f"{AGAINST[name][0].upper()}{AGAINST[name][1:]}"
        told.append(f"{against}{less}, perplexity {where}{f'; {ends}{_ends_untouched(cause)}' if ends else ''}.")
    return told


def _open_one(control: str, cause: Cause) -> str:
    sinks, others = levels_of(cause)
    level = f"{others} beside {sinks} on {cause.effect.n} prompts" if cause.unmatched else others
    open_one = "" if side_of(cause.effect) else ", not significant"
    told = f"Against {CONTROLS[control].title} ({level}): {perplexity_change(cause.effect)}{open_one}"
    ends = _endings(cause)
    return f"{told}; {ends}{_ends_untouched(cause)}." if ends else f"{told}."


def text_effect(causes: Sequence[Cause], control: str) -> Difference:
    """Return the difference in nats per token against a control of `text_causes`."""
    return text_causes(causes)[control].effect


def text_matters(causes: Sequence[Cause]) -> bool:
    """Return whether hiding sinks raises perplexity more than hiding as many random tokens, and than with random
    weights. causes: of one model.
    """
    return bool(text_causes(causes)) and side_of(text_effect(causes, COUNT)) > 0 and not no_less_with_random(causes)


def strictest(causes: Sequence[Cause]) -> str:
    """Return the control of `text_causes` that sinks exceed by least, one that they do not exceed before all others;
    empty where there is none but as many random tokens. causes: of one model.
    """
    others = {name: cause for name, cause in text_causes(causes).items() if name != COUNT}
    return max(others, key=lambda name: (side_of(others[name].effect) <= 0, -others[name].effect.value), default="")


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


def _shift_told(causes: Sequence[Cause], margin: float) -> str:
    """Say how far predictions shift beside random tokens of equal attention, and in which half of the steps it is
    otherwise; empty where that was not measured. causes, margin: as of `predictions_told`.
    """
    cause = cause_of(causes, "divergence", MASS)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS:
        return ""
    much = f"{_SHIFTS[outcome]} {'as' if outcome == EQUIVALENT else 'than'}"
    same = {BETTER: 1, WORSE: -1}.get(outcome, 0)
    by_half = cause.timing if cause.timing is not None and when_shifted(cause.timing) else None
    halves = () if by_half is None else ((by_half.early, "first"), (by_half.late, "second"))
    each = ", ".join(
        f"in the {half} half of the steps, {'more' if side_of(effect) > 0 else 'less'} ({bare_nats(effect)})"
        for effect, half in halves
        if side_of(effect) != same
    )
    change = f"(KL difference {bare_nats(cause.effect)})"
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
    """Tell how far predictions shift with the sinks and with random tokens of equal attention hidden, and whether
    perplexity says the same; empty where either was not measured. causes: of one model. margin: of the predictions, in
    nats.
    """
    cause = cause_of(causes, "divergence", MASS)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS or MASS not in text_causes(causes):
        return ""
    if cause.timing is not None and when_shifted(cause.timing):
        return _shift_told(causes, margin)
    side = side_of(text_effect(causes, MASS))
    but = "and" if (side, outcome) in ((1, BETTER), (-1, WORSE), (0, EQUIVALENT)) else "but"
    verdict = f"{_TEXT[side]}, {but} predictions {_PREDICTIONS[outcome]}"
    if (side, outcome) == (0, CANNOT_TELL):
        verdict = "neither perplexity nor predictions differ significantly"
    return f"At equal attention {verdict} ({_nats_told(cause)})."


_TEXT = {1: "perplexity is higher", 0: "perplexity does not differ significantly", -1: "perplexity is lower"}
_SHIFTS = {BETTER: "more", WORSE: "less", EQUIVALENT: "about as much", CANNOT_TELL: "not significantly more or less"}
_PREDICTIONS = {
    BETTER: "shift more",
    WORSE: "shift less",
    EQUIVALENT: "shift about as much",
    CANNOT_TELL: "do not differ significantly",
}


def no_less_with_random(causes: Sequence[Cause]) -> bool:
    """Return whether hiding as much raises perplexity no less with random weights. causes: of one model."""
    own = cause_of(causes, "nll", COUNT)
    if own is None or own.untrained is None:
        return False
    return side_of(own.untrained) > 0 and own.effect.low <= own.untrained.high


def by_attention(causes: Sequence[Cause]) -> str:
    """Return how much higher perplexity is per unit of attention hidden, and what would have been detected where that
    is not significant; empty where that was not measured. causes: of one model.
    """
    cause = cause_of(causes, "nll", UNIT)
    if cause is None or cause.effect.low != cause.effect.low:
        return ""
    could = "" if side_of(cause.effect) else _could_see(cause.effect)
    return f"Per unit of attention, perplexity: {perplexity_change(cause.effect)}{could}."


def could_see(causes: Sequence[Cause]) -> str:
    """Return which difference from as many random tokens would have been detected, where perplexity differs from that
    with no control; else nothing. causes: of one model.
    """
    there = text_causes(causes)
    size = "" if any(side_of(cause.effect) for cause in there.values()) else perplexity_seen(there[COUNT].effect)
    return f"±{size} would have been detected." if size else ""


def _could_see(effect: Difference) -> str:
    """Return which difference would have been detected, as the end of a clause."""
    size = perplexity_seen(effect)
    return f"; ±{size} would have been detected" if size else ""
