"""The headline over sets of recordings: which tokens are sinks, and whether sinks move more than every null."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.findings.layers import (
    BELOW,
    OTHERS,
    LayerAnswer,
    Lead,
    SetAnswer,
    beyond_every_null,
    movement_nulls,
    share_range,
    strengths_of_others,
)
from analysis.recording.set_measures import of_all_kinds
from analysis.recording.set_tables import Sets
from analysis.recording.set_words import KIND_TITLES, SINGULAR, layers_in_words, number
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.words import counted, in_sentence, listed


def sinks_of_sets(sets: Sets, told: Mapping[str, SetAnswer]) -> tuple[str, str]:
    """Return which tokens the sinks of the first set are, and in how many layers those of the first two sets move more
    than every null. told: of `answers`.
    """
    name = next(iter(sets))
    return _kinds(told[name], f" of {in_sentence(name)}"), _moves(sets, told)


def sinks_of_set(answer: SetAnswer, in_headline: bool) -> str:
    """Return what stands above the figure of one set. in_headline: it is the first, whose headline is told already, so
    that the kinds of its other layers follow.
    """
    if not in_headline:
        return _kinds(answer)
    others = [
        f"{_title(lead)} in {_in_layers(lead.layers, answer)} ({share_range(lead.shares)} against "
        f"{number(lead.tokens, True)})"
        for lead in answer.leads[1:]
    ]
    return f"Elsewhere more common than among all tokens: {listed(others)}." if others else ""


# --- which tokens -----------------------------------------------------------------------------------------------


def _kinds(answer: SetAnswer, of: str = "") -> str:
    """Tell which kind of token is more common among sinks than among all tokens, and in which layers."""
    if not _with_sinks(answer):
        return f"No layer{of} has a sink by this definition."
    if not answer.leads:
        return f"In no layer{of} is any kind of token clearly more common among sinks than among all tokens."
    lead = answer.leads[0]
    are = "is" if lead.kind in SINGULAR else "are"
    return (
        f"In {_in_layers(lead.layers, answer)}{of}, {share_range(lead.shares)} of the sinks are {_title(lead)}, which "
        f"{are} {number(lead.tokens, True)} of all tokens."
    )


def _title(lead: Lead) -> str:
    return KIND_TITLES.get(lead.kind, lead.kind)


def _with_sinks(answer: SetAnswer) -> list[LayerAnswer]:
    return [one for one in answer.layers if one.kinds]


def _in_layers(numbers: Sequence[int], answer: SetAnswer) -> str:
    words = layers_in_words(np.array(numbers), len(answer.layers))
    return f"{words[0].lower()}{words[1:]}"


# --- whether they move ------------------------------------------------------------------------------------------


def _moves(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell in how many layers the sinks of the first set move more than every null, or why that cannot be told; and in
    how many those of the second do.
    """
    (name, recordings), *others = sets.items()
    answer = told[name]
    if not _with_sinks(answer):
        return ""
    nulls = movement_nulls(answer.layers)
    if not nulls:
        count = recordings.prompts_apart
        what = "prompt" if count == recordings.prompts else "template"
        return (
            f"{counted(count, what)} {'is' if count == 1 else 'are'} too few to tell whether sinks move more than "
            f"chance ({LEAST_PROMPTS} needed)."
        )
    found, layers = beyond_every_null(answer.layers), len(answer.layers)
    than = "significantly more than chance"
    beside = "".join(
        f"; in {in_sentence(other)}, more in {_counted(beyond_every_null(told[other].layers), told[other])}"
        for other, _ in others[:1]
        if movement_nulls(told[other].layers) == nulls
    )
    less = _less(answer, nulls)
    if not found:
        return f"In no layer do sinks move {than}{less}{beside}."
    few = "only " if len(found) <= layers / 2 else ""
    where = f" ({_in_layers(found, answer)})" if len(found) < layers else ""
    return f"Sinks move {than} in {few}{len(found)} of {counted(layers, 'layer')}{where}{less}{beside}."


def _counted(layers: Sequence[int], answer: SetAnswer) -> str:
    if len(layers) in (0, len(answer.layers)):
        return f"all {len(layers)}" if layers else "none"
    return f"{len(layers)} ({_in_layers(layers, answer)})"


def _less(answer: SetAnswer, nulls: Sequence[str]) -> str:
    """Tell where sinks move less than the null that most layers stay below, within the sentence; empty where none
    does."""
    below = {null: [one.layer for one in answer.layers if one.moved[null] == BELOW] for null in nulls}
    strictest = max(nulls, key=lambda null: len(below[null]))
    if not below[strictest]:
        return ""
    return f", less than {MOVEMENT_NULLS[strictest].called} in {_in_layers(below[strictest], answer)}"


# --- how strong -------------------------------------------------------------------------------------------------


def strengths_of_sets(sets: Sets, told: Mapping[str, SetAnswer]) -> str:
    """Tell what a sink of each set draws over all layers together, beside those of other weights."""
    parts: list[str] = []
    for name, recordings in sets.items():
        if not _with_sinks(told[name]):
            continue
        drawn = of_all_kinds(recordings, "corrected-share").value[-1]
        others = strengths_of_others(recordings)[:, -1]
        beside = f" ({OTHERS}: at most {number(others.max(), False)} ×)" if others.size else ""
        where = f" in {in_sentence(name)}" if len(sets) > 1 else ""
        parts.append(f"{number(drawn, False)} ×{'' if parts else ' uniform attention'}{where}{beside}")
    return f"Over all layers a sink draws {listed(parts)}." if parts else ""
