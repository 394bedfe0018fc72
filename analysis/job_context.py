"""What a job is given beside its spec: where to leave its files, what earlier ones left, whom to tell how far it is."""

import contextlib
from pathlib import Path
from typing import Any, Protocol

from cache.stores import Stores


class Cancelled(Exception):
    """Raised inside a job when someone asked it to stop."""


class Context(Protocol):
    """What a job is given beside its spec. What has a body here holds where nobody stops, follows or hurries a job."""

    folder: Path  # where it leaves its file or folder
    workers: int  # how many workers share this machine's cores
    stores: Stores  # results, answers and trials of earlier jobs

    @property
    def scratch(self) -> Path:
        """A folder for finished phases, the same one whenever the same question is asked of the same model.

        It survives a failure, a cancellation and a restart, and is removed when the job is done. A job that was cut
        off finds there what it had finished: so write a phase to another name first and rename it when it is whole.
        """

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Tells how far the job is. Raises Cancelled when it should stop; so every step calls it.

        details: partial results as JSON, in plain Python numbers. Each name holds its whole state so far and keeps it
        until a later call replaces it, as calls in quick succession are merged. Short jobs may run during the call.
        """

    def log(self, text: str) -> None:
        """Adds a line to the job's log. The last few hundred are kept."""

    @property
    def stopping(self) -> bool:
        """Whether someone asked the job to end early with what it has. A job that can looks at every step."""
        return False

    def grows(self, file: Path) -> None:
        """Says that a file in `folder` grows by whole lines, UTF-8, so that pages read it meanwhile on any disk."""
        return

    def within(self, seconds: float, reason: str) -> contextlib.AbstractContextManager[None]:
        """Around what may hang: after so many seconds the job fails with `reason` and its worker is ended."""
        return contextlib.nullcontext()


class SilentContext(Context):
    """The context of a job in this process whose progress nobody hears. stores: those of the environment, where none
    are given."""

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
