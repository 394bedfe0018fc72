"""`python -m analysis prune`: remove weights and write the pruned checkpoint."""

import argparse
import json
import tempfile
from pathlib import Path

from analysis import outputs
from analysis.calibration.own_noise import with_own_noise
from analysis.command_line.flags import add_flags, field_of, given, path_text
from analysis.command_line.running import placed_copy, runner, scheduler_of
from analysis.errors import UserError
from analysis.pruned import report_file
from analysis.specs import METHODS, PARTS, CalibrationParams, ModelSpec, PruneSpec, Spec


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
    seen = {*PARTS, "data", "out"}
    kinds: list[type[Spec]] = [PruneSpec, *PARTS.values(), ModelSpec]
    for spec in kinds:
        add_flags(parser, spec, "", seen)


def run(options: argparse.Namespace) -> int:
    """Prunes."""
    former = {"magnitude_over": options.magnitude_over} if "magnitude_over" in options else {}
    spec = PruneSpec.model_validate(
        {
            **former,
            "model": ModelSpec(source=options.model, **given(ModelSpec, options)),
            **{part: kind(**given(kind, options)) for part, kind in PARTS.items()},
            **{name: value for name, value in given(PruneSpec, options).items() if name not in PARTS},
        }
    )
    if spec.changes_nothing:
        raise UserError("The method none at 16 bits writes the model as it is. Set --bits, or choose a method.")
    outputs.check(Path(spec.out), spec.overwrite, report_file.refusal)
    if "noise" not in options and any(row.noised for row in spec.readers):
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
    sparsity, size = report["sparsity"], report["size"]
    if METHODS[spec.method].removes:
        print(
            f"{spec.out}: {sparsity['pruned_weights']:,} of {sparsity['weights']:,} weights removed "
            f"({sparsity['overall']:.1%}) by {spec.method}."
        )
    if spec.quantization.active:
        print(
            f"{spec.out}: {size['quantized']:,} of {size['weights']:,} weights quantized, "
            f"{spec.quantization.title}: {size['packed_bytes'] / 1e6:,.1f} MB by arithmetic in place of "
            f"{size['dense_bytes'] / 1e6:,.1f} MB."
        )
    for told in filter(None, (note, *report["notes"])):
        print(told)
    return 0
