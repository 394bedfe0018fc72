"""What the differences of an evaluation say, in sentences that claim no more than their intervals and tests hold."""

from collections.abc import Mapping, Sequence

from analysis.evaluation import comparing, conditions
from analysis.evaluation.comparing import OverSeeds, Pair
from analysis.evaluation.results import AVERAGE, Results
from analysis.statistics.crossed import SeedFloor
from analysis.statistics.decisions import POINTS, seen
from analysis.statistics.differences import AT_CHANCE, SHOWN, Difference, points
from analysis.words import p_words, percent


def verdicts(results: Results, some: Sequence[Pair]) -> list[str]:
    """A sentence or two a pair: the average difference, on which benchmarks there is one, what else differs, and which
    noise is not in the interval; and one for pairs that differ in their calibration seed alone, over the seeds.

    Every verdict goes by the p that is adjusted over all pairs of the evaluation, as the dots of the figure do.
    """
    family = comparing.family_with(results, some)
    floors = comparing.floors(results)
    sentences = []
    for pair in some:
        differences = family[pair]
        mean = comparing.overall(differences)
        who = f"{results.names[pair[0]]} against {results.names[pair[1]]}"
        if not mean.n:
            sentences.append(f"{who}: no common items yet.")
            continue
        told = [_shown(mean)]
        if mean.p is None:
            told = ["interim, no tests yet"]
        elif AVERAGE in differences:
            told += _shown_on(results, differences)
        where = "on average " if AVERAGE in differences else ""
        mismatch = comparing.mismatch(results, pair)
        sentences.append(
            f"{who}: {where}{_interval(mean)}; {'; '.join(told)}."
            + (f" Not only the method differs: {mismatch}." if mismatch else "")
            + _seed_noise(results, pair, floors)
        )
    together = comparing.over_seeds(results, comparing.pairs_with(results, some))
    together = tuple(group for group in together if set(group.pairs) <= set(some))
    return sentences + [over_seeds_in_words(results, group) for group in together]


def headline(results: Results, pair: Pair) -> tuple[str, str]:
    """Return what accuracy does between a run and its control in one sentence; and of which items, with the noise that
    is left out."""
    mean = comparing.overall(comparing.family_with(results, [pair])[pair])
    if not mean.n:
        return "Accuracy: the two have no items in common yet.", ""
    told = "interim, no tests yet" if mean.p is None else _shown(mean)
    noise = "" if mean.holds_seeds else ", one calibration seed whose noise the interval leaves out"
    return (
        f"Accuracy changes by {_interval(mean)} compared with the control: {told}.",
        f"Accuracy on {mean.n:,} items{noise}.",
    )


def adjustment(results: Results, some: Sequence[Pair] = ()) -> str:
    """What the tests are adjusted for, or that there are none yet. some: pairs that are chosen besides."""
    family = comparing.family_with(results, some)
    together = comparing.over_seeds(results, comparing.pairs_with(results, some))
    count = comparing.tests(family, together)
    if not count:
        return "Tests come when all items of all models are in."
    tasks = len(results.accuracies)
    over = f"{tasks} tasks and their average" if tasks > 1 else "one task"
    pairs = "1 pair" if len(family) == 1 else f"{len(family)} pairs"
    seeds = f", and {len(together)} over calibration seeds" if together else ""
    return f"Every p is adjusted by Holm over one family of {count} tests: {pairs} of models, {over}{seeds}."


def over_seeds_in_words(results: Results, group: OverSeeds) -> str:
    """What pairs that differ in their seed alone show together."""
    difference = group.difference
    first, second = (results.names[model] for model in group.pairs[0])
    seeds = ", ".join(map(str, group.seeds))
    told = "interim, no tests yet" if difference.p is None else _shown(difference)
    of_seeds = difference.seed_variance or 0.0
    both = difference.standard_error**2
    return (
        f"{first} against {second} and their like, over the calibration seeds {seeds} crossed with "
        f"{difference.clusters:,} clusters of items: {_interval(difference)}; {told}. Of its variance the seeds make "
        f"{percent(of_seeds / both if both else 0, 0)}."
    )


def _seed_noise(results: Results, pair: Pair, floors: Mapping[tuple[int, ...], SeedFloor]) -> str:
    """That the interval holds no noise of the calibration seed, where there is one, and how large it is found to be."""
    every = comparing.conditions_of(results)
    if all(conditions.CALIBRATION_SEED not in every[model] for model in pair):
        return ""
    measured = [
        f"{conditions.told(conditions.METHOD, every[models[0]][conditions.METHOD])} by {100 * floor.typical:.1f} points"
        for models, floor in floors.items()
        if not set(models).isdisjoint(pair)
    ]
    told = f"; two seeds differ, in root mean square, with {' and '.join(measured)}" if measured else ""
    return f" The calibration seed's own noise is not in this interval{told}."


def _shown_on(results: Results, differences: Mapping[str, Difference]) -> list[str]:
    """Tell on which single tasks a difference is significant, and on which there can be no verdict."""
    sides: dict[str, list[str]] = {side: [] for side in SHOWN}
    for name, difference in differences.items():
        if name != AVERAGE and difference.shown:
            sides[difference.words].append(results.benchmark(name).title)
    told = [f"{side} on {', '.join(titles)}" for side, titles in sides.items() if titles]
    tasks = [name for name in differences if name != AVERAGE]
    chance = [results.benchmark(name).title for name in tasks if not differences[name].above_chance]
    if not told and len(chance) < len(tasks):
        told = ["not significant on any single task"]
    return told + ([f"no verdict on {', '.join(chance)}, as {AT_CHANCE}"] if chance else [])


def _interval(difference: Difference) -> str:
    return f"{points(difference.value)} points [{points(difference.low)}, {points(difference.high)}]"


def _shown(difference: Difference) -> str:
    """`better, p = 0.012`: the verdict with its adjusted p, where there is one; `not significant` with the size of
    effect that would have been detected.
    """
    p = difference.p_holm if difference.above_chance else None
    if p is None:
        return difference.words
    if difference.shown:
        return f"{difference.words}, {p_words(p)}"
    detected = seen(difference, POINTS) if difference.standard_error > 0 else ""
    return f"not significant, {p_words(p)}{detected}"
