"""Table of jobs: a spec in, a summary and a file out. Run in a worker, or in the command line's own process.

A job is one row of `JOBS`. torch is imported inside the jobs, so that the dashboard's process can read this table.
"""

from collections.abc import Callable
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
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.prompt_by_prompt import ablate_set
from analysis.jobs.pruning import dense_statistics, estimate, footprint, prune
from analysis.jobs.recording_sets import record_set
from analysis.jobs.recordings import is_short, noise, record, reference
from analysis.jobs.suggestion import suggest
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
class Job(Generic[SpecType]):
    """One kind of job. name: its identifier. title: for people. run: executed by a worker, or None for one that the
    engine carries out by submitting others (`engine/sweeps.py`). stored: its result is kept, so that the same question
    is answered by reading. short: takes seconds and only looks at its spec's `model`, so it may run between the steps
    of a long job that holds this model. is_short: the same for single specs; such a job may load its model beside the
    one held. stops_early: it can be asked to end with partial results. lasting: all its records are kept, others' only
    for the newest jobs.
    """

    name: str
    title: str
    run: Callable[[SpecType, Context], Outcome[Any]] | None
    spec: type[SpecType]
    stored: bool = True
    short: bool = False
    is_short: Callable[[SpecType], bool] | None = None
    stops_early: bool = False
    lasting: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError if a result could not be found again: its key holds the name of the function."""
        if self.stored and self.run is not None and self.run.__name__ != self.name:
            raise ValueError(f"The job '{self.name}' is stored, so its function is called '{self.name}' as well.")


JOBS: Registry[Job[Any]] = Registry(
    Job("load", "Load a model", load_model, LoadSpec, stored=False, short=True),
    Job("unload", "Unload the model", unload_model, UnloadSpec, stored=False),
    Job("record", "Record a trajectory", record, RecordSpec, is_short=is_short, lasting=True),
    Job("record_set", "Record a set of prompts", record_set, RecordSetSpec, stops_early=True, lasting=True),
    Job("attention_map", "Fetch an attention map", attention_map, AttentionMapSpec, short=True),
    Job("alternatives", "Read the alternatives", alternatives, AlternativesSpec, short=True),
    Job("reference", "Observe random weights", reference, ReferenceSpec, short=True),
    Job("noise", "Observe noised text", noise, NoiseSpec, short=True),
    Job("geometry", "Measure geometry", geometry, GeometrySpec),
    Job("lens", "Read layers by the head", lens, LensSpec, short=True),
    Job("ablate", "Ablate sinks", ablate, AblateSpec, short=True),
    Job("ablate_set", "Ablate sinks over a set", ablate_set, AblateSetSpec, stops_early=True, lasting=True),
    Job("measure_claims", "Measure what claims are about", measure_claims, ClaimMeasuresSpec, lasting=True),
    Job("evict", "Evict keys and values", evict, EvictSpec, stops_early=True, lasting=True),
    Job("prune", "Prune a model", prune, PruneSpec, lasting=True),
    Job("dense_statistics", "Store statistics of the dense model", dense_statistics, DenseStatisticsSpec),
    Job("footprint", "Measure a footprint", footprint, FootprintSpec),
    Job("estimate", "Estimate a pruning", estimate, EstimateSpec, short=True),
    Job("calibrate", "Store calibration statistics", calibrate, CalibrateSpec),
    Job("seed_floor", "Run another calibration seed", seed_floor, SeedFloorSpec),
    Job("heldout", "Run held-out text", heldout, HeldoutSpec),
    # The answers of an evaluation and the trials of a search are cached one by one: a later run resumes.
    Job("evaluate", "Evaluate", evaluate, EvaluateSpec, stored=False, lasting=True),
    Job("import", "Import results of lm-eval", import_results, ImportSpec, stored=False, lasting=True),
    Job("suggest", "Suggest a discount", suggest, SuggestSpec, stored=False, lasting=True),
    Job("sweep", "Sweep", None, SweepSpec, stored=False, lasting=True),
    Job("claims", "Claims", None, ClaimsSpec, stored=False, lasting=True),
    Job("study", "Study", None, StudySpec, stored=False, lasting=True),
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
