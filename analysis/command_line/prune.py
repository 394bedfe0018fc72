"""`python -m analysis prune`: remove weights and write the pruned checkpoint."""

import argparse
import tempfile
from pathlib import Path

from analysis import outputs
from analysis.calibration.noise import with_own_noise
from analysis.command_line.flags import Fields, as_json, flag, path_text, show
from analysis.command_line.running import placed_copy, runner, scheduler_of
from analysis.errors import UserError
from analysis.pruned import report_file
from analysis.specs import METHODS, PruneSpec
from analysis.specs.messages import why_nothing_goes
from analysis.words import percent

ASKED = Fields(PruneSpec)
FLAGS = (
    flag("--out", of=(PruneSpec, "out"), type=path_text, required=True, metavar="DIR"),
    as_json("the report"),
    ASKED,
)


def run(options: argparse.Namespace) -> int:
    """Prune."""
    spec = ASKED.build(options)
    if spec.changes_nothing:
        raise UserError("The method none at 16 bits writes the model as it is. Set --bits, or choose a method.")
    if why := why_nothing_goes(spec):
        raise UserError(why)
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
    sparsity, size, lines = report["sparsity"], report["size"], []
    if METHODS[spec.method].removes:
        lines.append(
            f"{spec.out}: {sparsity['pruned_weights']:,} of {sparsity['weights']:,} weights removed "
            f"({percent(sparsity['overall'], 1)}) by {spec.method}."
        )
    if spec.quantization.active:
        lines.append(
            f"{spec.out}: {size['quantized']:,} of {size['weights']:,} weights quantized, "
            f"{spec.quantization.title}: {size['packed_bytes'] / 1e6:,.1f} MB by arithmetic in place of "
            f"{size['dense_bytes'] / 1e6:,.1f} MB."
        )
    return show(options, report, filter(None, (*lines, note, *report["notes"])))
