"""What a job returns, and the name of a result by everything it depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from analysis.models.registry import entry
from analysis.specs import JobSpec
from cache.keys import code_version, content_key

Summary = TypeVar("Summary", bound=Mapping[str, object])


@dataclass(frozen=True)
class Outcome(Generic[Summary]):
    """What a job returns. summary: JSON. file: arrays as safetensors, for the store to take in, or None.
    key: the name of the result by content; None for a job without a lasting result. folder: files that stay together,
    such as a checkpoint; one inside the context's folder is taken in under its own name, others stay in place."""

    summary: Summary
    file: Path | None = None
    key: str | None = None
    folder: Path | None = None


def result_key(kind: str, spec: JobSpec, model_fingerprint: str) -> str:
    """The name of a job's result: everything it depends on. The model counts by its content, not by where it lies."""
    parameters = spec.model_dump(mode="json")
    model = parameters.pop("model")
    known = entry(model["source"])
    return content_key(
        kind=kind,
        fingerprint=model_fingerprint,
        device=model["device"],
        dtype=model["dtype"],
        paradigm=model["paradigm"],
        instruct=known.instruct if known else None,
        parameters=parameters,
        code=code_version(),
    )
