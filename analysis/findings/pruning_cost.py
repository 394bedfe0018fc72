"""Sentences on what pruning costs: accuracies beside the dense model's along sparsities, and what a discount wins back.
Imports no torch.
"""

from collections.abc import Mapping, Sequence

from analysis.findings.evaluations import MARGIN, detectable
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    FEW_SEEDS,
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
_NOTHING_TO_LOSE = "The dense model is not above chance on these tasks, so pruning has nothing to lose."
_TENTHS = 0.02  # a share of accuracy; if no loss is larger, losses get a decimal


def cost_of_pruning(
    losses: Mapping[float, Difference], discount: Sequence[Difference], who: str = "Pruning", margin: float = MARGIN
) -> str:
    """Tell in one sentence how much accuracy pruning costs along sparsities, and whether the discount changes that.

    losses: pruned minus dense, by sparsity; one that its interval does not tell from 0 is said not to be resolved.
    discount: with minus without it, one family of tests. who: what costs it.
    """
    decided = {at: decide(one, margin, one.above_chance) for at, one in sorted(losses.items())}
    if not decided:
        return ""
    if WAITING in decided.values():
        return f"{who} {_shares(list(decided))} of the weights: not all accuracies are in."
    if set(decided.values()) == {AT_CHANCE}:
        return _NOTHING_TO_LOSE
    even = [at for at in decided if decided[at] == EQUIVALENT]
    costly = [at for at in decided if decided[at] not in (EQUIVALENT, ONE_SEED, AT_CHANCE) and losses[at].high < 0]
    rest = [at for at in decided if at not in (*costly, *even)]
    said, few = [], _with_few([losses[at] for at in costly])
    if costly:
        said.append(f"{_costly(who, {at: losses[at] for at in costly})}{few}")
    if even:
        at = _shares(even)
        said.append(f"{at} {_cost(even)} less than {POINTS.margin(margin)}" if said else _less(who, at, margin))
    if rest:
        span, those = _span([-losses[at].value for at in rest]), [losses[at] for at in rest]
        told, of = f"{_shares(rest)} {_cost(rest)} {span}", _not_shown(those, few)
        if not said:
            told = f"{who} {_shares(rest)} of the weights costs {_points(rest, losses)}"
        said.append(f"{told}, {of}")
    return f"{'; '.join(filter(None, (*said, discount_in_brief(discount, margin))))}."


def cost_and_discount(
    levels: Mapping[str, tuple[Difference, Difference]], margin: float = MARGIN
) -> tuple[str, str, str]:
    """Tell in one sentence whether the discount changes accuracy and what pruning itself costs; on what it stands; and
    which change would have been detected, '' where one is significant, not tested, or told in the sentence.

    levels: by setting, pruned without the discount minus dense, and with minus without it. The first setting, as `50 %
    sparsity`, is told in full; of the others, as `70 %`, the one where pruning costs most.
    """
    setting, (cost, discount) = next(iter(levels.items()))
    if not cost.above_chance:
        return _NOTHING_TO_LOSE, "", ""
    decided = decide(discount, margin, discount.above_chance)
    told = _discount_told(discount, margin, "the sink discount")
    said = f"{told[0].upper()}{told[1:]} at {setting}, where pruning {_cost_at(cost)}"
    detected = detectable(discount).removeprefix("; ")
    if decided == CANNOT_TELL and detected:
        said, detected = f"{said}; {detected}", ""
    elif decided in (BETTER, WORSE, EQUIVALENT):
        said += _where_costliest(decided, dict(list(levels.items())[1:]), margin)
    seeds = counted(discount.seeds, "calibration seed") if discount.seeds else ""
    over = "" if discount.holds_seeds or not seeds else " over items alone"
    so_far = "So far on" if not discount.final else "On"
    stands = f"{so_far} {listed([each for each in (f'{discount.n:,} items', seeds) if each])}; brackets: 95 % intervals"
    return f"{said}.", f"{stands}{over}.", f"{detected[0].upper()}{detected[1:]} with 80 % power." if detected else ""


def costliest(losses: Mapping[str, Difference]) -> str:
    """Return the setting at which pruning costs most, '' where there is none. losses: pruned minus dense."""
    return min(losses, key=lambda at: losses[at].value, default="")


def _where_costliest(decided: str, others: Mapping[str, tuple[Difference, Difference]], margin: float) -> str:
    """Return how the sentence goes on with another setting; '' where there is none with a verdict. decided: at the
    first."""
    at = costliest({each: cost for each, (cost, _) in others.items() if cost.above_chance})
    if not at:
        return ""
    cost, discount = others[at]
    again = decide(discount, margin, discount.above_chance)
    if again in (WAITING, ONE_SEED, AT_CHANCE):
        return ""
    if again == decided == EQUIVALENT:
        return f", and {_bare(discount)} at {at}, where it {_cost_at(cost, brief=True)}"
    return f"; at {at}, where pruning {_cost_at(cost, brief=True)}, {_discount_told(discount, margin, 'it')}"


def _discount_told(discount: Difference, margin: float, who: str) -> str:
    """Return `discount_in_brief` of one difference with its interval."""
    brief = discount_in_brief([discount], margin, who)
    if not brief:
        return f"{who} has changed accuracy by {interval_words(discount)} so far"
    decided = decide(discount, margin, discount.above_chance)
    if decided in (BETTER, WORSE):
        return brief
    return f"{brief}: {_bare(discount) if decided == EQUIVALENT else interval_words(discount)}"


def _bare(difference: Difference) -> str:
    """Return a difference with its interval, where its unit is told before."""
    return interval_words(difference).replace(f" {POINTS.name}", "")


def _cost_at(cost: Difference, brief: bool = False) -> str:
    """Return what pruning does, as `costs 1.3 [−0.4, 3.0]`. brief: leave out the interval of a significant cost."""
    if cost.value > 0:
        return f"changes accuracy by {_bare(cost)}"
    size = _size(cost, "")
    return f"costs {size.partition(' ')[0] if brief and cost.high < 0 else size}"


def cost_words(cost: Difference, unit: str = "points ") -> str:
    """Return what pruning does to accuracy, after who does it: `costs 21 points [18, 25]`. cost: pruned minus dense.
    unit: with a space behind it.
    """
    return f"costs {_size(cost, unit)}" if cost.value <= 0 else f"changes accuracy by {interval_words(cost)}"


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


def _less(who: str, at: str, margin: float) -> str:
    return f"{who} {at} of the weights costs less than {POINTS.margin(margin)} of accuracy"


def _cost(at: Sequence[float]) -> str:
    return "cost" if len(at) > 1 else "costs"


def _points(at: Sequence[float], losses: Mapping[float, Difference]) -> str:
    return f"{_span([-losses[each].value for each in at])} points of accuracy"


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


def _not_shown(differences: Sequence[Difference], few: str) -> str:
    """Say what does not resolve costs. few: as of `_with_few`, where it is said before."""
    if any(one.seeds == 1 for one in differences):
        return "by one calibration seed"
    seeds = max(one.seeds for one in differences)
    return f"which {'these' if few else counted(seeds, 'seed') if seeds else 'these items'} do not resolve"


def _with_few(differences: Sequence[Difference]) -> str:
    """Return with how many seeds costs were found where these are few, so that their intervals are wide."""
    seeds = max((one.seeds for one in differences), default=0)
    return f" with {counted(seeds, 'seed')}" if 0 < seeds < FEW_SEEDS else ""


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
