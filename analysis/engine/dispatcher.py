"""Dispatch of jobs to workers, one per device, in a thread that hands out and watches; `Intake` stores their results.

A job's entry is pickled by value, so that a worker without SinkScope can report that. A short job that needs the model
of a long job runs between that job's steps, and nothing that happens to it affects the long job.
"""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

from analysis.engine.cluster import Cluster, Place
from analysis.engine.intake import Intake
from analysis.engine.job_store import JobRecord, JobStore, Loss, retire
from analysis.engine.placement import (
    FORGOTTEN,
    SILENT,
    Running,
    Work,
    askers,
    free_place,
    in_turn,
    long_job_for,
    obstacle,
    told,
)
from analysis.engine.worker import (
    MARK,
    JobRequest,
    add_piece,
    reason,
    request_cancel,
    request_pieces,
    request_stop,
    wire_limit,
)
from analysis.errors import UserError
from cache.keys import code_version

REQUIRED = ("torch", "transformers", "safetensors", "lm_eval")
"""Top-level modules that jobs import late."""


def job_entry() -> Callable[[str], dict[str, Any]]:
    """Return the function that runs a job, an `JobRequest` as JSON, in a worker.

    It is made here rather than defined in the module, so that it is pickled by value.
    """
    required = REQUIRED

    def run_order(text: str) -> dict[str, Any]:
        import importlib.util
        import socket
        import sys

        def lacks(name: str, own: bool) -> str:
            what = f"The worker on {socket.gethostname()} has no module '{name}'"
            if own:
                return (
                    f"{what}, which is SinkScope itself. Start it in SinkScope's folder with PYTHONPATH=$PWD before "
                    "'dask worker', as docs/cluster.md shows."
                )
            return f"{what}. Install it there: {sys.executable} -m pip install -r requirements.txt"

        try:
            from analysis.engine.worker import run_job
        except ModuleNotFoundError as error:
            missing = error.name or str(error)
            return {"unfit": lacks(missing, missing.split(".")[0] in ("analysis", "cache"))}
        for name in required:
            if importlib.util.find_spec(name) is None:
                return {"unfit": lacks(name, False)}
        try:
            return run_job(text)
        except ModuleNotFoundError as error:  # a package that only this job needs
            return {"error": lacks(error.name or str(error), False)}

    return run_order


CANCEL_GRACE = 6.0  # seconds a cancelled job has to stop by itself before its worker is killed
LOST_GRACE = 5.0  # seconds after which a job whose worker is gone is given up, if dask says nothing
SILENCE_LIMIT = 120.0  # seconds without a heartbeat after which a worker is ended; long calls into C may hold one up
RETRY_INTERVAL = 5.0  # seconds between attempts to reach a scheduler
_TICK = 0.05
_log = logging.getLogger("sinkscope")


