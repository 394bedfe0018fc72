"""The newest finished run of an experiment over prompts."""

from analysis.engine import JobRecord
from pages.parts.session import engine


def latest(kind: str, source: str) -> JobRecord | None:
    """Return the newest finished job of a kind with this model whose result is there."""
    jobs = (job for job in engine().jobs(kind) if job.spec["model"]["source"] == source)
    return next((job for job in jobs if job.state == "done" and engine().has_result(job)), None)
