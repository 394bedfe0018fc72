"""Sentences on what pruning costs: accuracies beside the dense model's along sparsities, and what a discount wins back.

Imports no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from analysis.findings.evaluations import MARGIN, detectable
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
    interval_words,
)
from analysis.statistics.differences import Difference, flipped
from analysis.words import counted, listed, percent

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
        size = f"costs {_cost_span([-one.value for one in lost], 'points of accuracy')}"
        if any(one.value > 0 for one in lost):
            size = f"changes accuracy by {change_span(lost, ' points')}"
        elif len(rest) == 1:
            size = f"costs {_size(lost[0], 'points of accuracy ')}"
        cost = f"{who} {_shares(rest)} of the weights {size}, {_not_shown(lost)}"
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
        return f"Largest change from the discount: {interval_words(levels[largest])} at {largest}"
    first, *others = [f"{interval_words(one)} at {name}" for name, one in levels.items()]
    told = [first, *(each.replace(f" {POINTS.name}", "") for each in others)]
    return f"Gain from the discount: {', '.join(told)}"


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
    accuracies: str = "",
    costs: Mapping[str, Difference] = MappingProxyType({}),
) -> DiscountTold:
    """Tell whether the discount changes accuracy.

    levels: with minus without the discount by setting: the first, as `50 % sparsity`, and at most one other, as `70 %`,
    which is left out where it has no verdict. accuracies: on the same items, in words. costs: of pruning without
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
    seeds = counted(first.seeds, "calibration seed") if first.seeds else ""
    over = "" if first.holds_seeds or not seeds else " over items alone"
    so_far = "" if first.final else "So far "
    items = f"{first.n:,} items{f' ({accuracies})' if accuracies else ''}"
    stands = f"{so_far}{', '.join(filter(None, (items, seeds)))}; 95 % intervals"
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
    return "differences before rounding" if apart else ""


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
    ends = (min, max) if all(one.value >= 0 for one in losses) else (max, min)  # away from no change
    least, most = (_number(way * end(one.value for one in losses), decimals, sign) for end in ends)
    reach = sorted(way * end for one in losses for end in (one.low, one.high))
    interval = (
        f" [{_number(reach[0], decimals, sign)}, {_number(reach[-1], decimals, sign)}]" if len(losses) == 1 else ""
    )
    if least == most:
        return f"{least}{_of_one(unit) if least.lstrip('+−') == '1' else unit}{interval}"
    return f"{least} to {most}{unit}{interval}"


def gap_words(gap: Difference) -> str:
    """Return the size of a difference with its interval, whichever way it goes: `0.8 points [−1.2, 2.8]`."""
    return _size(flipped(gain_of(gap)), f"{POINTS.name} ")


def gain_of(gap: Difference) -> Difference:
    """Return a difference the way round in which it is not negative."""
    return flipped(gap) if gap.value < 0 else gap


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
    return f"{value} {_of_one(unit) if value == '1' else unit}[{low}, {high}]"


def _of_one(unit: str) -> str:
    return unit.replace(POINTS.name, POINTS.name.removesuffix("s"))


def _decimals(loss: Difference) -> int:
    return 0 if (loss.high - loss.low) / 2 >= _WIDE_COST / 2 or -loss.value >= _WIDE_COST else 1


def _number(value: float, decimals: int, sign: str = "") -> str:
    return f"{round(POINTS.scale * value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def _cost_span(losses: Sequence[float], unit: str) -> str:
    decimals = int(max(map(abs, losses)) < _TENTHS)
    low, high = (_number(end, decimals) for end in (min(losses), max(losses)))
    if low == high:
        return f"{low} {_of_one(unit) if low == '1' else unit}"
    return f"{low} to {high} {unit}"


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
