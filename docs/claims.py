"""Writes the paragraphs of docs/claims.md from the table of claims: `python -m docs.claims`."""

from collections.abc import Mapping
from pathlib import Path

from analysis.claims.shipped import EXAMPLE, read
from analysis.claims.verdicts import UNITS, VERDICTS, ClaimVerdict, verdicts_on
from analysis.specs import CLAIMS, Claim
from analysis.words import in_sentence, model_title
from docs.marks import replaced

PATH = Path(__file__).with_name("claims.md")
CLAIMS_NAME, VERDICTS_NAME = "claims", "verdicts"


def paragraphs() -> str:
    """Return one section per claim: its sentence, source, null, effect size, formula, limits and shipped verdict."""
    verdicts = _shipped()
    return "\n\n".join(_paragraph(claim, verdicts) for claim in CLAIMS.values())


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
        f"**On the model that ships:** {verdicts[claim.name].sentence}",
    ]
    return "\n\n".join(told)


def main() -> None:
    """Write the page."""
    PATH.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
