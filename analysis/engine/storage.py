"""Results of jobs in the store: the room they take, and their removal."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord


@dataclass(frozen=True)
class Stored:
    """Result of one or several jobs with the same question. record: the newest of them. bytes: freed by removing it; a
    folder outside the store stays and counts 0.
    """

    record: JobRecord
    bytes: int


def stored_results(engine: Engine) -> list[Stored]:
    """Everything that finished jobs left, the largest first."""
    results: dict[str, Stored] = {}
    for record in engine.jobs():
        if record.key and record.key not in results and engine.has_result(record):
            results[record.key] = Stored(record, engine.store.result_bytes(record.key))
    return sorted(results.values(), key=lambda result: -result.bytes)


def remove(engine: Engine, records: Sequence[JobRecord]) -> None:
    """Remove the results and labels of these jobs, and all jobs with the same question. Raises UserError for a visitor
    who may not.
    """
    for record in records:
        engine.authorizer.demand("remove", record)
    for record in records:
        for job in engine.jobs(record.kind):
            if job.ended and (job.id == record.id or (record.key and job.key == record.key)):
                engine.store.delete_label(job.id)
                engine.forget(job.id)
