"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
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
    changes_of,
    effect_of,
    levels_of,
    means_of,
    quarters_of,
    shown,
    timing_of,
    values_of,
)
from analysis.figures.dynamics import Series, curves
from analysis.figures.export import Exhibit
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import Level, difference_row, interval_rows
from analysis.figures.style import REFERENCE, SINK, ends
from analysis.findings import finding_of
from analysis.findings.ablations import (
    HIDDEN,
    PERPLEXITY,
    THAN,
    TOKENS,
    Summary,
    could_show,
    ends_beside,
    ends_of,
    is_less,
    lengths,
    perplexity_change,
    side_of,
    too_light,
    without_sinks,
)
from analysis.findings.effects import named
from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE, QUARTERS, TARGETS
from analysis.statistics.decisions import NATS, POINTS, Unit, interval_words
from analysis.statistics.differences import Difference, flipped
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
_UP_TO_END = "each text up to its end"  # what perplexity is of
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


_HOLLOW = " (hollow: not significantly apart from the sinks)"
_OF_STATE = "As many random tokens match the masking of the sinks where enough masked tokens remain"
_HELD = "Masking and attention are those of the text written with them hidden, not of untouched texts."
_MINUS_CONTROL = "sinks minus control"
_TOLD = {"nll": PERPLEXITY, "aligned": "Changes count for better or worse, in aligned texts.", "divergence": NAT}
"""What the levels of each measure are."""


