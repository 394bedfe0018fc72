"""The newest finished run of an experiment over prompts, by which the controls of the next one begin."""

from collections.abc import Collection
from typing import Any

from analysis.engine import JobRecord
from analysis.specs import Spec
from pages.parts.session import engine


def latest(kind: str, source: str) -> JobRecord | None:
    """Return the newest finished job of a kind with this model whose result is there."""
    jobs = (job for job in engine().jobs(kind) if job.spec["model"]["source"] == source)
    return next((job for job in jobs if job.state == "done" and engine().has_result(job)), None)


def first_choice(kind: str, source: str, spec: type[Spec], field: str, options: Collection[Any]) -> list[Any]:
    """Return what a list of options begins with: the choice of the latest run, so that what is shown and what is set
    agree, else the preset.
    """
    job = latest(kind, source)
    chosen = [] if job is None else [choice for choice in job.spec[field] if choice in options]
    return chosen or list(spec.model_fields[field].default)
