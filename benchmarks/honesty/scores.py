"""Scores of really pruned models, item by item and seed by seed, and studies that are drawn from them.

`scores.npz` holds Wanda, its noised control and Sink-Wanda on the bundled model at two sparsities, on all items of the
bundled tasks. `python -m benchmarks.honesty.scores FOLDER` makes it from the folder of a sweep:

    python -m analysis sweep --methods wanda,wanda-noised,sink-wanda --sparsities 0.5,0.7 --seeds 0-5 \\
        --samples 16 --seq-len 128 --tasks bundled --out FOLDER
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from analysis.evaluation.planning import TaskItems

FILE = Path(__file__).with_name("scores.npz")
METHODS = ("wanda", "wanda-noised", "sink-wanda")
RECIPE, NOISE, DISCOUNT = (2, 0), (1, 0), (2, 1)
"""Pairs of methods by their places: what a study compares."""


@dataclass(frozen=True, eq=False)
class Task:
    """One task. scores: of right answers, (methods, seeds, items). clusters: numbers, (items,)."""

    scores: np.ndarray
    clusters: np.ndarray


Scored = Sequence[Task]
_PILOTS, _PILOT_SEEDS = 160, 8  # studies that a population's share of differing answers is taken from


@cache
def stored() -> dict[float, tuple[Task, ...]]:
    """The stored scores by sparsity."""
    with np.load(FILE) as file:
        of, clusters = file["task"], file["cluster"]
        shape = (len(METHODS), int(file["seeds"]), len(of))
        found = {}
        for name in file.files:
            if name.startswith("scores "):
                bits = np.unpackbits(file[name], count=int(np.prod(shape))).reshape(shape)
                found[float(name.removeprefix("scores "))] = tuple(
                    Task(bits[..., of == task].astype(float), clusters[of == task]) for task in np.unique(of)
                )
    return found


def sizes(scored: Scored) -> list[TaskItems]:
    """The tasks as a plan takes them."""
    return [TaskItems(str(number), tuple(np.unique(task.clusters, return_counts=True)[1].tolist()))
            for number, task in enumerate(scored)]  # fmt: skip


def drawn(scored: Scored, rng: np.random.Generator, seeds: int, items_a_task: int | None = None) -> list[Task]:
    """Draw a study from scores, which are its population: clusters with replacement, as many as there are; of the items
    that come together a random subset; and seeds that are not those stored, however many.

    A new seed answers each cluster as one of the stored seeds does, drawn for that cluster alone, all methods together.
    What a seed does to all answers of a method is a normal shift with the spread of the stored ones. Repeating six
    stored seeds would pass for as many seeds as are drawn, and hold the noise of six. It turns answers to items that
    some stored run has right and another wrong. items_a_task: None for all.
    """
    population = tuple(scored)
    count = len(population[0].scores[0])
    shifts = rng.normal(size=(seeds, len(population[0].scores))) * spreads(population)  # (seeds, methods)
    down, of_varying = shifts < 0, np.abs(shifts) / max(np.mean([_known(task)[1].mean() for task in population]), 1e-9)
    study = []
    for task in population:
        members, varying, right = _known(task)
        chosen = rng.integers(0, len(members), len(members))
        items = np.concatenate([members[number] for number in chosen])
        clusters = np.repeat(np.arange(len(chosen)), [len(members[number]) for number in chosen])
        if items_a_task is not None and items_a_task < len(items):
            kept = np.sort(rng.permutation(len(items))[:items_a_task])
            items, clusters = items[kept], clusters[kept]
        of_seeds = rng.integers(0, count, (seeds, len(chosen)))[:, clusters]
        answers = np.moveaxis(task.scores[:, of_seeds, items], 0, -1)  # (seeds, items, methods)
        turned = of_varying / np.maximum(np.where(down, right, 1 - right), 1e-9)
        hit = (answers == down[:, None]) & varying[items, None] & (rng.random(answers.shape) < turned[:, None])
        study.append(Task(np.moveaxis(np.where(hit, 1 - answers, answers), -1, 0), clusters))
    return study


@cache
def _known(task: Task) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the items of each cluster; which items some run has right and another wrong, (items,); and each method's
    share of right answers to these, (methods,).
    """
    order = np.argsort(task.clusters, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(task.clusters[order])) + 1)
    varying = np.ptp(task.scores, axis=(0, 1)) > 0
    right = task.scores[..., varying].mean(axis=(1, 2)) if varying.any() else np.ones(len(task.scores))
    return members, varying, right


@cache
def spreads(scored: tuple[Task, ...]) -> np.ndarray:
    """Return the spread over seeds of what a seed does to all answers of each method alone, (methods,): each pair's
    from the product's own variance components, shared out between the two by least squares.
    """
    from analysis.statistics.crossed import crossed_difference

    methods, clusters = len(scored[0].scores), [task.clusters for task in scored]
    pairs = list(combinations(range(methods), 2))
    of_pairs = []
    for one, other in pairs:
        first, second = ([task.scores[method] for task in scored] for method in (one, other))
        told = crossed_difference(first, second, clusters, test=False)
        of_pairs.append(max((told.seed_variance or 0.0) - (told.shared_variance or 0.0), 0.0) * told.seeds)
    involved = np.array([[float(method in pair) for method in range(methods)] for pair in pairs])
    found: np.ndarray = np.sqrt(nnls(involved, np.array(of_pairs))[0])
    return found


