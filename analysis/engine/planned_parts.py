"""Planned jobs made of parts, each of which submits its own named jobs.

If a part fails, the others go on.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from analysis.engine.planned import LOOKAHEAD, Planner, children, ended_well, why_ended
from analysis.engine.records import JobRecord
from analysis.specs import ClaimsSpec, Spec, StudySpec, SweepSpec, grid

PartState = Literal["waiting", "under way", "done", "failed", "not asked"]
PartsSpec = TypeVar("PartsSpec", bound=StudySpec | ClaimsSpec)


@dataclass(frozen=True)
class Child:
    """A job submitted by a part. name: key in the record of the planned job; title: for people."""

    name: str
    kind: str
    spec: Spec
    title: str

    @property
    def size(self) -> int:
        """Number of progress steps it counts: one, or one per point of a sweep."""
        return len(grid(self.spec).prunings) if isinstance(self.spec, SweepSpec) else 1


@dataclass(frozen=True)
class Part:
    """A part: its children so far, by name, and its state. reason: why it failed, or its departure from the request."""

    name: str
    jobs: Mapping[str, JobRecord]
    state: PartState
    reason: str = ""


class PartPlanner(Planner[PartsSpec, PartsSpec]):
    """Runner of the planned jobs of one kind, part by part."""

    @abstractmethod
    def parts_of(self, spec: PartsSpec) -> dict[str, list[Child]]:
        """Return the children by part, in order. Raises UserError for a bad model source."""

    def departures(self, spec: PartsSpec, part: str) -> str:
        """Return how and why a part departs from the request; "" if it does not."""
        return ""

    def parts(self, record: JobRecord) -> list[Part]:
        """Return every part and its state, in order."""
        spec, parts = record.parameters(self.spec), []
        for name, wanted in self.parts_of(spec).items():
            jobs = {child.name: job for child in wanted if (job := self._child(record, child.name)) is not None}
            failed = next((job for job in jobs.values() if job.ended and not ended_well(job)), None)
            state: PartState = "under way" if jobs else "waiting"
            if not wanted:
                state = "not asked"
            elif failed is not None:
                state = "failed"
            elif len(jobs) == len(wanted) and all(job.ended for job in jobs.values()):
                state = "done"
            parts.append(Part(name, jobs, state, self.departures(spec, name) if failed is None else why_ended(failed)))
        return parts

    def _begun(self, spec: PartsSpec) -> PartsSpec:
        return spec

    def _whole(self, record: JobRecord) -> bool:
        """Return True if the results of a finished job's parts are still in the store."""
        jobs = [job for part in self.parts(record) for job in part.jobs.values()]
        return all(part.state in ("done", "not asked") for part in self.parts(record)) and all(
            job.key is None or self._engine.has_result(job) for job in jobs
        )

    def _advance(self, job_id: str, live: PartsSpec) -> None:
        record = self._running(job_id)
        if record is None:
            return
        every = [child for some in self.parts_of(live).values() for child in some]
        wanted = list({child.name: child for child in every}.values())  # two parts may read one job
        missing = [child for child in wanted if child.name not in children(record)]
        room = self._room(record)
        idle = room == LOOKAHEAD * self._engine.workers()
        for child in missing[: max(0, room)]:
            job = self._engine.submit(child.kind, child.spec, self._asker(job_id), record)
            record = self._note(job_id, child.name, job, made=not job.ended) or record
        self._tell(record, wanted, finished=idle and not missing)

    def _tell(self, record: JobRecord, wanted: list[Child], finished: bool) -> None:
        """Report progress: one step per job, and one per point of a sweep."""
        done, doing, failed = 0, "", []
        for child in wanted:
            job = self._child(record, child.name)
            if job is not None and job.ended:
                done += child.size
                failed += [] if ended_well(job) else [job]
            elif job is not None:
                doing = doing or child.title
                done += min(self._job_store.progress(job.id).done, child.size) if child.kind == "sweep" else 0
        total = sum(child.size for child in wanted)
        failures = f", {len(failed)} failed" if failed else ""
        self._job_store.report(record.id, {"phase": f"{doing or 'looking'}{failures}", "done": done, "total": total})
        if not finished:
            return
        if failed:
            several = f"{len(failed)} of {len(wanted)} parts of it failed. The first: {why_ended(failed[0])}"
            self._end(record.id, "failed", reason=several)
        else:
            self._end(record.id, "done")
