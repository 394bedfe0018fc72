"""Runners of a verb's jobs: this process, or the dask cluster that --scheduler or SINKSCOPE_SCHEDULER names."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import Progress, Terminal, flag, folder_beside
from analysis.errors import UserError
from analysis.machine import process
from analysis.models.registry import entry
from analysis.specs import JobSpec, ModelSpec, Spec
from cache import environment
from cache.store import Store

if TYPE_CHECKING:
    from analysis.engine import Engine, JobRecord
    from analysis.jobs import Outcome

HERE = "local"
_LOOK = 0.5  # seconds between checks of a job's progress
_SMALL_BYTES = 64e6  # of weights; in smaller models a forward of a few dozen tokens cannot use a second thread
_WORKER_BYTES = 2e9  # of memory that each needs with torch, a small model and its batches
_MOST_WORKERS = 4  # in parallel: each loads torch and a model
_PATHS = ("source", "data", "include_path")  # fields that may name a file or folder of this machine


def _address(text: str) -> str:
    row = environment.VARIABLES["SINKSCOPE_SCHEDULER"]
    try:
        return "" if text == HERE else row.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no scheduler. Give {row.expected}, or {HERE}") from error


_ROW = environment.VARIABLES["SINKSCOPE_SCHEDULER"]
SCHEDULER = flag(
    "--scheduler",
    type=_address,
    metavar="ADDRESS",
    help=f"run on the dask cluster of this scheduler, {_ROW.expected}; {HERE}: on this machine. Default: {_ROW.name}, "
    "else this machine",
)
"""The flag of every verb that runs jobs."""


def check_out(options: argparse.Namespace, refusal: Callable[[Path], str]) -> None:
    """Raise UserError where a verb that can estimate has no folder to write to, or one that it may not replace."""
    if options.out is None and not options.estimate:
        raise UserError("Name the folder to write to with --out, or ask what it will take with --estimate.")
    if options.out is not None:
        outputs.check(options.out, options.overwrite, refusal)


def estimated(options: argparse.Namespace, told: Sequence[str]) -> int:
    """Print as JSON what a verb with --estimate has told as it went. Return the exit code."""
    if options.json:
        print(json.dumps({"estimate": list(told)}, ensure_ascii=False))
    return 0


def scheduler_of(options: argparse.Namespace) -> str:
    """Return the address of the cluster for a verb's jobs; "" for this machine."""
    named: str | None = getattr(options, "scheduler", None)
    return (environment.value("SINKSCOPE_SCHEDULER") or "") if named is None else named


@dataclass
class Runner:
    """Runner of a verb's jobs. context: of this process, for work outside jobs. engine: of the cluster, or None."""

    context: Terminal
    engine: "Engine | None"

    def run(self, kind: str, spec: JobSpec) -> "Outcome[Any]":
        """Run one job to its end. Its files are left in the context's folder. Raises UserError if it fails."""
        return next(self.run_all(kind, [spec]))

    def run_all(self, kind: str, specs: Sequence[JobSpec]) -> "Iterator[Outcome[Any]]":
        """Run jobs of one kind, on a cluster beside each other. Their outcomes come in order."""
        from analysis.jobs import JOBS

        if self.engine is None:
            run = JOBS[kind].run
            assert run is not None
            yield from (run(spec, self.context) for spec in specs)
            return
        records = [self.engine.submit(kind, anchored(spec)) for spec in specs]
        try:
            for record in records:
                yield self._fetched(self.engine, follow(self.engine, record))
        except BaseException:
            for record in records:
                self.engine.cancel(record.id)
            raise

    def _fetched(self, engine: "Engine", record: "JobRecord") -> "Outcome[Any]":
        """Return the outcome of a job, its file copied out of the store. Raises UserError where it is not done."""
        from analysis.jobs import Outcome

        if record.state != "done":
            raise UserError(record.reason or f"The job was {record.state}.")
        result = engine.result(record)
        file, folder = (None, None) if result is None else (result.file, result.folder)
        if file is not None:
            file = Path(shutil.copyfile(file, self.context.folder / f"{record.id}{file.suffix}"))
        return Outcome(record.summary, file, record.key, folder)


@contextmanager
def runner(folder: Path, options: argparse.Namespace) -> Iterator[Runner]:
    """Yield the runner of a verb's jobs, here or on a cluster. folder: holds their output until it is moved."""
    scheduler = scheduler_of(options)
    with Terminal(folder) as context:
        if not scheduler:
            yield Runner(context, None)
            return
        with engine_of(options) as engine:
            yield Runner(context, engine)


