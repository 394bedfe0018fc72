"""Sweeps: prunings and evaluations that the engine submits, a few at a time, until every point is scored, and one table
row per point.

A point's remaining work is read from the records of its children (`planned`), its scores from the files of answers.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from analysis.engine.job_store import JobRecord
from analysis.engine.planned import LOOKAHEAD, Planner, children, ended_well, why_ended
from analysis.evaluation.frontier import CACHE
from analysis.evaluation.sweep_scores import PointScores
from analysis.evaluation.sweep_tables import axes_of
from analysis.jobs import code_of, known_key
from analysis.jobs.evaluation import EVALUATING
from analysis.jobs.pruning import folder_name
from analysis.models.checkpoint import CONFIG_FILE, checkpoint_of, fingerprint
from analysis.pruned.masks_file import MASK_FILE
from analysis.pruned.report_file import REPORT_FILE, reported_bytes
from analysis.recording.keeping import count_kept
from analysis.specs import (
    DenseStatisticsSpec,
    EvaluateSpec,
    EvictionPoint,
    FootprintSpec,
    ModelSpec,
    PruneSpec,
    Spec,
    SweepSpec,
    grid,
    point_name,
    scored_as,
)
from cache.keys import content_key

PointState = Literal["waiting", "under way", "done", "failed"]


_Finished = Callable[[str, EvaluateSpec | FootprintSpec], JobRecord | None]


@dataclass(frozen=True)
class Point:
    """One pruning of a sweep, its children so far and its state. reason: why it failed. An eviction is scored, not
    pruned.
    """

    pruning: PruneSpec
    dense: JobRecord | None
    pruned: JobRecord | None
    evaluated: JobRecord | None
    footprint: JobRecord | None
    state: PointState
    reason: str = ""


@dataclass(frozen=True)
class _Step:
    """Next child of a point. urgent: finishing points comes before starting others."""

    name: str
    kind: str
    spec: Spec
    urgent: int


@dataclass
class _Live:
    """A sweep in progress. prunings: by their digest. looked_up: earlier answers were searched for."""

    spec: SweepSpec
    prunings: dict[str, PruneSpec]
    looked_up: bool = False


class Sweeps(Planner[SweepSpec, _Live]):
    """Planner of sweeps, with a thread that runs while there are any."""

    kind, spec = "sweep", SweepSpec

    def _begun(self, spec: SweepSpec) -> _Live:
        return _Live(spec, _prunings(spec))

    def points(self, record: JobRecord) -> list[Point]:
        """Return every point of a sweep and its state, in grid order."""
        spec = record.parameters(SweepSpec)
        return [self._point(spec, record, digest, pruning) for digest, pruning in _prunings(spec).items()]

    def unanswered(self, spec: SweepSpec) -> list[PruneSpec]:
        """The points that a sweep would have to prune or score, as no earlier answer is in the store."""
        finished, pruned = self._finished(), {_asked(job.spec) for job in self._job_store.jobs("prune")}
        return [
            point
            for point in grid(spec).prunings
            if (not isinstance(point, EvictionPoint) and _asked(point.model_dump(mode="json")) not in pruned)
            or not self._earlier(spec, point, finished)
        ]

    def _whole(self, record: JobRecord) -> bool:
        """Return True if the answers of all points of a finished sweep are still in the store."""
        return all(
            point.state == "done" and point.evaluated is not None and self._engine.has_result(point.evaluated)
            for point in self.points(record)
        )

    def _advance(self, sweep_id: str, sweep: _Live) -> None:
        record = self._running(sweep_id)
        if record is None:
            return
        if not sweep.looked_up:
            sweep.looked_up = True
            record = self._take_in_earlier(record, sweep)
        points = {
            digest: self._point(sweep.spec, record, digest, pruning) for digest, pruning in sweep.prunings.items()
        }
        steps: dict[str, _Step] = {}
        shared = _read_by(point.pruning for point in points.values() if point.pruned is None)
        for digest, point in points.items():
            if point.state == "done" and sweep.spec.keep == "masks":
                self._drop_checkpoint(record, digest, point)
            step = self._next(sweep.spec, record, digest, point, shared)
            if step is not None:
                steps.setdefault(step.name, step)
        room = self._room(record)
        idle = room == LOOKAHEAD * self._engine.workers()
        for step in sorted(steps.values(), key=lambda step: -step.urgent)[: max(0, room)]:
            record = self._ask(record, step)
        self._tell(record, list(points.values()), finished=not steps and idle)

    def _take_in_earlier(self, record: JobRecord, sweep: _Live) -> JobRecord:
        """Record the children of points that were already answered."""
        finished, known = self._finished(), children(record)
        for digest, pruning in sweep.prunings.items():
            if not {f"prune {digest}", _evaluates(pruning)} & known.keys():
                for name, job in self._earlier(sweep.spec, pruning, finished).items():
                    noted = _evaluates(pruning) if name == "evaluate" else f"{name} {digest}"
                    record = self._note(record.id, noted, job) or record
        return record

    def _tell(self, record: JobRecord, points: list[Point], finished: bool) -> None:
        states = [point.state for point in points]
        done, failed = states.count("done"), states.count("failed")
        failures = f", {failed} failed" if failed else ""
        self._job_store.report(
            record.id, {"phase": f"pruning and scoring{failures}", "done": done + failed, "total": len(points)}
        )
        if not finished or done + failed < len(points):
            return
        counts = {"done": done, "failed": failed}
        if not failed:
            self._end(record.id, "done", summary={**record.summary, **counts})
            return
        first = next(point.reason for point in points if point.state == "failed")
        many = f"{failed} of {len(points)} points failed. The first: {first}"
        self._end(record.id, "failed", reason=many, summary={**record.summary, **counts})

    # --- points and their children ---

    def _point(self, spec: SweepSpec, record: JobRecord, digest: str, pruning: PruneSpec) -> Point:
        names = _dense(pruning.model), f"prune {digest}", _evaluates(pruning), f"footprint {digest}"
        dense, pruned, evaluated, footprint = (self._child(record, name) for name in names)
        evicts = isinstance(pruning, EvictionPoint)
        needed = [dense, evaluated] if evicts else [pruned, dense, evaluated, *([footprint] if spec.footprints else [])]
        failed = next((job for job in needed if job is not None and job.ended and not ended_well(job)), None)
        if failed is not None:
            return Point(pruning, dense, pruned, evaluated, footprint, "failed", why_ended(failed))
        state: PointState = "waiting" if (evaluated if evicts else pruned) is None else "under way"
        if all(job is not None and job.ended for job in needed):
            state = "done"
        return Point(pruning, dense, pruned, evaluated, footprint, state)

    def _next(
        self, spec: SweepSpec, record: JobRecord, digest: str, point: Point, shared: Counter[str]
    ) -> _Step | None:
        """The child to ask for next; None while one is under way, and where none is left or one has failed."""
        if point.state in ("done", "failed"):
            return None
        model = point.pruning.model
        if point.dense is None:
            return _Step(_dense(model), "evaluate", spec.evaluation_of(model), urgent=3)
        if isinstance(point.pruning, EvictionPoint):
            if point.dense.state != "done" or point.evaluated is not None:
                return None
            return _Step(_evaluates(point.pruning), "evaluate", _evaluation(spec, point.pruning), urgent=1)
        prune = self._prune_step(record, digest, point.pruning, shared)
        if point.pruned is None:
            # Nothing is pruned before the dense model's evaluation has found its tasks.
            begun = point.dense.ended or self._job_store.progress(point.dense.id).phase == EVALUATING
            return prune if begun else None
        if point.pruned.state != "done" or point.dense.state != "done":
            return None
        folder = self._folder(point.pruned)
        if folder is None:  # it was removed before it was scored
            return prune
        if point.evaluated is None:
            return _Step(_evaluates(point.pruning), "evaluate", _evaluation(spec, point.pruning, folder), urgent=1)
        if spec.footprints and point.footprint is None and point.evaluated.state == "done":
            footprint = FootprintSpec(model=model, pruned=folder)
            return _Step(f"footprint {digest}", "footprint", footprint, urgent=2)
        return None

    def _prune_step(self, record: JobRecord, digest: str, pruning: PruneSpec, shared: Counter[str]) -> _Step | None:
        """Return the pruning of a point, or first the dense model's statistics if several points read them."""
        step = _Step(f"prune {digest}", "prune", pruning, urgent=0)
        question = DenseStatisticsSpec.of(pruning)
        if question is None or shared[question.model_dump_json()] < 2 or not self._engine.shares_store:
            return step
        name = f"statistics {_digest(question)}"
        job = self._child(record, name)
        if job is None:
            return _Step(name, "dense_statistics", question, urgent=0)
        return step if job.ended else None  # the pruning itself then reports why they failed

    def _folder(self, pruned: JobRecord) -> str | None:
        result = self._engine.result(pruned)
        return None if result is None or result.folder is None else str(result.folder)

    def _earlier(self, spec: SweepSpec, pruning: PruneSpec, finished: _Finished) -> dict[str, JobRecord]:
        """Return the earlier jobs that answer a point, of a sweep or not; its checkpoint may be gone. Otherwise empty.

        Keyed by purpose: `prune`, `evaluate` and, if requested, `footprint`.
        """
        if isinstance(pruning, EvictionPoint):
            scored = finished("evaluate", _evaluation(spec, pruning))
            return {} if scored is None else {"evaluate": scored}
        key = known_key("prune", pruning)
        if key is None:
            return {}
        folder = str(self._engine.store.kept / key / folder_name(pruning))
        pruned = self._engine.answered("prune", key)
        if pruned is None and spec.keep == "masks":
            pruned = self._engine.answered("prune", _masks_key(key))
        records = {"prune": pruned, "evaluate": finished("evaluate", _evaluation(spec, pruning, folder))}
        if spec.footprints:
            records["footprint"] = finished("footprint", FootprintSpec(model=pruning.model, pruned=folder))
        return {name: job for name, job in records.items() if job is not None} if all(records.values()) else {}

    def _finished(self) -> _Finished:
        """Return a lookup of finished jobs by exact parameters, for this version of the code and the current model."""

        @cache
        def by_spec(kind: str) -> dict[str, JobRecord]:
            code = code_of(kind)
            return {
                json.dumps(job.spec, sort_keys=True): job
                for job in reversed(self._engine.jobs(kind))
                if job.state == "done" and job.code == code and ended_well(job)
            }

        def find_job(kind: str, spec: EvaluateSpec | FootprintSpec) -> JobRecord | None:
            job = by_spec(kind).get(json.dumps(spec.model_dump(mode="json"), sort_keys=True))
            if job is None or not self._engine.has_result(job):
                return None
            checkpoint, content = checkpoint_of(spec.model), job.summary.get("fingerprint")
            same = content is None or (checkpoint is not None and content == fingerprint(checkpoint))
            return job if same else None

        return find_job

    def _ask(self, record: JobRecord, step: _Step) -> JobRecord:
        known = self._finished()("evaluate", step.spec) if isinstance(step.spec, EvaluateSpec) else None
        if known is not None:
            return self._note(record.id, step.name, known) or record
        there = step.kind == "prune" and self._engine.answered("prune", step.spec) is not None
        job = self._engine.submit(step.kind, step.spec, self._asker(record.id), record)
        return self._note(record.id, step.name, job, made=step.kind == "prune" and not there) or record

    def _drop_checkpoint(self, record: JobRecord, digest: str, point: Point) -> None:
        """Remove the weights of a checkpoint that this sweep made and scored; its masks and its report stay."""
        name, pruned = f"prune {digest}", point.pruned
        if (
            name not in record.summary.get("made", [])
            or pruned is None
            or not pruned.key
            or whole_key(pruned.key) != pruned.key
        ):
            return
        with self._job_store.changed:
            others = [job for job in map(self._job_store.job, self._live) if job is not None and job.id != record.id]
            if any(pruned.id in children(other).values() for other in others):
                return
            folder = self._folder(pruned)
            if any(not job.ended and folder in _folders_of(job) for job in self._engine.jobs()):
                return
            key = _masks_key(pruned.key)
            self._engine.store.keep_only(pruned.key, key, (CONFIG_FILE, MASK_FILE, REPORT_FILE))
            self._job_store.save(pruned.model_copy(update={"key": key, "summary": {**pruned.summary, "dropped": True}}))


