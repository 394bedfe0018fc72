"""Outcome of a job, and the name of a result by everything it depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from analysis.models.registry import entry
from analysis.specs import JobSpec
from cache.keys import code_version, content_key

Summary = TypeVar("Summary", bound=Mapping[str, object])


@dataclass(frozen=True)
class Outcome(Generic[Summary]):
    """Outcome of a job. summary: JSON. file: arrays as safetensors, for the store to take in, or None. key: name of the
    result by content; None for a job without a lasting result. folder: files that stay together, such as a checkpoint;
    one inside the context's folder is taken in under its own name, others stay in place. stopped: it ended early with
    partial results, so its finished phases stay for whoever asks for the rest.
    """

    summary: Summary
    file: Path | None = None
    key: str | None = None
    folder: Path | None = None
    stopped: bool = False


def result_key(run: Callable[..., object], spec: JobSpec, model_fingerprint: str) -> str:
    """Return the key of a job's result, by everything it depends on. The model counts by its content, not its location.

    run: the job's function, which is named like its row, and whose module is the code that computes the result.
    """
    parameters = spec.model_dump(mode="json")
    model = parameters.pop("model")
    known = entry(model["source"])
    return content_key(
        kind=run.__name__,
        fingerprint=model_fingerprint,
        device=model["device"],
        dtype=model["dtype"],
        paradigm=model["paradigm"],
        instruct=known.instruct if known else None,
        parameters=parameters,
        code=code_version(run.__module__),
    )
