"""The headlines over sets of recordings: which tokens are sinks, and whether sinks move more than under every null."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from analysis.findings.layers import (
    BELOW,
    MOVES_BY,
    OTHERS,
    SHARP,
    SHUFFLED,
    KindShares,
    LayerAnswer,
    Lead,
    SetAnswer,
    beyond_every_null,
    in_layers,
    kind_title,
    movement_nulls,
    share_range,
    strengths_of_others,
    token_shares,
)
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import by_kind, counts_over_steps, moves, of_all_kinds
from analysis.recording.set_tables import SINGULAR, Sets, layers_in_words, number, prompt_table
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.words import counted, in_sentence, listed


def kinds_of_sets(sets: Sets, told: Mapping[str, SetAnswer]) -> tuple[str, ...]:
    """Tell, set by set, which tokens its sinks are: where that is clearest in the first sentence, and in the other
    layers. told: of `answers`.
    """
    return tuple(
        _kinds(told[name].leads, [one.layer for one in _with_sinks(told[name])], len(told[name].layers), name)
        if _with_sinks(told[name])
        else _no_sinks(name)
        for name in sets
    )


def kinds_of_layers(shares: Mapping[str, KindShares]) -> tuple[str, ...]:
    """Tell the same of shares alone, by the model's name, as a study keeps them of models with sinks."""
    return tuple(
        _kinds(
            each.leads(),
            np.flatnonzero(np.isfinite(each.portions.value).any(axis=1)).tolist(),
            len(each.portions.value),
            name,
        )
        for name, each in shares.items()
    )


def _kinds(leads: Sequence[Lead], with_sinks: Sequence[int], layers: int, model: str) -> str:
    """Tell which kind of token is most above its share of all tokens among sinks, in which layers, and how common it is
    there with other weights; then which kinds lead in the others. with_sinks: layers, of this number.
    """
    name = in_sentence(model)
    if not leads:
        return f"In no layer of {name} is any kind of token clearly more common among sinks than among all tokens."
    first = leads[0]
    kind = _TOKENS.get(first.kind) or kind_title(first.kind)
    clear = first.clear or first.layers
    return (
        f"In {in_layers(clear, layers)} of {name}, {_shares(first, clear)} of sinks are {kind} "
        f"(all tokens: {number(first.tokens, True)}).{_untrained(first, clear)}"
        f"{_beside_first(leads, layers)}{_close(first, layers)}"
        f"{_elsewhere(leads, with_sinks, layers)}"
    )


def _untrained(lead: Lead, numbers: Collection[int]) -> str:
    """Tell the largest share of a lead's kind among the sinks of other weights in some of its layers, as a sentence
    after a space; empty where there are none.
    """
    if lead.untrained is None:
        return ""
    null, _ = lead.untrained
    there = [share for layer in numbers if np.isfinite(share := lead.others[null][lead.layers.index(layer)])]
    if not there:
        return ""
    whose = "In untrained models" if null == SHARP else f"With {MOVEMENT_NULLS[null].called}"
    return f" {whose}, {'at most ' if len(there) > 1 else ''}{number(max(there), True)} are."


def _close(lead: Lead, layers: int) -> str:
    """Tell in which of its layers a lead does not stand out beside other weights, a sentence per null with a space
    before it.
    """
    told = []
    for null, places in lead.close.items():
        numbers = [lead.layers[at] for at in places]
        own, others = ([shares[at] for at in places] for shares in (lead.shares, lead.others[null]))
        where = in_layers(numbers, layers)
        do = "does" if lead.kind in SINGULAR else "do"
        told.append(
            f" In {where}, {kind_title(lead.kind)} ({share_range(own)}) {do} not stand out: "
            f"{'untrained models' if null == SHARP else MOVEMENT_NULLS[null].called} give {share_range(others)}."
        )
    return "".join(told)


_TOKENS = {"[MASK]": "tokens still masked"}
"""A kind where its title alone would leave open what sinks are."""


def _shares(lead: Lead, numbers: Collection[int]) -> str:
    """Tell the least and the largest share in some of a lead's layers: `85 to 100 %`."""
    return share_range([lead.shares[lead.layers.index(layer)] for layer in numbers]).replace("–", " to ")


