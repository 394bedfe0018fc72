"""Findings on the inside of a model: maps of single heads, experts, and two texts of one prompt.

T steps, L layers, H heads, S positions, M layers with experts, E experts.
"""

from collections.abc import Sequence

import numpy as np

from analysis.words import UNTRAINED, counted, number, percent, subject

_STRONG = 2.0  # × uniform attention, from which a position is mentioned
_SPREADS = 3.0  # standard deviations of chance beyond which something is spoken of
_DRAWS = 200  # of loads that are even but for chance
_SEED = 0


def attention_map(pattern: np.ndarray, names: Sequence[str], uniform: np.ndarray) -> str:
    """Say on which token the queries of one head rest: pattern (Q, S), rows sum to 1. names (S,): of the keys in that
    step. uniform (S,): each key's part if queries spread attention evenly over the keys they see; sums to 1.
    """
    if not pattern.size:
        return ""
    received = np.nanmean(pattern, axis=0)
    times = np.divide(received, uniform, out=np.zeros_like(received), where=uniform > 0)
    at = int(np.nanargmax(received))
    if times[at] < _STRONG:
        return ""
    first = int((np.nan_to_num(pattern).argmax(axis=1) == at).sum())
    return (
        f"{subject(names[at])} takes {percent(float(received[at]))} of this head's attention, {times[at]:.2g} times "
        f"what uniform attention gives it; {first} of {counted(len(pattern), 'token')} attend to it most."
    )


def chosen_steps(values: np.ndarray, steps: Sequence[int], as_percent: bool, null: np.ndarray | None = None) -> str:
    """Say which head changes most between steps, (N, L, H). null (N, L, H): the same of random weights.

    Without a null the baseline is the median head.
    """
    if len(steps) < 2 or not np.isfinite(values).any():
        return ""
    change = _ranges(values)
    layer, head = (int(index) for index in np.unravel_index(int(np.nanargmax(change)), change.shape))
    of_head = values[:, layer, head]
    low, high = int(np.nanargmin(of_head)), int(np.nanargmax(of_head))
    floor, name = float(np.nanmedian(change)), "the median head changes by"
    if null is not None and np.isfinite(null).any():
        floor, name = float(np.nanmax(_ranges(null))), f"of {UNTRAINED} none by more than"
    if not change[layer, head] > floor:
        return ""
    first, second = sorted((low, high), key=lambda place: steps[place])
    return (
        f"Layer {layer}, head {head} changes most: {number(float(of_head[first]), as_percent)} in step {steps[first]}, "
        f"{number(float(of_head[second]), as_percent)} in step {steps[second]}; {name} {number(floor, as_percent)}."
    )


def _ranges(values: np.ndarray) -> np.ndarray:
    """Return the highest minus the lowest step, (N, L, H) -> (L, H); NaN if no step has a number."""
    return np.fmax.reduce(values) - np.fmin.reduce(values)


def common_sinks(shared: np.ndarray, chance: np.ndarray, positions: int) -> str:
    """Say which share of one text's sinks are sinks of the other, by step (T,), and by chance (T,). positions: number
    that are ever a sink: steps of a text are not independent, so a position counts once.
    """
    there = np.isfinite(shared + chance)
    if not there.any() or positions < 1:
        return ""
    mean, expected = float(shared[there].mean()), float(chance[there].mean())
    if mean - expected <= _SPREADS * np.sqrt(expected * (1 - expected) / positions):
        return ""
    return (
        f"{percent(mean)} of this text's sinks are sinks beside it, on average over the steps; by chance "
        f"{percent(expected)} would be."
    )


def flips(low: float, value: float, high: float, by_step: np.ndarray) -> str:
    """Say how many tokens per text come to differ, with the interval over prompts; '' unless it lies above 0.
    by_step (T,): the mean of each step.
    """
    if not low > 0:
        return ""
    return (
        f"{value:.1f} tokens per text come to differ ({low:.1f} to {high:.1f}), most of them in step "
        f"{int(np.nanargmax(by_step))}."
    )


# --- mixtures of experts ----------------------------------------------------------------------------------------


