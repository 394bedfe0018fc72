"""In whose name an engine is asked, and what they may: `permissions` for the visitor of the calling thread."""

from collections.abc import Callable

from analysis.engine import permissions
from analysis.engine.job_store import JobStore
from analysis.engine.permissions import GUEST, OWNER, Places, Visitor
from analysis.engine.records import JobRecord
from analysis.specs import Spec
from cache import environment
from cache.store import Store


class Authorizer:
    """Asked before anything is run, changed, or named.

    who: the visitor in whose name the calling thread asks; without it, the owner of the machine. demo: whether it is a
    demonstration, by SINKSCOPE_DEMO, where all are guests. Raises VariableError for a variable of a shared server that
    holds what it may not.
    """

    def __init__(self, store: Store, job_store: JobStore, who: Callable[[], Visitor] | None = None) -> None:
        self.demo = bool(environment.value("SINKSCOPE_DEMO"))
        self._store = store
        self._job_store = job_store
        self._who = who or (lambda: OWNER)
        self._places = Places.of((store.kept, store.models))
        self._folders = (store.root.resolve(), store.shared.resolve())
        self._limits = environment.value("SINKSCOPE_VISITOR_LIMITS") or environment.VisitorLimits()

    @property
    def visitor(self) -> Visitor:
        """In whose name the calling thread asks."""
        return GUEST if self.demo else self._who()

    @property
    def names(self) -> tuple[str, ...]:
        """The visitor as the records of jobs keep it: a name, or nothing where all are one."""
        name = self.visitor.name
        return (name,) if name else ()

    def may(self, action: str) -> bool:
        """Whether the visitor may do this at all: an action of `permissions.PERMISSIONS`."""
        return permissions.may(self.visitor, action)

    def demand(self, action: str, record: JobRecord | None = None) -> None:
        """Asked before anything that is stored is changed. record: the job that it is done to. Raises UserError for a
        visitor who may not."""
        permissions.demand(self.visitor, action, record)

    def check_job(self, kind: str, spec: Spec, visitor: Visitor | None = None) -> None:
        """Raises UserError where a visitor may not ask for such a job, or may not name what it names. Nothing that it
        names is looked at. Nobody may have anything written into the store by its path."""
        visitor = visitor or self.visitor
        permissions.demand(visitor, "record" if kind == "record" else "run")
        permissions.check_outputs(spec, self._folders)
        if visitor.role == "run":
            from analysis.calibration.text import SOURCES

            permissions.check_named(spec, self._places, SOURCES)

    def check_source(self, source: str) -> None:
        """Raises UserError for a model that the visitor may not use; it is not looked for."""
        if self.visitor.role not in ("owner", "guest"):
            permissions.check_model(source, self._places)

    def check_folder(self, folder: str) -> None:
        """Raises UserError for a folder that the visitor may not read; it is not looked at."""
        if self.visitor.role != "owner":
            permissions.demand(self.visitor, "read")
            permissions.check_folder(folder, self._places)

    def check_limits(self, spec: Spec, visitor: Visitor) -> None:
        """Raises UserError for a job beyond what each visitor of a shared server may ask."""
        if visitor.role == "run":
            waiting = sum(not job.ended and visitor.name in job.visitors for job in self._job_store.jobs())
            permissions.check_limits(spec, self._limits, waiting, self._stored_for(visitor))

    def check_upload(self) -> None:
        """Raises UserError for a visitor who may not open recordings of their own, or has no room left for them."""
        self.demand("upload")
        if self.visitor.role == "run":
            permissions.check_disk(self._limits, self._stored_for(self.visitor))

    def _stored_for(self, visitor: Visitor) -> int:
        """Bytes of what the jobs left that this visitor was the first to ask for."""
        keys = {job.key for job in self._job_store.jobs() if job.key and job.visitors[:1] == (visitor.name,)}
        return sum(self._store.result_bytes(key) for key in keys)

    def lists(self, record: JobRecord) -> bool:
        """Whether a job stands in the visitor's lists."""
        return permissions.is_listed(record, self.visitor)

    def may_leave(self, record: JobRecord | None) -> bool:
        """Whether the visitor may say that a job is not wanted any more: one of theirs, alone or among others."""
        return self.may("cancel") and (not self.visitor.name or record is None or self.visitor.name in record.visitors)

    def is_theirs_alone(self, record: JobRecord) -> bool:
        """Whether nobody but the visitor has asked for a job."""
        return not self.visitor.name or record.visitors == (self.visitor.name,)
