"""Sentences made by rules from a study's numbers, which claim no more than intervals and tests hold.

The rules for one difference are `DECISIONS` (`analysis/statistics/decisions.py`). Here they are put together: one claim
per pair of methods over the sparsities, one per model of what hiding its sinks does, and the answer to the study's
question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis import words
from analysis.evaluation.ablation_effects import COUNT, MASS, MEASURES, UNIT
from analysis.findings import said_of
from analysis.findings.sweeps import trend
from analysis.registry import Registry
from analysis.specs import CONTROLS, METHODS, RECIPE, StudySpec
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    DECISIONS,
    EQUIVALENT,
    NATS,
    POINTS,
    WAITING,
    WORSE,
    Unit,
    conclusions,
    decide,
    family_words,
    interval_words,
    overall,
    percent,
    seen,
    tests_in_words,
)
from analysis.statistics.differences import SHOWN, Difference
from analysis.study.findings import Cause, Contrast, Findings, Pruning
from analysis.words import counted, model_in_words, p_words

MIXED = "mixed"


@dataclass(frozen=True)
class Question:
    """A question about a pair of methods. controlled: what the comparison holds equal, with {method} and {against}.
    subject: what the first is called.
    """

    name: str
    title: str
    controlled: str
    subject: str = "{method}"


QUESTIONS: Registry[Question] = Registry(
    Question(
        "discount",
        "Does the discount help?",
        "{method} and {against} see the same calibration text with the same seeds, in the same order and norm, and are "
        "scored on the same items with the same masks. Only the discount differs.",
    ),
    Question(
        "noise",
        "Do noise, order and norm help?",
        "{method} and {against} see the same text with the same seeds, and are scored on the same items with the same "
        "masks. Noise, the order of layers and the norm differ together; neither discounts sinks.",
    ),
    Question(
        "recipe",
        "Does the published recipe help?",
        "{method} and {against} see the same text with the same seeds, and are scored on the same items with the same "
        "masks. Noise, order, norm and discount differ together, so a gain alone says nothing about sinks.",
    ),
    Question(
        "sham",
        "Is it the sinks?",
        "{method} and {against} see the same calibration text with the same seeds and discount as many tokens by the "
        "same weights. They differ only in which tokens: sinks, or random tokens of the same state.",
    ),
    Question(
        "light",
        "Is it the tokens with most attention?",
        "{method} and {against} see the same calibration text with the same seeds and discount as many tokens by the "
        "same weights. They differ only in which tokens: those with most attention mass, or those with least.",
    ),
    *(
        Question(
            f"{part.name} alone",
            f"Does the {part.title} alone help?",
            "Both see the same text with the same seeds, and are scored on the same items with the same masks. They "
            f"differ in one part of the recipe: {part.help}.",
            f"{{against}} with the {part.title} alone",
        )
        for part in RECIPE.values()
    ),
)


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim. outcome: the decision, or "mixed" where sparsities differ. numbers: its tests in words.
    controlled, left_out: sentences. needs: what it would take to tell, where the study cannot.
    """

    claim: str
    title: str
    outcome: str
    sentence: str
    numbers: str
    controlled: str
    left_out: str
    needs: str


def verdicts(findings: Findings) -> list[Verdict]:
    """Return what the study says of every claim that it has numbers for."""
    said: list[Verdict] = said_of("study", findings)
    return said


def sinks_matter(findings: Findings) -> list[Verdict]:
    """Say of each model whether its sinks matter."""
    return [_matter(causes, findings.parameters) for causes in findings.causes_by_model.values()]


def methods_compared(findings: Findings) -> list[Verdict]:
    """Say of each sink-aware method what its discount, its noise, order and norm, and the whole recipe do."""
    spec, pruning = findings.parameters, findings.pruning
    return [] if pruning is None else [_compared(those, pruning, spec) for those in _groups(pruning.contrasts)]


def answer(findings: Findings) -> list[str]:
    """The answer to the study's question in a few sentences: the model's sinks, the discount, and where a gain comes
    from.
    """
    said = verdicts(findings)
    sentences = [f"{verdict.title} {verdict.sentence}" for verdict in said if verdict.claim == "matter"][:1]
    discounts = [verdict for verdict in said if verdict.claim == "discount"]
    if discounts:
        lead = _lead(findings, overall([verdict.outcome for verdict in discounts]))
        told = " ".join(verdict.sentence for verdict in discounts)
        sentences.append(f"Does discounting sinks help pruning? {lead}{told}")
    if findings.pruning is not None:
        above, margin = above_chance(findings.pruning), margin_of(findings)
        sentences += said_of("gain", findings.pruning, margin, above)
        sentences += [
            trend(METHODS[dose.method].title, dose.sparsity, dose.strengths, dose.slope)
            for dose in findings.pruning.doses
        ]
    return sentences


