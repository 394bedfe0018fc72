"""Growth of time and memory along one size at a time, beside the formula of the work.

`python -m benchmarks.growth [--rounds 3] [--quick]`: the bundled model and random LLaDAs on the CPU. Every cost is
measured at one, two and four times a size, in turns, and printed with what a doubling does to it: seconds of the
processor, which other work on the machine disturbs less than the clock's, and the most memory held beside the model
(Linux only). Nothing should grow faster than its formula; parts that do not grow with the size let it grow more slowly.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.job_context import SilentContext
from analysis.machine import threads
from analysis.machine.allotment import allotted_cpus
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.pruned.compare import compare
from analysis.recording.collecting import record
from analysis.recording.denoising import denoise
from analysis.specs import CalibrateSpec, CalibrationParams, EvaluateSpec, LLaDASampling, ModelSpec, RecordSetSpec
from benchmarks.pruning import MIB, TINY, alternate, extra_bytes, random_llada
from benchmarks.ratios import Ratio
from cache.stores import Stores

FACTORS = (1, 2, 4)


@dataclass(frozen=True)
class Cost:
    """Work along one size. sizes, runs: of each run its size and what is timed.

    formula: in words. work: its value at a size, in any unit.
    """

    what: str
    along: str
    sizes: tuple[int, ...]
    formula: str
    work: Callable[[int], float]
    runs: tuple[Callable[[], Any], ...]


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print the table, and return how much more than its formula each cost grows from the first size to the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each (default 3)")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes and one round: does everything run?")
    options = parser.parse_args(arguments)
    threads.apply()
    factors, rounds = (FACTORS[:2], 1) if options.quick else (FACTORS, options.rounds)
    ratios = []
    sizes = ", ".join(f"{factor}×" for factor in factors)
    print(f"Sizes {sizes}; {rounds} rounds, medians; torch {torch.__version__}, {allotted_cpus()} CPUs.\n")
    print("| what | along | sizes | CPU s | grows by | formula | formula grows by | MiB beside the model |")
    print("| --- | --- | --- | --- | ---: | --- | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for cost in costs(Path(folder), options.quick, factors):
            ratios.append(measure(cost, rounds))
    return ratios


def measure(cost: Cost, rounds: int) -> Ratio:
    """Print a row, and return its growth beside the formula's."""
    named = {str(size): run for size, run in zip(cost.sizes, cost.runs, strict=True)}
    cost.runs[0]()  # the libraries keep memory from their first run, at any size
    extra = [extra_bytes(run)[1] / MIB for run in named.values()]
    runs = alternate(named, rounds)
    seconds = {name: statistics.median(run.processor for run in taken) for name, taken in runs.items()}
    first, last = str(cost.sizes[0]), str(cost.sizes[-1])
    growths = [after.processor / before.processor for before, after in zip(runs[first], runs[last], strict=True)]
    expected = cost.work(cost.sizes[-1]) / cost.work(cost.sizes[0])
    print(
        f"| {cost.what} | {cost.along} | {', '.join(map(str, cost.sizes))} "
        f"| {', '.join(f'{value:.2f}' for value in seconds.values())} | {statistics.median(growths):.2f} "
        f"| {cost.formula} | {expected:.2f} | {', '.join(f'{value:.0f}' for value in extra)} |",
        flush=True,
    )
    shares = [growth / expected for growth in growths]
    return Ratio(
        f"{cost.what}, {cost.along} × {cost.sizes[-1] // cost.sizes[0]}",
        "growth of the seconds / of the formula",
        statistics.median(shares),
        min(shares),
        max(shares),
    )


def costs(folder: Path, quick: bool, factors: tuple[int, ...]) -> Iterator[Cost]:
    """Every cost, its models made as it is come to. quick: the smallest sizes."""
    bundled = load(ModelSpec(device="cpu"))
    yield from _recordings(bundled, folder, quick, factors)
    yield _set(folder, quick, factors)
    yield _statistics(folder, quick, factors)
    yield _masks(quick, factors)
    yield _answers(folder, quick, factors)


