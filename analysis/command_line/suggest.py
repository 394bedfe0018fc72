"""`python -m analysis suggest`: search the discount that costs the model least."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import outputs
from analysis.command_line.flags import Fields, as_json, show
from analysis.command_line.running import runner
from analysis.findings import finding_of
from analysis.specs import OBJECTIVES, SuggestSpec
from analysis.statistics.differences import points
from analysis.words import percent

if TYPE_CHECKING:
    from analysis.jobs.summaries import SuggestSummary

ASKED = Fields(SuggestSpec, named={"calibration.seed": "calibration_seed"})
FLAGS = (as_json(), ASKED)


def run(options: argparse.Namespace) -> int:
    """Search."""
    spec = ASKED.build(options)
    with outputs.workplace(Path(tempfile.gettempdir()), "sinkscope") as folder, runner(folder, options) as jobs:
        summary = jobs.run("suggest", spec).summary
    return show(options, summary, _lines(summary))


def _lines(summary: "SuggestSummary") -> Iterator[str]:
    objective = OBJECTIVES[summary["objective"]]
    assert summary["best"] is not None  # of at least two trials
    trials, best = summary["trials"], summary["trials"][summary["best"]]
    seeds = f"seed {summary['seed']}, calibration seed {summary['calibration_seed']}"
    yield f"{len(trials)} trials by {objective.title}, {seeds}"
    for name, row in {"best": best, **{row["name"]: row for row in trials if row["name"]}}.items():
        setting = ", ".join(f"{key} {value}" for key, value in row["discount"].items())
        yield f"  {name:<12} {percent(row['value'], 4)}  trial {row['number']}: {setting}"
    floor = summary["floor"]
    if floor is not None:
        bits = "" if floor["changed"] is None else f", {percent(floor['changed'], 2)} of the mask bits change"
        yield (
            f"  {'another seed':<12} {percent(floor['value'], 4)}  no discount with calibration seed "
            f"{floor['seed']}{bits}"
        )
    none = next((row["value"] for row in trials if row["name"] == "no discount"), None)
    finding = finding_of(
        "trials",
        [row["value"] for row in trials],
        trials[0]["value"],
        none,
        1 if objective.maximise else -1,
        objective.decimals,
        None if floor is None else floor["value"],
    )
    yield finding or "No setting tried is better than the published one and no discount in the digits shown."
    shares = ", ".join(f"{name} {percent(share, 0)}" for name, share in summary["importance"].items())
    yield f"importance: {shares or 'too few trials that differ'}"
    for row in (summary["comparison"] or {}).get("differences", ()):
        if row["task"] == "average":
            yield (
                f"  {row['setting']} − {row['than']} on {row['n']} items that no trial has seen: "
                f"{points(row['value'])} points [{points(row['low'])}, {points(row['high'])}], {row['words']}"
            )
    for note in summary["notes"]:
        yield f"note: {note}"
