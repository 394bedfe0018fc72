"""Every environment variable that SinkScope reads, in one table: its meaning and permitted values, sizes with units
among them.

The table sits in the cache package, which reads some of them and imports nothing above it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `2GB`, `24 GiB` or `1e9`. Raises ValueError for anything else, and below 0."""
    # Imported here because the dashboard imports this module at startup.
    from dask.utils import parse_bytes

    if not any(letter.isdigit() for letter in text):
        raise ValueError(f"'{text}' is no size.")
    try:
        size = parse_bytes(text)
    except OverflowError as error:
        raise ValueError(f"'{text}' is no size.") from error
    if size < 0:
        raise ValueError(f"'{text}' is below 0.")
    return size


def size_text(size: int) -> str:
    """Return the shortest text that `parse_size` reads as exactly this many bytes."""
    unit = next((name for name, factor in _UNITS if size >= factor and size % factor == 0), None)
    return f"{size // dict(_UNITS)[unit]} {unit}" if unit else str(size)


def gigabytes(size: float) -> str:
    """Format a size for messages: `52.0 GB`, or in MB or kB if smaller."""
    unit, by = next(((unit, by) for unit, by in (("GB", 1e9), ("MB", 1e6)) if size >= by), ("kB", 1e3))
    return f"{size / by:,.1f} {unit}"


class VariableError(ValueError):
    """Invalid value of a variable. The message names the variable and says what was expected."""


@dataclass(frozen=True)
class Variable:
    """One variable. read: parses its text; raises ValueError if invalid. default: the value when unset, in words.
    shared: other programs define and read it too.
    """

    name: str
    meaning: str
    expected: str
    read: Callable[[str], Any]
    default: str
    shared: bool = False


def _positive_size(text: str) -> int:
    size = parse_size(text)
    if size == 0:
        raise ValueError("Nothing fits into 0 bytes.")
    return size


def _wire_limit(text: str) -> int:
    """Parse a size; a number without a unit is in MiB, as it always was."""
    try:
        return _positive_size(f"{float(text)} MiB")
    except ValueError:
        return _positive_size(text)


def _folder(text: str) -> Path:
    """Parse a folder, which need not exist: only the store checks that."""
    try:
        path = Path(text).expanduser().absolute()
        path.exists()
    except (OSError, RuntimeError) as error:  # too long a name, an unknown user's home
        raise ValueError(f"'{text}' cannot be a folder: {error}.") from error
    return path


def _scheduler(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or parts.port == 0:
        raise ValueError(f"'{text}' is no scheduler's address.")
    return text


def _devices(text: str) -> list[str]:
    named = text.split()
    if any(part != "cpu" and not all(number.isdigit() for number in part.split(",")) for part in named):
        raise ValueError(f"'{text}' names no devices.")
    return named


def _threads(text: str) -> int:
    counts = [int(part) for part in text.split(",")]  # one per nesting level; torch uses the first
    if min(counts) < 1:
        raise ValueError(f"'{text}' is no number of threads.")
    return counts[0]


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"'{text}' is neither 0 nor 1.")
    return text == "1"


def _token(text: str) -> str:
    if text != "none" and not re.fullmatch(r"[A-Za-z0-9_-]{16,}", text):
        raise ValueError("Too short, or other characters.")
    return text


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(_folder(part) for part in text.split(os.pathsep) if part.strip())


def _hub_ids(text: str) -> tuple[str, ...]:
    named = () if text == "none" else tuple(text.split())
    if any(not re.fullmatch(r"[\w.-]+/[\w.-]+", part) for part in named):
        raise ValueError(f"'{text}' holds what is no hub id.")
    return named


class VisitorLimits(NamedTuple):
    """Limits for each visitor of a shared server. jobs: running or queued; characters: in the texts of one job; steps:
    and new tokens of one job; disk: bytes left by their jobs.
    """

    jobs: int = 8
    characters: int = 20_000
    steps: int = 1024
    disk: int = 10 * 2**30


def _visitor_limits(text: str) -> VisitorLimits:
    given = dict(part.split("=", 1) for part in text.split())  # ValueError for a part without "="
    if not set(given) <= set(VisitorLimits._fields):
        raise ValueError(f"'{text}' names another limit.")
    numbers = {name: parse_size(value) if name == "disk" else int(value) for name, value in given.items()}
    if min(numbers.values(), default=1) < 1:
        raise ValueError(f"'{text}' allows nothing.")
    return VisitorLimits(**numbers)


_SIZE = "a size such as 2GB or 512MiB"

