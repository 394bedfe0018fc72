"""Studies whose scores are drawn, so that what they hold is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.engine import JobRecord
from analysis.engine.planned import Part
from analysis.engine.sweeps import Point
from analysis.evaluation.ablation_effects import effects
from analysis.evaluation.sweep_scores import PointScores, TaskScores
from analysis.specs import EARLY_SHARE, QUARTERS, PruneSpec, StudySpec, grid, part_alone
from analysis.study.findings import Findings
from analysis.study.gather import gather


@dataclass(frozen=True)
class Drawn:
    """Scores with known differences, all shares.

    gains: by method and sparsity, what it answers right beyond `base`; a method alone means every sparsity. spread: of
    a gain over seeds, with alternating sign. flipped: items whose answer the seed draws anew, alike in all methods.
    own: the same for each method by itself. size: items per cluster, answered alike. unscored: calibration seeds still
    to come. causes: by model and measure, a difference per prompt of sinks minus matched tokens. equal: the same at
    equal attention, where it is another. sinkless: prompts beyond these that have no sinks. untrained: the share of it
    that a model with random weights shows.
    """

    gains: Mapping[Any, float] = field(default_factory=dict)
    spread: float = 0.0
    items: int = 400
    size: int = 1
    base: float = 0.7
    dense: float = 0.9
    chance: float | None = 0.25
    flipped: float = 0.02
    own: float = 0.0
    unscored: tuple[int, ...] = ()
    causes: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    equal: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    sinkless: int = 0
    untrained: float | None = None

    def gain(self, pruning: PruneSpec) -> float:
        part = part_alone(pruning)
        name = f"{part} alone" if part else pruning.method
        gain = self.gains.get((name, pruning.sparsity), self.gains.get(name, 0.0))
        gain *= pruning.discount.discount_strength  # 1 but where a study asks for doses
        return gain + (self.spread if pruning.calibration.seed % 2 else -self.spread) * (gain != 0)

    def scores(self, pruning: PruneSpec) -> PointScores:
        rng = np.random.default_rng(7)
        groups = self.items // self.size
        right, hard = (np.repeat(rng.permutation(groups) / groups, self.size) for _ in range(2))
        for share, who in ((self.flipped, "all"), (self.own, pruning.method)):
            seed = np.random.default_rng([pruning.calibration.seed, round(100 * pruning.sparsity), *who.encode()])
            drawn = np.repeat(seed.random(groups), self.size) < share
            right = np.where(drawn, np.repeat(seed.random(groups), self.size) if who != "all" else hard, right)
        pruned = (right < self.base + self.gain(pruning)).astype(float)
        keys, clusters = _items(len(right), self.size)
        dense = (np.arange(len(right)) < round(self.dense * len(right))).astype(float)
        return PointScores(pruning, (TaskScores("bundled_story", "Story", keys, clusters, dense, pruned, self.chance),))

    def rows(self, model: str) -> list[dict]:
        """The rows of an ablation's summary: controls leave the text as it was, sinks change it by their difference."""
        told = {measure: values for (name, measure), values in self.causes.items() if name == model}
        prompts = max(map(len, told.values()), default=0)
        rows = []
        for control in ("", "matched", "mass"):
            values = {}
            for measure in UNTOUCHED:
                differences = told.get(measure, (0.0,) * prompts)
                equal = self.equal.get((model, measure), differences)
                changes = {
                    "": differences,
                    "matched": (0.0,) * prompts,
                    "mass": np.subtract(differences, equal).tolist(),
                }[control]
                values[measure] = [UNTOUCHED[measure] + change for change in changes] + [0.0] * self.sinkless
            named = {"intervention": "attention", "target": "sinks", "control": control}
            values["agreement"] = values["aligned"]
            share = [0.05 if control == "matched" else 0.1] * prompts
            nothing: list[float] = [0] * self.sinkless
            values["nll_before"] = [UNTOUCHED["nll"]] * (prompts + self.sinkless)
            values["repeated"] = [0.0] * (prompts + self.sinkless)
            values |= dict.fromkeys(("tokens", "tokens_before"), [48] * (prompts + self.sinkless))
            values |= dict.fromkeys(QUARTERS, values["divergence"]) | {"undecided": [0] * (prompts + self.sinkless)}
            held = dict.fromkeys(("share", EARLY_SHARE), share + nothing)
            rows.append({**named, **values, "count": [2] * prompts + nothing, **held})
        return rows


