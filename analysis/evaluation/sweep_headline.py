"""The first line of a sweep: what is found at which setting, with its interval, what it is compared with, and the noise
that the interval leaves out. Imports no torch.
"""

from collections.abc import Sequence
from pathlib import Path

from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.sweep_scores import Comparison, Verdict, noise, seed_of
from analysis.specs import METHODS, EvictionPoint, detail, titles_apart, where
from analysis.statistics.decisions import CANNOT_TELL, DECISIONS, POINTS, family_words, interval_words, seen

_LEFT_OUT = "Other models, tasks and calibration sources are not covered."


def relations(compared: Sequence[Comparison]) -> list[str]:
    """Return what settings of a sweep are compared with, the control first."""
    there = {comparison.relation for comparison in compared}
    return [relation for relation in HELD_AGAINST if relation in there]


def headlines(compared: Sequence[Comparison]) -> list[Verdict]:
    """Return the `headline` of prunings, then that of evictions, from comparisons of one relation; none of an absent
    kind.
    """
    kinds: dict[bool, list[Comparison]] = {False: [], True: []}
    for comparison in compared:
        kinds[isinstance(comparison.setting.pruning, EvictionPoint)].append(comparison)
    return [headline(group) for group in kinds.values() if group]


def headline(compared: Sequence[Comparison]) -> Verdict:
    """Return the largest significant difference of comparisons of one relation, else the largest with the size of
    effect that would have been detected; and which noise their intervals hold.
    """
    significant = [comparison for comparison in compared if comparison.shown]
    first = max(significant or compared, key=lambda one: abs(one.difference.value))
    told = noise([comparison.difference for comparison in compared], seed_of(first.setting))
    return Verdict(_significant(first, compared) if significant else _open(first, compared), f"{told} {_LEFT_OUT}")


def _significant(first: Comparison, compared: Sequence[Comparison]) -> str:
    count = sum(comparison.shown for comparison in compared)
    more = f" {count} of {len(compared)} differences are significant." if len(compared) > 1 else ""
    title, other = _sides(first)
    way = "better" if first.difference.value > 0 else "worse"
    return (
        f"{_on(first)} at {_place(first)}, {title} is {way} than {other}: {interval_words(first.difference)}, "
        f"significant {family_words(first.difference.tests)}.{more}"
    )


def _open(first: Comparison, compared: Sequence[Comparison]) -> str:
    title, other = _sides(first)
    told, place = interval_words(first.difference), _place(first)
    if first.decision != CANNOT_TELL:
        decided = DECISIONS[first.decision].title
        return f"{_on(first)}, {title} compared with {other} at {place}: {told}; {decided}."
    largest = f"the largest of {len(compared)} differences is {told}" if len(compared) > 1 else told
    return (
        f"{_on(first)}, {title} does not differ significantly from {other}: {largest}, at {place}"
        f"{seen(first.difference, POINTS)}."
    )


def _on(comparison: Comparison) -> str:
    return f"On {Path(comparison.setting.pruning.model.source).name}"


def _sides(comparison: Comparison) -> tuple[str, str]:
    """Return the titles of both methods, the second with what it is to the first."""
    title, other = titles_apart(comparison.setting.pruning, comparison.other.pruning)
    if isinstance(comparison.setting.pruning, EvictionPoint):
        title, other = f"keeping {title}", f"keeping {other}"
    called = HELD_AGAINST[comparison.relation]
    return title, other if called in other else f"{other} ({called})"


def _place(comparison: Comparison) -> str:
    """Return what is removed or kept, and what else of the setting is not the default."""
    point = comparison.setting.pruning
    removed = where(point) + (" sparsity" if METHODS[point.method].removes else "")
    return ", ".join(filter(None, (removed, detail(point)))) or comparison.setting.name
