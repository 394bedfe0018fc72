"""`python -m analysis study`: do sinks matter in a model, and does discounting them help pruning?"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import (
    MODEL,
    QUICK,
    Fields,
    a_path,
    as_json,
    estimate,
    flag,
    folder_beside,
    out,
    overwrite,
    path_text,
    reference,
    show,
    size,
)
from analysis.command_line.prompts import own_settings, reference_of
from analysis.command_line.running import aligned, anchored, check_out, engine_of, estimated, follow, require_done, say
from analysis.command_line.sweep import foreseen
from analysis.errors import UserError
from analysis.specs import SIZES, ModelSpec, StudySpec

if TYPE_CHECKING:
    from analysis.engine import Engine, JobRecord
    from analysis.study.findings import Findings


ASKED = Fields(StudySpec, " In the size chosen it may be another.", without=("prompts",))
FLAGS = (
    reference(StudySpec),
    size(SIZES),
    flag("--prompt", of=(StudySpec, "prompt"), metavar="TEXT"),
    out("FOLDER", "the folder to write the report, figures and tables to", required=False),
    overwrite("a folder"),
    flag(
        "--prompts",
        type=path_text,
        metavar="FILE",
        help="prompts of your own, on which sinks are looked for and hidden: a text file with one a line, or a .jsonl "
        "file with 'prompt' and, for prompts that are alike, a common 'cluster' in each line",
    ),
    flag("--prompt-count", of=(StudySpec, "prompts"), dest="count", type=int, metavar="N"),
    flag(
        "--plan",
        type=a_path,
        metavar="FILE",
        help="freeze outcome, contrasts, margins, sizes and seeds in this file, with a hash, before anything runs. A "
        "file that is there is followed: flags that say otherwise are departures, which the report lists.",
    ),
    estimate("say what it will take, and do no more"),
    as_json("the verdict"),
    ASKED,
)


def spec_of(options: argparse.Namespace) -> StudySpec:
    """Return the spec for the flags. Raises pydantic's ValidationError for contradictory flags."""
    model = MODEL.build(options)
    from analysis.engine.studies import new_study

    return new_study(model, options.size or QUICK, **_changes(options, model))


def _changes(options: argparse.Namespace, model: ModelSpec) -> dict[str, Any]:
    """The settings that flags name. Raises UserError for prompts that cannot be read."""
    changes: dict[str, Any] = {**ASKED.given(options), **reference_of(options, model)}
    if options.prompt is not None:
        changes["prompt"] = options.prompt
    prompts, count = options.prompts, options.count
    if prompts is not None and prompts.isdecimal() and not Path(prompts).is_file():
        say(f"Read --prompts {prompts} as --prompt-count {prompts}; --prompts now names a file.")
        count = int(prompts) if count is None else count
        prompts = None
    return changes | own_settings(prompts, count, "prompts")


def planned(options: argparse.Namespace) -> StudySpec:
    """Return the study with its plan: that in --plan's file, if it exists, overridden by the flags; else a new one.

    Raises UserError for a file without a plan, and for a plan that was changed.
    """
    if options.plan is None:
        return spec_of(options)
    from analysis.study import registration

    if not options.plan.exists():
        spec = spec_of(options)
        plan = registration.register(spec)
        registration.write(plan, options.plan)
        say(f"{options.plan}: planned, SHA-256 {plan.digest}")
        return spec.model_copy(update={"registration": plan})
    plan = registration.read(options.plan)
    model = ModelSpec.model_validate(plan.settings["model"])
    model = ModelSpec.model_validate(model.model_dump() | MODEL.given(options))
    changes = {"model": model, **_changes(options, model)}
    spec = StudySpec.model_validate(plan.settings | changes | {"registration": plan})
    for told in registration.of_settings(plan, spec):
        say(f"Departs from the plan. {told}")
    return spec


def run(options: argparse.Namespace) -> int:
    """Run the study on all devices and write its results; the same command resumes an interrupted run."""
    check_out(options, refusal)
    spec = planned(options)
    from analysis.engine.studies import sweep_of
    from analysis.evaluation import planning
    from analysis.study import plans
    from analysis.study.cost_estimate import foresee_study, lines, why_not
    from analysis.study.findings import EXAMPLE, read

    problem = why_not(spec)
    if problem and not options.estimate:
        raise UserError(problem)

    with engine_of(options, spec.models) as engine:
        spec = anchored(spec) if engine.scheduler else spec
        example = read(EXAMPLE) if EXAMPLE.is_file() else None
        if options.estimate:
            _say_plans(engine, spec, example)
        foreseen(engine, sweep_of(spec))  # measures unknown costs first
        shown = plans.plan_of(spec, plans.noise_of(spec, example))
        told = [] if shown is None else [planning.in_words(shown)]
        told += [*lines(foresee_study(engine, spec, example)), *filter(None, [problem])]
        for line in told:
            say(line)
        if options.estimate:
            return estimated(options, told)
        record = follow(engine, engine.submit("study", spec))
        return _finished(engine, record, options)


def _say_plans(engine: "Engine", spec: StudySpec, example: "Findings | None") -> None:
    """Print what every size can show, rule out and cost, hours by benchmark and card if they are computed, and cheaper
    studies.
    """
    from analysis.models.checkpoint import describe
    from analysis.models.registry import entry
    from analysis.study import plans

    if entry(spec.model.source) is None:
        describe(spec.model)  # raises UserError for anything but a model
    noise = plans.noise_of(spec, example)
    sizes = plans.sizes_of(engine, spec.model, example, spec)
    say(aligned(plans.sizes_table(sizes)))
    say(plans.how_planned(noise))
    if any(one.computed for one in sizes if one.spec == spec):
        say(aligned(plans.hours_table(spec)))
    for line in plans.designs_in_words(spec, plans.designs(spec, noise)):
        say(line)


def _finished(engine: "Engine", record: "JobRecord", options: argparse.Namespace) -> int:
    """Write and print the results, even if some parts failed."""
    from analysis.exhibits.study_report import REPORT, write_folder
    from analysis.study import rules
    from analysis.study.gather import gather

    findings = gather(record, engine)
    with folder_beside(options.out, "study") as folder:
        whole = folder / "study"
        whole.mkdir()
        missing = write_folder(findings, whole)
        note = outputs.place(whole, options.out, options.overwrite, refusal)
    verdicts, answer = rules.verdicts(findings), rules.answer(findings)
    result = {"answer": answer, "verdicts": [asdict(verdict) for verdict in verdicts]}
    lines = [
        *answer,
        *(f"{verdict.title} {verdict.sentence} {verdict.numbers}" for verdict in verdicts),
        *filter(None, (note, missing)),
        f"{options.out}: {REPORT}, the verdict, and all figures and tables",
    ]
    show(options, {"out": str(options.out), "state": record.state, **result}, lines)
    require_done(record, "study", "tries it again")
    return 0


def _wrote(folder: Path) -> bool:
    from analysis.exhibits.study_report import NUMBERS

    return str(outputs.json_object(folder / NUMBERS).get("format", "")).startswith("sinkscope-study-")


refusal = outputs.folder_refusal(
    _wrote, outputs.with_suffix(".json", ".jsonl", ".csv", ".html", ".txt", ".png", ".svg")
)
"""Why a study may not replace a path, as the end of a sentence; "" if it may."""
