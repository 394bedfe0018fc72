"""Data that only the story shows: one text with and without its sinks hidden, masks beside those of two calibration
seeds, and the recordings as the explorer takes them. Nothing is run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from analysis.engine import Engine, JobRecord
from analysis.engine.sweeps import Point
from analysis.errors import UserError
from analysis.evaluation.ablation_effects import COUNT
from analysis.pruned import masks_file
from analysis.pruned.compare import disagreement, independent_disagreement, overlap, pairs_of
from analysis.recording.explored import explored
from analysis.recording.explored_text import packed_text
from analysis.recording.trajectory import Trajectory
from analysis.specs import METHODS
from analysis.study.findings import Continuation, MaskChange

MOST_SEEDS = 6  # whose masks are compared, so that those of large models are read in a reasonable time
MOST_BYTES = 1 << 20  # of an explorer in a study, packed: what a report of three megabytes has room for


def continuations_of(ablations: Mapping[str, JobRecord]) -> tuple[Continuation, ...]:
    """Return the texts of one prompt of each model, the one whose text hiding sinks changes nearest the median:
    untouched, with its sinks and with matched tokens hidden.

    Ablations of earlier versions kept no text or that of the first prompt, or named its control as `matched`.
    """
    found = []
    for model, job in ablations.items():
        written = {
            row.get("control", COUNT if row.get("matched") else ""): tuple(row["words"])
            for row in job.summary.get("texts", ())
            if row["intervention"] == "attention" and row["target"] == "sinks"
        }
        if {"", COUNT} <= written.keys():
            untouched = tuple(job.summary["untouched"])
            shown = job.summary.get("shown", 0)
            prompt = str(job.spec["prompts"][shown]) if job.spec.get("prompts") else ""
            others = {control: words for control, words in written.items() if control not in ("", COUNT)}
            found.append(
                Continuation(
                    model=model,
                    prompt=prompt,
                    number=shown + 1,
                    median_of=job.summary["prompts"] if "shown" in job.summary else 0,
                    untouched=untouched,
                    hidden=written[""],
                    matched=written[COUNT],
                    others=others,
                )
            )
    return tuple(found)


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
