"""How far predictions shift with the sinks of many prompts hidden, and when, beside hiding each control."""

from collections.abc import Mapping
from statistics import fmean
from typing import Final

from analysis.evaluation.ablation_effects import MASKED, Timing, timing_of
from analysis.findings.ablations import (
    MORE_OR_LESS,
    PREDICTIONS,
    THAN,
    Levels,
    Summary,
    effects_by_control,
    levels_by_control,
    side_of,
)
from analysis.specs import MASS_TOLERANCE
from analysis.statistics.decisions import NATS, interval_words
from analysis.statistics.differences import Difference

SHIFTS: Final = ("KL in nats", "first half of the steps", "second half", "all steps")
"""Titles of the columns of `shifts`."""
SHIFTS_TOLD: Final = (
    "From the predictions with nothing hidden, at undecided positions of the same input; means over prompts, "
    "differences with 95 % intervals."
)
"""What they hold."""


def shifts(summary: Summary) -> list[tuple[str, ...]]:
    """Return how far predictions shift with the sinks hidden, and by how much more than with each control, over each
    half of the steps and over all, with intervals; empty where that was not measured. Columns: `SHIFTS`.
    """
    compared = effects_by_control(summary, PREDICTIONS)
    timings = {of: timing for of, row in compared.items() if (timing := timing_of(row)) is not None}
    return shifts_beside(*levels_by_control(summary, compared), timings)


def shifts_beside(sinks: float, others: Levels, timings: Mapping[str, Timing]) -> list[tuple[str, ...]]:
    """Return the same of the shift of predictions with the sinks and with each control, and of when they shift. The
    first row has no intervals; it is left out where controls were compared over different prompts.
    """
    rows = [
        (
            f"sinks minus {THAN[of]}{_masked_first(of, timing)}",
            *map(_in_nats, (timing.early, timing.late, others[of][1])),
        )
        for of, timing in timings.items()
    ]
    if not rows or len({others[of][1].n for of in timings}) > 1:
        return rows
    quarters = next(iter(timings.values())).target
    half = len(quarters) // 2
    levels = fmean(quarters[:half]), fmean(quarters[half:]), sinks
    return [("sinks", *(f"{level:.3f}" for level in levels)), *rows]


def _masked_first(of: str, timing: Timing) -> str:
    """Return in which steps other masked positions draw as much attention as the sinks, where that is in the first."""
    return " (equal attention in the first half)" if of == MASKED and alike_early(timing) else ""


def alike_early(timing: Timing) -> bool:
    """Return whether target and control draw as much attention in the first half of the steps."""
    return abs(timing.shares[1] - timing.shares[0]) <= MASS_TOLERANCE * timing.shares[0]


def _in_nats(difference: Difference) -> str:
    return interval_words(difference, NATS).replace(f" {NATS.name}", "")


def when_alike(timing: Timing) -> str:
    """Say whether predictions shift more in the first half of the steps than with other masked positions hidden, in a
    sentence; empty where these draw less attention than the sinks there.
    """
    if not alike_early(timing):
        return ""
    side = MORE_OR_LESS[side_of(timing.early)].removeprefix("significantly ")
    return (
        f"In the first half of the steps hiding sinks shifts predictions {side} than hiding {THAN[MASKED]} of equal "
        f"attention (KL {interval_words(timing.early, NATS)})."
    )


def when_shifted(timing: Timing) -> str:
    """Say in which half of the steps predictions shift more than with the control and in which less, as after "shift";
    empty where that is not significant in both.
    """
    early, late = side_of(timing.early), side_of(timing.late)
    if not early or early != -late:
        return ""
    return f"{_MORE[early]} in the first half of the steps, {_MORE[late]} in the second"


_MORE: Final = {1: "more", -1: "less"}
