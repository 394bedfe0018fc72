"""Jobs that no worker runs: the engine carries them out by submitting other jobs, a few at a time.

No task waits for tasks: a thread sees what has ended and submits what comes next. Remaining work is read from the
children's records, so an interrupted job resumes by looking at them again. If one part of a job fails, its other parts
go on.
"""

import logging
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from analysis.engine.job_store import JobRecord, JobStore
from analysis.engine.worker import reason
from analysis.models.checkpoint import checkpoint_of
from analysis.specs import ClaimsSpec, Spec, StudySpec, SweepSpec, grid

if TYPE_CHECKING:
    from analysis.engine.engine import Engine


LOOKAHEAD = 2  # children per worker, queued or running: enough to keep it busy, few enough to let other jobs in
_TICK = 1.0  # seconds between looks without a message
_log = logging.getLogger("sinkscope")

PlanSpec = TypeVar("PlanSpec", bound=SweepSpec | StudySpec | ClaimsSpec)
LiveType = TypeVar("LiveType")


class Planner(ABC, Generic[PlanSpec, LiveType]):
    """Runner of the planned jobs of one kind, with a thread that runs while there are any."""

    kind: str
    spec: type[PlanSpec]

    def __init__(self, engine: "Engine", job_store: JobStore, owner: str) -> None:
        self._engine, self._job_store, self._owner = engine, job_store, owner
        self._live: dict[str, LiveType] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    # --- implemented by each kind ---

    @abstractmethod
    def _begun(self, spec: PlanSpec) -> LiveType:
        """Return the state kept for a job while it is in progress."""

    @abstractmethod
    def _advance(self, job_id: str, live: LiveType) -> None:
        """Look at what has ended, submit what comes next, and end what is finished."""

    @abstractmethod
    def _whole(self, record: JobRecord) -> bool:
        """Return True if all results of a finished job are still in the store."""

    # --- called from any thread ---

    def enter(self, record: JobRecord, spec: PlanSpec) -> JobRecord:
        """Begin a job, or join or resume one with the same parameters.

        Raises UserError for a bad model source.
        """
        for model in spec.models:
            checkpoint_of(model)
        with self._job_store.changed:
            for other in self._job_store.jobs(self.kind):
                if other.spec != record.spec or other.id == record.id:
                    continue
                if other.id in self._live or (not other.ended and self._job_store.lives(other.owner)):
                    return other
                if other.state == "done" and other.code == record.code and self._whole(other):
                    return other
                both = other.visitors_with(record.visitors)
                record = record.model_copy(update={"id": other.id, "summary": other.summary, "visitors": both})
                break
            else:
                earlier = self._job_store.job(record.id)
                if earlier is not None:
                    record = record.model_copy(update={"summary": earlier.summary})
            record = record.model_copy(update={"state": "running", "started": time.time()})
            self._job_store.save(record)
        self._retry(record)
        self._begin(record, spec)
        return record

    def take_over(self, record: JobRecord) -> None:
        """Continue a job whose engine is gone."""
        updated = self._job_store.update(record.id, owner=self._owner)
        if updated is not None:
            self._retry(updated, ("interrupted",))
            self._begin(updated, updated.parameters(self.spec))

    def retry(self, record: JobRecord) -> None:
        """Restart the failed children of a running job; those that ended well are left alone."""
        self._retry(record)
        with self._job_store.changed:
            self._job_store.changed.notify_all()

    def stop(self, record: JobRecord) -> None:
        """Stop the children that nobody else asked for."""
        self._forget_ended(record.id)
        for job_id in children(record).values():
            child = self._engine.job(job_id)
            if child is not None and not child.ended:
                self._engine.cancel(job_id, self._asker(record.id))

    def close(self) -> None:
        """End the thread. Unfinished jobs are left for the next engine."""
        with self._job_store.changed:
            self._closed = True
            self._job_store.changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    # --- beginning ---

    def _begin(self, record: JobRecord, spec: PlanSpec) -> None:
        with self._job_store.changed:
            self._live[record.id] = self._begun(spec)
            self._job_store.begin(record.id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"sinkscope-{self.kind}", daemon=True)
                self._thread.start()
            self._job_store.changed.notify_all()

    def _retry(self, record: JobRecord, states: tuple[str, ...] = ("failed", "cancelled", "interrupted")) -> None:
        """Restart children that ended in these states, and those whose engine is gone."""
        for name, job_id in children(record).items():
            child = self._engine.job(job_id)
            if child is None:
                continue
            if not child.ended and not self._job_store.lives(child.owner):
                self._job_store.finish(child.id, "interrupted", reason="SinkScope was stopped while this job ran.")
                child = self._engine.job(job_id) or child
            if child.ended and child.state in states:
                self._note(record.id, name, self._engine.restart(child.id, self._asker(record.id), record))

    # --- the thread ---

    def _work(self) -> None:
        while True:
            with self._job_store.changed:
                while not self._live and not self._closed:
                    self._job_store.changed.wait()
                if self._closed:
                    return
                under_way = dict(self._live)
            for job_id, live in under_way.items():
                try:
                    self._advance(job_id, live)
                except Exception as error:  # one failure must not end the others
                    if self._closed:
                        return
                    _log.exception("A %s met an error.", self.kind)
                    self._end(job_id, "failed", reason=reason(error), traceback=traceback.format_exc())
            with self._job_store.changed:
                if not self._closed:
                    self._job_store.changed.wait(_TICK)

    def _running(self, job_id: str) -> JobRecord | None:
        """Return the record of a job in progress; if it has ended, forget it and return None."""
        return None if self._forget_ended(job_id) else self._job_store.job(job_id)

    def _forget_ended(self, job_id: str) -> bool:
        """Forget a job that has ended. Return False if it is running or was just restarted."""
        with self._job_store.changed:
            record = self._job_store.job(job_id)
            ended = record is None or record.ended
            if ended:
                self._live.pop(job_id, None)
            return ended

    def _room(self, record: JobRecord) -> int:
        """Return how many more children may be submitted now."""
        jobs = map(self._engine.job, children(record).values())
        return LOOKAHEAD * self._engine.workers() - sum(not job.ended for job in jobs if job is not None)

    def _end(self, job_id: str, state: str, **changes: Any) -> None:
        with self._job_store.changed:  # atomically, or a restart in between would be forgotten
            self._job_store.finish(job_id, state, **changes)
            self._live.pop(job_id, None)

    def _note(self, job_id: str, name: str, child: JobRecord, made: bool = False) -> JobRecord | None:
        """Record a child. made: this job asked for it first, so its result may be dropped here."""
        with self._job_store.changed:
            record = self._job_store.job(job_id)
            if record is None or record.ended:
                return None
            made_here = [*record.summary.get("made", []), *([name] if made else [])]
            together = {**children(record), name: child.id}
            return self._job_store.update(job_id, summary={**record.summary, "children": together, "made": made_here})

    def _child(self, record: JobRecord, name: str) -> JobRecord | None:
        """Return a child by its name; None until it is submitted."""
        job_id = children(record).get(name)
        return None if job_id is None else self._engine.job(job_id)

    def _asker(self, job_id: str) -> str:
        return f"{self.kind} {job_id}"


def children(record: JobRecord) -> dict[str, str]:
    """Return the job ids of a planned job's children, by name."""
    named: dict[str, str] = record.summary.get("children", {})
    return named


def ended_well(job: JobRecord) -> bool:
    """Return True if a job is done and, for an evaluation, has asked all its items."""
    return job.state == "done" and bool(job.summary.get("complete", True))


def why_ended(job: JobRecord) -> str:
    """Return why a child that did not end well ended."""
    return job.reason or (f"It was {job.state}." if job.state != "done" else "It was stopped early.")


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
