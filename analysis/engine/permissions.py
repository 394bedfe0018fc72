"""Permissions by role, in one table that the engine enforces, the pages read and docs/security.md shows; and the
visitor in whose name an engine is called.

Every visitor has a role. `owner` is whoever uses SinkScope on their own machine, and the server itself; `run` and
`look` are the roles of a shared server; `guest` is anybody at a demonstration; `nobody` has not logged in.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import UserError, shorten
from analysis.models.registry import BUNDLED_PAIR, MODELS, entry
from analysis.specs import AlternativesSpec, ModelSpec, RecordSpec, Replay, Spec, named_fields
from cache import environment
from cache.environment import VisitorLimits
from cache.store import Store

if TYPE_CHECKING:
    from analysis.engine.job_store import JobRecord, JobStore

LONGEST_PROMPT = 400  # characters
MOST_TOKENS = 64  # new tokens, and denoising steps
MOST_WAITING = 4  # jobs that run or wait
JOBS_RUN: Mapping[str, type[Spec]] = {"record": RecordSpec, "alternatives": AlternativesSpec}
ONLY_READ = (
    "This is a demonstration: it only records short prompts with the bundled pair. Install SinkScope for the rest."
)
YES, NO = "yes", "no"
LOOKS_ONLY = "You may look at this server, and start or change nothing. Ask whoever runs it for the role 'run'."
NOT_IN = "You are not logged in to this server. Log in first."
NOT_YOURS = (
    "Someone else, or you from another browser, asked for this. You can stop or remove only what you alone asked for."
)
TEXTS = ("prompt", "own_prompts", "own_keys", "prompts", "keys", "tokens")
"""Fields of specs with text written by a visitor."""


@dataclass(frozen=True)
class Visitor:
    """A visitor with a role. name: identifies their jobs; empty if all visitors are one."""

    role: str = "owner"
    name: str = ""


OWNER, GUEST, NOBODY = Visitor(), Visitor("guest"), Visitor("nobody")


@dataclass(frozen=True)
class Permission:
    """An action and each role's answer: yes, no, or a limit in words."""

    what: str
    owner: str
    run: str
    look: str
    guest: str

    def of(self, role: str) -> str:
        """The cell of a role."""
        return NO if role == "nobody" else str(getattr(self, role))


_OWN = "what they alone asked for"
PERMISSIONS: dict[str, Permission] = {
    "see": Permission("see what is stored, download and export it", YES, YES, YES, YES),
    "others": Permission(
        "see prompts and texts of other visitors in lists", YES, "those that were shared", "those that were shared", YES
    ),
    "record": Permission(
        "record a prompt with the bundled pair",
        YES,
        "within SINKSCOPE_VISITOR_LIMITS",
        NO,
        f"up to {LONGEST_PROMPT} characters, {MOST_TOKENS} new tokens and steps, branches among them, while fewer than "
        f"{MOST_WAITING} jobs run or wait",
    ),
    "run": Permission("run every other job", YES, "within SINKSCOPE_VISITOR_LIMITS", NO, NO),
    "hub": Permission("use models of the hub", YES, "those of SINKSCOPE_HUB_MODELS", NO, NO),
    "read": Permission(
        "read folders of models, calibration texts and results of lm-eval",
        "what the server's user may read",
        "under SINKSCOPE_MODEL_DIRS, SINKSCOPE_OUTPUT_DIRS and in the store",
        NO,
        NO,
    ),
    "write": Permission(
        "have pruned models written",
        "where the server's user may write",
        "into the store and under SINKSCOPE_OUTPUT_DIRS",
        NO,
        NO,
    ),
    "tasks": Permission(
        "run tasks of their own, whose YAML runs Python", YES, "the folders of SINKSCOPE_TASK_DIRS", NO, NO
    ),
    "upload": Permission("open a recording from a file", YES, "within SINKSCOPE_VISITOR_LIMITS", NO, NO),
    "cancel": Permission("cancel jobs", YES, _OWN, NO, NO),
    "label": Permission("name, tag and annotate runs", YES, YES, NO, NO),
    "push": Permission("push pruned models to the Hugging Face hub with the server's token", YES, NO, NO, NO),
    "remove": Permission("remove what is stored", YES, _OWN, NO, NO),
}
"""Permissions, by action."""


