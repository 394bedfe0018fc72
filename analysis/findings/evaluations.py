"""Sentences on the differences of an evaluation, which claim no more than their intervals and tests hold."""

from collections.abc import Mapping, Sequence

from analysis.evaluation import comparing, conditions
from analysis.evaluation.comparing import OverSeeds, Pair
from analysis.evaluation.results import AVERAGE, Results
from analysis.statistics.crossed import SeedFloor
from analysis.statistics.decisions import POINTS, TOO_COARSE, family_words, interval_words, seen
from analysis.statistics.differences import AT_CHANCE, SHOWN, Difference
from analysis.words import p_words, percent

CONTROL = "the control"


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
            f"{who}: {where}{interval_words(mean)}; {'; '.join(told)}."
            + (f" Not only the method differs: {mismatch}." if mismatch else "")
            + _seed_noise(results, pair, floors)
        )
    together = comparing.over_seeds(results, comparing.pairs_with(results, some))
    together = tuple(group for group in together if set(group.pairs) <= set(some))
    return sentences + [over_seeds_in_words(results, group) for group in together]


def headline(results: Results, some: Sequence[Pair], other: str = CONTROL) -> tuple[str, str]:
    """Return what accuracy does between models and what they are compared with, over the calibration seeds where there
    are several, in one sentence; and on what that stands: items, seeds, and what size of effect would have been
    detected. other: what the second of each pair is called."""
    difference = together(results, some)
    if not difference.n:
        return "Accuracy: the two have no items in common yet.", ""
    stands = standing(difference)
    if _is_undecided(difference):  # its estimate is no news
        stands = f"{_change(difference, other)}. {stands}"
    return f"{_accuracy(difference, other)}.", stands


def together(results: Results, some: Sequence[Pair]) -> Difference:
    """Return the average difference of pairs that differ in nothing but their calibration seed: over the seeds and
    clusters of items crossed, of one pair over its clusters alone."""
    family = comparing.family_with(results, some)
    for group in comparing.over_seeds(results, comparing.pairs_with(results, some)):
        if set(some) == set(group.pairs):
            return group.difference
    return comparing.overall(family[some[0]])


def by_setting(results: Results, names: Mapping[Pair, str]) -> tuple[str, str]:
    """Return whether accuracy changes between runs and their controls at any setting, in a sentence; and the largest
    change, with what it stands on. names: of the setting of each pair, such as `70 %`; one family of tests.
    """
    found = comparing.at_settings(results, names)
    if len(found) == 1:
        ((name, difference),) = found.items()
        said, stands = _accuracy(difference, discount=True), standing(difference)
        estimate = f"{_change(difference, CONTROL)}, " if _is_undecided(difference) else ""
        return (f"{said}.", f"At {name}, {estimate}{stands[0].lower()}{stands[1:]}")
    shown = {name: difference for name, difference in found.items() if difference.shown}
    name, largest = max((shown or found).items(), key=lambda one: abs(one[1].value))
    tested = "after Holm correction" if largest.p is not None else "before all items are in"
    settings = f"{len(found)} {'sparsities' if all(name.endswith(' sparsity') for name in found) else 'settings'}"
    if shown:
        said = f"The sink discount changes accuracy at {len(shown)} of {settings} {tested}."
        return said, f"Largest: {interval_words(largest)} against the control at {name}. {standing(largest)}"
    said = f"The sink discount does not change accuracy significantly at any of {settings}."
    if all(map(_is_undecided, found.values())):
        said = f"Whether the sink discount changes accuracy is not decided {_of_few(largest)}, at any of {settings}."
    return said, f"Largest difference to the control: {interval_words(largest)} at {name}. {standing(largest)}"


def _accuracy(difference: Difference, other: str = CONTROL, discount: bool = False) -> str:
    """Return what accuracy does, without a full stop: the verdict first, then the estimate. other: against what.
    discount: whether it is said that this is the sink discount's doing."""
    change = _change(difference, other)
    if difference.p is None:
        return f"Accuracy so far, without tests: {change}"
    if not difference.above_chance:
        return f"Accuracy cannot tell, as {AT_CHANCE}: {change}"
    if difference.shown:
        return f"Accuracy {'with the sink discount ' if discount else ''}is {difference.words}: {change}"
    if _is_undecided(difference):
        return f"Accuracy{' with the sink discount' if discount else ''}: not decided {_of_few(difference)}"
    kept = "The sink discount does not change accuracy" if discount else "Accuracy does not change"
    return f"{kept} significantly: {change}"


def _change(difference: Difference, other: str) -> str:
    return f"{interval_words(difference)} against {other}"


def _is_undecided(difference: Difference) -> bool:
    """Return whether only a difference that no pruning makes would have been detected, in a difference that is tested
    and not significant."""
    tested_in_vain = difference.p is not None and difference.above_chance and not difference.shown
    return tested_in_vain and difference.detectable() >= TOO_COARSE


def _of_few(difference: Difference) -> str:
    return f"with {difference.seeds} seeds" if difference.holds_seeds else f"on {difference.n:,} items"


def standing(difference: Difference) -> str:
    """Return on what a difference stands in a sentence: items, calibration seeds where there are several, and what size
    of effect would have been detected."""
    seen_as, seeds = detectable(difference), f"{difference.seeds} calibration seeds"
    if difference.detectable() >= 1:  # which the verdict says
        seen_as = ""
    beside = f" and {seeds}" if difference.holds_seeds and seeds not in seen_as else ""
    return f"On {difference.n:,} items{beside}{seen_as}."


def tested(difference: Difference) -> str:
    """Return the adjusted p of a difference with its family in a sentence; '' while it is not tested."""
    if difference.adjusted is None:
        return ""
    return f"Accuracy: {p_words(difference.adjusted)} {family_words(difference.tests)}."


def detectable(difference: Difference) -> str:
    """Return the size of effect that would have been detected as the end of a clause; '' where one is significant or
    not tested."""
    untold = difference.shown or difference.p is None or not difference.above_chance
    return "" if untold or not difference.standard_error > 0 else seen(difference, POINTS)


def adjustment(results: Results, some: Sequence[Pair] = ()) -> str:
    """Say what the tests are adjusted for, or that there are none yet. some: pairs that are chosen besides."""
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
    """Say what pairs that differ in their seed alone show together."""
    difference = group.difference
    first, second = (results.names[model] for model in group.pairs[0])
    seeds = ", ".join(map(str, group.seeds))
    told = "interim, no tests yet" if difference.p is None else _shown(difference)
    of_seeds = difference.seed_variance or 0.0
    both = difference.standard_error**2
    return (
        f"{first} against {second} and their like, over the calibration seeds {seeds} crossed with "
        f"{difference.clusters:,} clusters of items: {interval_words(difference)}; {told}. Of its variance the seeds "
        f"make {percent(of_seeds / both if both else 0, 0)}."
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


def _shown(difference: Difference) -> str:
    """`better, p = 0.012`: the verdict with its adjusted p, where there is one; `not significant` with the size of
    effect that would have been detected.
    """
    p = difference.p_holm if difference.above_chance else None
    if p is None:
        return difference.words
    if difference.shown:
        return f"{difference.words}, {p_words(p)}"
    return f"not significant, {p_words(p)}{detectable(difference)}"
