"""Doors that take words: the command line, specs of jobs and addresses, the environment, exported tables."""

import argparse
import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from analysis.__main__ import VERBS, _parser, main
from analysis.engine.permissions import Places, check_named
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.specs import CalibrationParams, EvaluateSpec, ImportSpec, ModelSpec, PruneSpec, RecordSpec, SuggestSpec
from analysis.table_files import csv_of_rows, csv_of_table
from cache import environment
from tests.fuzz import hostile
from tests.fuzz.doors import door, require, require_readable, silent

_NEEDED = {
    "record": ["--prompt", "a", "--out", "o.safetensors"],
    "sinks": ["--out", "o"],
    "ablate": ["--out", "o"],
    "inspect": ["--out", "o"],
    "prune": ["--out", "o"],
    "evaluate": ["--out", "o.json"],
    "import": ["no-such-folder", "--out", "o.json"],
    "sweep": ["--out", "o"],
    "study": ["--out", "o"],
}


def _flags(verb: str) -> list[str]:
    """The flags of a verb that take part here."""
    (verbs,) = (action for action in _parser([verb])._actions if isinstance(action, argparse._SubParsersAction))
    listed: argparse.ArgumentParser = verbs.choices[verb]
    return [
        flag for flag in listed._option_string_actions if flag.startswith("--") and flag not in ("--help", "--json")
    ]


@door(620)
def command_line(place: Path) -> Callable[[random.Random], None]:
    """A verb with words that are none. Its model is not there, so whatever is taken ends before any work."""
    flags = {verb: _flags(verb) for verb in VERBS if verb != "models"}

    def answer(dice: random.Random) -> None:
        verb = dice.choice(list(flags)) if dice.random() < 0.95 else dice.choice(["", "nonsense", "--", "-x"])
        words = [verb, *_NEEDED.get(verb, [])]
        for _ in range(dice.randrange(1, 4)):
            flag = dice.choice(flags.get(verb, ["--x"])) if dice.random() < 0.9 else f"--{hostile.argument(dice)}"
            value = hostile.argument(dice)
            words += [f"{flag}={value}"] if dice.random() < 0.5 else [flag, value]
        if dice.random() < 0.1:
            words.insert(dice.randrange(len(words)), hostile.argument(dice))
        if verb not in ("import", ""):
            words += ["--model", "./no-such-model"]  # the last one counts: nothing is loaded
        if any(word in ("-h", "--help", "--json", "models") for word in words):
            return
        with silent() as (out, err):
            code = main(words)
        told = err.getvalue().splitlines()
        require(code == 2, f"{words!r:.300}: exit {code}: {err.getvalue()[-300:]}")
        require(out.getvalue() == "", f"{words!r:.300} printed {out.getvalue()[:100]}")
        errors = [line for line in told if line.startswith("error: ")]
        require(len(errors) == 1 and told[-1] == errors[0], f"{words!r:.300}: {told!r:.500}")
        require_readable(errors[0].removeprefix("error: "))
        require(not list(place.iterdir()), f"{words!r:.300} left {[file.name for file in place.iterdir()]}")

    return answer


@door(600)
def specs(place: Path) -> Callable[[random.Random], None]:
    """Fields of a job as addresses, stored rows and pages give them."""

    def answer(dice: random.Random) -> None:
        spec: Any = JOBS[dice.choice(list(JOBS))].spec
        names = list(spec.model_fields)
        given: dict[str, Any] = {
            dice.choice(names or ["a"]): hostile.json_value(dice) for _ in range(dice.randrange(1, 4))
        }
        if dice.random() < 0.1:
            given[hostile.text(dice)[:40]] = 1
        made = spec.model_validate(given)
        again = spec.model_validate(made.model_dump(mode="json"))
        require(
            again.model_dump_json() == made.model_dump_json(), f"{spec.__name__} {given!r:.200} is another when stored"
        )

    return answer


@door(160)
def variables(place: Path) -> Callable[[random.Random], None]:
    """Environment variables."""

    def answer(dice: random.Random) -> None:
        row = environment.VARIABLES[dice.choice(list(environment.VARIABLES))]
        given = hostile.argument(dice) if dice.random() < 0.7 else dice.choice(hostile.NUMBERS)
        try:
            row.read(given)
        except ValueError:  # which `environment.value` makes a sentence of
            require(bool(row.expected), f"{row.name} does not say what it expects")

    return answer


@door(300)
def visitors(place: Path) -> Callable[[random.Random], None]:
    """Places that a visitor of a shared server names: none is opened beyond the folders of its list."""
    store, listed = place / "store", place / "listed"
    for folder in (store / "kept", listed / "tasks", place / "secret"):
        folder.mkdir(parents=True)
    (listed / "link").symlink_to(place / "secret")
    places = Places(hub=frozenset(["owner/name"]), read=(listed,), write=(listed / "out",), tasks=(listed / "tasks",))
    outside = (
        *("", " ", ".", "..", "/", "~", "~/x", "~nouser/x", "/etc", "a\0b", "x" * 5000),
        *(str(place / "secret"), str(listed / "link" / "x"), str(listed / ".." / "secret"), str(place / "listed-2")),
        str(store / "kept"),
    )

    def answer(dice: random.Random) -> None:
        named = dice.choice(outside) + dice.choice(("", "/", "/../secret", "/."))
        models = ModelSpec(source=named) if named.strip() else ModelSpec(source="/etc")
        jobs: tuple[Callable[[], Any], ...] = (
            lambda: RecordSpec(model=models),
            lambda: EvaluateSpec(include_path=named),
            lambda: SuggestSpec(include_path=named),
            lambda: PruneSpec(out=named or "/etc", overwrite=True),
            lambda: ImportSpec(folders=(named or "/etc",)),
            lambda: PruneSpec(calibration=CalibrationParams(data=named or "/etc/passwd")),
        )
        job = dice.choice(jobs)
        try:
            check_named(job(), places, ("bundled",))
        except (UserError, ValidationError):
            return
        require(False, f"{named!r} was let through by {job()!r:.200}")

    return answer


@door(200)
def tables(place: Path) -> Callable[[random.Random], None]:
    """Tables that are exported: a spreadsheet runs no cell, and every cell is there."""

    def answer(dice: random.Random) -> None:
        rows = [{"text": hostile.text(dice)[:200], "mass": dice.random() - 0.5} for _ in range(dice.randrange(1, 5))]
        texts = [str(row["text"]).encode("utf-8", "replace").decode() for row in rows]
        for row, value in zip(rows, texts, strict=True):
            row["text"] = value
        for written in (csv_of_table(pd.DataFrame(rows)), csv_of_rows(rows)):
            read = list(csv.reader(io.StringIO(written.replace("\0", ""), newline="")))
            require(len(read) == len(rows) + 1, f"{texts!r:.200} became {len(read) - 1} rows")
            for (cell, _), value in zip(read[1:], texts, strict=True):
                require(
                    cell.removeprefix("'") == value.replace("\0", "").removeprefix("'"),
                    f"{value!r:.200}: {cell!r:.200}",
                )
                is_number = _is_number(cell)
                require(
                    is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), f"{cell!r:.200} is a formula"
                )
        json.dumps(rows)

    return answer


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
