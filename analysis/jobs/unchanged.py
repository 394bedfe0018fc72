"""Check that a job's models are unchanged at its end; otherwise its result does not count, since it would be stored
under their earlier content.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from analysis.errors import ModelChanged, UserError
from analysis.job_context import Cancelled
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.specs import FootprintSpec, ModelSpec, Spec, named_fields


@contextmanager
def unchanged_models(spec: Spec) -> Iterator[None]:
    """Wrap a job. Raises ModelChanged at its end, even instead of the job's own error, if the files of a model that it
    names have changed since its beginning. A model that is still to be downloaded, or that cannot be opened, is left to
    the job.
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
