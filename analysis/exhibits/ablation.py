"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import (
    COUNT,
    MASKED,
    MASS,
    MEASURES,
    UNIT,
    Change,
    answer_rows,
    as_change,
    by_position_of,
    changes_of,
    effect_of,
    levels_of,
    quarters_of,
    shown,
    timing_of,
)
from analysis.figures.causes import DifferenceRow, LevelRow, control_differences, levels_with_differences
from analysis.figures.dynamics import Series, curves
from analysis.figures.export import Exhibit
from analysis.figures.style import SINK, ends
from analysis.findings import finding_of
from analysis.findings.ablations import HIDDEN, THAN, TOKENS, Summary, is_less, side_of, too_light, without_sinks
from analysis.findings.effects import named
from analysis.findings.evaluations import flipped
from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE, QUARTERS, TARGETS
from analysis.statistics.decisions import NATS, POINTS, Unit, interval_words
from analysis.statistics.differences import Difference
from analysis.study.findings import Cause
from analysis.words import counted, listed, percent

SINKS = "sinks"
NUMBERS: Mapping[str, str] = {
    "share": "attention acted on",
    "count": "positions acted on",
    "undecided": "undecided among these",
} | {name: measure.axis for name, measure in MEASURES.items()}
"""Columns of the tables, by what rows hold of every prompt."""
NAT = (
    "Nats measure how far predictions move: by 0.04 nats, a token that the untouched model predicts is 4 % less likely "
    "(geometric mean)."
)
CONTROLS_TOLD = (
    "As many random tokens: a masked one for a masked sink, a written one for a written sink, no other sinks; where a "
    "step has no such token left, any token. Of equal attention: random tokens that draw as much as the sinks, within "
    f"{percent(MASS_TOLERANCE, 0)}. Other masked positions: no sinks, and as much attention, or all there are."
)
DETERMINISTIC = "Decoding is deterministic: hiding nothing changes 0 tokens."
RANDOM = "Decoding is random: what another seed alone changes was not measured."
_MINUS = {"sinks minus it": "value", "its low": "low", "its high": "high", "p_holm": "p_holm"}
METHOD = (
    "Every prompt is denoised untouched and under every condition. In each step an untouched forward of the same input "
    "chooses the positions, a second one is intervened on and predicts the tokens. Differences: target minus control, "
    "the mean over the prompts compared, with the 95 % interval over prompts, clustered by template or key; "
    "filled where it excludes 0 and p, Holm-corrected over all effects, is below 0.05 (Student's, and the sign flip's "
    "where it is larger and few prompts differ). Controls: "
    + "; ".join(f"{control.title}: {control.help}" for control in CONTROLS.values())
    + ". Prompts without a position to act on are left out."
)


_MINUS_CONTROL = "sinks minus control"
_HIDES = f"{HIDDEN}; means"
_ALIGNED = "Changes count for better or worse, in aligned texts."


