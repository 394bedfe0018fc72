"""Sentences on the differences of an evaluation, which claim no more than their intervals and tests hold."""

from collections.abc import Mapping, Sequence

from analysis.evaluation import comparing, conditions
from analysis.evaluation.comparing import OverSeeds, Pair
from analysis.evaluation.results import AVERAGE, Results
from analysis.specs import StudySpec
from analysis.statistics.crossed import SeedFloor
from analysis.statistics.decisions import AT_CHANCE as NO_VERDICT
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    ONE_SEED,
    POINTS,
    WAITING,
    WORSE,
    decide,
    family_words,
    interval_words,
    seen,
)
from analysis.statistics.differences import AT_CHANCE, SHOWN, Difference
from analysis.words import listed, p_words, percent

MARGIN: float = StudySpec.model_fields["difference"].default / 100
"""The least change of accuracy that matters, as in a study."""
_WIDE = 0.1  # a share of accuracy; where an interval ends beyond it, tenths of a point mean nothing


def verdicts(results: Results, some: Sequence[Pair]) -> list[str]:
    """Return a sentence or two per pair: the average difference, the benchmarks that show one, what else differs, and
    the noise left out of the interval; and one for pairs that differ only in calibration seed, over the seeds.

    Verdicts go by the p adjusted over all pairs of the evaluation, as the figure's dots do.
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


def together(results: Results, some: Sequence[Pair]) -> Difference:
    """Return the average difference of pairs that differ in nothing but their calibration seed: over the seeds and
    clusters of items crossed, of one pair over its clusters alone; the only test of its family."""
    (difference,) = comparing.at_settings(results, dict.fromkeys(some, "")).values()
    return difference


def change_of_accuracy(
    found: Mapping[str, Difference], other: str = "", margin: float = MARGIN, place: str = ""
) -> tuple[str, str]:
    """Return what accuracy does at each setting in one sentence, the estimate and what is concluded from it; and on
    what that stands. found: by setting, such as `70 % sparsity`, one family of tests. other: what is compared with;
    without, the control, so that the difference is the sink discount's doing. margin: the least change that matters.
    place: where this was found, such as `shipped study`.
    """
    found = {name: difference for name, difference in found.items() if difference.n}
    if not found:
        return "Accuracy: the two have no items in common yet.", ""
    who = "Accuracy changes" if other else "The sink discount changes accuracy"
    decisions = {name: decide(difference, margin, difference.above_chance) for name, difference in found.items()}
    named, within = ([name for name in found if decisions[name] in kind] for kind in (SHOWN, (EQUIVALENT,)))
    name, largest = max(((name, found[name]) for name in named or found), key=lambda one: abs(one[1].value))
    against, least = f" against {other}" if other else "", f"less than {POINTS.margin(margin)} either way"
    concluded = least if decisions[name] == EQUIVALENT else _CONCLUDED[decisions[name]].format(_of(largest))
    kind = "sparsities" if all(name.endswith(" sparsity") for name in found) else "settings"
    settings = f"{len(found)} {kind}"
    if len(found) == 1:
        said = f"{who} by {interval_words(largest)}{f' at {name}' if name else ''}{against}: {concluded}"
    elif named:
        said = f"{who} at {len(named)} of {settings}{against}: {interval_words(largest)} at {name}, {concluded}"
    elif len(within) == len(found):
        every = f"both {kind}" if len(found) == 2 else f"all {settings}"
        said = f"{who} by {least} at {every}{against}; largest {interval_words(largest)} at {name}"
    elif within:
        rest = [name for name in found if name not in within]
        said = f"{who} by {least} at {len(within)} of {settings}{against}; not decided at {listed(rest)}"
    else:
        said = f"{who} by {_span(found)} at {settings}{against}: {concluded}"
    stands = standing(largest)
    if len(found) > 1 and interval_words(largest) not in said:
        stands = f"Largest: {interval_words(largest)} at {name}. {stands}"
    return f"{said}{f' ({place})' if place else ''}.", stands


_CONCLUDED = {
    WAITING: "so far, before all answers are in",
    NO_VERDICT: f"no verdict, as {AT_CHANCE}",
    ONE_SEED: "not decided with one calibration seed",
    CANNOT_TELL: "not decided {}",
    BETTER: "a significant gain",
    WORSE: "a significant loss",
}


def _of(difference: Difference) -> str:
    return f"with {difference.seeds} seeds" if difference.holds_seeds else f"on {difference.n:,} items"


def _span(found: Mapping[str, Difference]) -> str:
    """Return the least and the largest of some differences, with the reach of their intervals."""
    values, ends = (
        [getattr(one, name) for one in found.values() for name in names] for names in (("value",), ("low", "high"))
    )
    decimals = 0 if max(map(abs, ends)) >= _WIDE else 1
    low, high = (POINTS.number(value, 1) for value in (min(values), max(values)))
    least, most = (POINTS.number(end, decimals) for end in (min(ends), max(ends)))
    return f"{low if low == high else f'{low} to {high}'} points [{least}, {most}]"


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
    """Say that the interval leaves out noise of the calibration seed, if any, and how large that is."""
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
    """Return the verdict with its adjusted p, if any: `better, p = 0.012`; `not significant` with the size of effect
    that would have been detected.
    """
    p = difference.p_holm if difference.above_chance else None
    if p is None:
        return difference.words
    if difference.shown:
        return f"{difference.words}, {p_words(p)}"
    return f"not significant, {p_words(p)}{detectable(difference)}"