def exchanged(study: Scored, rng: np.random.Generator) -> list[Task]:
    """The study with the methods' answers exchanged at random within each cluster, over all seeds: whatever the methods
    do, none is better than another.
    """
    free = []
    for task in study:
        numbers, at = np.unique(task.clusters, return_inverse=True)
        orders = rng.permuted(np.tile(np.arange(len(task.scores)), (len(numbers), 1)), axis=1)[at]  # (items, methods)
        free.append(Task(np.take_along_axis(task.scores, orders.T[:, None, :], axis=0), task.clusters))
    return free


def planted(study: Scored, rng: np.random.Generator, effect: float, population: Scored) -> list[Task]:
    """Return a study of exchanged methods with an effect of the discount on every task: Sink-Wanda takes over items
    that its control alone has right, and where these are too few, others; in all seeds. population: what the study was
    drawn from, of which the same share of items is taken over in every study, whatever its size.
    """
    first, second = DISCOUNT
    with_effect = []
    for task, behind in zip(study, _behind(tuple(population)), strict=True):
        scores = task.scores.copy()
        taken = min(effect / (2 * behind), 1.0) if behind else 0.0
        turned = (rng.random(scores.shape[-1]) < taken) & (scores[first] < scores[second])
        scores[first][turned], scores[second][turned] = 1.0, 0.0
        missing = effect - 2 * taken * behind
        if missing > 0:
            others = rng.random(scores.shape[-1]) < missing / (1 - 2 * taken * behind)
            scores[first][:, others], scores[second][:, others] = 1.0, 0.0
        with_effect.append(Task(scores, task.clusters))
    return with_effect


@cache
def _behind(population: tuple[Task, ...]) -> list[float]:
    """Return by task the share of answers in which a method is behind another, the mean over ordered pairs."""
    pairs = list(permutations(range(len(population[0].scores)), 2))
    studies = [drawn(population, np.random.default_rng((9, number)), _PILOT_SEEDS) for number in range(_PILOTS)]
    return [
        float(np.mean([np.mean(task.scores[one] < task.scores[other]) for task in tasks for one, other in pairs]))
        for tasks in zip(*studies, strict=True)
    ]


def simulated(rng: np.random.Generator, seeds: int, clusters: Sequence[np.ndarray]) -> list[Task]:
    """A study of three methods that do not differ, from a model of what makes an answer right: how easy a key and an
    item are, and what a method does to a key, a seed to all answers of a method, to a key and to an item.
    """
    shifts = rng.normal(0, 0.15, (len(METHODS), seeds, 1))
    study = []
    for of in clusters:
        keys = of.max() + 1
        ease = rng.normal(0, 1.0, keys)[of] + rng.normal(0, 0.5, len(of))
        noise = rng.normal(0, 0.3, (len(METHODS), 1, keys))[..., of] + shifts
        noise = noise + rng.normal(0, 0.4, (len(METHODS), seeds, keys))[..., of]
        noise = noise + rng.normal(0, 0.3, (len(METHODS), seeds, len(of)))
        study.append(Task((ease + noise > -0.5).astype(float), of))
    return study


def make(folder: Path, file: Path = FILE) -> None:
    """Write the scores of a sweep that is done."""
    from analysis.command_line.written_sweep import point_file, summary_in
    from analysis.evaluation.items_file import DOCUMENTS
    from analysis.evaluation.sweep_scores import read_scores, settings
    from analysis.specs import SweepSpec, grid

    summary = summary_in(folder)
    if summary is None:
        raise SystemExit(f"There is no sweep in {folder}.")
    prunings = grid(SweepSpec.model_validate(summary["parameters"])).prunings
    scored = settings([read_scores(folder / point_file(one, DOCUMENTS), one) for one in prunings], prunings)
    by_name = {(one.pruning.method, one.pruning.sparsity): one for one in scored}
    tasks = list(scored[0].tasks.values())
    arrays: dict[str, Any] = {
        "task": np.repeat(np.arange(len(tasks)), [len(of) for *_, of in tasks]).astype(np.int8),
        "cluster": np.concatenate([of for *_, of in tasks]).astype(np.int16),
        "seeds": np.array(len(scored[0].seeds)),
    }
    for sparsity in sorted({sparsity for _, sparsity in by_name}):
        runs = [[task[0] for task in by_name[method, sparsity].tasks.values()] for method in METHODS]
        whole = np.stack([np.concatenate(of_method, axis=1) for of_method in runs])  # (methods, seeds, items)
        arrays[f"scores {sparsity}"] = np.packbits(whole.astype(np.uint8))
    np.savez_compressed(file, **arrays)
    print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