VARIABLES: dict[str, Variable] = {
    row.name: row
    for row in (
        Variable(
            "SINKSCOPE_HOME",
            "The store: results, jobs, kept folders and answers.",
            "a folder",
            _folder,
            "the user's cache folder",
        ),
        Variable(
            "SINKSCOPE_SHARED",
            "Where workers leave files for the server: a folder under the same path on all machines.",
            "a folder",
            _folder,
            "the store",
        ),
        Variable(
            "SINKSCOPE_DEVICES",
            "What each local worker gets, separated by spaces: `0 1 2,3` makes one worker each for devices 0 and 1, "
            "and one that owns 2 and 3, for models that span both; `cpu cpu` makes two on the CPU.",
            "CUDA device numbers or cpu, separated by spaces, such as '0 1 2,3': one worker each for devices 0 and 1, "
            "and one for 2 and 3 together",
            _devices,
            "one worker for each CUDA device, or one for the CPU",
        ),
        Variable(
            "SINKSCOPE_TOKEN",
            "The access token in the address that is printed at the start; `none` lets in every user of this machine.",
            "at least 16 letters, digits, - or _, or none",
            _token,
            "a new one at every start",
        ),
        Variable(
            "SINKSCOPE_DEMO",
            "`1`: a demonstration that can stand on a public address. Short prompts are recorded with the bundled "
            "pair; nothing else runs, and nothing that is stored is changed.",
            "1 or 0",
            _switch,
            "0",
        ),
        Variable(
            "SINKSCOPE_HUB_MODELS",
            "Models of the hub that visitors of a shared server may use; `none` for no model.",
            "hub ids like owner/name, separated by spaces, or none",
            _hub_ids,
            "those that the sidebar offers by name",
        ),
        Variable(
            "SINKSCOPE_MODEL_DIRS",
            "Folders below which visitors of a shared server may open models, calibration texts and lm-eval's results.",
            "folders, separated as in PATH",
            _folders,
            "the store alone",
        ),
        Variable(
            "SINKSCOPE_OUTPUT_DIRS",
            "Folders below which visitors of a shared server may have pruned models written, and read them.",
            "folders, separated as in PATH",
            _folders,
            "the store alone",
        ),
        Variable(
            "SINKSCOPE_TASK_DIRS",
            "Folders of lm-eval tasks that visitors of a shared server may run. Their YAML runs Python as the server's "
            "user.",
            "folders, separated as in PATH",
            _folders,
            "none",
        ),
        Variable(
            "SINKSCOPE_VISITOR_LIMITS",
            "What each visitor of a shared server may ask: jobs that run or wait, characters and steps of one job, "
            "and the disk that what they asked for takes. Those left out keep their defaults.",
            "limits such as 'jobs=4 characters=2000 steps=256 disk=5GiB'",
            _visitor_limits,
            "jobs=8 characters=20000 steps=1024 disk=10GiB",
        ),
        Variable(
            "SINKSCOPE_MEMORY_LIMIT",
            "Main memory a local worker may take. A job that takes 95 % of it fails, and its worker is started again.",
            _SIZE,
            _positive_size,
            "its share of the machine's",
        ),
        Variable(
            "SINKSCOPE_SCHEDULER",
            "A running dask cluster that is used in place of local workers.",
            "an address like tls://host:8786",
            _scheduler,
            "local workers",
        ),
        Variable(
            "SINKSCOPE_WIRE_LIMIT",
            "How much one job may send back by the wire, where its worker does not see the server's disk. A number "
            "without a unit counts MiB.",
            _SIZE,
            _wire_limit,
            "64MiB",
        ),
        Variable(
            "OMP_NUM_THREADS",
            "Threads that a process computes with.",
            "a number of threads",
            _threads,
            "the CPUs allotted to it, by affinity and cgroup, shared among the workers of the machine",
            shared=True,
        ),
        Variable(
            "OMP_WAIT_POLICY",
            "How threads wait for each other. `PASSIVE` is best on a machine that is full, `ACTIVE` on one that is "
            "empty; where it is set, SinkScope leaves GOMP_SPINCOUNT alone.",
            "ACTIVE or PASSIVE",
            str,
            "as GOMP_SPINCOUNT says",
            shared=True,
        ),
        Variable(
            "GOMP_SPINCOUNT",
            "How often a waiting thread looks before it sleeps (GNU OpenMP, so on Linux).",
            "a number",
            str,
            "10000",
            shared=True,
        ),
        Variable(
            "MALLOC_TRIM_THRESHOLD_",
            "Freed bytes that a heap keeps (glibc, so on Linux); where it is set, SinkScope leaves glibc's thresholds "
            "alone.",
            "a number of bytes",
            str,
            "64 MiB",
            shared=True,
        ),
        Variable(
            "CUDA_VISIBLE_DEVICES",
            "CUDA devices that there are for SinkScope.",
            "device numbers with commas between",
            str,
            "all",
            shared=True,
        ),
        Variable(
            "HTTPS_PROXY", "How the Hugging Face hub is reached.", "a proxy's address", str, "directly", shared=True
        ),
        Variable("HF_DATASETS_CACHE", "Where data sets of the hub lie.", "a folder", str, "below HF_HOME", shared=True),
        Variable(
            "HF_TOKEN", "Token of the hub, for gated models and for uploads.", "a token", str, "none", shared=True
        ),
        Variable("HF_ENDPOINT", "A mirror of the hub.", "an address", str, "https://huggingface.co", shared=True),
    )
}
"""By name. Other programs' variables are listed because SinkScope honours them."""


def value(name: str) -> Any:
    """Return the parsed value of a variable in the table; None if it is unset or empty.

    Raises VariableError for an invalid value.
    """
    row = VARIABLES[name]
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        return row.read(text)
    except ValueError as error:
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        raise VariableError(f"The environment variable {name} is '{shown}'. Expected {row.expected}.") from error


def problems() -> list[str]:
    """Return a sentence for each variable with an invalid value. Every entry point calls this first."""
    sentences = []
    for name in VARIABLES:
        try:
            value(name)
        except VariableError as error:
            sentences.append(f"{error} Set it right, or unset it, and start SinkScope again.")
    return sentences
