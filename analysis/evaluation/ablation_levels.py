"""Levels behind the effects of an ablation, and its answer: what hiding sinks does and what each control does, beside
their difference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.evaluation.ablation_effects import COUNT, MASS, MEASURES, UNIT, Row, control_of, effect_of, shown
from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE
from analysis.statistics.decisions import NATS, POINTS, interval_words


class Levels(NamedTuple):
    """Means over the prompts compared, in the unit of the measure. control: of the effect's control; per unit of
    attention, scaled up to the target's. share: of all attention, that the target drew.
    """

    target: float
    control: float
    share: float


def levels_of(rows: Sequence[Row], effect: Row) -> Levels:
    """Return the levels of which an effect is the difference. rows: of the same summary. effect: one with a value."""
    by_name = {(row["intervention"], row["target"], control_of(row)): row for row in rows}
    done, target, against = effect["intervention"], effect["target"], effect["against"]
    first = by_name[done, target, ""]
    control = (target, against if CONTROLS[against].drawn else COUNT) if against in CONTROLS else (against, "")
    second = by_name[done, *control]
    compared = (np.array(first["count"]) > 0) & (np.array(second["count"]) > 0)
    shares = np.array(first["share"]), np.array(second["share"])
    if against == MASS:
        compared &= np.isclose(shares[1], shares[0], rtol=MASS_TOLERANCE + 1e-9, atol=0)
    elif against == UNIT:
        compared &= shares[1] > 0
    if not compared.any():  # of prompts that are done while others run, rows hold the means alone
        compared[:] = True
    level = float(np.mean(np.array(first[effect["measure"]])[compared]))
    return Levels(level, level - effect["value"], float(shares[0][compared].mean()))


# --- the answer -------------------------------------------------------------------------------------------------

THAN: Mapping[str, str] = {COUNT: "as many random tokens of the same state", MASS: "tokens with equal attention"}
"""The controls of the answer, as after "than hiding"."""


def answer_rows(effects: Sequence[Row], measure: str) -> list[Row]:
    """Return the effects of the sinks that the answer is about: those under the first intervention."""
    mine = [row for row in effects if row["target"] == "sinks" and row["measure"] == measure and row["low"] is not None]
    return [row for row in mine if row["against"] in CONTROLS and row["intervention"] == mine[0]["intervention"]]


def answer(effects: Sequence[Row], measure: str = "divergence") -> str:
    """Say on which side of each control hiding the sinks lies, with the differences, whose intervals the figure shows;
    where none is significant, which difference would have been detected. Empty where sinks were not compared.
    """
    mine = answer_rows(effects, measure)
    if not mine:
        return ""
    done = mine[0]["intervention"]
    by_control = {row["against"]: row for row in mine}
    sides: dict[str, list[str]] = {}
    for control, words in THAN.items():
        row = by_control.get(control)
        if row is not None:
            side = "" if not shown(row) else "more" if row["value"] > 0 else "less"
            sides.setdefault(side, []).append(f"{words} ({difference_words(row, measure).partition(' [')[0]})")
    what = "the predictions" if measure == "divergence" else MEASURES[measure].title.lower()
    hidden = done == "attention"
    changes = f"Hiding the sinks changes {what}" if hidden else f"Sinks, {INTERVENTIONS[done].title}: {what} change"
    told = [
        f"{side} than {'hiding' if hidden else 'with'} {' or '.join(sides[side])}"
        for side in ("more", "less")
        if side in sides
    ]
    open_ = sides.get("")
    if not told and open_:
        return f"{changes} not significantly more or less than {' or '.join(open_)}.{_detectable(by_control)}"
    rest = f"; not significantly different from {' or '.join(open_)}" if open_ else ""
    return f"{changes} {' and '.join(told)}{rest}."


def _detectable(by_control: Mapping[str, Any]) -> str:
    row = by_control.get(COUNT)
    size = None if row is None else effect_of(row).detectable()
    if size is None or not np.isfinite(size):
        return ""
    return f" A difference of {size:.2g} nats from as many random tokens would have been detected."


def difference_words(row: Row, measure: str) -> str:
    """Return the difference of an effect with its unit and interval."""
    return interval_words(effect_of(row), POINTS if MEASURES[measure].percent else NATS)
