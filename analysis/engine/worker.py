"""Jobs in a worker process, one at a time, and the transfer of their results to the store.

A long job lets short ones go first between its steps. Results go by a shared disk, or over the wire if small.
"""

import contextlib
import errno
import gc
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from analysis import outputs
from analysis.engine import departure
from analysis.errors import ModelChanged, NotEnoughMemory, UserError, first_line, named_line, os_sentence, system_error
from analysis.job_context import Cancelled, Context
from analysis.jobs import JOBS, known_key
from analysis.jobs.outcome import Outcome, unchanged_models
from analysis.machine import process
from analysis.models.resident import beside, is_resident, resident_spec
from analysis.specs import JobSpec, Spec
from cache import environment
from cache.keys import code_version, content_key
from cache.stores import Stores

PIECE = 256 * 2**10  # bytes of a growing file in one message
WIRE_LIMIT = 64 * 2**20  # bytes


def wire_limit() -> int:
    """Return the bytes that one job may send back over the wire: SINKSCOPE_WIRE_LIMIT, or WIRE_LIMIT."""
    return environment.value("SINKSCOPE_WIRE_LIMIT") or WIRE_LIMIT


def load_up(outcome: Outcome[Any], root: Path, shared: bool, limit: int) -> dict[str, Any]:
    """In the worker: name a job's results, with their content if the server does not see this disk.

    Raises UserError if the content is larger than `limit` bytes.
    """
    payload: dict[str, Any] = {}
    for name in ("file", "folder"):
        left: Path | None = getattr(outcome, name)
        if left is None:
            continue
        if shared:
            payload[name] = str(left)
            continue
        files = [left] if name == "file" else sorted(path for path in left.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        if size > limit:
            raise UserError(
                f"The result takes {size / 1e6:,.0f} MB and workers send back at most {limit / 1e6:,.0f} MB. Set "
                "SINKSCOPE_SHARED to a folder that the server and all workers see, or raise SINKSCOPE_WIRE_LIMIT."
            )
        payload[name] = left.name
        content = {str(path.relative_to(left.parent)): path.read_bytes() for path in files}
        payload["content"] = {**payload.get("content", {}), **content}
    return payload


def piece_of(file: Path, at: int) -> dict[str, Any] | None:
    """In the worker: return the whole lines of a growing file from byte `at` on, as a message; None without any."""
    with file.open("rb") as content:
        content.seek(at)
        lines = content.read(PIECE)
        if b"\n" not in lines:
            lines += content.readline()
    lines = lines[: lines.rfind(b"\n") + 1]
    return {"name": file.name, "at": at, "text": lines.decode()} if lines else None


def add_piece(piece: dict[str, Any], folder: Path) -> int | None:
    """In the server: append lines to its copy of a growing file in `folder`. Return the byte from which earlier lines
    are missing, or None. Raises UserError for a malformed message.
    """
    name, at, text = (piece.get(field) for field in ("name", "at", "text"))
    if not (isinstance(name, str) and isinstance(text, str) and isinstance(at, int) and at >= 0):
        raise UserError("The worker sent a piece of a file without its name, place or text. It was not written.")
    if name in ("", "..") or Path(name).name != name:
        raise UserError(f"The worker sent a piece of '{name}', which is no plain file name. It was not written.")
    with (folder / name).open("ab") as file:
        there = file.tell()
        if at > there:
            return there
        file.write(text.encode()[there - at :])
    return None


def unload(payload: dict[str, Any], folder: Path) -> tuple[Path | None, Path | None]:
    """In the server: return the file and the folder of a job, written into `folder` if they came over the wire.

    Raises UserError for a name outside the folder.
    """
    content = payload.get("content")
    for name, data in (content or {}).items():
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise UserError(
                f"The worker sent a file named '{name}', which lies outside its folder. It was not written."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    file, whole = payload.get("file"), payload.get("folder")
    base = folder if content is not None else Path()
    return (base / file if file else None), (base / whole if whole else None)


_CHECK = 0.1  # seconds between a waiting short job's looks at whether it was cancelled


class TurnTaking:
    """One turn for all threads of a process. A long job holds it from start to end, a short job between its steps."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting = 0

    @contextlib.contextmanager
    def long_job(self) -> Iterator[None]:
        """Hold the turn, waiting until it is free."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def short_job(self, check: Callable[[], None]) -> Iterator[None]:
        """Hold the turn from the long job's next step on, whose random state is kept. `check` may raise meanwhile."""
        with self._changed:
            self._waiting += 1
            try:
                while self._taken:
                    self._changed.wait(_CHECK)
                    check()
                self._taken = True
            except BaseException:
                self._waiting -= 1
                self._changed.notify_all()
                raise
        try:
            with _random_states_kept():
                yield
        finally:
            with self._changed:
                self._waiting -= 1
            self._leave()

    def give_way(self) -> None:
        """Called by the long job between two steps: short jobs that wait go first."""
        with self._changed:
            if not self._waiting:
                return
            self._taken = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._taken and not self._waiting)
            self._taken = True

    def _leave(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    """Restore NumPy's and torch's global random states. Python's own also belongs to dask: no job can rely on it."""
    numpy = np.random.get_state()
    torch = sys.modules.get("torch")
    cpu = torch.get_rng_state() if torch else None
    cuda = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        np.random.set_state(numpy)
        if torch and cpu is not None:
            torch.set_rng_state(cpu)
            if cuda:
                torch.cuda.set_rng_state_all(cuda)


TOPIC = "sinkscope-progress"
PROGRESS_INTERVAL = 0.1  # seconds
PIECE_INTERVAL = 0.5  # seconds between pieces of a growing file
MARK = ".shared"  # a file in a job's folder that tells a worker that it sees the server's disk


class JobRequest(BaseModel):
    """Job for a worker to run, sent as JSON.

    id: the job's. run: name of this try, for cancelling it. folder: the server's preferred place for the job's files;
    mark: content of the file MARK there, seen by workers on the same disk. scratch: folder of all jobs' scratch
    folders. between: run between the steps of a long job; brief: and may load its model beside that job's. workers:
    number that share that machine's cores. home: the server's store, for its own workers; others use their machine's.
    code: version of the server's code. limit: bytes that may come back over the wire.
    """

    id: str
    run: str
    kind: str
    spec: dict[str, Any]
    folder: str
    mark: str
    scratch: str
    between: bool
    brief: bool
    workers: int
    home: str
    code: str
    limit: int


_turns = TurnTaking()
_cancel_requests: set[str] = set()
_stop_requests: set[str] = set()
_piece_requests: dict[tuple[str, str], int] = {}


def request_cancel(run: str) -> None:
    """Called in the worker: the job stops at its next step."""
    _cancel_requests.add(run)


def request_stop(run: str) -> None:
    """Ask the job to end early with its results so far. Called in the worker."""
    _stop_requests.add(run)


def request_pieces(run: str, name: str, at: int) -> None:
    """Called in the worker: the server misses this growing file from byte `at` on."""
    _piece_requests[run, name] = at


class WorkerContext(Context):
    """Context of a job in a dask worker: its messages are sent as events, progress at most ten times a second."""

    def __init__(self, request: JobRequest, spec: Spec) -> None:
        from distributed import get_worker

        self.workers = request.workers
        self.stores = Stores(Path(request.home) if request.home else None)
        self._request, self._spec, self.worker = request, spec, get_worker()
        mark = Path(request.folder) / MARK
        self.shared = mark.is_file() and mark.read_text() == request.mark
        own = None if self.shared else outputs.make_workplace(Path(tempfile.gettempdir()), "sinkscope")
        self.folder = own or Path(request.folder)
        self._key = ""
        self._phase, self._began, self._first, self._sent = "", 0.0, 0, 0.0
        self._details: dict[str, Any] = {}
        self._growing: dict[Path, int] = {}  # growing files, and the byte up to which they were sent
        self._told_on = 0.0

    @property
    def scratch(self) -> Path:
        """Folder for this job's finished phases, created at first use."""
        path = self._scratch_root() / self.scratch_name()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()
        return path

    def scratch_name(self) -> str:
        """The key of the result as it was when first known, so that phases of a model whose files change meanwhile do
        not pass for those of the new ones; while the model is not on this disk, a name for the question alone."""
        request = self._request
        self._key = self._key or known_key(request.kind, self._spec) or ""
        return self._key or content_key(kind=request.kind, spec=request.spec, code=request.code)

    def _scratch_root(self) -> Path:
        return Path(self._request.scratch) if self.shared else Path(tempfile.gettempdir()) / "sinkscope-scratch"

    def clear_scratch(self) -> None:
        """Remove the finished phases."""
        shutil.rmtree(self._scratch_root() / self.scratch_name(), ignore_errors=True)

    def check(self) -> None:
        """Raise Cancelled if cancellation was requested or the worker is about to end."""
        if self._request.run in _cancel_requests or departure.leaving(self.worker):
            raise Cancelled

    def hand_back(self) -> None:
        """Tell the server that the worker is about to end."""
        self.tell({"leaving": departure.WHY})

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        self._details.update(details)
        self.check()
        self._send(phase, done, total)
        self._tell_on()
        if not self._request.between:
            _turns.give_way()
            self.check()

    def _send(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._first = phase, now, done
        elif now - self._sent < PROGRESS_INTERVAL and done < total:
            return
        self._sent = now
        # A resumed job begins beyond 0.
        gone = done - self._first
        rate = gone / (now - self._began) if gone > 0 and now > self._began else None
        left = (total - done) / rate if rate else None
        message = {"phase": phase, "done": done, "total": total, "rate": rate, "left": left, "details": self._details}
        self._details = {}
        self.tell(message)

    @property
    def stopping(self) -> bool:
        return self._request.run in _stop_requests

    def grows(self, file: Path) -> None:
        if not self.shared:
            self._growing[file] = 0

    def _tell_on(self) -> None:
        """Send new content of growing files, up to the wire limit."""
        if not self._growing or time.monotonic() - self._told_on < PIECE_INTERVAL:
            return
        self._told_on = time.monotonic()
        for file, at in self._growing.items():
            at = _piece_requests.pop((self._request.run, file.name), at)
            piece = piece_of(file, at) if at < self._request.limit else None
            if piece is not None:
                self.tell({"piece": piece})
                at += len(piece["text"].encode())
            self._growing[file] = at

    @contextlib.contextmanager
    def within(self, seconds: float, reason: str) -> Iterator[None]:
        if self._request.between:  # its worker is not ended: that would end the long job, too
            yield
            return
        self.tell({"bound": {"seconds": seconds, "reason": reason}})
        try:
            yield
        finally:
            self.tell({"bound": None})

    def log(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self.tell({"log": line, "time": time.time()})

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the server, with the model currently held."""
        held = resident_spec()
        model = None if held is None else held.model_dump(mode="json")
        whole = {"job": self._request.id, "run": self._request.run, "model": model, **message}
        # As JSON text, so that details arrive as the store returns them later: dask would turn lists into tuples.
        self.worker.log_event(TOPIC, json.dumps(whole))


def run_job(text: str) -> dict[str, Any]:
    """Run one job, a JobRequest as JSON, in a worker. Errors come back as text, so that no exception object has to
    travel.

    A long job leaves the worker's thread pool, so that dask hands a short job to the same worker meanwhile.
    """
    from distributed import secede

    request = JobRequest.model_validate_json(text)
    process.prepare(request.workers)
    process.keep_freed_memory()
    _lock_bars_in_this_process()
    if not request.between:
        secede()
    context = None
    try:
        if request.code != code_version():
            return {"unfit": "The workers run another version of SinkScope than the server. Update both to the same."}
        spec: Spec = JOBS[request.kind].spec.model_validate(request.spec)
        context = WorkerContext(request, spec)
        context.tell({"phase": "starting"})
        _keep_models(context.worker)
        with contextlib.suppress(UserError):  # the job will raise it as well
            context.scratch_name()
        leaving = departure.at_work(request.run, context.hand_back, context.worker)
        with leaving, _turns.short_job(context.check) if request.between else _turns.long_job():
            run = JOBS[request.kind].run
            assert run is not None  # workers get no other jobs
            brought: AbstractContextManager[None] = contextlib.nullcontext()
            if request.between and not (isinstance(spec, JobSpec) and is_resident(spec.model)):
                if not (request.brief and isinstance(spec, JobSpec)):
                    return {"not_resident": True}
                brought = beside(spec.model, context)
            with unchanged_models(spec), brought:
                outcome = run(spec, context)
        payload = load_up(outcome, context.folder, context.shared, request.limit)
        scratch = "" if outcome.stopped else context.scratch_name()
        if scratch and not context.shared:
            context.clear_scratch()
        torch = sys.modules.get("torch")
        used = torch.get_num_threads() if torch is not None else 0
        return {"summary": outcome.summary, "key": outcome.key, "scratch": scratch, "threads": used, **payload}
    except NotEnoughMemory as error:
        return {"not_resident": True} if request.between else {"error": str(error)}
    except Cancelled:
        handed_back = context is not None and departure.leaving(context.worker)
        return {"handed_back": departure.WHY} if handed_back else {"error": "Cancelled."}
    except ModuleNotFoundError:
        raise  # reported by `job_entry`
    except ModelChanged as error:
        if context is not None:
            with contextlib.suppress(UserError):
                context.clear_scratch()  # they would mix two models
        return {"error": str(error)}
    except UserError as error:
        return {"error": str(error)}
    except Exception as error:
        told = {"error": reason(error), "traceback": traceback.format_exc()}
        if _is_out_of_memory(error):
            _free_memory()
        return told
    finally:
        _cancel_requests.discard(request.run)
        _stop_requests.discard(request.run)
        if context is not None:
            context.tell({})  # reports the model held
            context.stores.close()
            if not context.shared:
                shutil.rmtree(context.folder, ignore_errors=True)


def _lock_bars_in_this_process() -> None:
    """Give progress bars of libraries a lock of this process. Their own spans processes, and Python complains of it on
    the terminal where a worker is killed.
    """
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


def reason(error: BaseException) -> str:
    """One line on why a job failed."""
    if isinstance(error, UserError):
        return first_line(error)
    if _is_out_of_memory(error):
        return f"The machine ran out of memory. Take a smaller model or less text. ({named_line(error)})"
    refused = system_error(error)
    if refused is not None and refused.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: {first_line(refused)}. Free some space, or move SinkScope's folder with SINKSCOPE_HOME."
        )
    if refused is not None and refused.strerror:
        return os_sentence(refused)
    return named_line(error)


def _keep_models(worker: Any) -> None:
    """Has dask neither spill nor pause: a model that is held fills memory rightly."""
    for name in ("target", "spill", "pause"):
        setattr(worker.memory_manager, f"memory_{name}_fraction", False)


def _is_out_of_memory(error: BaseException) -> bool:
    # torch's own exceptions, by name: this module does not import torch.
    allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or allocator


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