@cache
def _items(count: int, size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of items and of their clusters."""
    return tuple(map(str, range(count))), tuple(str(number // size) for number in range(count))


UNTOUCHED = {"divergence": 0.0, "aligned": 1.0, "nll": 1.0}


def spec(**changes) -> StudySpec:
    return StudySpec(**{"seeds": tuple(range(6)), "sparsities": (0.5, 0.7), "difference": 2.0, **changes})


class Engine:
    """What a study is gathered from: a finished sweep of drawn scores and finished ablations."""

    def __init__(self, asked: StudySpec, drawn: Drawn) -> None:
        self.spec, self.drawn = asked, drawn
        self.sweep = _job("sweep", asked.sweep().model_dump(mode="json"))

    def parts(self, record: JobRecord) -> list[Part]:
        models = dict.fromkeys(model for model, _ in self.drawn.causes)
        jobs = {}
        for model in models:
            rows, scale = self.drawn.rows(model), self.drawn.untrained
            beside = [] if scale is None else effects(_scaled(rows, scale))
            done = len(rows[0]["count"])
            texts = [{name: row[name] for name in ("intervention", "target", "control")} for row in rows]
            jobs[f"causes {model}"] = _job(
                "ablate_set",
                {"prompts": ["Once"] * done},
                **{"rows": rows, "untrained": beside, "prompts": done, "planned": done, "unrelated": None, "shown": 0},
                **{"untouched": ["It", "sat"], "texts": [{**text, "words": ["It", "ran"]} for text in texts]},
            )
        causes = Part("causes", jobs, "done" if jobs else "not asked")
        return [Part("watch", {}, "waiting"), causes, Part("pruning", {"sweep": self.sweep}, "done")]

    def sweep_points(self, record: JobRecord) -> list[Point]:
        points = []
        for pruning in grid(self.spec.sweep()).prunings:
            missing = pruning.calibration.seed in self.drawn.unscored
            evaluated = None if missing else _job("evaluate", {})
            points.append(Point(pruning, None, None, evaluated, None, "waiting" if missing else "done"))
        return points

    def result_file(self, record: JobRecord) -> Path | None:
        return Path("drawn")

    def result(self, record: JobRecord) -> None:
        """No pruning has left a folder."""


def _scaled(rows: list[dict], scale: float) -> list[dict]:
    """Rows of an ablation whose differences are this share of those given."""
    return [
        row | {name: [UNTOUCHED[name] + scale * (value - UNTOUCHED[name]) for value in row[name]] for name in UNTOUCHED}
        for row in rows
    ]


def _job(kind: str, fields: dict, **summary) -> JobRecord:
    return JobRecord(
        id=kind, kind=kind, spec=fields, state="done", created=0.0, started=0.0, finished=60.0, summary=summary
    )


def gathered(drawn: Drawn, **changes) -> Findings:
    """What a study finds of drawn scores. changes: of its parameters."""
    asked = spec(**changes)
    record = _job("study", asked.model_dump(mode="json"))
    engine: Any = Engine(asked, drawn)
    return gather(record, engine, lambda path, pruning: drawn.scores(pruning))


@cache
def study(noise: float = 0.0, discount: float = 0.0, unscored: tuple[int, ...] = (), **changes) -> Findings:
    """What a study finds whose noise and discount make these differences, as shares."""
    gains = {"wanda-noised": noise, "sink-wanda": noise + discount}
    return gathered(Drawn(gains, unscored=unscored), **changes)
