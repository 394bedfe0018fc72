"""A job that one test adds, as anyone would: a spec, a function, a summary and a row. Its workers load this file."""

import argparse
import json
from pathlib import Path
from typing import Any, TypedDict

from analysis.__main__ import Verb
from analysis.command_line.flags import Fields, Terminal
from analysis.job_context import Context
from analysis.jobs import JOBS, Job, Outcome, result_key
from analysis.models.resident import resident_model
from analysis.specs import JobSpec, parameter


class CountSpec(JobSpec):
    """Count the tokens of a text."""

    text: str = parameter(..., "Text", "What is counted.", min_length=1)
    times: int = parameter(1, "Times", "How often it is counted.", ge=1, le=9)


class CountSummary(TypedDict):
    """counted_before: whether an earlier count of this text was found."""

    tokens: int
    counted_before: bool


class CountPartial(TypedDict, total=False):
    """so_far: tokens of the counts that are done."""

    so_far: list[int]


def count(spec: CountSpec, context: Context) -> Outcome[CountSummary]:
    """Counts, and keeps the count for whoever asks about that text again."""
    model = resident_model(spec.model, context)
    known = context.stores.responses.get(spec.text)
    counts: list[int] = []
    for number in range(spec.times):
        context.progress("counting", number, spec.times, so_far=list(counts))
        counts.append(len(model.encode(spec.text, "off")[0]))
    context.progress("counting", spec.times, spec.times, so_far=list(counts))
    context.stores.responses.put(spec.text, {"tokens": counts[-1]})
    file = context.folder / "counts.json"
    file.write_text(json.dumps(counts))
    summary: CountSummary = {"tokens": counts[-1], "counted_before": known is not None}
    return Outcome(summary, file, result_key(count, spec, model.fingerprint))


ROW = Job("count", "Count tokens", count, CountSpec)


def dask_setup(worker: Any) -> None:
    """Called in each worker before its first job."""
    JOBS.add(ROW)


# --- its verb -----------------------------------------------------------------------------------------------------


ASKED = Fields(CountSpec)
FLAGS = (ASKED,)


def run(options: argparse.Namespace) -> int:
    spec = ASKED.build(options)
    with Terminal(Path.cwd()) as context:
        print(json.dumps(count(spec, context).summary))
    return 0


VERB = Verb("count the tokens of a text", __name__)