def devices_for(models: Sequence[ModelSpec]) -> list[str] | None:
    """Return a worker per CPU, at most four and no more than memory allows, for jobs of models too small to gain from a
    second thread; None for the machine's default workers.
    """
    from analysis.engine.cluster import local_devices
    from analysis.machine.process import allotted_cpus, allotted_memory
    from analysis.models.checkpoint import checkpoint_of, weight_bytes

    if environment.value("SINKSCOPE_DEVICES") or local_devices() != ["cpu"]:
        return None
    checkpoints = [checkpoint_of(model) for model in models]
    small = all(one is not None and weight_bytes(one, None) <= _SMALL_BYTES for one in checkpoints)
    workers = min(allotted_cpus(), _MOST_WORKERS, max(1, int(allotted_memory() // _WORKER_BYTES)))
    return ["cpu"] * workers if small else None


@contextmanager
def engine_of(options: argparse.Namespace, models: Sequence[ModelSpec] = ()) -> "Iterator[Engine]":
    """Return an engine for this command alone, with the store of the environment: on the cluster, or with local
    workers.

    models: those of jobs with many parts; small ones get a worker per CPU.
    """
    scheduler = scheduler_of(options)
    devices = devices_for(models) if models and not scheduler else None
    process.prepare(1 if devices is None else len(devices))  # before workers start, which inherit it
    with own_engine(Store(), scheduler, devices) as engine:
        yield engine


@contextmanager
def own_engine(store: Store, scheduler: str | None = None, devices: list[str] | None = None) -> "Iterator[Engine]":
    """Yield an engine for this command alone, which starts no worker before a job is submitted. Closes the store, too.

    scheduler, devices: as in `Engine`.
    """
    from analysis.engine import Engine

    with closing(store), closing(Engine(store, scheduler=scheduler, devices=devices, alone=True)) as engine:
        yield engine


def require_done(record: "JobRecord", what: str, again: str) -> None:
    """Raise UserError for a job of many parts that did not end well. again: effect of repeating the command."""
    if record.state != "done":
        raise UserError(f"{record.reason or f'The {what} was {record.state}.'} The same command {again}.")


def placed_copy(folder: Path, out: Path, overwrite: bool, refusal: Callable[[Path], str]) -> str:
    """Put a folder that the store keeps at `out`, too; weights take no room twice on one disk. Returns a note on it."""
    with folder_beside(out, "copy") as beside:
        whole = beside / folder.name
        shutil.copytree(folder, whole, copy_function=_linked)
        note = outputs.place(whole, out, overwrite, refusal)
    return " ".join(filter(None, (note, f"The store keeps it, too, as {folder}.")))


def _linked(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def follow(engine: "Engine", record: "JobRecord", look: Callable[[], None] | None = None) -> "JobRecord":
    """Wait for a job to end, printing its progress. If interrupted, the job is cancelled and may be resumed.

    look: called now and then while it runs.
    """
    progress = Progress()
    told: tuple[int, str] = (-1, "")
    notices: list[str] = []
    last = 0.0
    try:
        while not record.ended:
            now = engine.progress(record.id)
            if (now.done, now.phase) != told and now.total:
                told = (now.done, now.phase)
                progress.tell(now.phase, now.done, now.total)
            for line in engine.log(record.id):
                if line.time > last:
                    last = line.time
                    progress.note(line.text)
            for notice in engine.notices():
                if notice not in notices:
                    progress.note(notice)
            notices = engine.notices()
            if look is not None:
                look()
            time.sleep(_LOOK)
            record = engine.job(record.id) or record
    except KeyboardInterrupt:
        engine.cancel(record.id)
        raise
    finally:
        progress.close()
    return record


def anchored(spec: Spec) -> Any:
    """A spec whose files and folders of this machine are named in full: workers have other current folders."""
    changes: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            changes[name] = anchored(value)
        elif isinstance(value, tuple) and value and all(isinstance(part, Spec) for part in value):
            changes[name] = tuple(anchored(part) for part in value)
        elif name in _PATHS and isinstance(value, str) and value and entry(value) is None:
            path = Path(value).expanduser()
            if path.is_file() or (name != "data" and path.is_dir()):
                changes[name] = str(path.absolute())
    return spec.model_copy(update=changes)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def aligned(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text with a column per name, the first one left, the others right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    first, *rest = widths
    return "\n".join(
        "  ".join([line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], rest, strict=True))])
        for line in lines
    )
