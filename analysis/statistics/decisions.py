"""Conclusions from a difference: a table of rules, worded to claim no more than the interval and the test support.

A rule looks at one difference, adjusted over its family, and at the margin: the least difference that would matter,
fixed before anything ran. The first rule that holds is the decision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10

from analysis.registry import Registry
from analysis.statistics.differences import Difference
from analysis.words import listed, p_words


@dataclass(frozen=True)
class Unit:
    """Unit of differences. scale: factor on a value. decimals: least digits after the point."""

    name: str
    scale: float
    decimals: int

    def number(self, value: float, decimals: int | None = None) -> str:
        """A signed value without its unit, as `−1.2`."""
        text = f"{self.scale * value:+.{self.decimals if decimals is None else decimals}f}"
        return (text[1:] if float(text) == 0 else text).replace("-", "−")

    def size(self, value: float) -> str:
        """A value without sign, rounded up to two digits, with its unit."""
        scaled = self.scale * value
        if scaled <= 0:
            return f"0 {self.name}"
        step = 10.0 ** (ceil(log10(scaled)) - 2)
        rounded = float(f"{ceil(round(scaled / step, 6)) * step:.6g}")
        return f"{rounded:g} {self.name if rounded != 1 else self.name.removesuffix('s')}"

    def margin(self, margin: float) -> str:
        """A margin with its unit, as it was set."""
        scaled = float(f"{self.scale * margin:.6g}")
        return f"{scaled:g} {self.name if scaled != 1 else self.name.removesuffix('s')}"


POINTS = Unit("points", 100.0, 1)
NATS = Unit("nats", 1.0, 3)
_WIDE = 10.0  # half-width of an interval, in its unit, from which tenths are meaningless
TOO_COARSE = 0.25  # a share of accuracy; data that resolve only larger differences cannot tell models apart
FEW_SEEDS = 4  # from which a detectable difference needs no explanation


def interval_words(difference: Difference, unit: Unit = POINTS) -> str:
    """`+1.2 points [+0.4, +2.0]`, with as many digits as a narrow interval needs, and one more where an end of it would
    read as 0, or the estimate within a wide one.
    """
    ends = (difference.value, difference.low, difference.high)
    half = unit.scale * (difference.high - difference.low) / 2
    decimals = max(unit.decimals, ceil(-log10(half))) if half > 0 else unit.decimals
    if half >= _WIDE:
        decimals = 0
    small = min(abs(unit.scale * difference.low), abs(unit.scale * difference.high))
    decimals += small < 0.5 * 10**-decimals
    low, high = (unit.number(end, decimals) for end in ends[1:])
    value = unit.number(difference.value, decimals + (decimals == 0 and abs(unit.scale * difference.value) < 0.5))
    return f"{value} {unit.name} [{low}, {high}]"


def over_seeds(seeds: int) -> str:
    """Return the calibration seeds behind an interval, and why it is wide where they are few."""
    told = f"{seeds} seed{'' if seeds == 1 else 's'}"
    return f"{told}, wide as so few barely show their spread" if 1 < seeds < FEW_SEEDS else told


def percent(sparsity: float) -> str:
    """A sparsity, as `70 %`."""
    return f"{100 * sparsity:g} %"


def family_words(tests: int) -> str:
    """Return what a p is adjusted for."""
    return f"after Holm correction over {tests} comparisons" if tests > 1 else "of a single comparison"


# --- decisions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """A conclusion and its condition. help: the rule in words. holds: tests a difference, a margin, and whether the
    dense model is above chance. where: text before the settings it is true of, with {margin} to be filled in.
    """

    name: str
    title: str
    help: str
    where: str
    holds: Callable[[Difference, float, bool], bool]


WAITING, ONE_SEED, AT_CHANCE = "waiting", "one seed", "at chance"
EQUIVALENT, BETTER, WORSE, CANNOT_TELL = "equivalent", "better", "worse", "cannot tell"

DECISIONS: Registry[Decision] = Registry(
    Decision(
        WAITING,
        "not all in",
        "Some runs are still to come. Tests wait for the last one.",
        "not all runs are in at",
        lambda difference, margin, above: not difference.final,
    ),
    Decision(
        AT_CHANCE,
        "no verdict at chance",
        "The interval of the dense model's accuracy reaches chance, so pruned models cannot be told apart on it.",
        "no verdict, as the dense model is not above chance, at",
        lambda difference, margin, above: not above,
    ),
    Decision(
        ONE_SEED,
        "no verdict from one seed",
        "One calibration seed is one draw of a method. Its own noise is not in the interval.",
        "no verdict from one calibration seed at",
        lambda difference, margin, above: difference.seeds == 1,
    ),
    Decision(
        EQUIVALENT,
        "no difference of the margin or more",
        "The interval at the family's level (Bonferroni) lies within ± the margin.",
        "no difference of ±{margin} or more at",
        lambda difference, margin, above: difference.within(margin),
    ),
    Decision(
        BETTER,
        "better",
        "p is below 0.05 after Holm correction over the family, and the 95 % interval lies above 0.",
        "better at",
        lambda difference, margin, above: difference.shown and difference.value > 0,
    ),
    Decision(
        WORSE,
        "worse",
        "p is below 0.05 after Holm correction over the family, and the 95 % interval lies below 0.",
        "worse at",
        lambda difference, margin, above: difference.shown and difference.value < 0,
    ),
    Decision(
        CANNOT_TELL,
        "cannot tell",
        "None of the others. The true difference that would have been significant with 80 % probability is given.",
        "cannot tell at",
        lambda difference, margin, above: True,
    ),
)
"""The first that holds is the decision."""


def decide(difference: Difference, margin: float, above_chance: bool = True) -> str:
    """Return the name of the decision on a difference. margin: in its unit; 0 if none was named.

    above_chance: True if the interval of the dense model's accuracy lies above chance.
    """
    return next(row.name for row in DECISIONS.values() if row.holds(difference, margin, above_chance))


def overall(decisions: Sequence[str]) -> str:
    """The decision that all share, else "mixed"."""
    return decisions[0] if len(set(decisions)) == 1 else "mixed"


def conclusions(differences: Mapping[str, Difference], margin: float, above_chance: bool = True) -> str:
    """Return the conclusion at each setting, in one sentence without its end: better, worse, equivalent, cannot tell.

    differences: by the setting's name, as `70 %`.
    """
    clauses = []
    for name, row in DECISIONS.items():
        told = [
            f"{setting} ({interval_words(difference, POINTS)}{seen(difference, POINTS) if name == CANNOT_TELL else ''})"
            for setting, difference in differences.items()
            if decide(difference, margin, above_chance) == name
        ]
        if told:
            clauses.append((_ORDER.index(name), f"{row.where.format(margin=POINTS.margin(margin))} {listed(told)}"))
    return "; ".join(clause for _, clause in sorted(clauses))


_ORDER = (BETTER, WORSE, EQUIVALENT, CANNOT_TELL, ONE_SEED, AT_CHANCE, WAITING)


def seen(difference: Difference, unit: Unit) -> str:
    """Return the size of effect that the data could have shown, as the end of a clause; "" if unknown."""
    detectable = difference.detectable()
    if detectable != detectable:
        return ""
    few = f"with {difference.seeds} calibration seeds " if 0 < difference.seeds < FEW_SEEDS else ""
    if unit is POINTS and detectable >= TOO_COARSE:
        return f"; {few}no difference below {100 * TOO_COARSE:.0f} points would have been detected"
    return f"; {few}±{unit.size(detectable)} would have been detected"


def tests_in_words(differences: Mapping[str, Difference]) -> str:
    """Return a sentence with the adjusted p of each setting and its family; "" until there are tests."""
    tested = {name: one for name, one in differences.items() if one.adjusted is not None}
    if not tested:
        return ""
    told = [f"{p_words(one.adjusted)} at {name}" for name, one in tested.items() if one.adjusted is not None]
    family = family_words(next(iter(tested.values())).tests)
    return f"{family[0].upper()}{family[1:]}, {listed(told)}."
