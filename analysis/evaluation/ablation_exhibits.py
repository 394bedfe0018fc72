"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import (
    MEASURES,
    contrast_sentence,
    control_of,
    disagreements,
    no_sinks,
    sentence,
    shown,
    without_sinks,
)
from analysis.figures.causes import effect_intervals
from analysis.readings import reading
from analysis.recording.set_exhibits import Formulas, Shown
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS
from analysis.words import listed

Summary = Mapping[str, Any]
"""What an `ablate_set` job says when it is done, or of the prompts that are done."""

NUMBERS: Mapping[str, str] = {"share": "attention acted on", "count": "positions acted on"} | {
    name: measure.axis for name, measure in MEASURES.items()
}
"""Columns of the tables, by what rows hold of every prompt."""
_FEW = 4  # effects of which each is named
METHOD = Formulas(
    "Every prompt is denoised untouched and under every condition. In each step an untouched forward of the same input "
    "chooses the positions, a second one is intervened on and predicts the tokens. Points: the mean over prompts of "
    "target minus control, with its 95 % interval over prompts, clustered by template or key; filled where the "
    "interval excludes 0 and p, Holm-corrected over all effects drawn, is below 0.05 (Student's, and the sign flip's "
    "where it is larger and few prompts differ). Controls: "
    + "; ".join(f"{control.title}: {control.help}" for control in CONTROLS.values())
    + ". Prompts without a position to act on are left out."
)


def effects_of(summary: Summary, name: str) -> Shown | None:
    """Target minus control in a row of `MEASURES`, a dot each with its interval; None where there is no interval."""
    measure = MEASURES[name]
    drawn = [effect for effect in summary["effects"] if effect["measure"] == name and effect["low"] is not None]
    if not drawn:
        return None
    first, last = summary["layers"]
    values, low, high = (np.array([effect[end] for effect in drawn]) for end in ("value", "low", "high"))
    tested = [shown(effect) for effect in drawn]
    return Shown(
        f"effects-{name}",
        f"{measure.title}: target minus control",
        f"Right of the line: more than the control. Filled: significant after Holm correction over all {len(drawn)}. "
        f"{summary['prompts']} prompts, layers {first} to {last}.{without_sinks(drawn[0])}",
        METHOD,
        effect_intervals(
            [_named(effect) for effect in drawn],
            [INTERVENTIONS[effect["intervention"]].title for effect in drawn],
            values,
            low,
            high,
            tested,
            measure.axis,
            measure.percent,
        ),
        pd.DataFrame(
            [
                {"positions": _named(effect), "done to them": INTERVENTIONS[effect["intervention"]].title}
                | {end: effect[end] for end in ("value", "low", "high", "n", "clusters", "p_holm")}
                | dict(zip(("attention, target", "attention, control"), effect["shares"], strict=True))
                | {"prompts without sinks": effect.get("left_out"), "prompts without control": effect.get("unmatched")}
                | ({"by position": effect["by_position"]} if "by_position" in effect else {})
                for effect in drawn
            ]
        ),
        _finding(drawn, tested, name),
    )


def _finding(drawn: Sequence[Mapping[str, Any]], tested: Sequence[bool], name: str) -> str:
    """Say on which side of its control each effect lies; of many effects how many are significant, and the largest."""
    measure, names = MEASURES[name], [_named(effect) for effect in drawn]
    if len(drawn) > _FEW:
        values = np.array([[effect[end] for end in ("value", "low", "high")] for effect in drawn])
        done = [INTERVENTIONS[effect["intervention"]].title for effect in drawn]
        return reading(
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
    """Say what the ablation shows beside its controls, a sentence each: the answer, with where predictions and text
    disagree, and the rest.
    """
    effects = summary["effects"]
    answer, _, rest = sentence(effects).partition(". ")
    first = [no_sinks(summary["rows"]), f"{answer}." if rest else answer, *disagreements(effects)]
    others = [rest, *(contrast_sentence(effects, name) for name in INTERVENTIONS)]
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


def _named(effect: Mapping[str, Any]) -> str:
    target, against = TARGETS[effect["target"]].title, effect["against"]
    if against in CONTROLS and not CONTROLS[against].drawn:
        return f"{target}, {CONTROLS[against].title}"
    return f"{target}, against {CONTROLS[against].title if against in CONTROLS else TARGETS[against].title}"
