"""Results that the jobs of a run of the claims have left: recordings, measurements and scores. Nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from analysis.engine import Engine, JobRecord
from analysis.engine.claims import prompts_of
from analysis.engine.planned_parts import Part
from analysis.engine.sweep_points import Read, scored
from analysis.evaluation import sweep_scores
from analysis.evaluation.sweep_scores import Setting
from analysis.jobs.summaries import ClaimMeasuresSummary
from analysis.recording.set_file import RecordingSet, open_set
from analysis.specs import CLAIM_DATA, ClaimsSpec


@dataclass(frozen=True)
class Found:
    """Data of a run of the claims. clusters: of each prompt, (N,). settings: of the sweep, once it is complete.
    reference: the twin's name in sentences. reasons: why data are missing, by row of `CLAIM_DATA`.
    """

    random_models: int
    clusters: np.ndarray
    recordings: RecordingSet | None = None
    inside: ClaimMeasuresSummary | None = None
    twin: ClaimMeasuresSummary | None = None
    settings: Sequence[Setting] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the model, as its jobs say it; empty where none does."""
        if self.inside is not None:
            return self.inside["fingerprint"]
        return "" if self.recordings is None else self.recordings.info.model.fingerprint

    def why(self, data: str) -> str:
        """Return why some data are missing, and what would provide them, in a sentence or two."""
        return self.reasons.get(data) or CLAIM_DATA[data].without


def found_by(record: JobRecord, engine: Engine, read: Read = sweep_scores.read_scores) -> Found:
    """Return the results of a run of the claims so far. Raises UserError for a damaged file."""
    spec = record.parameters(ClaimsSpec)
    parts = {part.name: part for part in engine.parts(record)}
    jobs = {
        name: job for name, part in parts.items() for job in part.jobs.values() if job.ended and job.state == "done"
    }
    file = engine.result_file(jobs["set"]) if "set" in jobs else None
    settings: Sequence[Setting] = ()
    if "sweep" in jobs:
        points = engine.sweep_points(jobs["sweep"])
        settings = sweep_scores.settings(scored(points, engine.result_file, read), [point.pruning for point in points])
    return Found(
        spec.random_models,
        clusters_of(spec),
        None if file is None else open_set(file, "The stored set of recordings"),
        _measured(jobs, "inside"),
        _measured(jobs, "twin"),
        settings,
        {
            name: _why(part, record.ended)
            for name, part in parts.items()
            if name not in jobs and part.state != "not asked"
        },
        "" if spec.reference is None else spec.reference.source,
    )


def clusters_of(spec: ClaimsSpec) -> np.ndarray:
    """The number of each prompt's cluster, (N,): its own where it shares no key."""
    texts, keys = prompts_of(spec)
    return np.asarray(np.unique(keys or [str(index) for index in range(len(texts))], return_inverse=True)[1])


def _measured(jobs: Mapping[str, JobRecord], name: str) -> ClaimMeasuresSummary | None:
    return cast(ClaimMeasuresSummary, jobs[name].summary) if name in jobs else None


def _why(part: Part, ended: bool) -> str:
    if part.state == "failed":
        return part.reason
    title = CLAIM_DATA[part.name].title
    return f"This run has no {title}. Test the claims again." if ended else f"Still to come: {title}."
