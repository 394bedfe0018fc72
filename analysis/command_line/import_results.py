"""`python -m analysis import`: compare what lm-eval wrote elsewhere, item by item."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.evaluate import print_summary, refusal
from analysis.command_line.flags import Terminal, folder_beside
from analysis.command_line.verb_flags import Fields, as_json, flag, out, overwrite
from analysis.evaluation import items_file
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
    """Reads and compares, and writes a summary and, beside it, a line for every item and answer."""
    out: Path = options.out
    outputs.check(out, options.overwrite, refusal)
    items = out.with_suffix(".items.jsonl")
    outputs.check(items, options.overwrite, items_file.refusal)
    spec = ASKED.build(options)
    from analysis.jobs.importing import import_results

    with folder_beside(out, "import") as folder:
        with Terminal(folder) as context:
            outcome = import_results(spec, context)
        assert outcome.file is not None
        results, whole = read(outcome.file), folder / "summary.json"
        pairs: list[dict[str, Any]] = [
            {"models": [results.names[0], name], "items": disagreements(results, 0, number)}
            for number, name in enumerate(results.names)
            if number
        ]
        numbers = {**outcome.summary, "disagreements": pairs}
        text = json.dumps({**numbers, "parameters": spec.model_dump(mode="json")}, indent=1, ensure_ascii=False)
        whole.write_text(text + "\n", encoding="utf-8")
        outputs.place(outcome.file, items, options.overwrite, items_file.refusal)
        outputs.place(whole, out, options.overwrite, refusal)
    if options.json:
        print(json.dumps({"out": str(out), "items": str(items), **numbers}, ensure_ascii=False))
        return 0
    print_summary(outcome.summary)
    for pair in pairs:
        print(f"{pair['models'][0]} and {pair['models'][1]} choose differently on {len(pair['items'])} items, in {out}")
    print(f"{out}: {outcome.summary['answers']} answers")
    return 0
