"""The command line: the same specs and the same jobs as the pages.

Progress goes to stderr, a summary to stdout (as JSON with --json). Whatever is wrong is one clear line: bad input exits
with 2, a fault of SinkScope's own with 1 and the name of a file with the traceback.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import traceback

from pydantic import ValidationError

from analysis import threads
from analysis.command_line import (
    ablate,
    evaluate,
    import_results,
    inspect_prompts,
    models,
    prune,
    record,
    sinks,
    study,
    suggest,
    sweep,
)
from analysis.engine.worker import reason
from analysis.errors import UserError, os_sentence
from analysis.specs import sentence
from cache import environment

VERBS = {
    "models": models,
    "record": record,
    "sinks": sinks,
    "ablate": ablate,
    "inspect": inspect_prompts,
    "prune": prune,
    "evaluate": evaluate,
    "import": import_results,
    "suggest": suggest,
    "sweep": sweep,
    "study": study,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb. Returns the exit code: 0 done, 1 a fault of SinkScope's, 2 bad input, 130 interrupted."""
    _print_anything()
    try:
        _require_text(sys.argv[1:] if arguments is None else arguments)
        problems = environment.problems()
        if problems:
            raise UserError(" ".join(problems))
        options = _parser().parse_args(arguments)
        threads.prepare()
        return VERBS[options.verb].run(options)
    except ValidationError as error:
        return _fail(sentence(error))
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has gone, as `head` does. Nothing more may be written, at the exit either.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        return _fail(os_sentence(error))
    except Exception as error:
        return _fail(f"SinkScope met an error of its own: {reason(error)}. {_keep_traceback()}", 1)


def _fail(text: str, code: int = 2) -> int:
    """Prints one line."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _keep_traceback() -> str:
    """Writes the traceback to a file and says where it is."""
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
    """Raises UserError for an argument that is not text: it could be neither tokenized nor written down."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = argument.encode(errors="backslashreplace").decode()
            raise UserError(f"The argument '{shown}' is not UTF-8 text. Give text, and names that are text.") from None


def _print_anything() -> None:
    """Makes a terminal that knows few letters show the others as codes rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Attention sinks in diffusion language models."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for module in VERBS.values():
        module.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