class Dispatcher(Intake):
    """The queue and its thread. connect: opens the connection at the first job. scheduler: address of the running
    cluster, or "" for local workers; jobs on a cluster outlive this server.
    """

    def __init__(self, job_store: JobStore, owner: str, connect: Callable[[], Cluster], scheduler: str = "") -> None:
        super().__init__(job_store)
        self.owner = owner
        self.trouble = ""
        self.cluster: Cluster | None = None
        self._connect, self._scheduler = connect, scheduler
        self._early: dict[str, list[dict[str, Any]]] = {}  # messages from jobs that `_find` is resuming
        self._served: dict[str, int] = {}  # by visitor, the number of their last turn
        self._next_attempt = 0.0
        self._thread = threading.Thread(target=self._work, name="sinkscope-queue", daemon=True)

    # --- called from any thread ---

    def start(self, queued: list[JobRecord], running: list[JobRecord]) -> None:
        """Start, with the jobs left by an earlier engine: queued ones, and ones running on the cluster."""
        self._queue = [record.id for record in queued]
        self._to_find = list(running)
        self._thread.start()

    def add(self, job_id: str) -> None:
        """Append a job to the queue."""
        with self._changed:
            self._queue.append(job_id)
            self._changed.notify_all()

    def drop(self, job_id: str) -> None:
        """Remove a cancelled job from the queue, or have its worker stop it."""
        with self._changed:
            if job_id in self._queue:
                self._queue.remove(job_id)
            elif job_id in self._running:
                self._running[job_id].cancelled = True
            self._changed.notify_all()

    def finish_early(self, job_id: str) -> None:
        """Ask a running job to end with the results so far. Other jobs have none."""
        with self._changed:
            run, cluster = self._running.get(job_id), self.cluster
        if run is not None and cluster is not None:
            cluster.tell(run.place.address, request_stop, run.record.run)

    def place(self, job_id: str) -> int | None:
        """Return the number of jobs ahead of this one, running ones included; None if it is not queued."""
        with self._changed:
            if job_id not in self._queue:
                return None
            order = [record.id for record in self._waiting()]
            return order.index(job_id) + sum(not run.between for run in self._running.values())

    def _waiting(self) -> list[JobRecord]:
        """Return the queue in the order in which its jobs get a worker."""
        records = [record for record in map(self.job_store.job, self._queue) if record is not None]
        return in_turn(records, self._running.values(), self._served)

    def unfit(self) -> list[str]:
        """Return the reasons why connected workers cannot run jobs."""
        places = self.cluster.known if self.cluster is not None else {}
        return [f"{places[address].device}: {why}" for address, why in self._unfit.items() if address in places]

    def models_held(self) -> int:
        """Return the number of workers that hold a model, by their last messages."""
        with self._changed:
            return sum(held is not None for held in self._held.values())

    def hear(self, message: dict[str, Any]) -> None:
        """Handle a message from a worker."""
        with self._changed:
            if message.get("job") in self._early:  # handled by `_find`
                self._early[message["job"]].append(dict(message))
                return
        job_id = message.pop("job", "")
        with self._changed:
            run = self._running.get(job_id)
            if run is None or run.record.run != message.pop("run", ""):
                return
            run.heard = True
            self._held[run.place.address] = message.pop("model", None)
            if "bound" in message:
                bound = message["bound"]
                run.due = None if bound is None else time.monotonic() + bound["seconds"]
                run.overdue = "" if bound is None else bound["reason"]
            if "leaving" in message and not run.killed:
                run.leaving = message["leaving"]
                if self.cluster is not None:
                    self.cluster.look_again()
        if run.cancelled:
            return
        if "phase" in message or "log" in message:
            self.job_store.report(job_id, message)
        if "piece" in message:
            self._grow(run, message["piece"])

    def _grow(self, run: Running, piece: dict[str, Any]) -> None:
        """Append to the server's copy of a file that a worker on another disk is writing."""
        try:
            missing = add_piece(piece, self.store.incoming / run.record.id)
        except (OSError, UserError) as error:
            _log.warning("A partial result was not written: %s", error)
            return
        cluster = self.cluster
        if missing is not None and cluster is not None:
            cluster.tell(run.place.address, request_pieces, run.record.run, piece["name"], missing)

    def close(self) -> None:
        """Stop. Local jobs become interrupted; jobs on a cluster keep running."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=CANCEL_GRACE)
        for run in list(self._running.values()):
            if run.intake is not None:
                run.intake.join(timeout=CANCEL_GRACE)
        self.job_store.flush(at_once=True)
        cluster = self.cluster
        if cluster is not None:
            for run in list(self._running.values()):
                if cluster.remote and run.cancelled:
                    cluster.abandon(run.place.address, run.record.run, run.future, request_cancel)
            cluster.close()
        if cluster is None or not cluster.remote:
            for run in list(self._running.values()):
                self._end(run, "interrupted", reason="SinkScope was stopped while this job ran.")
        retire(self.owner)

    # --- the thread ---

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._running or self._to_find or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
            try:
                self._tick()
            except Exception as error:  # whatever happens, the queue goes on
                _log.exception("The queue met an error and goes on.")
                self.trouble = reason(error)
                time.sleep(1)
            with self._changed:
                self._changed.wait(_TICK)

    def _tick(self) -> None:
        cluster = self._reach()
        if cluster is None:
            return
        if not cluster.connected:
            self._lose(cluster)
            return
        places = cluster.places()
        if not cluster.answers:  # `_pulse` asks every few seconds
            where = f" at {self._scheduler}" if self._scheduler else ""
            self.trouble = f"The scheduler{where} does not answer. Jobs wait for it, and what runs there runs on."
            return
        while self._to_find:
            record = self._to_find.pop()
            try:
                self._find(cluster, record)
            except Exception as error:
                if not cluster.connected:
                    self._to_find.append(record)
                    return
                self._fail(record.id, error)
        for run in list(self._running.values()):
            self._watch(cluster, run, places)
        self._hand_out(cluster)
        self.job_store.flush()

    def _reach(self) -> Cluster | None:
        """Return the connection, opening it if need be. Jobs wait for a cluster; if local workers do not start, the
        first fails.
        """
        if self.cluster is not None or time.monotonic() < self._next_attempt:
            return self.cluster
        first = self._queue[0] if self._queue else None
        if first is not None:
            self.job_store.begin(first)
            self.job_store.report(
                first, {"phase": "reaching the scheduler" if self._scheduler else "starting the worker"}
            )
        try:
            self.cluster = self._connect()
            self.trouble = ""
            if self._closed:
                self.cluster.close()
            elif self.cluster.remote:
                # Stop jobs that were cancelled while the cluster was out of reach.
                names = set(self.cluster.client.list_datasets())
                self._to_find += [record for record in self.job_store.jobs() if record.ended and record.run in names]
        except Exception as error:
            self.trouble = f"The scheduler at {self._scheduler} does not answer ({reason(error)}). Jobs wait for it."
            self._next_attempt = time.monotonic() + RETRY_INTERVAL
            if not self._scheduler and first is not None:
                self.trouble = ""
                self.drop(first)
                self._fail(first, error)
        return self.cluster

    def _lose(self, cluster: Cluster) -> None:
        """Drop the connection to an unreachable scheduler. Its jobs are looked up once it is back."""
        with self._changed:
            lost = [run for run in self._running.values() if run.intake is None]  # the others notice by themselves
            self._to_find += [run.record for run in lost]
            for run in lost:
                del self._running[run.record.id]
        cluster.close()
        self.cluster = None
        self._held.clear()

    # --- handing out ---

    def _hand_out(self, cluster: Cluster) -> None:
        with self._changed:
            waiting = self._waiting()
        places = cluster.places()
        self.trouble = "" if places or not self._queue else "There is no worker. Jobs wait for one."
        for record in waiting:
            if record.id in self._running:  # an earlier, cancelled try has not stopped yet
                continue
            try:
                work = Work(list(self._running.values()), self._held, self._refused, self._unfit)
                place = free_place(record, cluster.places(), work)
                long_job = long_job_for(record, work) if place is None and record.short else None
                if long_job is not None:
                    place = long_job.place
                if place is not None:
                    self._hand_over(cluster, record, place, long_job)
                elif record.short:
                    self.job_store.update(record.id, waits_for=obstacle(record, work))
            except Exception as error:
                # Whatever went wrong, this job ends with the reason and the next one has its turn.
                with self._changed:
                    run = self._running.get(record.id)
                    if record.id in self._queue:
                        self._queue.remove(record.id)
                self._fail(record.id, error)
                if run is not None:
                    self._forget(cluster, run)

    def _hand_over(self, cluster: Cluster, record: JobRecord, place: Place, long_job: Running | None) -> None:
        name = f"sinkscope-{record.id}-{secrets.token_hex(4)}"
        changes = {
            "state": "running",
            "started": time.time(),
            "device": place.device,
            "worker": place.address,
            "run": name,
            "between": long_job.record.id if long_job else "",
            "waits_for": "",
            "owner": self.owner,
            "scheduler": self._scheduler if cluster.remote else "",
        }
        folder = self.store.incoming / record.id
        # Before the new try gets its name, which readers of partial results use.
        shutil.rmtree(folder, ignore_errors=True)
        with self._changed:
            if record.id in self._queue:
                self._queue.remove(record.id)
            updated = self.job_store.update(record.id, **changes)
            if updated is None:  # cancelled in the meantime
                return
            self.job_store.begin(record.id)
            self.job_store.report(record.id, {"phase": "handing over"})
            for when, line in told(record.losses):
                self.job_store.report(record.id, {"log": line, "time": when})
            if long_job is None:
                turn = max(self._served.values(), default=0) + 1
                self._served.update(dict.fromkeys(askers(record), turn))
        mark = secrets.token_hex(16)
        request = JobRequest(
            id=record.id,
            run=name,
            kind=record.kind,
            spec=record.spec,
            folder=str(folder),
            mark=mark,
            scratch=str(self.store.scratch),
            between=long_job is not None,
            brief=record.brief,
            workers=place.workers,
            home="" if cluster.remote else str(self.store.root.absolute()),
            code=code_version(),
            limit=wire_limit(),
        )
        run = Running(updated, place, None, long_job is not None)
        with self._changed:
            # Before the job is handed over: its first message may arrive before this thread continues.
            current = self.job_store.job(record.id)
            run.cancelled = current is None or current.run != name or current.ended
            self._running[record.id] = run
        folder.mkdir(mode=0o700)
        (folder / MARK).write_text(mark)
        run.future = cluster.client.submit(
            job_entry(),
            request.model_dump_json(),
            key=name,
            workers=[place.address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        if cluster.remote:
            cluster.client.publish_dataset(run.future, name=name)

    def _find(self, cluster: Cluster, record: JobRecord) -> None:
        """Resume following a job that was left running on the cluster."""
        try:
            future = cluster.client.get_dataset(record.run)
        except KeyError:
            loss = Loss(worker=record.device, time=time.time(), why=FORGOTTEN)
            if not self._try_again(record, loss):
                self.job_store.finish(record.id, "interrupted", reason=FORGOTTEN)
            return
        place = cluster.places().get(record.worker) or Place(record.worker, record.device, 1)
        with self._changed:
            self._early[record.id] = []
        try:
            said = [message for message in cluster.said() if message.get("run") == record.run]
        except Exception:
            with self._changed:
                self._early.pop(record.id)
            raise
        with self._changed:
            early = self._early.pop(record.id)
            missed = said + [message for message in early if message.get("run") == record.run and message not in said]
            updated = self.job_store.update(record.id, owner=self.owner)
            self._running[record.id] = Running(
                updated or record, place, future, bool(record.between), heard=True, cancelled=updated is None
            )
            if updated is not None:
                last = self.job_store.resume(record.id)
                for message in missed:
                    if message.get("time", last + 1) > last:
                        self.hear(message)

    # --- following ---

    def _watch(self, cluster: Cluster, run: Running, places: dict[str, Place]) -> None:
        if run.intake is None and run.future.done():
            run.intake = threading.Thread(
                target=self._take_in, args=(cluster, run), name=f"sinkscope-{run.record.id}", daemon=True
            )
            run.intake.start()
        now = time.monotonic()
        if run.intake is None:
            self._hurry(cluster, run, now)
        silence = cluster.silence(run.place.address)
        if silence > SILENCE_LIMIT and not run.killed:
            self._give_up(cluster, run, SILENT.format(silence), by_itself=False)
        if run.place.address in places:
            run.gone = None
        elif run.gone is None:
            run.gone = now
            cluster.look_again()
        elif run.killed or run.leaving or now - run.gone > LOST_GRACE:
            # A scheduler that allows failures keeps the job for a worker of that address, which does not come back; and
            # what a worker held when it died never arrives.
            run.future.cancel(force=True)

    def _hurry(self, cluster: Cluster, run: Running, now: float) -> None:
        """Stop a job that is cancelled or exceeds the time it announced."""
        if run.cancelled and run.told is None:
            run.told = now
            cluster.tell(run.place.address, request_cancel, run.record.run)
        elif run.told is not None and not run.between and not run.killed and now - run.told > CANCEL_GRACE:
            # A short job is never killed: that would take its long job along.
            run.killed = True
            cluster.kill(run.place.address)
        elif run.due is not None and now > run.due and not run.killed:
            self._give_up(cluster, run, run.overdue, by_itself=True)

    def _give_up(self, cluster: Cluster, run: Running, why: str, by_itself: bool) -> None:
        """End a hanging worker. A long job that had begun and hung by itself fails at once; others are retried once the
        worker is gone.
        """
        run.ended_for, run.killed = why, True
        cluster.kill(run.place.address)
        if by_itself and run.heard and not run.between:
            self._end(run, "failed", reason=why)
            run.cancelled = True
