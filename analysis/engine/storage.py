"""What jobs have left in the store and how much room it takes, and removing it."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord


@dataclass(frozen=True)
class Stored:
    """What one or several jobs of the same question left. record: the newest of them. bytes: that removing it frees;
    a folder that lies outside the store stays, and counts nothing.
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
    """Removes what these jobs left, every job that asked the same, and what was said of them. Raises UserError for a
    visitor who may not."""
    for record in records:
        engine.authorizer.demand("remove", record)
    for record in records:
        for job in engine.jobs(record.kind):
            if job.ended and (job.id == record.id or (record.key and job.key == record.key)):
                engine.store.delete_label(job.id)
                engine.forget(job.id)
