"""The headline over sets of recordings: which tokens are sinks, and whether sinks move more than every null."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.findings.layers import (
    OTHERS,
    LayerAnswer,
    SetAnswer,
    beyond_every_null,
    movement_nulls,
    strengths_of_others,
    token_shares,
)
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import of_all_kinds
from analysis.recording.set_tables import Sets
from analysis.recording.set_words import KIND_TITLES, SINGULAR, layers_in_words, number, spread
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.words import counted, listed


def sinks_of_sets(sets: Sets, told: Mapping[str, SetAnswer]) -> tuple[str, str]:
    """Return which tokens the sinks of the first two sets are and in how many layers each set's move more than every
    null; and how strong they are. told: of `answers`.
    """
    return f"{_kinds(sets, told)} {_moves(sets, told)}".strip(), _strengths(sets, told)


# --- which tokens -----------------------------------------------------------------------------------------------


def _kinds(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell of the first two sets in which layers which kind is more common among sinks than among all tokens."""
    first, *others = sets
    parts = [_leading(first, sets[first], told[first], not others)]
    parts += [_leading(name, sets[name], told[name], True, "in") for name in others[:1]]
    return f"{'; '.join(parts)}."


def _leading(name: str, recordings: RecordingSet, answer: SetAnswer, brief: bool, in_: str = "In") -> str:
    """Tell which kind of token leads in a set, by its layers and their shares together. brief: by its name alone."""
    model = "autoregressive" if recordings.info.model.attention == "causal" else "diffusion"
    whose = name if brief else f"the {model} model {name}"
    if not _with_sinks(answer):
        return f"{name} has none" if in_ == "in" else f"No layer of {whose} has a sink by this definition"
    leading = _leads(recordings, answer)
    if not leading:
        return f"{in_} no layer of {whose} is any kind of token clearly more common among sinks than among all tokens"
    kind, layers = leading
    shares = spread(np.array([dict(answer.layers[layer].kinds)[kind] for layer in layers]), True)
    tokens = number(token_shares(recordings)[list(recordings.kinds).index(kind)], True)
    title = KIND_TITLES.get(kind, kind)
    which = f"which {'is' if kind in SINGULAR else 'are'} {tokens} of all tokens"
    return f"{in_} {_in_layers(layers, recordings)} of {whose}, {shares} of the sinks are {title}, {which}"


def _leads(recordings: RecordingSet, answer: SetAnswer) -> tuple[str, list[int]] | None:
    """Return the kind that leads by most, summed over the layers where it leads, and these layers; None without one."""
    tokens = dict(zip(recordings.kinds, token_shares(recordings).tolist(), strict=True))
    layers = {kind: [one for one in answer.layers if one.lead == kind and kind in dict(one.kinds)] for kind in tokens}
    above = {kind: sum(dict(one.kinds)[kind] - tokens[kind] for one in those) for kind, those in layers.items()}
    kind = max(above, key=lambda kind: above[kind])
    return (kind, [one.layer for one in layers[kind]]) if layers[kind] else None


def _with_sinks(answer: SetAnswer) -> list[LayerAnswer]:
    return [one for one in answer.layers if one.kinds]


def _in_layers(numbers: Sequence[int], recordings: RecordingSet) -> str:
    words = layers_in_words(np.array(numbers), recordings.layers)
    return f"{words[0].lower()}{words[1:]}"


# --- whether they move ------------------------------------------------------------------------------------------


def _moves(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell in how many layers each set's sinks move more than every null, or why that cannot be told."""
    with_sinks = [name for name in sets if _with_sinks(told[name])]
    nulls = {name: movement_nulls(told[name].layers) for name in with_sinks}
    judged = [name for name in with_sinks if nulls[name]]
    if not with_sinks:
        return ""
    if not judged:
        apart = min(with_sinks, key=lambda name: sets[name].prompts_apart)
        count = sets[apart].prompts_apart
        what = "prompt" if count == sets[apart].prompts else "template"
        return (
            f"{counted(count, what)} {'is' if count == 1 else 'are'} too few to tell whether they move more than "
            f"chance ({LEAST_PROMPTS} needed)."
        )
    counts = {len(nulls[name]) for name in judged}
    against = "every recorded null predicts" if len(counts) > 1 else f"all {max(counts)} nulls predict"
    if counts == {1}:
        against = f"{MOVEMENT_NULLS[nulls[judged[0]][0]].title} predict"
    found = {name: beyond_every_null(told[name].layers) for name in judged}
    first, *others = judged
    layers, mine = len(told[first].layers), found[first]
    who = "They move" if len(sets) == 1 else f"The sinks of {first} move"
    few = "only " if 0 < len(mine) <= layers / 2 else ""
    where = f" ({_in_layers(mine, sets[first])})" if 0 < len(mine) < layers and not others else ""
    amount = f"{few}{len(mine)} of {counted(layers, 'layer')}{where}" if mine else "no layer"
    beside = "".join(f", those of {name} in {len(found[name]) or 'none'}" for name in others)
    return f"{who} significantly more than {against} in {amount}{beside}."


# --- how strong -------------------------------------------------------------------------------------------------


def _strengths(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell what a sink of each set draws over all layers together, beside those of other weights."""
    parts: list[str] = []
    for name, recordings in sets.items():
        if not _with_sinks(told[name]):
            continue
        drawn = of_all_kinds(recordings, "corrected-share").value[-1]
        others = strengths_of_others(recordings)[:, -1]
        beside = f" ({OTHERS}: at most {number(others.max(), False)} ×)" if others.size else ""
        where = f" in {name}" if len(sets) > 1 else ""
        parts.append(f"{number(drawn, False)} ×{'' if parts else ' uniform attention'}{where}{beside}")
    return f"Over all layers a sink draws {listed(parts)}." if parts else ""