def _lead(findings: Findings, outcome: str) -> str:
    """Return the word before the differences of the discount: yes or no where all methods agree at all sparsities."""
    contrasts = findings.pruning.contrasts if findings.pruning is not None else ()
    gains = any(one.kind == "discount" and one.effect.shown and one.effect.value > 0 for one in contrasts)
    if outcome == EQUIVALENT and gains:  # significant, and too small to matter
        return f"Not by {POINTS.margin(margin_of(findings))} or more. "
    return {BETTER: "Yes. ", WORSE: "No. ", EQUIVALENT: "No. "}.get(outcome, "")


def margin_of(findings: Findings) -> float:
    """The difference of accuracies asked about, a share."""
    return findings.parameters.difference / 100


def asked(findings: Findings) -> str:
    """Say what was fixed before anything ran: the primary outcome and the margins, and the family of tests."""
    spec = findings.parameters
    margin = unit_of(spec.primary).margin(shift_of(spec, spec.primary))
    return (
        f"Set in the study's specification: the primary outcome of hiding sinks, {_title(spec.primary)}, with a margin "
        f"of ±{margin}, and a margin of ±{POINTS.margin(spec.difference / 100)} of accuracy. All {findings.tests} "
        "comparisons are one family of tests."
        + ("" if findings.registered is None else f" {findings.registered.words}")
    )


def rule_help(outcome: str) -> str:
    """The rule behind an outcome, in words."""
    return "The comparisons differ; each has its own decision." if outcome == MIXED else DECISIONS[outcome].help


# --- pruning ----------------------------------------------------------------------------------------------------


def above_chance(pruning: Pruning) -> bool:
    """Return True if the dense model answers better than a choice at random: its interval lies above chance, or above 0
    where answers are written.
    """
    return pruning.dense_low > (pruning.chance or 0.0)


def _compared(contrasts: Sequence[Contrast], pruning: Pruning, spec: StudySpec) -> Verdict:
    """Return the verdict on one pair of methods, along the sparsities."""
    first, margin, above = contrasts[0], spec.difference / 100, above_chance(pruning)
    names = {"method": METHODS[first.method].title, "against": METHODS[first.against].title}
    effects = {percent(contrast.sparsity): contrast.effect for contrast in contrasts}
    outcomes = [decide(effect, margin, above) for effect in effects.values()]
    needs = [contrast.needs for contrast, told in zip(contrasts, outcomes, strict=True) if told == CANNOT_TELL]
    return Verdict(
        first.kind,
        QUESTIONS[first.kind].title,
        overall(outcomes),
        f"{QUESTIONS[first.kind].subject.format(**names)} against {names['against']}: "
        f"{conclusions(effects, margin, above)}.",
        tests_in_words(effects),
        QUESTIONS[first.kind].controlled.format(**names),
        f"{pruning.noise} Not covered: other models, tasks, calibration texts and lengths.",
        next(filter(None, reversed(needs)), ""),
    )


def _groups(contrasts: Sequence[Contrast]) -> list[list[Contrast]]:
    """Group contrasts by claim and pair of methods, along the sparsities; the discount first."""
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for contrast in contrasts:
        groups.setdefault((contrast.kind, contrast.method, contrast.against), []).append(contrast)
    order = list(QUESTIONS)
    return [
        sorted(group, key=lambda contrast: contrast.sparsity)
        for _, group in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]


# --- hiding sinks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hiding:
    """Words for what hiding sinks does, after `Hiding the sinks of MODEL`. judged_by: what is measured. higher, lower:
    what sinks do more than matched tokens where the difference is above and below 0; matters: which of the two says
    that sinks matter.
    """

    judged_by: str
    higher: str
    lower: str
    matters: int


HIDING: Mapping[str, Hiding] = {
    "divergence": Hiding("predictions", "changes its predictions more", "changes its predictions less", 1),
    "aligned": Hiding("text", "changes less of its text", "changes more of its text", -1),
    "agreement": Hiding(
        "text by position", "changes less of its text by position", "changes more of its text by position", -1
    ),
    "nll": Hiding("perplexity", "raises the perplexity of its text more", "raises the perplexity of its text less", 1),
}
AS_MANY = f"hiding {CONTROLS[COUNT].title}"
AS_MUCH = CONTROLS[MASS].title
_MARGIN = "the margin set beforehand"


