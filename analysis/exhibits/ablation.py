"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import MEASURES, control_of, shown
from analysis.evaluation.ablation_levels import Levels, answer, answer_rows, difference_words, levels_of
from analysis.figures.causes import LevelRow, effect_levels
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.findings.ablations import contrast_sentence, disagreements, no_sinks, sentence, text_answer, without_sinks
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS
from analysis.statistics.decisions import NATS, POINTS
from analysis.words import listed, percent

Summary = Mapping[str, Any]
"""What an `ablate_set` job says when it is done, or of the prompts that are done."""

NUMBERS: Mapping[str, str] = {"share": "attention acted on", "count": "positions acted on"} | {
    name: measure.axis for name, measure in MEASURES.items()
}
"""Columns of the tables, by what rows hold of every prompt."""
_FEW = 4  # effects of which each is named
METHOD = (
    "Every prompt is denoised untouched and under every condition. In each step an untouched forward of the same input "
    "chooses the positions, a second one is intervened on and predicts the tokens. Marks: means over the prompts "
    "compared. Differences: target minus control, with the 95 % interval over prompts, clustered by template or key; "
    "filled where it excludes 0 and p, Holm-corrected over all effects, is below 0.05 (Student's, and the sign flip's "
    "where it is larger and few prompts differ). Controls: "
    + "; ".join(f"{control.title}: {control.help}" for control in CONTROLS.values())
    + ". Prompts without a position to act on are left out."
)


def effects_of(summary: Summary, name: str, answering: bool = False) -> Exhibit | None:
    """Target beside control in a row of `MEASURES`, with the interval of their difference; None where there is none.

    answering: the effects of the answer alone, those of the sinks under the first intervention.
    """
    measure = MEASURES[name]
    family = [effect for effect in summary["effects"] if effect["measure"] == name and effect["low"] is not None]
    drawn = answer_rows(family, name) if answering else family
    if not drawn:
        return None
    first, last = summary["layers"]
    levels = [levels_of(summary["rows"], effect) for effect in drawn]
    tested = [shown(effect) for effect in drawn]
    alone = len({(effect["target"], effect["intervention"]) for effect in drawn}) == 1 and drawn[0]["target"] == "sinks"
    return Exhibit(
        measure.title,
        f"Bold: target minus control, in {'points' if measure.percent else 'nats'}, with its 95 % interval, which is "
        f"drawn at the target. Filled: significant after Holm correction over all {len(family)}. "
        f"{summary['prompts']} prompts, layers {first} to {last}."
        f"{without_sinks(drawn[0])}",
        effect_levels(
            [
                LevelRow(
                    _called(effect, alone),
                    "sinks" if alone else INTERVENTIONS[effect["intervention"]].title,
                    at.target,
                    at.control,
                    effect["low"],
                    effect["high"],
                    flag,
                    difference_words(effect, name).replace(f" {POINTS.name if measure.percent else NATS.name}", ""),
                )
                for effect, at, flag in zip(drawn, levels, tested, strict=True)
            ],
            measure.axis,
            measure.untouched if isinstance(measure.untouched, float) else None,
            measure.percent,
        ),
        pd.DataFrame(
            [
                {"positions": _named(effect), "done to them": INTERVENTIONS[effect["intervention"]].title}
                | {end: effect[end] for end in ("value", "low", "high", "n", "clusters", "p_holm")}
                | {"level, target": at.target, "level, control": at.control}
                | dict(zip(("attention, target", "attention, control"), effect["shares"], strict=True))
                | {"prompts without sinks": effect.get("left_out"), "prompts without control": effect.get("unmatched")}
                | ({"by position": effect["by_position"]} if "by_position" in effect else {})
                for effect, at in zip(drawn, levels, strict=True)
            ]
        ),
        formula=METHOD,
        finding=_level_finding(levels[0], name) if alone else _finding(drawn, tested, name),
        name=f"effects-{name}",
    )


def _level_finding(levels: Levels, name: str) -> str:
    """Say what the untouched model loses without its sinks, and how much attention they drew."""
    measure = MEASURES[name]
    drew = f"which drew {percent(levels.share, 0)} of the attention"
    if name == "divergence":
        return f"Without its sinks, {drew}, the model's predictions change by {levels.target:.2g} nats."
    if measure.untouched == 1.0:
        return f"Without its sinks, {drew}, the model keeps {percent(levels.target, 0)} of its text."
    return f"{measure.title} without the sinks, {drew}: {levels.target:.3g}."


def _finding(drawn: Sequence[Mapping[str, Any]], tested: Sequence[bool], name: str) -> str:
    """Say on which side of its control each effect lies; of many effects how many are significant, and the largest."""
    measure, names = MEASURES[name], [_named(effect) for effect in drawn]
    if len(drawn) > _FEW:
        values = np.array([[effect[end] for end in ("value", "low", "high")] for effect in drawn])
        done = [INTERVENTIONS[effect["intervention"]].title for effect in drawn]
        return finding_of(
            "differences",
            [f"{called} ({what})" for called, what in zip(names, done, strict=True)],
            (100 if measure.percent else 1) * values,
            list(tested),
            "points" if measure.percent else "",
            "effect",
        )
    sides: dict[str, list[str]] = {}
    for effect, flag, called in zip(drawn, tested, names, strict=True):
        side = "Not significant" if not flag else "More" if effect["value"] > 0 else "Less"
        sides.setdefault(side, []).append(called.removeprefix(f"{TARGETS['sinks'].title}, "))
    return " ".join(f"{side}: {listed(called)}." for side, called in sides.items())


def in_words(summary: Summary) -> tuple[list[str], list[str]]:
    """Say what the ablation shows beside its controls, a sentence each: the answer, and the rest."""
    effects = summary["effects"]
    none = no_sinks(summary["rows"])
    first = [none] if none else [answer(effects), text_answer(effects)]
    others = [*disagreements(effects), sentence(effects), *(contrast_sentence(effects, name) for name in INTERVENTIONS)]
    return list(filter(None, first)), list(filter(None, others))


def means(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for every intervention, target and control: means over the prompts."""
    return pd.DataFrame(
        [
            _condition(row) | {title: float(np.mean(row[name])) for name, title in NUMBERS.items() if row.get(name)}
            for row in rows
        ]
    )


def single_prompts(rows: Sequence[Mapping[str, Any]], prompts: Sequence[str]) -> pd.DataFrame:
    """The same for every prompt by itself. prompts: their texts, in the order of the rows' lists."""
    return pd.DataFrame(
        [
            {"prompt": prompt}
            | _condition(row)
            | {title: row[name][index] for name, title in NUMBERS.items() if name in row}
            for row in rows
            for index, prompt in enumerate(prompts[: len(row["count"])])
        ]
    )


def _condition(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "positions": TARGETS[row["target"]].title,
        "which": f"control: {CONTROLS[control_of(row)].title}" if control_of(row) else "target",
        "done to them": INTERVENTIONS[row["intervention"]].title,
    }


def _called(effect: Mapping[str, Any], alone: bool) -> str:
    """Return the name of a comparison, without its target where there is no other."""
    against = effect["against"]
    return CONTROLS[against].title if alone and against in CONTROLS else _named(effect)


def _named(effect: Mapping[str, Any]) -> str:
    target, against = TARGETS[effect["target"]].title, effect["against"]
    if against in CONTROLS and not CONTROLS[against].drawn:
        return f"{target}, {CONTROLS[against].title}"
    return f"{target}, against {CONTROLS[against].title if against in CONTROLS else TARGETS[against].title}"