def levels_beside(summary: Summary, name: str) -> Exhibit | None:
    """Draw the change without the sinks in a row of `MEASURES` beside that without each control; None without one."""
    measure, drawn = MEASURES[name], answer_rows(summary["effects"], name, (COUNT, MASKED, MASS))
    if not drawn or not measure.level_axis:
        return None
    unit, (first, last), prompts = TOKENS if measure.percent else NATS, summary["layers"], summary["prompts"]
    sides = [changes_of(summary["rows"], effect) for effect in drawn]
    hidden = {"sinks": sides[0][0]}
    for effect, (_, control) in zip(drawn, sides, strict=True):
        hidden[CONTROLS[effect["against"]].title] = control
    light = next(
        (too_light(*both) for effect, both in zip(drawn, sides, strict=True) if effect["against"] == MASKED), ""
    )
    lighter = f" They draw less attention, {light}: part of that difference may be due to it." if light else ""
    told = [_minus_control(unit), *(_difference(effect_of(as_change(effect)), unit) for effect in drawn)]
    tests = max(effect["tests"] for effect in drawn)
    of_text = name == "aligned"
    in_place = of_text and [by_position_of(summary["rows"], effect) for effect in drawn]
    hollow = "" if all(map(shown, drawn)) else ", hollow where not significantly different from the sinks"
    hiding = drawn[0]["intervention"] == "attention"
    begins = _HIDES if hiding else "Means"
    few = next((both for effect, both in zip(drawn, sides, strict=True) if effect["against"] == COUNT), None)
    return Exhibit(
        measure.change,
        f"{begins} over {prompts} prompts, 95 % intervals{hollow}.{f' {_ALIGNED}' if of_text else ''} Differences "
        f"are computed before rounding. Layers {first} to {last}; significant after Holm correction over "
        f"{counted(tests, 'test')}. {CONTROLS_TOLD}{lighter}{_stand_in(few)}{without_sinks(drawn[0])}"
        + (f" {_by_position(drawn, in_place)}" if in_place else "")
        + ("" if measure.percent else f" {NAT}"),
        levels_with_differences(
            _level_rows(hidden, [True, *map(shown, drawn)], told, unit, prompts),
            measure.level_axis,
            _unrelated(summary.get("unrelated")) if of_text else None,
        ),
        pd.DataFrame(
            [
                {"hidden": called, "tokens": level.tokens, "attention": level.share}
                | {"value": level.value, "low": level.low, "high": level.high, "n": level.n}
                | {name: effect.get(end) for name, end in _MINUS.items()}
                for (called, level), effect in zip(hidden.items(), [{}, *map(as_change, drawn)], strict=True)
            ]
        ),
        formula=METHOD,
        name=f"levels-{name}",
    )


def _level_rows(
    hidden: Mapping[str, Change], filled: Sequence[bool], told: Sequence[str], unit: Unit, prompts: int
) -> list[LevelRow]:
    """Return a row for what each kind of hidden tokens changes, the sinks first, then what changes most. filled, told:
    as of `LevelRow`. prompts: of most.
    """
    sinks, *others = [
        LevelRow(
            called,
            f"{level.tokens:.1f} tokens, {_masked(level.masked)}{percent(level.share, 0)} of attention"
            f"{'' if level.n in (prompts, 1) else f', {level.n} prompts'}",
            *ends(level, unit.scale),
            full,
            words,
        )
        for (called, level), full, words in zip(hidden.items(), filled, told, strict=True)
    ]
    return [sinks, *sorted(others, key=lambda row: -row.value)]


def _stand_in(sides: tuple[Change, Change] | None) -> str:
    """Say why fewer of as many random tokens are masked than of the sinks, where that is so. sides: of both."""
    if sides is None or not is_less(sides[1].masked, sides[0].masked):
        return ""
    sinks, others = (percent(side.masked, 0) for side in sides)
    return (
        " Where fewer other masked tokens are left than masked sinks, tokens already written stand in: "
        f"{others} of these random tokens are masked, {sinks} of the sinks."
    )


def _unrelated(agreement: float | None) -> tuple[str, float] | None:
    """Return the level of changed tokens, of 100, that two texts of different prompts differ in, with its name."""
    return None if agreement is None else ("two unrelated texts", 100 * (1 - agreement))


def _by_position(drawn: Sequence[Mapping[str, Any]], levels: Sequence[tuple[float, float]]) -> str:
    """Say how many tokens differ at their position, where texts are not aligned."""
    others = [f"{THAN[row['against']]} {100 * (1 - other):.0f}" for row, (_, other) in zip(drawn, levels, strict=True)]
    return (
        "Aligned: the longest common subsequence. By position, where one token more shifts all that follow: sinks "
        f"{100 * (1 - levels[0][0]):.0f} of 100, {listed(others)}."
    )


def _minus_control(unit: Unit) -> str:
    return f"{_MINUS_CONTROL}, {'of 100' if unit is TOKENS else unit.name}"


