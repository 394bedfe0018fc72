"""`python -m analysis sweep`: prune with every combination of some axes, and evaluate every pruned model.

`--log` names an experiment tracker, which gets one run per point as soon as the point is scored. No tracker is among
the requirements: its package is imported only then.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.calibration.noise import swept_with_own_noise
from analysis.command_line.flags import MODEL, Fields, as_json, estimate, flag, out, overwrite
from analysis.command_line.running import anchored, check_out, engine_of, estimated, follow, require_done, say
from analysis.command_line.written_sweep import WrittenSweep, point_file, refusal, write
from analysis.errors import UserError
from analysis.evaluation import sweep_scores
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.sweep_tables import axes_of
from analysis.pruned.masks_file import MASK_FILE
from analysis.pruned.report_file import REPORT_FILE
from analysis.registry import Registry
from analysis.specs import ModelSpec, SweepSpec, point_name
from analysis.specs.commands import SWEEP_FLAGS
from cache.keys import content_key

if TYPE_CHECKING:
    from analysis.engine import Engine, JobRecord
    from analysis.engine.cost_estimate import CostEstimate
    from analysis.engine.sweeps import Point


_EVERY = 5.0  # seconds between checks of the points


@dataclass(frozen=True)
class LoggedPoint:
    """A scored point for trackers. project: the one to log to. id: the same whenever this point of this sweep is
    logged. group: of all points of a sweep, its shards included. settings: by dotted name. metrics: measurements.
    """

    project: str
    id: str
    name: str
    group: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Tracker:
    """An experiment tracker. name: of its package. log: writes a point with that package; one that the tracker has
    already is written over or left as it is.
    """

    name: str
    title: str
    log: Callable[[Any, LoggedPoint], None]


def _to_wandb(wandb: Any, point: LoggedPoint) -> None:
    run = wandb.init(
        project=point.project,
        id=point.id,
        name=point.name,
        group=point.group,
        config=dict(point.settings),
        resume="allow",
    )
    run.summary.update(dict(point.metrics))
    run.finish()


TRACKERS: Registry[Tracker] = Registry(Tracker("wandb", "Weights & Biases", _to_wandb))


def tracker_module(name: str) -> Any:
    """Import the package of a tracker. Raises UserError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{TRACKERS[name].title} is not installed. Install it with `pip install {name}`, or leave out --log."
        ) from error


@dataclass
class SweepLog:
    """Logger of a sweep's points to a tracker. points: reads their state. A tracker that fails is not used again: the
    sweep goes on, and its folder holds every point.
    """

    tracker: Tracker
    module: Any
    project: str
    sweep: SweepSpec
    points: Callable[[], "Sequence[Point]"]
    logged: set[str] = field(default_factory=set)
    failed: bool = False
    _looked: float = 0.0

    def look(self, at_once: bool = False) -> None:
        """Log the points that have been scored since the last look."""
        now = time.monotonic()
        if self.failed or (not at_once and now - self._looked < _EVERY):
            return
        self._looked = now
        for point in self.points():
            entry = logged_point(self.project, self.sweep, point)
            if entry is None or entry.id in self.logged:
                continue
            try:
                with redirect_stdout(sys.stderr):  # standard output is reserved for the summary
                    self.tracker.log(self.module, entry)
            except Exception:  # of the tracker, its server or its disk
                self.failed = True
                say(
                    f"{self.tracker.title} did not accept '{entry.name}'; {len(self.logged)} points were logged before "
                    "it. The sweep goes on without logging. The same command logs the rest."
                )
                return
            self.logged.add(entry.id)


