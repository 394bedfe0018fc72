"""Gather what a study has found from the records of its jobs and the files they left. Nothing is run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from analysis.engine import Engine, JobRecord
from analysis.engine.planned_parts import Part
from analysis.engine.studies import ablation_name, new_study, set_name, watch_name
from analysis.engine.sweep_points import Read, scored
from analysis.engine.sweeps import Point
from analysis.evaluation import sweep_scores
from analysis.findings import findings_of, set_contrast
from analysis.findings.sets import family_of
from analysis.recording.playback import played
from analysis.recording.set_file import open_set
from analysis.recording.set_tables import Sets, count_table, kind_table, movement_table, prompts_of
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import SIZES, ModelSpec, SinkParams, StudySpec, grid
from analysis.specs.commands import sized_command
from analysis.statistics.differences import in_family
from analysis.study.findings import PROMPTS_FILE, Findings, JobTiming, PartFound, StoredSentences
from analysis.study.gather_causes import causes_of, planned_causes
from analysis.study.gather_pruning import adjusted, planned_steps, pruning_of, steps_of
from analysis.study.gather_story import CompareMasks, compare_masks, continuations_of, explorer_of, masks_asked
from analysis.study.registration import registered

SINKS, MOVEMENT = "sinks", "movement"


def tables_of(sets: Sets) -> dict[str, tuple[Mapping[str, object], ...]]:
    """The rows of every table of the sets, rounded to what is read."""
    tables = {"layers": kind_table, "counts": count_table, "movement": movement_table} if sets else {}
    return {
        name: tuple(json.loads(table(sets).to_json(orient="records", double_precision=6)))
        for name, table in tables.items()
    }


def sayings_of(sets: Sets) -> tuple[StoredSentences, ...]:
    """Return what each model shows beyond its nulls, where its sinks are and how they move."""
    sayings, contrasts = [], set_contrast.contrasts_in_words(sets)
    for name, recordings in sets.items():
        said = findings_of("record_set", recordings, family_of(recordings, set_contrast.families(sets)))
        silent, moves = said.pop("missing claims", []), said.pop("how sinks move", [])
        contrast = [sentence for of, sentence in contrasts if of == name]
        of_sinks = [sentence for those in said.values() for sentence in those]
        for part, sentences in ((SINKS, of_sinks), (MOVEMENT, [*contrast, *moves])):
            sayings.append(StoredSentences(part=part, model=name, sentences=(*sentences, *silent)))
    return tuple(sayings)


def gather(
    record: JobRecord, engine: Engine, read: Read = sweep_scores.read_scores, compare: CompareMasks = compare_masks
) -> Findings:
    """Return what a study has found by now. read: reads the scores of a point, for those who keep what they have read.
    compare: compares masks, for those who cannot wait; comparisons under way are left out.

    Raises UserError for a damaged file.
    """
    spec = record.parameters(StudySpec)
    parts = engine.parts(record)
    jobs = [job for part in parts for job in part.jobs.values()]
    sweep = next((job for job in jobs if job.kind == "sweep"), None)
    points = engine.sweep_points(sweep) if sweep is not None else []
    worked = [job for job in jobs if job.kind != "sweep"]
    worked += [job for point in points for job in (point.pruned, point.evaluated) if job is not None]
    sets = {
        source: open_set(file, "The stored set of recordings")
        for source, job in _done(spec, parts, "sinks", set_name).items()
        if (file := engine.result_file(job)) is not None
    }
    ablations = _done(spec, parts, "causes", ablation_name)
    settings = sweep_scores.settings(scored(points, engine.result_file, read), [point.pruning for point in points])
    causes, steps = causes_of(ablations, spec.primary), steps_of(settings)
    tests = planned_causes(spec, parts) + planned_steps(grid(spec.sweep()).prunings)
    family = in_family([*(cause.effect for cause in causes), *(step.difference for step in steps)], tests)
    recorded = map(engine.result_file, _done(spec, parts, "watch", watch_name).values())
    opened = (open_trajectory(file) for file in recorded if file is not None)
    watched = [replace(trajectory, mass=trajectory.relative_mass()) for trajectory in opened]
    of_causes, of_steps = family[: len(causes)], family[len(causes) :]
    found = Findings(
        spec=spec.model_dump(mode="json"),
        created=datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds"),
        state=record.state,
        seconds=sum(_seconds(job) for job in {job.id: job for job in worked}.values()),
        command=study_command(spec),
        environment=_environment(points),
        parts=tuple(
            PartFound(
                name=part.name,
                state=part.state,
                reason=part.reason,
                jobs={name: job.id for name, job in part.jobs.items()},
            )
            for part in parts
        ),
        tables=tables_of(sets),
        prompts=prompts_of(sets),
        causes=tuple(
            cause.model_copy(update={"effect": effect}) for cause, effect in zip(causes, of_causes, strict=True)
        ),
        sayings=sayings_of(sets),
        playback=played(watched, SinkParams()) if watched else None,
        continuations=continuations_of(ablations),
        mask_changes=tuple(filter(None, map(compare, masks_asked(points, engine)))),
        explorer=explorer_of(watched),
        took=_took(parts, points),
        tests=tests,
        pruning=None if sweep is None else pruning_of(spec, sweep, points, settings, adjusted(steps, of_steps)),
    )
    return registered(found, [job.finished for job in {job.id: job for job in worked}.values() if job.finished])


def _done(
    spec: StudySpec, parts: Sequence[Part], name: str, job_of: Callable[[ModelSpec], str]
) -> dict[str, JobRecord]:
    """Return the finished jobs of a part, by their models. job_of: returns the name of a model's job."""
    jobs = next((part.jobs for part in parts if part.name == name), {})
    found = {model.source: jobs.get(job_of(model)) for model in spec.models}
    return {source: job for source, job in found.items() if job is not None and job.state == "done"}


def study_command(spec: StudySpec) -> str:
    """`python -m analysis study …` with the size that is nearest, and the settings that are not its own."""
    sizes = {name: new_study(spec.model, name) for name in SIZES}
    return sized_command("study", spec, sizes, ("--prompt", spec.prompt), ("prompt", "registration"), PROMPTS_FILE)


def _seconds(job: JobRecord) -> float:
    return 0.0 if job.started is None or job.finished is None else round(job.finished - job.started, 1)


def _took(parts: Sequence[Part], points: Sequence[Point]) -> tuple[JobTiming, ...]:
    """Every finished job, one time each."""
    named = {job.id: (name, job) for part in parts for name, job in part.jobs.items() if job.kind != "sweep"}
    for point in points:
        pruned = f"prune {point.pruning.method}"
        swept = (("evaluate", point.dense), (pruned, point.pruned), ("evaluate", point.evaluated))
        named |= {job.id: (name, job) for name, job in swept if job is not None}
    return tuple(
        JobTiming(
            name=name,
            kind=job.kind,
            seconds=_seconds(job),
            memory_bytes=max((row["peak_bytes"] for row in job.summary.get("report", {}).get("phases", ())), default=0),
            bytes=job.summary.get("bytes", 0),
        )
        for name, job in named.values()
        if job.state == "done" and not job.cached
    )


def _environment(points: Sequence[Point]) -> dict[str, object] | None:
    """Versions and hardware of the first scored point."""
    for point in points:
        end = point.evaluated.summary.get("end") if point.evaluated is not None else None
        if isinstance(end, dict):
            return dict(end.get("environment") or {})
    return None
