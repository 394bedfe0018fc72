"""Findings on masks: their difference beside chance, and the discount's changes. L layers, C columns of a grid."""

from collections.abc import Mapping, Sequence

import numpy as np

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


def discounted_mask(value: float, seeds: float | None, chance: float, place: str = "") -> str:
    """Say what share of the weights the sink discount changes, beside what two calibration seeds change, or independent
    masks where there are none. place: where that was found.
    """
    who = f"{place}: the discount" if place else "The discount"
    if not value > 0:
        return f"{who} changes the choice for none of the weights."
    beside = f"; independent masks differ in {percent(chance)}" if chance > 0 else ""
    if seeds:
        more = "more than" if value > seeds else "less than"
        than = "about as much as" if times(value, seeds) == "about" else more
        beside = f", {than} another calibration sample ({percent(seeds)})"
    return f"{who} changes the choice for {percent(value)} of the weights{beside}."


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
        f"{said}; {percent(held)} of them lie on a tenth of the input features, where it were "
        f"{percent(float(chance.mean()))} if they fell on any alike."
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
