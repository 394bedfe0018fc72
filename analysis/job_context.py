"""Environment of a job besides its spec: its folder, earlier results, progress reports, versions and hardware."""

import contextlib
import platform
import time
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import psutil

from analysis import __version__
from cache.stores import Stores


class Cancelled(Exception):
    """Raised inside a job when someone asked it to stop."""


class Context(Protocol):
    """Environment of a job besides its spec. Methods with a body here are defaults for jobs that nobody stops or
    follows.
    """

    folder: Path  # for its file or folder
    workers: int  # number that share this machine's cores
    stores: Stores  # results, answers and trials of earlier jobs

    @property
    def scratch(self) -> Path:
        """Folder for finished phases, the same whenever the same question is asked of the same model.

        It survives a failure, a cancellation and a restart, and is removed when the job is done. A resumed job finds
        its finished phases there, so write each under another name first and rename it when it is whole.
        """

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Report progress. Raises Cancelled when the job should stop, so call it at every step.

        details: partial results as JSON, in plain Python numbers. Each name holds its whole state so far and keeps it
        until a later call replaces it, as calls in quick succession are merged. Short jobs may run during the call.
        """

    def log(self, text: str) -> None:
        """Add a line to the job's log. The last few hundred are kept."""

    @property
    def stopping(self) -> bool:
        """True if someone asked the job to end early with partial results. A job that can checks it at every step."""
        return False

    def new_file(self, key: str) -> Path:
        """Return an unused name in `folder` for the arrays of the result with this key."""
        return self.folder / f"{key}-{time.time_ns()}.safetensors"

    def grows(self, file: Path) -> None:
        """Declare that a file in `folder` grows by whole UTF-8 lines, so that pages can read it meanwhile on any
        disk.
        """
        return

    def within(self, seconds: float, reason: str) -> contextlib.AbstractContextManager[None]:
        """Limit code that may hang: after so many seconds the job fails with `reason` and its worker is ended."""
        return contextlib.nullcontext()


class SilentContext(Context):
    """Context of a job in this process that reports to nobody. stores: those of the environment by default."""

    def __init__(self, folder: Path, stores: Stores | None = None) -> None:
        self.folder, self.workers = folder, 1
        self.stores = stores or Stores()

    @property
    def scratch(self) -> Path:
        path = self.folder / "scratch"
        path.mkdir(exist_ok=True)
        return path

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        return

    def log(self, text: str) -> None:
        return


def now() -> str:
    """The time, as results write when they were made."""
    return datetime.now(UTC).isoformat(timespec="seconds")


_PACKAGES = ("torch", "transformers", "safetensors", "numpy", "lm_eval")


@cache
def _version(name: str) -> str:
    """The version of an installed package, whose metadata takes milliseconds to read."""
    return metadata.version(name)


def environment() -> dict[str, Any]:
    """Versions and hardware of this process, as JSON. Imports torch to name the GPU: for workers."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "versions": {
            "sinkscope": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "hardware": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": psutil.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "gpus": gpus,
        },
    }