def unit_of(measure: str) -> Unit:
    """Return the unit of a difference in a measure of an ablation."""
    return POINTS if MEASURES[measure].percent else NATS


def shift_of(spec: StudySpec, measure: str) -> float:
    """Return the smallest difference in a measure that was said to matter."""
    return spec.change / 100 if MEASURES[measure].percent else spec.shift


def _matter(causes: Sequence[Cause], spec: StudySpec) -> Verdict:
    """Decide whether hiding a model's sinks changes more than hiding its controls does: by the primary outcome alone,
    against as many tokens and at equal attention.
    """
    primary, equal = primary_of(causes, spec)
    by_unit = cause_of(causes, primary.measure, UNIT)
    effect, margin, unit = primary.effect, shift_of(spec, primary.measure), unit_of(primary.measure)
    decision = decide(effect, margin)
    at_equal = decision if equal is None else decide(equal.effect, margin)
    secondary = [
        f"{_title(cause.measure)} {_tested(cause.effect, unit_of(cause.measure))}"
        for cause in causes
        if cause.control == COUNT and cause is not primary
    ]
    numbers = [f"Primary outcome, {_title(primary.measure)}: {_tested(effect, unit)}."]
    if equal is not None:
        numbers.append(f"At equal attention: {_tested(equal.effect, unit)}.")
    if by_unit is not None:
        numbers.append(f"Per unit of attention, scaled to what the sinks held: {_tested(by_unit.effect, unit)}.")
    if primary.untrained is not None:
        numbers.append(f"With random weights: {interval_words(primary.untrained, unit)}.")
    numbers += [f"Secondary: {'; '.join(secondary)}."] if secondary else []
    numbers += [f"Every p is {family_words(effect.tests)}."] if effect.adjusted is not None else []
    return Verdict(
        "matter",
        f"Judged by {HIDING[primary.measure].judged_by}, do sinks matter?",
        overall([decision, at_equal]),
        matter_sentence(causes, spec, f"hiding the sinks of {model_in_words(primary.model)}"),
        " ".join(numbers),
        _controlled(primary, equal),
        f"The interval covers the choice of {effect.n} prompts; one seed of the sampler and of the controls was "
        f"used.{_left_out(primary, equal)} Not covered: other texts, other samplers.",
        "",
    )


def _controlled(cause: Cause, equal: Cause | None) -> str:
    """Tell what the comparisons hold equal."""

    def shares(of: Cause) -> list[str]:
        return [f"{words.percent(side.share, 1)} of" for side in of.sides]

    sinks, matched = shares(cause)
    told = (
        "All sinks of a step are hidden in all layers; the control hides as many tokens of the same state. The sinks "
        f"held {sinks} attention, the control's tokens {matched} it."
    )
    if equal is None:
        return f"{told} Part of a difference can be that more attention is hidden."
    return (
        f"{told} So the sinks are also compared with random other tokens that held as much attention "
        "({} all at the sinks, {} it at these tokens).".format(*shares(equal))
    )


def _left_out(cause: Cause, equal: Cause | None) -> str:
    """Tell how many prompts a comparison leaves out, and why."""
    told = f" {counted(cause.left_out, 'prompt')} had no sinks by this definition." if cause.left_out else ""
    if equal is not None and equal.unmatched:
        told += f" On {counted(equal.unmatched, 'prompt')} no other tokens held as much attention."
    return told


