"""A positive control: an effect that is there, planted in real weights, which a study must find.

A planted model is a copy of the control (Wanda, noised) in which a stated share of the weights that it kept is removed,
too, at random in every projection. Its true difference from the control is that over all items and seeds.
`planted.npz` holds the scores of both; `python -m benchmarks.honesty.planted FOLDER` makes it, seed by seed, and goes
on where it was cut off. A part of the benchmark draws studies of the size that the plan names, and counts those that
find the effect.
"""

import argparse
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.honesty.parts import POWER, Outcome, Row, Sets, at_least
from benchmarks.honesty.pruning import SETS, TESTS
from benchmarks.honesty.scores import Scored, Task, drawn, sizes

FILE = Path(__file__).with_name("planted.npz")
METHOD, SPARSITY, SHARE, SEEDS = "wanda-noised", 0.5, 0.1, 6
SAMPLES, LENGTH = 16, 128
PLANTED, CONTROL = 0, 1  # places of the two in the scores


@cache
def stored() -> list[Task]:
    """The scores by task, (planted and control, seeds, items)."""
    with np.load(FILE) as file:
        of, clusters, shape = file["task"], file["cluster"], tuple(file["shape"])
        bits = np.unpackbits(file["scores"], count=int(np.prod(shape))).reshape(shape)
    return [Task(bits[..., of == task].astype(float), clusters[of == task]) for task in np.unique(of)]


def truth(scored: Scored) -> float:
    """The planted difference over all items and seeds, the mean over tasks, a share."""
    return float(np.mean([task.scores[PLANTED].mean() - task.scores[CONTROL].mean() for task in scored]))


def found(sets: Sets) -> list[Row]:
    """Studies drawn from the stored items and seeds, of the size that the plan names for the true difference."""
    from analysis.evaluation import plan_noise, planning
    from analysis.evaluation.decisions import WORSE, decide
    from analysis.evaluation.differences import in_family
    from analysis.evaluation.plan_noise import Sample
    from analysis.evaluation.replicates import crossed_difference

    scored = stored()
    effect, clusters = truth(scored), tuple(task.clusters for task in scored)
    first, second = (tuple(task.scores[place] for task in scored) for place in (PLANTED, CONTROL))
    pairs = tuple((f"planted {seed}", f"control {seed}") for seed in range(len(first[0])))
    noise = plan_noise.measured([Sample(first, second, clusters, pairs)])
    planned = planning.needed(sizes(scored), noise, abs(effect), TESTS)
    if planned is None:
        what = f"a size that shows the planted {100 * effect:+.1f} points"
        return [Row(what, "none named", f"≥ {POWER:.0%}", False, 0)]

    def one(number: int) -> Outcome:
        rng = np.random.default_rng((8, number))
        study = drawn(scored, rng, planned.seeds, planned.items_a_task)
        left, right = ([task.scores[place] for task in study] for place in (PLANTED, CONTROL))
        told = crossed_difference(left, right, [task.clusters for task in study], paired=True, test=True)
        return {"found": float(decide(in_family([told], TESTS)[0], 0.0) == WORSE)}

    size = f"{planned.seeds} seeds, {planned.items:,} items"
    what = f"{SHARE:.0%} more weights removed, {100 * effect:+.1f} points: found at the size named ({size})"
    return [at_least(what, sets.run("planted weights", SETS, one), "found", POWER)]


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
    """Prune, plant and score one calibration seed: by task, scores (2, items) and clusters (items,)."""
    from analysis.evaluation.sweep_scores import read_scores
    from analysis.job_context import SilentContext
    from analysis.jobs.evaluation import evaluate
    from analysis.jobs.pruning import prune
    from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec

    folder.mkdir(parents=True, exist_ok=True)
    context, control, planted = SilentContext(folder), folder / "control", folder / "planted"
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
    shutil.rmtree(planted, ignore_errors=True)
    print(f"seed {seed}: {plant(control, planted, SHARE, seed):.1%} of the weights are zero", flush=True)
    asked = EvaluateSpec(
        model=ModelSpec(source=str(control), device="cpu"),
        compare=(ModelSpec(source=str(planted), device="cpu"),),
        tasks=("bundled",),
    )
    file = evaluate(asked, context).file
    assert file is not None
    tasks = read_scores(file, spec).tasks
    numbers = [np.unique(task.clusters, return_inverse=True)[1] for task in tasks]
    return [np.stack([task.pruned, task.dense]) for task in tasks], numbers


def make(folder: Path, seeds: Sequence[int], file: Path = FILE) -> None:
    """Scores every seed that is not there yet, and writes the file."""
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
    whole = np.stack([scores for scores, _, _ in every], axis=1)  # (2, seeds, items)
    _, task, cluster = every[0]
    arrays = {"task": task.astype(np.int8), "cluster": cluster.astype(np.int16), "shape": np.array(whole.shape)}
    np.savez_compressed(file, scores=np.packbits(whole.astype(np.uint8)), **arrays)
    print(f"{file}: {file.stat().st_size:,} bytes, true difference {100 * truth(stored()):+.2f} points")


def main(arguments: list[str] | None = None) -> None:
    """Makes the scores in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    make(options.folder, range(options.seeds))


if __name__ == "__main__":
    main()