def _masked(share: float) -> str:
    """Return which share of the positions acted on is masked; empty where none is, or that is not known."""
    return f"{percent(share, 0)} masked, " if share > 0 else ""


def _difference(change: Difference, unit: Unit) -> str:
    return interval_words(change, unit).replace(f" {unit.name}", "")


def answer_of_study(causes: Sequence[Cause]) -> tuple[str, str, str, list[tuple[str, ...]], Exhibit] | None:
    """Say how much of the text changes with the sinks of one model and with each control hidden, as a study found;
    where predictions say otherwise; what that leaves open; with the rows of `findings.ablations.shifts`; and draw the
    first. None where the study did not compare the text.
    """
    held = {cause.control: cause for cause in causes if cause.measure == "aligned"}
    drawn = {control: held[control] for control in (COUNT, MASKED, MASS) if control in held}
    if not drawn:
        return None
    measure, first = MEASURES["aligned"], next(iter(drawn.values()))
    changes = {control: flipped(cause.effect) for control, cause in drawn.items()}  # of agreement, as ones of changes
    text = {control: side_of(change) for control, change in changes.items()}
    hidden = {SINKS: first.sides[0]} | {CONTROLS[control].title: cause.sides[1] for control, cause in drawn.items()}
    told = [_minus_control(TOKENS), *(_difference(change, TOKENS) for change in changes.values())]
    shifts = {cause.control: cause for cause in causes if cause.measure == "divergence" and cause.control != UNIT}
    sinks = next((cause.sides[0].value for cause in shifts.values()), 0.0)
    predictions = {of: (cause.sides[1].value, cause.effect) for of, cause in shifts.items()}
    timings = {of: cause.timing for of, cause in shifts.items() if cause.timing is not None}
    table = [
        {"hidden": name, "attention": level.share, "value": level.value, _MINUS_CONTROL: words}
        for (name, level), words in zip(hidden.items(), told, strict=True)
    ]
    return (
        finding_of(
            "text with each",
            first.sides[0].value,
            {control: (cause.sides[1].value, changes[control]) for control, cause in drawn.items()},
            unrelated=None if first.unrelated is None else 1 - first.unrelated,
        ),
        finding_of("predictions otherwise", text, sinks, predictions, timings),
        finding_of(
            "caveats of each",
            {of: tuple((side.share, side.masked) for side in cause.sides) for of, cause in drawn.items()},
        ),
        finding_of("shifts with each", sinks, predictions, timings),
        Exhibit(
            measure.change,
            f"{_HIDES} over {first.effect.n} prompts, 95 % intervals. {_ALIGNED} {CONTROLS_TOLD}",
            levels_with_differences(
                _level_rows(hidden, [True, *(side != 0 for side in text.values())], told, TOKENS, first.effect.n),
                measure.level_axis,
                _unrelated(first.unrelated),
            ),
            pd.DataFrame(table),
            formula=METHOD,
            name="levels-study",
        ),
    )


def timing(summary: Summary) -> Exhibit | None:
    """Draw how far predictions shift in each quarter of the steps with the sinks and with each control hidden; None
    where that was not measured.
    """
    compared = answer_rows(summary["effects"], "divergence", (COUNT, MASKED, MASS))
    drawn = [effect for effect in compared if timing_of(effect) is not None]
    if not drawn:
        return None
    curves_of = {SINKS: quarters_of(summary["rows"], drawn[0])[0]}
    curves_of |= {CONTROLS[row["against"]].title: quarters_of(summary["rows"], row)[1] for row in drawn}
    quarters = np.arange(1, len(QUARTERS) + 1)
    spans = {name: np.array([[at.value, at.low, at.high] for at in found]) for name, found in curves_of.items()}
    return Exhibit(
        "When predictions shift",
        f"Means over {summary['prompts']} prompts with 95 % intervals, in each quarter of the steps. {NAT}",
        curves(
            [
                Series(
                    name,
                    quarters,
                    of[None, :, 0],
                    name != SINKS,
                    of[:, 1],
                    of[:, 2],
                    color="" if name != SINKS else SINK,
                )
                for name, of in spans.items()
            ],
            "quarter of the steps",
            MEASURES["divergence"].level_axis,
        ),
        pd.DataFrame(
            [
                {"hidden": name, "quarter": quarter, "value": value, "low": low, "high": high}
                for name, of in spans.items()
                for quarter, (value, low, high) in zip(quarters.tolist(), of.tolist(), strict=True)
            ]
        ),
        formula=METHOD,
        name="timing",
    )


