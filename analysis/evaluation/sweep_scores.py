"""Accuracies of a sweep's settings, their differences, and the dose-response of the discount, over calibration seeds
and clusters of items crossed. Imports no torch.

A setting is a point without its calibration seed; its points are its seeds. Every point was scored beside its dense
model on the same items with the same masks, so points of one model are joined item by item.

Dose-response: each item of each seed has a least-squares slope of its scores in λ, and their mean is tested as a
difference from 0 (`crossed.crossed_difference`). An effect of the sinks should grow with the dose.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.evaluation import plan_noise, planning, results
from analysis.evaluation.conditions import HELD_AGAINST
from analysis.specs import METHODS, EvictionPoint, PruneSpec, against, detail, part_alone, setting_key, setting_name
from analysis.specs.sweep import called
from analysis.statistics import clustered
from analysis.statistics.clustered import Estimate
from analysis.statistics.crossed import SeedFloor, crossed_difference, seed_floor
from analysis.statistics.decisions import decide
from analysis.statistics.differences import SHOWN, Difference, in_family


@dataclass(frozen=True)
class TaskScores:
    """The answers of a dense model and of its pruned copy to the items of one task, (items,) each.

    keys: of the items. clusters: their numbers, by item. chance: accuracy of a choice at random, None where answers are
    written. divergence: of the probabilities of the choices from the dense model's, KL in nats; None without choices.
    """

    name: str
    title: str
    keys: tuple[str, ...]
    clusters: tuple[str, ...]
    dense: np.ndarray
    pruned: np.ndarray
    chance: float | None
    divergence: np.ndarray | None = None


@dataclass(frozen=True)
class PointScores:
    """A scored point of a sweep."""

    pruning: PruneSpec
    tasks: tuple[TaskScores, ...]


def read_scores(path: Path, pruning: PruneSpec) -> PointScores:
    """The scores in the file of a point's evaluation. Raises UserError for a file that holds no evaluation."""
    scores = results.read(path)
    tasks = []
    for benchmark in scores.accuracies:
        dense, keys = results.scores(scores, benchmark.name, 0, (1,))
        pruned, _ = results.scores(scores, benchmark.name, 1, (0,))
        named = (scores.documents[key] for key in keys)
        clusters = tuple(f"cluster {item.cluster}" if item.cluster else f"item {item.key}" for item in named)
        chance = scores.chance[benchmark.name]
        moved = _divergence(scores, keys)
        tasks.append(TaskScores(benchmark.name, benchmark.title, tuple(keys), clusters, dense, pruned, chance, moved))
    return PointScores(pruning, tuple(tasks))


def _divergence(scores: results.Results, keys: Sequence[str]) -> np.ndarray | None:
    """KL(dense ‖ pruned) in nats of the probabilities of each item's choices, (items,), by their likelihoods; None
    where an item has no choices.
    """
    divergences = np.empty(len(keys))
    for place, key in enumerate(keys):
        dense, pruned = (np.array(scores.answers[key, model].values, float) for model in (0, 1))
        if len(dense) < 2 or len(dense) != len(scores.documents[key].choices):
            return None
        logs = [values - np.logaddexp.reduce(values) for values in (dense, pruned)]
        divergences[place] = np.sum(np.exp(logs[0]) * (logs[0] - logs[1]))
    return np.maximum(divergences, 0.0) if len(keys) else None


