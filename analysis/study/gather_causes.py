"""What the ablations of a study show: the effects of hiding sinks beside matched tokens. Nothing is run."""

from collections.abc import Mapping, Sequence

from analysis.engine import JobRecord
from analysis.engine.studies import Part
from analysis.evaluation.ablation_effects import TESTED, effect_of, effects
from analysis.specs import StudySpec
from analysis.study.findings import Cause


def causes_of(ablations: Mapping[str, JobRecord]) -> tuple[Cause, ...]:
    """What hiding each model's sinks changes against matched tokens, in every measure, not adjusted yet."""
    return tuple(
        Cause(model=model, measure=row["measure"], effect=effect_of(row), shares=tuple(row["shares"]))
        for model, job in ablations.items()
        for row in effects(job.summary["rows"])
        if row["target"] == "sinks" and row["against"] == "matched" and row["low"] is not None
    )


def planned_causes(spec: StudySpec, parts: Sequence[Part]) -> int:
    """How many comparisons the ablations of a study make once all of them are done."""
    part = next((part for part in parts if part.name == "causes"), None)
    if part is None or part.state == "not asked":
        return 0
    models = len(part.jobs) if part.state == "done" else len(spec.models)
    return models * len(TESTED)
