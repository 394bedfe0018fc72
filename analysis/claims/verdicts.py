"""Verdicts on claims: a table of rules over a claim's excess beyond its null and beyond models with other weights.

Every comparison is judged by `DECISIONS` (analysis/statistics/decisions.py), as all other findings are. A claim's p is
the largest of its comparisons, since each must be significant; Holm's correction is over the claims of one table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from analysis.claims.evidence import EVIDENCE, Evidence, Found, Missing
from analysis.registry import Registry
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import Claim
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    EQUIVALENT,
    NATS,
    POINTS,
    WORSE,
    Unit,
    decide,
    family_words,
    interval_words,
)
from analysis.statistics.differences import Difference, in_family
from analysis.words import listed, p_words

UNITS: Mapping[str, Unit] = {
    "points": POINTS,
    "nats": NATS,
    "uniform": Unit("× uniform attention", 1.0, 2),
    "mean": Unit("× the layer's mean", 1.0, 2),
}
"""Units of the numbers of a claim."""

HOLDS, HOLDS_WEAKLY, DOES_NOT_HOLD, CANNOT_TELL = "holds", "holds weakly", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Judged:
    """The comparisons of a claim, adjusted over the table. excess: against its null. whole: the excess with the p of
    the comparison that is hardest to win, those with other weights included.
    """

    claim: Claim
    evidence: Evidence
    excess: Difference
    whole: Difference

    def decided(self) -> str:
        """The decision on the excess over the claim's null."""
        return decide(self.excess, self.claim.margin, self.evidence.above_chance)


@dataclass(frozen=True)
class VerdictRule:
    """A verdict and when it is reached. help: the rule in words."""

    name: str
    help: str
    reached: Callable[[Judged], bool]


VERDICTS: Registry[VerdictRule] = Registry(
    VerdictRule(
        DOES_NOT_HOLD,
        "An effect of the size asked about is ruled out against the claim's null, or a significant difference goes the "
        "other way.",
        lambda judged: judged.decided() in (EQUIVALENT, WORSE),
    ),
    VerdictRule(
        HOLDS,
        "The difference is significant against the claim's null and against every model with random or shuffled "
        "weights, after Holm correction over the claims, and its 95 % interval lies beyond the size asked about.",
        lambda judged: judged.decided() == BETTER and judged.whole.shown and judged.excess.low > judged.claim.margin,
    ),
    VerdictRule(
        HOLDS_WEAKLY,
        "The difference is significant against the claim's null after Holm correction. Its interval reaches below the "
        "size asked about, or random or shuffled weights may show as much.",
        lambda judged: judged.decided() == BETTER,
    ),
    VerdictRule(
        CANNOT_TELL,
        "None of the others, or the data are missing. The verdict says which data would decide.",
        lambda judged: True,
    ),
)
"""The first that is reached is the verdict."""
_NEWER = "It was added after this run. Test the claims again."


@dataclass(frozen=True)
class ClaimVerdict:
    """Verdict of a claim on a model. sentence: the verdict with its numbers. needed: data that would decide, if these
    do not. evidence: None if there is none.
    """

    claim: Claim
    model: str
    verdict: str
    sentence: str
    needed: str = ""
    evidence: Evidence | None = None
    excess: Difference | None = None


def claim_verdicts(claims: Sequence[Claim], found: Found, model: str) -> list[ClaimVerdict]:
    """Return the verdict on every claim, in order; Holm's correction covers all of them, undecidable ones included.

    model: its name in sentences. Raises UserError for damaged data.
    """
    return verdicts_on(claims, *evidence_of(claims, found), model)


def evidence_of(claims: Sequence[Claim], found: Found) -> tuple[dict[str, Evidence], dict[str, str]]:
    """Return the evidence on each claim, and why another has none, both by its name. Raises UserError for damaged
    data."""
    told: dict[str, Evidence] = {}
    missing: dict[str, str] = {}
    for claim in claims:
        try:
            told[claim.name] = EVIDENCE[claim.name](claim, found)
        except Missing as reason:
            missing[claim.name] = str(reason)
    return told, missing


def verdicts_on(
    claims: Sequence[Claim], told: Mapping[str, Evidence], missing: Mapping[str, str], model: str
) -> list[ClaimVerdict]:
    """Return the same of evidence. told, missing: of `evidence_of`. A stored run may know nothing of a new claim."""
    judged = judge(claims, told)
    return [
        verdict_of(judged[claim.name], model)
        if (why := None if claim.name in told else missing.get(claim.name, _NEWER)) is None
        else ClaimVerdict(claim, model, CANNOT_TELL, f"Cannot be told of {model}. {why}", why)
        for claim in claims
    ]


