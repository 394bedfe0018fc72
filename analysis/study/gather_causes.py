"""What the ablations of a study show: the effects of hiding sinks beside matched tokens. Nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.engine import JobRecord
from analysis.engine.studies import Part
from analysis.evaluation.ablation_effects import TESTED, effect_of, effects
from analysis.specs import StudySpec
from analysis.study.findings import Cause


def causes_of(ablations: Mapping[str, JobRecord]) -> tuple[Cause, ...]:
    """What hiding each model's sinks changes against matched tokens, in every measure, not adjusted yet."""
    return tuple(
        Cause(
            model=model,
            measure=row["measure"],
            effect=effect_of(row) if _whole(job) else replace(effect_of(row), p=None, final=False),
            shares=tuple(row["shares"]),
            untrained=next(
                (effect_of(other) for other in _hidden(job.summary.get("untrained", ())) if _same(row, other)), None
            ),
        )
        for model, job in ablations.items()
        for row in _hidden(effects(job.summary["rows"]))
    )


def _whole(job: JobRecord) -> bool:
    """Whether all prompts that were planned are done: else nothing is tested."""
    return bool(job.summary.get("prompts", 0) == job.summary.get("planned", job.summary.get("prompts", 0)))


def _hidden(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The effects of hiding sinks against matched tokens."""
    return [row for row in rows if row["target"] == "sinks" and row["against"] == "matched" and row["low"] is not None]


def _same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(row["measure"] == other["measure"])


def planned_causes(spec: StudySpec, parts: Sequence[Part]) -> int:
    """How many comparisons the ablations of a study make once all of them are done."""
    part = next((part for part in parts if part.name == "causes"), None)
    if part is None or part.state == "not asked":
        return 0
    models = len(part.jobs) if part.state == "done" else len(spec.models)
    return models * len(TESTED)
