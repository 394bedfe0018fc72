"""Gathers what a study has found from the records of its jobs and the files they left. Nothing is run."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from analysis.engine import JobRecord
from analysis.engine.studies import Part, ablation_name, new_study, set_name, watch_name
from analysis.engine.sweep_points import Read, scored
from analysis.engine.sweeps import Point
from analysis.evaluation import planning, significance, sweep_scores
from analysis.evaluation.replicates import CrossedDifference
from analysis.evaluation.task_sizes import known_sizes
from analysis.recording.playing import played
from analysis.recording.set_file import RecordingSet, open_set
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import METHODS, SIZES, SinkParams, StudySpec, against, without_seed
from analysis.study import rules
from analysis.study.findings import Contrast, Effect, Findings, PartFound, Pruning, Setting, Stage, Took, Waterfall
from analysis.study.gather_causes import causes_of, shown_of_ablations
from analysis.study.gather_sets import sayings_of, shown_of


class Asked(Protocol):
    """What is asked of the engine."""

    def study_parts(self, record: JobRecord) -> list[Part]: ...
    def sweep_points(self, record: JobRecord) -> list[Point]: ...
    def result_file(self, record: JobRecord) -> Path | None: ...


def gather(record: JobRecord, engine: Asked, read: Read = sweep_scores.read_scores) -> Findings:
    """What a study has found by now. read: reads the scores of a point, for those who keep what they have read.

    Raises UserError for a damaged file.
    """
    spec = record.parameters(StudySpec)
    parts = engine.study_parts(record)
    jobs = [job for part in parts for job in part.jobs.values()]
    sweep = next((job for job in jobs if job.kind == "sweep"), None)
    points = engine.sweep_points(sweep) if sweep is not None else []
    worked = [job for job in jobs if job.kind != "sweep"]
    worked += [job for point in points for job in (point.pruned, point.evaluated) if job is not None]
    sets = _sets(spec, parts, engine.result_file)
    ablations = _ablations(spec, parts)
    return Findings(
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
        shown=(*shown_of(sets), *shown_of_ablations(ablations)),
        causes=causes_of(ablations),
        sayings=sayings_of(sets),
        playback=_playback(spec, parts, engine.result_file),
        took=_took(parts, points),
        pruning=None if sweep is None else _pruning(spec, sweep, points, engine.result_file, read),
    )


def _playback(
    spec: StudySpec, parts: Sequence[Part], file_of: Callable[[JobRecord], Path | None]
) -> dict[str, object] | None:
    """What the player takes of the finished recordings, the model's and its reference's beside it."""
    jobs = next((part.jobs for part in parts if part.name == "watch"), {})
    recorded = [
        job for model in spec.models if (job := jobs.get(watch_name(model))) is not None and job.state == "done"
    ]
    files = [file for job in recorded if (file := file_of(job)) is not None]
    opened = [open_trajectory(file) for file in files[:2]]
    relative = [replace(trajectory, mass=trajectory.relative_mass()) for trajectory in opened]
    return played(relative, SinkParams()) if relative else None


def _ablations(spec: StudySpec, parts: Sequence[Part]) -> dict[str, JobRecord]:
    """The finished ablations, by their models."""
    jobs = next((part.jobs for part in parts if part.name == "causes"), {})
    ablations = {model.source: jobs.get(ablation_name(model)) for model in spec.models}
    return {name: job for name, job in ablations.items() if job is not None and job.state == "done"}


def _sets(
    spec: StudySpec, parts: Sequence[Part], file_of: Callable[[JobRecord], Path | None]
) -> dict[str, RecordingSet]:
    """The finished sets of recordings, by their models."""
    jobs = next((part.jobs for part in parts if part.name == "sinks"), {})
    sets = {}
    for model in spec.models:
        job = jobs.get(set_name(model))
        file = file_of(job) if job is not None and job.state == "done" else None
        if file is not None:
            sets[model.source] = open_set(file, "The stored set of recordings")
    return sets


def study_command(spec: StudySpec, out: str = "study") -> str:
    """`python -m analysis study …` with the size that is nearest, and the settings that are not its own."""
    settings = {name: _unlike(spec, name) for name in SIZES}
    alike = {name: fields for name, fields in settings.items() if None not in fields.values()}
    size = min(alike or settings, key=lambda name: len(settings[name]))
    words = ["python", "-m", "analysis", "study", "--model", spec.model.source, "--size", size]
    words += ["--reference", "none" if spec.reference is None else spec.reference.source, "--prompt", spec.prompt]
    for name, value in (spec.model.model_dump(exclude_defaults=True, exclude={"source"}) | settings[size]).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join([*words, "--out", out])


def _unlike(spec: StudySpec, size: str) -> dict[str, object]:
    """The settings that are others than a size has."""
    like = new_study(spec.model, size).model_dump()
    return {
        name: value
        for name, value in spec.model_dump(exclude={"model", "reference", "prompt"}).items()
        if value != like[name]
    }


def _seconds(job: JobRecord) -> float:
    return 0.0 if job.started is None or job.finished is None else round(job.finished - job.started, 1)


def _took(parts: Sequence[Part], points: Sequence[Point]) -> tuple[Took, ...]:
    """Every finished job, one time each."""
    named = {job.id: (name, job) for part in parts for name, job in part.jobs.items() if job.kind != "sweep"}
    for point in points:
        pruned = f"prune {point.pruning.method}"
        swept = (("evaluate", point.dense), (pruned, point.pruned), ("evaluate", point.evaluated))
        named |= {job.id: (name, job) for name, job in swept if job is not None}
    return tuple(
        Took(
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


# --- pruning ----------------------------------------------------------------------------------------------------


def _pruning(
    spec: StudySpec, sweep: JobRecord, points: Sequence[Point], file_of: Callable[[JobRecord], Path | None], read: Read
) -> Pruning | None:
    settings = sweep_scores.settings(scored(points, file_of, read), [point.pruning for point in points])
    if not settings:
        return None
    compared = sweep_scores.comparisons(settings)
    contrasts = [*_contrasts(spec, compared), *_noise_contrasts(spec, settings)]
    dense = settings[0].dense
    differences = [comparison.difference for comparison in compared]
    return Pruning(
        dense=dense.value,
        dense_low=dense.low,
        dense_high=dense.high,
        chance=settings[0].chance,
        items=dense.n,
        clusters=dense.clusters,
        settings=tuple(_setting(setting, points) for setting in settings),
        contrasts=tuple(contrasts),
        waterfalls=tuple(_waterfalls(settings)),
        tests=sum(difference.p is not None for difference in differences),
        noise=sweep_scores.noise(differences) if differences else "",
        waiting=sum(point.state in ("waiting", "under way") for point in points),
        job=sweep.id,
    )


def _setting(setting: sweep_scores.Setting, points: Sequence[Point]) -> Setting:
    of_seed = {
        point.pruning.calibration.seed: point
        for point in points
        if without_seed(point.pruning) == without_seed(setting.pruning)
    }
    of_setting = [of_seed[seed] for seed in setting.seeds]
    return Setting(
        method=setting.pruning.method,
        sparsity=setting.pruning.sparsity,
        seeds=setting.seeds,
        planned=setting.planned,
        by_seed=tuple(map(float, setting.by_seed)),
        by_task={setting.titles[name]: setting.of_task(name) for name in setting.tasks},
        prunings=tuple(point.pruned.id for point in of_setting if point.pruned is not None),
        evaluations=tuple(point.evaluated.id for point in of_setting if point.evaluated is not None),
    )


def _contrasts(spec: StudySpec, compared: Sequence[sweep_scores.Comparison]) -> list[Contrast]:
    """The comparisons of the sweep, with their very numbers: a control differs in the discount alone."""
    contrasts = []
    for comparison in compared:
        method = METHODS[comparison.setting.pruning.method]
        if comparison.relation == "published" and method.published == method.control:
            continue  # the same comparison, told once
        kind = "discount" if comparison.relation == "control" else "recipe"
        contrasts.append(
            _contrast(spec, kind, comparison.setting, comparison.other, comparison.difference, comparison.seeds)
        )
    return contrasts


def _noise_contrasts(spec: StudySpec, settings: Sequence[sweep_scores.Setting]) -> list[Contrast]:
    """Each control against the method that the sink-aware one was published against, adjusted among themselves."""
    steps = []
    for setting in settings:
        control, published = _counterpart(settings, setting, "control"), _counterpart(settings, setting, "published")
        if control is not None and published is not None and control is not published:
            seeds = tuple(seed for seed in control.seeds if seed in published.seeds)
            if seeds:
                steps.append((control, published, seeds, sweep_scores.between(control, published, seeds)))
    adjusted = significance.holm([difference.p for *_, difference in steps])
    return [
        _contrast(spec, "noise", control, published, difference, seeds, p)
        for (control, published, seeds, difference), p in zip(steps, adjusted, strict=True)
    ]


def _contrast(
    spec: StudySpec,
    kind: str,
    setting: sweep_scores.Setting,
    other: sweep_scores.Setting,
    difference: CrossedDifference,
    seeds: Sequence[int],
    p: float | None = None,
) -> Contrast:
    effect = effect_of(difference, p)
    open_question = rules.outcome(effect, spec.difference / 100) == "not shown"
    return Contrast.model_validate(
        {
            "kind": kind,
            "method": setting.pruning.method,
            "against": other.pruning.method,
            "sparsity": setting.pruning.sparsity,
            "effect": effect,
            "needs": _needs(spec, setting, other, seeds) if open_question else "",
        }
    )


def effect_of(difference: CrossedDifference, p_adjusted: float | None = None) -> Effect:
    """A difference as it is kept. p_adjusted: where it is not the difference's own."""
    return Effect(
        value=difference.value,
        low=float(difference.low),
        high=float(difference.high),
        n=difference.n,
        clusters=difference.clusters,
        seeds=difference.seeds,
        p=difference.p,
        p_adjusted=difference.p_holm if p_adjusted is None else p_adjusted,
    )


