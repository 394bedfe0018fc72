"""False sentences about sets of recordings: how often a page says anything where nothing is there, and how often the
intervals of single values hold the truth, at the numbers of prompts that studies take.

A set of many prompts is the population, of which studies draw prompts with replacement. Three nulls are true by
construction. swapped: what was observed and what its null gave change places on a random half of the prompts.
unrelated: both sides are the trained model's, on independent draws. log-normal: both are independent log-normal sums
with the population's means and spreads. A study is false where any comparison in any layer is significant: all that a
page could say is one family.

    python -m benchmarks.movement --population sinks/bundled.safetensors

takes a set that `python -m analysis sinks --count 222` wrote; without one it records it first. --quick: few prompts and
studies: does everything run?
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from analysis.recording.set_file import RecordingSet, open_set
from analysis.recording.set_measures import KIND_MEASURES, MOVES, arrays_of
from analysis.recording.set_verdicts import comparisons_of
from analysis.sinks.intervals import Parts, paired_differences, quotient

SIZES = (30, 50)
STUDIES, PROMPTS = 1000, 222
MOST_FALSE, LEAST_HELD = 0.07, 0.93
_PORTION = 0.1  # of a layer's sinks: rarer kinds are not looked at

Pair = tuple[Parts, Parts]


def population(recordings: RecordingSet) -> Pair:
    """Everything that a set's sentences compare, a row a prompt: observed and null, (N, M) each; without comparisons
    that some prompt has no value for.
    """
    pairs = [(one.observed, null) for one in comparisons_of(recordings) for null in one.nulls]
    sides = [
        np.concatenate([np.broadcast_to(pair[side][part], pair[side][0].shape) for pair in pairs], axis=1, dtype=float)
        for side in (0, 1)
        for part in (0, 1)
    ]
    there = np.isfinite(sides).all(axis=(0, 1))
    above, below, other_above, other_below = (part[:, there] for part in sides)
    return (above, below), (other_above, other_below)


def swapped(of: Pair, size: int, rng: np.random.Generator) -> Pair:
    """Observed and null in random order, prompt by prompt."""
    rows, swap = rng.integers(len(of[0][0]), size=size), rng.random((size, 1)) < 0.5
    (above, below), (other_above, other_below) = ([part[rows] for part in side] for side in of)
    return (
        (np.where(swap, other_above, above), np.where(swap, other_below, below)),
        (np.where(swap, above, other_above), np.where(swap, below, other_below)),
    )


def unrelated(of: Pair, size: int, rng: np.random.Generator) -> Pair:
    """What was observed on some prompts beside the same on others."""
    (above, below), _ = of
    one, other = (rng.integers(len(above), size=size) for _ in range(2))
    return (above[one], below[one]), (above[other], below[other])


def log_normal(of: Pair, size: int, rng: np.random.Generator) -> Pair:
    """Independent log-normal numerators with the population's means and spreads, over its mean denominators."""
    (above, below), _ = of
    mean, std = above.mean(axis=0), above.std(axis=0)
    spread = np.sqrt(np.log1p((std / np.where(mean > 0, mean, 1)) ** 2))
    one, other = (mean * np.exp(spread * rng.standard_normal((size, len(mean))) - spread**2 / 2) for _ in range(2))
    whole = np.broadcast_to(below.mean(axis=0), one.shape)
    return (one, whole), (other, whole)


NULLS: Mapping[str, Callable[[Pair, int, np.random.Generator], Pair]] = {
    "swapped": swapped,
    "unrelated": unrelated,
    "log-normal": log_normal,
}


def false_rate(of: Pair, null: str, size: int, studies: int) -> float:
    """Return the share of studies with `size` prompts in which any comparison is significant, though none differs."""
    rng, false = np.random.default_rng(size), 0
    for number in range(studies):
        [told] = paired_differences([NULLS[null](of, size, rng)], seed=number)
        false += bool(((told.low > 0) | (told.high < 0)).any())
    return false / studies


def coverage(recordings: RecordingSet, size: int, studies: int) -> dict[str, float]:
    """Return how often the interval of a value holds that of the population, by measure, over layers and kinds."""
    arrays, rng = arrays_of(recordings, "trained"), np.random.default_rng(size)
    often = arrays["sinks"].sum(axis=0) >= _PORTION * arrays["sinks"].sum(axis=(0, 2))[:, None]
    held = {}
    for name, row in (*MOVES.items(), *KIND_MEASURES.items()):
        above, below = row.parts(arrays)
        below = np.broadcast_to(below, above.shape)
        if name in KIND_MEASURES:
            above, below = above[:, often], below[:, often]
        truth, hits = quotient(above, below).value, []
        for _ in range(studies):
            rows = rng.integers(len(above), size=size)
            told = quotient(above[rows], below[rows])
            known = np.isfinite(told.value) & np.isfinite(truth)
            hits.append(((told.low <= truth) & (truth <= told.high))[known])
        held[name] = float(np.concatenate(hits).mean())
    return held


def recorded(prompts: int, tokens: int) -> RecordingSet:
    """A set of the bundled diffusion model without other weights, recorded anew."""
    from analysis.job_context import SilentContext
    from analysis.jobs.recording_sets import record_set
    from analysis.specs import LLaDASampling, ModelSpec, RecordSetSpec

    with tempfile.TemporaryDirectory() as folder:
        spec = RecordSetSpec(
            model=ModelSpec(source="bundled"),
            count=prompts,
            random_models=0,
            sampling=LLaDASampling(gen_length=tokens, steps=tokens),
        )
        outcome = record_set(spec, SilentContext(Path(folder)))
        assert outcome.file is not None
        return open_set(outcome.file)


def main(arguments: list[str] | None = None) -> bool:
    """Prints the rates and whether they keep to the bars, which it returns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=Path, help="a set of recordings; recorded when left out")
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated per null and size")
    parser.add_argument("--quick", action="store_true", help="few prompts and studies")
    options = parser.parse_args(arguments)
    studies = 20 if options.quick else options.studies
    began = time.perf_counter()
    small = (4, 8) if options.quick else (PROMPTS, 48)
    recordings = open_set(options.population) if options.population else recorded(*small)
    of = population(recordings)
    print(f"{recordings.prompts} prompts, {of[0][0].shape[1]} comparisons per study, {studies} studies each.")
    kept = True
    print("\n| null | " + " | ".join(f"{size} prompts" for size in SIZES) + " |\n| --- |" + " --- |" * len(SIZES))
    for null in NULLS:
        rates = [false_rate(of, null, size, studies) for size in SIZES]
        kept &= max(rates) <= MOST_FALSE
        print(f"| {null} | " + " | ".join(f"{rate:.1%}" for rate in rates) + " |", flush=True)
    print(f"\nShare of studies with any false sentence; the bar is {MOST_FALSE:.0%}.")
    for size in SIZES:
        held = coverage(recordings, size, max(20, studies // 5))
        least, mean = min(held, key=lambda name: held[name]), float(np.mean(list(held.values())))
        kept &= mean >= LEAST_HELD
        print(
            f"{size} prompts: intervals of single values hold the truth in {mean:.1%}, least of {least} "
            f"({held[least]:.1%}); the bar of the mean is {LEAST_HELD:.0%}."
        )
    print(f"{'Kept' if kept else 'Missed'} in {time.perf_counter() - began:.0f} s.")
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