def _recordings(bundled: LoadedModel, folder: Path, quick: bool, factors: tuple[int, ...]) -> Iterator[Cost]:
    """Denoising with the attention of every step kept, along steps, positions and heads of all layers."""
    steps, positions = (2, 16) if quick else (8, 64)

    def run(model: LoadedModel, new_tokens: int, forwards: int) -> Callable[[], Any]:
        prompt = torch.full((1, positions // 4), 5)
        sampling = LLaDASampling(gen_length=new_tokens, steps=forwards)
        length = sampling.length(prompt.shape[1])
        return lambda: record(denoise(model, prompt, sampling, 0), forwards, length, "float32")

    def forward_work(layers: int, hidden: int, inner: int, length: int) -> float:
        """Count the multiplications of a forward: projections, attention, and the products of queries and keys once
        more.
        """
        return layers * length * (4 * hidden**2 + 3 * hidden * inner + 3 * length * hidden)

    new = 3 * positions // 4
    sizes = tuple(steps * factor for factor in factors)
    runs = tuple(run(bundled, new * max(factors), size) for size in sizes)
    yield Cost("recording", "steps T", sizes, "T", float, runs)

    shape = bundled.network.config
    widths = shape.d_model, shape.mlp_hidden_size
    layers = bundled.geometry.layers
    sizes = tuple(positions * factor for factor in factors)
    runs = tuple(run(bundled, size - positions // 4, steps) for size in sizes)
    yield Cost(
        "recording",
        "positions S",
        sizes,
        "S·d·(4d + 3f) + 3·S²·d",
        lambda size: forward_work(layers, *widths, size),
        runs,
    )

    depths = tuple((1 if quick else 2) * factor for factor in factors)
    deep = [
        random_llada(folder / f"layers-{depth}", {**TINY, "n_layers": depth}, 4 * positions, "float32")
        for depth in depths
    ]
    runs = tuple(run(model, new, steps) for model in deep)
    heads = tuple(depth * TINY["n_heads"] for depth in depths)
    yield Cost("recording", "heads of all layers L·H", heads, "L·H", float, runs)


def _context(folder: Path, name: str) -> Callable[[], SilentContext]:
    """Return a maker of contexts whose stores are empty, so that nothing is read in place of being computed."""
    made = 0

    def context() -> SilentContext:
        nonlocal made
        made += 1
        scratch = folder / f"{name}-{made}"
        scratch.mkdir()
        return SilentContext(scratch, Stores(scratch / "home"))

    return context


def _set(folder: Path, quick: bool, factors: tuple[int, ...]) -> Cost:
    from analysis.jobs.recording_sets import record_set

    sizes = tuple((2 if quick else 8) * factor for factor in factors)
    sampling = LLaDASampling(gen_length=8 if quick else 32, steps=4 if quick else 16)
    context = _context(folder, "set")

    def run(count: int) -> Callable[[], Any]:
        spec = RecordSetSpec(
            model=ModelSpec(device="cpu"), count=count, sampling=sampling, random_models=0 if quick else 1
        )
        return lambda: record_set(spec, context())

    return Cost("sinks over a set", "prompts N", sizes, "N", float, tuple(map(run, sizes)))


def _statistics(folder: Path, quick: bool, factors: tuple[int, ...]) -> Cost:
    from analysis.jobs.calibration import calibrate

    sizes = tuple((2 if quick else 8) * factor for factor in factors)
    context = _context(folder, "statistics")

    def run(samples: int) -> Callable[[], Any]:
        length, interval = (16, 25) if quick else (64, 5)
        calibration = CalibrationParams(samples=samples, seq_len=length, step_interval=interval)
        spec = CalibrateSpec(model=ModelSpec(device="cpu"), calibration=calibration, byte_budget=2**30)
        return lambda: calibrate(spec, context())

    return Cost("statistics for tuning", "sequences N", sizes, "N", float, tuple(map(run, sizes)))


def _masks(quick: bool, factors: tuple[int, ...]) -> Cost:
    """Two masks of so many layers, counted as Masks does, one matrix at a time."""
    width = 64 if quick else 1024
    random = np.random.default_rng(0)
    first, second = (random.random((width, width)) < 0.5 for _ in range(2))

    def run(layers: int) -> Callable[[], Any]:
        return lambda: compare(
            ((layer, name, first, second) for layer in range(layers) for name in ("q_proj", "v_proj", "o_proj")),
            layers,
            ("q_proj", "v_proj", "o_proj"),
            8,
            8,
        )

    sizes = tuple(8 * factor for factor in factors)
    return Cost("comparing two masks", f"layers of 3 × {width}²", sizes, "weights", float, tuple(map(run, sizes)))


def _answers(folder: Path, quick: bool, factors: tuple[int, ...]) -> Cost:
    from analysis.jobs.evaluation import evaluate

    sizes = tuple((2 if quick else 32) * factor for factor in factors)
    context = _context(folder, "answers")

    def run(items: int) -> Callable[[], Any]:
        draws = 2 if quick else None
        spec = EvaluateSpec(model=ModelSpec(device="cpu"), tasks=("bundled_story",), limit=items, draws=draws)
        return lambda: evaluate(spec, context())

    return Cost("scoring a task", "items N", sizes, "N", float, tuple(map(run, sizes)))


if __name__ == "__main__":
    main()
