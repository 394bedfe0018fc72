"""Findings on accuracies: significant differences, gaps between calibration seeds, and results of a search.

Significance is decided where it is tested, by the p adjusted for everything looked at.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.findings.evaluations import MARGIN
from analysis.findings.pruning_cost import NOTHING_TO_LOSE, bare_words, change_span, gain_of, gap_words
from analysis.statistics.decisions import EQUIVALENT, ONE_SEED, POINTS, WAITING, decide
from analysis.statistics.differences import SHOWN, Difference, flipped
from analysis.words import counted, listed, percent

_ERRORS = 2.0  # standard errors, beyond which a published difference is spoken of
_NAMED = 3  # differences that are written out
_WIDE = 10.0  # points, from which on tenths of an interval's ends mean nothing
_SAME = 1e-9  # values that differ by less are one


def differences(
    names: Sequence[str], values: np.ndarray, shown: Sequence[bool], unit: str = "points", what: str = "difference"
) -> str:
    """Tell which differences are significant, the largest first. values (N, 3): each with the ends of its interval, in
    `unit`."""
    values = np.asarray(values, float).reshape(-1, 3)
    there = np.flatnonzero(np.asarray(shown, bool) & np.isfinite(values).all(axis=1))
    if not len(there):
        return ""
    largest = there[np.argsort(-np.abs(values[there, 0]), kind="stable")]
    named = largest[:_NAMED]
    least = max(np.abs(values[named, 0]).min(), 1e-6)
    decimals = max(1 - int(np.floor(np.log10(least))), 1)  # two digits of the smallest, and as many of every end
    told = [f"{names[at]} {_interval(values[at], decimals)}{f' {unit}' if unit else ''}" for at in named]
    more = f", and {counted(len(there) - _NAMED, 'other')}" if len(there) > _NAMED else ""
    if len(names) == 1:
        return f"The {what} is significant after Holm correction: {told[0]}."
    verb = "is" if len(there) == 1 else "are"
    said = f"{len(there)} of {counted(len(names), what)} {verb} significant after Holm correction"
    return f"{said}: {'; '.join(told)}{more}."


def sweep_differences(values: np.ndarray, shown: Sequence[bool], to: str) -> str:
    """Count the significant differences of a sweep and tell what their intervals span. values (N, 3): points, each with
    the ends of its interval. to: what settings are compared with.
    """
    if not len(values):
        return ""
    ends = values[:, 1:].min(), values[:, 1:].max()
    decimals = 0 if max(map(abs, ends)) >= _WIDE else 1
    low, high = (f"{np.round(end, decimals) + 0.0:+.{decimals}f}".replace("-", "−") for end in ends)
    count = sum(map(bool, shown))
    if len(values) == 1:
        verdict = f"The difference to {to} is {'' if count else 'not '}significant: its interval reaches"
    else:
        verb = "is" if count == 1 else "are"
        verdict = f"{count or 'None'} of {len(values)} differences to {to} {verb} significant: their intervals reach"
    return f"{verdict} from {low} to {high} points."


def scored_alike(
    dense: float | None,
    accuracies: Mapping[str, Mapping[str, float]],
    losses: Mapping[str, Mapping[str, Difference]],
    gaps: Mapping[tuple[str, str, str], Difference],
    margin: float = MARGIN,
) -> tuple[str, str]:
    """Tell what pruning costs, at each sparsity over all methods, of many at the least and the largest, and whether
    one of the methods of runs that were scored alike is better, first if one is; and further which difference that is,
    '' where there is nothing to add.

    accuracies: shares by what is removed, as `50 %`, and method. losses: likewise, each minus the dense model with its
    interval, where it is known. gaps: of two methods on the same items and calibration seeds, by what is removed and
    their names, one family of tests. margin: the least difference that matters.
    """
    if not accuracies:
        return "No pruned model is scored yet.", ""
    told = list(accuracies) if len(accuracies) <= _NAMED else [*accuracies][:: len(accuracies) - 1]
    methods = list(dict.fromkeys(name for at in accuracies.values() for name in at))
    who = f"{methods[0]}: " if len(methods) == 1 else ""
    if not all(one.above_chance for at in losses.values() for one in at.values()):
        return NOTHING_TO_LOSE, ""
    changes = {at: [one.value for one in losses[at].values()] for at in told} if losses else {}
    if not losses and dense is not None:
        changes = {at: [one - dense for one in accuracies[at].values()] for at in told}
    costly = all(change <= 0 for at in changes.values() for change in at)
    unit = f" {POINTS.name}"
    if losses:
        of_first = f"{unit} of accuracy" if costly else unit
        costs = [change_span([*losses[at].values()], of_first if at == told[0] else "", costly) for at in told]
    elif changes:
        costs = [_spread([-one if costly else one for one in changes[at]], "" if costly else "+") for at in told]
        costs[0] += f"{unit} of accuracy" if costly else unit
    else:
        right = [f"{_spread([*accuracies[at].values()])} % right{_removing(at, at == told[0])}" for at in told]
        return _upper(f"{who}pruned models answer {listed(right)}."), ""
    said = []
    for cost, at in zip(costs, told, strict=True):
        pruned = at or "without removing weights pruning"
        if at == told[0] and at:
            pruned = f"pruning {at} of the weights"
        whose = "accuracy" if at == told[0] else "it"
        what = f"{pruned} {'costs' if costly else f'changes {whose} by'}"
        said.append(f"{what} {cost}{_unclear([*losses.get(at, {}).values()])}")
    best, which = _best(gaps, len(methods), margin)
    lost = _upper(f"{who}{'; '.join(said)}.")
    both = [lost, f"{_upper(best)}."] if best else [lost]
    if any(decide(gap, margin, gap.above_chance) in SHOWN for gap in gaps.values()):
        both.reverse()
    return " ".join(both), _upper(f"{which}.") if which else ""


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _unclear(losses: Sequence[Difference]) -> str:
    """Say of several changes how many are not significant; empty of one, which stands with its interval."""
    there = sum(one.low <= 0 <= one.high for one in losses)
    if len(losses) < 2 or not there:
        return ""
    return " (not significant)" if there == len(losses) else f" ({there} of {len(losses)} not significant)"


def _removing(at: str, first: bool = False) -> str:
    """Return what is removed, as `at 50 %`. first: with what that is."""
    return f" at {at}{' sparsity' if first else ''}" if at else " without removing weights"


def _spread(shares: Sequence[float], sign: str = "") -> str:
    """Return shares without the per cent sign, from the least to the most. sign: `+` for changes."""
    low, high = (f"{100 * end:{sign}.1f}".replace("-", "−") for end in (min(shares), max(shares)))
    return low if low == high else f"{low} to {high}"


def _best(gaps: Mapping[tuple[str, str, str], Difference], methods: int, margin: float) -> tuple[str, str]:
    """Tell which method is better than which other, or that none is; and which difference that is of several."""
    decided = {pair: decide(gap, margin, gap.above_chance) for pair, gap in gaps.items()}
    if not decided or WAITING in decided.values():
        return "", ""
    shown = [pair for pair in gaps if decided[pair] in SHOWN]
    where, first, second = max(shown or gaps, key=lambda pair: abs(gaps[pair].value))
    gap = gaps[where, first, second]
    better, worse = map(_within, (first, second) if gap.value > 0 else (second, first))
    if shown:
        most = f"this is the largest of {len(shown)} significant differences" if len(shown) > 1 else ""
        return f"{better} beats {worse} by {gap_words(gap)}{_removing(where)}", most
    if set(decided.values()) == {EQUIVALENT}:
        return f"the {methods} methods differ by less than {POINTS.margin(margin)}", ""
    if ONE_SEED in decided.values():
        return "", "one calibration seed cannot tell the methods apart"
    if len(gaps) == 1:
        return "neither method is significantly better", f"{_minus(better, worse, gap)}{_removing(where)}"
    return "no two methods differ significantly", _every_pair(gaps, decided, margin)


def _minus(better: str, worse: str, gap: Difference) -> str:
    return f"{better} minus {worse} {bare_words(gain_of(gap))}"


def _every_pair(
    gaps: Mapping[tuple[str, str, str], Difference], decided: Mapping[tuple[str, str, str], str], margin: float
) -> str:
    """Tell the largest difference of each two methods, from the one that all have in common where one is, and which two
    differ by less than the margin wherever they were compared."""
    alike = {pair[1:] for pair in gaps} - {pair[1:] for pair in gaps if decided[pair] != EQUIVALENT}
    most: dict[tuple[str, ...], tuple[str, Difference]] = {}
    for (at, *pair), gap in sorted(gaps.items(), key=lambda one: -abs(one[1].value)):
        if tuple(pair) not in alike:
            most.setdefault(tuple(pair), (at, gap))
    named = dict(list(most.items())[:_NAMED])
    base = next(iter(set[str]().union(*named).intersection(*named)), "") if len(named) > 1 else ""
    places = {at for at, _ in named.values()}
    told, others = [], []
    for (first, second), (at, gap) in named.items():
        if base:
            others.append(second if first == base else first)
            said = f"{_within(others[-1])} {bare_words(flipped(gap) if first == base else gap)}"
        else:
            better, worse = map(_within, (first, second) if gap.value > 0 else (second, first))
            said = _minus(better, worse, gap)
        told.append(f"{said}{_removing(at) if len(places) > 1 else ''}")
    where = f",{_removing(next(iter(places)))}" if len(places) == 1 else ""
    least = f", {counted(len(most) - _NAMED, 'other pair')} less" if len(most) > _NAMED else ""
    what = f"largest difference{'s' if len(named) > 1 else ''}{f' from {_within(base)}' if base else ''}{where}"
    end = ""
    if alike:
        those = [" and ".join(map(_within, pair)) for pair in alike]
        who = "these two" if len(alike) == 1 and set(others) == set(*alike) else listed(sorted(those))
        end = f"; {who} differ by less than {POINTS.margin(margin)}, the margin fixed beforehand"
    return f"{what}: {', '.join(told)}{least}{end}"


def _within(method: str) -> str:
    """Return the name of a method within a sentence: `with discount`, but `Wanda as published`."""
    return f"{method[0].lower()}{method[1:]}" if method.startswith("With") else method


def published_differences(
    names: Sequence[str], at: Sequence[float], differences: np.ndarray, errors: np.ndarray | None
) -> str:
    """Say how far published accuracies of methods lie from those they were published against. names (M,): 'a − b'. at
    (X,): sparsities. differences (M, X): shares, NaN if there is none. errors (M, X): standard errors of single
    accuracies, both added in squares; None if the source has none.

    Differences below two standard errors are left out.
    """
    told = []
    for row, name in enumerate(names):
        there = np.isfinite(differences[row])
        if errors is not None:
            there &= np.abs(differences[row]) > _ERRORS * errors[row]
        each = [
            f"{100 * differences[row, x]:+.1f} at {percent(at[x], 0)}".replace("-", "−")
            for x in np.flatnonzero(there).tolist()
        ]
        if each:
            told.append(f"{name} {listed(each)}")
    if not told:
        return ""
    beside = "The source gives no intervals" if errors is None else "More than two standard errors as published"
    return f"In points: {'; '.join(told)}. {beside}."


def above_chance(names: Sequence[str], low: np.ndarray, values: np.ndarray, chance: float | None, so_far: bool) -> str:
    """Say which models' accuracies lie above chance with their whole interval. low, values (N,): shares."""
    if chance is None or not len(names):
        return ""
    above = [at for at in range(len(names)) if low[at] > chance]
    if not above:
        return ""
    best = max(above, key=lambda at: values[at])
    rest = [f"{names[at]} ({percent(float(values[at]))})" for at in range(len(names)) if at not in above]
    when = "So far the" if so_far else "The"
    if not rest:
        both = "both" if len(names) == 2 else f"all {len(names)}"
        said = f"{when} intervals of {both} models lie" if len(names) > 1 else f"{when} interval lies"
    else:
        said = f"{when} intervals of {len(above)} of {len(names)} models lie"
    missed = f"; not shown of {listed(rest)}" if rest else ""
    top = f"highest: {names[best]}, {percent(float(values[best]))}"
    return f"{said} above choosing at random ({percent(chance)}), {top}{missed}."


