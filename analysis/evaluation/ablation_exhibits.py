"""The figures and tables of an ablation over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import (
    MEASURES,
    contrast_sentence,
    control_of,
    no_sinks,
    sentence,
    shown,
    without_sinks,
)
from analysis.figures.causes import effect_intervals
from analysis.readings import reading
from analysis.recording.set_exhibits import Formulas, Shown
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS

Summary = Mapping[str, Any]
"""What an `ablate_set` job says when it is done, or of the prompts that are done."""

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
        reading(
            "differences",
            [f"{_named(effect)} ({INTERVENTIONS[effect['intervention']].title})" for effect in drawn],
            (100 if measure.percent else 1) * np.stack([values, low, high], axis=1),
            tested,
            "points" if measure.percent else "",
            "effect",
        ),
    )


def in_words(summary: Summary) -> list[str]:
    """What the ablation shows beside its controls, a sentence each."""
    effects = summary["effects"]
    said = (no_sinks(summary["rows"]), sentence(effects), *(contrast_sentence(effects, name) for name in INTERVENTIONS))
    return [told for told in said if told]


def means(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for every intervention, target and control: means over the prompts."""
    return pd.DataFrame(
        [
            _condition(row) | {title: float(np.mean(row[name])) for name, title in _numbers().items() if row.get(name)}
            for row in rows
        ]
    )


def single_prompts(rows: Sequence[Mapping[str, Any]], prompts: Sequence[str]) -> pd.DataFrame:
    """The same for every prompt by itself. prompts: their texts, in the order of the rows' lists."""
    return pd.DataFrame(
        [
            {"prompt": prompt}
            | _condition(row)
            | {title: row[name][index] for name, title in _numbers().items() if name in row}
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


def _numbers() -> dict[str, str]:
    named = {name: measure.axis for name, measure in MEASURES.items()}
    return {"share": "attention acted on", "count": "positions acted on"} | named


def _named(effect: Mapping[str, Any]) -> str:
    target, against = TARGETS[effect["target"]].title, effect["against"]
    if against in CONTROLS and not CONTROLS[against].drawn:
        return f"{target}, {CONTROLS[against].title}"
    return f"{target}, against {CONTROLS[against].title if against in CONTROLS else TARGETS[against].title}"
