"""Outcome of a job, its result's name by everything it depends on, and the check that its models stayed unchanged."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from analysis.errors import ModelChanged, UserError
from analysis.job_context import Cancelled
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.models.registry import entry
from analysis.specs import FootprintSpec, JobSpec, ModelSpec, Spec, named_fields
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


@contextmanager
def unchanged_models(spec: Spec) -> Iterator[None]:
    """Wrap a job. Raises ModelChanged at its end, even instead of the job's own error, if the files of a model that it
    names have changed since its beginning: its result would be stored under their earlier content. A model that is
    still to be downloaded, or that cannot be opened, is left to the job.
    """
    before = {model: content for model in _models(spec) if (content := _content(model))}
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        change = _change(before)
        if change is None:
            raise
        raise change from error
    change = _change(before)
    if change is not None:
        raise change


def _models(spec: Spec) -> list[ModelSpec]:
    named = [value for _, value in named_fields(spec) if isinstance(value, ModelSpec)]
    if isinstance(spec, FootprintSpec):
        named.append(spec.model.model_copy(update={"source": spec.pruned}))
    return named


def _content(model: ModelSpec) -> str:
    """The fingerprint of a model on this disk; "" for none that can be opened."""
    try:
        checkpoint = checkpoint_of(model)
        return fingerprint(checkpoint) if checkpoint is not None else ""
    except UserError:
        return ""


def _change(before: dict[ModelSpec, str]) -> ModelChanged | None:
    for model, content in before.items():
        now = _content(model)
        if now != content:
            return ModelChanged(model.source, gone=not now)
    return None
