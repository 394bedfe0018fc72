"""What can be asked for: a spec in, a summary and a file out. Runs in a worker, or in the command line's own process.

A job is one row of `JOBS`. torch is imported inside the jobs, so that the screen's process can read this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.job_context import Context
from analysis.jobs.calibration import calibrate
from analysis.jobs.evaluation import evaluate
from analysis.jobs.insights import ablate, attention_map
from analysis.jobs.models import load_model, unload_model
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.pruning import estimate, footprint, prune
from analysis.jobs.recordings import noise, record, reference
from analysis.jobs.suggestion import suggest
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import Spec

__all__ = ["JOBS", "Job", "Outcome", "known_key", "result_key"]


@dataclass(frozen=True)
class Job:
    """One kind of job. stored: whether its result is kept, so that the same question is answered by reading.
    short: takes seconds and only looks at its spec's `model`, so it may run between the steps of a long job."""

    title: str
    run: Callable[[Any, Context], Outcome]
    stored: bool
    short: bool = False


JOBS: dict[str, Job] = {
    "load": Job("Load a model", load_model, stored=False, short=True),
    "unload": Job("Unload the model", unload_model, stored=False),
    "record": Job("Record a trajectory", record, stored=True),
    "attention_map": Job("Fetch an attention map", attention_map, stored=True, short=True),
    "reference": Job("Observe random weights", reference, stored=True, short=True),
    "noise": Job("Observe noised text", noise, stored=True, short=True),
    "ablate": Job("Ablate sinks", ablate, stored=True, short=True),
    "prune": Job("Prune a model", prune, stored=True),
    "footprint": Job("Measure a footprint", footprint, stored=True),
    "estimate": Job("Estimate a pruning", estimate, stored=True, short=True),
    "calibrate": Job("Store calibration statistics", calibrate, stored=True),
    # Its answers are found one by one, so that asking again goes on where it was.
    "evaluate": Job("Evaluate", evaluate, stored=False),
    # As are its trials.
    "suggest": Job("Suggest a discount", suggest, stored=False),
}


def known_key(kind: str, spec: Spec) -> str | None:
    """The result's name before running, where the model is on this disk. Raises UserError for a bad source."""
    if not JOBS[kind].stored:
        return None
    found = find(spec.model.source)
    return result_key(kind, spec, fingerprint(found)) if found else None
