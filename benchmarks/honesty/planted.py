"""A positive control: an effect that is there, planted in real weights, which a study must find.

A planted model is a copy of the control (Wanda, noised) in which a stated share of the weights that it kept is removed,
too, at random in every projection. Its true difference from the control is that over all items and seeds.
`planted.npz` holds the scores of the control and of two planted models; `python -m benchmarks.honesty.planted FOLDER`
makes it, seed by seed, and goes on where it was cut off. A part of the benchmark draws studies of the size that the
plan names, and counts those that find the effect. The plan knows the noise of such studies, from large ones that are
drawn in the same way: six stored seeds are the population, and not a sample of another one.
"""

import argparse
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.words import percent
from benchmarks.honesty.parts import POWER, Outcome, Row, Sets, at_least
from benchmarks.honesty.pruning import SETS, TESTS
from benchmarks.honesty.scores import Scored, Task, drawn, sizes

if TYPE_CHECKING:
    from analysis.evaluation.planning import Noise

FILE = Path(__file__).with_name("planted.npz")
METHOD, SPARSITY, SHARES, SEEDS = "wanda-noised", 0.5, (0.02, 0.1), 6
SAMPLES, LENGTH = 16, 128
CONTROL = len(SHARES)  # its place in the scores; before it are the planted ones, by their shares
PILOTS, PILOT_SEEDS = 100, 8  # studies of all items whose noise the plan goes by


@cache
def stored(planted: int) -> tuple[Task, ...]:
    """Return the scores by task, (2, seeds, items): of the planted model of this place, and of its control."""
    with np.load(FILE) as file:
        of, clusters, shape = file["task"], file["cluster"], tuple(file["shape"])
        bits = np.unpackbits(file["scores"], count=int(np.prod(shape))).reshape(shape)
    pair = bits[[planted, CONTROL]].astype(float)
    return tuple(Task(pair[..., of == task], clusters[of == task]) for task in np.unique(of))


def truth(scored: Scored) -> float:
    """The planted difference over all items and seeds, the mean over tasks, a share."""
    return float(np.mean([task.scores[0].mean() - task.scores[1].mean() for task in scored]))


def found(sets: Sets) -> list[Row]:
    """Judge studies drawn from the stored items and seeds, of the size that the plan names for the true difference."""
    from analysis.evaluation import planning
    from analysis.statistics.crossed import crossed_difference
    from analysis.statistics.decisions import WORSE, decide
    from analysis.statistics.differences import in_family

    rows = []
    for place, share in enumerate(SHARES):
        scored = stored(place)
        effect = truth(scored)
        planned = planning.needed(sizes(scored), noise_of(scored), abs(effect), TESTS)
        named = f"{percent(share, 0)} more weights removed, {100 * effect:+.1f} points"
        if planned is None:
            rows.append(Row(f"{named}: a size that shows it", "none named", f"≥ {percent(POWER, 0)}", False, 0))
            continue

        def one(number: int, scored: Scored = scored, planned: planning.Plan = planned) -> Outcome:
            rng = np.random.default_rng((8, number))
            study = drawn(scored, rng, planned.seeds, planned.items_a_task)
            left, right = ([task.scores[place] for task in study] for place in (0, 1))
            told = crossed_difference(left, right, [task.clusters for task in study], test=True)
            return {"found": float(decide(in_family([told], TESTS)[0], 0.0) == WORSE)}

        size = f"{planned.seeds} seeds, {planned.items:,} items"
        outcomes = sets.run(f"planted weights {share}", SETS, one)
        rows.append(at_least(f"{named}: found at the size named ({size})", outcomes, "found", POWER))
    return rows


def noise_of(scored: Scored) -> "Noise":
    """Return the noise of studies that are drawn from these scores."""
    from analysis.evaluation import plan_noise

    samples = []
    for number in range(PILOTS):
        study = drawn(scored, np.random.default_rng((10, number)), PILOT_SEEDS)
        first, second = (tuple(task.scores[place] for task in study) for place in (0, 1))
        pairs = ((str(number), str(number)),)
        samples.append(plan_noise.Sample(first, second, tuple(task.clusters for task in study), pairs))
    return plan_noise.measured(samples, cautious=False)


