"""Shared parts of the verbs that run one job over many prompts and write a folder about it."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from analysis import outputs
from analysis.command_line.flags import MODEL, Fields, folder_beside
from analysis.command_line.prompts import prompts_of, sampling_of
from analysis.command_line.running import Runner, check_out, runner
from analysis.command_line.written_study import finish, refusal
from analysis.specs.ablation import PromptsSpec

SpecT = TypeVar("SpecT", bound=PromptsSpec)


def over_prompts(
    kind: str,
    asked: Fields[SpecT],
    write: Callable[[Path, SpecT, Any, list[str]], dict[str, Any]],
    nothing: str,
    estimate: Callable[[SpecT, Runner, argparse.Namespace], int] | None = None,
) -> Callable[[argparse.Namespace], int]:
    """Return the `run` of a verb that denoises every prompt: it runs the job over the prompts and writes the study.

    kind: of the job. asked: the verb's flags. write: fills an empty folder and returns the findings, under 'shown' as
    sentences by model. nothing: text for none. estimate: prints the cost of all prompts, from a few of them, for verbs
    with --estimate.
    """

    def run(options: argparse.Namespace) -> int:
        only_estimate = estimate is not None and options.estimate
        if not only_estimate:
            check_out(options, refusal)
        own = Path(tempfile.gettempdir())  # an estimate leaves nothing, and needs no folder
        with outputs.workplace(own, kind) if only_estimate else folder_beside(options.out, kind) as scratch:
            with runner(scratch, options) as jobs:
                prompts, notes = prompts_of(options, asked.given(options).get("seed", 0), jobs.context)
                model = MODEL.build(options)
                spec = asked.build(
                    options, model=model, prompts=prompts.texts, keys=prompts.keys, sampling=sampling_of(model, options)
                )
                if estimate is not None and only_estimate:
                    return estimate(spec, jobs, options)
                summary = jobs.run(kind, spec).summary
            return finish(
                options,
                scratch,
                lambda folder: write(folder, spec, summary, notes),
                lambda study: [
                    f"{model.source}: {summary['prompts']} prompts, {summary['seconds']:.0f} s.",
                    *(f"  {sentence}" for sentence in study["shown"][model.source] or [nothing]),
                ],
            )

    return run
