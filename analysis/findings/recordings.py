"""Findings on a recording: its sinks, heads and positions. T steps, S positions, L layers, H heads, K kinds.

The steps of one recording are not independent draws, so a position that stays a sink counts once in a null.
"""

from collections.abc import Sequence

import numpy as np

from analysis.words import UNTRAINED, counted, largest, number, percent, subject, times

_STRONG = 2.0  # × uniform attention, from which a position is mentioned
_SPREADS = 3.0  # standard deviations of chance beyond which something is spoken of
_RARE = 0.01  # chance that the longest-lived of all positions lives as long, below which it is spoken of
_THIRD = 3


def kinds_of_sinks(sinks: np.ndarray, members: np.ndarray, names: Sequence[str]) -> str:
    """Name the kind that most exceeds its chance share of sinks. sinks (T, S) bool; members (K, T, S) bool: tokens of
    each kind.

    The null: as many sinks at random positions, where a kind's share is its share of all tokens.
    """
    total = int(sinks.sum())
    if not total:
        return ""
    there = members.any(axis=0)
    shares = (members & sinks).sum(axis=(1, 2)) / total
    expected = members.sum(axis=(1, 2)) / max(int(there.sum()), 1)
    distinct = max(int(sinks.any(axis=0).sum()), 1)
    spread = np.sqrt(expected * (1 - expected) / distinct)
    beyond = np.where(spread > 0, (shares - expected) / np.where(spread > 0, spread, 1), 0)
    kind = int(beyond.argmax())
    if beyond[kind] <= _SPREADS:
        return ""
    said = f"{percent(shares[kind])} of the sinks are {names[kind]}, and so are {percent(expected[kind])} of all tokens"
    for other, name in enumerate(names):
        steps = np.flatnonzero((members[other] & sinks).any(axis=1))
        if other != kind and len(steps) == 1:
            said += f"; {name} only in step {steps[0]}"
    return f"{said}."


def heads(
    values: np.ndarray, as_percent: bool, null: np.ndarray | None = None, floor: float | None = None, name: str = ""
) -> str:
    """Say which heads stand out, (L, H). null (L, H): the same of random weights, else floor: the value of `name`."""
    if not np.isfinite(values).any():
        return ""
    layer, head = largest(values)
    top = number(float(values[layer, head]), as_percent)
    if null is not None and np.isfinite(null).any():
        floor, name = float(np.nanmax(null)), f"any head of {UNTRAINED}"
    if floor is None:
        middle = float(np.nanmedian(values))
        if values[layer, head] <= middle:
            return ""
        return f"Highest: layer {layer}, head {head} with {top}; the median head has {number(middle, as_percent)}."
    beyond = int((values > floor).sum())
    if not beyond:
        return (
            f"None of {values.size} heads exceeds {name} ({number(floor, as_percent)}). "
            f"Highest: layer {layer}, head {head} with {top}."
        )
    return (
        f"{beyond} of {values.size} heads exceed {name} ({number(floor, as_percent)}). "
        f"Highest: layer {layer}, head {head} with {top}."
    )


def curve(
    values: np.ndarray,
    as_percent: bool,
    null: np.ndarray | None = None,
    name: str = "",
    note: str = "",
    where: tuple[str, str] = ("in the first third of the steps", "in the last"),
) -> str:
    """Say how a number per step (T,) changes from the first to the last third of the steps. null: of random weights,
    (T',). name: of the line, if there are others. note: its unit, as the end of the sentence. where: names of the first
    and last third.

    A trend is a change that exceeds that of the null, and the spread within both thirds.
    """
    ends = _ends(values)
    if ends is None:
        return ""
    first, last, spread = ends
    null_ends = None if null is None else _ends(null)
    beside = ""
    if null_ends is not None:
        beside = f"; {UNTRAINED}: {number(null_ends[0], as_percent)} and {number(null_ends[1], as_percent)}"
    if abs(last - first) <= spread:
        begins = f"{name} shows no clear trend" if name else "No clear trend"
        means = f"{number(first, as_percent)} {where[0]} and {number(last, as_percent)} {where[1]}"
        return f"{begins}: {means}, on average{beside}{note}."
    way = "rises" if last > first else "falls"
    if null_ends is not None and abs(last - first) <= abs(null_ends[1] - null_ends[0]):
        way += f" no more than in {UNTRAINED},"
    begins = f"{name} {way}" if name else way.capitalize()
    return (
        f"{begins} from {number(first, as_percent)} {where[0]} to {number(last, as_percent)} {where[1]}, on average"
        f"{beside}{note}."
    )


