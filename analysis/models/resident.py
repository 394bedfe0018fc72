"""The one model a worker keeps between jobs. torch is imported only when a model is needed."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from analysis.job_context import Context
from analysis.machine import process
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.specs import ModelSpec
from cache.environment import gigabytes

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel

LOAD_SECONDS, LOAD_RATE = 600.0, 10e6  # time limit of a load: seconds, plus one second per so many bytes of weights

_resident: "LoadedModel | None" = None
_beside: "LoadedModel | None" = None


def resident_model(
    spec: ModelSpec, context: Context, check: "Callable[[OpenedModel], None]" = lambda opened: None
) -> "LoadedModel":
    """Return the model of `spec`: the one held if it matches, else load it in its place. A failed load keeps the old
    one.

    check: raises UserError, before weights are read, for a model that is unfit for its purpose.
    """
    global _resident
    held = _beside if _beside is not None and _beside.spec == spec else None
    if held is None and _resident is not None and is_resident(spec):
        held = _resident
    if held is not None:
        check(held)
        return held
    _resident = loaded(spec, context, _resident, release_resident, check)
    return _resident


@contextmanager
def beside(spec: ModelSpec, context: Context) -> Iterator[None]:
    """Hold a second model, which `resident_model` returns for its `spec`; the first one stays held.

    Only for the holder of the turn to compute. Raises what `load` raises; NotEnoughMemory if both do not fit.
    """
    global _beside
    _beside = loaded(spec, context)
    try:
        yield
    finally:
        _beside = None
        gc.collect()


def loaded(
    spec: ModelSpec,
    context: Context,
    held: "LoadedModel | None" = None,
    release: Callable[[], None] = lambda: None,
    check: "Callable[[OpenedModel], None]" = lambda opened: None,
) -> "LoadedModel":
    """Load a model within a time limit by its size; downloads have no limit. held, release, check: see `load`.

    Raises UserError for every kind of bad input.
    """
    context.progress("starting torch")
    with process.importing("transformers"):
        from analysis.models import load

    process.apply(context.workers)
    size = load.fetched(spec, context.progress, held).file_bytes
    seconds = LOAD_SECONDS + size / LOAD_RATE
    reason = (
        f"Loading '{spec.source}' took more than {seconds / 60:.0f} minutes for {gigabytes(size)} of weights and was "
        "ended. Check its config and the disk it lies on."
    )
    with context.within(seconds, reason):
        return load.load(spec, context.progress, held, release, check)


def is_resident(spec: ModelSpec) -> bool:
    """Return True if the model of `spec` is held and unchanged on disk."""
    return _resident is not None and _resident.spec == spec and _unchanged(_resident)


def resident_spec() -> ModelSpec | None:
    """Return the spec of the model held, if any."""
    return None if _resident is None else _resident.spec


def release_resident() -> None:
    """Free the memory of the model held, if any."""
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
    from analysis.models.loaded import free_bytes

    return free_bytes("cpu")


def _unchanged(model: "LoadedModel") -> bool:
    checkpoint = checkpoint_of(model.spec)
    return checkpoint is not None and fingerprint(checkpoint) == model.fingerprint
