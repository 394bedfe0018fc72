"""Results of an ablation over many prompts: paired differences from its controls, and the levels behind them.

A prompt is one item: what a target does to it is compared with what its controls do to it. Three controls ask three
questions: as many tokens, equal attention, and the effect per unit of attention. All differences of one measure are one
family of tests (`differences.in_family`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.specs import CONTROLS, EARLY_SHARE, MASS_TOLERANCE, QUARTERS
from analysis.statistics.clustered import Estimate, as_json, difference, estimate
from analysis.statistics.differences import Difference, in_family


class Measure(NamedTuple):
    """A number per prompt. axis: with its unit. percent: a share. untouched: its value where nothing is acted on, or
    the name of the numbers that hold it. tested: differences in it are tested and drawn; if not, it stands in tables
    alone. change, change_axis: what its differences are called where they are drawn, more change to the right.
    level_axis: the axis of what is changed.
    """

    title: str
    axis: str
    percent: bool
    untouched: float | str
    tested: bool = True
    change: str = ""
    change_axis: str = ""
    level_axis: str = ""

    @property
    def falls(self) -> bool:
        """True where it falls as more changes."""
        return self.untouched == 1.0


MEASURES: Final[Mapping[str, Measure]] = {
    "divergence": Measure(
        "Change of the predictions",
        "KL divergence from the untouched prediction (nats)",
        False,
        0.0,
        change="Divergence of the predictions",
        change_axis="more divergence than with the control (KL, nats)",
        level_axis="divergence from the untouched (KL, nats)",
    ),
    "aligned": Measure(
        "Agreement with the untouched text",
        "share of tokens in common, aligned",
        True,
        1.0,
        change="Changed tokens",
        change_axis="more changed tokens than with the control (of 100)",
        level_axis="changed tokens (of 100)",
    ),
    "agreement": Measure(
        "Agreement by position", "share of tokens that stayed the same at their position", True, 1.0, tested=False
    ),
    "repeated": Measure(
        "Repetition", "share of tokens that equal the one before", True, "repeated_before", tested=False
    ),
    "nll": Measure(
        "Perplexity",
        "negative log-likelihood under the untouched model (nats per token)",
        False,
        "nll_before",
        change="Perplexity of the text",
        change_axis="less likely than with the control (nats per token)",
        level_axis="perplexity under the untouched model",
    ),
}
TESTED: Final = tuple(name for name, measure in MEASURES.items() if measure.tested)
CONTRASTS: Final = (("moving", "steady"), ("most-variable", "least-variable"))
"""Pairs of targets that are compared with each other as well: sinks of high and of low temporal variance, as they are
and at equal attention.
"""
COUNT, MASKED, MASS, UNIT = "matched", "masked", "mass", "unit"  # the controls

Row = Mapping[str, Any]
"""Keys `intervention`, `target` and `control`; for each measure, `share` and `count`, a list with one number per
prompt; and `keys`, one per prompt, where some prompts are alike."""


def effects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Target minus control for every intervention, target, control and measure, over the prompts in which both acted on
    some position, as `Difference` in JSON with intervention, target, against and measure. Prompts of one key
    are one cluster: interval and p are Student's, p the sign flip's where it is larger and few prompts differ.

    against: a row of `CONTROLS`, or a target: the first of each of `CONTRASTS` is also compared with the second. Of
    equal attention only prompts count whose control drew as much, within `MASS_TOLERANCE`. shares: of attention acted
    on. left_out: prompts in which the target acted on nothing, as there were no sinks. unmatched: further ones that
    lack this control. by_position: beside the aligned agreement, the same difference by position. timing: beside the
    divergence, a `Timing`; its tests are a family of their own.
    """
    by_name = _by_name(rows)
    asked = [(key, control) for key in by_name for control in CONTROLS if not key[2]]
    interventions = dict.fromkeys(row["intervention"] for row in rows)
    asked += [((name, most, ""), least) for name in interventions for most, least in CONTRASTS]
    pairs = [(key, _control_key(key, against), against) for key, against in asked if key in by_name]
    found: list[dict[str, Any]] = []
    for measure in TESTED:
        family: list[tuple[dict[str, Any], Difference, dict[str, Any]]] = []
        timings: dict[int, Timing] = {}
        for first_key, second_key, against in pairs:
            if second_key not in by_name:
                continue
            first, second = by_name[first_key], by_name[second_key]
            chosen = np.array(first["count"]) > 0
            acted = _acted(first, second, against)
            target, control = _compared(first, second, acted, measure, per_unit=against == UNIT)
            shares = [float(np.mean(np.array(row["share"])[acted])) if acted.any() else None for row in (first, second)]
            compared = difference(target, control, clusters_of(first, len(acted))[acted], test=len(target) > 1)
            named = {"intervention": first_key[0], "target": first_key[1], "against": against, "measure": measure}
            beside: dict[str, Any] = {"shares": shares}
            beside |= {"left_out": int((~chosen).sum()), "unmatched": int((chosen & ~acted).sum())}
            if measure == "aligned" and acted.any() and against != UNIT:
                beside["by_position"] = float(np.subtract(first["agreement"], second["agreement"])[acted].mean())
            if measure == "divergence" and acted.sum() > 1 and against != UNIT:
                timings[len(family)] = _timing(first, second, acted)
            family.append((named, compared, beside))
        adjusted = in_family([compared for _, compared, _ in family])
        for place, timing in zip(timings, _in_one_family(list(timings.values())), strict=True):
            family[place][2]["timing"] = asdict(timing)
        found += [
            named | as_json(compared) | beside for (named, _, beside), compared in zip(family, adjusted, strict=True)
        ]
    return found