def matter_sentence(causes: Sequence[Cause], spec: StudySpec, subject: str, numbers: bool = True) -> str:
    """Return the sentence of the primary outcome: its direction, its interval, yes or no where the margin is cleared
    against as many tokens and at equal attention, and what holds at equal attention. causes: of one model. subject:
    what is done, as `hiding them`. numbers: whether intervals and margins are told; without, the sentence is for a
    reader who does not know the unit.
    """
    cause, equal = primary_of(causes, spec)
    margin, effect = shift_of(spec, cause.measure), cause.effect
    decision, unit, words = decide(effect, margin), unit_of(cause.measure), HIDING[cause.measure]
    least = unit.margin(margin) if numbers else _MARGIN
    if decision == WAITING:
        return f"Not known yet for {cause.model}."
    interval = _interval(effect, unit, numbers)
    does = f"{subject} {words.higher if effect.value > 0 else words.lower} than {AS_MANY}{interval}"
    beside = _at_equal_attention(cause, equal, decision, margin, numbers)
    if decision == EQUIVALENT:
        if not numbers:
            return f"No: {subject} {words.higher.removesuffix(' more')} about as much as {AS_MANY}{beside}."
        return f"No: {subject} differs from {AS_MANY} by less than {least}{interval}{beside}."
    if decision == CANNOT_TELL:
        seen_then = _interval(effect, unit, numbers, seen(effect, unit))
        return f"This study cannot tell whether {subject} differs from {AS_MANY}{seen_then}{beside}."
    if (effect.value > 0) != (words.matters > 0):
        return f"No: {does}{beside}."
    least_effect, untrained = _least(effect), cause.untrained
    upper = f"{does[0].upper()}{does[1:]}"
    if untrained is not None and least_effect <= max(words.matters * end for end in (untrained.low, untrained.high)):
        random = _interval(untrained, unit, numbers)
        return f"{upper}, but perhaps no more than with random weights{random}{beside}."
    if least_effect > margin:
        clear = equal is None or (_agrees(cause, equal, margin) and _least(equal.effect) > margin)
        depends = equal is not None and decide(equal.effect, margin) in {EQUIVALENT, BETTER, WORSE} - {decision}
        return f"{f'Yes: {does}' if clear else f'It depends: {does}' if depends else upper}{beside}."
    return f"{upper}, perhaps by less than {least}{beside}."


def _interval(effect: Difference, unit: Unit, numbers: bool, ending: str = "") -> str:
    """Return an interval in brackets, as the end of a clause; '' where no numbers are given."""
    return f" ({interval_words(effect, unit)}{ending})" if numbers else ""


def primary_of(causes: Sequence[Cause], spec: StudySpec) -> tuple[Cause, Cause | None]:
    """Return the primary outcome of one model against as many tokens, and at equal attention."""
    primary = cause_of(causes, spec.primary, COUNT) or causes[0]
    return primary, cause_of(causes, primary.measure, MASS)


def cause_of(causes: Sequence[Cause], measure: str, control: str) -> Cause | None:
    """Return what hiding the sinks of one model does in a measure against a control; None where that was not
    measured.
    """
    return next((cause for cause in causes if (cause.measure, cause.control) == (measure, control)), None)


def _least(effect: Difference) -> float:
    """Return the distance from 0 to the nearer end of an interval that lies on one side of it."""
    return min(abs(effect.low), abs(effect.high))


def _agrees(cause: Cause, equal: Cause, margin: float) -> bool:
    """Return whether the decision at equal attention is the same as against as many tokens."""
    return decide(equal.effect, margin) == decide(cause.effect, margin)


def _at_equal_attention(cause: Cause, equal: Cause | None, decision: str, margin: float, numbers: bool) -> str:
    """Tell what holds at equal attention, as the end of the sentence; empty where that was not compared."""
    if equal is None:
        return ""
    unit, effect = unit_of(cause.measure), equal.effect
    interval, there = _interval(effect, unit, numbers), decide(effect, margin)
    least = unit.margin(margin) if numbers else _MARGIN
    if there == CANNOT_TELL:
        told = _interval(effect, unit, numbers, seen(effect, unit))
        if decision == CANNOT_TELL:
            return f", nor from hiding {AS_MUCH}{told}"
        return f"; against {AS_MUCH} this study cannot tell{told}"
    if there == EQUIVALENT == decision:
        return f"; the same against {AS_MUCH}{interval}"
    if there == EQUIVALENT:
        return f"; against {AS_MUCH} the difference is less than {least}{interval}"
    words = HIDING[cause.measure]
    does = words.higher if effect.value > 0 else words.lower
    perhaps = f", perhaps by less than {least}" if _least(effect) <= margin else ""
    if decision not in SHOWN:
        return f"; it {does} than hiding {AS_MUCH}{interval}{perhaps}"
    joined = "and also" if there == decision else "but"
    return f", {joined} {'more' if 'more' in does else 'less'} than hiding {AS_MUCH}{interval}{perhaps}"


def _tested(effect: Difference, unit: Unit) -> str:
    """An interval with its adjusted p."""
    return interval_words(effect, unit) + ("" if effect.adjusted is None else f", {p_words(effect.adjusted)}")


def _title(measure: str) -> str:
    title = MEASURES[measure].title
    return f"{title[0].lower()}{title[1:]}"


def effect_words(effect: Difference) -> str:
    """`−0.1 points [−0.5, +0.3], p = 0.81 after Holm correction over 12 comparisons`; interim until all runs are in."""
    family = "" if effect.adjusted is None else f" {family_words(effect.tests)}"
    return f"{_tested(effect, POINTS)}{family}{'' if effect.final else ', interim'}"