def may(visitor: Visitor, action: str) -> bool:
    """Return True if a visitor may do this, perhaps within limits. Raises KeyError for an unknown action."""
    return PERMISSIONS[action].of(visitor.role) != NO


def why_not(visitor: Visitor) -> str:
    """Return the message for a visitor who is refused."""
    return {"guest": ONLY_READ, "nobody": NOT_IN}.get(visitor.role, LOOKS_ONLY)


def demand(visitor: Visitor, action: str, record: "JobRecord | None" = None) -> None:
    """Raise UserError unless a visitor may do this. record: the job it is done to."""
    if not may(visitor, action):
        raise UserError(why_not(visitor))
    if PERMISSIONS[action].of(visitor.role) == _OWN and record is not None and set(record.visitors) != {visitor.name}:
        raise UserError(NOT_YOURS)


# --- models and folders --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """Places that visitors of a shared server may name, fixed when it starts. store: folders of the store."""

    hub: frozenset[str]
    read: tuple[Path, ...]
    write: tuple[Path, ...]
    tasks: tuple[Path, ...]

    @classmethod
    def of(cls, store: Collection[Path]) -> "Places":
        """Read the places from the environment. Raises VariableError for an invalid variable."""

        def folders(name: str) -> tuple[Path, ...]:
            return tuple(folder.resolve() for folder in environment.value(name) or ())

        inside = tuple(folder.resolve() for folder in store)
        outputs = folders("SINKSCOPE_OUTPUT_DIRS")
        named = environment.value("SINKSCOPE_HUB_MODELS")
        offered = (model.source for name, model in MODELS.items() if name not in BUNDLED_PAIR)
        return cls(
            hub=frozenset(offered if named is None else named),
            read=(*inside, *outputs, *folders("SINKSCOPE_MODEL_DIRS")),
            write=outputs,
            tasks=folders("SINKSCOPE_TASK_DIRS"),
        )


def check_model(source: str, places: Places) -> None:
    """Raise UserError for a model that visitors of a shared server may not use, without looking for it on the disk."""
    known = entry(source)
    if source in BUNDLED_PAIR or (known is not None and known.name in BUNDLED_PAIR):
        return
    target = source if known is None else known.source
    if target in places.hub and not Path(target).exists():  # a folder of that name would take precedence
        return
    if not _inside(target, places.read):
        raise UserError(
            f"This server does not open the model '{shorten(source)}': it is not on its list. Whoever runs it adds hub "
            "ids to SINKSCOPE_HUB_MODELS and folders to SINKSCOPE_MODEL_DIRS."
        )


def check_folder(folder: str, places: Places) -> None:
    """Raise UserError for a file or folder that visitors of a shared server may not read."""
    if not _inside(folder, places.read):
        raise UserError(
            f"This server does not read '{shorten(folder)}'. Whoever runs it adds folders to SINKSCOPE_MODEL_DIRS."
        )


def check_outputs(spec: Spec, store: Collection[Path]) -> None:
    """Raise UserError for a job that writes into the store, where it could overwrite the results of others."""
    for name, value in named_fields(spec):
        if name == "out" and value and _inside(value, store):
            raise UserError(
                f"'{shorten(value)}' lies inside SinkScope's store, which nobody writes into by name. Leave the folder "
                "empty, and the store keeps the pruned model; or choose one elsewhere."
            )


def check_named(spec: Spec, places: Places, texts: Collection[str]) -> None:
    """Raise UserError if a spec names a model or folder that visitors of a shared server may not name.

    texts: names of calibration texts, which are not files.
    """
    for name, value in named_fields(spec):
        if isinstance(value, ModelSpec):
            check_model(value.source, places)
        elif name in ("folders", "beside", "pruned") or (name == "data" and value not in texts):
            for folder in (value,) if isinstance(value, str) else value:
                check_folder(folder, places)
        elif name == "out" and value and not _inside(value, places.write):
            raise UserError(
                f"This server does not write into '{shorten(value)}'. Leave the folder empty, and it is kept in the "
                "store; whoever runs the server adds others to SINKSCOPE_OUTPUT_DIRS."
            )
        elif name == "include_path" and value is not None and not _inside(value, places.tasks):
            raise UserError(
                f"This server does not run tasks of '{shorten(value)}', since their files run Python. Whoever runs it "
                "adds folders to SINKSCOPE_TASK_DIRS."
            )
        elif name in ("tasks", "prompts") and not isinstance(value, int):
            tasks = (value,) if isinstance(value, str) else value
            files = [task for task in tasks if isinstance(task, str) and task.lower().endswith((".yaml", ".yml"))]
            if name == "tasks" and files:
                raise UserError(f"This server takes tasks by name, not the file '{shorten(files[0])}'.")


