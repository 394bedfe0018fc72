"""Flags of the verbs, and their terminal output: progress on stderr, results on stdout.

A verb's module has `FLAGS`, a tuple of rows. `Fields` draws one flag per field of the verb's spec and of the specs
inside it, and builds the spec from the arguments. `flag` is a single flag, for an output file or a field that is read
from a file. A field whose flag is in an earlier row gets no second one. Flags are flat (--sink-std); libraries that
draw command lines from pydantic models name them by their path (--pruning.discount.sink-std).
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType, UnionType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tqdm import tqdm

from analysis import outputs
from analysis.errors import UserError, shorten
from analysis.job_context import SilentContext
from analysis.machine import process
from analysis.specs import CalibrationParams, ModelSpec, Spec, choices, help_text
from analysis.specs.base import at_home, beyond_choices, in_bytes


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
        process.prepare()
        process.keep_freed_memory()
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


PROMPTS_HELP = (
    "a text file with one prompt per line, a .jsonl file with 'prompt' and, for prompts that are alike, a common "
    "'cluster' in each line, 'bundled', or a benchmark, whose items' contexts are taken"
)
_COUNT = 50  # prompts
_TEXTS = {"prompt", "keys", "own_prompts", "own_keys"}  # read from files, or typed by flags of a verb's own
_NAMES = {(ModelSpec, "source"): "model", (CalibrationParams, "data"): "calibration"}  # flags not called as the field

SpecT = TypeVar("SpecT", bound=Spec)


Row = Callable[[Any, set[str]], None]
"""Part of a verb's flags: gives a parser, or a group of one, these flags but for those in the set, to which their names
are added.
"""


def flag(
    *names: str, help: str | Callable[[], str] = "", of: tuple[type[BaseModel], str] | None = None, **how: Any
) -> Row:
    """Return the row of a single flag. names: such as '--out', or that of a positional. of: the spec and field whose
    description precedes `help`. how: arguments for argparse. A flag without help is not listed.
    """

    def add(parser: Any, taken: set[str]) -> None:
        described = "" if of is None else of[0].model_fields[of[1]].description or ""
        said = help if isinstance(help, str) else help()
        text = " ".join(filter(None, [described, said])).replace("%", "%%")
        taken.add(parser.add_argument(*names, help=text or argparse.SUPPRESS, **how).dest)

    return add


def one_of(*rows: Row) -> Row:
    """Return the row of flags of which one has to be given."""

    def add(parser: Any, taken: set[str]) -> None:
        group = parser.add_mutually_exclusive_group(required=True)
        for row in rows:
            row(group, taken)

    return add


class Leaf(NamedTuple):
    """A field with a flag. path: of names from the outermost spec. default: value without the flag. note: for the end
    of the help.
    """

    path: tuple[str, ...]
    spec: type[BaseModel]
    field: FieldInfo
    default: Any
    note: str

    @property
    def flag(self) -> str:
        """The name of its flag, with underscores."""
        return _NAMES.get((self.spec, self.path[-1]), self.path[-1])

    def is_any_of(self, names: Sequence[str]) -> bool:
        """True where one of the names, which may be dotted, is the end of the path."""
        return any(f".{'.'.join(self.path)}".endswith(f".{name}") for name in names)


@dataclass(frozen=True)
class Fields(Generic[SpecT]):
    """A flag for each field of a spec, and of the specs inside it but for the models of its parts.

    note: for the end of the help of the spec's own fields. without: fields that have no flag, by their names or the
    end of their dotted paths. named: flags that are not called as their fields, by the same.
    """

    spec: type[SpecT]
    note: str = ""
    without: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    def leaves(self) -> list[Leaf]:
        """Return the fields with a flag: the model, the spec's own, and those of the specs inside it."""
        leaves = [leaf for leaf in _leaves(self.spec, None, (), self.note) if not leaf.is_any_of(self.without)]
        return sorted(leaves, key=lambda leaf: leaf.path != ("model", "source"))

    def flag(self, leaf: Leaf) -> str:
        """Return the name of a field's flag, with underscores."""
        return next((flag for name, flag in self.named.items() if leaf.is_any_of([name])), leaf.flag)

    def __call__(self, parser: Any, taken: set[str]) -> None:
        """Give a parser the flags. One not given stays out of the namespace, so that the spec's own default holds."""
        for leaf in self.leaves():
            name = self.flag(leaf)
            if name not in taken:
                taken.add(name)
                _draw(parser, name, leaf)

    def given(self, options: argparse.Namespace) -> dict[str, Any]:
        """Return the values of the spec's own fields whose flags were given."""
        return {leaf.path[0]: value for leaf, value in self._typed(options) if len(leaf.path) == 1}

    def build(self, options: argparse.Namespace, **values: Any) -> SpecT:
        """Return the spec for the flags. values: of fields without flags. Raises pydantic's ValidationError for values
        that a spec refuses.
        """
        tree: dict[str, Any] = {}
        for leaf, value in self._typed(options):
            *outer, last = leaf.path
            place = tree
            for name in outer:
                place = place.setdefault(name, {})
            place[last] = value
        return _built(self.spec, None, {name: value for name, value in tree.items() if name not in values}, values)

    def _typed(self, options: argparse.Namespace) -> Iterator[tuple[Leaf, Any]]:
        for leaf in self.leaves():
            value = getattr(options, self.flag(leaf), None)
            if value is not None:
                yield leaf, value


