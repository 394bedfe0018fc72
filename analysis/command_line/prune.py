"""`python -m analysis prune`: remove weights and write the pruned checkpoint."""

import argparse
import json
import tempfile
from pathlib import Path

from analysis import outputs
from analysis.calibration.own_noise import with_own_noise
from analysis.command_line.flags import add_flags, field_of, given, path_text
from analysis.command_line.running import placed_copy, runner, scheduler_of
from analysis.pruned import report_file
from analysis.specs import METHODS, CalibrationParams, DiscountParams, ModelSpec, PruneSpec, StepParams


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    parser.add_argument("--model", default="bundled", metavar="SRC", help=field_of(ModelSpec, "source").description)
    parser.add_argument(
        "--calibration",
        dest="data",
        default=argparse.SUPPRESS,
        metavar="TEXT",
        help=field_of(CalibrationParams, "data").description,
    )
    parser.add_argument(
        "--out", type=path_text, required=True, metavar="DIR", help=field_of(PruneSpec, "out").description
    )
    parser.add_argument("--magnitude-over", default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # of earlier versions
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    seen = {"calibration", "discount", "steps", "data", "out"}
    for spec in (PruneSpec, CalibrationParams, DiscountParams, StepParams, ModelSpec):
        add_flags(parser, spec, "", seen)


def run(options: argparse.Namespace) -> int:
    """Prunes."""
    former = {"magnitude_over": options.magnitude_over} if "magnitude_over" in options else {}
    spec = PruneSpec(
        **former,
        model=ModelSpec(source=options.model, **given(ModelSpec, options)),
        calibration=CalibrationParams(**given(CalibrationParams, options)),
        discount=DiscountParams(**given(DiscountParams, options)),
        steps=StepParams(**given(StepParams, options)),
        **{name: value for name, value in given(PruneSpec, options).items() if name != "calibration"},
    )
    outputs.check(Path(spec.out), spec.overwrite, report_file.refusal)
    if "noise" not in options and METHODS[spec.method].noised:
        spec = spec.model_copy(update={"calibration": with_own_noise(spec.calibration, spec.model)})
    note = ""
    with outputs.workplace(Path(tempfile.gettempdir()), "sinkscope") as folder, runner(folder, options) as jobs:
        if scheduler_of(options):
            outcome = jobs.run("prune", spec.model_copy(update={"out": "", "overwrite": False}))
            assert outcome.folder is not None
            note = placed_copy(outcome.folder, Path(spec.out), spec.overwrite, report_file.refusal)
        else:
            outcome = jobs.run("prune", spec)
    report = outcome.summary["report"]
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
        return 0
    sparsity = report["sparsity"]
    print(
        f"{spec.out}: {sparsity['pruned_weights']:,} of {sparsity['weights']:,} weights removed "
        f"({sparsity['overall']:.1%}) by {spec.method}."
    )
    for told in filter(None, (note, *report["notes"])):
        print(told)
    return 0