# --- making it --------------------------------------------------------------------------------------------------


def plant(folder: Path, out: Path, share: float, seed: int) -> float:
    """Copy a pruned checkpoint with a further share of the kept weights of every pruned matrix set to zero, at random.

    Returns the share of all pruned matrices' weights that is then zero.
    """
    from safetensors.torch import load_file, save_file

    from analysis.pruned.masks_file import MASK_FILE

    shutil.copytree(folder, out, ignore=shutil.ignore_patterns(MASK_FILE, "report.json"))
    rng, gone, whole = np.random.default_rng(seed), 0, 0
    for path in sorted(out.glob("*.safetensors")):
        tensors = load_file(path)
        for tensor in tensors.values():
            pruned = (tensor == 0).numpy()
            if tensor.ndim != 2 or not 0.1 < pruned.mean() < 1:
                continue  # not pruned
            kept = np.flatnonzero(~pruned)
            tensor.view(-1)[rng.choice(kept, round(share * len(kept)), replace=False)] = 0
            gone, whole = gone + int((tensor == 0).sum()), whole + tensor.numel()
        save_file(tensors, path, metadata={"format": "pt"})
    return gone / whole


def score(seed: int, folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prune, plant and score one calibration seed: by task, scores (models, items) and clusters (items,)."""
    from analysis.evaluation.sweep_scores import read_scores
    from analysis.job_context import SilentContext
    from analysis.jobs.evaluation import evaluate
    from analysis.jobs.pruning import prune
    from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec

    folder.mkdir(parents=True, exist_ok=True)
    context, control = SilentContext(folder), folder / "control"
    calibration = CalibrationParams(samples=SAMPLES, seq_len=LENGTH, seed=seed)
    spec = PruneSpec(
        model=ModelSpec(device="cpu"),
        method=METHOD,
        sparsity=SPARSITY,
        calibration=calibration,
        out=str(control),
        overwrite=True,
    )
    prune(spec, context)
    runs = []
    for share in SHARES:
        planted = folder / "planted"
        shutil.rmtree(planted, ignore_errors=True)
        print(f"seed {seed}: {percent(plant(control, planted, share, seed), 1)} of the weights are zero", flush=True)
        asked = EvaluateSpec(
            model=ModelSpec(source=str(control), device="cpu"),
            compare=(ModelSpec(source=str(planted), device="cpu"),),
            tasks=("bundled",),
        )
        file = evaluate(asked, context).file
        assert file is not None
        tasks = read_scores(file, spec).tasks
        runs.append([task.pruned for task in tasks])
    runs.append([task.dense for task in tasks])
    numbers = [np.unique(task.clusters, return_inverse=True)[1] for task in tasks]
    return [np.stack(of_task) for of_task in zip(*runs, strict=True)], numbers


def make(folder: Path, seeds: Sequence[int], file: Path = FILE) -> None:
    """Score every seed that is not there yet, and write the file."""
    every = []
    for seed in seeds:
        done = folder / f"seed-{seed}.npz"
        if not done.is_file():
            scores, clusters = score(seed, folder / f"seed-{seed}")
            task = np.repeat(np.arange(len(scores)), [one.shape[1] for one in scores])
            np.savez(done, scores=np.concatenate(scores, axis=1), task=task, cluster=np.concatenate(clusters))
            shutil.rmtree(folder / f"seed-{seed}")
        with np.load(done) as one:
            every.append((one["scores"], one["task"], one["cluster"]))
    whole = np.stack([scores for scores, _, _ in every], axis=1)  # (planted and control, seeds, items)
    _, task, cluster = every[0]
    arrays = {"task": task.astype(np.int8), "cluster": cluster.astype(np.int16), "shape": np.array(whole.shape)}
    np.savez_compressed(file, scores=np.packbits(whole.astype(np.uint8)), **arrays)
    differences = ", ".join(f"{100 * truth(stored(place)):+.2f}" for place in range(len(SHARES)))
    print(f"{file}: {file.stat().st_size:,} bytes, true differences of {differences} points")


def main(arguments: list[str] | None = None) -> None:
    """Make the scores in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    make(options.folder, range(options.seeds))


if __name__ == "__main__":
    main()