def seeds_apart(names: Sequence[str], x: Sequence[str], low: np.ndarray, high: np.ndarray, seeds: np.ndarray) -> str:
    """Say where all calibration seeds of one method lie above all of every other.

    low, high, seeds (N, X): of the seeds of a method, by name, at an x, by name; NaN and 0 if there is none. Only
    methods with at least two seeds are compared. Of several places, the one with the widest gap is told. The spans are
    those of the plot, without noise of the items.
    """
    widest, said = 0.0, ""
    for column, where in enumerate(x):
        there = np.flatnonzero((seeds[:, column] >= 2) & np.isfinite(low[:, column]))
        if len(there) < 2:
            continue
        first, second = there[np.argsort(-low[there, column], kind="stable")][:2]
        others = np.delete(there, np.flatnonzero(there == first))
        second = others[int(np.argmax(high[others, column]))]
        gap = float(low[first, column] - high[second, column])
        if gap > max(widest, _SAME):
            widest = gap
            said = (
                f"At {where} every seed of {names[first]} ({_span(low, high, first, column)}) lies above every seed of "
                f"{counted(len(others), 'other method')}; next is {names[second]} ({_span(low, high, second, column)})."
            )
    return said


def _span(low: np.ndarray, high: np.ndarray, row: int, column: int) -> str:
    return f"{100 * low[row, column]:.1f} to {percent(high[row, column], 1)}"