def judge(claims: Sequence[Claim], told: Mapping[str, Evidence]) -> dict[str, Judged]:
    """The comparisons of every claim that has evidence, by name, adjusted by Holm over all claims."""
    tested = [claim for claim in claims if claim.name in told]
    excesses = in_family([told[claim.name].excess for claim in tested], len(claims))
    wholes = in_family([_hardest(told[claim.name]) for claim in tested], len(claims))
    return {
        claim.name: Judged(claim, told[claim.name], excess, whole)
        for claim, excess, whole in zip(tested, excesses, wholes, strict=True)
    }


def _hardest(evidence: Evidence) -> Difference:
    """Return the excess with the largest p of all comparisons: 1 if one of them goes the other way."""
    every = [evidence.excess, *(one for each in evidence.others.values() for one in each)]
    if any(one.p is None for one in every):
        return replace(evidence.excess, p=None)
    return replace(evidence.excess, p=max(1.0 if one.value <= 0 else one.p or 0.0 for one in every))


def verdict_of(judged: Judged, model: str) -> ClaimVerdict:
    """The verdict on a claim that has evidence, in words."""
    verdict = next(rule.name for rule in VERDICTS.values() if rule.reached(judged))
    needed = _needed(judged) if verdict == CANNOT_TELL else ""
    of = "of" if verdict == CANNOT_TELL else "in"
    sentence = f"{verdict.capitalize()} {of} {model}. {_numbers(judged)}{_weights(judged)} {_noise(judged)} {needed}"
    return ClaimVerdict(judged.claim, model, verdict, sentence.strip(), needed, judged.evidence, judged.excess)


def _numbers(judged: Judged) -> str:
    """`Change per step: 0.42 × uniform attention. With fixed shares: 0.31. Difference in the claimed direction: …`."""
    claim, unit = judged.claim, UNITS[judged.claim.unit]
    value, null = (number_words(one.value, unit) for one in (judged.evidence.value, judged.evidence.null))
    beside = f"{_capital(claim.null)}, {judged.evidence.twin}" if judged.evidence.twin else _capital(claim.null)
    p = judged.excess.adjusted
    tested = "" if p is None else f", {p_words(p)} {family_words(judged.excess.tests)}"
    return (
        f"{_capital(claim.quantity)}: {value}. {beside}: {null}. Difference in the claimed direction: "
        f"{interval_words(judged.excess, unit)}{tested}. Smallest difference asked about: {unit.margin(claim.margin)}."
    )


def _capital(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def _noise(judged: Judged) -> str:
    """Return what the interval covers and what it leaves out."""
    return f"The interval covers the choice of {judged.evidence.counted}. Other lengths and samplers are left out."


def number_words(value: float, unit: Unit) -> str:
    """A value with its unit and no sign of its own; a share in per cent."""
    if unit is POINTS:
        return f"{100 * value:.1f} %".replace("-", "−")
    return f"{value:.{max(unit.decimals, 2)}f} {unit.name}".replace("-", "−")


def _weights(judged: Judged) -> str:
    """Return the smallest differences from models with other weights, in a sentence; "" if none was measured."""
    if not judged.evidence.others:
        return ""
    unit = UNITS[judged.claim.unit]
    clauses = [
        f"{interval_words(min(each, key=lambda one: one.value), unit)} with {MOVEMENT_NULLS[null].title}"
        for null, each in judged.evidence.others.items()
    ]
    models = max(len(each) for each in judged.evidence.others.values())
    return f" Smallest difference from any of {models} models: {listed(clauses)}."


def _needed(judged: Judged) -> str:
    """Return the data that would decide, from the size of effect that these could have shown."""
    if judged.decided() == AT_CHANCE:
        return "A model that is compared does not answer above chance. Take tasks that it can do."
    unit, excess = UNITS[judged.claim.unit], judged.excess
    detectable = excess.detectable()
    if detectable != detectable:
        return ""
    more = ceil(excess.n * (detectable / judged.claim.margin) ** 2 / 10) * 10
    seen = f"A difference of {unit.size(detectable)} would have been detected with 80 % probability."
    what = judged.evidence.counted
    enough = f"About {more:,} {what}" if not excess.seeds else f"More {what}"
    return f"{seen} {enough} would show one of {unit.margin(judged.claim.margin)}."