# --- names ------------------------------------------------------------------------------------------------------


def _prunings(spec: SweepSpec) -> dict[str, PruneSpec]:
    return {_digest(point): point for point in grid(spec).prunings}


def _digest(spec: Spec) -> str:
    """A name for a question that a parameter which later versions add, at its default, does not change."""
    return content_key(point=spec.model_dump(mode="json", exclude_defaults=True))[:12]


def _read_by(prunings: Iterable[PruneSpec]) -> Counter[str]:
    """Count the prunings that read the same statistics of the dense model, by the statistics they ask for."""
    questions = map(DenseStatisticsSpec.of, prunings)
    return Counter(question.model_dump_json() for question in questions if question is not None)


def _evaluates(pruning: PruneSpec) -> str:
    return f"evaluate {_digest(scored_as(pruning))}"


def _asked(spec: Mapping[str, Any]) -> str:
    """Return what a pruning's job was asked for, of whatever model: part of its result's key."""
    return json.dumps({name: value for name, value in spec.items() if name != "model"}, sort_keys=True)


def _evaluation(spec: SweepSpec, pruning: PruneSpec, folder: str = "") -> EvaluateSpec:
    kept = str(pruning.keeping) if isinstance(pruning, EvictionPoint) else ""
    return spec.evaluation_of(pruning.model, folder, point_name(pruning), kept)


