"""Findings on pruned models: losses of each matrix, head and layer. L layers, P projections, H heads."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.words import counted, largest, percent

_SPREADS = 3.0  # standard deviations of chance beyond which something is spoken of
SAME = 0.002  # sparsities that differ by less are the same


def sparsity_of_matrices(grid: np.ndarray, names: Sequence[str], whole: float) -> str:
    """Name the matrices that lost least and most, (L, P); NaN where nothing was pruned (yet)."""
    if not np.isfinite(grid).any() or np.nanmax(grid) - np.nanmin(grid) <= SAME:
        return ""
    most, least = largest(grid), largest(-grid)
    told = [f"{_points(float(grid[at]))} (layer {at[0]}, {names[at[1]]})" for at in (least, most)]
    return f"Matrices lost {told[0]} to {told[1]} of their weights, all together {_points(whole)}."


def sparsity_of_heads(values: np.ndarray, whole: float, weights: int, name: str) -> str:
    """Name the head that lost more or less than chance predicts, (L, H). weights: of a head's slice.

    The null: as many weights removed at random; a head's share then spreads by √(p(1 − p) / weights).
    """
    spread = float(np.sqrt(whole * (1 - whole) / weights)) if weights > 0 else np.inf
    beyond = np.where(np.abs(values - whole) > _SPREADS * spread, np.abs(values - whole), np.nan)
    if not np.isfinite(beyond).any():
        return ""
    layer, head = largest(beyond)
    return (
        f"{int(np.isfinite(beyond).sum())} of {counted(values.size, 'head')} of {name} lost more or less than chance "
        f"predicts, most of all layer {layer}, head {head}: {_points(float(values[layer, head]))} where the whole "
        f"lost {_points(whole)}."
    )


def sparsity_by_layer(profiles: Mapping[str, np.ndarray]) -> str:
    """Name the layer in which runs' losses differ most, by name (L,)."""
    lengths = {len(profile) for profile in profiles.values()}
    if len(profiles) < 2 or len(lengths) > 1:
        return ""
    names, rows = list(profiles), np.stack(list(profiles.values()))
    ranges = rows.max(axis=0) - rows.min(axis=0)
    layer = int(np.nanargmax(ranges)) if np.isfinite(ranges).any() else 0
    if not ranges[layer] > SAME:
        return ""
    most, least = int(rows[:, layer].argmax()), int(rows[:, layer].argmin())
    return (
        f"Most apart in layer {layer}: {names[most]} lost {_points(float(rows[most, layer]))}, {names[least]} "
        f"{_points(float(rows[least, layer]))}."
    )


def kept_by_layer(strength: Mapping[str, np.ndarray], dense: str, uniform: float) -> str:
    """Say in which layer a pruned model pays the dense model's sinks least beside the dense one, a share by name
    (L,).
    """
    before = strength[dense]
    others = [name for name in strength if name != dense]
    beyond = before > uniform
    if not beyond.any() or not others:
        return ""
    changes = np.where(beyond, np.stack([strength[name] - before for name in others]), np.nan)
    row, layer = largest(np.abs(changes))
    way = "Most is lost" if changes[row, layer] < 0 else "Most is gained"
    return (
        f"{way} in layer {layer}: {others[row]} pays {percent(float(strength[others[row]][layer]))}, the dense model "
        f"{percent(float(before[layer]))}; uniform attention would {percent(uniform)}."
    )


def blocked(outcomes: Mapping[str, float], controls: Sequence[str], what: str) -> str:
    """Say whether blocking something does more than each control: a share that stays, by what was blocked.

    The sentence says that it is one text, without an interval.
    """
    beside = [outcomes[name] for name in controls if name in outcomes]
    targets = [name for name in outcomes if name not in controls and outcomes[name] < min(beside, default=-np.inf)]
    if not targets:
        return ""
    lowest = min(targets, key=lambda name: outcomes[name])
    told = "the control" if len(beside) == 1 else "each control"
    return (
        f"{what} {percent(outcomes[lowest])} with ‘{lowest}’ blocked, {percent(min(beside))} or more with {told}. "
        "One text: no interval is given."
    )


def _points(share: float) -> str:
    return percent(share, 1)
