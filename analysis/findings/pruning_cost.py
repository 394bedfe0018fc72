"""Sentences on what pruning costs: accuracies beside the dense model's along sparsities, and what a discount wins back.
Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.findings.evaluations import MARGIN, detectable
from analysis.statistics.decisions import (
    AT_CHANCE,
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
from analysis.statistics.differences import Difference
from analysis.words import counted, listed, percent

_NAMED = 3  # significant losses that are written out, and sparsities that are listed
_WIDE = 0.1  # half an interval, from which on tenths of a point mean nothing
_VERDICTS = (BETTER, WORSE, EQUIVALENT, CANNOT_TELL)
NOTHING_TO_LOSE = "The dense model is not above chance on these tasks, so pruning has nothing to lose."
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
    if set(decided.values()) == {AT_CHANCE}:
        return NOTHING_TO_LOSE
    even = [at for at in decided if decided[at] == EQUIVALENT]
    costly = [at for at in decided if decided[at] not in (EQUIVALENT, ONE_SEED, AT_CHANCE) and losses[at].high < 0]
    rest = [at for at in decided if at not in (*costly, *even)]
    said = []
    if costly:
        said.append(_costly(who, {at: losses[at] for at in costly}))
    elif rest:
        lost = [losses[at] for at in rest]
        cost = f"{_span([-one.value for one in lost])} points of accuracy"
        if len(rest) == 1 and lost[0].value < 0:
            cost = _size(lost[0], "points of accuracy ")
        said.append(f"{who} {_shares(rest)} of the weights costs {cost}, {_not_shown(lost)}")
    elif even:
        said.append(f"{who} {_shares(even)} of the weights costs less than {POINTS.margin(margin)} of accuracy")
    asked = "whether the sink discount changes that"
    return f"{'; '.join(filter(None, (*said, discount_in_brief(discount, margin, asked=asked))))}."


def discount_at_levels(levels: Mapping[str, Difference], margin: float = MARGIN) -> tuple[str, str, str]:
    """Tell in one sentence whether the discount changes accuracy; on what that stands; and which change would have been
    detected, '' where one is significant or not tested.

    levels: with minus without the discount by setting: the first, as `50 % sparsity`, and at most one other, as `70 %`,
    which is left out where it has no verdict.
    """
    (setting, first), *others = levels.items()
    if not first.above_chance:
        return NOTHING_TO_LOSE, "", ""
    decided = decide(first, margin, first.above_chance)
    said = f"{_discount_told(first, margin, 'the sink discount')} at {setting}"
    for at, other in others if decided in _VERDICTS else ():
        again = decide(other, margin, other.above_chance)
        if again == decided:
            said += f", {_size(other, '') if decided == WORSE else bare_words(other)} at {at}"
        elif again in _VERDICTS:
            said += f"; at {at} {_discount_told(other, margin, 'it')}"
    detected = detectable(first).removeprefix("; ")
    seeds = counted(first.seeds, "calibration seed") if first.seeds else ""
    over = "" if first.holds_seeds or not seeds else " over items alone"
    so_far = "So far on" if not first.final else "On"
    stands = f"{so_far} {listed([each for each in (f'{first.n:,} items', seeds) if each])}; brackets: 95 % intervals"
    power = f"{_upper(detected)} with 80 % power." if detected else ""
    return f"{_upper(said)}.", f"{stands}{over}.", power


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _discount_told(discount: Difference, margin: float, who: str) -> str:
    """Return `discount_in_brief` of one difference with its interval."""
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


def cost_words(cost: Difference, unit: str = "points ") -> str:
    """Return what pruning does to accuracy, after who does it: `costs 21 points [18, 25]`. cost: pruned minus dense.
    unit: with a space behind it.
    """
    return f"costs {_size(cost, unit)}" if cost.value <= 0 else f"changes accuracy by {interval_words(cost)}"


def cost_span(losses: Sequence[Difference], unit: str = "") -> str:
    """Return the losses of several methods with the reach of their intervals, as `20 to 21 points [17, 25]`. losses:
    pruned minus dense. unit: with a space behind it.
    """
    decimals = min(map(_decimals, losses))
    least, most = (_number(-end(one.value for one in losses), decimals) for end in (max, min))
    reach = (_number(-max(one.high for one in losses), decimals), _number(-min(one.low for one in losses), decimals))
    return f"{least if least == most else f'{least} to {most}'} {unit}[{', '.join(reach)}]"


def gap_words(gap: Difference) -> str:
    """Return the size of a difference with its interval, whichever way it goes: `0.8 points [−1.2, 2.8]`."""
    flipped = replace(gap, value=-gap.value, low=-gap.high, high=-gap.low)
    return _size(min(gap, flipped, key=lambda one: one.value), f"{POINTS.name} ")


def loss_words(loss: Difference, interval: bool = True) -> str:
    """Return a loss with the sign of an axis of accuracy and the digits of `cost_words`: `−21 points [−25, −18]`."""
    value, low, high = (_number(end, _decimals(loss), "+") for end in (loss.value, loss.low, loss.high))
    return f"{value} {POINTS.name} [{low}, {high}]" if interval else f"{value} {POINTS.name}"


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
    return 0 if (loss.high - loss.low) / 2 >= _WIDE / 2 or -loss.value >= _WIDE else 1


def _number(value: float, decimals: int, sign: str = "") -> str:
    return f"{round(POINTS.scale * value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def _span(losses: Sequence[float]) -> str:
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
    if not decided or {WAITING, AT_CHANCE} & set(decided):
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