def _leaves(spec: type[BaseModel], default: BaseModel | None, path: tuple[str, ...], note: str) -> Iterator[Leaf]:
    """Yield the fields that a flag can give. default: the spec's values where it is part of another, or None."""
    inside: list[tuple[type[BaseModel], BaseModel | None, str, str]] = []
    for name, info in spec.model_fields.items():
        value = info.get_default(call_default_factory=True) if default is None else getattr(default, name)
        kinds = _specs_in(info.annotation)
        if not kinds and name not in _TEXTS and not _is_fixed(info):
            yield Leaf((*path, name), spec, info, value, note)
        elif len(kinds) > 1:
            inside += [(kind, None, name, f" [{kind.model_fields['sampler'].default}]") for kind in kinds]
        elif isinstance(value, BaseModel) and not (path and kinds == [ModelSpec]):
            inside.append((kinds[0], value, name, ""))
    for kind, values, name, of_kind in sorted(inside, key=lambda one: one[2] == "sampling"):
        yield from _leaves(kind, values, (*path, name), of_kind)


def _specs_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [spec for part in get_args(annotation) for spec in _specs_in(part)]


def _is_fixed(info: FieldInfo) -> bool:
    """Return True for a field with one possible value, which distinguishes specs of a union."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1


def _draw(parser: Any, name: str, leaf: Leaf) -> None:
    """Give a parser the flag of a field."""
    info, shown = leaf.field, f"--{name.replace('_', '-')}"
    description = help_text(info).replace("%", "%%")
    kind: Any = info.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if kind is bool:
        parser.add_argument(shown, dest=name, action="store_true", default=argparse.SUPPRESS, help=description)
        return
    listed = get_origin(kind) is tuple
    allowed = (list(choices(info)) or None) if not beyond_choices(info) else None
    read = str if in_bytes(leaf.spec, leaf.path[-1]) else type(allowed[0]) if allowed else kind
    parser.add_argument(
        shown,
        dest=name,
        type=listed_words if listed else read,
        choices=allowed,
        default=argparse.SUPPRESS,
        metavar=None if allowed else f"{name.upper()},…" if listed else name.upper(),
        help=f"{description}{_said(leaf.default)}{leaf.note}",
    )


def _said(default: Any) -> str:
    """Return the end of the help, which names the default."""
    if default is PydanticUndefined:
        return ""
    listed = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f" Default: {'none' if listed in (None, '') else listed}.".replace("%", "%%")


def _built(
    spec: type[SpecT], default: BaseModel | None, tree: Mapping[str, Any], values: Mapping[str, Any] = {}
) -> SpecT:
    """Return a spec with the values of a tree of names, its parts built before it, and otherwise those of `default`."""
    kept = {} if default is None else {name: getattr(default, name) for name in default.model_fields_set}
    typed = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            part = spec.model_fields[name].get_default(call_default_factory=True)
            part = part if default is None else getattr(default, name)
            value = _built(type(part), part, value)
        typed[name] = value
    return spec.model_validate({**kept, **typed, **values})


def add_flags(parser: argparse.ArgumentParser, rows: Iterable[Row]) -> None:
    """Give a parser the flags of some rows, each name once."""
    taken: set[str] = set()
    for row in rows:
        row(parser, taken)


def out(metavar: str, help: str, required: bool = True) -> Row:
    """Return the flag for a verb's output."""
    return flag("--out", type=a_path, required=required, metavar=metavar, help=help)


def overwrite(what: str) -> Row:
    """Return the flag that lets a verb replace something, such as 'a file'."""
    return flag("--overwrite", action="store_true", help=f"replace {what} that exists")


def as_json(what: str = "the summary") -> Row:
    """Return the flag that prints something as JSON."""
    return flag("--json", action="store_true", help=f"print {what} as JSON")


def estimate(help: str) -> Row:
    """Return the flag that only estimates the cost of a verb."""
    return flag("--estimate", action="store_true", help=help)


def reference(spec: type[Spec]) -> Row:
    """Return the flag of the model to compare with."""
    return flag(
        "--reference",
        of=(spec, "reference"),
        metavar="SRC",
        help="Default: the twin that the registry names; none: none.",
    )


def size(sizes: Mapping[str, Any]) -> Row:
    """Return the flag that chooses one of several sizes, each with settings of its own."""

    def told() -> str:
        return " ".join(f"{row.name}: {row.help}" for row in sizes.values())

    return flag("--size", choices=sizes, help=lambda: f"{told()} Default: {QUICK}. Flags change single settings.")


MODEL = Fields(ModelSpec)
QUICK = "quick"
"""The size that is chosen where none is."""
_PROMPTS = flag("--prompts", type=path_text, default="bundled", metavar="FILE|bundled|TASK", help=PROMPTS_HELP)


def set_flags(estimates: bool = False) -> tuple[Row, ...]:
    """Return the flags of a verb that writes a folder about many prompts. estimates: it can run without the folder."""
    return _PROMPTS, out("FOLDER", "the folder to write", not estimates), overwrite("a study"), as_json()


SET_FLAGS = set_flags()
PROMPT_COUNT = flag(
    "--prompt-count", type=int, default=_COUNT, metavar="N", help=f"how many of them. Default: {_COUNT}"
)
