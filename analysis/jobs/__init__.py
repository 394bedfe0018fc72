"""Table of jobs: a spec in, a summary and a file out. Run in a worker, or in the command line's own process.

A job is one row of `JOBS`. torch is imported inside the jobs, so that the dashboard's process can read this table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from analysis.job_context import Context
from analysis.jobs.calibration import calibrate, heldout, seed_floor
from analysis.jobs.claim_measures import measure_claims
from analysis.jobs.evaluation import evaluate, import_results
from analysis.jobs.eviction import evict
from analysis.jobs.insights import ablate, alternatives, attention_map, geometry, lens
from analysis.jobs.models import load_model, unload_model
from analysis.jobs.outcome import Outcome, Summary, result_key
from analysis.jobs.prompt_by_prompt import ablate_set
from analysis.jobs.pruning import dense_statistics, estimate, footprint, prune
from analysis.jobs.recording_sets import record_set
from analysis.jobs.recordings import is_short, noise, record, reference
from analysis.jobs.suggestion import suggest
from analysis.jobs.summaries import (
    AblateSetPartial,
    AblateSetSummary,
    AblateSummary,
    AlternativesSummary,
    AttentionMapSummary,
    CalibrateSummary,
    ClaimMeasuresSummary,
    DenseStatisticsSummary,
    EstimateSummary,
    EvaluatePartial,
    EvaluateSummary,
    EvictPartial,
    EvictSummary,
    FootprintSummary,
    GeometrySummary,
    ImportSummary,
    LensSummary,
    LoadSummary,
    NoSummary,
    PrunePartial,
    PruneSummary,
    RecordPartial,
    RecordSetSummary,
    RecordSummary,
    ReplaySummary,
    StatisticsPartSummary,
    StudySummary,
    SuggestPartial,
    SuggestSummary,
    SweepSummary,
)
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.registry import Registry
from analysis.specs import (
    AblateSetSpec,
    AblateSpec,
    AlternativesSpec,
    AttentionMapSpec,
    CalibrateSpec,
    ClaimMeasuresSpec,
    ClaimsSpec,
    DenseStatisticsSpec,
    EstimateSpec,
    EvaluateSpec,
    EvictSpec,
    FootprintSpec,
    GeometrySpec,
    HeldoutSpec,
    ImportSpec,
    JobSpec,
    LensSpec,
    LoadSpec,
    NoiseSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
    ReferenceSpec,
    SeedFloorSpec,
    Spec,
    StudySpec,
    SuggestSpec,
    SweepSpec,
    UnloadSpec,
)
from cache.keys import code_version

SpecType = TypeVar("SpecType", bound=Spec)


@dataclass(frozen=True)
class Job(Generic[SpecType, Summary]):
    """One kind of job. name: its identifier. title: for people. run: executed by a worker, or None for one that the
    engine carries out by submitting others (`engine/sweeps.py`). summary: its result; partial: results during the run,
    fields of `Progress.details`. stored: its result is kept, so that the same question is answered by reading. short:
    takes seconds and only looks at its spec's `model`, so it may run between the steps of a long job that holds this
    model. is_short: the same for single specs; such a job may load its model beside the one held. stops_early: it can
    be asked to end with partial results. lasting: all its records are kept, others' only for the newest jobs.
    """

    name: str
    title: str
    run: Callable[[SpecType, Context], Outcome[Summary]] | None
    spec: type[SpecType]
    summary: type[Summary]
    partial: type[Mapping[str, object]] = NoSummary
    stored: bool = True
    short: bool = False
    is_short: Callable[[SpecType], bool] | None = None
    stops_early: bool = False
    lasting: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError if a result could not be found again: its key holds the name of the function."""
        if self.stored and self.run is not None and self.run.__name__ != self.name:
            raise ValueError(f"The job '{self.name}' is stored, so its function is called '{self.name}' as well.")


