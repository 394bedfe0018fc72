"""Verdicts on claims as tables, figures and files, for the page and the command line alike. Imports no torch."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import pandas as pd

from analysis.claims.evidence import FEW_PROMPTS
from analysis.claims.verdicts import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, HOLDS_WEAKLY, UNITS, ClaimVerdict, number_words
from analysis.figures.export import Exhibit
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import Level, difference_row, interval_rows
from analysis.figures.style import REFERENCE, SERIES_COLORS, ends_of
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import Claim, ClaimsSpec
from analysis.statistics.clustered import Estimate, as_json
from analysis.statistics.decisions import POINTS, Unit, interval_words
from analysis.statistics.differences import Difference
from analysis.words import counted

FORMAT: Final = "sinkscope-claims-1"
NOISE = (
    "Intervals cover the choice of prompts, clustered by template, of items, or of calibration seeds and items. Other "
    "lengths and samplers are left out. Each p is the largest over the claim's null and every model with random or "
    "shuffled weights."
)


def sources_of(claim: Claim) -> str:
    """Return the papers that make a claim, as `arXiv 2510.15731, 2602.17664`."""
    return f"arXiv {', '.join(claim.sources)}"


def claims_table(verdicts: Sequence[ClaimVerdict]) -> pd.DataFrame:
    """Return one row per claim: the verdict, the claim and its source, the estimate with its interval, and its null.

    Numbers are per cent if the size asked about is in points, and else in its unit.
    """
    return pd.DataFrame([_row(one) for one in verdicts])


def _row(one: ClaimVerdict) -> dict[str, str]:
    claim, unit, evidence = one.claim, UNITS[one.claim.unit], one.evidence
    return {
        "verdict": one.verdict,
        "claim": claim.sentence,
        "estimate": "" if evidence is None else _with_interval(evidence.value, unit),
        "null": "" if evidence is None else _without_unit(number_words(evidence.null.value, unit), unit),
        "beyond the null": "" if one.excess is None else _without_unit(interval_words(one.excess, unit), unit),
        "asked about": unit.margin(claim.margin),
        "source": sources_of(claim),
        "published": "; ".join(f"{number.model}: {number.value}" for number in claim.published),
    }


def estimate_words(one: ClaimVerdict) -> str:
    """Return the estimate beside the null's, as short as a row needs; empty without evidence."""
    if one.evidence is None:
        return ""
    unit = UNITS[one.claim.unit]
    value, null = (number_words(each.value, unit) for each in (one.evidence.value, one.evidence.null))
    if unit is not POINTS:  # the figure's axis names the whole unit
        value, null = value.replace(unit.name, unit.name.split(" ")[0]), _without_unit(null, unit)
    return f"{value} (null {null})"


def _with_interval(value: Estimate, unit: Unit) -> str:
    per_cent = unit is POINTS
    ends = (f"{100 * end:.1f}" if per_cent else f"{end:.3g}" for end in (value.value, value.low, value.high))
    told, low, high = ends
    return f"{told}{' %' if per_cent else ''} [{low}, {high}]".replace("-", "−")


def untold(verdicts: Sequence[ClaimVerdict]) -> dict[str, dict[str, str]]:
    """Return the claims without evidence by what would decide them, each once: by a claim's sentence, what it adds."""
    grouped: dict[str, dict[str, str]] = {}
    for one in verdicts:
        if one.excess is None:
            shared = FEW_PROMPTS if one.needed.startswith(FEW_PROMPTS) else one.needed
            grouped.setdefault(shared, {})[one.claim.sentence] = one.needed.removeprefix(shared)
    told = {}
    for shared, claims in grouped.items():
        alike = len(set(claims.values())) == 1
        told[shared + next(iter(claims.values())) * alike] = dict.fromkeys(claims, "") if alike else claims
    return told


def _without_unit(words: str, unit: Unit) -> str:
    """Return a number as a column shows it, in the unit of the size asked about."""
    return words.replace(f" {unit.name}", "")


def claim_figure(one: ClaimVerdict) -> Exhibit | None:
    """Draw how far a claim's number lies beyond its null and every model with other weights; None without evidence.

    The line is no difference; in the band it is smaller than the smallest one asked about.
    """
    claim, evidence = one.claim, one.evidence
    if evidence is None or one.excess is None:
        return None
    unit = UNITS[claim.unit]
    rows: list[tuple[str, str, Difference]] = [("its null", "the claim's null", one.excess)]
    for null, each in evidence.others.items():
        title = MOVEMENT_NULLS[null].title
        rows += [(f"{title} {number}", title, excess) for number, excess in enumerate(each, start=1)]
    names = [name for name, *_ in rows]
    value, low, high = ends_of(excess for *_, excess in rows)
    drawn = [
        difference_row(name, excess, unit, group=group, filled=excess.low > 0 or excess.high < 0)
        for name, group, excess in rows
    ]
    figure = interval_rows(drawn, f"{unit.name} beyond it", even="", margin=unit.scale * claim.margin)
    table = pd.DataFrame({"beyond": names, "difference": value, "low": low, "high": high})
    return Exhibit(
        claim.sentence.removesuffix("."),
        f"{claim.quantity[0].upper()}{claim.quantity[1:]}, beyond {claim.null}. Positive: in the claimed direction. "
        "Filled: the 95 % interval lies on one side of 0. Grey: smaller than the smallest difference asked about.",
        figure,
        table,
        formula=f"$${claim.formula}$$",
        finding=one.sentence,
        name=f"claim-{claim.name}",
    )


