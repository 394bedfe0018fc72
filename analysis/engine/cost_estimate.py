"""Estimates of a sweep's time, memory and disk from existing measurements, and of what is still unknown; and of a
search's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from analysis.engine.job_store import JobRecord
from analysis.engine.planned import LOOKAHEAD
from analysis.engine.sweeps import Sweeps
from analysis.models.checkpoint import checkpoint_of, weight_bytes
from analysis.specs import EstimateSpec, EvaluateSpec, EvictionPoint, PruneSpec, SweepSpec, grid, setting_key
from analysis.words import counted, model_in_words

if TYPE_CHECKING:
    from analysis.engine.engine import Engine


@dataclass(frozen=True)
class CostEstimate:
    """Remaining work of a sweep. points: to prune and score; known: already answered. seconds: of the measured part,
    over all workers. memory_bytes: besides a model; disk_bytes: at most; None if unknown. estimates: those that would
    fill gaps. unknown: sentences on the gaps. unmeasured: prunings of unknown duration. unscored: models whose scoring
    was not measured. evictions: of the points.
    """

    points: int
    known: int
    workers: int
    seconds: float
    memory_bytes: int | None
    disk_bytes: int | None
    estimates: tuple[EstimateSpec, ...]
    unknown: tuple[str, ...]
    unmeasured: tuple[PruneSpec, ...] = ()
    unscored: tuple[str, ...] = ()
    evictions: int = 0


def nothing_swept(workers: int) -> CostEstimate:
    """Return the cost estimate of no sweep."""
    return CostEstimate(0, 0, workers, 0.0, None, 0, (), ())


def foresee(engine: "Engine", sweeps: Sweeps, spec: SweepSpec) -> CostEstimate:
    """Estimate from earlier runs and estimates, without running anything. A pruning that never ran on as much text is
    estimated from the nearest amount, scaled up where that is less. Raises UserError for a bad model source.
    """
    unanswered = sweeps.unanswered(spec)
    points = [point for point in unanswered if not isinstance(point, EvictionPoint)]
    evicted = {setting_key(point) for point in unanswered if isinstance(point, EvictionPoint)}
    took = _seconds_taken(engine.jobs("prune")) if points else {}
    answered = len(grid(spec).prunings) - len(unanswered)
    pruning, scoring, memory, estimates, unknown = 0.0, 0.0, None, {}, []
    unmeasured: list[PruneSpec] = []
    unscored: list[str] = []
    answers: dict[EstimateSpec, JobRecord | None] = {}
    for point in points:
        question = _question_of(point)
        if question not in answers:
            answers[question] = engine.answered("estimate", question)
        estimate = answers[question]
        by_size, size = took.get(_but_size(question), {}), _size(question)
        seconds = fmean(by_size[size]) if size in by_size else None
        if estimate is not None:
            seconds = estimate.summary["total_seconds"] if seconds is None else seconds
            memory = max(memory or 0, estimate.summary["memory_bytes"])
        else:
            estimates[question.model_dump_json()] = question
        if seconds is None and by_size:
            nearest = min(by_size, key=lambda other: max(other / size, size / other))
            seconds = fmean(by_size[nearest]) * max(1.0, size / nearest)
        if seconds is None:
            unmeasured.append(point)
        pruning += seconds or 0.0
    if unmeasured:
        unknown.append(f"the time of {len(unmeasured)} of {len(points)} prunings, until they are estimated")
    for model in spec.models:
        of_model = [point for point in points if point.model == model]
        seconds = _seconds_a_model(engine.jobs("evaluate"), spec.evaluation_of(model))
        if of_model and seconds is None:
            unscored.append(model.source)
            called = model_in_words(model.source)
            unknown.append(f"the time of scoring {called} and its pruned models: these tasks were not run on it")
        scoring += (seconds or 0.0) * (len(of_model) + 1 if of_model else 0)
    if evicted:
        unknown.append(
            f"the time of scoring {len(evicted)} evictions, each of which takes two forwards in place of one"
        )
    if points and spec.footprints:
        unknown.append("the time of measuring sizes and speeds")
    workers = engine.workers()
    disk = _disk(spec, points, workers)
    if disk is None:
        unknown.append("the room on the disk, until the models are downloaded")
    return CostEstimate(
        len(unanswered),
        answered,
        workers,
        pruning + scoring,
        memory,
        disk,
        tuple(estimates.values()),
        tuple(unknown),
        tuple(unmeasured),
        tuple(unscored),
        len(unanswered) - len(points),
    )


def _size(question: EstimateSpec) -> int:
    """Return the tokens of a pruning's calibration, on which its time depends most."""
    return question.calibration.samples * question.calibration.seq_len


@lru_cache(maxsize=4096)
def _question_of(pruning: PruneSpec) -> EstimateSpec:
    return EstimateSpec.of(pruning)


@lru_cache(maxsize=4096)
def _but_size(question: EstimateSpec) -> str:
    return question.model_dump_json(exclude={"calibration": {"samples", "seq_len"}})


def _seconds_taken(jobs: Sequence[JobRecord]) -> dict[str, dict[int, list[float]]]:
    """Return the durations of finished prunings, by all that decides them but the calibration's size, and by that."""
    took: dict[str, dict[int, list[float]]] = {}
    for job in jobs:
        if job.state != "done" or job.cached or not job.started or not job.finished:
            continue
        try:
            question = _question_of(job.parameters(PruneSpec))
        except ValueError:  # parameters that changed since
            continue
        took.setdefault(_but_size(question), {}).setdefault(_size(question), []).append(job.finished - job.started)
    return took


