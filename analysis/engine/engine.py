"""Actions of the pages: submit, cancel, restart, remove. Reading is in `StoredJobs`."""

import atexit
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.engine.cluster import Cluster, check_scheduler, connect, start_local
from analysis.engine.cost_estimate import CostEstimate, foresee
from analysis.engine.dispatcher import Dispatcher
from analysis.engine.job_store import ENDED, JobRecord, JobStore, StoredJobs, lives_here, new_owner, retire
from analysis.engine.permissions import OWNER, Visitor, refusal
from analysis.engine.planned import Part, PartPlanner, Planner
from analysis.engine.studies import ClaimRuns, Studies
from analysis.engine.sweeps import Point, Sweeps
from analysis.errors import UserError
from analysis.jobs import JOBS, code_of, known_key
from analysis.jobs.summaries import RecordSummary
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import ModelSpec, RecordSpec, Replay, Spec, SweepSpec, sentence
from cache import environment
from cache.keys import imported_key
from cache.opening import StoreError
from cache.presence import Presence
from cache.store import Store


def opened_recording(file: Path, called: str) -> tuple[RecordSpec, RecordSummary]:
    """Return the parameters of a recording and the summary of its job. called: as in `open_trajectory`.

    Raises UserError for a file that is no recording of a generation.
    """
    trajectory = open_trajectory(file, called)
    info = trajectory.info
    if isinstance(info.sampling, Replay):
        raise UserError("This file holds forwards over given inputs, not a recorded generation. Open one of those.")
    try:
        spec = info.request(ModelSpec(source=info.model.source))
    except ValidationError as error:
        raise UserError(f"{called} cannot be taken in: {sentence(error)}") from error
    summary: RecordSummary = {
        "source": info.model.source,
        "text": info.final_text,
        "steps": trajectory.steps,
        "seed": info.seed,
        "fingerprint": info.model.fingerprint,
        "experts": info.model.expert_count,
        "imported": True,
    }
    return spec, summary


def _is_done(job: JobRecord) -> bool:
    return job.state == "done"


_START = 10.0  # seconds that a worker and torch take to start, measured on two idle cores
_ABANDONED = 86400  # seconds after which files in `incoming` without a known job are removed