def smallest_above_chance(
    names: Sequence[str],
    x: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    high: Sequence[np.ndarray],
    chance: float | None,
    what: str,
) -> str:
    """Name the smallest pruned models whose seeds all lie above chance, (N,) arrays per method: all methods of one
    size, as methods of one sparsity have.
    """
    if chance is None:
        return ""
    dots = [
        (float(size), name, float(least), float(most))
        for name, *rows in zip(names, x, low, high, strict=True)
        for size, least, most in zip(*rows, strict=True)
        if least > chance
    ]
    if not dots:
        return ""
    smallest = _size(min(dots)[0])
    told = [f"{name} {_from_to(least, most)}" for size, name, least, most in dots if _size(size) == smallest]
    return (
        f"Smallest with every seed above choosing at random ({percent(chance)}), at {smallest} {what}: "
        f"{', '.join(told)}."
    )


def _from_to(least: float, most: float) -> str:
    ends = percent(least), percent(most)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _size(value: float) -> str:
    """Return a number of weights, bytes or milliseconds with four significant digits."""
    return f"{float(f'{value:.4g}'):,.0f}" if value >= 1000 else f"{value:.4g}"


def grid_beyond_seeds(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], floor: float | None) -> str:
    """Say in which column (R, C) of accuracies the row matters most, beyond the difference of two calibration seeds."""
    if floor is None or len(rows) < 2 or not np.isfinite(values).any():
        return ""
    some = np.isfinite(values).sum(axis=0) > 1
    if not some.any():
        return ""
    ranges = np.full(values.shape[1], -np.inf)
    ranges[some] = np.nanmax(values[:, some], axis=0) - np.nanmin(values[:, some], axis=0)
    column = int(ranges.argmax())
    if ranges[column] <= floor:
        return ""
    best, worst = int(np.nanargmax(values[:, column])), int(np.nanargmin(values[:, column]))
    return (
        f"At {columns[column]} {rows[best]} has {100 * ranges[column]:.1f} points more than {rows[worst]}; two "
        f"calibration seeds differ by up to {100 * floor:.1f}."
    )