@dataclass(frozen=True)
class Setting:
    """A setting and its scored seeds, in order. planned: seeds that the sweep asks of it. tasks: by name, the scores
    (seeds, items), the dense model's (items,) and the clusters (items,), of the items that all points of the model have
    answered. judged: whether the dense model is above chance, where its own scores here do not say.
    """

    pruning: PruneSpec
    seeds: tuple[int, ...]
    planned: int
    tasks: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    titles: Mapping[str, str]
    chances: Mapping[str, float | None]
    judged: bool | None = None

    @property
    def name(self) -> str:
        """Its method, sparsity and what else is not the default."""
        return setting_name(self.pruning)

    @property
    def label(self) -> str:
        """Its method's title, and what else is not the default but the sparsity."""
        if isinstance(self.pruning, EvictionPoint):
            return self.name
        more, part = detail(self.pruning), part_alone(self.pruning)
        title = called(self.pruning.method, part) if part else METHODS[self.pruning.method].title
        return " · ".join(filter(None, (title, more.replace(f"{part} alone", "").strip() if part else more)))

    @property
    def complete(self) -> bool:
        """True if all its seeds are scored."""
        return len(self.seeds) == self.planned

    @property
    def clusters(self) -> list[np.ndarray]:
        """The clusters of each task's items."""
        return [clusters for _, _, clusters in self.tasks.values()]

    def runs(self, seeds: Sequence[int] | None = None) -> list[np.ndarray]:
        """The scores of each task, (seeds, items), of these seeds or of all."""
        at = [self.seeds.index(seed) for seed in (self.seeds if seeds is None else seeds)]
        return [runs[at] for runs, _, _ in self.tasks.values()]

    @cached_property
    def by_seed(self) -> np.ndarray:
        """The mean over tasks of each seed, (seeds,)."""
        return np.asarray(np.mean([runs.mean(axis=1) for runs in self.runs()], axis=0))

    @property
    def accuracy(self) -> float:
        """The mean over seeds of the mean over tasks."""
        return float(self.by_seed.mean())

    @cached_property
    def dense(self) -> Estimate:
        """The dense model's mean over tasks, with its interval over clusters."""
        return clustered.average([dense for _, dense, _ in self.tasks.values()], self.clusters)

    @property
    def chance(self) -> float | None:
        """The accuracy of a choice at random, the mean over tasks; None where some answers are written."""
        levels = [level for level in self.chances.values() if level is not None]
        return float(np.mean(levels)) if len(levels) == len(self.chances) and levels else None

    @property
    def above_chance(self) -> bool:
        """True if the dense model answers better than a choice at random: its interval lies above chance, or above 0
        where answers are written.
        """
        return bool(self.dense.low > (self.chance or 0.0)) if self.judged is None else self.judged

    def of_task(self, task: str) -> float:
        """The accuracy on one task, the mean over seeds."""
        return float(self.tasks[task][0].mean())


@dataclass(frozen=True)
class Comparison:
    """A setting against its control or its published baseline, all else being equal, on the seeds that both have."""

    setting: Setting
    other: Setting
    relation: str
    seeds: tuple[int, ...]
    difference: Difference

    @property
    def decision(self) -> str:
        """Conclusion from it, a row of `DECISIONS`; a sweep names no margin."""
        return decide(self.difference, 0.0, self.setting.above_chance)

    @property
    def shown(self) -> bool:
        """True if one of the two is better."""
        return self.decision in SHOWN


def settings(points: Sequence[PointScores], prunings: Iterable[PruneSpec]) -> list[Setting]:
    """The settings of which any seed is scored, in the order of `prunings`. prunings: all points of the sweep."""
    planned: dict[str, list[PruneSpec]] = defaultdict(list)
    for pruning in prunings:
        planned[setting_key(pruning)].append(pruning)
    by_setting: dict[str, list[PointScores]] = defaultdict(list)
    by_model: dict[str, list[PointScores]] = defaultdict(list)
    for point in points:
        by_setting[setting_key(point.pruning)].append(point)
        by_model[point.pruning.model.source].append(point)
    common = {model: _common(scored) for model, scored in by_model.items()}
    settings_scored = []
    for key, same in planned.items():
        scored = sorted(by_setting.get(key, ()), key=lambda point: point.pruning.calibration.seed)
        shared = common.get(same[0].model.source, {})
        if not scored or not shared:
            continue
        tasks = {name: _aligned(scored, name, keys) for name, keys in shared.items()}
        first = {task.name: task for task in scored[0].tasks}
        settings_scored.append(
            Setting(
                same[0],
                tuple(point.pruning.calibration.seed for point in scored),
                len(same),
                tasks,
                {name: first[name].title for name in tasks},
                {name: first[name].chance for name in tasks},
            )
        )
    return settings_scored