def _needs(spec: StudySpec, setting: sweep_scores.Setting, other: sweep_scores.Setting, seeds: Sequence[int]) -> str:
    """What it would take to show the difference asked about, by the noise that was measured."""
    tasks, _ = known_sizes(spec.tasks)
    if not tasks:
        return ""
    noise, target = sweep_scores.noise_between(setting, other, seeds), spec.difference / 100
    return planning.needed_in_words(planning.needed(tasks, noise, target), target, tasks, noise, 1)


def _counterpart(
    settings: Sequence[sweep_scores.Setting], setting: sweep_scores.Setting, relation: str
) -> sweep_scores.Setting | None:
    wanted = against(setting.pruning, relation)
    if wanted is None:
        return None
    return next((candidate for candidate in settings if without_seed(candidate.pruning) == without_seed(wanted)), None)


def _waterfalls(settings: Sequence[sweep_scores.Setting]) -> list[Waterfall]:
    """The way to every sink-aware method that has its control: published baseline, noise, discount, and in all."""
    waterfalls = []
    for setting in settings:
        control, published = _counterpart(settings, setting, "control"), _counterpart(settings, setting, "published")
        if control is None:
            continue
        way = list({step.name: step for step in (published, control, setting) if step is not None}.values())
        titles = [METHODS[way[0].pruning.method].title, *(["+ noise"] if len(way) > 2 else []), "+ discount"]
        stages = [Stage(title=titles[0], effect=effect_of(sweep_scores.from_dense(way[0])))]
        for title, before, after in zip(titles[1:], way[:-1], way[1:], strict=True):
            seeds = [seed for seed in after.seeds if seed in before.seeds]
            if seeds:
                stages.append(Stage(title=title, effect=effect_of(sweep_scores.between(after, before, seeds))))
        whole = METHODS[setting.pruning.method].title
        stages.append(Stage(title=f"{whole} in all", effect=effect_of(sweep_scores.from_dense(setting))))
        floor = sweep_scores.floor(control)
        waterfalls.append(
            Waterfall(
                method=setting.pruning.method,
                sparsity=setting.pruning.sparsity,
                dense=setting.dense.value,
                stages=tuple(stages),
                floor=None if floor is None else floor.typical,
            )
        )
    return waterfalls
