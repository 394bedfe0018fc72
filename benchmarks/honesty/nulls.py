"""Real nulls: models and discounts that cannot have what a verdict speaks of, judged as a study judges.

random, permuted: the sinks of a model of the bundled one's shape are hidden, with freshly drawn weights or with the
entries of each matrix in random order. It has learned nothing, so they must not be said to matter. sham: random tokens
are discounted in the place of the sinks, which must not be said to help or to hurt. Everything is run, on short texts
and few items; each set has weights, or calibration seeds and items, of its own.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.honesty.parts import REAL_NULLS, Outcome, Row, Sets, few_of

PROMPTS, TOKENS, SHIFT = 30, 8, 0.01
SEEDS, ITEMS, SPARSITY, MARGIN = 3, 64, 0.5, 0.02
SAMPLES, LENGTH = 8, 64


def nulls(sets: Sets) -> list[Row]:
    """Count the sets of each null in which something is found."""
    least, _ = REAL_NULLS
    rows = [
        few_of(f"{title}: hiding their sinks said to matter", sets.run(name, least, _matters(weights)), "false")
        for name, title, weights in (("random", "random weights", drawn), ("permuted", "permuted weights", permuted))
    ]
    return [*rows, few_of("a sham discount called better or worse", sets.run("sham", least, sham), "false")]


# --- untrained models -------------------------------------------------------------------------------------------


def drawn(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return new weights of this shape, as transformers initialises them: normal with a standard deviation of 0.02."""
    return rng.normal(0, 0.02, weights.shape)


def permuted(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the same weights in random order."""
    return rng.permutation(weights.ravel()).reshape(weights.shape)


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def changed(source: Path, out: Path, change: Change, seed: int) -> None:
    """Copy a checkpoint with every matrix changed; vectors, as the gains of norms, stay."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, out)
    rng = np.random.default_rng(seed)
    for path in sorted(out.glob("*.safetensors")):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.ndim == 2:
                tensors[name] = torch.from_numpy(change(tensor.float().numpy(), rng)).to(tensor.dtype)
        save_file(tensors, path, metadata={"format": "pt"})


def _matters(change: Change) -> Callable[[int], Outcome]:
    """Return a set of a null: whether hiding the sinks of such a model is said to move predictions beyond the margin
    and beyond what hiding as many other tokens does.
    """

    def one(number: int) -> Outcome:
        from analysis.bundled.prompts import keyed_prompts
        from analysis.evaluation.ablation_effects import COUNT, effect_of, effects
        from analysis.job_context import SilentContext
        from analysis.jobs.prompt_by_prompt import ablate_set
        from analysis.models.checkpoint import find
        from analysis.specs import AblateSetSpec, LLaDASampling, ModelSpec
        from analysis.statistics.decisions import BETTER, WORSE, decide

        prompts, bundled = keyed_prompts(PROMPTS), find("bundled")
        assert bundled is not None
        with tempfile.TemporaryDirectory() as folder:
            changed(bundled.folder, Path(folder, "model"), change, number)
            spec = AblateSetSpec(
                model=ModelSpec(source=str(Path(folder, "model")), device="cpu"),
                prompts=tuple(prompt.text for prompt in prompts),
                keys=tuple(prompt.template for prompt in prompts),
                sampling=LLaDASampling(gen_length=TOKENS, steps=TOKENS),
                targets=("sinks",),
                seed=number,
            )
            told = effects(ablate_set(spec, SilentContext(Path(folder))).summary["rows"])
        [row] = [row for row in told if row["measure"] == "divergence" and row["against"] == COUNT]
        if row["low"] is None:
            return {"false": 0.0, "value": 0.0}  # no sinks by the definition
        effect = effect_of(row)
        said = decide(effect, SHIFT) in (BETTER, WORSE) and min(abs(effect.low), abs(effect.high)) > SHIFT
        return {"false": float(said), "value": effect.value}

    return one


# --- sham discounts ---------------------------------------------------------------------------------------------


def sham(number: int) -> Outcome:
    """Return a set: whether a sham discount is called better or worse than none, over calibration seeds of its own."""
    from analysis.statistics.crossed import crossed_difference
    from analysis.statistics.decisions import BETTER, WORSE, decide
    from analysis.statistics.differences import in_family

    runs, clusters = zip(*(_scored(seed, number) for seed in range(SEEDS * number, SEEDS * (number + 1))), strict=True)
    first, second = (
        [np.stack(scores) for scores in zip(*of_method, strict=True)] for of_method in zip(*runs, strict=True)
    )
    told = in_family([crossed_difference(first, second, clusters[0], test=True)])[0]
    return {"false": float(decide(told, MARGIN) in (BETTER, WORSE)), "value": told.value}


def _scored(seed: int, items_seed: int) -> tuple[tuple[list[np.ndarray], ...], list[np.ndarray]]:
    """Prune with a sham discount and with none, and score both: by method and task, scores (items,); by task, clusters
    (items,).
    """
    from analysis.evaluation.sweep_scores import read_scores
    from analysis.job_context import SilentContext
    from analysis.jobs.evaluation import evaluate
    from analysis.jobs.pruning import prune
    from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec

    with tempfile.TemporaryDirectory() as folder:
        context, models = SilentContext(Path(folder)), []
        for method in ("wanda-noised", "sham-wanda"):
            calibration = CalibrationParams(samples=SAMPLES, seq_len=LENGTH, seed=seed)
            spec = PruneSpec(
                model=ModelSpec(device="cpu"),
                method=method,
                sparsity=SPARSITY,
                calibration=calibration,
                out=str(Path(folder, method)),
            )
            prune(spec, context)
            models.append(ModelSpec(source=spec.out, device="cpu"))
        asked = EvaluateSpec(model=models[0], compare=(models[1],), tasks=("bundled",), limit=ITEMS, seed=items_seed)
        file = evaluate(asked, context).file
        assert file is not None
        tasks = read_scores(file, spec).tasks
    numbers = [np.unique(task.clusters, return_inverse=True)[1] for task in tasks]
    return ([task.pruned for task in tasks], [task.dense for task in tasks]), numbers
