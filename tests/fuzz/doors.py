"""A seeded generator of hostile inputs over every door: `python -m tests.fuzz.doors [--seed 0] [--part 1] [DOOR …]`.

Each input is to be taken, or refused in one readable sentence, and opens nothing that is closed. Whatever else happens
is printed with the door, the seed and the number of the input, which make it again; the exit status says whether there
was any. The suite runs the first inputs of each door.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.errors import UserError
from analysis.specs import sentence

LONGEST = 2500  # characters of a refusal
_OF_LIBRARIES = re.compile(
    r"Traceback|object at 0x|\bErrno\b|os error|NoneType|positional argument|\w+Error\(|pydantic"
)
SECONDS = 60  # in which an input is answered, on a machine that is busy


class Wrong(AssertionError):
    """An input was answered otherwise than it should be."""


@dataclasses.dataclass(frozen=True)
class Door:
    """count: inputs of a whole run. make: prepares a folder, and returns what answers one input, drawn by its dice; it
    raises Wrong; UserError or ValidationError where the input is refused; anything else is a fault."""

    count: int
    make: Callable[[Path], Callable[[random.Random], None]]


DOORS: dict[str, Door] = {}


def door(count: int) -> Callable[[Callable[[Path], Callable[[random.Random], None]]], Any]:
    """Add a door under the name of the function that makes it."""

    def add(make: Callable[[Path], Callable[[random.Random], None]]) -> Any:
        DOORS[make.__name__.replace("_", "-")] = Door(count, make)
        return make

    return add


def require(holds: bool, told: str) -> None:
    """Raise Wrong unless something holds."""
    if not holds:
        raise Wrong(told[:500])


def require_readable(sentence: str) -> None:
    """Raise Wrong for a refusal that is no readable line."""
    require(bool(sentence.strip()), "the refusal is empty")
    require(len(sentence) <= LONGEST, f"the refusal has {len(sentence)} characters: {sentence[:200]}")
    require("\n" not in sentence and "\r" not in sentence, f"the refusal has several lines: {sentence!r}")
    require(not _OF_LIBRARIES.search(sentence), f"a library speaks: {sentence}")


def run(name: str, seed: int, share: float = 1.0) -> Iterator[str]:
    """Give a door its inputs; yield a line on each that it answers wrongly. share: of its inputs, from the first on."""
    found = DOORS[name]
    with tempfile.TemporaryDirectory(prefix="sinkscope-fuzz-") as folder, contextlib.chdir(folder):
        place = Path(folder)
        answer = found.make(place)
        for number in range(max(1, round(found.count * share))):
            began = time.monotonic()
            try:
                answer(random.Random(f"{name} {seed} {number}"))
            except (UserError, ValidationError) as refusal:
                told = sentence(refusal) if isinstance(refusal, ValidationError) else str(refusal)
                try:
                    require_readable(told)
                except Wrong as error:
                    yield f"{name} {seed} {number}: {error}"
            except Exception as error:
                yield f"{name} {seed} {number}: {type(error).__name__}: {str(error)[:500]!r}"
            seconds = time.monotonic() - began
            if seconds > SECONDS:
                yield f"{name} {seed} {number}: answered after {seconds:.0f} s"


@contextlib.contextmanager
def silent() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """What is printed meanwhile: to stdout, and to stderr."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        yield out, err


def main() -> int:
    """Run the doors that the command line names, or all."""
    from tests.fuzz import door_files, door_servers, door_words  # noqa: F401  each adds its doors

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=f"one of {', '.join(DOORS)}; all by themselves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=float, default=1.0, help="the share of each door's inputs")
    options = parser.parse_args()
    inputs = wrong = 0
    home = tempfile.TemporaryDirectory(prefix="sinkscope-fuzz-home-")
    os.environ["SINKSCOPE_HOME"] = home.name  # nobody's own store
    for name in options.doors or DOORS:
        began, answered = time.monotonic(), list(run(name, options.seed, options.part))
        count = max(1, round(DOORS[name].count * options.part))
        print(f"{name}: {count} inputs, {len(answered)} wrong, {time.monotonic() - began:.0f} s", flush=True)
        print("".join(f"  {line}\n" for line in answered), end="", flush=True)
        inputs, wrong = inputs + count, wrong + len(answered)
    home.cleanup()
    print(json.dumps({"seed": options.seed, "inputs": inputs, "wrong": wrong}))
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.modules.setdefault("tests.fuzz.doors", sys.modules[__name__])  # the doors add themselves to these
    sys.exit(main())
