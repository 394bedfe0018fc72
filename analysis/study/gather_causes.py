"""Results of a study's ablations: the effects of hiding sinks beside their controls. Nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.engine import JobRecord
from analysis.engine.planned_parts import Part
from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, TESTED, UNIT, effect_of, effects, levels_of
from analysis.specs import StudySpec
from analysis.statistics.differences import Difference
from analysis.study.findings import Cause

_CONTROLS = (COUNT, MASS, UNIT)  # that the verdict is of, in models with and without [MASK] alike
_SHOWN = (*_CONTROLS, MASKED)  # the last with its interval alone, in models with [MASK]


def causes_of(ablations: Mapping[str, JobRecord], primary: str) -> tuple[Cause, ...]:
    """Return the effect of hiding each model's sinks against each control, in every measure, not yet adjusted.

    primary: the outcome tested against every control that all models have; the others are tested only against as many
    tokens.
    """
    return tuple(
        Cause(
            model=model,
            measure=row["measure"],
            control=row["against"],
            left_out=row.get("left_out", 0),
            unmatched=row.get("unmatched", 0),
            effect=_tested(row, primary) if _whole(job) else replace(effect_of(row), p=None, final=False),
            shares=tuple(row["shares"]),
            levels=None if row["against"] == UNIT else levels_of(job.summary["rows"], row)[:2],
            untrained=next(
                (effect_of(other) for other in _hidden(job.summary.get("untrained", ())) if _same(row, other)), None
            ),
        )
        for model, job in ablations.items()
        for row in _hidden(effects(job.summary["rows"]))
    )


def _tested(row: Mapping[str, Any], primary: str) -> Difference:
    effect = effect_of(row)
    tested = row["against"] == COUNT or (row["measure"] == primary and row["against"] in _CONTROLS)
    return effect if tested else replace(effect, p=None)


def _whole(job: JobRecord) -> bool:
    """Return True if all planned prompts are done: else nothing is tested."""
    return bool(job.summary.get("prompts", 0) == job.summary.get("planned", job.summary.get("prompts", 0)))


def _hidden(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The effects of hiding sinks against each control."""
    return [row for row in rows if row["target"] == "sinks" and row["against"] in _SHOWN and row["low"] is not None]


def _same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(row[name] == other[name] for name in ("measure", "against"))


def planned_causes(spec: StudySpec, parts: Sequence[Part]) -> int:
    """Return how many comparisons a study's ablations make once all of them are done: per model, every outcome against
    as many tokens, and the primary one against the other controls.
    """
    part = next((part for part in parts if part.name == "causes"), None)
    if part is None or part.state == "not asked":
        return 0
    models = len(part.jobs) if part.state == "done" else len(spec.models)
    return models * (len(TESTED) + len(_CONTROLS) - 1)