def by_model(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """The settings of each model, by its source."""
    grouped: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        grouped[setting.pruning.model.source].append(setting)
    return grouped


def _common(points: Sequence[PointScores]) -> dict[str, tuple[str, ...]]:
    """By task that every point has, the keys of the items that every point has answered."""
    keys_of = [{task.name: dict.fromkeys(task.keys) for task in point.tasks} for point in points]
    shared = {
        name: tuple(key for key in keys if all(key in other[name] for other in keys_of))
        for name, keys in keys_of[0].items()
        if all(name in other for other in keys_of)
    }
    return {name: keys for name, keys in shared.items() if keys}


def _aligned(
    points: Sequence[PointScores], name: str, keys: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = []
    for point in points:
        task = next(task for task in point.tasks if task.name == name)
        places = {key: place for place, key in enumerate(task.keys)}
        at = [places[key] for key in keys]
        rows.append(task.pruned[at])
        dense, named = task.dense[at], [task.clusters[place] for place in at]
    return np.stack(rows), dense, np.unique(named, return_inverse=True)[1]


# --- differences ------------------------------------------------------------------------------------------------


def comparisons(scored: Sequence[Setting]) -> list[Comparison]:
    """Every setting against its control and its published baseline where the sweep has them. Those whose seeds are all
    in are tested, and Holm's adjustment is over all of these."""
    by_key = {setting_key(setting.pruning): setting for setting in scored}
    pairs = []
    for setting in scored:
        for relation in HELD_AGAINST:
            wanted = against(setting.pruning, relation)
            if relation == "published" and wanted is not None and wanted == against(setting.pruning, "control"):
                continue  # the same comparison
            other = None if wanted is None else by_key.get(setting_key(wanted))
            seeds = tuple(seed for seed in setting.seeds if other is not None and seed in other.seeds)
            if other is not None and seeds:
                pairs.append((setting, other, relation, seeds))
    found = [
        replace(between(setting, other, seeds), above_chance=setting.above_chance) for setting, other, _, seeds in pairs
    ]
    differences = in_family(found)
    return [
        Comparison(setting, other, relation, seeds, difference)
        for (setting, other, relation, seeds), difference in zip(pairs, differences, strict=True)
    ]


def between(setting: Setting, other: Setting, seeds: Sequence[int]) -> Difference:
    """A setting minus another one of the same model on these seeds, which both have.

    Tested where all seeds are in and there is more than one: a single seed leaves its own noise out, so that more than
    30 % of true zeros would be called different. What nothing draws is the same at every seed.
    """
    fixed = _is_fixed(setting.pruning) and _is_fixed(other.pruning)
    seeds = seeds[:1] if fixed else seeds
    difference = crossed_difference(
        setting.runs(seeds), other.runs(seeds), setting.clusters, test=setting.complete and other.complete
    )
    if fixed:
        return replace(difference, seeds=0)
    return difference if difference.holds_seeds else replace(difference, p=None)


def _is_fixed(point: PruneSpec) -> bool:
    return isinstance(point, EvictionPoint) and not point.control


def accuracy_interval(setting: Setting) -> Difference:
    """The accuracy of a setting with its interval over clusters of items and calibration seeds, untested."""
    runs = setting.runs()
    return crossed_difference(runs, [np.zeros_like(row) for row in runs], setting.clusters, test=False)


def from_dense(setting: Setting) -> Difference:
    """A setting minus its dense model, which has no seeds of its own."""
    dense = [np.broadcast_to(dense, runs.shape) for runs, dense, _ in setting.tasks.values()]
    return crossed_difference(setting.runs(), dense, setting.clusters, test=setting.complete)


def noise_between(setting: Setting, other: Setting, seeds: Sequence[int]) -> planning.Noise:
    """Return the noise for planning the difference of two settings."""
    pairs = tuple((f"{setting.name} seed {seed}", f"{other.name} seed {seed}") for seed in seeds)
    sample = plan_noise.Sample(setting.runs(seeds), other.runs(seeds), setting.clusters, pairs)
    return plan_noise.measured([sample])


def floor(setting: Setting) -> SeedFloor | None:
    """Return the difference between two seeds of one setting; None with fewer than two."""
    if len(setting.seeds) < 2:
        return None
    return seed_floor(setting.runs(), setting.clusters)


LEAST = 3  # strengths that a slope needs


@dataclass(frozen=True)
class DoseResponse:
    """The slope of one method's accuracy in λ at one setting: shares per unit of λ, from no discount to the full one.

    strengths, accuracies: (strengths,) each, in the order of λ. settings: of these.
    """

    settings: tuple[Setting, ...]
    strengths: tuple[float, ...]
    accuracies: tuple[float, ...]
    slope: Difference

    @property
    def method(self) -> str:
        """Its method's name."""
        return self.settings[0].pruning.method


def slope_weights(strengths: Sequence[float]) -> np.ndarray:
    """Return w with Σ w·y the least-squares slope of y in the strengths, (strengths,)."""
    centred = np.asarray(strengths, float) - np.mean(strengths)
    return np.asarray(centred / (centred**2).sum())


def dose_responses(settings: Sequence[Setting]) -> list[DoseResponse]:
    """The slope in λ of every method and setting that has `LEAST` strengths with seeds in common, as one family of
    tests.
    """
    groups: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        if any(row.discounted for row in setting.pruning.readers):
            groups[_but_for_strength(setting)].append(setting)
    found = []
    for group in groups.values():
        doses = sorted(group, key=_strength)
        seeds = [seed for seed in doses[0].seeds if all(seed in dose.seeds for dose in doses)]
        if len(doses) >= LEAST and seeds:
            found.append(_response(doses, seeds))
    adjusted = in_family([response.slope for response in found])
    return [replace(response, slope=slope) for response, slope in zip(found, adjusted, strict=True)]


def _response(doses: Sequence[Setting], seeds: Sequence[int]) -> DoseResponse:
    strengths = [_strength(dose) for dose in doses]
    slopes, clusters = [], []
    for task, (_, _, of) in doses[0].tasks.items():
        runs = [dose.tasks[task][0][[dose.seeds.index(seed) for seed in seeds]] for dose in doses]
        slopes.append(np.tensordot(slope_weights(strengths), np.stack(runs) - runs[0], axes=1))
        clusters.append(of)
    nothing = [np.zeros_like(slope) for slope in slopes]
    complete = all(dose.complete for dose in doses)
    slope = crossed_difference(slopes, nothing, clusters, test=complete)
    return DoseResponse(
        tuple(doses),
        tuple(strengths),
        tuple(dose.accuracy for dose in doses),
        slope if slope.holds_seeds else replace(slope, p=None),
    )


def _strength(setting: Setting) -> float:
    return setting.pruning.discount.discount_strength


def _but_for_strength(setting: Setting) -> str:
    point = setting.pruning
    return setting_key(
        point.model_copy(update={"discount": point.discount.model_copy(update={"discount_strength": 1.0})})
    )


def dose_row(response: DoseResponse) -> dict[str, object]:
    """A dose-response as a row of a table, as shares."""
    point, slope = response.settings[0].pruning, response.slope
    return {
        "model": point.model.source,
        "method": point.method,
        "sparsity": point.sparsity,
        "λ": " ".join(f"{strength:g}" for strength in response.strengths),
        "accuracies": " ".join(f"{accuracy:.4f}" for accuracy in response.accuracies),
        "slope": slope.value,
        "low": float(slope.low),
        "high": float(slope.high),
        "p (Holm)": slope.p_holm,
        "tests": slope.tests,
        "seeds": slope.seeds,
        "items": slope.n,
        "clusters": slope.clusters,
    }