JOBS: Registry[Job[Any, Any]] = Registry(
    Job("load", "Load a model", load_model, LoadSpec, LoadSummary, stored=False, short=True),
    Job("unload", "Unload the model", unload_model, UnloadSpec, NoSummary, stored=False),
    Job(
        "record",
        "Record a trajectory",
        record,
        RecordSpec,
        RecordSummary,
        RecordPartial,
        is_short=is_short,
        lasting=True,
    ),
    Job(
        "record_set",
        "Record a set of prompts",
        record_set,
        RecordSetSpec,
        RecordSetSummary,
        stops_early=True,
        lasting=True,
    ),
    Job("attention_map", "Fetch an attention map", attention_map, AttentionMapSpec, AttentionMapSummary, short=True),
    Job("alternatives", "Read the alternatives", alternatives, AlternativesSpec, AlternativesSummary, short=True),
    Job("reference", "Observe random weights", reference, ReferenceSpec, ReplaySummary, short=True),
    Job("noise", "Observe noised text", noise, NoiseSpec, ReplaySummary, short=True),
    Job("geometry", "Measure geometry", geometry, GeometrySpec, GeometrySummary),
    Job("lens", "Read layers by the head", lens, LensSpec, LensSummary, short=True),
    Job("ablate", "Ablate sinks", ablate, AblateSpec, AblateSummary, short=True),
    Job(
        "ablate_set",
        "Ablate sinks over a set",
        ablate_set,
        AblateSetSpec,
        AblateSetSummary,
        AblateSetPartial,
        stops_early=True,
        lasting=True,
    ),
    Job(
        "measure_claims",
        "Measure what claims are about",
        measure_claims,
        ClaimMeasuresSpec,
        ClaimMeasuresSummary,
        lasting=True,
    ),
    Job("evict", "Evict keys and values", evict, EvictSpec, EvictSummary, EvictPartial, stops_early=True, lasting=True),
    Job("prune", "Prune a model", prune, PruneSpec, PruneSummary, PrunePartial, lasting=True),
    Job(
        "dense_statistics",
        "Store statistics of the dense model",
        dense_statistics,
        DenseStatisticsSpec,
        DenseStatisticsSummary,
        PrunePartial,
    ),
    Job("footprint", "Measure a footprint", footprint, FootprintSpec, FootprintSummary),
    Job("estimate", "Estimate a pruning", estimate, EstimateSpec, EstimateSummary, PrunePartial, short=True),
    Job("calibrate", "Store calibration statistics", calibrate, CalibrateSpec, CalibrateSummary),
    Job("seed_floor", "Run another calibration seed", seed_floor, SeedFloorSpec, StatisticsPartSummary),
    Job("heldout", "Run held-out text", heldout, HeldoutSpec, StatisticsPartSummary),
    # The answers of an evaluation and the trials of a search are cached one by one: a later run resumes.
    Job("evaluate", "Evaluate", evaluate, EvaluateSpec, EvaluateSummary, EvaluatePartial, stored=False, lasting=True),
    Job("import", "Import results of lm-eval", import_results, ImportSpec, ImportSummary, stored=False, lasting=True),
    Job(
        "suggest",
        "Suggest a discount",
        suggest,
        SuggestSpec,
        SuggestSummary,
        SuggestPartial,
        stored=False,
        lasting=True,
    ),
    Job("sweep", "Sweep", None, SweepSpec, SweepSummary, stored=False, lasting=True),
    Job("claims", "Claims", None, ClaimsSpec, StudySummary, stored=False, lasting=True),
    Job("study", "Study", None, StudySpec, StudySummary, stored=False, lasting=True),
)


_key = lru_cache(maxsize=4096)(result_key)


def known_key(kind: str, spec: Spec) -> str | None:
    """The result's name before running, where the model is on this disk. Raises UserError for a bad source."""
    job = JOBS[kind]
    if not job.stored or job.run is None or not isinstance(spec, JobSpec):
        return None
    checkpoint = checkpoint_of(spec.model)
    return _key(job.run, spec, fingerprint(checkpoint)) if checkpoint else None


def code_of(kind: str) -> str:
    """Return the version of the code behind a job of this kind; that of all jobs for one that submits others."""
    run = JOBS[kind].run
    return code_version(*sorted({job.run.__module__ for job in JOBS.values() if job.run and run in (None, job.run)}))