def _inside(path: str, folders: Collection[Path]) -> bool:
    try:
        resolved = Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    return any(resolved.is_relative_to(folder) for folder in folders)


# --- limits -------------------------------------------------------------------------------------------------


def check_limits(spec: Spec, limits: VisitorLimits, waiting: int, stored: int) -> None:
    """Raise UserError for a job beyond the limits of each visitor of a shared server.

    waiting: this visitor's running or queued jobs; stored: bytes left by their jobs.
    """
    fields = list(named_fields(spec))
    characters = sum(_characters(value) for name, value in fields if name in TEXTS or name == "word")
    steps = [value for name, value in fields if name in ("steps", "gen_length") and isinstance(value, int)]
    sampling = getattr(spec, "sampling", None)
    most = max(
        [*steps, sampling.forwards() if sampling is not None and not isinstance(sampling, Replay) else 0], default=0
    )
    if characters > limits.characters:
        raise UserError(f"A visitor of this server may give {limits.characters:,} characters; this has {characters:,}.")
    if most > limits.steps:
        raise UserError(f"A visitor of this server may ask for {limits.steps:,} steps and tokens; this has {most:,}.")
    if waiting >= limits.jobs:
        raise UserError(f"{waiting} of your jobs run or wait already, as many as this server takes. Wait for one.")
    check_disk(limits, stored)


def refusal(kind: str, spec: Spec, waiting: int) -> str:
    """Return why a demonstration does not run this, or "" if it does: it runs recordings of the bundled pair within
    bounds, their branches, and the alternatives to a token; nothing else. waiting: jobs before it.
    """
    if JOBS_RUN.get(kind) is not type(spec) or not isinstance(spec, RecordSpec | AlternativesSpec):
        return ONLY_READ
    if spec.model not in [ModelSpec(source=source) for source in BUNDLED_PAIR]:
        return ONLY_READ
    if waiting >= MOST_WAITING:
        return f"{waiting} jobs run or wait already. Try it again in a minute."
    if isinstance(spec, AlternativesSpec):
        return ""  # one forward over no more than the longest text of the pair
    steps = max(getattr(spec.sampling, "steps", 0) or 0, spec.sampling.forwards())
    if len(spec.prompt) > LONGEST_PROMPT or spec.sampling.gen_length > MOST_TOKENS or steps > MOST_TOKENS:
        return (
            f"This demonstration takes prompts of up to {LONGEST_PROMPT} characters, and {MOST_TOKENS} new tokens and "
            "steps. Make it shorter."
        )
    return ""


def check_disk(limits: VisitorLimits, stored: int) -> None:
    """Raise UserError for a visitor whose jobs fill their share of the disk."""
    if stored >= limits.disk:
        raise UserError(
            f"What you asked for takes {stored / 2**30:.1f} GiB in the store, and each visitor has "
            f"{limits.disk / 2**30:.1f} GiB. Remove some of it on the page Runs."
        )


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(_characters(item) for item in value) if isinstance(value, tuple) else int(isinstance(value, int))


# --- visibility of texts ---------------------------------------------------------------------------------------


def is_listed(record: "JobRecord", visitor: Visitor) -> bool:
    """Return True if a visitor's lists show a job. A job that holds no visitor's words is always shown."""
    if not visitor.name or not record.visitors or record.shared or visitor.name in record.visitors:
        return True
    return not holds_words(record)


