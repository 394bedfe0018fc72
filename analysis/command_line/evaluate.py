"""`python -m analysis evaluate`: score models on benchmark tasks, item by item."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import MODEL, Fields, as_json, flag, folder_beside, out, overwrite, show
from analysis.command_line.running import check_out, runner
from analysis.evaluation import items_file, planning
from analysis.evaluation.conditions import RELATIONS
from analysis.evaluation.presets import known_sizes
from analysis.evaluation.tables import CHANCE
from analysis.specs import EvaluateSpec, PlanParams, Spec
from analysis.statistics.differences import points
from analysis.words import interval_decimals, p_words, percent

if TYPE_CHECKING:
    from analysis.jobs import Outcome
    from analysis.jobs.summaries import EvaluateSummary, ImportSummary

ASKED, PLAN = Fields(EvaluateSpec), Fields(PlanParams, " For the plan that is printed at the start.")
FLAGS = (
    flag("--compare", of=(EvaluateSpec, "compare"), nargs="+", default=[], metavar="SRC"),
    out("FILE", "the .json file to write"),
    overwrite("a file"),
    as_json(),
    ASKED,
    PLAN,
)


def spec_of(options: argparse.Namespace) -> EvaluateSpec:
    """Return the spec for the flags. Raises pydantic's ValidationError for contradictory flags."""
    compare = tuple(MODEL.build(options, source=source) for source in options.compare)
    return ASKED.build(options, compare=compare)


def run(options: argparse.Namespace) -> int:
    """Evaluate; write a summary and, beside it, a line for every item and answer."""
    check_files(options)
    spec = spec_of(options)
    for sentence in _planned(spec, PLAN.build(options)):
        print(f"plan: {sentence}", file=sys.stderr)
    with folder_beside(options.out, "evaluation") as folder:
        with runner(folder, options) as jobs:
            outcome = jobs.run("evaluate", spec)
        counted = f"{outcome.summary['answers']} answers, {outcome.summary['restored']} of them known before"
        return write_files(options, folder, spec, outcome, outcome.summary, [f"{options.out}: {counted}"])


def check_files(options: argparse.Namespace) -> None:
    """Raise UserError where the summary or the file of items beside it may not be written."""
    check_out(options, refusal)
    outputs.check(_items_file(options), options.overwrite, items_file.refusal)


def write_files(
    options: argparse.Namespace,
    folder: Path,
    spec: Spec,
    outcome: "Outcome[Any]",
    numbers: Mapping[str, Any],
    lines: Sequence[str],
) -> int:
    """Put the summary and the file of items in place, and print them. Returns the exit code.

    folder: a temporary one beside them. numbers: the summary as written. lines: printed after its contents.
    """
    items, whole = _items_file(options), folder / "summary.json"
    outputs.write_json(whole, {**numbers, "parameters": spec.model_dump(mode="json")})
    assert outcome.file is not None
    outputs.place(outcome.file, items, options.overwrite, items_file.refusal)
    outputs.place(whole, options.out, options.overwrite, refusal)
    told = {"out": str(options.out), "items": str(items), **numbers}
    return show(options, told, chain(summary_lines(outcome.summary), lines))


def _items_file(options: argparse.Namespace) -> Path:
    out: Path = options.out
    return out.with_suffix(".items.jsonl")


def _planned(spec: EvaluateSpec, params: PlanParams) -> list[str]:
    """Return what the comparison can show and what it would need, before anything runs; empty without a comparison."""
    if not spec.compare:
        return []
    tasks, unknown = known_sizes(spec.tasks)
    notes = [f"How many items there are is not known before they are read: {', '.join(unknown)}."] if unknown else []
    if not tasks:
        return notes
    tests = len(spec.compare) * (len(tasks) + (len(tasks) > 1))
    noise = planning.assumed(params)
    return [*planning.sentences(tasks, noise, params.target / 100, spec.limit, 1, tests), *notes]


