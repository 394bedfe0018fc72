"""Experiment trackers that a sweep can be logged to: one run per point, as soon as the point is scored.

No tracker is among the requirements: its package is imported only where `sweep --log` names it.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis.command_line.running import say
from analysis.errors import UserError
from analysis.evaluation.sweep_tables import axes_of
from analysis.registry import Registry
from analysis.specs import SweepSpec, point_name
from cache.keys import content_key

if TYPE_CHECKING:
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


def _to_trackio(trackio: Any, point: LoggedPoint) -> None:
    name, config = f"{point.name} {point.id}", dict(point.settings)
    trackio.init(project=point.project, name=name, group=point.group, config=config, resume="allow")
    trackio.log(dict(point.metrics), step=0)
    trackio.finish()


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


def _to_mlflow(mlflow: Any, point: LoggedPoint) -> None:
    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        return {re.sub(r"[^\w./ -]", "_", name): value for name, value in values.items()}

    experiment = mlflow.set_experiment(point.project)
    tags = {"sinkscope.point": point.id, "sinkscope.sweep": point.group}
    known = f"tags.`sinkscope.point` = '{point.id}'"
    if mlflow.search_runs([experiment.experiment_id], filter_string=known, output_format="list"):
        return
    with mlflow.start_run(run_name=point.name, tags=tags):
        mlflow.log_params(named(point.settings))
        mlflow.log_metrics(named(point.metrics))


TRACKERS: Registry[Tracker] = Registry(
    Tracker("trackio", "Trackio", _to_trackio),
    Tracker("wandb", "Weights & Biases", _to_wandb),
    Tracker("mlflow", "MLflow", _to_mlflow),
)


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
    from analysis.engine.sweep_points import point_row

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
