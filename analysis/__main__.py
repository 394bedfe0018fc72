"""The command line: the same specs and the same jobs as the pages.

Progress goes to stderr, a summary to stdout (as JSON with --json). Every error is one clear line: bad input exits with
2, a fault of SinkScope's own with 1 and the name of a file with the traceback.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from pydantic import ValidationError

from analysis.errors import UserError, os_sentence, shorten, system_error
from analysis.program import INSTALLED, PROGRAM
from cache import environment

_PROGRAM = " ".join(PROGRAM)
_LONGEST_VALUE = 80  # characters of a value of the command line that a message repeats
_LONGEST_SENTENCE = 2000  # characters of a message


@dataclass(frozen=True)
class Verb:
    """A verb. help: for the list of verbs. module: has `FLAGS`, rows of verb_flags.py, and `run`, and is imported at
    first use. runs_jobs: True if --scheduler can send its jobs elsewhere.
    """

    help: str
    module: str
    runs_jobs: bool = True


VERBS = {
    "models": Verb("list the models offered by name", "analysis.command_line.models", False),
    "record": Verb("denoise prompts and record their attention mass", "analysis.command_line.record"),
    "sinks": Verb("record many prompts and write where the sinks are and how they move", "analysis.command_line.sinks"),
    "ablate": Verb("denoise many prompts without their sinks, beside matched controls", "analysis.command_line.ablate"),
    "evict": Verb(
        "denoise many prompts with a part of the keys and values, beside matched controls",
        "analysis.command_line.evict",
    ),
    "inspect": Verb("look inside a model at its sinks, over prompts", "analysis.command_line.inspect_prompts"),
    "claims": Verb("test on a model what the field says about sinks", "analysis.command_line.claims"),
    "prune": Verb("remove weights and write the pruned checkpoint to a folder", "analysis.command_line.prune"),
    "evaluate": Verb("score models on benchmark tasks", "analysis.command_line.evaluate"),
    "import": Verb(
        "compare results that lm-eval wrote with --log_samples", "analysis.command_line.import_results", False
    ),
    "suggest": Verb("search for the sink discount that costs the model least", "analysis.command_line.suggest"),
    "sweep": Verb("prune with many settings and evaluate every pruned model", "analysis.command_line.sweep"),
    "merge": Verb("merge the shards of a sweep into one", "analysis.command_line.merge", False),
    "export": Verb("write everything a store knows as Parquet tables", "analysis.command_line.export", False),
    "demo": Verb("fill the store with examples for a demonstration", "analysis.command_line.demo"),
    "push": Verb(
        "upload a pruned folder, a recording or results to the Hugging Face hub", "analysis.command_line.push", False
    ),
    "study": Verb(
        "test whether sinks matter, and whether discounting them helps pruning", "analysis.command_line.study"
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Return the exit code: 0 done, 1 a fault of SinkScope's, 2 bad input, 130 interrupted."""
    _print_anything()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _require_text(arguments)
        problems = environment.problems()
        if problems:
            raise UserError(" ".join(problems))
        options = parsed(arguments)
        code: int = import_module(VERBS[options.verb].module).run(options)
        return code
    except ValidationError as error:
        from analysis.specs import sentence

        return _fail(_brief(sentence(error), arguments))
    except UserError as error:
        return _fail(_brief(str(error), arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does. Nothing more may be written, not even at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except Exception as error:
        refused = system_error(error)
        if refused is not None:
            return _fail(_brief(os_sentence(refused), arguments))
        from analysis.engine.worker import reason

        return _fail(f"SinkScope met an error of its own: {reason(error)}. {_keep_traceback()}", 1)


def _fail(text: str, code: int = 2) -> int:
    """Print one line."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _brief(text: str, arguments: Sequence[str]) -> str:
    """Shorten command line values repeated in a sentence: they may be as long as the system allows."""
    values = {value for argument in arguments for value in (argument, argument.partition("=")[2])}
    for value in sorted(values, key=len, reverse=True):
        if len(value) > _LONGEST_VALUE:
            for written in (value, repr(value)[1:-1], value.strip()):
                text = text.replace(written, shorten(value.strip(), _LONGEST_VALUE))
    return shorten(text, _LONGEST_SENTENCE)


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, like all others."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remember what is parsed, for the message on what is wrong with it."""
        self.given = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the message, and where the flags are listed."""
        number = re.fullmatch(r"argument (\S+): invalid (int|float) value: (.+)", message)
        flags = (argument.partition("=")[0] for argument in self.given if argument.startswith("--"))
        unknown = [flag for flag in flags if not any(name.startswith(flag) for name in self._option_string_actions)]
        if number is not None:
            kind = "a whole number" if number[2] == "int" else "a number"
            message = f"{number[1]} must be {kind}, not {number[3]}"
        elif unknown:
            message = f"Unknown argument: {' '.join(map(shorten, unknown))}"
        raise UserError(f"{message[0].upper()}{message[1:].rstrip('.')}. See {self.prog} --help.")


def _keep_traceback() -> str:
    """Write the traceback to a file and say where it is."""
    text = traceback.format_exc()
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="sinkscope-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        return "Its traceback is above; please report it."
    return f"Its traceback was written to {file.name}; please report it."


def _require_text(arguments: list[str]) -> None:
    """Raise UserError for an argument that is not text: it could be neither tokenized nor written down."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = argument.encode(errors="backslashreplace").decode()
            raise UserError(
                f"The argument '{shorten(shown)}' is not UTF-8 text. Give text, and names that are text."
            ) from None


def _print_anything() -> None:
    """Make a terminal with few characters show the others as codes rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line. Raises UserError for one that the verbs do not take, and SystemExit after --help."""
    options, unknown = _parser(arguments).parse_known_args(arguments)
    if unknown:
        raise UserError(f"Unknown argument: {' '.join(map(shorten, unknown))}. See {_PROGRAM} {options.verb} --help.")
    return options


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """All verbs, and the flags of the one that these arguments name."""
    parser = _Parser(
        prog=_PROGRAM,
        description="Attention sinks in diffusion language models.",
        epilog="Without a verb the dashboard starts; dashboard --port N chooses its port." if INSTALLED else None,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, verb in VERBS.items():
        verb_parser = verbs.add_parser(name, help=verb.help, description=f"{verb.help[0].upper()}{verb.help[1:]}.")
        if name == named:
            from analysis.command_line.flags import add_flags

            rows = import_module(verb.module).FLAGS
            last = (import_module("analysis.command_line.running").SCHEDULER,) if verb.runs_jobs else ()
            add_flags(verb_parser, (*rows, *last))
    return parser


if __name__ == "__main__":
    sys.exit(main())