def _beside_first(leads: Sequence[Lead], layers: int) -> str:
    """Tell the kinds that stand out in the first one's layers as well, a sentence each with a space before it."""
    first, *others = leads
    told = []
    for lead in others:
        for layer in lead.clear:
            if layer in first.layers:
                told.append(
                    f" In {in_layers([layer], layers)}, also {kind_title(lead.kind)} ({_shares(lead, [layer])}; "
                    f"all tokens: {number(lead.tokens, True)}{_with_others(lead, layer)})."
                )
    return "".join(told)


def _with_others(lead: Lead, layer: int) -> str:
    """Tell a lead's shares with untrained and shuffled weights in one of its layers, as the end of a clause."""
    names: dict[str, list[str]] = {}
    for null, name in ((SHARP, "untrained"), (SHUFFLED, "shuffled")):
        if null in lead.others and np.isfinite(share := lead.others[null][lead.layers.index(layer)]):
            names.setdefault(number(share, True), []).append(name)
    return "".join(f"; {', '.join(those)}: {share}" for share, those in names.items())


def _elsewhere(leads: Sequence[Lead], with_sinks: Sequence[int], layers: int) -> str:
    """Tell which kinds stand out in the layers where the first one does not lead, and which are as common there with
    other weights, in a sentence with a space before it; empty where there are no such layers.
    """
    first, *others = leads
    rest = [layer for layer in with_sinks if layer not in first.layers]
    told, led, kinds, near = [], set(), [], []
    for lead in others:
        there = set(lead.layers) & set(rest)
        led |= there
        if clear := sorted(there & set(lead.clear)):
            kinds.append(lead.kind)
            told.append(f"{kind_title(lead.kind)} ({in_layers(clear, layers)})")
        if as_common := sorted(there - set(lead.clear)):
            near.append(f"{in_layers(as_common, layers)}: {_nearly(lead, as_common)}")
    none = set(rest) - led
    stand = "stands" if len(kinds) == 1 and kinds[0] in SINGULAR else "stand"
    parts = [f"elsewhere, {listed(told)} {stand} out"] if told else []
    if none:
        where = f" in {in_layers(sorted(none), layers)}" if told or near else ""
        parts.append(f"{'' if told else 'elsewhere, '}no kind stands out{where}")
    if near:
        parts.append(listed(near))
    return f" {parts[0][0].upper()}{'; '.join(parts)[1:]}." if parts else ""


def _nearly(lead: Lead, layers: Collection[int]) -> str:
    """Tell that a kind is as common with other weights in these layers, where it does not stand out."""
    of_each = {at: [null for null, close in lead.close.items() if at in close] for at in map(lead.layers.index, layers)}
    where = "in untrained models" if all(SHARP in nulls for nulls in of_each.values()) else f"with {OTHERS}"
    if min(lead.shares[at] for at in of_each) > 0.5:
        return f"mostly {kind_title(lead.kind)}, as {where}"
    return f"{kind_title(lead.kind)} as often as {where}"


def rarer_untrained(leads: Sequence[Lead]) -> str:
    """Explain a null that lies below the share of all tokens; empty where it does not. leads: of a model."""
    if not leads or leads[0].untrained is None or leads[0].untrained[1] >= leads[0].tokens:
        return ""
    return (
        "The untrained share can lie below that of all tokens: untrained attention does not favour "
        f"{kind_title(leads[0].kind)}; in these layers its sinks are more often other tokens."
    )


def _no_sinks(name: str) -> str:
    return f"No layer of {in_sentence(name)} has a sink by this definition."


def _with_sinks(answer: SetAnswer) -> list[LayerAnswer]:
    return [one for one in answer.layers if one.kinds]


# --- over the steps, and of each prompt -------------------------------------------------------------------------


