"""Sentences on the differences of an evaluation, which claim no more than their intervals and tests hold.

Sentences on what pruning costs: accuracies beside the dense model's along sparsities, and what a discount wins back.
Imports no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

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
from analysis.words import counted, listed, p_words, percent

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


_NAMED = 3  # significant losses that are written out, and sparsities that are listed
_WIDE_COST = 0.1  # half an interval, from which on tenths of a point mean nothing
_VERDICTS = (BETTER, WORSE, EQUIVALENT, CANNOT_TELL)
NOTHING_TO_LOSE = "The dense model is not above chance on these tasks, so pruning has nothing to lose."
_NOT_MEASURABLY = "does not measurably"
_NO_HELP = f"{_NOT_MEASURABLY} help"
_TENTHS = 0.02  # a share of accuracy; if no loss is larger, losses get a decimal


def cost_of_pruning(
    losses: Mapping[float, Difference], discount: Sequence[Difference], who: str = "Pruning", margin: float = MARGIN
) -> str:
    """Tell in one sentence how much accuracy pruning costs along sparsities, and whether the discount changes that.

    losses: pruned minus dense, by sparsity; where the interval of one lies below 0, the others are left to the figure,
    else those that no interval tells from 0 are said not to be resolved.
    discount: with minus without it, one family of tests. who: what costs it.
    """
    decided = {at: decide(one, margin, one.above_chance) for at, one in sorted(losses.items())}
    if not decided:
        return ""
    if WAITING in decided.values():
        return f"{who} {_shares(list(decided))} of the weights: not all accuracies are in."
    if set(decided.values()) == {NO_VERDICT}:
        return NOTHING_TO_LOSE
    even = [at for at in decided if decided[at] == EQUIVALENT]
    costly = [at for at in decided if decided[at] not in (EQUIVALENT, ONE_SEED, NO_VERDICT) and losses[at].high < 0]
    rest = [at for at in decided if at not in (*costly, *even)]
    cost = ""
    if costly:
        cost = _costly(who, {at: losses[at] for at in costly})
    elif rest:
        lost = [losses[at] for at in rest]
        size = f"{_cost_span([-one.value for one in lost])} points of accuracy"
        if len(rest) == 1 and lost[0].value < 0:
            size = _size(lost[0], "points of accuracy ")
        cost = f"{who} {_shares(rest)} of the weights costs {size}, {_not_shown(lost)}"
    elif even:
        cost = f"{who} {_shares(even)} of the weights costs less than {POINTS.margin(margin)} of accuracy"
    if no_help(discount, margin) and len(discount) == len(decided):
        return f"{cost}; the sink discount {f'{_NOT_MEASURABLY} win any back' if costly else _NO_HELP}."
    brief = discount_in_brief(discount, margin, asked="whether the sink discount changes that")
    if {decide(one, margin, one.above_chance) for one in discount} == {EQUIVALENT} and len(discount) == len(
        decided
    ) <= _NAMED:
        at = zip(discount, decided, strict=True)
        brief += f": {listed([f'{bare_words(one)} at {percent(sparsity, 0)}' for one, sparsity in at])}"
    return f"{'; '.join(filter(None, (cost, brief)))}."


def no_help(discount: Sequence[Difference], margin: float = MARGIN) -> bool:
    """Return whether differences are all smaller than the margin, and no interval leaves out 0."""
    return bool(discount) and all(
        decide(one, margin, one.above_chance) == EQUIVALENT and one.low <= 0 <= one.high for one in discount
    )


def difference_words(levels: Mapping[str, Difference]) -> str:
    """Return with minus without the discount by setting, of many the largest, in the first clause of a sentence."""
    largest = max(levels, key=lambda at: abs(levels[at].value))
    if len(levels) > _NAMED:
        return f"With minus without the discount, largest: {interval_words(levels[largest])} at {largest}"
    first, *others = [f"{interval_words(one)} at {name}" for name, one in levels.items()]
    told = [first, *(each.replace(f" {POINTS.name}", "") for each in others)]
    return f"With minus without the discount: {', '.join(told)}"


class DiscountTold(NamedTuple):
    """What the discount does to accuracy. said: in a sentence. numbers: the differences and what pruning itself costs,
    where that sentence leaves them out. stands: on what it stands. power: the change that would have been detected, ''
    where one is significant or not tested.
    """

    said: str
    numbers: str
    stands: str
    power: str


def discount_at_levels(
    levels: Mapping[str, Difference],
    margin: float = MARGIN,
    items_of: str = "",
    costs: Mapping[str, Difference] = MappingProxyType({}),
) -> DiscountTold:
    """Tell whether the discount changes accuracy.

    levels: with minus without the discount by setting: the first, as `50 % sparsity`, and at most one other, as `70 %`,
    which is left out where it has no verdict. items_of: what the items are of, as `6 tasks`. costs: of pruning without
    the discount at these settings; those that are significant are told.
    """
    (setting, first), *others = levels.items()
    if not first.above_chance:
        return DiscountTold(NOTHING_TO_LOSE, "", "", "")
    itself = _pruning_itself({at: one for at, one in costs.items() if one.high < 0}, list(levels))
    decided = decide(first, margin, first.above_chance)
    said = f"{_discount_told(first, margin, 'the sink discount')} at {setting}"
    for at, other in others if decided in _VERDICTS else ():
        again = decide(other, margin, other.above_chance)
        if again == decided and no_help([first], margin) == no_help([other], margin):
            said += f", {_size(other, '') if decided == WORSE else bare_words(other)} at {at}"
        elif again in _VERDICTS:
            said += f"; at {at} {_discount_told(other, margin, 'it')}"
    said, numbers = f"{said}{itself}.", ""
    if no_help(list(levels.values()), margin):
        bound = f"accuracy changes by less than {POINTS.margin(margin)} at {' and at '.join(levels)}"
        said, numbers = f"the sink discount {_NO_HELP}: {bound}.", f"{difference_words(levels)}{itself}."
    detected = detectable(first).removeprefix("; ")
    seeds = counted(first.seeds, "seed") if first.seeds else ""
    over = "" if first.holds_seeds or not seeds else " over items alone"
    so_far = "" if first.final else "So far "
    items = f"{first.n:,} items{f' of {items_of}' if items_of else ''}"
    stands = f"{so_far}{', '.join(filter(None, (items, seeds)))}; brackets: 95 % intervals"
    power = f"{_upper(detected)} with 80 % power." if detected else ""
    return DiscountTold(_upper(said), numbers, f"{stands}{over}.", power)


def _pruning_itself(costs: Mapping[str, Difference], settings: Sequence[str]) -> str:
    """Tell what pruning costs at some settings, as the end of a sentence that names all, in their order."""
    told = [f"{_size(costs[at], '')}{f' at {at}' if len(costs) > 1 or at != settings[-1] else ''}" for at in costs]
    where = "; pruning itself" if len(told) > 1 or settings[-1] not in costs else ", where pruning itself"
    return f"{where} costs {listed(told)}" if told else ""


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _discount_told(discount: Difference, margin: float, who: str) -> str:
    """Return `discount_in_brief` of one difference with its interval."""
    if no_help([discount], margin):
        return f"{who} {_NO_HELP}: {interval_words(discount)} of accuracy"
    brief = discount_in_brief([discount], margin, who)
    if not brief:
        return f"{who} has changed accuracy by {interval_words(discount)} so far"
    decided = decide(discount, margin, discount.above_chance)
    if decided in (BETTER, WORSE):
        return brief
    return f"{brief}: {bare_words(discount) if decided == EQUIVALENT else interval_words(discount)}"


def bare_words(difference: Difference) -> str:
    """Return a difference with its interval, where its unit is told before."""
    return interval_words(difference).replace(f" {POINTS.name}", "")


def apart_by_rounding(pairs: Iterable[tuple[float, float, Difference]]) -> str:
    """Say in a clause that differences were taken before rounding, where two accuracies, as they are written, differ by
    another amount; else ''. pairs: accuracies, shares, and the second minus the first."""
    tenths = [
        (round(POINTS.scale * end, 1) for end in (before, after, change.value)) for before, after, change in pairs
    ]
    apart = any(abs(after - before - change) > 0.01 for before, after, change in tenths)
    return "differences taken before rounding" if apart else ""


def cost_words(cost: Difference, unit: str = "points ") -> str:
    """Return what pruning does to accuracy, after who does it: `costs 21 points [18, 25]`. cost: pruned minus dense.
    unit: with a space behind it.
    """
    return f"costs {_size(cost, unit)}" if cost.value <= 0 else f"changes accuracy by {interval_words(cost)}"


def change_span(losses: Sequence[Difference], unit: str = "", costs: bool = False) -> str:
    """Return the losses of several methods, as `−20 to −21 points`, and of one with its interval. losses: pruned minus
    dense. unit: with a space before it. costs: tell what they cost, as `20 to 21 points`.
    """
    decimals, sign, way = min(map(_decimals, losses)), "" if costs else "+", -1 if costs else 1
    least, most = (_number(way * end(one.value for one in losses), decimals, sign) for end in (max, min))
    ends = sorted(way * end for one in losses for end in (one.low, one.high))
    interval = f" [{_number(ends[0], decimals, sign)}, {_number(ends[-1], decimals, sign)}]" if len(losses) == 1 else ""
    return f"{least if least == most else f'{least} to {most}'}{unit}{interval}"


def gap_words(gap: Difference) -> str:
    """Return the size of a difference with its interval, whichever way it goes: `0.8 points [−1.2, 2.8]`."""
    return _size(flipped(gain_of(gap)), f"{POINTS.name} ")


def gain_of(gap: Difference) -> Difference:
    """Return a difference the way round in which it is not negative."""
    return flipped(gap) if gap.value < 0 else gap


def flipped(gap: Difference) -> Difference:
    """Return the second minus the first."""
    return replace(gap, value=-gap.value, low=-gap.high, high=-gap.low)


def loss_words(loss: Difference) -> str:
    """Return a loss with the sign of an axis of accuracy and the digits of `cost_words`: `−21 points [−25, −18]`."""
    value, low, high = (_number(end, _decimals(loss), "+") for end in (loss.value, loss.low, loss.high))
    return f"{value} {POINTS.name} [{low}, {high}]"


def _costly(who: str, losses: Mapping[float, Difference]) -> str:
    at = list(losses)
    if len(at) == 1:
        return f"{who} {percent(at[0], 0)} of the weights costs {_size(losses[at[0]], 'points of accuracy ')}"
    if len(at) <= _NAMED:
        told = [
            f"{_size(losses[each], 'points of accuracy ' if each == at[0] else '')} at {percent(each, 0)}"
            for each in at
        ]
        return f"{who} costs {listed(told)} of the weights"
    ends = [f"{_size(losses[each], 'points ')} at {percent(each, 0)}" for each in (at[0], at[-1])]
    return f"{who} costs accuracy at {len(at)} sparsities, from {ends[0]} to {ends[1]} of the weights"


def _size(loss: Difference, unit: str) -> str:
    """Return a loss with its interval, as `21 points of accuracy [9, 32]`. unit: with a space behind it."""
    value, low, high = (_number(-end, _decimals(loss)) for end in (loss.value, loss.high, loss.low))
    return f"{value} {unit}[{low}, {high}]"


def _decimals(loss: Difference) -> int:
    return 0 if (loss.high - loss.low) / 2 >= _WIDE_COST / 2 or -loss.value >= _WIDE_COST else 1


def _number(value: float, decimals: int, sign: str = "") -> str:
    return f"{round(POINTS.scale * value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def _cost_span(losses: Sequence[float]) -> str:
    decimals = int(max(map(abs, losses)) < _TENTHS)
    low, high = (_number(end, decimals) for end in (min(losses), max(losses)))
    return low if low == high else f"{low} to {high}"


def _shares(at: Sequence[float]) -> str:
    """Return sparsities, as `50 and 60 %`; of many their ends."""
    if len(at) > _NAMED:
        return f"{100 * at[0]:g} to {percent(at[-1], 0)}"
    return f"{listed([f'{100 * each:.0f}' for each in at])} %"


def _not_shown(differences: Sequence[Difference]) -> str:
    """Say what does not resolve costs."""
    if any(one.seeds == 1 for one in differences):
        return "by one calibration seed"
    seeds = max(one.seeds for one in differences)
    return f"which {counted(seeds, 'seed') if seeds else 'these items'} do not resolve"


def discount_in_brief(
    differences: Sequence[Difference], margin: float = MARGIN, who: str = "the sink discount", asked: str = ""
) -> str:
    """Tell whether the discount changes accuracy, as the end of a sentence; '' where there is no verdict yet. who: what
    it is called. asked: what cannot be told where the verdict is open, by default whether it helps."""
    decided = [decide(one, margin, one.above_chance) for one in differences]
    if not decided or {WAITING, NO_VERDICT} & set(decided):
        return ""
    for kind, does in ((BETTER, "wins back"), (WORSE, "costs another")):
        shown = [one for one, each in zip(differences, decided, strict=True) if each == kind]
        if shown:
            most = max(shown, key=lambda one: abs(one.value))
            size = interval_words(most) if kind == BETTER else _size(most, "points ")
            if len(decided) == 1:
                return f"{who} {does} {size}"
            return f"{who} {does} up to {size} at {len(shown)} of {len(decided)} sparsities"
    if set(decided) == {EQUIVALENT}:
        return f"{who} changes accuracy by less than {POINTS.margin(margin)}"
    seeds = max(one.seeds for one in differences)
    with_seeds = ONE_SEED in decided or differences[0].seeds
    what = counted(seeds, "seed") if with_seeds else "these items"
    return f"{'one seed' if ONE_SEED in decided else what} cannot tell {asked or f'whether {who} helps'}"
