"""Findings on pruning masks: their differences beside chance, the discount's changes, and the losses of each matrix,
head and layer.

Shapes: L layers, C columns of a grid, P projections, H heads, K runs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.statistics.differences import LEVEL
from analysis.words import counted, largest, percent, signed, times

_SPREADS = 3.0  # standard deviations of chance beyond which something is spoken of
_SEED, _DRAWS = 0, 200  # of chance, where no formula gives it
_TENTH = 10
_LEAST_CHANGE = 5e-5  # of an error, which is written with two decimals of a per cent
SEED = "what another random calibration sample changes"


def change_against_seeds(changed: Mapping[str, float], seeds: float | None, chance: float | None = None) -> str:
    """Compare how much masks differ, a share by name, with two calibration seeds and independent masks."""
    told = []
    for name, value in changed.items():
        if value == 0:
            told.append(f"{name} changes nothing")
        elif seeds is not None and seeds > 0:
            told.append(f"{name} changes {percent(value)} of the weights, {times(value, seeds)} {SEED}")
        elif chance is not None and chance > 0:
            told.append(f"{name} changes {percent(value)} of the weights, {times(value, chance)} what chance would")
    if not told:
        return ""
    floor = f" ({percent(seeds)})" if seeds else f" ({percent(chance)})" if chance else ""
    said = "; ".join(told) + (floor if any("what" in each for each in told) else "")
    return f"{said[0].upper()}{said[1:]}."


def few_changed(changed: Sequence[float], seeds: Sequence[float]) -> bool:
    """Return whether the discount changes far fewer weights than another calibration sample: at every seed less than
    half of what each pair of seeds changes, with seeds enough for a sign test. changed, seeds: as of `discounted_mask`.
    """
    enough = len(seeds) >= len(changed) and 2 * 0.5 ** len(changed) < 1 - LEVEL  # both ends of a sign test
    return enough and max(changed) < min(seeds) / 2


def discounted_mask(changed: Sequence[float], seeds: Sequence[float], chance: float, who: str = "The discount") -> str:
    """Say for what share of the weights the sink discount changes the choice, beside what another calibration sample
    changes, or independent masks where that is not known. changed: one per calibration seed. seeds: one per pair of
    them. who: what changes it, as the sentence begins.
    """
    value = float(np.mean(changed))
    if not value > 0:
        return f"{who} chooses no weight differently."
    beside = f"; independent masks differ in {percent(chance)}" if chance > 0 else ""
    if len(seeds) and (floor := float(np.mean(seeds))) > 0:
        beside = f"; another calibration sample changes {percent(floor)}"
    only = "only " * few_changed(changed, seeds)
    return f"{who} chooses {only}{percent(value)} of the weights differently{beside}."


def whole_against_seeds(title: str, value: float, seeds: float | None, chance: float, whole: str) -> str:
    """Compare a measure of two masks with two calibration seeds, or with independent masks if there are none. whole: of
    what, such as all heads.
    """
    floor, name = (seeds, "two calibration seeds") if seeds else (chance, "independent masks")
    if not value > 0 or not floor > 0:
        return ""
    return f"{title} is {percent(value)} over {whole}, {times(value, floor)} that of {name} ({percent(floor)})."


def cells_against_seeds(values: np.ndarray, seeds: np.ndarray, what: str, columns: Sequence[str] | str) -> str:
    """Say in which cells (L, C) masks differ by more than two calibration seeds. what: name of a cell. columns: name of
    a column ("head"), or of each.
    """
    beyond = values > seeds
    if not beyond.any():
        return ""
    layer, column = largest(np.where(beyond, values - seeds, np.nan))
    where = f"{columns} {column}" if isinstance(columns, str) else columns[column]
    return (
        f"{int(beyond.sum())} of {counted(int(np.isfinite(values).sum()), what)} differ by more than two calibration "
        f"seeds do, most of all layer {layer}, {where}: {percent(float(values[layer, column]))} against "
        f"{percent(float(seeds[layer, column]))}."
    )


def differing_weights(counts: np.ndarray, rows: int, features: int, seeds: float | None) -> str:
    """Say how many weights of one matrix are decided differently, and whether few input features hold them. counts
    (C,): by block of neighbouring features. rows, features: of the matrix. seeds: the share between two seeds.

    The null: as many weights, uniform over blocks; the share that as many blocks hold.
    """
    total = int(counts.sum())
    if not total:
        return ""
    share = total / (rows * features)
    said = f"{percent(share)} of these weights are decided differently"
    if seeds:
        said += f", {times(share, seeds)} what two calibration seeds decide differently ({percent(seeds)})"
    few = -(-len(counts) // _TENTH)
    held = float(np.sort(counts)[-few:].sum()) / total
    drawn = np.random.default_rng(_SEED).multinomial(total, np.full(len(counts), 1 / len(counts)), size=_DRAWS)
    chance = np.sort(drawn, axis=1)[:, -few:].sum(axis=1) / total
    if held <= np.quantile(chance, 0.99):
        return f"{said}." if seeds else ""
    return (
        f"{said}; {percent(held)} of them lie on a tenth of the input features ({percent(float(chance.mean()))} by "
        "chance)."
    )


def head_sparsity(difference: np.ndarray, spread: np.ndarray, seeds: np.ndarray | None) -> str:
    """Name the head that differs most between the masks, (L, H). spread: of independent masks. seeds: of two seeds."""
    floor = _SPREADS * spread if seeds is None else np.maximum(_SPREADS * spread, np.nanmax(np.abs(seeds)))
    beyond = np.where(np.abs(difference) > floor, np.abs(difference), np.nan)
    if not np.isfinite(beyond).any():
        return ""
    layer, head = largest(beyond)
    value = float(difference[layer, head])
    way = "more" if value > 0 else "less"
    return (
        f"{int(np.isfinite(beyond).sum())} of {counted(difference.size, 'head')} differ beyond chance, most of all "
        f"layer {layer}, head {head}, of which the second prunes {100 * abs(value):.2g} points {way}."
    )


def depth(values: np.ndarray, seeds: np.ndarray | None) -> str:
    """Say how a measure varies over layers, (L,)."""
    if not np.isfinite(values).any() or np.nanmax(values) <= np.nanmin(values):
        return ""
    most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
    beside = ""
    if seeds is not None:
        beyond = int((values > seeds).sum())
        beside = f" {beyond} of {len(values)} layers lie above two calibration seeds." if beyond else ""
        if not beyond:
            return ""
    return (
        f"Largest in layer {most} ({percent(float(values[most]))}), smallest in layer {least} "
        f"({percent(float(values[least]))}).{beside}"
    )


def overlap(jaccard: np.ndarray, chance: np.ndarray, names: Sequence[str]) -> str:
    """Name the two runs most alike, and the two least, (K, K)."""
    pairs = [(row, column) for row in range(len(names)) for column in range(row) if np.isfinite(jaccard[row, column])]
    beyond = [pair for pair in pairs if jaccard[pair] > chance[pair]]
    if not beyond:
        return ""
    most, least = max(beyond, key=lambda pair: jaccard[pair]), min(pairs, key=lambda pair: jaccard[pair])
    said = f"Most alike: {names[most[1]]} and {names[most[0]]} ({jaccard[most]:.3f}, by chance {chance[most]:.3f})"
    if most == least:
        return f"{said}."
    return f"{said}; least: {names[least[1]]} and {names[least[0]]} ({jaccard[least]:.3f})."


def kept_attention(means: Mapping[str, float], dense: str, uniform: float) -> str:
    """Say what share pruned models still pay to the dense model's sinks, by name."""
    before = means[dense]
    if before <= uniform:
        return ""
    told = [f"{name} pays {percent(value)}" for name, value in means.items() if name != dense]
    return (
        f"The dense model pays {percent(before)} of its attention to them, {', '.join(told)}; "
        f"uniform attention would pay {percent(uniform)}."
    )


