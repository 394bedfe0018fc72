"""Keys that identify a result by everything it depends on, the version of its code included.

A version changes when that code's behaviour changes, and only then. It is a digest of the modules that a job imports,
lazily or not, and of the data that ships with them. It leaves out comments, docstrings, messages, sentences and
packages that compute no number. Modules are parsed, not imported, so that no torch is loaded; what was parsed is cached
beside Python's bytecode, by each file's time.
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError


def content_key(**parts: Any) -> str:
    """Return 32 hex digits of the SHA-256 of `parts` as canonical JSON. Raises TypeError for what JSON cannot hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def imported_key(file: Path) -> str:
    """Return the key of a result imported from a file, by its content alone. Raises OSError."""
    with file.open("rb") as content:
        return f"imported-{content_key(digest=hashlib.file_digest(content, 'sha256').hexdigest())}"


PACKAGE = "analysis"
# Packages and modules that no stored number depends on: figures, sentences, decisions, permissions, types of summaries.
NO_NUMBERS = (
    "analysis.command_line",
    "analysis.engine",
    "analysis.errors",
    "analysis.exhibits",
    "analysis.figures",
    "analysis.findings",
    "analysis.hub",
    "analysis.jobs.summaries",
    "analysis.outputs",
    "analysis.program",
    "analysis.pruning.card",
    "analysis.specs.messages",
    "analysis.statistics.decisions",
    "analysis.study",
    "analysis.words",
)
# No worker runs these.
_UNREAD = ("analysis.command_line", "analysis.exhibits", "analysis.figures", "analysis.study")
_TEXT_IS_DATA = "analysis.bundled"  # models read its sentences
_DATA = {".yaml", ".jsonl"}  # tasks and items that ship with the code
_TOLD = {"log", "progress"}  # methods whose strings are shown to people
_WORDS_OF_PARAMETERS = slice(1, 3)  # of `parameter(default, title, help, ...)`
_WORDS = {"axis", "caveat", "formula", "help", "note", "sentence", "source", "title", "unit"}  # fields of rows


class _Module(BaseModel):
    """Parsed contents of a file. digest: of its behaviour. imports: (module, name or "") in order. exports: the origin
    of each name of a package, as (module, name).
    """

    digest: str
    imports: list[tuple[str, str]] = []
    exports: dict[str, tuple[str, str]] = {}


class _Known(BaseModel):
    """Files parsed earlier, by path, with their times and sizes. reader: digest of this module."""

    reader: str
    files: dict[str, tuple[int, int, _Module]] = {}


