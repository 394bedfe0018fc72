"""Pruning a model into a folder, and saying beforehand what that will take."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from analysis.errors import NotEnoughMemory
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.summaries import EstimateSummary, FootprintSummary, PruneSummary
from analysis.models.resident import resident_model
from analysis.specs import CalibrateSpec, EstimateSpec, FootprintParams, FootprintSpec, PruneSpec

if TYPE_CHECKING:
    from analysis.models.load import LoadedModel


def prune(spec: PruneSpec, context: Context) -> Outcome[PruneSummary]:
    """Prunes and returns the report and the folder: `spec.out`, or where none is given one that the store keeps."""
    model = model_to_prune(spec, context)
    from analysis.pruning.pipeline import prune as run

    out = Path(spec.out) if spec.out else context.folder / f"pruned-{spec.method}"
    report = run(model, spec, context, out=out)
    summary: PruneSummary = {"fingerprint": model.fingerprint, "report": report}
    return Outcome(summary, key=result_key("prune", spec, model.fingerprint), folder=out)


def estimate(spec: EstimateSpec, context: Context) -> Outcome[EstimateSummary]:
    """Runs one step of each phase and says what the whole will take."""
    model = model_to_prune(spec, context)
    from analysis.pruning.estimate import estimate as measure

    summary = cast(EstimateSummary, {"fingerprint": model.fingerprint, **measure(model, spec, context)})
    return Outcome(summary, key=result_key("estimate", spec, model.fingerprint))


def footprint(spec: FootprintSpec, context: Context) -> Outcome[FootprintSummary]:
    """Sizes from the files; speed with both models in memory beside each other, taking turns."""
    from analysis.models.checkpoint import find, fingerprint
    from analysis.pruning.footprint import footprint as measure

    context.progress("starting torch")
    pruned = spec.model.model_copy(update={"source": spec.pruned})
    params = FootprintParams(**spec.model_dump(include=set(FootprintParams.model_fields)))
    measured = measure(spec.model, pruned, params, lambda done, total: context.progress("timing forwards", done, total))
    dense = find(spec.model.source, spec.model.paradigm)
    key = result_key("footprint", spec, fingerprint(dense)) if dense is not None else None
    return Outcome({"footprint": measured.model_dump(mode="json")}, key=key)


def model_to_prune(spec: PruneSpec | CalibrateSpec, context: Context) -> "LoadedModel":
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