def _by_name(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    return {(row["intervention"], row["target"], row["control"]): row for row in rows}


def _control_key(key: tuple[str, str, str], against: str) -> tuple[str, str, str]:
    """Intervention, target and control of the row that a target's is compared with."""
    if against in CONTROLS:
        return key[0], key[1], against if CONTROLS[against].drawn else COUNT
    return key[0], against, ""


def _acted(first: Row, second: Row, against: str) -> np.ndarray:
    """Return in which prompts a target and its control acted on some position, and can be compared, (prompts,) bool."""
    acted: np.ndarray = (np.array(first["count"]) > 0) & (np.array(second["count"]) > 0)
    if against == MASS:
        acted &= _equal(first, second)
    elif against == UNIT:
        acted &= np.array(second["share"]) > 0
    return acted


def clusters_of(row: Row, prompts: int) -> np.ndarray:
    """Return the number of the cluster of each prompt, (prompts,): its own where it shares no key."""
    return np.asarray(np.unique(row.get("keys") or range(prompts), return_inverse=True)[1])


def _equal(first: Row, second: Row) -> np.ndarray:
    """Return in which prompts both acted on as much attention, within the tolerance, (prompts,) bool."""
    target, control = np.array(first["share"]), np.array(second["share"])
    return np.asarray(np.abs(control - target) <= (MASS_TOLERANCE + 1e-9) * target)


def _compared(
    first: Row, second: Row, acted: np.ndarray, measure: str, per_unit: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the prompts acted on, of a target and of its control, (prompts,) each.

    per_unit: the control's change is scaled up to the target's attention: the mean change times s̄ / s̄', with s̄ and s̄'
    the mean shares of attention of target and control. The interval is that of the ratio by its linear part (the delta
    method): prompt i counts r·d'_i + R·(s_i − r·s'_i), with d' the change under the control, r = s̄/s̄' and R = d̄'/s̄'.
    """
    target, control = (values_of(row, measure, acted) for row in (first, second))
    if not per_unit or not len(target):
        return target, control
    named = MEASURES[measure].untouched
    before = values_of(first, named, acted) if isinstance(named, str) else named
    change, control_change = target - before, control - before
    share, control_share = (np.array(row["share"], float)[acted] for row in (first, second))
    scale, rate = share.mean() / control_share.mean(), control_change.mean() / control_share.mean()
    return change, scale * control_change + rate * (share - scale * control_share)


_OF_TOKENS: Final = {"nll": "tokens", "nll_before": "tokens_before", "nll_alike": "tokens_alike", "repeated": "tokens"}
"""Numbers per token, with how many tokens each text has."""


def values_of(row: Row, name: str, among: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return a number of each prompt, (prompts,). One per token is that over all tokens, sum over sum, which a short
    text moves less, with its linear part (the delta method): r + (v_i − r)·n_i/n̄, of which the mean is r = Σvn/Σn.
    """
    values = np.array(row[name], float)[among]
    if name not in _OF_TOKENS or not len(values):
        return values
    tokens = np.array(row[_OF_TOKENS[name]], float)[among]
    rate = np.average(values, weights=tokens)
    return np.asarray(rate + (values - rate) * tokens / tokens.mean())


def effect_of(row: Row) -> Difference:
    """The difference in a row of `effects`, NaN where it has no interval."""
    kept = {name: row[name] for name in Difference.__dataclass_fields__}
    return Difference(**kept | {name: np.nan for name in ("value", "low", "high") if kept[name] is None})


def as_change(row: Row) -> dict[str, Any]:
    """Return an effect with its sign turned where its measure falls as more changes: above 0, more changes."""
    if not MEASURES[row["measure"]].falls or row["low"] is None:
        return dict(row)
    return {**row, "value": -row["value"], "low": -row["high"], "high": -row["low"]}


def shown(effect: Row) -> bool:
    """Return whether an effect is significant: by its adjusted p, and by its interval."""
    return effect["p_holm"] is not None and effect_of(effect).shown


# --- when predictions change --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """When the predictions change. target, control: mean divergence over each quarter of the steps, with the target's
    and with the control's positions acted on. early, late: target minus control over the first and the last half.
    shares: of attention that target and control drew over the first half.
    """

    target: list[float]
    control: list[float]
    early: Difference
    late: Difference
    shares: list[float]


def _timing(first: Row, second: Row, acted: np.ndarray) -> Timing:
    """The timing of a target and its control over the prompts compared, not adjusted."""
    target, control = (np.array([row[name] for name in QUARTERS], float)[:, acted] for row in (first, second))
    clusters, half = clusters_of(first, len(acted))[acted], len(QUARTERS) // 2
    early, late = (
        difference(target[part].mean(axis=0), control[part].mean(axis=0), clusters, test=True)
        for part in (slice(half), slice(half, None))
    )
    shares = [float(np.mean(np.array(row[EARLY_SHARE])[acted])) for row in (first, second)]
    return Timing(target.mean(axis=1).tolist(), control.mean(axis=1).tolist(), early, late, shares)


def _in_one_family(timings: Sequence[Timing]) -> list[Timing]:
    halves = in_family([half for timing in timings for half in (timing.early, timing.late)])
    pairs = zip(timings, halves[::2], halves[1::2], strict=True)
    return [replace(timing, early=early, late=late) for timing, early, late in pairs]


def timing_of(row: Row) -> Timing | None:
    """Return the timing in a row of `effects`; None where it has none."""
    if (found := row.get("timing")) is None:
        return None
    return Timing(**found | {name: Difference(**found[name]) for name in ("early", "late")})


# --- levels behind the effects -----------------------------------------------------------------------------------


class Levels(NamedTuple):
    """Means over the prompts compared, in the unit of the measure. control: of the effect's control; per unit of
    attention, scaled up to the target's.
    """

    target: float
    control: float


def levels_of(rows: Sequence[Row], effect: Row) -> Levels:
    """Return the levels of which an effect is the difference. rows: of the same summary. effect: one with a value."""
    first, _, compared = _sides(rows, effect)
    level = float(values_of(first, effect["measure"], compared).mean())
    return Levels(level, level - effect["value"])


class Change(NamedTuple):
    """The change that acting on some positions makes to what a model does: the mean over n prompts with its interval,
    NaN where there is none. share: of all attention, that the positions drew. tokens: positions per step. masked: the
    share of these that were undecided, NaN where there are none.
    """

    value: float
    low: float
    high: float
    n: int
    share: float
    tokens: float
    masked: float


def changes_of(rows: Sequence[Row], effect: Row) -> tuple[Change, Change]:
    """Return what the target and its control change, over the prompts of which an effect is the difference."""
    *sides, compared = _sides(rows, effect)
    clusters = clusters_of(sides[0], len(compared))[compared] if compared.sum() > 1 else np.zeros(0)
    found = []
    for row in sides:
        values = values_of(row, effect["measure"], compared)
        values = 1 - values if MEASURES[effect["measure"]].falls else values
        mean = estimate(values, clusters) if len(clusters) else None
        ends = (np.nan, np.nan) if mean is None else (mean.low, mean.high)
        share, tokens = (float(np.mean(np.array(row[name])[compared])) for name in ("share", "count"))
        found.append(Change(float(values.mean()), *ends, len(values), share, tokens, _masked_share(row, compared)))
    return found[0], found[1]


def means_of(rows: Sequence[Row], effect: Row, name: str) -> tuple[float, float]:
    """Return the means of a field of the rows, of the target and of its control, over the prompts of which an effect is
    the difference."""
    *sides, compared = _sides(rows, effect)
    target, control = (float(values_of(row, name, compared).mean()) for row in sides)
    return target, control


def rise_of(rows: Sequence[Row], effect: Row) -> Difference:
    """Return by how much the negative log-likelihood with the target acted on is above that with nothing acted on, over
    the prompts of which an effect is the difference."""
    target, _, compared = _sides(rows, effect)
    acted, before = (values_of(target, name, compared) for name in ("nll", "nll_before"))
    return difference(acted, before, clusters_of(target, len(compared))[compared], test=False)


def length_of(rows: Sequence[Row], effect: Row) -> Difference:
    """Return by how many tokens the texts up to where they end are longer with the target than with its control acted
    on, over the prompts of which an effect is the difference."""
    *sides, compared = _sides(rows, effect)
    target, control = (np.array(row["tokens"], float)[compared] for row in sides)
    return difference(target, control, clusters_of(sides[0], len(compared))[compared], test=False)


def median_lengths(rows: Sequence[Row], effect: Row) -> tuple[float, float]:
    """Return the medians over the prompts compared of how many tokens a text has up to where it ends, with the target
    acted on and with nothing."""
    target, _, compared = _sides(rows, effect)
    acted, before = (float(np.median(np.array(target[name], float)[compared])) for name in ("tokens", "tokens_before"))
    return acted, before


@dataclass(frozen=True)
class Begins:
    """The negative log-likelihood of the beginnings of texts, as long as the shortest text of each prompt. sinks: by
    how much it is above that with the control hidden. tokens: mean length. shorter: whether some text goes on.
    """

    sinks: Difference
    tokens: float
    shorter: bool


def begins_of(rows: Sequence[Row], effect: Row) -> Begins | None:
    """Return the difference over the beginnings that the texts of a prompt have in length alike, over the prompts of
    which an effect is the difference. None where that was not measured."""
    *sides, compared = _sides(rows, effect)
    if not all("nll_alike" in row for row in sides) or compared.sum() < 2:
        return None
    target, control = (values_of(row, "nll_alike", compared) for row in sides)
    found = difference(target, control, clusters_of(sides[0], len(compared))[compared], test=False)
    alike = np.array(sides[0]["tokens_alike"], float)[compared]
    shorter = any(bool((np.array(row["tokens"])[compared] > alike).any()) for row in sides)
    return Begins(found, float(alike.mean()), shorter)


def _masked_share(row: Row, compared: np.ndarray) -> float:
    """Return the share of the positions acted on that was undecided, over the prompts compared, (prompts,) bool."""
    count = float(np.sum(np.array(row["count"], float)[compared]))
    return float(np.sum(np.array(row["undecided"], float)[compared])) / count if count else np.nan


def quarters_of(rows: Sequence[Row], effect: Row) -> tuple[list[Estimate], list[Estimate]]:
    """Return the divergence of the target and of its control over each quarter of the steps, over the prompts of which
    an effect is the difference. rows: of two prompts or more.
    """
    *sides, compared = _sides(rows, effect)
    clusters = clusters_of(sides[0], len(compared))[compared]
    target, control = ([estimate(np.array(row[name], float)[compared], clusters) for name in QUARTERS] for row in sides)
    return target, control


def _sides(rows: Sequence[Row], effect: Row) -> tuple[Row, Row, np.ndarray]:
    """Return the rows of an effect's target and of its control, and which prompts are compared, (prompts,) bool."""
    by_name, key = _by_name(rows), (effect["intervention"], effect["target"], "")
    first, second = by_name[key], by_name[_control_key(key, effect["against"])]
    compared = _acted(first, second, effect["against"])
    if not compared.any():  # of prompts that are done while others run, rows hold the means alone
        compared[:] = True
    return first, second, compared


def answer_rows(effects: Sequence[Row], measure: str, controls: Collection[str]) -> list[Row]:
    """Return the effects of the sinks that the answer is about: those under the first intervention, against these
    controls.
    """
    mine = [row for row in effects if row["target"] == "sinks" and row["measure"] == measure and row["low"] is not None]
    return [row for row in mine if row["against"] in controls and row["intervention"] == mine[0]["intervention"]]