def _seconds_a_model(jobs: Sequence[JobRecord], evaluation: EvaluateSpec) -> float | None:
    """Return the seconds to evaluate a model and its pruned copies on the requested number of items: measured, else
    scaled from other numbers of items; None if neither is available.
    """
    wanted, took, scaled = _question(evaluation), [], []
    for job in jobs:
        if job.state != "done" or not job.started or not job.finished:
            continue
        fresh = job.summary.get("answers", 0) - job.summary.get("restored", 0)
        try:
            spec = job.parameters(EvaluateSpec)
        except ValueError:
            continue
        if fresh <= 0 or spec.model != evaluation.model:
            continue
        seconds = (job.finished - job.started) * job.summary["answers"] / fresh / len(spec.models)
        if _question(spec) == wanted:
            took.append(seconds)
        elif spec.limit and evaluation.limit and _question(spec, "limit") == _question(evaluation, "limit"):
            scaled.append(seconds * evaluation.limit / spec.limit)
    return fmean(took or scaled) if took or scaled else None


@lru_cache(maxsize=4096)
def _question(spec: EvaluateSpec, *left_out: str) -> str:
    return spec.model_dump_json(exclude={"model", "compare", "names", "seed", *left_out})


def _disk(spec: SweepSpec, points: Sequence[PruneSpec], workers: int) -> int | None:
    """Bytes of checkpoints and masks, at the most: with the weights dropped, those that wait to be scored."""
    total = 0
    for model in spec.models:
        checkpoint = checkpoint_of(model)
        pruned_of_it = sum(point.model == model for point in points)
        if checkpoint is None:
            if pruned_of_it:
                return None
            continue
        whole = weight_bytes(checkpoint, None)
        masks = weight_bytes(checkpoint, 1) // 8  # a bit a weight
        at_once = pruned_of_it if spec.keep == "checkpoints" else min(pruned_of_it, LOOKAHEAD * workers + 1)
        total += whole * at_once + masks * pruned_of_it
    return total


def lines(cost_estimate: CostEstimate) -> list[str]:
    """Return the cost of a sweep in sentences."""
    known = f"; {cost_estimate.known:,} more are answered already" if cost_estimate.known else ""
    prunings = cost_estimate.points - cost_estimate.evictions
    counts = [f"{prunings:,} prunings to do and to score"] if prunings or not cost_estimate.evictions else []
    counts += [f"{cost_estimate.evictions:,} evictions to score"] if cost_estimate.evictions else []
    told = [f"{' and '.join(counts)}{known}."]
    if not cost_estimate.points:
        return told
    if cost_estimate.seconds:
        workers = counted(cost_estimate.workers, "worker")
        told.append(
            f"About {most(cost_estimate.seconds)} of one worker's time at most, on an idle machine and of what is "
            f"known; less where prunings share statistics of the dense model. {workers}."
        )
    if cost_estimate.memory_bytes is not None:
        told.append(f"Up to {cost_estimate.memory_bytes / 1e6:,.0f} MB of memory beside a model.")
    if cost_estimate.disk_bytes is not None:
        told.append(f"Up to {cost_estimate.disk_bytes / 1e6:,.0f} MB on the disk.")
    if cost_estimate.unknown:
        told.append(f"Not known: {'; '.join(cost_estimate.unknown)}.")
    return told


def added(cost_estimate: CostEstimate, again: int = 0, start: float = 0.0) -> str:
    """Return the remaining cost of a sweep in a short sentence. again: models of these that were made before, by an
    older version, or that are gone. start: seconds until the first job begins."""
    if not cost_estimate.points:
        return "All of it is answered already."
    time = "time not known"
    if cost_estimate.seconds and not cost_estimate.unmeasured:
        pruned = " to prune" if cost_estimate.unscored else ""
        time = f"about {most(start + cost_estimate.seconds)} at most{pruned} on an idle machine"
        time += "; scoring time not known" if cost_estimate.unscored else ""
    more = " more" if cost_estimate.known else ""
    if not again:
        return f"{cost_estimate.points:,}{more} model{'s' if cost_estimate.points > 1 else ''}: {time}."
    fresh = cost_estimate.points - again
    counts = f"{fresh:,} new models and {again:,}" if fresh > 0 else f"{again:,} models"
    return f"{counts} to redo (made by an older version or deleted): {time}."


def most(seconds: float) -> str:
    """Seconds as a plan says them of what must not take longer: rounded up."""
    if seconds < 90:
        return f"{ceil(seconds)} s"
    return f"{ceil(seconds / 60)} min" if seconds < 7200 else f"{ceil(seconds / 360) / 10:.1f} h"


def duration(seconds: float) -> str:
    """Seconds as a plan says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_MIDDLE = (10, 50, 90)  # percentiles of the trials measured


@dataclass(frozen=True)
class SearchTime:
    """Seconds that all trials of a search take: as the median trial took, and as those at 10 and 90 % did. measured:
    how many trials that is of.
    """

    low: float
    median: float
    high: float
    measured: int


def search_time(seconds: Sequence[float], trials: int) -> SearchTime | None:
    """Estimate the time of so many trials from those measured before; None without any. Remembered trials took no time
    and are left out.
    """
    spent = np.array([each for each in seconds if each > 0])
    if not len(spent):
        return None
    low, median, high = (float(end) * trials for end in np.percentile(spent, _MIDDLE))
    return SearchTime(low, median, high, len(spent))
