"""What the ablations of a study show: the effects of blocking sinks beside matched positions. Nothing is run."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.engine import JobRecord
from analysis.evaluation.ablation_effects import MEASURES, shown
from analysis.figures.causes import effect_intervals
from analysis.specs import TARGETS
from analysis.study.findings import Cause, Effect, Shown

_MEASURE = "divergence"


def causes_of(ablations: Mapping[str, JobRecord]) -> tuple[Cause, ...]:
    """What blocking each model's sinks does to its predictions, against matched positions."""
    causes = []
    for model, job in ablations.items():
        for effect in job.summary["effects"]:
            known = effect["target"] == "sinks" and effect["against"] == "matched" and effect["low"] is not None
            if known and effect["measure"] == _MEASURE:
                causes.append(Cause(model=model, effect=_effect(effect), shares=tuple(effect["shares"])))
    return tuple(causes)


def shown_of_ablations(ablations: Mapping[str, JobRecord]) -> tuple[Shown, ...]:
    """A figure for each measure: the effects in all models, with their intervals."""
    figures = []
    for name, measure in MEASURES.items():
        rows = [
            (model, effect)
            for model, job in ablations.items()
            for effect in job.summary["effects"]
            if effect["measure"] == name and effect["against"] == "matched" and effect["low"] is not None
        ]
        if not rows:
            continue
        values, low, high = (np.array([effect[end] for _, effect in rows]) for end in ("value", "low", "high"))
        figure = effect_intervals(
            [f"{model}: {TARGETS[effect['target']].title}" for model, effect in rows],
            [model for model, _ in rows],
            values,
            low,
            high,
            [shown(effect) for _, effect in rows],
            f"{measure.axis}, minus matched positions",
            measure.percent,
        )
        figures.append(
            Shown(
                part="causes",
                name=f"causes_{name}",
                title=f"{measure.title}: sinks blocked, minus as many matched positions",
                sentence="A dot is the mean over prompts with its 95 % interval; filled where it is shown after Holm.",
                figure=json.loads(figure.to_json()),
                table=tuple({"model": model, **effect, "shares": str(effect["shares"])} for model, effect in rows),
            )
        )
    return tuple(figures)


def _effect(effect: Mapping[str, Any]) -> Effect:
    return Effect(
        value=effect["value"],
        low=effect["low"],
        high=effect["high"],
        n=effect["n"],
        clusters=effect["clusters"],
        p=effect["p"],
        p_adjusted=effect["p_holm"],
    )
