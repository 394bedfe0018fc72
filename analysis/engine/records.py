"""Outside view of a job: its record, its progress and the owner of its queue."""

import itertools
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast, overload

from pydantic import BaseModel, ConfigDict, JsonValue

from analysis.jobs import JOBS
from analysis.specs import JobSpec, Spec
from cache.presence import this_process

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
SpecType = TypeVar("SpecType", bound=Spec)
Details = TypeVar("Details", bound=Mapping[str, object])
ENDED = ("done", "failed", "cancelled", "interrupted")


class Loss(BaseModel):
    """A try of a job that ended with its worker. worker: its display name. time: seconds since the epoch. why: one
    sentence. handed_back: the worker announced its end, so the try does not count.
    """

    model_config = ConfigDict(frozen=True)

    worker: str
    time: float
    why: str
    handed_back: bool = False


class JobRecord(BaseModel):
    """Record of a job in the store.

    spec: parameters as JSON. key: of its result. reason: one line on why it failed or was cut off. cached: answered
    from the store without running. owner: the engine whose queue holds it. waits_for: what keeps a short job from
    running between steps. device: where it runs or ran; threads: number that computed there, 0 if none. between: id of
    the job between whose steps it runs. run: name of this try; worker, scheduler: addresses; these find it again on a
    cluster that outlives this server. code: version of the code it was submitted to; '' in older records. visitors: who
    asked, on a server with several; shared: True if one of them lists it for all. brief: takes seconds, by its spec
    (`Job.is_short`). losses: tries that ended with their worker.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    spec: dict[str, Any]
    state: State = "queued"
    created: float
    started: float | None = None
    finished: float | None = None
    key: str | None = None
    summary: dict[str, Any] = {}
    reason: str = ""
    traceback: str = ""
    cached: bool = False
    owner: str = ""
    waits_for: str = ""
    device: str = ""
    threads: int = 0
    between: str = ""
    run: str = ""
    worker: str = ""
    scheduler: str = ""
    code: str = ""
    visitors: tuple[str, ...] = ()
    shared: bool = False
    brief: bool = False
    losses: tuple[Loss, ...] = ()

    @property
    def short(self) -> bool:
        """True if it may run between the steps of a long job."""
        return self.brief or JOBS[self.kind].short

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @overload
    def parameters(self) -> JobSpec: ...
    @overload
    def parameters(self, spec: type[SpecType]) -> SpecType: ...
    def parameters(self, spec: type[Spec] = JobSpec) -> Spec:
        """Return the spec as submitted. spec: its expected class. Raises TypeError if the job has another, and
        ValidationError if its parameters have changed since.
        """
        kind = JOBS[self.kind].spec
        if not issubclass(kind, spec):
            raise TypeError(f"The job '{self.kind}' takes a {kind.__name__}, not a {spec.__name__}.")
        return kind.model_validate(self.spec)

    def summary_as(self, summary: type[Details]) -> Details:
        """Return the summary with typed fields. Raises TypeError if the job's summaries are of another type."""
        kind = JOBS[self.kind].summary
        if kind is not summary:
            raise TypeError(f"The job '{self.kind}' says a {kind.__name__}, not a {summary.__name__}.")
        return cast(Details, self.summary)


class Progress(BaseModel):
    """Latest progress of a job. rate: steps per second; left: seconds to go; both None until known. details: latest
    partial results.
    """

    model_config = ConfigDict(frozen=True)

    phase: str = ""
    done: int = 0
    total: int = 0
    details: dict[str, JsonValue] = {}
    rate: float | None = None
    left: float | None = None

    def details_as(self, partial: type[Details]) -> Details:
        """Return the partial results with typed fields: those named by the job's row in `JOBS`."""
        return cast(Details, self.details)


class LogLine(BaseModel):
    """One line of a job's log. time: seconds since the epoch, by the worker's clock."""

    model_config = ConfigDict(frozen=True)

    time: float
    text: str


def read_record(fields: dict[str, Any] | None) -> JobRecord | None:
    """Return a stored record; None if it is invalid or of a kind unknown to this version."""
    try:
        record = JobRecord.model_validate(fields) if fields else None
    except ValueError:
        return None
    return record if record is not None and record.kind in JOBS else None


# --- owners -----------------------------------------------------------------------------------------------------

_living: set[str] = set()
_numbers = itertools.count()


def new_owner() -> str:
    """A name for an engine of this process."""
    owner = f"{this_process()}#{next(_numbers)}"
    _living.add(owner)
    return owner


def retire(owner: str) -> None:
    """Mark this engine as closed."""
    _living.discard(owner)


def lives_here(owner: str) -> bool:
    """Return True if that engine of this process has not been closed."""
    return owner in _living
