"""Mask bits that another draw, another noise and the discount move: `python -m benchmarks.noise [--model SRC]`.

Masks of Sink-Wanda's control (`wanda-noised`) at one sparsity, compared with those of another calibration seed, of the
same text noised by another draw, of the other noise, and of Sink-Wanda itself; means over seeds, with their range.
"""

import argparse
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from benchmarks.ratios import Ratio


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print the figures, and return what the discount moves beside what another seed does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a diffusion model (default bundled)")
    parser.add_argument("--data", default="bundled", help="calibration text (default bundled)")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    from analysis.calibration.activations import feature_scores
    from analysis.calibration.noise import noised_sequences
    from analysis.calibration.runners import Resident
    from analysis.calibration.text import calibration_text
    from analysis.models.load import load
    from analysis.pruning.selection import pruned_mask
    from analysis.pruning.wanda import wanda_score
    from analysis.specs import NOISES, CalibrationParams, DiscountParams, ModelSpec

    model = load(ModelSpec(source=options.model, device="cpu", dtype="float32"))
    runner, geometry = Resident(model), model.geometry

    def masks(seed: int, noise: str, discount: DiscountParams | None, draw: int | None = None) -> np.ndarray:
        """All bits, (weights,) bool. draw: the seed of the noise, where not that of the text."""
        params = CalibrationParams.model_validate(
            {"data": options.data, "samples": options.samples, "seq_len": options.seq_len, "seed": seed, "noise": noise}
        )
        tokens = calibration_text(params, model.tokenizer, geometry.max_length, geometry.vocabulary).tokens
        drawn = params if draw is None else params.model_copy(update={"seed": draw})
        scores = feature_scores(runner, noised_sequences(tokens, drawn, model.mask_token or 0), discount, 2**31).scores
        return np.concatenate(
            [
                pruned_mask(wanda_score(module.weight, scores[layer][name]), options.sparsity, "unstructured")
                .numpy()
                .ravel()
                for layer, block in enumerate(model.blocks)
                for name, module in model.projections(block).items()
            ]
        )

    def mean_share(what: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        shares = [float((first != second).mean()) for first, second in pairs]
        print(f"{what:58} {np.mean(shares):8.3%}   {min(shares):.3%} to {max(shares):.3%}", flush=True)
        return float(np.mean(shares))

    seeds = range(max(2, options.seeds))
    noises = [name for name, row in NOISES.items() if not (row.random_tokens or row.clean)]
    plain = {(noise, seed): masks(seed, noise, None) for noise in noises for seed in seeds}
    length = min(options.seq_len, geometry.max_length)
    print(f"{model.architecture.name}, {options.model}: {plain['steps', 0].size:,} weights at {options.sparsity:.0%}")
    print(f"{options.samples} sequences of {length} tokens, {len(seeds)} seeds")
    print("mask bits that differ: mean, range over seeds")
    ratios = []
    for noise in noises:
        controls = [plain[noise, seed] for seed in seeds]
        of_seed = mean_share(f"noise '{noise}': another calibration seed", pairwise([*controls, controls[0]]))
        again = (masks(seed, noise, None, 1000 + seed) for seed in seeds)
        mean_share(f"noise '{noise}': the same text, its noise drawn again", zip(controls, again, strict=True))
        discounted = (masks(seed, noise, DiscountParams()) for seed in seeds)
        of_discount = mean_share(f"noise '{noise}': the published discount", zip(controls, discounted, strict=True))
        what = f"mask bits moved, noise '{noise}'"
        ratios.append(Ratio(what, "published discount / another calibration seed", of_discount / of_seed))
    mean_share(
        "noise 'uniform' in place of 'steps'", ((plain["steps", seed], plain["uniform", seed]) for seed in seeds)
    )
    return ratios


if __name__ == "__main__":
    main()
