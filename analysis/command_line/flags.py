"""Values of flags; a verb's progress on stderr, its results on stdout, and the context of a job in a terminal."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from analysis import outputs
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


def show(options: argparse.Namespace, results: Any, lines: Iterable[str]) -> int:
    """Print the results of a verb, as lines or, where it was asked, as JSON. Return the exit code."""
    print(json.dumps(results, ensure_ascii=False) if options.json else "\n".join(lines))
    return 0


class Progress:
    """Display of one phase at a time: a bar in a terminal and in a notebook, one line per phase elsewhere. Close it
    before anything else is printed.
    """

    def __init__(self) -> None:
        self._phase = ""
        self._bar: tqdm[None] | None = None

    def tell(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Show the progress of a phase. total: 0 if unknown."""
        if not _is_watched():
            if phase != self._phase or (total and done == total):
                print(f"{phase} {done}/{total}" if total else phase, file=sys.stderr, flush=True)
        elif self._bar is None or (phase, total) != (self._phase, self._bar.total or 0):
            self.close()
            self._bar = tqdm(total=total or None, desc=phase, initial=done, file=sys.stderr, leave=False)
        else:
            self._bar.update(done - self._bar.n)
        self._phase = phase

    def note(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


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
