"""Which worker a job goes to: a free one, or for a short job one that holds its model, between a long one's steps."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.engine.cluster import Place
from analysis.engine.records import JobRecord
from analysis.jobs import JOBS


@dataclass
class Running:
    """A job in a worker's hands. heard: it has begun. cancelled: nobody wants it any more. told, killed: when it was
    asked to stop; its worker was killed. gone: since when its worker has been missing. intake: the thread that takes in
    what it left. due, overdue: when what it does now must have ended, and what is said if it has not. ended_for: why
    its worker was ended."""

    record: JobRecord
    place: Place
    future: Any
    guest: bool
    heard: bool = False
    cancelled: bool = False
    told: float | None = None
    killed: bool = False
    gone: float | None = None
    intake: threading.Thread | None = None
    due: float | None = None
    overdue: str = ""
    ended_for: str = ""


@dataclass(frozen=True)
class Work:
    """What goes on. held: the model each worker holds, by its address. refused: pairs of guest and host that do not go
    together."""

    running: list[Running]
    held: Mapping[str, dict[str, Any] | None]
    refused: set[tuple[str, str]]

    @property
    def hosts(self) -> list[Running]:
        """Jobs that have a worker for themselves."""
        return [run for run in self.running if not run.guest]

    def model_at(self, run: Running) -> dict[str, Any] | None:
        """The model in this job's worker."""
        return self.held.get(run.place.address)


def free_place(record: JobRecord, places: Mapping[str, Place], work: Work) -> Place | None:
    """A free worker, best one that holds the job's model; for a job without one, such as unloading, that holds any."""
    taken = {run.place.address for run in work.running}
    free = [place for address, place in places.items() if address not in taken]
    model = record.spec.get("model")

    def fits(place: Place) -> bool:
        held = work.held.get(place.address)
        return held is not None and (held == model or model is None)

    return next((place for place in free if fits(place)), next(iter(free), None))


def host_for(record: JobRecord, work: Work) -> Running | None:
    """A long job that this short one may run between the steps of: its worker has no guest and holds the model, or this
    one is brief and brings its own.
    """
    busy = {run.place.address for run in work.running if run.guest}
    for host in work.hosts:
        ready = host.heard and host.told is None and host.intake is None and not JOBS[host.record.kind].short
        ready = ready and not (record.brief and host.record.brief)  # one recording after the other
        welcome = host.place.address not in busy and (record.id, host.record.id) not in work.refused
        if ready and welcome and (record.brief or work.model_at(host) == record.spec.get("model")):
            return host
    return None


def obstacle(record: JobRecord, work: Work) -> str:
    """What a short job waits for that cannot slip in; nothing where it is only not its turn yet."""
    model = record.spec.get("model") or {}
    refused = any((record.id, host.record.id) in work.refused for host in work.hosts)
    if record.brief and not refused:
        return ""
    if any(work.model_at(host) == model for host in work.hosts):
        return "the running job to end: the model has changed on disk since it was loaded" if refused else ""
    host = next((host for host in work.hosts if host.heard), None)
    if host is None:
        return ""
    held = work.model_at(host)
    inside = f"holds '{held['source']}'" if held else "holds no model"
    if held and held["source"] == model.get("source"):
        inside = f"holds '{held['source']}' with other settings"
    title = JOBS[host.record.kind].title
    return f"'{title}' to end: this needs '{model.get('source')}', and the busy worker {inside}"