def _dense(model: ModelSpec) -> str:
    return f"dense {model.source}"


def _folders_of(job: JobRecord) -> set[str]:
    """The checkpoints beside its model that a job reads."""
    compared = [model.get("source") for model in job.spec.get("compare", ()) if isinstance(model, dict)]
    return {str(name) for name in (*compared, job.spec.get("pruned"), job.spec.get("model", {}).get("source")) if name}


def _masks_key(key: str) -> str:
    return f"masks-{key}"


def whole_key(key: str) -> str:
    """The name that a result had before its weights were dropped; its own, where they were not."""
    return key.removeprefix(_masks_key(""))


Read = Callable[[Path, PruneSpec], PointScores]


def scored(points: Sequence[Point], file_of: Callable[[JobRecord], Path | None], read: Read) -> list[PointScores]:
    """The scores of the points that have any. file_of: the file that a job left, or None where it was evicted."""
    scores = []
    for point in points:
        if point.evaluated is None or point.evaluated.state != "done":
            continue
        file = file_of(point.evaluated)
        if file is not None:
            scores.append(read(file, point.pruning))
    return scores


def point_row(point: Point) -> dict[str, Any]:
    """Return a point as a table row: folder, state, accuracies, size, speed and duration.

    weights that are not 0: of the pruned projections; of the whole model if its size was measured. Bytes: of all
    weights by arithmetic, as in `packed_bytes`. Unknown values are None.
    """
    pruned, evaluated = _summary(point.pruned), _summary(point.evaluated)
    report = pruned.get("report", {})
    sparsity, size = report.get("sparsity", {}), reported_bytes(report)
    measured = _summary(point.footprint).get("footprint") or {}
    speed = measured.get("speed") or {}
    average = evaluated.get("average", [])
    cache = evaluated.get("cache")
    kept = _cache_bytes(point.pruning.budget, cache) if cache and isinstance(point.pruning, EvictionPoint) else {}
    return {
        **axes_of(point.pruning),
        "seed": point.pruning.calibration.seed,
        "state": point.state,
        "accuracy": average[1]["value"] if len(average) > 1 else None,
        "dense": average[0]["value"] if average else None,
        **{
            task["title"]: task["models"][1]["value"]
            for task in evaluated.get("tasks", [])
            if len(task.get("models", ())) > 1
        },
        "weights removed": sparsity.get("overall"),
        "weights not 0": sparsity["weights"] - sparsity["pruned_weights"] if sparsity else None,
        "of the model": measured["pruned"]["nonzeros"] if measured else None,
        "bytes": size[1] if size else measured["pruned"]["bitmask_bytes"] if measured else None,
        "dense bytes": size[0] if size else measured["dense"]["dense_bytes"] if measured else None,
        CACHE: kept.get("kept"),
        f"dense {CACHE}": kept.get("all"),
        "ms per forward": 1000 * speed["pruned_seconds"] if speed else None,
        "dense ms": 1000 * speed["dense_seconds"] if speed else None,
        "timed": timed_on(speed) if speed else None,
        "speed beside dense": speed.get("speedup"),
        "seconds to prune": _seconds(point.pruned),
        "seconds to score": _seconds(point.evaluated),
        "reason": point.reason,
        "fingerprint": evaluated.get("fingerprint"),
        "pruning": point.pruned.id if point.pruned is not None else None,
        "evaluation": point.evaluated.id if point.evaluated is not None else None,
    }