def expert_load(shares: np.ndarray, layers: Sequence[int], choices: int) -> str:
    """Name the most loaded expert: shares of the choices (M, E). choices: their number per step and layer.

    The null: as many choices, uniform over experts; the most loaded of all experts and layers.
    """
    if not shares.size or not np.isfinite(shares).all() or choices < 1:
        return ""
    even = 1 / shares.shape[1]
    layer, expert = (int(index) for index in np.unravel_index(int(shares.argmax()), shares.shape))
    chance = float(np.quantile(_even_loads(len(shares), shares.shape[1], choices).max(axis=(1, 2)), 0.99))
    if shares[layer, expert] <= chance:
        return ""
    return (
        f"Expert {expert} of layer {layers[layer]} gets {shares[layer, expert] / even:.2g} times an even load; if "
        f"tokens chose at random, no expert would get more than {chance / even:.2g} times (99% of {_DRAWS} draws)."
    )


def expert_evenness(entropy: np.ndarray, unused: np.ndarray, layers: Sequence[int], experts: int, choices: int) -> str:
    """Name the layer with the least even load: entropy (M,) over its largest value, unused (M,) over all experts.

    The null: as many choices, uniform over experts; the least even of all layers.
    """
    if not entropy.size or not np.isfinite(entropy).all() or choices < 1 or experts < 2:
        return ""
    loads = _even_loads(len(entropy), experts, choices)
    logs = np.log(np.where(loads > 0, loads, 1.0))
    even = float(np.quantile((-(loads * logs).sum(axis=-1) / np.log(experts)).min(axis=1), 0.01))
    lowest, idle = int(np.argmin(entropy)), int(np.argmax(unused))
    if entropy[lowest] >= even:
        return ""
    rest = f"; most are idle in layer {layers[idle]}, {percent(float(unused[idle]))}" if unused[idle] > 0 else ""
    return (
        f"Layer {layers[lowest]} is the least even, with {percent(float(entropy[lowest]))} of the largest entropy; if "
        f"tokens chose at random, every layer had {percent(even)} or more{rest}."
    )


def _even_loads(layers: int, experts: int, choices: int) -> np.ndarray:
    """Draw shares of `choices` choices, uniform over experts, (draws, M, E)."""
    drawn = np.random.default_rng(_SEED).multinomial(choices, np.full(experts, 1 / experts), size=(_DRAWS, layers))
    return drawn / choices


def sink_routes(distance: float, drawn: np.ndarray, layer: int) -> str:
    """Compare the load of sinks with other tokens', and that of random tokens of the same states, (D,)."""
    if not np.isfinite(distance) or not len(drawn) or distance <= float(np.max(drawn)):
        return ""
    return (
        f"In layer {layer}, {percent(distance)} of the sinks' choices would have to move for their load to be that of "
        f"all other tokens; for random tokens of the same states it is {percent(float(np.min(drawn)))} to "
        f"{percent(float(np.max(drawn)))} in {len(drawn)} draws."
    )


def route_turnover(changed: np.ndarray, chosen: int, experts: int) -> str:
    """Compare the share of a token's route that a step changes, (T,), with choosing `chosen` experts anew at random."""
    if not np.isfinite(changed).any() or not 0 < chosen < experts:
        return ""
    mean, anew = float(np.nanmean(changed)), 1 - chosen / experts
    if mean >= anew:
        return ""
    return (
        f"{percent(mean)} of a token's experts are not those of the step before, averaged over steps and layers; "
        f"{percent(anew)} if every step chose {chosen} of {experts} anew at random."
    )


def one_route(experts: np.ndarray, count: int) -> str:
    """Say how often a token keeps its first expert, (T, M), NaN if not routed; by chance one of `count`."""
    both = np.isfinite(experts[1:] + experts[:-1])
    if not both.any() or count < 2:
        return ""
    kept, chance = float((experts[1:] == experts[:-1])[both].mean()), 1 / count
    if kept - chance <= _SPREADS * np.sqrt(chance * (1 - chance) / experts.shape[1]):
        return ""
    return (
        f"From one step to the next the first expert stays the same in {percent(kept)} of steps and layers, "
        f"{percent(chance)} by chance."
    )
