"""Sentences on a sweep: its first line, every comparison, dose-responses, what a cost buys, and the noise that
intervals hold. Imports no torch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.frontier import ACCURACY, QUALITIES, Cost, Placed, Quality, size_words
from analysis.evaluation.sweep_scores import Comparison, DoseResponse, Setting
from analysis.findings.evaluations import change_of_accuracy
from analysis.specs import METHODS, EvictionPoint, detail, part_alone, titles_apart, where
from analysis.statistics.decisions import (
    CANNOT_TELL,
    DECISIONS,
    POINTS,
    TOO_COARSE,
    conclusions,
    family_words,
    interval_words,
    percent,
    seen,
    tests_in_words,
)
from analysis.statistics.differences import Difference
from analysis.words import listed, model_in_words

_WHOLE = 10  # points, from which on tenths are left out
_LEFT_OUT = "Other models, tasks and calibration sources are not covered."


@dataclass(frozen=True)
class Verdict:
    """A pair of methods of a model in words. told: what is shown at which setting. tested: by which tests, and which
    noise was counted. discount: comparisons that it is about by setting, where they tell what the sink discount does.
    """

    told: str
    tested: str
    discount: Mapping[str, Comparison] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.told} {self.tested}"


def size_in_points(share: float) -> str:
    """Return the size of a difference of accuracy in points, without their name: `20`, `1.1`."""
    points = POINTS.scale * abs(share)
    return f"{points:.{int(points < _WHOLE)}f}"


def what_moves(sizes: Mapping[str, float]) -> str:
    """Tell how far each setting moves the accuracy of one pruned model. sizes: shares by the setting's name within a
    sentence, from the largest to the smallest.
    """
    first, *others = [
        f"{name} {'moves accuracy ' * (not place)}by {size_in_points(size)}{' points' * (not place)}"
        for place, (name, size) in enumerate(sizes.items())
    ]
    told = listed([f"{first[0].upper()}{first[1:]}", *others])
    return f"{told}."


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
    """Return what the sink discount does to accuracy, of comparisons of prunings with their control; of others of one
    relation the largest significant difference, else the largest with the size of effect that would have been detected;
    and which noise their intervals hold.
    """
    significant = [comparison for comparison in compared if comparison.shown]
    first = max(significant or compared, key=lambda one: abs(one.difference.value))
    told = f"{noise([comparison.difference for comparison in compared], seed_of(first.setting))} {_LEFT_OUT}"
    if all(map(is_discount, compared)):
        discount = _by_setting(compared)
        said, stands = change_of_accuracy({name: one.difference for name, one in discount.items()})
        return Verdict(said, f"On {_model(first)}, against {_sides(first)[1]}. {stands} {told}", discount)
    if not significant and first.difference.detectable() >= TOO_COARSE:  # which the answer says without the size
        size = seen(first.difference, POINTS).removeprefix("; ")
        told = f"{_upper(size)}, {family_words(first.difference.tests)}. {told}"
    return Verdict(_significant(first, compared) if significant else _open(first, compared), told)


def is_discount(comparison: Comparison) -> bool:
    """Return whether two prunings differ in nothing but the discount of the sinks."""
    point = comparison.setting.pruning
    if comparison.relation != "control" or isinstance(point, EvictionPoint) or part_alone(point):
        return False
    return METHODS[point.method].tokens == "sinks"


def _by_setting(compared: Sequence[Comparison]) -> dict[str, Comparison]:
    """Return comparisons by setting, with the method where there are several."""
    several = [len({of(one) for one in compared}) > 1 for of in (_model, lambda one: one.setting.pruning.method)]
    named = {}
    for one in compared:
        parts = [name for name, told in zip((_model(one), _sides(one)[0]), several, strict=True) if told]
        named[", ".join([*parts, _place(one)])] = one
    return named


def _significant(first: Comparison, compared: Sequence[Comparison]) -> str:
    count = sum(comparison.shown for comparison in compared)
    more = f" {count} of {len(compared)} differences are significant." if len(compared) > 1 else ""
    title, other = _sides(first)
    way = "better" if first.difference.value > 0 else "worse"
    return (
        f"{_upper(title)} is {way} than {other}. On {_model(first)} at {_place(first)}: "
        f"{interval_words(first.difference)}, significant {family_words(first.difference.tests)}.{more}"
    )


def _open(first: Comparison, compared: Sequence[Comparison]) -> str:
    title, other = _sides(first)
    told, place = interval_words(first.difference), _place(first)
    which = f"largest of {len(compared)} differences of accuracy" if len(compared) > 1 else "difference of accuracy"
    numbers = f"On {_model(first)} the {which} is {told}, at {place}"
    if first.decision != CANNOT_TELL:
        return f"{_upper(DECISIONS[first.decision].title)}: {title} against {other}. {numbers}."
    answer = f"No significant difference between {title} and {other}"
    if first.difference.detectable() >= TOO_COARSE:
        seeds = first.difference.seeds
        if seeds > 1:
            return f"Not decided: {seeds} {seed_of(first.setting)}s cannot tell {title} from {other}. {numbers}."
        return f"Not decided: these items cannot tell {title} from {other}. {numbers}."
    return f"{answer}. {numbers}{seen(first.difference, POINTS)}."


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _model(comparison: Comparison) -> str:
    return Path(comparison.setting.pruning.model.source).name


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


# --- every comparison ------------------------------------------------------------------------------------------------


def verdicts(compared: Sequence[Comparison]) -> list[Verdict]:
    """Return one verdict for each pair of methods of a model."""
    groups: dict[tuple[str, str, str, str, bool], list[Comparison]] = defaultdict(list)
    for comparison in compared:
        point = comparison.setting.pruning
        alone = bool(part_alone(point))  # parts of one recipe go together, whatever their control
        title, other = titles_apart(point, comparison.other.pruning)
        groups[point.model.source, "" if alone else title, other, comparison.relation, alone].append(comparison)
    return [_verdict(group) for group in groups.values()]


def _verdict(group: Sequence[Comparison]) -> Verdict:
    first = group[0]
    title, other = titles_apart(first.setting.pruning, first.other.pruning)
    told = {}
    for comparison in group:
        point = comparison.setting.pruning
        told[f"{where(point)} {detail(point)}".strip()] = comparison.difference
    called = HELD_AGAINST[first.relation]
    named = other if called in other else f"{other} ({called})"
    if part_alone(first.setting.pruning):
        title = f"{other} with one part of the recipe"
    noises = noise([comparison.difference for comparison in group], seed_of(first.setting))
    return Verdict(
        f"{_upper(title)} against {named} on {model_in_words(first.setting.pruning.model.source)}: "
        f"{conclusions(told, 0.0, first.setting.above_chance)}.",
        f"{tests_in_words(told)} {noises}".strip(),
    )


def noise(differences: Sequence[Difference], seed: str = "calibration seed") -> str:
    """Say which sources of noise the intervals of these differences hold and leave out. seed: what varies."""
    counts, clusters = ([getattr(difference, name) for difference in differences] for name in ("n", "clusters"))
    items = f"items ({_span(counts)} in {_span(clusters)} clusters)"
    seeds = _span([difference.seeds for difference in differences])
    if not any(difference.seeds for difference in differences):
        return f"The intervals hold the noise of {items}; nothing else is drawn."
    if all(difference.holds_seeds for difference in differences):
        return f"The intervals hold two sources of noise: {items}, and the {seed} ({seeds} seeds, paired)."
    if any(difference.holds_seeds for difference in differences):
        return (
            f"The intervals hold the noise of {items}, and that of the {seed} only where there are two seeds "
            f"or more ({seeds} here)."
        )
    return (
        f"The intervals hold the noise of {items} alone. They leave out the {seed}'s: sweep several "
        "seeds to measure it."
    )


def seed_of(setting: Setting) -> str:
    """Return what differs between the seeds of a setting."""
    return "draw" if isinstance(setting.pruning, EvictionPoint) else "calibration seed"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


# --- dose-responses --------------------------------------------------------------------------------------------------


def trend(method: str, sparsity: float, strengths: Sequence[float], slope: Difference) -> str:
    """Tell in a sentence what a dose-response shows. method: its title."""
    doses = ", ".join(f"{strength:g}" for strength in strengths)
    told = f"accuracy {'rises' if slope.value > 0 else 'falls'} with λ" if slope.shown else "no significant trend in λ"
    if not slope.final:
        told = "not all runs are in"
    elif slope.seeds == 1:
        told = "no verdict from one calibration seed"
    noise = "" if slope.shown or not slope.final else seen(slope, POINTS)
    return (
        f"Dose-response of {method} at {percent(sparsity)} (λ = {doses}): {told}, {interval_words(slope)} from no "
        f"discount to the full one{noise}."
    )


def dose_response(response: DoseResponse) -> str:
    """Tell in a sentence what a dose-response shows."""
    point = response.settings[0].pruning
    discounted = " + ".join(row.title for row in point.readers if row.discounted)
    return trend(discounted, point.sparsity, response.strengths, response.slope)


# --- quality against cost ----------------------------------------------------------------------------------------


def at_same_cost(
    pairs: Sequence[tuple[Comparison, Placed, Placed]], cost: Cost, quality: Quality = QUALITIES[ACCURACY]
) -> str:
    """Say what sink-awareness gains over its control at the same cost: the largest significant difference, else the
    size of effect that would have been detected; '' without a pair.
    """
    if not pairs:
        return ""
    told = [pair for pair in pairs if pair[0].shown] or pairs
    comparison, point, _ = max(told, key=lambda pair: abs(pair[0].difference.value))
    difference, unit = comparison.difference, quality.unit
    title, other = titles_apart(comparison.setting.pruning, comparison.other.pruning)
    at, evicted = _at_cost(point, cost), isinstance(point.setting.pruning, EvictionPoint)
    keeping = "keeping " if evicted else ""
    against = f"{keeping}{title} {'compared with' if evicted else 'against'} {keeping}{other}"
    family = family_words(difference.tests)
    if comparison.shown:
        verb = (quality.gains if difference.value > 0 else quality.loses).format(size_words(difference, unit))
        count = f" {sum(pair[0].shown for pair in pairs)} of {len(pairs)} such differences are significant."
        return (
            f"{at}, {keeping}{title} {verb} compared with {keeping}{other}, {family}.{count if len(pairs) > 1 else ''}"
        )
    decision = comparison.decision
    if decision == CANNOT_TELL:
        several = (
            f"the largest of {len(pairs)} differences, not significant {family}"
            if len(pairs) > 1
            else "not significant"
        )
        return f"{at}, {against}: {interval_words(difference, unit)}, {several}{seen(difference, unit)}."
    return f"{at}, {against}: {interval_words(difference, unit)}; {DECISIONS[decision].title}."


def _at_cost(point: Placed, cost: Cost) -> str:
    """Say at which cost, and with which settings that the titles leave out."""
    pruning, more = point.setting.pruning, detail(point.setting.pruning)
    if isinstance(pruning, EvictionPoint):
        return f"At {where(pruning)}"
    removed = [f"{percent(pruning.sparsity)} sparsity"] if METHODS[pruning.method].removes else []
    settings = ", ".join([*removed, *([more] if more else [])])
    at = (
        f"{100 * point.share:.0f} % of the dense model's {cost.named}"
        if point.share
        else f"{_count(point.cost)} {cost.title}"
    )
    return f"At {at} ({settings})"


def _count(number: float) -> str:
    return f"{number / 1e6:.3g} million" if number >= 1e6 else f"{number:,.3g}"