def trials(
    values: Sequence[float],
    published: float,
    undiscounted: float | None,
    better: int,
    decimals: int,
    other_seed: float | None = None,
) -> str:
    """Say what the best of many trials gains over the published setting and no discount, if it beats both in the
    decimals shown. better: 1 if more is better, else −1. other_seed: the value of no discount with another calibration
    seed.

    The sentence says that it is the best by the data it was chosen on; or, where it beats no discount by no more than
    the other seed's change, that.
    """
    finite = [(better * value, -place) for place, value in enumerate(values) if np.isfinite(value)]
    if not finite:
        return ""
    best = -max(finite)[1]
    if other_seed is not None and undiscounted is not None:
        gain, floor = better * (values[best] - undiscounted), abs(other_seed - undiscounted)
        if gain <= floor:
            gains = f"{100 * gain:.2g} points" if 100 * gain >= 0.5 * 10**-decimals else "nothing"
            return (
                f"None of {len(values)} settings beats no discount ({percent(undiscounted, decimals)}) by more than "
                f"another calibration seed changes it: the best gains {gains}, the seed changes "
                f"{100 * floor:.2g} points."
            )
    references = [published] if undiscounted is None else [published, undiscounted]
    hardest = better * max(better * reference for reference in references)
    if percent(values[best], decimals) == percent(hardest, decimals) or better * (values[best] - hardest) <= 0:
        return ""
    beside = f", {percent(undiscounted, decimals)} without a discount" if undiscounted is not None else ""
    return (
        f"Trial {best} is the best of {len(values)} tried, on what they were judged by: "
        f"{percent(values[best], decimals)}; {percent(published, decimals)} as published{beside}."
    )


def importances(shares: Sequence[float], names: Sequence[str]) -> str:
    """Say which parameter matters most to a search, if that exceeds an even share. shares (N,) sum to 1."""
    order = sorted(range(len(names)), key=lambda at: -shares[at])
    if len(names) < 2 or not shares[order[0]] - 1 / len(names) > _SAME:
        return ""
    first, second = (f"{names[at]} ({percent(float(shares[at]))})" for at in order[:2])
    even = percent(1 / len(names))
    return f"{first} tells good trials from the rest most, then {second}; an even split gives each {even}."


def _interval(value: np.ndarray, decimals: int) -> str:
    middle, low, high = (f"{number:+.{decimals}f}".replace("-", "−") for number in value)
    return f"{middle} [{low}, {high}]"
