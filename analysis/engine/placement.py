"""Order of the queue; choice of a worker: a free one, or for a short job one that holds its model, between the steps of
a long job; and jobs that end with their worker: which are retried, where, and with what message.
"""

import threading
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.engine.cluster import Place
from analysis.engine.job_store import JobRecord, Loss
from analysis.jobs import JOBS
from analysis.words import listed


@dataclass
class Running:
    """A job at a worker. heard: it has begun. cancelled: nobody wants it any more. told, killed: when it was asked to
    stop; its worker was killed. gone: since when its worker has been missing. intake: the thread that stores its
    result. due, overdue: deadline of its current step, and the message if it is missed. ended_for: why its worker was
    ended. leaving: message of its worker when about to end.
    """

    record: JobRecord
    place: Place
    future: Any
    between: bool
    heard: bool = False
    cancelled: bool = False
    told: float | None = None
    killed: bool = False
    gone: float | None = None
    intake: threading.Thread | None = None
    due: float | None = None
    overdue: str = ""
    ended_for: str = ""
    leaving: str = ""


@dataclass(frozen=True)
class Work:
    """Current work. held: the model each worker holds, by address. refused: pairs of short and long jobs that cannot
    run together. unfit: addresses of workers that cannot run jobs.
    """

    running: list[Running]
    held: Mapping[str, dict[str, Any] | None]
    refused: set[tuple[str, str]]
    unfit: Container[str] = ()

    @property
    def long_jobs(self) -> list[Running]:
        """The jobs with a worker to themselves."""
        return [run for run in self.running if not run.between]

    def model_at(self, run: Running) -> dict[str, Any] | None:
        """The model in this job's worker."""
        return self.held.get(run.place.address)


def free_place(record: JobRecord, places: Mapping[str, Place], work: Work) -> Place | None:
    """Return a free worker, preferably one that has not ended under this job, then one that holds its model; for a job
    without a model, such as unloading, one that holds any. A worker that cannot run jobs is taken if there is no other.
    """
    taken = {run.place.address for run in work.running}
    fit = {address: place for address, place in places.items() if address not in work.unfit} or places
    free = {address: place for address, place in fit.items() if address not in taken and not place.ending}
    model = record.spec.get("model")

    def holds(place: Place) -> bool:
        held = work.held.get(place.address)
        return held is not None and (held == model or model is None)

    fresh = untried(record, free)
    return max(free.values(), key=lambda place: (place.address in fresh, holds(place)), default=None)


def in_turn(waiting: Sequence[JobRecord], running: Iterable[Running], served: Mapping[str, int]) -> list[JobRecord]:
    """Return waiting jobs in the order in which they get a worker: visitors take turns, the one with fewest running
    jobs first, and each one's jobs in order of submission. A job with several askers comes with the first of them.

    waiting: in order of submission. served: a number for each visitor that grows with every turn they had.
    """
    ahead = Counter(name for run in running if not run.between for name in askers(run.record))
    keys = []
    for number, record in enumerate(waiting):
        names = askers(record)
        keys.append((*min((ahead[name], served.get(name, 0)) for name in names), number))
        ahead.update(names)
    return [waiting[number] for *_, number in sorted(keys)]


def askers(record: JobRecord) -> tuple[str, ...]:
    """Return the names that share out workers for this job: its visitors, or "" for the owner of the machine."""
    return record.visitors or ("",)


def long_job_for(record: JobRecord, work: Work) -> Running | None:
    """Return a long job between whose steps this short one may run: its worker runs no other short job and holds the
    model, or this one is brief and brings its own.
    """
    if len(record.losses) > 1:  # it may itself be ending the workers, and their long jobs with them
        return None
    busy = {run.place.address for run in work.running if run.between}
    for long_job in work.long_jobs:
        ready = long_job.heard and long_job.told is None and long_job.intake is None and not long_job.leaving
        ready = ready and not JOBS[long_job.record.kind].short
        ready = ready and not (record.brief and long_job.record.brief)  # one recording after the other
        welcome = long_job.place.address not in busy and (record.id, long_job.record.id) not in work.refused
        if ready and welcome and (record.brief or work.model_at(long_job) == record.spec.get("model")):
            return long_job
    return None


def obstacle(record: JobRecord, work: Work) -> str:
    """Return what blocks a short job from running between steps; "" if it only has to wait its turn."""
    model = record.spec.get("model") or {}
    refused = any((record.id, long_job.record.id) in work.refused for long_job in work.long_jobs)
    if record.brief and not refused:
        return ""
    if any(work.model_at(long_job) == model for long_job in work.long_jobs):
        return "the running job to end: the model has changed on disk since it was loaded" if refused else ""
    long_job = next((long_job for long_job in work.long_jobs if long_job.heard), None)
    if long_job is None:
        return ""
    held = work.model_at(long_job)
    inside = f"holds '{held['source']}'" if held else "holds no model"
    if held and held["source"] == model.get("source"):
        inside = f"holds '{held['source']}' with other settings"
    title = JOBS[long_job.record.kind].title
    return f"'{title}' to end: this needs '{model.get('source')}', and the busy worker {inside}"


# --- jobs that end with their worker ------------------------------------------------------------------------------

RETRIES = 2  # retries of a job that ended with its worker
HAND_BACKS = 20  # how often departing workers may hand a job back

DIED = "The worker process died while running this job: it was killed, or the machine ran out of memory or went away."
TOO_BIG = (
    "The job ran out of memory: its worker took more than it may and was restarted. Take a smaller model or less text, "
    "or allow more with SINKSCOPE_MEMORY_LIMIT."
)
SILENT = "The worker did not answer for {:.0f} seconds: it was stopped, or it hangs. It was ended."
FORGOTTEN = "The scheduler was restarted while this job ran and does not know it any more."


def verdict(record: JobRecord, loss: Loss) -> str:
    """Return why a job that ended with its worker is given up; empty where it is tried again."""
    losses = (*record.losses, loss)
    if loss.handed_back:
        times = sum(loss.handed_back for loss in losses)
        if times <= HAND_BACKS:
            return ""
        return f"{loss.why} That was the {times}th time. Give the workers a longer lifetime."
    died = [loss for loss in losses if not loss.handed_back]
    if len(died) <= RETRIES:
        return ""
    names = list(dict.fromkeys(loss.worker for loss in died))
    advice = "" if loss.why in (TOO_BIG, FORGOTTEN) else " Take a smaller model or less text if memory was short."
    return f"{loss.why} {len(died)} tries ended so, on {listed(names)}.{advice}"


def told(losses: Sequence[Loss]) -> list[tuple[float, str]]:
    """A line for a job's log on every try that ended with its worker, each with its time."""
    lines, died = [], 0
    for loss in losses:
        died += not loss.handed_back
        again = "It goes on elsewhere." if loss.handed_back else f"It is tried again ({died} of {RETRIES})."
        lines.append((loss.time, f"On {loss.worker}: {loss.why} {again}"))
    return lines


def untried(record: JobRecord, places: Mapping[str, Place]) -> dict[str, Place]:
    """The places whose worker has not ended under this job."""
    tried = {loss.worker for loss in record.losses if not loss.handed_back}
    return {address: place for address, place in places.items() if place.device not in tried}
