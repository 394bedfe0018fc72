"""Writes the paragraphs of docs/claims.md from the table of claims: `python -m docs.claims`."""

from pathlib import Path

from analysis.claims.verdicts import UNITS, VERDICTS
from analysis.specs import CLAIMS, Claim
from docs.marks import replaced

PATH = Path(__file__).with_name("claims.md")
CLAIMS_NAME, VERDICTS_NAME = "claims", "verdicts"


def paragraphs() -> str:
    """Return one section per claim: in plain words, with its source, null, effect size, formula and limits."""
    return "\n\n".join(_paragraph(claim) for claim in CLAIMS.values())


def verdict_rows() -> str:
    """Return the rules of the verdicts, in the order in which they are applied."""
    rows = [f"| *{rule.name}* | {rule.help} |" for rule in VERDICTS.values()]
    return "\n".join(["| verdict | when |", "| --- | --- |", *rows])


def document() -> str:
    """The whole page with its written parts renewed."""
    text = PATH.read_text(encoding="utf-8")
    return replaced(replaced(text, CLAIMS_NAME, paragraphs()), VERDICTS_NAME, verdict_rows())


def _paragraph(claim: Claim) -> str:
    sources = ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in claim.sources)
    side = "higher" if claim.direction > 0 else "lower"
    published = [f"Published for {one.model}: {one.value} ({one.source})." for one in claim.published]
    told = [
        f"### {claim.sentence.removesuffix('.')} (`{claim.name}`)",
        f"Quantity: the {claim.quantity}. Null: {claim.null}. Asked: {side} by "
        f"{UNITS[claim.unit].margin(claim.margin)} or more. Source: {sources}.",
        f"$${claim.formula}$$",
        " ".join((claim.not_meant, *published)),
    ]
    return "\n\n".join(told)


def main() -> None:
    """Write the page."""
    PATH.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
