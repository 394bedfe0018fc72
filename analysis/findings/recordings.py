"""Findings on recordings: sinks, heads and positions, the inside of the model, and written texts.

The steps of one recording are not independent draws, so a position that stays a sink counts once in a null.

Shapes: T steps, S positions, L layers, H heads, K kinds, M layers with experts, E experts, N tokens.
"""

from collections.abc import Sequence

import numpy as np

from analysis.words import KINDS_TOLD, UNTRAINED, counted, largest, number, percent, subject, times

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
    told = [KINDS_TOLD.get(name, name) for name in names]
    said = f"{percent(shares[kind])} of the sinks are {told[kind]}, and so are {percent(expected[kind])} of all tokens"
    for other, name in enumerate(told):
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


def written_text(confidence: np.ndarray, names: Sequence[str], prompt: int = 0, branch: bool = False) -> str:
    """Say how sure a model was of its text: confidence (T, N), the probability of each token when it was chosen, NaN if
    none was. names (N,): of the finished tokens. prompt: number of prompt tokens, whose masks count as well. branch:
    one token was written by hand, and has no probability.

    An edited token counts as last chosen.
    """
    chosen = np.isfinite(confidence)
    if not chosen.any():
        return ""
    last = len(confidence) - 1 - np.argmax(chosen[::-1], axis=0)
    sure = np.where(chosen.any(axis=0), confidence[last, np.arange(confidence.shape[1])], np.nan)
    least = int(np.nanargmin(sure))
    said = f"{counted(int(np.isfinite(sure).sum()), 'token')} in {counted(len(confidence), 'forward')}"
    inside = int(np.isfinite(sure[:prompt]).sum())
    said += f" ({inside} of them in the prompt)" if inside else ""
    said += ", besides the one written by hand" if branch else ""
    if np.isfinite(sure).sum() < 2 or np.nanmax(sure) == np.nanmin(sure):
        return f"{said}."
    return (
        f"{said}: half had a probability of {percent(float(np.nanmedian(sure)))} or more when chosen; the least likely "
        f"was {names[least]}, with {percent(float(sure[least]))}."
    )


def discounted_tokens(weights: np.ndarray, names: Sequence[str]) -> str:
    """Count a text's tokens with weights below half: weights ω (N,). names (N,): of the tokens."""
    light = int((weights < 0.5).sum())
    if not light:
        return ""
    least = int(np.argmin(weights))
    verb = "counts" if light == 1 else "count"
    return (
        f"{light} of {counted(len(weights), 'token')} {verb} less than half; least: {names[least]}, "
        f"ω = {weights[least]:.2g}."
    )


def branch_agreement(by_position: np.ndarray, step: int, aligned: float, chance: float) -> str:
    """Say when a branch diverges from its original: by_position (T,), the share of tokens decided in both before each
    step that agree at their position, NaN if there is none. step: whose outcome was changed. aligned: agreement of the
    finished texts; chance: with the tokens of one in random orders.
    """
    after = np.arange(len(by_position)) > step
    there = np.flatnonzero(np.isfinite(by_position) & after)
    if not len(there):
        return ""
    apart = there[by_position[there] < 1]
    if not len(apart) and aligned == 1:
        return "The two texts differ in no other token."
    first = f"Another token first differs before step {int(apart[0])}" if len(apart) else "Only the last step differs"
    beside = "against" if aligned > chance else "no more than"
    return (
        f"{first}; the finished texts have {percent(aligned)} of their tokens in common, {beside} {percent(chance)} of "
        "the same tokens in random order."
    )


def branch_sinks(left: np.ndarray, branch: np.ndarray, step: int) -> str:
    """Compare the attention that sinks take in both texts after the branch, left (T,) and branch (T',) shares."""
    means = [float(np.nanmean(each[step + 1 :])) for each in (left, branch) if np.isfinite(each[step + 1 :]).any()]
    if len(means) < 2 or percent(means[0]) == percent(means[1]):
        return ""
    return (
        f"After step {step} sinks take {percent(means[1])} of all attention in the branch and {percent(means[0])} in "
        "the text that it left, on average over the steps."
    )


def parallel_writing(threshold: float, written: np.ndarray, alone: np.ndarray, aligned: float, chance: float) -> str:
    """Say how many forwards a threshold saves, and whether the text stays the same. written (T,), alone (T',): tokens
    per forward, with the threshold and one by one. aligned: agreement of the two texts; chance: the same with the
    tokens of one in random order.
    """
    shared = f"The texts share {percent(aligned)} of their tokens, aligned ({percent(chance)} in random order)."
    return (
        f"Threshold {threshold:g}: {counted(int(written.sum()), 'token')} in {counted(len(written), 'forward')}, "
        f"{written.mean():.2g} per forward and {int(written.max())} at most; one by one it took "
        f"{counted(len(alone), 'forward')}. {'Both texts are the same.' if aligned == 1 else shared}"
    )


def parallel_sinks(
    strength: np.ndarray, even: np.ndarray, strength_alone: np.ndarray, even_alone: np.ndarray, common: np.ndarray
) -> str:
    """Say how much attention sinks take at equal numbers of tokens written: shares (N,) under a threshold and one by
    one, beside an even split over the same positions, and the Jaccard index of the two sets of sinks, NaN without any.
    """
    if not len(strength):
        return ""
    shared = np.isfinite(common)
    same = f"; {percent(float(common[shared].mean()))} of the sinks are common to both" if shared.any() else ""
    return (
        f"With as many tokens written, sinks take {percent(float(strength.mean()))} of attention (an even split: "
        f"{percent(float(even.mean()))}), and {percent(float(strength_alone.mean()))} "
        f"({percent(float(even_alone.mean()))}) where one token is written per forward{same}."
    )
