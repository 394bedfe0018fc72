"""Results of a study, gathered from the records of its jobs and the files they left. Runs nothing.

Some data only the story shows: one text with and without its sinks hidden, masks beside those of two calibration seeds,
and the recordings as the explorer takes them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from analysis.engine import Engine, JobRecord
from analysis.engine.planned import Part
from analysis.engine.studies import ablation_name, new_study, set_name, watch_name
from analysis.engine.sweeps import Point, Read, scored
from analysis.errors import UserError
from analysis.evaluation import sweep_scores
from analysis.evaluation.ablation_effects import COUNT
from analysis.findings import findings_of, set_contrast
from analysis.findings.sets import family_of
from analysis.pruned import masks_file
from analysis.pruned.compare import disagreement, independent_disagreement, overlap, pairs_of
from analysis.recording.explored import explored, packed_text
from analysis.recording.playback import played
from analysis.recording.set_file import open_set
from analysis.recording.set_tables import Sets, count_table, kind_table, movement_table, prompts_of
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import METHODS, SIZES, ModelSpec, SinkParams, StudySpec, grid
from analysis.specs.commands import sized_command
from analysis.statistics.differences import in_family
from analysis.study.findings import (
    PROMPTS_FILE,
    Continuation,
    Findings,
    JobTiming,
    MaskChange,
    PartFound,
    Score,
    StoredSentences,
)
from analysis.study.gather_pruning import adjusted, causes_of, planned_causes, planned_steps, pruning_of, steps_of
from analysis.study.registration import registered

MOST_SEEDS = 6  # whose masks are compared, so that those of large models are read in a reasonable time
MOST_BYTES = 1 << 20  # of an explorer in a study, packed: what a report of three megabytes has room for


def continuations_of(ablations: Mapping[str, JobRecord]) -> tuple[Continuation, ...]:
    """Return the texts of one prompt of each model, the one nearest the medians: untouched, with its sinks
    and with each control hidden. Of an ablation that does not hide sinks there is none.
    """
    found = []
    for model, job in ablations.items():
        at = job.summary["shown"]
        written = {row["control"]: tuple(row["words"]) for row in job.summary["texts"] if _hides_sinks(row)}
        measured = [row for row in job.summary["rows"] if _hides_sinks(row)]
        if written:
            found.append(
                Continuation(
                    model=model,
                    prompt=str(job.spec["prompts"][at]),
                    number=at + 1,
                    median_of=job.summary["prompts"],
                    untouched=tuple(job.summary["untouched"]),
                    hidden=written.pop(""),
                    matched=written.pop(COUNT),
                    others=written,
                    scores=_scores(measured, at),
                )
            )
    return tuple(found)


def _scores(rows: Sequence[Mapping[str, Any]], at: int) -> tuple[Score, dict[str, Score]]:
    """Return the scores of the texts of one prompt. rows: of the sinks and of their controls."""
    before = rows[0]["nll_before"][at], rows[0]["tokens_before"][at]
    return before, {row["control"]: (row["nll"][at], row["tokens"][at]) for row in rows}


def _hides_sinks(row: Mapping[str, Any]) -> bool:
    return row["intervention"] == "attention" and row["target"] == "sinks"


@dataclass(frozen=True)
class MasksAsked:
    """The masks of a method and its control to be compared: one folder per seed, in the order of the seeds."""

    method: str
    control: str
    sparsity: float
    seeds: tuple[int, ...]
    folders: tuple[Path, ...]
    control_folders: tuple[Path, ...]


CompareMasks = Callable[[MasksAsked], MaskChange | None]
"""Function that compares masks; None while their comparison is under way."""


def masks_asked(points: Sequence[Point], engine: Engine) -> tuple[MasksAsked, ...]:
    """Return what is to be compared: each sink-aware method with its control, at each sparsity. Only prunings whose
    masks are still in the store count.
    """
    folders: dict[tuple[str, float], dict[int, Path]] = {}
    for point in points:
        result = None if point.pruned is None or point.pruned.state != "done" else engine.result(point.pruned)
        if result is not None and result.folder is not None:
            pruning = point.pruning
            folders.setdefault((pruning.method, pruning.sparsity), {})[pruning.calibration.seed] = result.folder
    asked = []
    for (method, sparsity), first in folders.items():
        control = METHODS[method].control
        second = folders.get((control or "", sparsity), {})
        seeds = [seed for seed in sorted(first) if seed in second][:MOST_SEEDS]
        if control and seeds:
            both = (tuple(folders[seed] for seed in seeds) for folders in (first, second))
            asked.append(MasksAsked(method, control, sparsity, tuple(seeds), *both))
    return tuple(asked)


def compare_masks(asked: MasksAsked) -> MaskChange:
    """Return the share of weights that a method prunes differently from its control, beside two calibration seeds of
    the control, all in one pass.

    Raises UserError for a damaged mask.
    """
    opened = [masks_file.open_masks(str(folder)) for folder in (*asked.folders, *asked.control_folders)]
    for other in opened[1:]:
        problem = masks_file.why_not_comparable(opened[0], other)
        if problem:
            raise UserError(problem)
    counts = pairs_of(*overlap(masks_file.groups(opened), len(opened)))
    differ, chance, own = disagreement(counts), independent_disagreement(counts), len(asked.seeds)
    return MaskChange(
        method=asked.method,
        against=asked.control,
        sparsity=asked.sparsity,
        seeds=asked.seeds,
        changed=tuple(float(differ[at, own + at]) for at in range(own)),
        floor=tuple(float(differ[own + one, own + other]) for one, other in combinations(range(own), 2)),
        chance=float(np.mean([chance[at, own + at] for at in range(own)])),
    )


def explorer_of(recordings: Sequence[Trajectory]) -> str:
    """Return the explorer of the recordings to watch as text, empty where it is too large for a report.

    recordings: their mass is the relative one.
    """
    if not recordings:
        return ""
    packed = packed_text(explored(recordings, [each.info.model.source for each in recordings]))
    return packed if len(packed) <= MOST_BYTES * 4 // 3 else ""


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
