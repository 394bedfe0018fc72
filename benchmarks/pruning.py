"""Cost of sink-aware pruning, against a plain implementation of the published procedure.

`python -m benchmarks.pruning [--rounds 3] [--vocabulary 8192] [--quick]`: random LLaDAs on the CPU, the procedures
alternating in one run. It prints medians of paired rounds as tables.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import feature_scores
from analysis.calibration.noise import noised_sequences
from analysis.calibration.runners import Resident
from analysis.job_context import SilentContext
from analysis.machine import process
from analysis.machine.process import allotted_cpus
from analysis.models.load import load, register
from analysis.models.loaded import LoadedModel
from analysis.models.native_code import LLaDAConfig, LLaDAModelLM
from analysis.pruning import dense, pipeline
from analysis.pruning.algorithm import Calibration, Prepared
from analysis.pruning.selection import pruned_mask
from analysis.pruning.wanda import wanda_score
from analysis.specs import CalibrationParams, DiscountParams, ModelSpec, PruneSpec
from benchmarks import published
from benchmarks.ratios import Ratio, paired

# The head's share of the weights is that of LLaDA-8B: 6.4 %.
LARGE = {"d_model": 768, "n_layers": 12, "n_heads": 12, "mlp_hidden_size": 2048, "vocab_size": 8192}
SHALLOW = {**LARGE, "n_layers": 3, "vocab_size": 2048}
TINY = {"d_model": 64, "n_layers": 2, "n_heads": 4, "mlp_hidden_size": 160, "vocab_size": 512}


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print a table for feature scores and one for sink-sparsegpt, and return their ratios of wall clock.

    Raises AssertionError where masks differ.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each (default 3)")
    parser.add_argument("--vocabulary", type=int, default=LARGE["vocab_size"], help="tokens the head predicts")
    parser.add_argument("--quick", action="store_true", help="tiny models and one round: does everything run?")
    options = parser.parse_args(arguments)
    process.apply()
    process.keep_freed_memory()  # as workers and the command line do
    lengths = (32, 64) if options.quick else (512, 1024)
    shape = TINY if options.quick else {**LARGE, "vocab_size": options.vocabulary}
    shallow = TINY if options.quick else SHALLOW
    rounds = 1 if options.quick else options.rounds
    began, ratios = time.perf_counter(), list[Ratio]()
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "bfloat16"):
            model = random_llada(Path(folder) / precision, shape, max(lengths), precision)
            if precision == "float32":
                print(f"{_describe(model)}; {allotted_cpus()} CPUs, torch {torch.__version__}.\n")
                print("| precision | positions | procedure | s a row | published / this | masks equal |")
                print("| --- | --- | --- " + "| ---: " * 3 + "|")
            for length in lengths:
                ratios += compare_scores(model, length, rounds)
        del model
        model = random_llada(Path(folder) / "shallow", shallow, lengths[0], "float32")
        print(f"\nsink-sparsegpt: {_describe(model)}.\n")
        ratios += compare_sparsegpt(model, Path(folder), lengths[0], rounds, 2 if options.quick else 4)
    load_average = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    print(f"\n{rounds} rounds in {time.perf_counter() - began:.0f} s; load average at the end {load_average}.")
    return ratios


def random_llada(folder: Path, shape: dict[str, Any], length: int, precision: str) -> LoadedModel:
    """A LLaDA of this shape with random weights, loaded as any checkpoint is."""
    register()
    torch.manual_seed(0)
    config = LLaDAConfig(
        **shape, max_sequence_length=length, pad_token_id=0, eos_token_id=1, mask_token_id=shape["vocab_size"] - 1
    )
    LLaDAModelLM(config).to(getattr(torch, precision)).save_pretrained(folder)
    return load(ModelSpec.model_validate({"source": str(folder), "device": "cpu", "dtype": precision}))


def random_text(model: LoadedModel, sequences: int, length: int, interval: int) -> Calibration:
    """Random tokens, noised at every `interval` of 50 steps.

    The level that masks all, which only the published procedure runs for every sequence, occurs with intervals that
    divide 50.
    """
    clean = np.random.default_rng(0).integers(2, model.geometry.vocabulary - 1, (sequences, length))
    return Calibration(clean, noised_sequences(clean, CalibrationParams(step_interval=interval), model.mask_token or 0))


def compare_scores(model: LoadedModel, length: int, rounds: int) -> list[Ratio]:
    """Print the rows of one precision and length, feature scores of two noised rows, and return their ratios."""
    noised, discount, runner = random_text(model, 2, length, 30).noised, DiscountParams(), Resident(model)
    assert noised is not None
    procedures: dict[str, Callable[[], Any]] = {
        "published": lambda: published.feature_scores(model, noised, discount),
        "one forward": lambda: feature_scores(runner, noised, discount, 2**62),
        "two passes": lambda: feature_scores(runner, noised, discount, 0),
        "bare forward": lambda: [
            model.hidden(torch.from_numpy(tokens)) for tokens in noised.swapaxes(0, 1)[0][:, None]
        ],
    }
    procedures["bare forward"]()  # the libraries keep memory from their first run, of any procedure
    theirs = published.masks(model, procedures["published"](), 0.5)
    equal = {
        name: require_equal(_masks(model, procedures[name]().scores), theirs) for name in ("one forward", "two passes")
    }
    wall = alternate(procedures, rounds)
    for name, seconds in wall.items():
        print(
            f"| {model.dtype} | {length} | {name} | {statistics.median(seconds) / len(noised):.2f} "
            f"| {_ratio(wall['published'], seconds):.2f} | {f'{equal[name]:.4%}' if name in equal else ''} |",
            flush=True,
        )
    what = f"sink-wanda, {model.dtype}, {length} positions"
    return [
        paired(what, "published / one forward", wall["published"], wall["one forward"]),
        paired(what, "published / two passes", wall["published"], wall["two passes"]),
        paired(what, "one forward / bare forward", wall["one forward"], wall["bare forward"]),
    ]


def compare_sparsegpt(model: LoadedModel, folder: Path, length: int, rounds: int, sequences: int) -> list[Ratio]:
    """Print both phases of sink-sparsegpt and their sum, on as many clean sequences noised at ten levels each, and
    return their ratios.
    """
    text = random_text(model, sequences, length, 5)
    prepared: list[Prepared] = []
    published_weights: list[torch.Tensor] = []
    spec = PruneSpec(model=model.spec, method="sink-sparsegpt", out=str(folder / "unwritten"))
    run = pipeline.start(model, spec, SilentContext(folder))
    run.removal.share_out(np.full(model.geometry.layers, spec.sparsity))

    def token_weights(ours: bool) -> None:
        if ours:
            prepared[:] = [dense.prepare(run, text)]
        else:
            assert text.noised is not None
            published_weights[:] = [published.token_weights(model, text.noised, spec.discount)]

    def solve(ours: bool) -> dict[published.Place, torch.Tensor]:
        if not ours:
            return published.sparsegpt(model, text.clean, published_weights[0], spec.sparsity)
        return {
            (layer, name): flags
            for layer, block, statistics in pipeline.blocks(run, text, prepared[0])
            for name, flags in pipeline.prune_block(run, layer, block, statistics, prepared[0]).items()
        }

    def both(phase: Callable[[bool], Any]) -> dict[str, Callable[[], Any]]:
        return {"published": lambda: phase(False), "ours": lambda: phase(True)}

    costs = {"token weights": alternate(both(token_weights), rounds)}
    # A weight that goes changes all columns after it, so rounding turns close decisions and those turn others. It may
    # not turn more of ours than of the published procedure's own.
    ours, theirs = solve(True), solve(False)
    exact = published.sparsegpt(model, text.clean, published_weights[0], spec.sparsity, torch.float64)
    shares = [_agreement(ours, exact), _agreement(theirs, exact)]
    assert 1 - shares[0] <= 2 * (1 - shares[1]) + 1e-4, shares
    costs["layer by layer"] = alternate(both(solve), rounds)
    costs["together"] = {
        who: [sum(pair) for pair in zip(*(cost[who] for cost in costs.values()), strict=True)]
        for who in ("published", "ours")
    }
    print(
        f"{sequences} sequences of {length} positions, ten noise levels. Masks equal those of the published procedure "
        f"solved in float64: {shares[0]:.3%} of ours, {shares[1]:.3%} of its own in float32; of ours those of its own: "
        f"{_agreement(ours, theirs):.3%}.\n"
    )
    print("| phase | published s | ours s | published / ours |")
    print("| --- " + "| ---: " * 3 + "|")
    for phase, cost in costs.items():
        medians = " | ".join(f"{statistics.median(cost[who]):.2f}" for who in ("published", "ours"))
        print(f"| {phase} | {medians} | {_ratio(cost['published'], cost['ours']):.2f} |", flush=True)
    return [
        paired(f"sink-sparsegpt, {phase}", "published / ours", cost["published"], cost["ours"])
        for phase, cost in costs.items()
    ]


def alternate(procedures: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run; every round runs them all, one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in procedures}
    for _ in range(rounds):
        for name, procedure in procedures.items():
            began = time.perf_counter()
            procedure()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def _ratio(theirs: list[float], ours: list[float]) -> float:
    """Return how many times as long theirs took, the median of paired rounds."""
    return statistics.median(slow / fast for slow, fast in zip(theirs, ours, strict=True))


def _masks(model: LoadedModel, scores: list[dict[str, torch.Tensor]]) -> dict[published.Place, torch.Tensor]:
    return {
        (layer, name): pruned_mask(
            wanda_score(model.projections(model.blocks[layer])[name].weight, score), 0.5, "unstructured"
        )
        for layer, by_name in enumerate(scores)
        for name, score in by_name.items()
    }


def _agreement(ours: dict[published.Place, torch.Tensor], theirs: dict[published.Place, torch.Tensor]) -> float:
    """The share of weights on which both decide alike."""
    assert ours.keys() == theirs.keys()
    same = sum(int((ours[place] == flags).sum()) for place, flags in theirs.items())
    return same / sum(flags.numel() for flags in theirs.values())


def require_equal(ours: dict[published.Place, torch.Tensor], theirs: dict[published.Place, torch.Tensor]) -> float:
    """The share of weights on which both decide alike. Raises AssertionError below 99.999 %."""
    share = _agreement(ours, theirs)
    assert share >= 0.99999, f"only {share:.5%} of the masks agree"
    return share


def _describe(model: LoadedModel) -> str:
    network = model.network
    parameters = sum(weight.numel() for weight in network.parameters())
    head = network.get_output_embeddings().weight.numel()
    return (
        f"a random LLaDA of {parameters / 1e6:.1f}M parameters, {head / parameters:.1%} of them in the head "
        f"({model.geometry.layers} layers, hidden {model.geometry.hidden}, vocabulary {model.geometry.vocabulary})"
    )


if __name__ == "__main__":
    main()
