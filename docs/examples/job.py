"""Add a job, one row in `JOBS`, and a verb of the command line, one row in `VERBS`.

A job is a spec and a function that takes it and a context and declares its summary. At every step the function reports
its progress, which is where it stops when it is cancelled. A verb is one module with `FLAGS` and `run`.
"""

from argparse import ArgumentParser
from pathlib import Path
from tempfile import mkdtemp
from typing import TypedDict

from analysis.command_line.flags import Fields, Terminal, add_flags, as_json
from analysis.job_context import Context
from analysis.jobs import JOBS, Job, Outcome, result_key
from analysis.models.resident import resident_model
from analysis.specs import JobSpec, parameter


class CountSpec(JobSpec):
    """Count the tokens of a text."""

    text: str = parameter(..., "Text", "What is counted.", min_length=1)


class CountSummary(TypedDict):
    tokens: int


def count(spec: CountSpec, context: Context) -> Outcome[CountSummary]:
    context.progress("counting", 0, 1)
    model = resident_model(spec.model, context)
    summary: CountSummary = {"tokens": len(model.encode(spec.text, "off")[0])}
    return Outcome(summary, key=result_key(count, spec, model.fingerprint))


JOBS.add(Job("count", "Count tokens", count, CountSpec, stored=False))

with Terminal(Path(mkdtemp())) as context:  # what the engine does in a worker
    run = JOBS["count"].run
    assert run is not None and run(CountSpec(text="mia has a dog ."), context).summary["tokens"] > 4

ASKED = Fields(CountSpec)  # of the verb's module, with run(options), which begins with ASKED.build(options)
FLAGS = (as_json(), ASKED)

parser = ArgumentParser()
add_flags(parser, FLAGS)
typed = parser.parse_args(["--text", "mia has a dog .", "--device", "cpu"])
assert ASKED.build(typed).model.device == "cpu"
