"""Writes the paragraphs of docs/claims.md from the table of claims: `python -m docs.claims`."""

from collections.abc import Mapping
from pathlib import Path

from analysis.claims.evidence import EXAMPLE, read
from analysis.claims.verdicts import UNITS, VERDICTS, ClaimVerdict, number_words, verdicts_on
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import CLAIMS, Claim
from analysis.statistics.decisions import Unit, family_words, interval_words
from analysis.words import in_sentence, model_title, p_words
from docs.marks import replaced

PATH = Path(__file__).with_name("claims.md")
CLAIMS_NAME, VERDICTS_NAME = "claims", "verdicts"
_COUNTED = "prompts"  # what most intervals cover


def paragraphs() -> str:
    """Return how to read a shipped verdict, then one section per claim: its sentence, source, null, effect size,
    formula, limits and shipped verdict.
    """
    verdicts = _shipped()
    return "\n\n".join((_reading(verdicts), *(_paragraph(claim, verdicts) for claim in CLAIMS.values())))


def verdict_rows() -> str:
    """Return the rules of the verdicts, in the order in which they are applied."""
    rows = [f"| *{rule.name}* | {rule.help} |" for rule in VERDICTS.values()]
    return "\n".join(["| verdict | when |", "| --- | --- |", *rows])


def document() -> str:
    """The whole page with its written parts renewed."""
    text = PATH.read_text(encoding="utf-8")
    return replaced(replaced(text, CLAIMS_NAME, paragraphs()), VERDICTS_NAME, verdict_rows())


def _shipped() -> dict[str, ClaimVerdict]:
    """Return the verdicts of the run that ships, by claim."""
    tested = read(EXAMPLE)
    model = in_sentence(model_title(tested.spec.model.source))
    found = verdicts_on(tested.spec.claims, tested.evidence, tested.missing, model)
    return {one.claim.name: one for one in found}


def _reading(verdicts: Mapping[str, ClaimVerdict]) -> str:
    """Return what the numbers of `_numbers` are, once for all claims."""
    tests = max(one.excess.tests for one in verdicts.values() if one.excess is not None)
    every = [one.evidence.others for one in verdicts.values() if one.evidence is not None]
    models = max(len(each) for others in every for each in others.values())
    return (
        "Read a verdict below like this: the quantity against its null, their difference in the "
        f"claimed direction with its 95 % interval over {_COUNTED} (or over what is named), p {family_words(tests)}, "
        f"and the smallest difference from any of {models} models with other weights. Other lengths and samplers are "
        "left out."
    )


def _verdict(told: ClaimVerdict) -> str:
    """`holds. 0.41 against 0.13: +0.28 × uniform attention [+0.26, +0.29], p < 0.001. Random weights: …`."""
    if told.evidence is None or told.excess is None:
        return f"{told.verdict}. {told.needed}"
    evidence, excess, unit = told.evidence, told.excess, UNITS[told.claim.unit]
    value, null = (_bare(number_words(one.value, unit), unit) for one in (evidence.value, evidence.null))
    twin = f" in {evidence.twin}" if evidence.twin else ""
    over = "" if evidence.counted == _COUNTED else f" over {evidence.counted}"
    p = "" if excess.adjusted is None else f", {p_words(excess.adjusted)}"
    clauses = [
        f"{MOVEMENT_NULLS[name].labelled}: {_bare(interval_words(min(each, key=lambda one: one.value), unit), unit)}"
        for name, each in evidence.others.items()
    ]
    others = "; ".join(clauses)
    sentences = [
        f"{told.verdict}. {value} against {null}{twin}: {interval_words(excess, unit)}{over}{p}.",
        f"{others[:1].upper()}{others[1:]}." if others else "",
        told.needed,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _bare(words: str, unit: Unit) -> str:
    """Return a number without its unit."""
    return words.replace(f" {unit.name}", "")


def _paragraph(claim: Claim, verdicts: Mapping[str, ClaimVerdict]) -> str:
    sources = ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in claim.sources)
    side = "higher" if claim.direction > 0 else "lower"
    published = [f"Published for {one.model}: {one.value} ({one.source})." for one in claim.published]
    told = [
        f"### {claim.sentence.removesuffix('.')} (`{claim.name}`)",
        f"Quantity: the {claim.quantity}. Null: {claim.null}. Asked: {side} by "
        f"{UNITS[claim.unit].margin(claim.margin)} or more. Source: {sources}.",
        f"$${claim.formula}$$",
        " ".join((claim.not_meant, *published)),
        f"**Verdict:** {_verdict(verdicts[claim.name])}",
    ]
    return "\n\n".join(told)


def main() -> None:
    """Write the page."""
    PATH.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
