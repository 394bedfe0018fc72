"""Pruning a model into a folder."""

from typing import TYPE_CHECKING

from analysis.context import Context
from analysis.errors import NotEnoughMemory
from analysis.jobs.outcome import Outcome
from analysis.resident import resident_model
from analysis.specs import PruneSpec

if TYPE_CHECKING:
    from analysis.models.load import LoadedModel


def prune(spec: PruneSpec, context: Context) -> Outcome:
    """Prunes and returns the report; the folder is the result."""
    model = model_to_prune(spec, context)
    from analysis.pruning.pipeline import prune as run

    report = run(model, spec, context)
    return Outcome({"out": spec.out, "fingerprint": model.fingerprint, "report": report})


def model_to_prune(spec: PruneSpec, context: Context) -> "LoadedModel":
    """The model in memory or, where it does not fit or is to be streamed, its skeleton."""
    if spec.streaming == "auto":
        try:
            return resident_model(spec.model, context)
        except NotEnoughMemory:
            context.progress("the model does not fit: reading it block by block")
    else:
        context.progress("starting torch")
    from analysis.models.streaming import skeleton

    return skeleton(spec.model)
