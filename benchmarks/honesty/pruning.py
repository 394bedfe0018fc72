"""Verdicts on differences between pruned models: where there is none, how wide their intervals are, and their power."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np

from analysis.evaluation import plan_noise, planning
from analysis.evaluation.plan_noise import Sample
from analysis.evaluation.planning import Noise, Plan
from analysis.statistics.crossed import crossed_difference
from analysis.statistics.decisions import BETTER, EQUIVALENT, WORSE, decide
from analysis.statistics.differences import Difference, in_family
from analysis.words import percent
from benchmarks.honesty import scores
from benchmarks.honesty.parts import (
    COVERAGE,
    POWER,
    REAL_NULLS,
    Outcome,
    Row,
    Sets,
    as_said,
    at_least,
    at_most,
    few_of,
    share,
)
from benchmarks.honesty.scores import DISCOUNT, NOISE, RECIPE, Scored, Task

SETS = 1000
TESTS = 12  # of a quick study: three pairs at two sparsities, and the outcomes of hiding sinks in two models
MARGIN = 0.01
PILOTS, PILOT_SEEDS = 1000, 8  # studies whose noise is taken for the true one
SIZES = ((3, 64), (6, 64), (6, None))  # calibration seeds and items per task, None: all
PAIRS = {"discount": DISCOUNT, "recipe": RECIPE, "noise": NOISE}


def difference(study: Scored, pair: tuple[int, int]) -> Difference:
    """Compare one pair of methods as a study does."""
    first, second = ([task.scores[method] for task in study] for method in pair)
    return crossed_difference(first, second, [task.clusters for task in study], test=True)


def decided(studies: Sequence[Scored], margin: float = MARGIN) -> list[str]:
    """Decide on all pairs at all sparsities, in the family of a quick study. studies: one per sparsity."""
    found = [difference(study, pair) for study in studies for pair in PAIRS.values()]
    return [decide(one, margin) for one in in_family(found, TESTS)]


def _false(studies: Sequence[Scored]) -> Outcome:
    """Return whether any difference is found among studies without an effect, and whether one comparison alone finds
    it.
    """
    alone = decide(in_family([difference(studies[0], DISCOUNT)])[0], MARGIN)
    return {"any": any(one in (BETTER, WORSE) for one in decided(studies)), "alone": alone in (BETTER, WORSE)}


def _rows_of_nulls(what: str, outcomes: list[dict[str, float]]) -> list[Row]:
    return [
        at_most(f"{what}: something called different in a study", outcomes, "any"),
        at_most(f"{what}: one comparison alone called different", outcomes, "alone"),
    ]


# --- parts ------------------------------------------------------------------------------------------------------


def simulated(sets: Sets) -> list[Row]:
    """Judge studies in which no method differs, drawn from a model of keys, items, methods and seeds."""
    shapes = {
        "items of their own": [np.arange(64)] * 6,
        "keys of 1 to 8 items": [np.repeat(np.arange(60), 1 + np.arange(60) % 8)] * 3,
    }
    rows = []
    for name, clusters in shapes.items():
        for seeds in (3, 6):

            def one(number: int, seeds: int = seeds, clusters: list[np.ndarray] = clusters) -> Outcome:
                rng = np.random.default_rng((1, seeds, number))
                return _false([scores.simulated(rng, seeds, clusters) for _ in range(2)])

            rows += _rows_of_nulls(f"{name}, {seeds} seeds", sets.run(f"{name} {seeds}", SETS, one))
    return rows


def resampled(sets: Sets) -> list[Row]:
    """Judge studies drawn from stored items and seeds. With the methods' answers exchanged, none differs; as they are,
    the interval must hold the value over all items and seeds; a difference as large as the margin must not be ruled
    out.
    """
    stored, rows = scores.stored(), []
    for seeds, items in SIZES:
        size = f"{seeds} seeds, {items or 'all'} items a task"

        def null(number: int, seeds: int = seeds, items: int | None = items) -> Outcome:
            rng = np.random.default_rng((2, seeds, number))
            return _false([scores.exchanged(scores.drawn(one, rng, seeds, items), rng) for one in stored.values()])

        def covered(number: int, seeds: int = seeds, items: int | None = items) -> Outcome:
            rng = np.random.default_rng((3, seeds, number))
            outcome = {}
            for sparsity, scored in stored.items():
                study = scores.drawn(scored, rng, seeds, items)
                for name, pair in PAIRS.items():
                    one, truth = difference(study, pair), _truth(scored, pair)
                    outcome[f"{name} {sparsity}"] = float(one.low <= truth <= one.high)
            return outcome

        def edge(number: int, seeds: int = seeds, items: int | None = items) -> Outcome:
            rng = np.random.default_rng((4, seeds, number))
            study = scores.exchanged(scores.drawn(stored[0.5], rng, seeds, items), rng)
            one = replace(difference(scores.planted(study, rng, MARGIN, stored[0.5]), DISCOUNT), tests=TESTS)
            alone = replace(one, tests=1)
            return {"family": float(one.within(MARGIN)), "alone": float(alone.within(MARGIN))}

        rows += _rows_of_nulls(size, sets.run(f"null {seeds} {items}", SETS, null))
        outcomes = sets.run(f"covered {seeds} {items}", SETS, covered)
        lowest = min(outcomes[0].keys() - {"set"}, key=lambda name: share(outcomes, name))
        rows.append(at_least(f"{size}: interval holds the truth (lowest: {lowest})", outcomes, lowest, COVERAGE))
        outcomes = sets.run(f"edge {seeds} {items}", SETS, edge)
        rows.append(at_most(f"{size}: a difference as large as the margin ruled out", outcomes, "alone"))
    return rows


def power(sets: Sets) -> list[Row]:
    """Judge studies with and without a planted effect against what the plan says of their size, and studies of the size
    that the plan names for an effect.
    """
    rows, scored = [], scores.stored()[0.5]
    for seeds, items, effect in ((6, 64, 0.02), (6, None, 0.01), (8, None, 0.01), (12, 128, 0.015)):
        planned = planning.plan(scores.sizes(scored), true_noise(scored, effect, items), items, seeds, TESTS, effect)
        none = true_noise(scored, 0.0, items)
        free = planning.plan(scores.sizes(scored), none, items, seeds, TESTS, effect)
        rows += _power_rows(sets, scored, planned, free, effect)
    effect = 0.012
    sized = planning.needed(scores.sizes(scored), true_noise(scored, effect), effect, TESTS)
    if sized is None:
        return [*rows, Row("a size that shows 1.2 points", "none named", f"≥ {percent(POWER, 0)}", False, 0)]
    outcomes = _outcomes(sets, scored, sized, effect)
    what = f"planted {100 * effect:g} points found at the size named ({sized.seeds} seeds, {sized.items:,} items)"
    return [*rows, at_least(what, outcomes, "shown", POWER)]


def halves(sets: Sets) -> list[Row]:
    """Judge the two halves of one method's seeds, which differ in nothing."""
    splits = []
    for scored in scores.stored().values():
        count = scored[0].scores.shape[1]
        halves = [half for half in combinations(range(count), count // 2) if 0 in half]
        rng = np.random.default_rng(5)
        for method in range(len(scores.METHODS)):
            for at in rng.permutation(len(halves))[:4]:
                splits.append((scored, method, halves[at]))

    def one(number: int) -> Outcome:
        scored, method, half = splits[number]
        other = [seed for seed in range(scored[0].scores.shape[1]) if seed not in half]
        study = [Task(np.stack([task.scores[method][other], task.scores[method][list(half)]]), task.clusters)
                 for task in scored]  # fmt: skip
        told = decide(in_family([difference(study, (1, 0))])[0], MARGIN)
        return {"different": float(told in (BETTER, WORSE))}

    assert len(splits) >= REAL_NULLS[0]
    return [few_of("halves called different", sets.run("halves", len(splits), one), "different")]


# --- power ------------------------------------------------------------------------------------------------------


@cache
def true_noise(scored: tuple[Task, ...], effect: float, items_a_task: int | None = None) -> Noise:
    """Return the noise of studies of this size that are drawn from these scores, without the margins that a plan adds
    for what it has seen little of.
    """
    samples = []
    for number in range(PILOTS):
        rng = np.random.default_rng((6, number))
        study = scores.exchanged(scores.drawn(scored, rng, PILOT_SEEDS, items_a_task), rng)
        study = scores.planted(study, rng, effect, scored) if effect else study
        first, second = (tuple(task.scores[method] for task in study) for method in DISCOUNT)
        samples.append(Sample(first, second, tuple(task.clusters for task in study), ((str(number), str(number)),)))
    return plan_noise.measured(samples, cautious=False)


def _outcomes(sets: Sets, scored: Scored, planned: Plan, effect: float) -> list[dict[str, float]]:
    def one(number: int) -> Outcome:
        rng = np.random.default_rng((7, planned.seeds, number))
        study = scores.exchanged(scores.drawn(scored, rng, planned.seeds, planned.items_a_task), rng)
        none = replace(difference(study, DISCOUNT), tests=TESTS)
        there = in_family([difference(scores.planted(study, rng, effect, scored), DISCOUNT)], TESTS)[0]
        return {"shown": float(decide(there, 0.0) == BETTER), "excluded": float(decide(none, effect) == EQUIVALENT)}

    return sets.run(f"planted {100 * effect:g} {planned.seeds} {planned.items_a_task}", SETS, one)


def _power_rows(sets: Sets, scored: Scored, planned: Plan, free: Plan, effect: float) -> list[Row]:
    outcomes = _outcomes(sets, scored, planned, effect)
    size = f"{planned.seeds} seeds, {planned.items_a_task or 'all'} items a task, {100 * effect:g} points"
    return [
        as_said(f"{size}: shown", outcomes, "shown", planned.power),
        as_said(f"{size}: ruled out where there is none", outcomes, "excluded", free.exclusion),
    ]


def _truth(scored: Scored, pair: tuple[int, int]) -> float:
    """Return the difference over all items and seeds, the mean over tasks."""
    return float(np.mean([task.scores[pair[0]].mean() - task.scores[pair[1]].mean() for task in scored]))
