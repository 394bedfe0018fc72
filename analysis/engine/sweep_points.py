"""Numbers of a sweep's points: their scores from the files of answers, and one table row each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.engine.records import JobRecord
from analysis.engine.sweeps import Point
from analysis.evaluation.frontier import CACHE
from analysis.evaluation.sweep_scores import PointScores
from analysis.evaluation.sweep_tables import axes_of
from analysis.pruned.packed import reported_bytes
from analysis.recording.keeping import count_kept
from analysis.specs import EvictionPoint, PruneSpec

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


def _cache_bytes(budget: float, cache: Sequence[Mapping[str, int]] | Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of keys and values, kept and all, for one text of maximum length. cache: of an
    `EvaluateSummary`.
    """
    alike = [(part["bytes_per_token"], part["tokens"]) for part in ([cache] if isinstance(cache, Mapping) else cache)]
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