def steps_of_sets(sets: Sets) -> tuple[str, ...]:
    """Tell, a sentence per set with sinks, in which step it has most of them and of which kind they are over all steps,
    beside that kind's share of all tokens; all layers together.
    """
    told = []
    for name, recordings in sets.items():
        counts = counts_over_steps(recordings, -1)
        if not np.nan_to_num(counts).any():
            continue
        most, of_kind = int(np.nanargmax(counts.sum(axis=1))), by_kind(recordings, "portion").value[-1]
        kind = int(np.nanargmax(of_kind))
        told.append(
            f"{in_sentence(name)[0].upper()}{in_sentence(name)[1:]} has most sinks in step {most} "
            f"({number(float(counts[most].sum()), False)}, layers averaged); over all steps, "
            f"{number(float(of_kind[kind]), True)} are {kind_title(recordings.kinds[kind])} (all tokens: "
            f"{number(float(token_shares(recordings)[kind]), True)})."
        )
    return tuple(told)


def prompts_of_set(name: str, recordings: RecordingSet) -> str:
    """Tell between which numbers the sinks of single prompts lie, and what they draw; empty where one has none."""
    table = prompt_table(recordings)
    ends = []
    for column in ("sinks per step and layer", "attention of a sink, × even split"):
        low, high = (number(float(end), False) for end in (table[column].min(), table[column].max()))
        ends.append(low if low == high else f"{low}–{high}")
    if not (table["sinks per step and layer"] > 0).all():
        return ""
    return (
        f"All {len(table)} prompts of {in_sentence(name)} have sinks: {ends[0]} per step and layer, each drawing "
        f"{ends[1]} × an even split."
    )


# --- whether they move ------------------------------------------------------------------------------------------


def moves_of_sets(sets: Sets, told: Mapping[str, SetAnswer]) -> tuple[str, ...]:
    """Tell, a sentence per set, in which layers sinks gain more new sinks per step than under every null and in which
    fewer than under one; or why that cannot be told. told: of `answers`.
    """
    return tuple(_moves(name, one, told[name]) for name, one in sets.items())


def _moves(name: str, recordings: RecordingSet, answer: SetAnswer) -> str:
    if not _with_sinks(answer):
        return _no_sinks(name)
    of, nulls = f" of {in_sentence(name)}", movement_nulls(answer.layers)
    if not nulls:
        count = recordings.prompts_apart
        what = "prompt" if count == recordings.prompts else "template"
        return (
            f"{counted(count, what)}{of} {'is' if count == 1 else 'are'} too few to tell whether its sinks move more "
            f"than chance ({LEAST_PROMPTS} needed)."
        )
    found, less = beyond_every_null(answer.layers), _less(recordings, answer, nulls)
    every = "every null" if len(nulls) > 1 else MOVEMENT_NULLS[nulls[0]].called
    if not found:
        return f"In no layer{of} are there significantly more new sinks per step than under {every}.{less}"
    gain = "gains" if len(found) == 1 else "gain"
    births = _births(recordings, found)
    most = max(float(moves(recordings, MOVES_BY, null).value[found].max()) for null in nulls)
    layers = layers_in_words(np.array(found), len(answer.layers))
    return f"{layers}{of} {gain} {births} new sinks per step, more than {every} (at most {number(most, False)}).{less}"


def _less(recordings: RecordingSet, answer: SetAnswer, nulls: Sequence[str]) -> str:
    """Tell in which layers sinks move less than under the null that most layers stay below, as a sentence after a
    space; empty where none does.
    """
    below = {null: [one.layer for one in answer.layers if one.moved[null] == BELOW] for null in nulls}
    strictest = max(nulls, key=lambda null: len(below[null]))
    layers = below[strictest]
    if not layers:
        return ""
    gain = "gains" if len(layers) == 1 else "gain"
    return (
        f" {layers_in_words(np.array(layers), len(answer.layers))} {gain} {_births(recordings, layers)}, fewer than "
        f"{MOVEMENT_NULLS[strictest].called} ({_births(recordings, layers, strictest)})."
    )


def _births(recordings: RecordingSet, layers: Sequence[int], null: str = "trained") -> str:
    """Return the least and the most new sinks per step of layers: `0.21–0.36`."""
    births = moves(recordings, MOVES_BY, null).value[list(layers)]
    low, high = (number(float(end), False) for end in (births.min(), births.max()))
    return low if low == high else f"{low}–{high}"


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