def levels_beside(summary: Summary, name: str) -> Exhibit | None:
    """Draw the change without the sinks in a row of `MEASURES` beside that without each control; None without one."""
    measure, drawn = MEASURES[name], answer_rows(summary["effects"], name, (COUNT, MASKED, MASS))
    if not drawn or not measure.level_axis:
        return None
    (first, last), prompts = summary["layers"], summary["prompts"]
    sides = [changes_of(summary["rows"], effect) for effect in drawn]
    hidden = {SINKS: sides[0][0]}
    for effect, (_, control) in zip(drawn, sides, strict=True):
        hidden[CONTROLS[effect["against"]].title] = control
    light = next(
        (too_light(*both) for effect, both in zip(drawn, sides, strict=True) if effect["against"] == MASKED), ""
    )
    lighter = f" They draw less attention, {light}: part of that difference may be due to it." if light else ""
    told = [_difference(effect_of(as_change(effect)), name) for effect in drawn]
    tests = max(effect["tests"] for effect in drawn)
    in_place = name == "aligned" and [means_of(summary["rows"], effect, "agreement") for effect in drawn]
    hollow = "" if all(map(shown, drawn)) else _HOLLOW
    over = f"{prompts} prompts, {_UP_TO_END}" if name == "nll" else f"means over {prompts} prompts"
    begins = f"{HIDDEN}; {over}" if drawn[0]["intervention"] == "attention" else f"{over[0].upper()}{over[1:]}"
    few = next((both for effect, both in zip(drawn, sides, strict=True) if effect["against"] == COUNT), None)
    reference = _unrelated(summary.get("unrelated")) if name == "aligned" else []
    better, lasting = "", tuple[str, ...]()
    if name == "nll":
        better = "; lower is better"
        reference = _nothing_hidden(means_of(summary["rows"], drawn[0], "nll_before")[0])
        lasting = ends_beside(ends_of(summary["rows"], drawn[0]), lengths(summary))
    return Exhibit(
        measure.change,
        f"{begins}, 95 % intervals{hollow}{better}. {_OF_STATE}. {_TOLD[name]} {_HELD} "
        f"Differences are computed before rounding. Layers {first} to {last}; significant after Holm correction over "
        f"{counted(tests, 'test')}. {CONTROLS_TOLD}{lighter}{_stand_in(few)}{without_sinks(drawn[0])}"
        + (could_show({row["against"]: effect_of(row) for row in drawn}) if name == "nll" else "")
        + (f" {_by_position(drawn, in_place)}" if in_place else ""),
        interval_rows(
            _level_rows(hidden, [True, *map(shown, drawn)], told, name, prompts, lasting),
            measure.level_axis,
            from_zero=True,
            levels=reference,
            heading=("value", "\n".join(wrap(_heading(name), _ONE_LINE))),
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
    hidden: Mapping[str, Change],
    filled: Sequence[bool],
    told: Sequence[str],
    name: str,
    prompts: int,
    lasting: Sequence[str] = (),
) -> list[IntervalRow]:
    """Return a row for what each kind of hidden tokens changes, the sinks first, then what changes most. filled:
    differs significantly from the sinks. told: by how much the sinks differ from it; nothing of themselves. name: of
    the measure. prompts: of most. lasting: where texts end with each kind hidden, if told.
    """
    ends: list[tuple[str, ...]] = [(line,) for line in lasting] or [()] * len(hidden)
    sinks, *others = [
        IntervalRow(
            called,
            *(value := _as_read(level, name)),
            color=REFERENCE if words else SINK,
            filled=full,
            held=(
                f"{level.tokens:.1f} tokens, {_masked(level.masked)}{percent(level.share, 0)} of attention"
                f"{'' if level.n in (prompts, 1) else f', {level.n} prompts'}",
                *lasts,
            ),
            beside=(_level(value[0]), _in_lines(words) + "\nnot significant" * bool(words and not full)),
        )
        for (called, level), full, words, lasts in zip(hidden.items(), filled, ("", *told), ends, strict=True)
    ]
    return [sinks, *sorted(others, key=lambda row: -row.value)]


def _level(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:#.2g}"


def _in_lines(difference: str) -> str:
    """Return a difference in one line, or a long one in two: below its estimate its interval."""
    return difference.replace(" [", "\n[") if len(difference) > _ONE_LINE else difference


_ONE_LINE = 16  # characters


def _as_read(level: Change, name: str) -> tuple[float, float, float]:
    """Return a level and the ends of its interval as they are drawn: likelihoods as perplexity."""
    if name == "nll":
        return float(np.exp(level.value)), float(np.exp(level.low)), float(np.exp(level.high))
    return ends(level, _unit(name).scale)


def _unit(name: str) -> Unit:
    return TOKENS if MEASURES[name].percent else NATS


def _nothing_hidden(nats: float) -> list[Level]:
    """Return the level of perplexity with nothing hidden."""
    value = float(np.exp(nats))
    return [Level(f"nothing hidden: {_level(value)}", value)]


def _stand_in(sides: tuple[Change, Change] | None) -> str:
    """Say why fewer of as many random tokens are masked than of the sinks, where that is so. sides: of both."""
    if sides is None or not is_less(sides[1].masked, sides[0].masked):
        return ""
    sinks, others = (percent(side.masked, 0) for side in sides)
    return (
        " Where fewer other masked tokens are left than masked sinks, tokens already written stand in: "
        f"{others} of these random tokens are masked, {sinks} of the sinks."
    )


def _unrelated(agreement: float | None) -> list[Level]:
    """Return the level of changed tokens, of 100, that two texts of different prompts differ in, where it is known."""
    changed = 100 * (1 - (agreement or 0.0))
    return [] if agreement is None else [Level(f"two unrelated texts: {_level(changed)}", changed)]


def _by_position(drawn: Sequence[Mapping[str, Any]], levels: Sequence[tuple[float, float]]) -> str:
    """Say how many tokens differ at their position, where texts are not aligned."""
    others = [f"{THAN[row['against']]} {100 * (1 - other):.0f}" for row, (_, other) in zip(drawn, levels, strict=True)]
    return (
        "Aligned: the longest common subsequence. By position, where one token more shifts all that follow: sinks "
        f"{100 * (1 - levels[0][0]):.0f} of 100, {listed(others)}."
    )


def _heading(name: str) -> str:
    """Return the heading of the differences of a measure."""
    if name == "nll":
        return "sinks against control"
    return f"{_MINUS_CONTROL}, {'of 100' if _unit(name) is TOKENS else NATS.name}"


def _masked(share: float) -> str:
    """Return which share of the positions acted on is masked; empty where none is, or that is not known."""
    return f"{percent(share, 0)} masked, " if share > 0 else ""


def _difference(change: Difference, name: str) -> str:
    """Return a difference in a measure beside the axis, without its unit."""
    if name == "nll":
        return perplexity_change(change)
    return interval_words(change, _unit(name)).replace(f" {_unit(name).name}", "")


@dataclass(frozen=True)
class StudyAnswer:
    """A study's answer on hiding the sinks of one model: the headline, the sentences beneath it, how many tokens
    change, the rows of `findings.shifts.shifts`, and the figure of perplexity.
    """

    told: str
    beneath: str
    changed: str
    shifts: list[tuple[str, ...]]
    figure: Exhibit


def answer_of_study(causes: Sequence[Cause]) -> StudyAnswer | None:
    """Say what hiding the sinks of one model does to perplexity beside hiding each control, as a study found, and draw
    it. None where the study did not measure that.
    """
    by_measure = {
        name: {cause.control: cause for cause in causes if cause.measure == name and cause.control != UNIT}
        for name in ("nll", "aligned", "divergence")
    }
    drawn, first = by_measure["nll"], next(iter(by_measure["nll"].values()), None)
    if first is None or first.rise is None:
        return None
    levels = {
        name: {of: (cause.sides[1].value, as_change_of(cause)) for of, cause in those.items()}
        for name, those in by_measure.items()
    }
    sinks = {name: next((one.sides[0].value for one in of.values()), 0.0) for name, of in by_measure.items()}
    timings = {of: cause.timing for of, cause in by_measure["divergence"].items() if cause.timing is not None}
    hidden = {SINKS: first.sides[0]} | {CONTROLS[control].title: cause.sides[1] for control, cause in drawn.items()}
    differences = [cause.effect for cause in drawn.values()]
    told = [_difference(effect, "nll") for effect in differences]
    hollow = "" if all(map(side_of, differences)) else _HOLLOW
    table = [
        {"hidden": name, "attention": level.share, "nats per token": level.value, _heading("nll"): words}
        for (name, level), words in zip(hidden.items(), ("", *told), strict=True)
    ]
    unrelated = next((cause.unrelated for cause in by_measure["aligned"].values()), None)
    begins = {of: cause.begins for of, cause in drawn.items() if cause.begins is not None}
    headline, *beneath = finding_of("perplexity with each", first.rise, sinks["nll"], levels["nll"], begins)
    caveats = finding_of(
        "caveats of each",
        {of: tuple((side.share, side.masked) for side in cause.sides) for of, cause in drawn.items()},
        {of: cause.repeated for of, cause in drawn.items() if cause.repeated is not None},
        (first.tokens, first.tokens_before),
        lengths_of(drawn),
    )
    return StudyAnswer(
        headline,
        " ".join(filter(None, (*beneath, caveats))),
        finding_of("tokens changed", sinks["aligned"], levels["aligned"], unrelated) if levels["aligned"] else "",
        finding_of("shifts with each", sinks["divergence"], levels["divergence"], timings),
        Exhibit(
            MEASURES["nll"].change,
            f"{HIDDEN}; {first.effect.n} prompts, {_UP_TO_END}, 95 % intervals{hollow}. {PERPLEXITY} {CONTROLS_TOLD}"
            + could_show({of: cause.effect for of, cause in drawn.items()}),
            interval_rows(
                _level_rows(
                    hidden,
                    [True, *(side_of(effect) != 0 for effect in differences)],
                    told,
                    "nll",
                    first.effect.n,
                    ends_beside((first.tokens, first.tokens_before), lengths_of(drawn)),
                ),
                MEASURES["nll"].level_axis,
                from_zero=True,
                levels=_nothing_hidden(first.sides[0].value - first.rise.value),
                heading=("value", "\n".join(wrap(_heading("nll"), _ONE_LINE))),
            ),
            pd.DataFrame(table),
            formula=METHOD,
            name="levels-study",
        ),
    )


def lengths_of(causes: Mapping[str, Cause]) -> dict[str, tuple[float, Difference]]:
    """Return how many tokens texts have up to where they end with the tokens of each control hidden, and by how many
    they have more with the sinks hidden. causes: on perplexity, by control."""
    return {of: (one.tokens - one.longer.value, one.longer) for of, one in causes.items() if one.longer is not None}


def as_change_of(cause: Cause) -> Difference:
    """Return the effect of a cause with its sign turned where its measure falls as more changes."""
    return flipped(cause.effect) if MEASURES[cause.measure].falls else cause.effect


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
        interval_rows(
            [
                difference_row(
                    named(effect),
                    change,
                    unit,
                    group=INTERVENTIONS[effect["intervention"]].title,
                    filled=flag,
                    hover=(f"{measure.axis}: {at.target:.3g}, control {at.control:.3g}",),
                )
                for effect, change, at, flag in zip(drawn, differences, levels, tested, strict=True)
            ],
            measure.change_axis or f"{measure.axis}, minus the control's (points)",
            even="same as control",
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
        [
            _condition(row) | {title: float(values_of(row, name).mean()) for name, title in NUMBERS.items()}
            for row in rows
        ]
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