def holds_words(record: "JobRecord") -> bool:
    """Return True if a job's parameters hold a text that a visitor wrote, or its tokens."""
    from analysis.jobs import JOBS

    fields = JOBS[record.kind].spec.model_fields
    for name in TEXTS:
        value = record.spec.get(name)
        if name not in fields or not value or value == fields[name].default:
            continue
        if not (name == "prompts" and isinstance(value, str | int)):  # a benchmark's name, or how many
            return True
    return False


class Authorizer:
    """Check made before anything is run, changed or named.

    who: returns the calling thread's visitor; by default the owner of the machine. demo: True for a demonstration
    (SINKSCOPE_DEMO), where all are guests. Raises VariableError for an invalid variable of a shared server.
    """

    def __init__(self, store: Store, job_store: "JobStore", who: Callable[[], Visitor] | None = None) -> None:
        self.demo = bool(environment.value("SINKSCOPE_DEMO"))
        self._store = store
        self._job_store = job_store
        self._who = who or (lambda: OWNER)
        self._places = Places.of((store.kept, store.models))
        self._folders = (store.root.resolve(), store.shared.resolve())
        self._limits = environment.value("SINKSCOPE_VISITOR_LIMITS") or environment.VisitorLimits()

    @property
    def visitor(self) -> Visitor:
        """The visitor in whose name the calling thread asks."""
        return GUEST if self.demo else self._who()

    @property
    def names(self) -> tuple[str, ...]:
        """The visitor as stored in job records: a name, or nothing if all are one."""
        name = self.visitor.name
        return (name,) if name else ()

    def may(self, action: str) -> bool:
        """Return whether the visitor may do this at all: an action of `PERMISSIONS`."""
        return may(self.visitor, action)

    def demand(self, action: str, record: "JobRecord | None" = None) -> None:
        """Raise UserError unless the visitor may do this. Called before any stored thing is changed. record: the job it
        is done to.
        """
        demand(self.visitor, action, record)

    def check_job(self, kind: str, spec: Spec, visitor: Visitor | None = None) -> None:
        """Raise UserError if a visitor may not submit such a job or name what it names, without looking at any of it.
        Nobody may write into the store by path.
        """
        visitor = visitor or self.visitor
        demand(visitor, "record" if kind == "record" else "run")
        check_outputs(spec, self._folders)
        if visitor.role == "run":
            from analysis.calibration.text import SOURCES

            check_named(spec, self._places, SOURCES)

    def check_source(self, source: str) -> None:
        """Raise UserError for a model that the visitor may not use, without looking for it."""
        if self.visitor.role not in ("owner", "guest"):
            check_model(source, self._places)

    def check_folder(self, folder: str) -> None:
        """Raise UserError for a folder that the visitor may not read, without looking at it."""
        if self.visitor.role != "owner":
            demand(self.visitor, "read")
            check_folder(folder, self._places)

    def check_limits(self, spec: Spec, visitor: Visitor) -> None:
        """Raise UserError for a job beyond the limits of each visitor of a shared server."""
        if visitor.role == "run":
            waiting = sum(not job.ended and visitor.name in job.visitors for job in self._job_store.jobs())
            check_limits(spec, self._limits, waiting, self._stored_for(visitor))

    def check_upload(self) -> None:
        """Raise UserError for a visitor who may not open their own recordings or has no room left for them."""
        self.demand("upload")
        if self.visitor.role == "run":
            check_disk(self._limits, self._stored_for(self.visitor))

    def _stored_for(self, visitor: Visitor) -> int:
        """Return the bytes left by jobs that this visitor was the first to ask for."""
        keys = {job.key for job in self._job_store.jobs() if job.key and job.visitors[:1] == (visitor.name,)}
        return sum(self._store.result_bytes(key) for key in keys)

    def lists(self, record: "JobRecord") -> bool:
        """Return True if the visitor's lists show a job."""
        return is_listed(record, self.visitor)

    def may_leave(self, record: "JobRecord | None") -> bool:
        """Return whether the visitor may withdraw a job: one of theirs, alone or among others."""
        return self.may("cancel") and (not self.visitor.name or record is None or self.visitor.name in record.visitors)

    def is_theirs_alone(self, record: "JobRecord") -> bool:
        """Return True if only the visitor has asked for a job."""
        return not self.visitor.name or record.visitors == (self.visitor.name,)
