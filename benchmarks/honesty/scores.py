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
from pathlib import Path
from typing import Any

import numpy as np

from analysis.evaluation.planning import TaskItems

FILE = Path(__file__).with_name("scores.npz")
METHODS = ("wanda", "wanda-noised", "sink-wanda")
RECIPE, NOISE, DISCOUNT = (2, 0), (1, 0), (2, 1)
"""Pairs of methods by their places: what a study compares."""


@dataclass(frozen=True)
class Task:
    """One task. scores: of right answers, (methods, seeds, items). clusters: numbers, (items,)."""

    scores: np.ndarray
    clusters: np.ndarray


Scored = Sequence[Task]


@cache
def stored() -> dict[float, list[Task]]:
    """The stored scores by sparsity."""
    with np.load(FILE) as file:
        of, clusters = file["task"], file["cluster"]
        shape = (len(METHODS), int(file["seeds"]), len(of))
        found = {}
        for name in file.files:
            if name.startswith("scores "):
                bits = np.unpackbits(file[name], count=int(np.prod(shape))).reshape(shape)
                found[float(name.removeprefix("scores "))] = [
                    Task(bits[..., of == task].astype(float), clusters[of == task]) for task in np.unique(of)
                ]
    return found


def sizes(scored: Scored) -> list[TaskItems]:
    """The tasks as a plan takes them."""
    return [TaskItems(str(number), tuple(np.unique(task.clusters, return_counts=True)[1].tolist()))
            for number, task in enumerate(scored)]  # fmt: skip


def drawn(scored: Scored, rng: np.random.Generator, seeds: int, items_a_task: int | None = None) -> list[Task]:
    """A study: as many clusters as there are, and so many seeds, each drawn with replacement; of the items that come
    together a random subset. items_a_task: None for all.
    """
    of_seeds = rng.integers(0, scored[0].scores.shape[1], seeds)
    study = []
    for task in scored:
        members = _members(task)
        chosen = [members[number] for number in rng.integers(0, len(members), len(members))]
        items = np.concatenate(chosen)
        clusters = np.repeat(np.arange(len(chosen)), [len(some) for some in chosen])
        if items_a_task is not None and items_a_task < len(items):
            kept = np.sort(rng.permutation(len(items))[:items_a_task])
            items, clusters = items[kept], clusters[kept]
        study.append(Task(task.scores[:, of_seeds][..., items], clusters))
    return study


def _members(task: Task) -> list[np.ndarray]:
    order = np.argsort(task.clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(task.clusters[order])) + 1)


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


def planted(study: Scored, rng: np.random.Generator, effect: float) -> list[Task]:
    """The study with an effect of the discount on every task: Sink-Wanda takes over items that its control alone has
    right, and where these are too few, others; in all seeds.
    """
    first, second = DISCOUNT
    with_effect = []
    for task in study:
        scores = task.scores.copy()
        behind = scores[first] < scores[second]
        taken = min(effect / (2 * behind.mean()), 1.0) if behind.any() else 0.0
        turned = (rng.random(scores.shape[-1]) < taken) & behind
        scores[first][turned], scores[second][turned] = 1.0, 0.0
        missing = effect - 2 * taken * behind.mean()
        if missing > 0:
            others = rng.random(scores.shape[-1]) < missing / (1 - (scores[first] - scores[second]).mean())
            scores[first][:, others], scores[second][:, others] = 1.0, 0.0
        with_effect.append(Task(scores, task.clusters))
    return with_effect


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
    """Writes the scores of a sweep that is done."""
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
