"""False sentences about sets of recordings: how often a page says anything where nothing is there, and how often the
intervals of single values hold the truth, at the numbers of prompts that studies take.

A set of many prompts is the population, of which studies draw prompts with replacement. Three nulls are true by
construction. swapped: what was observed and what its null gave change places on a random half of the prompts.
unrelated: both sides are the trained model's, on independent draws. log-normal: both are independent log-normal sums
with the population's means and spreads. A study is false where any comparison in any layer is significant: all that a
page could say is one family.

The population is recorded once, into the folder of the sets.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from analysis.findings.sets import comparisons_of
from analysis.recording.set_file import RecordingSet, open_set, save
from analysis.recording.set_measures import KIND_MEASURES, MOVES, arrays_of
from analysis.sinks.intervals import Parts, paired_differences, quotient
from benchmarks.honesty.parts import Outcome, Row, Sets, at_least, at_most

SIZES = (30, 50)
STUDIES, PROMPTS, TOKENS = 1000, 222, 48
LEAST_HELD = 0.93
COVERED = 200  # studies of which every interval is asked
_PORTION = 0.1  # of a layer's sinks: rarer kinds are not looked at

Pair = tuple[Parts, Parts]


def population(recordings: RecordingSet) -> Pair:
    """Return all values that a set's sentences compare, one row per prompt: observed and null, (N, M) each. Comparisons
    for which some prompt has no value are left out.
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
    """Return observed and null in random order, prompt by prompt."""
    rows, swap = rng.integers(len(of[0][0]), size=size), rng.random((size, 1)) < 0.5
    (above, below), (other_above, other_below) = ([part[rows] for part in side] for side in of)
    return (
        (np.where(swap, other_above, above), np.where(swap, other_below, below)),
        (np.where(swap, above, other_above), np.where(swap, below, other_below)),
    )


def unrelated(of: Pair, size: int, rng: np.random.Generator) -> Pair:
    """Return what was observed on some prompts beside the same measures on others."""
    (above, below), _ = of
    one, other = (rng.integers(len(above), size=size) for _ in range(2))
    return (above[one], below[one]), (above[other], below[other])


def log_normal(of: Pair, size: int, rng: np.random.Generator) -> Pair:
    """Draw independent log-normal numerators with the population's means and spreads, over its mean denominators."""
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


def is_false(of: Pair, null: str, size: int, number: int) -> bool:
    """Return whether any comparison of a study of `size` prompts is significant where none differs. number: seed."""
    rng = np.random.default_rng((size, number))
    [told] = paired_differences([NULLS[null](of, size, rng)], seed=number)
    return bool(((told.low > 0) | (told.high < 0)).any())


def held(recordings: RecordingSet, size: int, number: int) -> float:
    """Return the share of values whose interval in a study of `size` prompts holds that of the population, the mean
    over measures. number: seeds it.
    """
    arrays = arrays_of(recordings, "trained")
    often = arrays["sinks"].sum(axis=0) >= _PORTION * arrays["sinks"].sum(axis=(0, 2))[:, None]
    rows, shares = np.random.default_rng((size, number)).integers(recordings.prompts, size=size), []
    for name, row in (*MOVES.items(), *KIND_MEASURES.items()):
        above, below = row.parts(arrays)
        below = np.broadcast_to(below, above.shape)
        if name in KIND_MEASURES:
            above, below = above[:, often], below[:, often]
        truth, told = quotient(above, below).value, quotient(above[rows], below[rows])
        known = np.isfinite(told.value) & np.isfinite(truth)
        shares.append(float(((told.low <= truth) & (truth <= told.high))[known].mean()))
    return float(np.mean(shares))


def sentences(sets: Sets) -> list[Row]:
    """Count false sentences per null and number of prompts, and the coverage of single values."""
    file = sets.folder / "population.safetensors"
    if not file.is_file():
        sets.folder.mkdir(parents=True, exist_ok=True)
        save(recorded(PROMPTS, TOKENS), file)
    return rows_of(open_set(file), sets)


def rows_of(recordings: RecordingSet, sets: Sets) -> list[Row]:
    """Return the rows of a population."""
    of, rows = population(recordings), []
    for null in NULLS:
        for size in SIZES:

            def one(number: int, null: str = null, size: int = size) -> Outcome:
                return {"false": float(is_false(of, null, size, number))}

            outcomes = sets.run(f"{null}-{size}", STUDIES, one)
            rows.append(at_most(f"any false sentence on {size} prompts, {null}", outcomes, "false"))
    for size in SIZES:

        def covers(number: int, size: int = size) -> Outcome:
            return {"held": held(recordings, size, number)}

        outcomes = sets.run(f"coverage-{size}", COVERED, covers)
        rows.append(at_least(f"intervals of single values on {size} prompts", outcomes, "held", LEAST_HELD))
    return rows


def recorded(prompts: int, tokens: int) -> RecordingSet:
    """Record a set of the bundled diffusion model, without models of other weights."""
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
