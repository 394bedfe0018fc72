"""`python -m analysis import`: compare lm-eval results from elsewhere, item by item."""

import argparse
from typing import Any

from analysis.command_line.evaluate import check_files, write_files
from analysis.command_line.flags import Fields, Terminal, as_json, flag, folder_beside, out, overwrite
from analysis.evaluation.results import read
from analysis.evaluation.tables import disagreements
from analysis.specs import ImportSpec

ASKED = Fields(ImportSpec)
FLAGS = (
    flag("folders", of=(ImportSpec, "folders"), nargs="+", metavar="FOLDER"),
    flag("--beside", of=(ImportSpec, "beside"), nargs="+", default=[], metavar="FILE"),
    out("FILE", "the .json file to write"),
    overwrite("a file"),
    as_json(),
    ASKED,
)


def run(options: argparse.Namespace) -> int:
    """Read and compare; write a summary and, beside it, a line for every item and answer."""
    check_files(options)
    spec = ASKED.build(options)
    from analysis.jobs.evaluation import import_results

    with folder_beside(options.out, "import") as folder:
        with Terminal(folder) as context:
            outcome = import_results(spec, context)
        assert outcome.file is not None
        results = read(outcome.file)
        pairs: list[dict[str, Any]] = [
            {"models": [results.names[0], name], "items": disagreements(results, 0, number)}
            for number, name in enumerate(results.names)
            if number
        ]
        lines = [
            f"{pair['models'][0]} and {pair['models'][1]} choose differently on {len(pair['items'])} items, in "
            f"{options.out}"
            for pair in pairs
        ]
        lines.append(f"{options.out}: {outcome.summary['answers']} answers")
        return write_files(options, folder, spec, outcome, {**outcome.summary, "disagreements": pairs}, lines)
