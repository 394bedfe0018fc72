"""The command line: the same specs and the same jobs as the pages.

Progress goes to stderr, a summary to stdout (as JSON with --json). Bad input exits with 2 and one clear line.
"""

import argparse
import sys

from pydantic import ValidationError

from analysis.command_line import evaluate, models, prune, record, suggest
from analysis.errors import UserError
from analysis.specs import sentence

VERBS = {"models": models, "record": record, "prune": prune, "evaluate": evaluate, "suggest": suggest}


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb. Returns the exit code: 0 done, 2 bad input, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return VERBS[options.verb].run(options)
    except ValidationError as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 2


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
