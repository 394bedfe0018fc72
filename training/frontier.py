"""Build the frontier that ships: `python -m training.frontier`. It resumes where it was cut off, in the store of the
environment, and writes the planes into the package.

The sweep is that of docs/frontier.md, of the bundled diffusion model: sparsity × bits, and eviction budgets, each
beside its control.
"""

import argparse
import sys

import numpy as np

from analysis.command_line.running import devices_for
from analysis.command_line.written_sweep import headlines, planes_of
from analysis.engine import Engine, JobRecord
from analysis.engine.sweeps import Point, point_row, scored
from analysis.evaluation import sweep_scores
from analysis.evaluation.frontier import MEASURED_COSTS, QUALITIES, settings_of
from analysis.exhibits.sweeps import EXAMPLE, ShippedFrontier, write_planes, written_plane
from analysis.findings import finding_of
from analysis.specs import CalibrationParams, EvaluateSpec, PruneSpec, QuantizationParams, SweepSpec
from analysis.specs.commands import sweep_command
from training.shipping import ship

SPEC = SweepSpec(
    methods=("none", "wanda-noised", "sink-wanda"),
    sparsities=(0.5, 0.6),
    bits=(16, 4, 3),
    quantizers=("gptq-noised", "sink-gptq"),
    policies=("sinks",),
    budgets=(0.2, 0.4, 0.6),
    seeds=(0, 1, 2, 3),
    pruning=PruneSpec(calibration=CalibrationParams(samples=32, seq_len=64), quantization=QuantizationParams(group=64)),
    evaluation=EvaluateSpec(limit=300),
)
MOST_BYTES = 2**18  # of the repository


def main(spec: SweepSpec = SPEC) -> int:
    """Sweep and write the example. Returns 1 where a part failed."""

    def write(record: JobRecord, engine: Engine) -> None:
        points = engine.sweep_points(record)
        scores = scored(points, engine.result_file, sweep_scores.read_scores)
        write_planes(shipped(spec, points, scores), EXAMPLE)

    return ship("sweep", spec, write, EXAMPLE, MOST_BYTES, devices_for(spec.models))


def shipped(spec: SweepSpec, points: list[Point], scores: list[sweep_scores.PointScores]) -> ShippedFrontier:
    """Return every plane of a sweep of one model, and what it says."""
    prunings, rows, planes, shown = [point.pruning for point in points], list(map(point_row, points)), [], []
    verdicts: list[str] = []
    for quality in QUALITIES.values():
        settings = settings_of(scores, prunings, quality)
        compared = sweep_scores.comparisons(settings)
        if not verdicts:
            verdicts = list(map(str, finding_of("pairs of methods", compared)))
        for cost in MEASURED_COSTS:
            for drawn in planes_of(settings, prunings, rows, compared, quality, (cost,)):
                known = drawn.table.dropna(subset="share of the dense cost")
                dense_cost = np.mean(known["cost"] / known["share of the dense cost"])
                full = (float(dense_cost), settings[0].dense.value)
                planes.append(written_plane(drawn, full if len(known) else None, cost.name, quality.name, ""))
                shown.append(drawn)
    end = points[0].evaluated.summary.get("end") if points[0].evaluated is not None else None
    return ShippedFrontier(
        command=sweep_command(spec, "frontier-pair"),
        planes=tuple(planes),
        verdicts=(*headlines(shown), *verdicts),
        environment=end.get("environment") if isinstance(end, dict) else None,
    )


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m training.frontier", description=__doc__).parse_args()
    sys.exit(main())