def _cache_bytes(budget: float, cache: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the bytes of keys and values, kept and all, for one text of maximum length. cache: of an
    `EvaluateSummary`.
    """
    alike = [(part["bytes_per_token"], part["tokens"]) for part in cache]
    return {
        "kept": sum(each * count_kept(budget, tokens) for each, tokens in alike),
        "all": sum(each * tokens for each, tokens in alike),
    }


def timed_on(speed: Mapping[str, Any]) -> str:
    """Return the conditions of a timing: batch and length, precision, hardware and threads."""
    return (
        f"{speed['sequences']} × {speed['tokens']} tokens, {speed['dtype']}, {speed['device_name']}, "
        f"{speed['threads']} threads"
    )


def _summary(job: JobRecord | None) -> dict[str, Any]:
    return job.summary if job is not None and job.state == "done" else {}


def seconds_taken(points: Sequence[Point]) -> float:
    """Return the total seconds of the jobs of a sweep's points, whenever they ran; each counts once."""
    jobs = {
        job.id: job for point in points for job in (point.dense, point.pruned, point.evaluated, point.footprint) if job
    }
    return sum(_seconds(job) or 0.0 for job in jobs.values())


def _seconds(job: JobRecord | None) -> float | None:
    if job is None or job.state != "done" or job.started is None or job.finished is None:
        return None
    return round(job.finished - job.started, 3)