def output_error(errors: Mapping[str, float], undiscounted: float) -> str:
    """Say what discounts do to the output error, a share by name, beside no discount."""
    told = []
    for name, error in errors.items():
        points = 100 * (error - undiscounted)
        if abs(points) >= 5e-5:
            told.append(f"{name} {'raises' if points > 0 else 'lowers'} it by {abs(points):.2g} points")
    if not told:
        return ""
    return f"Mean output error without a discount: {percent(undiscounted, 3)}; {', '.join(told)}."


def changes_of_errors(changes: Mapping[str, np.ndarray], columns: Sequence[str]) -> str:
    """Say in how many projections each discount, by name, improves or worsens the outputs: changes (L, C) of the output
    error relative to that without a discount, NaN if there is none. columns: the names of the projections.
    """
    told = []
    for name, values in changes.items():
        there = values[np.isfinite(values)]
        better, worse = int((there <= -_LEAST_CHANGE).sum()), int((there >= _LEAST_CHANGE).sum())
        if better or worse:
            layer, column = largest(np.abs(values))
            most = signed(100 * float(values[layer, column]))
            told.append(
                f"{name} lowers the error of {better} of {counted(len(there), 'projection')} and raises that of "
                f"{worse}; most changed: layer {layer}, {columns[column]}, {most} %"
            )
    said = ". ".join(f"{each[0].upper()}{each[1:]}" for each in told)
    return f"{said}." if said else ""


def token_weights(counts: np.ndarray, weights: np.ndarray) -> str:
    """Count the discounted tokens: counts (Z,) of tokens by z and the median weight of each, (Z,)."""
    total = int(counts.sum())
    light = int(counts[weights < 0.5].sum())
    if not total or not light:
        return ""
    return f"{percent(light / total)} of the calibration's tokens ({light:,}) count less than half."


def shifts_of_scores(quantiles: np.ndarray) -> str:
    """Say how far feature scores move: quantiles (N, 5) of each layer's inputs at 1, 25, 50, 75 and 99 %."""
    if np.nanmax(np.abs(quantiles), initial=0) < 5e-5:
        return ""
    low, high = float(np.nanmin(quantiles[:, 0])), float(np.nanmax(quantiles[:, 4]))
    middle = float(np.nanmedian(quantiles[:, 3] - quantiles[:, 1]))
    return (
        f"The middle half of the features of an input spans {percent(middle)}; the farthest 1 % move by up to "
        f"{signed(100 * low)} % and {signed(100 * high)} %."
    )


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
    """Say whether hiding something does more than each control: a share that stays, by what was hidden.

    The sentence says that it is one text, without an interval.
    """
    beside = [outcomes[name] for name in controls if name in outcomes]
    targets = [name for name in outcomes if name not in controls and outcomes[name] < min(beside, default=-np.inf)]
    if not targets:
        return ""
    lowest = min(targets, key=lambda name: outcomes[name])
    told = "the control" if len(beside) == 1 else "each control"
    return (
        f"{what} {percent(outcomes[lowest])} with ‘{lowest}’ hidden, {percent(min(beside))} or more with {told}. "
        "One text: no interval is given."
    )


def _points(share: float) -> str:
    return percent(share, 1)