def effects_of(summary: Summary, name: str) -> Exhibit | None:
    """Show target minus control in a row of `MEASURES`, one dot each with its interval; None if there is none."""
    measure = MEASURES[name]
    drawn = [effect for effect in summary["effects"] if effect["measure"] == name and effect["low"] is not None]
    if not drawn:
        return None
    first, last = summary["layers"]
    levels = [levels_of(summary["rows"], effect) for effect in drawn]
    tested = [shown(effect) for effect in drawn]
    changes = [as_change(effect) for effect in drawn]
    differences = map(effect_of, changes)
    unit = POINTS if measure.percent else NATS
    of = "of 100 tokens" if measure.falls else unit.name
    tests = max(effect["tests"] for effect in drawn)
    return Exhibit(
        measure.change or measure.title,
        f"Target minus control, {of}, with its 95 % interval; right of the line the target changes more. Filled: "
        f"significant after Holm correction over {counted(tests, 'test')}. {summary['prompts']} prompts, "
        f"layers {first} to {last}.{without_sinks(drawn[0])}"
        + (" The table holds agreement, which is negative where more changes." if measure.falls else "")
        + ("" if measure.percent else f" {NAT}"),
        control_differences(
            [
                DifferenceRow(
                    named(effect),
                    INTERVENTIONS[effect["intervention"]].title,
                    *ends(change, unit.scale),
                    flag,
                    _difference(change, unit),
                    f"{measure.axis}: {at.target:.3g}, control {at.control:.3g}",
                )
                for effect, change, at, flag in zip(drawn, differences, levels, tested, strict=True)
            ],
            measure.change_axis or f"{measure.axis}, minus the control's (points)",
        ),
        pd.DataFrame(
            [
                {"positions": named(effect), "done to them": INTERVENTIONS[effect["intervention"]].title}
                | {end: effect[end] for end in ("value", "low", "high", "n", "clusters", "p_holm")}
                | {"level, target": at.target, "level, control": at.control}
                | dict(zip(("attention, target", "attention, control"), effect["shares"], strict=True))
                | {"prompts without sinks": effect["left_out"], "prompts without control": effect["unmatched"]}
                | ({"by position": effect["by_position"]} if "by_position" in effect else {})
                for effect, at in zip(drawn, levels, strict=True)
            ]
        ),
        formula=METHOD,
        finding=finding_of("sides of effects", changes),
        name=f"effects-{name}",
    )


def means(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per intervention, target and control: means over the prompts."""
    return pd.DataFrame(
        [_condition(row) | {title: float(np.mean(row[name])) for name, title in NUMBERS.items()} for row in rows]
    )


def single_prompts(rows: Sequence[Mapping[str, Any]], prompts: Sequence[str]) -> pd.DataFrame:
    """Return the same for each single prompt. prompts: their texts, in the order of the rows' lists."""
    return pd.DataFrame(
        [
            {"prompt": prompt} | _condition(row) | {title: row[name][index] for name, title in NUMBERS.items()}
            for row in rows
            for index, prompt in enumerate(prompts[: len(row["count"])])
        ]
    )


def _condition(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "positions": TARGETS[row["target"]].title,
        "which": f"control: {CONTROLS[row['control']].title}" if row["control"] else "target",
        "done to them": INTERVENTIONS[row["intervention"]].title,
    }