def _ends(values: np.ndarray) -> tuple[float, float, float] | None:
    """Return the means of the first and last third, and the larger standard deviation within them; None if too few."""
    third = len(values) // _THIRD
    first, last = values[:third], values[len(values) - third :]
    if third < 2 or not np.isfinite(first).any() or not np.isfinite(last).any():
        return None
    spread = max(float(np.nanstd(first)), float(np.nanstd(last)))
    return float(np.nanmean(first)), float(np.nanmean(last)), spread


def lifetimes(sinks: np.ndarray, names: Sequence[str]) -> str:
    """Name the position that is a sink longest, (T, S) bool. names (S,): of positions over all steps. The null: as many
    sinks at random positions in each step.
    """
    from scipy.stats import binom

    steps, positions = sinks.shape
    alive = sinks.sum(axis=0)
    chance = float(sinks.mean())
    at = int(alive.argmax())
    if positions * float(binom.sf(alive[at] - 1, steps, chance)) > _RARE:
        return ""
    expected = steps * chance
    ever = int((alive > 0).sum())
    return (
        f"{subject(names[at])} is a sink in {int(alive[at])} of {counted(steps, 'step')}, {expected:.2g} if sinks "
        f"stood at random. {ever} of {positions} positions are ever one."
    )


def long_lived(sinks: np.ndarray) -> str:
    """Count the positions that are a sink in more than half of the steps, (T, S) bool. The null: as in `lifetimes`."""
    from scipy.stats import binom

    steps, positions = sinks.shape
    alive = sinks.sum(axis=0)
    long, ever = int((alive > steps / 2).sum()), int((alive > 0).sum())
    expected = positions * float(binom.sf(steps // 2, steps, float(sinks.mean())))
    if long <= expected:
        return ""
    verb = "is one" if long == 1 else "are"
    return (
        f"{long} of {counted(ever, 'position')} that are ever a sink {verb} in more than half of the "
        f"{counted(steps, 'step')}, {f'{expected:.2g}' if expected >= 0.005 else 'none'} if sinks stood at random."
    )


def varying_positions(values: np.ndarray, names: Sequence[str], null: np.ndarray | None = None) -> str:
    """Say whose share varies most over the steps, (S,). names (S,): of the positions over all steps. null (S,): of
    random weights.
    """
    if np.nanmax(values, initial=0) <= 0:
        return ""
    at = int(np.nanargmax(values))
    floor = 0.0 if null is None else np.nanmax(null, initial=0.0)
    middle = float(np.nanmedian(values))
    if values[at] <= floor or middle <= 0:
        return ""
    beside = f" and {times(float(values[at]), float(floor))} the most of {UNTRAINED}" if floor > 0 else ""
    return f"{subject(names[at])} varies most, {times(float(values[at]), middle)} the median position{beside}."


def variances(temporal: np.ndarray, names: Sequence[str], null: np.ndarray | None = None) -> str:
    """Say whose sinks move, by their temporal variance (N,). null (M,): of random weights.

    The median is told if it lies beyond all random weights; without a null, which moves most and which least.
    """
    if not np.isfinite(temporal).any():
        return ""
    middle = float(np.nanmedian(temporal))
    if null is not None and np.isfinite(null).any():
        low, high = float(np.nanmin(null)), float(np.nanmax(null))
        if low <= middle <= high:
            return ""
        way = "more" if middle > high else "less"
        return f"The sinks move {way} than in {UNTRAINED}: median {middle:.2g}, there {low:.2g} to {high:.2g}."
    most, least = int(np.nanargmax(temporal)), int(np.nanargmin(temporal))
    if temporal[most] <= temporal[least]:
        return ""
    return (
        f"The sinks of {names[most]} move most ({temporal[most]:.2g}), those of {names[least]} least "
        f"({temporal[least]:.2g})."
    )
