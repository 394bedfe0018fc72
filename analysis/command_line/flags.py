"""Flags drawn from specs, and a job's context in a terminal."""

import argparse
import contextlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from analysis import outputs
from analysis.command_line.progress import Progress
from analysis.errors import UserError, shorten
from analysis.job_context import SilentContext
from analysis.machine import heap, threads
from analysis.specs import Spec, choices, help_text
from analysis.specs.base import at_home, beyond_choices, in_bytes

PROMPTS_HELP = (
    "a text file with one prompt per line, a .jsonl file with 'prompt' and, for prompts that are alike, a common "
    "'cluster' in each line, 'bundled', or a benchmark, whose items' contexts are taken"
)
PROMPT_COUNT = 50
NOT_FLAGS = {"model", "sampling", "sampler", "prompt", "source", "branch"}


def field_of(spec: type[BaseModel], name: str) -> Any:
    return spec.model_fields[name]


def add_flags(parser: argparse.ArgumentParser, spec: type[Spec], note: str, seen: set[str] | None = None) -> None:
    """One flag a field. A flag not given stays out of the namespace, so that the spec's own default holds."""
    seen = set() if seen is None else seen
    for name, field in spec.model_fields.items():
        if name in NOT_FLAGS or name in seen:
            continue
        seen.add(name)
        kinds = get_args(field.annotation)
        kind: Any = field.annotation
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(part for part in kinds if part is not type(None))
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            description = help_text(field).replace("%", "%%")
            parser.add_argument(flag, dest=name, action="store_true", default=argparse.SUPPRESS, help=description)
            continue
        listed = get_origin(kind) is tuple
        allowed = (list(choices(field)) or None) if not beyond_choices(field) else None
        default = "none" if field.default in (None, ()) else field.default
        parser.add_argument(
            flag,
            dest=name,
            type=listed_words if listed else str if in_bytes(spec, name) else type(allowed[0]) if allowed else kind,
            choices=allowed,
            default=argparse.SUPPRESS,
            metavar=None if allowed else f"{name.upper()},…" if listed else name.upper(),
            help=f"{help_text(field)} Default: {default}.{note}".replace("%", "%%"),
        )


def listed_words(text: str) -> tuple[str, ...]:
    """A comma-separated value; the spec turns its parts into numbers where it wants them. Raises argparse's error for
    one without any part, which would read as if the flag had not been given."""
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    if not words:
        raise argparse.ArgumentTypeError(f"'{text}' names nothing. Give names with commas between, or leave it out")
    return words


def path_text(text: str) -> str:
    """The value of a flag that may name a file or folder. Raises argparse's error for a `~user` whom nobody knows."""
    try:
        return at_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def a_path(text: str) -> Path:
    """The value of a flag that names a file or folder. Raises as `path_text` does."""
    return Path(path_text(text))


def given(spec: type[Spec], options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in spec.model_fields if name in options and name not in NOT_FLAGS}


@contextmanager
def folder_beside(out: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in the folder of `out`, so that what is finished only has to be renamed.

    Raises UserError where there is none to write in.
    """
    if not out.parent.is_dir():
        raise UserError(f"The folder '{shorten(str(out.parent))}' does not exist. Make it first.")
    with contextlib.ExitStack() as until_done:
        with outputs.told(out):
            folder = until_done.enter_context(outputs.workplace(out.parent, prefix))
        yield folder


class Terminal(SilentContext):
    """A job's context in the command line: progress on stderr, the stores of the environment. Entering it says how many
    threads compute, before torch is loaded, and keeps freed memory; leaving it ends the line and closes the stores."""

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


def add_set_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verbs that write a folder about many prompts."""
    parser.add_argument("--prompts", type=path_text, default="bundled", metavar="FILE|bundled|TASK", help=PROMPTS_HELP)
    parser.add_argument("--out", type=a_path, required=True, metavar="FOLDER", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a study that exists")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def add_prompt_count(parser: argparse.ArgumentParser) -> None:
    """The flag of verbs that take so many of the prompts."""
    parser.add_argument(
        "--prompt-count", type=int, default=PROMPT_COUNT, metavar="N", help=f"how many of them. Default: {PROMPT_COUNT}"
    )