class Engine(StoredJobs):
    """One queue and its workers, which are started at the first job. Methods are safe to call from any thread.

    scheduler: address of a running dask cluster; SINKSCOPE_SCHEDULER, else local workers. devices, memory_limit: of the
    local workers, see `cluster.start_local`. alone: run only new jobs, without resuming those of an earlier engine.
    who: returns the calling thread's visitor (`permissions`); by default the owner of the machine. serves: become the
    one server of the store. authorizer: checks permissions. Raises UserError for an unusable environment variable or
    address, and StoreError if another server uses the store.
    """

    def __init__(
        self,
        store: Store,
        scheduler: str | None = None,
        devices: list[str] | None = None,
        memory_limit: int | None = None,
        alone: bool = False,
        who: Callable[[], Visitor] | None = None,
        serves: bool = False,
    ) -> None:
        problems = environment.problems()
        if problems:
            raise UserError(" ".join(problems))
        self.scheduler = (environment.value("SINKSCOPE_SCHEDULER") or "") if scheduler is None else scheduler
        self._warning = check_scheduler(self.scheduler) if self.scheduler else ""
        self._owner = new_owner()
        self._presence = Presence(store.root, self._owner)
        if serves:
            try:
                self._presence.serve(lives_here)
            except StoreError:
                self._presence.leave()
                retire(self._owner)
                raise
        super().__init__(store, JobStore(store, self._presence), who)
        self._planned_workers = 1 if self.scheduler or devices is None else len(devices)
        self._askers: dict[str, set[str]] = {}  # who waits for a job; nobody for an earlier server's

        def workers() -> Cluster:
            if self.scheduler:
                cluster = connect(self.scheduler, self._dispatcher.hear)
            else:
                cluster = start_local(self._dispatcher.hear, devices, memory_limit)
            # Last registered, first called: dask's handlers end the workers, which would look as if they had died.
            atexit.unregister(self.close)
            atexit.register(self.close)
            return cluster

        self._dispatcher = Dispatcher(self._job_store, self._owner, workers, self.scheduler)
        self._sweeps = Sweeps(self, self._job_store, self._owner)
        self._parted: dict[str, PartPlanner[Any]] = {
            planner.kind: planner
            for planner in (each(self, self._job_store, self._owner) for each in (Studies, ClaimRuns))
        }
        # In the order in which they are taken over: children before the planned jobs that wait for them.
        self._planners: dict[str, Planner[Any, Any]] = {
            planner.kind: planner for planner in (self._sweeps, *self._parted.values())
        }
        self._closed = False
        if alone:
            self._dispatcher.start([], [])
        else:
            self._take_over()
        atexit.register(self.close)

    def _take_over(self) -> None:
        """Resume the work of an engine whose process is gone: its queue and its jobs on the cluster. Jobs in its own
        workers become interrupted.
        """
        unfinished = [record for record in reversed(self._job_store.jobs()) if not record.ended]
        elsewhere = {record.owner for record in unfinished if self._job_store.lives(record.owner)}
        living = self._presence.living({owner for owner in elsewhere if not lives_here(owner)})
        left = [record for record in unfinished if record.owner not in living and not lives_here(record.owner)]
        queued, running, planned = [], [], []
        for record in left:
            if JOBS[record.kind].run is None:
                planned.append(record)
            elif record.state == "queued":
                queued.append(self._job_store.update(record.id, owner=self._owner) or record)
            elif record.scheduler and record.scheduler == self.scheduler:
                running.append(record)
            else:
                where = f" It ran on {record.scheduler}, which this server does not use." if record.scheduler else ""
                reason = f"SinkScope was stopped while this job ran.{where}"
                self._job_store.finish(record.id, "interrupted", reason=reason)
        for path in self.store.incoming.iterdir():
            leaver = self.job(path.name)
            stale = leaver is None and path.stat().st_mtime < time.time() - _ABANDONED
            if stale or (leaver is not None and leaver.ended):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True) if path.is_file() else None
        self.store.remove_old_scratch()
        self._job_store.forget_old()
        self._dispatcher.start(queued, running)
        for kind, planner in self._planners.items():
            for record in planned:
                if record.kind == kind and not self.authorizer.demo:
                    planner.take_over(record)

    # --- submitting ---

    def submit(self, kind: str, spec: Spec, asker: str = "", parent: JobRecord | None = None) -> JobRecord:
        """Queue a job. One whose result is stored is done at once; one that is already queued or running is shared.

        asker: who asks, see `cancel`. parent: the planned job that submits it, within its own visitor's permissions.
        Raises UserError for a bad model source and for anything the visitor may not do.
        """
        record = JobRecord(
            id=uuid.uuid4().hex[:12],
            kind=kind,
            spec=spec.model_dump(mode="json"),
            created=time.time(),
            owner=self._owner,
            code=code_of(kind),
            visitors=self.authorizer.names if parent is None else parent.visitors,
        )
        return self._enter(record, spec, asker, granted=parent is not None)

    def restart(self, job_id: str, asker: str = "", parent: JobRecord | None = None) -> JobRecord:
        """Rerun a job that did not end well, under the same id, reusing its finished phases.

        If it was answered or submitted again meanwhile, that record is returned. parent: as in `submit`. Raises
        UserError for a job that is running or done, whose model is gone, or which the visitor may not run.
        """
        record = self.job(job_id)
        if record is None or record.state not in ENDED or record.state == "done":
            raise UserError("Only a job that failed, was cancelled or was interrupted can be started again.")
        fresh = JobRecord(
            id=record.id,
            kind=record.kind,
            spec=record.spec,
            created=time.time(),
            owner=self._owner,
            code=code_of(record.kind),
            visitors=tuple(dict.fromkeys((*record.visitors, *self.authorizer.names)))
            if parent is None
            else record.visitors,
            shared=record.shared,
        )
        try:
            spec = record.parameters(Spec)
        except ValidationError as error:
            raise UserError(f"This job was asked with parameters that changed since: {sentence(error)}") from error
        return self._enter(fresh, spec, asker, granted=parent is not None)

    def _enter(self, record: JobRecord, spec: Spec, asker: str, granted: bool) -> JobRecord:
        visitor = OWNER if granted else self.authorizer.visitor
        if visitor.role != "guest":  # a guest's limits depend on the queue
            self.authorizer.check_job(record.kind, spec, visitor)
        if record.kind in self._planners:
            self.authorizer.demand("run")
            self.authorizer.check_limits(spec, visitor)
            entered = self._planners[record.kind].enter(record, spec)
            return self._job_store.list_for(entered, record.visitors)
        key = known_key(record.kind, spec)
        left = self._newest(record.kind, key, self._left_behind)
        # A restarted job of an engine that is gone keeps its record, or the next engine would run it once more.
        is_short = JOBS[record.kind].is_short
        record = record.model_copy(update={"key": key, "brief": is_short is not None and is_short(spec)})
        if left is not None:
            record = record.model_copy(update={"id": left.id, "visitors": left.visitors_with(record.visitors)})
        stored = self.store.result(key) if key else None
        if stored is not None:
            earlier = self._newest(record.kind, key, _is_done)
            if earlier is not None:
                return self._job_store.list_for(earlier, record.visitors)
            record = record.model_copy(
                update={"state": "done", "summary": stored.summary, "cached": True, "finished": time.time()}
            )
            self._job_store.save(record)
            return record
        with self._job_store.changed:
            if self._closed:
                raise UserError("The job engine has been stopped. Restart SinkScope.")
            if self._presence.lost:
                raise UserError("Another SinkScope server has taken this store over. Use that one.")
            same = self._newest(record.kind, key, lambda job: not job.ended and job.owner == self._owner)
            if same is not None:
                self._askers.setdefault(same.id, set()).add(asker)
                return self._job_store.list_for(same, record.visitors)
            refused = self.authorizer.demo and refusal(
                record.kind, spec, sum(not job.ended for job in self._job_store.jobs())
            )
            if refused:
                raise UserError(refused)
            self.authorizer.check_limits(spec, visitor)
            self._askers = {job_id: askers for job_id, askers in self._askers.items() if not self._ended(job_id)}
            self._askers[record.id] = {asker}
            self._job_store.save(record)
            self._dispatcher.add(record.id)
        return record

    def _ended(self, job_id: str) -> bool:
        record = self.job(job_id)
        return record is None or record.ended

    def _left_behind(self, job: JobRecord) -> bool:
        """Return True if only its record says queued or running: its engine and that engine's workers are gone."""
        return not job.ended and not job.scheduler and not self._job_store.lives(job.owner)

    def _newest(self, kind: str, key: str | None, wanted: Callable[[JobRecord], bool]) -> JobRecord | None:
        """Return the newest job with a result of this name of which `wanted` is true."""
        return next((job for job in self._job_store.jobs(kind) if key and job.key == key and wanted(job)), None)

    # --- recordings and sharing ---

    def share(self, job_id: str, shared: bool = True) -> None:
        """List a visitor's own job to the others too, or stop doing so. Raises UserError for another visitor's job."""
        record = self.job(job_id)
        if record is None or self.authorizer.visitor.name not in record.visitors:
            raise UserError("Only what you asked for yourself is yours to share.")
        self._job_store.save(record.model_copy(update={"shared": shared}))

    def receive_recording(self, content: bytes | memoryview, name: str) -> JobRecord:
        """Import a recording from bytes, as a finished job. name: its file name, for messages.

        Raises UserError if it is not a recording, and OSError if it cannot be written.
        """
        self.authorizer.demand("upload")
        file = self.store.incoming / f"received-{uuid.uuid4().hex}.safetensors"
        try:
            file.write_bytes(content)
            return self.add_recording(file, f"'{name}'")
        finally:
            file.unlink(missing_ok=True)

    def add_recording(self, file: Path, called: str | None = None) -> JobRecord:
        """Import a recording from a file, which is moved, as a finished job. called: as in `open_trajectory`.

        Raises UserError if it is not a recording.
        """
        self.authorizer.check_upload()
        spec, summary = opened_recording(file, called or f"'{file.name}'")
        key = imported_key(file)
        earlier = self._newest("record", key, _is_done)
        if earlier is not None and self.result(earlier) is not None:
            file.unlink()
            return self._job_store.list_for(earlier, self.authorizer.names)
        self.store.add_result(key, dict(summary), file)
        now = time.time()
        record = JobRecord(
            id=uuid.uuid4().hex[:12],
            kind="record",
            spec=spec.model_dump(mode="json"),
            state="done",
            created=now,
            finished=now,
            key=key,
            summary=dict(summary),
            cached=True,
            owner=self._owner,
            visitors=self.authorizer.names,
        )
        self._job_store.save(record)
        return record

    def cancel(self, job_id: str, asker: str | None = None, here: Callable[[str], bool] = bool) -> bool:
        """Stop a job. It becomes cancelled at once; a worker that does not respond is killed a little later.

        asker: who no longer wants it. While another asker waits, according to `here`, the job keeps running and False
        is returned. Without an asker it is stopped in any case. Raises UserError for a visitor who may not stop it.
        """
        if asker is None:
            self.authorizer.demand("cancel", self.job(job_id))
        elif not self.authorizer.may_leave(self.job(job_id)):
            return False
        with self._job_store.changed:
            if asker is not None:
                self._askers.get(job_id, set()).discard(asker)
                if self.awaited(job_id, asker, here):
                    return False
            self._askers.pop(job_id, None)
            if self._job_store.finish(job_id, "cancelled"):
                self._dispatcher.drop(job_id)
        record = self.job(job_id)
        if record is not None and JOBS[record.kind].run is None:
            self._planners[record.kind].stop(record)
        return True

    def awaited(self, job_id: str, asker: str, here: Callable[[str], bool] = bool) -> bool:
        """Return True if somebody other than `asker` asked for this job and is still here."""
        with self._job_store.changed:
            return any(here(other) for other in self._askers.get(job_id, set()) - {asker})

    def retry_failed(self, job_id: str) -> None:
        """Restart the failed parts of a running sweep or study. Use `restart` for one that has ended."""
        record = self.job(job_id)
        self.authorizer.demand("run")
        if record is not None and not record.ended:
            self._planners[record.kind].retry(record)

    def foresee(self, spec: SweepSpec) -> CostEstimate:
        """Estimate the cost of a sweep from measurements. Raises UserError for a bad model source and for anything the
        visitor may not do.
        """
        self.authorizer.check_job("sweep", spec)
        return foresee(self, self._sweeps, spec)

    def sweep_points(self, record: JobRecord) -> list[Point]:
        """Return every point of a sweep and its state, in grid order."""
        return self._sweeps.points(record)

    def parts(self, record: JobRecord) -> list[Part]:
        """Return every part of a study or of a run of the claims and its state, in order."""
        return self._parted[record.kind].parts(record)

    def finish_early(self, job_id: str) -> None:
        """Ask a running job to end with the results so far; those that cannot do so run on."""
        self.authorizer.demand("cancel", self.job(job_id))
        self._dispatcher.finish_early(job_id)

    # --- the queue and its workers ---

    def place(self, job_id: str) -> int | None:
        """Return the number of jobs ahead in the queue, running ones included; None if it is not queued."""
        return self._dispatcher.place(job_id)

    def forget_result(self, record: JobRecord) -> None:
        """Remove a job's result from the store, so that submitting it again runs it again."""
        self.authorizer.demand("remove", record)
        if record.key:
            self.store.delete_result(record.key)

    def forget(self, job_id: str) -> None:
        """Remove a job that has ended and its result, which then answers no other job."""
        record = self.job(job_id)
        self.authorizer.demand("remove", record)
        if record is not None and self._job_store.forget(job_id):
            self.forget_result(record)

    def notices(self) -> list[str]:
        """Return warnings for the user: no scheduler or worker in reach, no TLS, an unwritable folder, a database that
        was set aside, a store or jobs of another version.
        """
        unwritable = self._job_store.unwritable and (
            f"SinkScope's folder cannot be written ({self._job_store.unwritable}). What happens now is lost when the "
            "server stops. Free some space."
        )
        lost = self._presence.lost and (
            "Another SinkScope server has taken this store over, while this one was suspended. Stop this one."
        )
        unread = self._job_store.unread and (
            f"The store holds jobs of another version of SinkScope that cannot be read here "
            f"({self._job_store.unread}). They are not listed, and stay there."
        )
        queue = (self._dispatcher.trouble, *(self._dispatcher.unfit() if self.has_worker() else ()))
        said = (lost, *queue, self._warning, unwritable, *self.store.notices, unread)
        return [text for text in said if text]

    @property
    def shares_store(self) -> bool:
        """True if jobs can read the results of earlier ones, as on local workers."""
        return not self.scheduler

    def workers(self) -> int:
        """Return the number of workers; before the first job, at least the number this machine will have."""
        cluster = self._dispatcher.cluster
        return self._planned_workers if cluster is None else max(1, len(cluster.places()))

    def has_worker(self) -> bool:
        """True once workers were started or reached."""
        return self._dispatcher.cluster is not None

    def seconds_to_start(self) -> float:
        """Return how long the first job waits for its worker and for torch on an idle machine; 0 once workers were
        started or reached."""
        return 0.0 if self.has_worker() else _START

    def models_held(self) -> int:
        """Return the number of workers that hold a model."""
        return self._dispatcher.models_held()

    def worker_pids(self) -> list[int]:
        """Process ids of the local workers; empty before the first job."""
        return self._dispatcher.cluster.worker_pids() if self._dispatcher.cluster is not None else []

    def close(self) -> None:
        """Stop the queue and the local workers. Their jobs become interrupted; queued jobs stay queued in the store."""
        with self._job_store.changed:
            if self._closed:
                return
            self._closed = True
        for planner in self._planners.values():
            planner.close()
        self._dispatcher.close()
        self._presence.leave()
