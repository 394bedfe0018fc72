"""Studies whose scores are drawn, so that what they hold is known."""

from functools import cache
from pathlib import Path

import numpy as np

from analysis.engine import JobRecord
from analysis.engine.studies import Part
from analysis.engine.sweeps import Point
from analysis.evaluation.sweep_scores import PointScores, TaskScores
from analysis.specs import PruneSpec, StudySpec, grid
from analysis.study.findings import Findings
from analysis.study.gather import gather

ITEMS = 400


def spec(**changes) -> StudySpec:
    return StudySpec(**{"seeds": tuple(range(6)), "sparsities": (0.5, 0.7), "difference": 2.0, **changes})


def scores_of(pruning: PruneSpec, noise: float, discount: float) -> PointScores:
    """The dense model has 90 % right, Wanda 70 %; noised text and the discount turn these shares of items right."""
    items = np.random.default_rng(7)
    right, hard = items.random(ITEMS), items.random(ITEMS)
    seed = np.random.default_rng([pruning.calibration.seed, round(100 * pruning.sparsity)])
    level = 0.7 + (noise if pruning.method != "wanda" else 0) + (discount if pruning.method == "sink-wanda" else 0)
    flipped = seed.random(ITEMS) < 0.02
    pruned = np.where(flipped, hard < 0.5, right < level).astype(float)
    keys = tuple(map(str, range(ITEMS)))
    return PointScores(pruning, (TaskScores("bundled_story", "Story", keys, keys, (right < 0.9) * 1.0, pruned, 0.25),))


class Engine:
    """What a study is gathered from: a finished sweep of drawn scores. unscored: calibration seeds not scored yet."""

    def __init__(self, asked: StudySpec, noise: float, discount: float, unscored: tuple[int, ...] = ()) -> None:
        self.spec, self.noise, self.discount, self.unscored = asked, noise, discount, unscored
        self.sweep = _job("sweep", asked.sweep().model_dump(mode="json"))

    def study_parts(self, record: JobRecord) -> list[Part]:
        return [Part("watch", {}, "waiting"), Part("pruning", {"sweep": self.sweep}, "done")]

    def sweep_points(self, record: JobRecord) -> list[Point]:
        points = []
        for pruning in grid(self.spec.sweep()).prunings:
            missing = pruning.calibration.seed in self.unscored
            evaluated = None if missing else _job("evaluate", {})
            points.append(Point(pruning, None, None, evaluated, None, "waiting" if missing else "done"))
        return points

    def result_file(self, record: JobRecord) -> Path | None:
        return Path("drawn")


def _job(kind: str, fields: dict) -> JobRecord:
    return JobRecord(id=kind, kind=kind, spec=fields, state="done", created=0.0, started=0.0, finished=60.0)


@cache
def study(noise: float = 0.0, discount: float = 0.0, unscored: tuple[int, ...] = (), **changes) -> Findings:
    """What a study finds whose noise and discount make these differences, as shares."""
    asked = spec(**changes)
    engine = Engine(asked, noise, discount, unscored)
    record = _job("study", asked.model_dump(mode="json"))
    return gather(record, engine, lambda path, pruning: scores_of(pruning, noise, discount))
