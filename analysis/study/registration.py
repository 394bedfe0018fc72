"""Pre-registration of a study: its plan, frozen before anything runs, and the study's departures from it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from analysis import __version__, outputs
from analysis.errors import UserError, os_sentence, shorten
from analysis.evaluation import planning
from analysis.evaluation.ablation_effects import MEASURES
from analysis.job_context import now
from analysis.specs import METHODS, STUDY_PARTS, Registration, StudySpec, grid, part_alone
from analysis.specs.study import MOST_BYTES
from analysis.specs.sweep import called
from analysis.statistics.decisions import POINTS
from analysis.study import plans, rules
from analysis.study.findings import Findings, Registered
from analysis.study.gather_pruning import compared
from analysis.words import listed, model_in_words, percent

NOT_FROZEN = {"registration"}


def register(spec: StudySpec) -> Registration:
    """Freeze the plan of a study. Raises UserError for a bad model source."""
    asked = spec.model_copy(update={"registration": None})
    plan = plans.plan_of(asked, plans.noise_of(asked, None))
    shift = rules.unit_of(asked.primary).margin(rules.shift_of(asked, asked.primary))
    return Registration(
        made=now(),
        version=__version__,
        settings=asked.model_dump(mode="json", exclude=NOT_FROZEN),
        outcome=MEASURES[asked.primary].title,
        contrasts=tuple(_contrasts(asked)),
        margins={"accuracy": POINTS.margin(asked.difference / 100), "primary outcome": shift},
        tests=plans.planned_tests(asked),
        power="not known before the tasks are read" if plan is None else planning.in_words(plan),
    ).frozen()


def _contrasts(spec: StudySpec) -> list[str]:
    """Return the comparisons, one sentence each: hidden sinks first, then every pair of prunings."""
    return [
        *(f"Hiding the sinks of {model_in_words(model.source)} against its controls." for model in spec.models),
        *(
            f"{called(one.method, part_alone(one))} against {METHODS[other.method].title} at "
            f"{percent(one.sparsity, 0)}."
            for one, other in compared(grid(spec.sweep()).prunings)
        ),
    ]


# --- the file -----------------------------------------------------------------------------------------------------


def write(registration: Registration, path: Path) -> None:
    """Write a plan to a new file. Raises UserError where that cannot be done."""
    with outputs.told(path), path.open("x", encoding="utf-8") as file:
        file.write(registration.model_dump_json(indent=1) + "\n")


def read(path: Path) -> Registration:
    """Read a plan. Raises UserError for a file that holds none, or one that was changed since it was written."""
    name = shorten(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"The plan in '{name}' cannot be read: {os_sentence(error, str(path))}") from error
    try:
        found = Registration.model_validate_json(content)
    except ValidationError as error:
        changed = any("changed after" in one["msg"] for one in error.errors())
        why = "was changed after it was written: its hash does not match its content" if changed else "holds no plan"
        raise UserError(f"'{name}' {why}. Name a new file to plan anew.") from error
    if not found.digest:
        raise UserError(f"'{name}' holds a plan without its hash. Name a new file to plan anew.")
    return found


# --- departures ---------------------------------------------------------------------------------------------------


def of_settings(registration: Registration, spec: StudySpec) -> list[str]:
    """Return every setting that differs from the plan, one sentence each."""
    told = []
    for name, value in spec.model_dump(mode="json", exclude=NOT_FROZEN).items():
        before = registration.settings.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            differ = [inner for inner in value if value[inner] != before.get(inner)]
            told += [f"{_title(name)}, {inner}: {before.get(inner)} planned, {value[inner]} used." for inner in differ]
        elif value != before:
            told.append(f"{_title(name)}: {_value(before)} planned, {_value(value)} used.")
    return told


def departures(registration: Registration, findings: Findings, before: int) -> list[str]:
    """Return every departure of a study from its plan, one sentence each. before: finished jobs of the study that are
    older than the plan.
    """
    spec = findings.parameters
    told = of_settings(registration, spec)
    if findings.tests != registration.tests:
        told.append(f"{registration.tests} tests planned, {findings.tests} made.")
    for part in findings.parts:
        if part.standing:
            told.append(f"{STUDY_PARTS[part.name].title}: {part.standing}")
    if findings.pruning is not None:
        told += [
            f"{METHODS[one.method].title} at {percent(one.sparsity, 0)}: {one.planned} calibration seeds planned, "
            f"{len(one.seeds)} scored."
            for one in findings.pruning.settings
            if len(one.seeds) < one.planned
        ]
    used = (findings.environment or {}).get("versions", {})
    if isinstance(used, dict) and used.get("sinkscope", registration.version) != registration.version:
        told.append(f"Planned with SinkScope {registration.version}, scored with {used['sinkscope']}.")
    if before:
        told.append(f"{before:,} of its jobs were finished before the plan was made, for an earlier request.")
    return told


def registered(findings: Findings, finished: Sequence[float]) -> Findings:
    """Return the findings with their plan's hash and every departure, where there is a plan. finished: when each of the
    study's jobs finished, in seconds since 1970.
    """
    plan = findings.parameters.registration
    if plan is None:
        return findings
    made = datetime.fromisoformat(plan.made).timestamp()
    told = departures(plan, findings, sum(when < made for when in finished))
    named = Registered(digest=plan.digest, made=plan.made, departures=tuple(told))
    return findings.model_copy(update={"registered": named})


def _title(name: str) -> str:
    field = StudySpec.model_fields.get(name)
    return field.title if field is not None and field.title else name.capitalize()


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return listed([_value(one) for one in value]) if len(value) < 7 else f"{len(value)} values"
    if isinstance(value, dict):
        return str(value.get("source", "other settings"))
    return "none" if value is None else f"{value}"
