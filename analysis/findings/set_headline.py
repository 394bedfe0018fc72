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
)
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import arrays_of, of_all_kinds
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
    """Tell in which layers of the first set most sinks are of which kind, beside the kind's share of all tokens, and of
    which kind most sinks of the next set are.
    """
    first, *others = sets
    parts = [_first(first, sets[first], told[first], bool(others))]
    parts += [_next(name, sets[name], told[name]) for name in others[:1]]
    return f"{'; '.join(parts)}."


def _first(name: str, recordings: RecordingSet, answer: SetAnswer, beside: bool) -> str:
    model = "autoregressive" if recordings.info.model.attention == "causal" else "diffusion"
    whose = f"the {model} model {name}" if beside else name
    kinds = _kinds_that_lead(recordings, answer)
    if not _with_sinks(answer):
        return f"No layer of {whose} has a sink by this definition"
    if not kinds:
        return f"In no layer of {whose} is one kind of token most of the sinks"
    kind, layers = next(iter(kinds.items()))
    shares = np.array([dict(answer.layers[layer].kinds)[kind] for layer in layers])
    which = "which are" if kind not in SINGULAR else "which is"
    return (
        f"In {_in_layers(layers, recordings)} of {whose}, {spread(shares, True)} of the sinks are {_title(kind)}, "
        f"{which} {_of_tokens(recordings, kind)} of all tokens"
    )


def _next(name: str, recordings: RecordingSet, answer: SetAnswer) -> str:
    kinds = _kinds_that_lead(recordings, answer)
    if not _with_sinks(answer):
        return f"{name} has none"
    if not kinds:
        return f"in {name} no kind is most of them"
    kind, layers = max(kinds.items(), key=lambda item: len(item[1]))
    return (
        f"in {name} most are {_title(kind)} in {len(layers)} of {counted(recordings.layers, 'layer')} "
        f"({_of_tokens(recordings, kind)} of its tokens)"
    )


def _kinds_that_lead(recordings: RecordingSet, answer: SetAnswer) -> dict[str, list[int]]:
    """Return the layers in which a kind is most of the sinks, by kind, masked positions first."""
    layers = {kind: [one.layer for one in answer.layers if one.most == kind] for kind in recordings.kinds}
    return {kind: those for kind, those in layers.items() if those}


def _with_sinks(answer: SetAnswer) -> list[LayerAnswer]:
    return [one for one in answer.layers if one.kinds]


def _of_tokens(recordings: RecordingSet, kind: str) -> str:
    tokens = arrays_of(recordings, "trained")["tokens"].sum(axis=0)
    return number(tokens[list(recordings.kinds).index(kind)] / tokens.sum(), True)


def _title(kind: str) -> str:
    return KIND_TITLES.get(kind, kind)


def _in_layers(numbers: Sequence[int], recordings: RecordingSet) -> str:
    words = layers_in_words(np.array(numbers), recordings.layers)
    return f"{words[0].lower()}{words[1:]}"


# --- whether they move ------------------------------------------------------------------------------------------


def _moves(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell in how many layers each set's sinks move more than every null, or why that cannot be told."""
    with_sinks = [name for name in sets if _with_sinks(told[name])]
    nulls = {name: movement_nulls(told[name]) for name in with_sinks}
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
    against = "every null that was recorded" if len(counts) > 1 else f"all {max(counts)} nulls"
    if counts == {1}:
        against = MOVEMENT_NULLS[nulls[judged[0]][0]].title
    found = {name: beyond_every_null(told[name]) for name in judged}
    first, *others = judged
    layers, mine = len(told[first].layers), found[first]
    who = "they move" if len(sets) == 1 else f"the sinks of {first} move"
    few = "only " if 0 < len(mine) <= layers / 2 else ""
    where = f" ({_in_layers(mine, sets[first])})" if 0 < len(mine) < layers and not others else ""
    amount = f"{few}{len(mine)} of {counted(layers, 'layer')}{where}" if mine else "no layer"
    beside = "".join(f", those of {name} in {len(found[name]) or 'none'}" for name in others)
    return f"Held against {against}, {who} significantly more than chance in {amount}{beside}."


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
