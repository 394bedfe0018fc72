"""Loading a model into the worker, and freeing it. torch is imported only when a model is."""

from analysis.job_context import Context
from analysis.jobs.outcome import Outcome
from analysis.jobs.summaries import LoadSummary, NoSummary
from analysis.models.resident import release_resident, resident_model
from analysis.specs import LoadSpec, UnloadSpec


def load_model(spec: LoadSpec, context: Context) -> Outcome[LoadSummary]:
    """Load a model and describe it."""
    model = resident_model(spec.model, context)
    geometry = model.geometry
    summary: LoadSummary = {
        "source": spec.model.source,
        "architecture": model.architecture.name,
        "sampler": model.architecture.sampler,
        "layers": geometry.layers,
        "heads": geometry.heads,
        "kv_heads": geometry.kv_heads,
        "max_length": geometry.max_length,
        "mask_token": model.mask_token,
        "dtype": model.dtype,
        "device": str(model.device),
        "bytes": model.bytes,
        "parameters": model.network.num_parameters(),
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary)


def unload_model(spec: UnloadSpec, context: Context) -> Outcome[NoSummary]:
    """Free the model held."""
    release_resident()
    return Outcome({})
