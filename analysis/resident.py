"""The one model a worker keeps between jobs. torch is imported only when a model is needed."""

import gc
from typing import TYPE_CHECKING

from analysis import threads
from analysis.context import Context
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import ModelSpec

if TYPE_CHECKING:
    from analysis.models.load import LoadedModel

_resident: "LoadedModel | None" = None


def resident_model(spec: ModelSpec, context: Context) -> "LoadedModel":
    """The model of `spec`: the one held if it is that, else loaded in its place. A failed load leaves the old one."""
    global _resident
    if _resident is not None and is_resident(spec):
        return _resident
    context.progress("starting torch")
    from analysis.models import load

    threads.apply(context.workers)
    _resident = load.load(spec, lambda phase: context.progress(phase), _resident, release_resident)
    return _resident


def is_resident(spec: ModelSpec) -> bool:
    """Whether the model of `spec` is held, unchanged on disk since."""
    return _resident is not None and _resident.spec == spec and _unchanged(_resident)


def resident_spec() -> ModelSpec | None:
    """Which model is held."""
    return None if _resident is None else _resident.spec


def release_resident() -> None:
    """Frees the memory of the model held, if any."""
    global _resident
    if _resident is None:
        return
    _resident = None
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_memory() -> int:
    """Bytes free in the worker's main memory, a container's limit included."""
    from analysis.models.load import free_bytes

    return free_bytes("cpu")


def _unchanged(model: "LoadedModel") -> bool:
    found = find(model.spec.source)
    return found is not None and fingerprint(found) == model.fingerprint
