"""`python -m analysis import`: compare what lm-eval wrote elsewhere, item by item."""

import argparse
import json
from pathlib import Path
from typing import Any, cast

from analysis import outputs
from analysis.command_line.evaluate import print_summary, refusal
from analysis.command_line.flags import folder_beside, listed_words
from analysis.evaluation import items_file
from analysis.evaluation.importing import import_folders, write
from analysis.evaluation.tables import disagreements, summary
from analysis.jobs.summaries import EvaluateSummary


def add(verbs: Any) -> None:
    """The verb and its flags."""
    verb = verbs.add_parser("import", help="compare what lm-eval wrote elsewhere with --log_samples")
    verb.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="an --output_path of lm-eval")
    verb.add_argument(
        "--names", type=listed_words, default=(), metavar="A,B", help="what to call the models, with commas between"
    )
    verb.add_argument(
        "--beside",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="items files (.items.jsonl) of evaluations made here, whose models come first",
    )
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .json file to write")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    verb.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(options: argparse.Namespace) -> int:
    """Reads and compares, and writes a summary and, beside it, a line for every item and answer."""
    out: Path = options.out
    outputs.check(out, options.overwrite, refusal)
    items = out.with_suffix(".items.jsonl")
    outputs.check(items, options.overwrite, items_file.refusal)
    results = import_folders(options.folders, options.names, options.beside)
    numbers = summary(results)
    numbers["disagreements"] = [
        {"models": [results.names[0], name], "items": disagreements(results, 0, number)}
        for number, name in enumerate(results.names)
        if number
    ]
    request = {
        "folders": list(map(str, options.folders)),
        "names": list(options.names),
        "beside": list(map(str, options.beside)),
    }
    with folder_beside(out, ".import-") as folder:
        lines, whole = folder / items_file.DOCUMENTS, folder / "summary.json"
        write(results, lines)
        text = json.dumps({**numbers, "parameters": request}, indent=1, ensure_ascii=False)
        whole.write_text(text + "\n", encoding="utf-8")
        outputs.place(lines, items, options.overwrite, items_file.refusal)
        outputs.place(whole, out, options.overwrite, refusal)
    if options.json:
        print(json.dumps({"out": str(out), "items": str(items), **numbers}, ensure_ascii=False))
        return 0
    print_summary(cast(EvaluateSummary, numbers))
    for pair in numbers["disagreements"]:
        print(f"{' and '.join(pair['models'])} choose differently on {len(pair['items'])} items, listed in {out}")
    print(f"{out}: {numbers['answers']} answers")
    return 0
