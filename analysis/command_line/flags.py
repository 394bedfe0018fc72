"""Values of flags, and a job's context in a terminal."""

import argparse
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from analysis import outputs
from analysis.command_line.progress import Progress
from analysis.errors import UserError, shorten
from analysis.job_context import SilentContext
from analysis.machine import heap, threads
from analysis.specs.base import at_home


def listed_words(text: str) -> tuple[str, ...]:
    """A comma-separated value; the spec turns its parts into numbers where it wants them. Raises argparse's error for
    one without any part, which would read as if the flag had not been given."""
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    if not words:
        raise argparse.ArgumentTypeError(f"'{text}' names nothing. Give names with commas between, or leave it out")
    return words


def path_text(text: str) -> str:
    """Return the value of a flag that may name a file or folder. Raises argparse's error for an unknown `~user`."""
    try:
        return at_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def a_path(text: str) -> Path:
    """The value of a flag that names a file or folder. Raises as `path_text` does."""
    return Path(path_text(text))


@contextmanager
def folder_beside(out: Path, prefix: str) -> Iterator[Path]:
    """Return a temporary folder in the folder of `out`, so that finished files only have to be renamed.

    Raises UserError if none can be created.
    """
    if not out.parent.is_dir():
        raise UserError(f"The folder '{shorten(str(out.parent))}' does not exist. Make it first.")
    with contextlib.ExitStack() as until_done:
        with outputs.told(out):
            folder = until_done.enter_context(outputs.workplace(out.parent, prefix))
        yield folder


class Terminal(SilentContext):
    """Context of a job on the command line: progress on stderr, the stores of the environment. Entering it prints the
    number of threads, before torch is loaded, and keeps freed memory; leaving it ends the line and closes the stores.
    """

    def __enter__(self) -> "Terminal":
        threads.prepare()
        heap.keep_freed_memory()
        self._progress = Progress()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.close()
        self.stores.close()

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        self._progress.tell(phase, done, total)

    def log(self, text: str) -> None:
        self._progress.note(text)
