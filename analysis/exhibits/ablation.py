"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import (
    MEASURES,
    answer_rows,
    as_change,
    control_of,
    effect_of,
    levels_of,
    shown,
)
from analysis.figures.causes import DifferenceRow, control_differences
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.findings.ablations import Summary, named, without_sinks
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS
from analysis.statistics.decisions import NATS, POINTS, interval_words
from analysis.words import counted

NUMBERS: Mapping[str, str] = {"share": "attention acted on", "count": "positions acted on"} | {
    name: measure.axis for name, measure in MEASURES.items()
}
"""Columns of the tables, by what rows hold of every prompt."""
NAT = (
    "Nats measure how far predictions move: by 0.04 nats, a token that the untouched model predicts is 4 % less likely "
    "(geometric mean)."
)
METHOD = (
    "Every prompt is denoised untouched and under every condition. In each step an untouched forward of the same input "
    "chooses the positions, a second one is intervened on and predicts the tokens. Differences: target minus control, "
    "the mean over the prompts compared, with the 95 % interval over prompts, clustered by template or key; "
    "filled where it excludes 0 and p, Holm-corrected over all effects, is below 0.05 (Student's, and the sign flip's "
    "where it is larger and few prompts differ). Controls: "
    + "; ".join(f"{control.title}: {control.help}" for control in CONTROLS.values())
    + ". Prompts without a position to act on are left out."
)


def effects_of(summary: Summary, name: str, answering: bool = False) -> Exhibit | None:
    """Target minus control in a row of `MEASURES`, a dot each with its interval; None where there is none.

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
    changes = [as_change(effect) for effect in drawn]
    alone = len({(effect["target"], effect["intervention"]) for effect in drawn}) == 1 and drawn[0]["target"] == "sinks"
    unit = POINTS if measure.percent else NATS
    of = "of 100 tokens" if measure.falls else unit.name
    tests = max(effect.get("tests", len(family)) for effect in family)
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
                    _called(effect, alone),
                    "sinks" if alone else INTERVENTIONS[effect["intervention"]].title,
                    unit.scale * change["value"],
                    unit.scale * change["low"],
                    unit.scale * change["high"],
                    flag,
                    interval_words(effect_of(change), unit).replace(f" {unit.name}", ""),
                    f"{measure.axis}: {at.target:.3g}, control {at.control:.3g}",
                )
                for effect, change, at, flag in zip(drawn, changes, levels, tested, strict=True)
            ],
            measure.change_axis or f"{measure.axis}, minus the control's (points)",
        ),
        pd.DataFrame(
            [
                {"positions": named(effect), "done to them": INTERVENTIONS[effect["intervention"]].title}
                | {end: effect[end] for end in ("value", "low", "high", "n", "clusters", "p_holm")}
                | {"level, target": at.target, "level, control": at.control}
                | dict(zip(("attention, target", "attention, control"), effect["shares"], strict=True))
                | {"prompts without sinks": effect.get("left_out"), "prompts without control": effect.get("unmatched")}
                | ({"by position": effect["by_position"]} if "by_position" in effect else {})
                for effect, at in zip(drawn, levels, strict=True)
            ]
        ),
        formula=METHOD,
        finding=finding_of("loss without sinks", levels[0], name) if alone else finding_of("sides of effects", changes),
        name=f"effects-{name}",
    )


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
    return CONTROLS[against].title if alone and against in CONTROLS else named(effect)