class Code:
    """The code below `root` at the time this is constructed; later changes belong to another run of the program."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, _Module] = {}
        self._data: dict[str, str] = {}  # digests of data files, by their paths
        self._read()
        self._run_by_workers = frozenset(self._modules)

    def version(self, *entries: str) -> str:
        """Return 16 hex digits for the code these modules run; without any, for the code all workers run.

        A module outside the package counts with its imports from the package. Raises ValueError for an unknown one
        inside.
        """
        names = self.closure(*entries) if entries else self._run_by_workers
        digest = hashlib.sha256()
        for name in sorted(names):
            digest.update(f"{name}:{self._module(name).digest}\n".encode())
        packages = names | {name.rpartition(".")[0] for name in names}
        for path, content in sorted(self._data.items()):
            if self._package_of(path) in packages:
                digest.update(f"{path}:{content}\n".encode())
        return digest.hexdigest()[:16]

    def closure(self, *entries: str) -> set[str]:
        """Return these modules and all they import, also inside functions and for type checkers.

        A re-exported name counts as its origin: importing one name of a package does not bring in its neighbours.
        """
        found: set[str] = set()
        left = list(entries)
        while left:
            name = left.pop()
            if name in found:
                continue
            found.add(name)
            wanted = {self._home(module, part) for module, part in self._module(name).imports}
            left += [module for module in wanted if module and not _is_in(module, NO_NUMBERS)]
        return found

    def _home(self, module: str, name: str) -> str:
        """Return the module that defines a name, or "" for one outside the package."""
        if not _is_in(module, (PACKAGE,)):
            return ""
        if name and f"{module}.{name}" in self._modules:
            return f"{module}.{name}"
        exported = self._modules[module].exports.get(name) if module in self._modules else None
        return self._home(*exported) if exported else module if module in self._modules else ""

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            if _is_in(name, (PACKAGE,)) and not _is_in(name, _UNREAD):
                raise ValueError(f"There is no module '{name}' to take the version of.")
            path = self.root.joinpath(*name.split(".")).with_suffix(".py")
            self._modules[name] = read_module(path.read_bytes(), name) if path.is_file() else _Module(digest="")
        return self._modules[name]

    def _package_of(self, data: str) -> str:
        """Return the nearest package above a data file."""
        folder = Path(data).parent
        while folder.parts and not (self.root / folder / "__init__.py").is_file():
            folder = folder.parent
        return ".".join(folder.parts)

    def _read(self) -> None:
        place = _place_of_cache(self.root / PACKAGE)
        known, changed = _read_known(place), False
        for path in sorted(self._files()):
            relative = path.relative_to(self.root).as_posix()
            stat = path.stat()
            before = known.files.get(relative)
            if before is not None and before[:2] == (stat.st_mtime_ns, stat.st_size):
                module = before[2]
            else:
                module, changed = _read_file(path, _name(relative)), True
                known.files[relative] = (stat.st_mtime_ns, stat.st_size, module)
            if path.suffix == ".py":
                self._modules[_name(relative)] = module
            else:
                self._data[relative] = module.digest
        if changed:
            _keep(known, place)

    def _files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.root / PACKAGE):
            here = Path(folder)
            folders[:] = [
                name
                for name in folders
                if name != "__pycache__" and not _is_in(_name((here / name).relative_to(self.root).as_posix()), _UNREAD)
            ]
            yield from (here / name for name in names if Path(name).suffix in {".py", *_DATA})


@lru_cache(maxsize=1)
def _code() -> Code:
    return Code(Path(__file__).parent.parent)


@lru_cache(maxsize=256)
def code_version(*modules: str) -> str:
    """Return the version of the code in these modules and all that they import.

    A stored result never outlives its code, but survives changes elsewhere. Without a module, cover all that workers
    run; servers and workers compare this.
    """
    return _code().version(*modules)


def _is_in(module: str, rooms: Sequence[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# --- contents of a file -------------------------------------------------------------------------------------------


def _read_file(path: Path, name: str) -> _Module:
    content = path.read_bytes()
    return read_module(content, name) if path.suffix == ".py" else _Module(digest=_digest(content))


def read_module(content: bytes, name: str) -> _Module:
    """Parse the source of a module. Source that is not valid Python is digested as bytes and imports nothing."""
    try:
        tree = _parsed(content)
    except (SyntaxError, ValueError):
        return _Module(digest=_digest(content))
    imports: list[tuple[str, str]] = []
    exports: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports += [(node.module, alias.name) for alias in node.names]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            exports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    said: list[str] = []
    _say(tree, said, text_is_data=_is_in(name, (_TEXT_IS_DATA,)))
    digest = _digest("\0".join(said).encode("utf-8", "backslashreplace"))
    return _Module(
        digest=digest,
        imports=[pair for pair in dict.fromkeys(imports) if _is_in(pair[0], (PACKAGE,))],
        exports={name: home for name, home in exports.items() if _is_in(home[0], (PACKAGE,))},
    )


# CPython counts the parser's recursion depth for all threads together, and fails where it does not return to what it
# was (issue 106905): files are parsed one at a time, and again where a thread that imports disturbs that.
_PARSER, _DISTURBED = threading.Lock(), 5


def _parsed(content: bytes) -> ast.Module:
    with _PARSER:
        for _ in range(_DISTURBED):
            with contextlib.suppress(SystemError):
                return ast.parse(content)
        return ast.parse(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _say(node: Any, said: list[str], text_is_data: bool) -> None:
    """Append a syntax tree's behaviour to `said`: nodes and constants without positions or text meant for people.

    Empty fields are skipped, so that Python versions which add fields give the same result.
    """
    if isinstance(node, list):
        said.append("[")
        for part in node:
            if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):  # a docstring
                _say(part, said, text_is_data)
        said.append("]")
    elif not isinstance(node, ast.AST):
        said.append(repr(node))
    elif isinstance(node, ast.Constant):
        is_words = isinstance(node.value, str) and not text_is_data and _is_prose(node.value)
        said.append("words" if is_words else repr(node.value))
    elif isinstance(node, ast.JoinedStr) and not text_is_data and _is_prose(_shape(node)):
        said.append("words")
        _say([part.value for part in node.values if isinstance(part, ast.FormattedValue)], said, text_is_data)
    elif isinstance(node, ast.Raise):
        said.append("Raise")
        _say(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, said, text_is_data)
    else:
        said.append(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if value is None or value == []:
                continue
            if isinstance(node, ast.Call) and not text_is_data:
                value = _without_words(node, field, value)
            said.append(field)
            _say(value, said, text_is_data)


def _without_words(call: ast.Call, field: str, value: Any) -> Any:
    """Return the arguments of a call without those that only people read."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if field == "args" and called == "parameter":
        words = range(*_WORDS_OF_PARAMETERS.indices(len(value)))
        return [part for number, part in enumerate(value) if number not in words or not _is_text(part)]
    if field == "args" and called in _TOLD and isinstance(call.func, ast.Attribute):
        return [part for part in value if not _is_text(part)]
    if field == "keywords":
        return [part for part in value if part.arg not in _WORDS or not _is_text(part.value)]
    return value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _shape(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)


def _is_prose(text: str) -> bool:
    """Return True for a sentence or part of one: four words, or two that end with a stop. Templates and texts of
    several lines, such as prompts, are not prose.
    """
    if " " not in text or "\n" in text or "{{" in text or "{%" in text:
        return False
    words = len(re.findall(r"[^\W\d_]{2,}", text))
    return words >= 4 or (words >= 2 and text.rstrip()[-1:] in tuple(".!?:;"))


# --- cache of parsed files ----------------------------------------------------------------------------------------


def _place_of_cache(package: Path) -> Path:
    """Return a path beside the package's compiled modules."""
    return Path(importlib.util.cache_from_source(str(package / "keys.py"))).with_suffix(".json")


@lru_cache(maxsize=1)
def _reader() -> str:
    return _digest(Path(__file__).read_bytes())


def _read_known(place: Path) -> _Known:
    try:
        known = _Known.model_validate_json(place.read_bytes())
    except (OSError, ValidationError):
        return _Known(reader=_reader())
    return known if known.reader == _reader() else _Known(reader=_reader())


def _keep(known: _Known, place: Path) -> None:
    """Write the cache. If that fails, the next program spends a second more."""
    if sys.dont_write_bytecode:
        return
    new = place.with_name(f".{place.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(known.model_dump_json(), encoding="utf-8")
        new.replace(place)
