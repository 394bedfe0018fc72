"""Pruning of a model into a folder, and estimates of its cost."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from analysis.errors import NotEnoughMemory, UserError
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.summaries import DenseStatisticsSummary, EstimateSummary, FootprintSummary, PruneSummary
from analysis.machine import process
from analysis.models.checkpoint import checkpoint_of
from analysis.models.family import why_no_experts_are_cut
from analysis.models.resident import resident_model
from analysis.specs import (
    PATTERNS,
    CalibrateSpec,
    DenseStatisticsSpec,
    EstimateSpec,
    FootprintParams,
    FootprintSpec,
    PruneSpec,
)

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel


def prune(spec: PruneSpec, context: Context) -> Outcome[PruneSummary]:
    """Prune; return the report and the folder: `spec.out`, or by default one that the store keeps."""
    model = model_to_prune(spec, context)
    from analysis.pruning.pipeline import prune as run

    out = Path(spec.out) if spec.out else context.folder / folder_name(spec)
    report = run(model, spec, context, out=out, stored=_stored_statistics(spec, model.fingerprint, context))
    summary: PruneSummary = {"fingerprint": model.fingerprint, "report": report}
    return Outcome(summary, key=result_key(prune, spec, model.fingerprint), folder=out)


def _stored_statistics(spec: PruneSpec, fingerprint: str, context: Context) -> Path | None:
    """Return the file of the dense model's statistics for this pruning, if a job has left it in this store."""
    statistics_spec = DenseStatisticsSpec.of(spec)
    if statistics_spec is None:
        return None
    result = context.stores.results.result(result_key(dense_statistics, statistics_spec, fingerprint))
    return None if result is None else result.file


def dense_statistics(spec: DenseStatisticsSpec, context: Context) -> Outcome[DenseStatisticsSummary]:
    """Run the dense model over a calibration's text and store the statistics that the method needs."""
    model = model_to_prune(spec.pruning, context)
    from analysis.pruning.pipeline import store_statistics

    path = context.folder / "dense-statistics.safetensors"
    told = store_statistics(model, spec.pruning, context, path)
    summary: DenseStatisticsSummary = {
        "fingerprint": model.fingerprint,
        "bytes": path.stat().st_size,
        "phases": told["phases"],
    }
    return Outcome(summary, path, result_key(dense_statistics, spec, model.fingerprint))


def folder_name(spec: PruneSpec) -> str:
    """Return the folder name of a pruned checkpoint that the store keeps."""
    return f"pruned-{spec.method}"


def estimate(spec: EstimateSpec, context: Context) -> Outcome[EstimateSummary]:
    """Run one step of each phase and estimate the cost of the whole."""
    model = model_to_prune(spec, context)
    from analysis.pruning.estimate import estimate as measure

    summary = cast(EstimateSummary, {"fingerprint": model.fingerprint, **measure(model, spec, context)})
    return Outcome(summary, key=result_key(estimate, spec, model.fingerprint))


def footprint(spec: FootprintSpec, context: Context) -> Outcome[FootprintSummary]:
    """Measure sizes from the files, and speed with both models in memory, taking turns."""
    from analysis.models.checkpoint import fingerprint

    context.progress("starting torch")
    with process.importing("transformers"):
        from analysis.pruning.footprint import footprint as measure

    pruned = spec.model.model_copy(update={"source": spec.pruned})
    params = FootprintParams(**spec.model_dump(include=set(FootprintParams.model_fields)))
    measured = measure(spec.model, pruned, params, lambda done, total: context.progress("timing forwards", done, total))
    dense = checkpoint_of(spec.model)
    key = result_key(footprint, spec, fingerprint(dense)) if dense is not None else None
    return Outcome({"footprint": measured.model_dump(mode="json")}, key=key)


def model_to_prune(spec: PruneSpec | CalibrateSpec, context: Context) -> "LoadedModel":
    """The model in memory or, where it does not fit or is to be streamed, its skeleton. Raises UserError, before
    anything is loaded, for whole experts of a model that has none to cut out.
    """
    if isinstance(spec, PruneSpec) and PATTERNS[spec.pattern].cuts_experts:
        checkpoint = checkpoint_of(spec.model)
        why = "" if checkpoint is None else why_no_experts_are_cut(checkpoint.architecture)
        if why:
            raise UserError(why)

    def check(opened: "OpenedModel") -> None:
        from analysis.calibration.text import check_source
        from analysis.pruning.pipeline import reads_calibration

        if isinstance(spec, EstimateSpec):
            return  # it times random tokens, whatever the text
        if isinstance(spec, CalibrateSpec) or reads_calibration(spec):
            check_source(spec.calibration, opened.tokenizer)

    if spec.streaming == "auto":
        try:
            # A model that does not fit is pruned faster block by block than with its weights moved to and fro.
            return resident_model(spec.model.model_copy(update={"offload": "memory"}), context, check)
        except NotEnoughMemory:
            context.progress("the model does not fit: reading it block by block")
    else:
        context.progress("starting torch")
    with process.importing("transformers"):
        from analysis.models.blocks import skeleton

    return skeleton(spec.model, check)