refusal = outputs.file_refusal(
    lambda path: outputs.json_object(path).keys() >= {"models", "tasks", "answers", "parameters"}
)
"""Why a summary may not replace a path, as the end of a sentence; "" if it may."""


def summary_lines(summary: "EvaluateSummary | ImportSummary") -> Iterator[str]:
    """Yield accuracies, differences and notes on them, one per line."""
    for task in summary["tasks"]:
        yield f"{task['title']} ({task['estimated_by']})" if task["estimated_by"] else task["title"]
        if task["truncated"]:
            yield f"  note: {task['truncated']} prompts were too long for a model and were cut from the left"
        if task.get("chance") is not None:
            yield f"  {CHANCE:<24} {percent(task['chance'], 1)}"
        for row in task.get("models", ()):
            if row["n"]:
                yield (
                    f"  {row['model']:<24} {percent(row['value'], 1)} [{percent(row['low'], 1)}, "
                    f"{percent(row['high'], 1)}] of {_items(row)}"
                )
        bound = " (ELBO bound)" if task["draws"] is not None else ""  # imported scores may be exact
        for row in task.get("perplexity", ()):
            yield f"  {row['model']:<24} perplexity {row['perplexity a word']:.2f} a word{bound}"
        yield from _differences(task.get("differences", ()))
    if len(summary["tasks"]) > 1:
        yield "average over tasks"
        for row in summary["average"]:
            if row["n"]:
                yield (
                    f"  {row['model']:<24} {percent(row['value'], 1)} [{percent(row['low'], 1)}, "
                    f"{percent(row['high'], 1)}]"
                )
        yield from _differences(summary["average_differences"])
    for row in summary["over_seeds"]:
        yield row["in_words"]
    yield from _bounds(summary["bounds"])
    differing = {(row["model"], row["than"]): row["also_differs"] for row in summary["average_differences"]}
    for (model, than), what in differing.items():
        if what:
            yield f"note: between {model} and {than} not only the method differs: {what}"
    if len(summary["models"]) > 1:
        yield f"note: {summary['tests']['in_words']}"
    for note in (*summary["without_counterpart"], *summary["problems"]):
        yield f"note: {note}"


def _bounds(bounds: dict[str, Any]) -> Iterator[str]:
    rows = [row for row in bounds.get("models", ()) if row["nats a token"] is not None]
    if rows:
        yield f"negative log-likelihood of right answers ({bounds['unit']})"
    for row in rows:
        yield f"  {row['task']:<16} {row['model']:<24} {_nats(row)}"
    for row in bounds.get("differences", ()):
        if row["nats a token"] is not None:
            tested = "" if row["p (Holm)"] is None else f", {p_words(row['p (Holm)'])} (Holm)"
            yield f"  {row['task']:<16} {row['model']} − {row['than']}: {_nats(row)}{tested}, {row['verdict']}"


def _nats(row: dict[str, Any]) -> str:
    """Return `0.123 [0.101, 0.145]`, with as many digits as the interval supports."""
    value, low, high = row["nats a token"], row["low"], row["high"]
    decimals = 2 if low is None else interval_decimals(low, high)
    told = [f"{end:z.{decimals}f}".replace("-", "−") for end in (value, low, high) if end is not None]
    return told[0] if low is None else f"{told[0]} [{told[1]}, {told[2]}]"


def _items(row: dict[str, Any]) -> str:
    """`504`, or `504 in 77 clusters`."""
    return str(row["n"]) if row["clusters"] == row["n"] else f"{row['n']} in {row['clusters']} clusters"


def _differences(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        if not row["n"]:
            continue
        relations = " and ".join(RELATIONS[relation] for relation in row["as"] if relation in RELATIONS)
        tested = "" if row["p_holm"] is None else f", {p_words(row['p_holm'])} (Holm)"
        yield (
            f"  {row['model']} − {row['than']}{relations and f' ({relations})'}: {points(row['value'])} points "
            f"[{points(row['low'])}, {points(row['high'])}]{tested}, {row['words']}"
        )