def claims_figure(verdicts: Sequence[ClaimVerdict]) -> Exhibit | None:
    """Draw every claim that has evidence beside its null, each in the smallest difference that counts; None without
    one.
    """
    rows = [
        _claim_row(one, one.excess)
        for name in _COUNTED
        for one in verdicts
        if one.verdict == name and one.excess is not None
    ]
    if not rows:
        return None
    figure = interval_rows(
        rows,
        f"difference from the null ÷ smallest difference that counts (cut at ±{_FARTHEST:g})",
        levels=[Level("", 0.0), Level("smallest that counts", 1.0, "dot")],
        heading=("× smallest that counts",),
    )
    return Exhibit(
        summary_line(verdicts).removesuffix("."),
        f"Positive: in the claimed direction. {NOISE}",
        figure,
        claims_table(verdicts),
        name="claims-overview",
    )


def _claim_row(one: ClaimVerdict, excess: Difference) -> IntervalRow:
    """Return a claim's row. excess: its number beyond the null."""
    ends = [end / one.claim.margin for end in (excess.value, excess.low, excess.high)]
    told, beginning, end = map(_times, ends)
    value, low, high = (min(max(one, -_FARTHEST), _FARTHEST) for one in ends)
    return IntervalRow(
        one.claim.sentence.removesuffix("."),
        value,
        low,
        high,
        color=_COLORS[one.verdict],
        filled=one.verdict in (HOLDS, DOES_NOT_HOLD),
        hover=(estimate_words(one),),
        section=f"{one.verdict[0].upper()}{one.verdict[1:]}",
        beside=(told if told == beginning == end else f"{told} [{beginning}, {end}]",),
    )


def _times(value: float) -> str:
    return f"{value:z.{1 if abs(value) < _WHOLE else 0}f}".replace("-", "−")


_FARTHEST = 4.0  # × the smallest difference that counts; larger ones are drawn at the edge, their numbers beside it
_WHOLE = 10  # from which on a number is written without decimals
_COLORS = {
    HOLDS: SERIES_COLORS[2],
    HOLDS_WEAKLY: SERIES_COLORS[0],
    DOES_NOT_HOLD: SERIES_COLORS[4],
    CANNOT_TELL: REFERENCE,
}


def as_document(spec: ClaimsSpec, verdicts: Sequence[ClaimVerdict], fingerprint: str, command: str) -> dict[str, Any]:
    """Return all verdicts with their numbers, as JSON. fingerprint: of the model; empty if no job has it."""
    return {
        "format": FORMAT,
        "model": spec.model.source,
        "fingerprint": fingerprint,
        "command": command,
        "spec": spec.model_dump(mode="json"),
        "noise": NOISE,
        "claims": [_document(one) for one in verdicts],
    }


def _document(one: ClaimVerdict) -> dict[str, Any]:
    claim, evidence = one.claim, one.evidence
    numbers: dict[str, Any] = {}
    if evidence is not None and one.excess is not None:
        numbers = {
            "value": as_json(evidence.value),
            "null": as_json(evidence.null),
            "excess": as_json(one.excess),
            "other_weights": {null: [as_json(each) for each in others] for null, others in evidence.others.items()},
            "values": evidence.values,
            "nulls": evidence.nulls,
        }
    return {
        "name": claim.name,
        "claim": claim.sentence,
        "sources": claim.sources,
        "verdict": one.verdict,
        "model": one.model,
        "sentence": one.sentence,
        "needed": one.needed,
        "quantity": claim.quantity,
        "null_model": claim.null,
        "margin": claim.margin,
        "direction": claim.direction,
        "published": [asdict(number) for number in claim.published],
        **numbers,
    }


_COUNTED = {
    HOLDS: ("holds", "hold"),
    HOLDS_WEAKLY: ("holds weakly", "hold weakly"),
    DOES_NOT_HOLD: ("does not hold", "do not hold"),
    CANNOT_TELL: ("cannot be told", "cannot be told"),
}
"""Wording of each verdict for one claim, and for several."""


def verdict_counts(verdicts: Sequence[ClaimVerdict]) -> dict[str, str]:
    """Return how often each verdict was reached, as `2 hold`, by name; only those reached."""
    counts = {name: sum(one.verdict == name for one in verdicts) for name in _COUNTED}
    return {name: f"{count} {_COUNTED[name][count > 1]}" for name, count in counts.items() if count}


def summary_line(verdicts: Sequence[ClaimVerdict]) -> str:
    """Count the verdicts in a sentence: `6 of 7 claims tested on bundled: 2 hold, 4 do not hold.`"""
    if not verdicts:
        return ""
    tested = [one for one in verdicts if one.excess is not None]
    some = f"{len(tested)} of " if len(tested) < len(verdicts) else ""
    told = ", ".join(verdict_counts(tested).values())
    return f"{some}{counted(len(verdicts), 'claim')} tested on {verdicts[0].model}{told and ': '}{told}."