def logged_point(project: str, sweep: SweepSpec, point: "Point") -> LoggedPoint | None:
    """Return a point as trackers take it; None until it is scored."""
    from analysis.engine.sweeps import point_row

    row = point_row(point)
    if row["accuracy"] is None:
        return None
    whole = sweep.model_copy(update={"shard": ""}).model_dump(mode="json")
    pruning = point.pruning.model_dump(mode="json")
    measured = {name: value for name, value in row.items() if name not in {*axes_of(point.pruning), "seed"}}
    return LoggedPoint(
        project=project,
        id=content_key(sweep=whole, pruning=pruning)[:16],
        name=point_name(point.pruning),
        group=content_key(sweep=whole)[:12],
        settings=dict(_flat(pruning)),
        metrics={name: float(value) for name, value in measured.items() if isinstance(value, int | float)},
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


ASKED = Fields(
    SweepSpec,
    named=SWEEP_FLAGS,
    # Fields of an axis have no flags of their own; `--seed` is the evaluation's.
    without=(
        *("method", "sparsity", "pattern", "quantization.bits", "quantizer", "discount_strength", "sink_std"),
        *("first_step", "last_step", "calibration.seed"),
        *("pruning.out", "pruning.overwrite", "evaluation.names", "kept", "early_draws"),
    ),
)
FLAGS = (
    flag(
        "--model",
        of=(ModelSpec, "source"),
        nargs="+",
        action="extend",
        metavar="SRC",
        help="Several are swept alike. Default: bundled.",
    ),
    out("DIR", "the folder to write tables, masks, reports and items to", required=False),
    overwrite("a folder"),
    estimate("measure what the sweep will take, print it, and do no more"),
    flag(
        "--log",
        choices=TRACKERS,
        help="log each scored point as a run of this experiment tracker, whose package must be installed",
    ),
    flag("--log-project", default="sinkscope", metavar="NAME", help="the tracker's project. Default: sinkscope"),
    as_json(),
    ASKED,
)


def spec_of(options: argparse.Namespace) -> SweepSpec:
    """Return the spec for the flags. Raises pydantic's ValidationError for contradictory flags."""
    first, *others = [MODEL.build(options, source=source) for source in options.model or [ModelSpec().source]]
    return ASKED.build(options, model=first, other_models=tuple(others))


def run(options: argparse.Namespace) -> int:
    """Run the sweep on all devices and write its results; the same command resumes an interrupted run."""
    check_out(options, refusal)
    module = tracker_module(options.log) if options.log else None
    spec = spec_of(options)
    if "noise" not in options:
        spec = swept_with_own_noise(spec)
    from analysis.engine.cost_estimate import lines

    with engine_of(options, spec.models) as engine:
        spec = anchored(spec) if engine.scheduler else spec
        told = list(lines(foreseen(engine, spec)))
        for line in told:
            say(line)
        if options.estimate:
            return estimated(options, told)
        asked = engine.submit("sweep", spec)
        if module is None:
            return _finished(engine, follow(engine, asked), options)
        tracker, project = TRACKERS[options.log], options.log_project
        log = SweepLog(tracker, module, project, spec, lambda: engine.sweep_points(engine.job(asked.id) or asked))
        record = follow(engine, asked, log.look)
        log.look(at_once=True)
        return _finished(engine, record, options)


def foreseen(engine: "Engine", spec: SweepSpec) -> "CostEstimate":
    """Return the cost of the sweep, first measuring any unknown part on one step of each phase."""
    cost_estimate = engine.foresee(spec)
    estimate_ids = [engine.submit("estimate", question).id for question in cost_estimate.estimates]
    for number, job_id in enumerate(estimate_ids):
        say(f"estimating {number + 1}/{len(estimate_ids)}")
        engine.wait(job_id, timeout=86400)
    return engine.foresee(spec) if estimate_ids else cost_estimate


def _finished(engine: "Engine", record: "JobRecord", options: argparse.Namespace) -> int:
    """Write and print the results, even if some points failed."""
    from analysis.engine.sweeps import point_row, scored

    points = engine.sweep_points(record)
    swept = WrittenSweep(
        state=record.state,
        reason=record.reason,
        parameters=record.spec,
        prunings=[point.pruning for point in points],
        rows=[point_row(point) for point in points],
        scores=scored(points, engine.result_file, sweep_scores.read_scores),
        files={name: file for point in points for name, file in _files(point, engine).items()},
        environment=_environment(points),
    )
    write(swept, options)
    require_done(record, "sweep", "tries them again")
    return 0


def _environment(points: Sequence["Point"]) -> Any:
    """Return versions and hardware of the first scored point; each point's own are in its files."""
    for point in points:
        end = point.evaluated.summary.get("end") if point.evaluated is not None else None
        if isinstance(end, dict):
            return end.get("environment")
    return None


def _files(point: "Point", engine: "Engine") -> dict[str, Path]:
    """A point's masks, report and answers, by their names in the folder. Checkpoints stay in the store."""
    pruned = engine.result(point.pruned) if point.pruned is not None else None
    folder = None if pruned is None else pruned.folder
    found = {} if folder is None else {name: folder / name for name in (MASK_FILE, REPORT_FILE)}
    answers = engine.result_file(point.evaluated) if point.evaluated is not None else None
    if answers is not None:
        found[DOCUMENTS] = answers
    return {point_file(point.pruning, name): file for name, file in found.items() if file.is_file()}
