"""What a set shows layer by layer: the table's rows, and the two sentences above it."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.findings import finding_of
from analysis.findings.layers import (
    ABOVE,
    BELOW,
    OPEN,
    KindShares,
    Lead,
    answer_of,
    answers,
    beyond_every_null,
    layer_table,
    legend,
    movement_nulls,
    movement_table,
)
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import IID, by_kind, counts_over_steps
from analysis.recording.set_tables import prompt_table
from analysis.sinks.definitions import KINDS
from analysis.sinks.intervals import Estimates
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.words import percent
from tests.helpers import there
from tests.recording.made_sets import LAYERS, a_set


def changed(recordings: RecordingSet, **arrays: np.ndarray) -> RecordingSet:
    """Return the set with other arrays, by `part__name`."""
    given = {name.replace("__", "."): values for name, values in arrays.items()}
    return RecordingSet(recordings.info, {**recordings.arrays, **given})


def times(recordings: RecordingSet, name: str, factors: list[float]) -> np.ndarray:
    """Return an array of a part, each layer multiplied by its factor."""
    values = recordings.arrays[name].copy()
    for layer, factor in enumerate(factors):
        values[..., layer, :] *= factor
    return values


def test_a_layer_names_its_kinds_its_strength_and_each_null_that_its_sinks_do_not_exceed() -> None:
    recordings = a_set(0)
    sinks = recordings.arrays["trained.sinks"].copy()
    sinks[:, :2, 0] *= 50
    sinks[:, 2:, KINDS.index("word")] *= 50
    births = times(recordings, "trained.births", [9, 9, 9, 1])
    permuted = times(recordings, "permuted.births", [1, 30, 1, 1])
    answer = answer_of(changed(recordings, trained__sinks=sinks, trained__births=births, permuted__births=permuted))
    assert len(answer.layers) == LAYERS
    assert answer.where.startswith("More common among sinks than among all tokens: ")
    assert [(lead.kind, lead.layers) for lead in answer.leads[:2]] in (LEADS, LEADS[::-1])
    assert "masked positions in layers 0 and 1 (" in answer.kinds and "words in layers 2 and 3 (" in answer.kinds
    assert answer.where.startswith(f"{answer.kinds} Sinks draw ")
    assert "× uniform attention (layer means; scrambled weights: " in answer.where
    moved = [one.moved for one in answer.layers]
    assert {moved[0][null] for null in ("fixed", *WEIGHT_NULLS)} == {ABOVE}
    assert (moved[1]["fixed"], moved[1]["permuted"], moved[3]["fixed"]) == (ABOVE, BELOW, OPEN)
    assert answer.movement == "Sinks move more than all 4 nulls in layers 0 and 2."
    assert answer.exceptions.startswith("Not significantly more than ") and "writing alone" in answer.exceptions
    assert "shuffled weights in layers 1 and 3" in answer.exceptions
    table = layer_table(answer)
    assert table["sinks are"].str.startswith("[MASK]").tolist() == [True, True, False, False]
    assert movement_table(answer)["vs shuffled weights"].tolist() == [ABOVE, BELOW, ABOVE, OPEN]
    assert beyond_every_null(answer.layers) == [0, 2] and len(movement_nulls(answer.layers)) == 4
    value, low, high = answer.layers[0].strength
    assert " They are outliers in " in answer.where and " Sinks per step: " in answer.where
    assert answer.where.endswith(" of 4 layers.")
    assert low <= value <= high and table["× uniform"][0] == f"{value:.2g}\u00a0[{low:.2g},\u00a0{high:.2g}]"


def test_where_all_nulls_are_exceeded_or_none_could_be_tested_the_sentence_says_so() -> None:
    recordings = a_set(1)
    everywhere = answer_of(changed(recordings, trained__births=recordings.arrays["trained.births"] * 9))
    assert everywhere.movement == (
        "Sinks move more than expected from writing alone, random weights, shuffled weights and an equally sharp "
        "untrained model in all 4 layers."
    )
    none = answer_of(a_set(1))
    assert none.movement == "In no layer do sinks move significantly more than any of the 4 nulls predicts."
    few = answer_of(a_set(1, prompts=5))
    assert few.movement == "" and few.layers[0].outliers is None and few.said["missing claims"]
    assert "outliers" not in layer_table(few) and "vs writing alone" not in movement_table(few)
    assert "outliers" not in few.where


def test_a_null_has_one_name_wherever_it_is_said() -> None:
    answer = answer_of(a_set(1))
    tables = {*movement_table(answer), *layer_table(answer)}
    assert {f"vs {null.called}" for null in MOVEMENT_NULLS.values()} < tables and f"in {IID}" in tables
    assert IID in legend(layer_table(answer)) and IID in answer.where


def test_layers_without_sinks_are_named() -> None:
    recordings = a_set(2)
    sinks, share = (recordings.arrays[f"trained.{name}"].copy() for name in ("sinks", "share"))
    sinks[:, 3], share[:, 3] = 0, 0
    answer = answer_of(changed(recordings, trained__sinks=sinks, trained__share=share))
    assert answer.where.endswith(" Layer 3 has no sinks.") and not answer.layers[3].kinds
    assert layer_table(answer)["sinks are"][3] == "none" and layer_table(answer)["× uniform"][3] == ""
    nothing = answer_of(changed(recordings, trained__sinks=sinks * 0, trained__share=share * 0))
    assert nothing.where == "No layer has sinks by this definition."


LEADS = [("[MASK]", (0, 1)), ("word", (2, 3))]


def headline(**sets: RecordingSet) -> str:
    """Return the headline on kinds over sets, by name."""
    return " ".join(finding_of("kinds of sets", sets, answers(sets)))


def moving(**sets: RecordingSet) -> str:
    """Return the sentences on movement over sets, by name."""
    return " ".join(finding_of("moves of sets", sets, answers(sets)))


def masked_first(seed: int, **arrays: np.ndarray) -> RecordingSet:
    """Return a set whose sinks are masked positions in its first two layers."""
    recordings = a_set(seed)
    sinks = recordings.arrays["trained.sinks"].copy()
    sinks[:, :2, 0] *= 50
    return changed(recordings, trained__sinks=sinks, **arrays)


def test_the_headline_names_where_sinks_are_of_one_kind_and_the_share_of_tokens_that_are() -> None:
    told, _, rest = headline(one=masked_first(0)).partition(". ")
    lead = answers({"one": masked_first(0)})["one"].leads[0]
    (least,) = {percent(share, 0) for share in lead.shares}
    assert told.startswith(f"In layers 0 and 1 of one, {least} of sinks are tokens still masked (all tokens: ")
    assert len(told.replace(" %", "").split()) <= 22 and told.count("%") == 2 and "." not in told
    assert re.fullmatch(r"In untrained models, at most \d+ % are\. Elsewhere, no kind stands out\.", rest)
    none = "any kind of token clearly more common among sinks than among all tokens."
    assert headline(one=a_set(0)).startswith(f"In no layer of one is {none}")
    shipped = {"Diffusion model": masked_first(0)}
    assert headline(**shipped).startswith("In layers 0 and 1 of the diffusion model, ")
    both = {"Diffusion model": masked_first(0), "Left-to-right twin": a_set(0)}
    first, second = finding_of("kinds of sets", both, answers(both))
    assert first == headline(**shipped) and second.startswith("In no layer of the left-to-right twin is any kind")


def test_the_headline_names_one_kind_and_how_common_it_is_with_other_weights() -> None:
    recordings = masked_first(0)
    sinks = recordings.arrays["trained.sinks"].copy()
    sinks[:, 3, KINDS.index("punctuation")] *= 80
    shown = changed(recordings, trained__sinks=sinks)
    told, _, rest = headline(one=shown).partition(". ")
    lead, other = answers({"one": shown})["one"].leads
    assert other.kind == "punctuation" and "punctuation" not in told, "one finding first"
    assert rest.endswith(" Elsewhere, punctuation (layer 3) stands out; no kind stands out in layer 2.")
    assert lead.untrained is not None
    null, most = lead.untrained
    shares = {name: by_kind(shown, "portion", name).value[list(lead.layers), 0].max() for name in shown.weight_nulls}
    assert null == "matched" and most == pytest.approx(shares[null]) and not lead.close
    assert rest.startswith(f"In untrained models, at most {percent(most, 0)} are. ")
    assert told.startswith("In layers 0 and 1 of one, ") and len(told.replace(" %", "").split()) <= 22


def of_punctuation(**others: tuple[float, ...]) -> KindShares:
    """Return the shares of a model whose sinks are punctuation in layers 0 and 2, beside those of other weights."""
    own = np.array([0.52, 0.05, 0.44, 0.05])[:, None]
    beside = {null: np.array(shares)[:, None] for null, shares in others.items()}
    return KindShares(["punctuation"], Estimates(own, own - 0.01, own + 0.01), np.array([0.14]), beside)


def test_the_headline_holds_a_layer_against_other_weights_of_the_same_layer_that_come_close() -> None:
    def told(**others: tuple[float, ...]) -> str:
        [whole] = finding_of("kinds of layers", {"one": of_punctuation(**others)})
        begin = "In layers 0 and 2 of one, 44 to 52 % of sinks are punctuation (all tokens: 14 %)."
        end = " Elsewhere, no kind stands out."
        assert whole.endswith(end)
        return str(whole.removeprefix(begin).removesuffix(end))

    assert told(permuted=(0.02, 0, 0.42, 0), matched=(0.13, 0, math.nan, 0)) == (
        "In layer 0 of one, 52 % of sinks are punctuation (all tokens: 14 %). In untrained models, 13 % are. In layer "
        "2, punctuation (44 %) does not stand out: shuffled weights give 42 %."
    )
    assert told(permuted=(0.41, 0, 0.02, 0)) == " With shuffled weights, at most 41 % are.", (
        "no layer of its own comes close"
    )
    assert told(matched=(0.3, 0, 0.4, 0)).startswith(
        "In layer 0 of one, 52 % of sinks are punctuation (all tokens: 14 %). In untrained models, 30 % are."
    ), "the layer that comes close is told by itself"
    assert told(matched=(0.6, 0, 0.5, 0)).endswith(
        " In layers 0 and 2, punctuation (44–52 %) does not stand out: untrained models give 50–60 %."
    )
    assert told(permuted=(math.nan,) * 4) == ""


def test_the_kind_that_stands_out_most_is_told_where_other_weights_do_not_come_close() -> None:
    own = np.array([[0.37, 0.6], [0.37, 0.6], [0.02, 0.98], [math.nan] * 2])
    others = {"permuted": np.array([[0.02, 0.5], [0.3, 0.5], [0.0, 0.5], [0.0, 0.5]])}
    shares = KindShares(["first", "word"], Estimates(own, own - 0.01, own + 0.01), np.array([0.02, 0.6]), others)
    assert shares.leading() == {0: 0, 2: 1}, "as common with other weights in layer 1"
    assert shares.leading(clearly=False) == {0: 0, 1: 0, 2: 1}
    both = np.array([[0.4, 0.5]])
    two = KindShares(["first", "last"], Estimates(both, both - 0.01, both + 0.01), np.array([0.02, 0.3]), {})
    assert two.leading() == {0: 0}, "further above its share of all tokens"


def test_every_layer_is_accounted_for() -> None:
    def rest(portions: list[list[float]], **others: list[list[float]]) -> str:
        own = np.array(portions)
        beside = {null: np.array(shares) for null, shares in others.items()}
        shares = KindShares(["first", "word"], Estimates(own, own - 0.01, own + 0.01), np.array([0.02, 0.5]), beside)
        [whole] = finding_of("kinds of layers", {"one": shares})
        _, _, left = whole.partition(". ")
        return str(re.sub(r"^(In untrained models|With shuffled weights), (at most )?\d+ % are\. ", "", left))

    first, word, neither = [0.9, 0.1], [0.1, 0.7], [0.02, 0.5]
    assert rest([first, first]) == ""
    assert rest([first, first, neither]) == "Elsewhere, no kind stands out."
    assert rest([first, first, first, word, [math.nan] * 2]) == ("Elsewhere, words (layer 3) stand out.")
    assert rest([first, first, first, word, word, neither, neither, neither]) == (
        "Elsewhere, words (layers 3 and 4) stand out; no kind stands out in layers 5–7."
    )
    assert rest([first, word, [0.1, 0.65], word]) == ("Elsewhere, words (layers 1–3) stand out.")
    weights = [neither, neither, neither, [0.02, 0.65]]
    assert rest([first, first, first, word], matched=weights) == ("Layer 3: mostly words, as in untrained models.")
    assert rest([first, first, first, word], permuted=weights) == ("Layer 3: mostly words, as with scrambled weights.")
    assert rest([first, neither, word], matched=weights[1:]) == (
        "Elsewhere, no kind stands out in layer 1; layer 2: mostly words, as in untrained models."
    )
    apart = [neither, neither, [0.02, 0.65]]
    assert rest([first, word, word], matched=apart) == (
        "Elsewhere, words (layer 1) stand out; layer 2: mostly words, as in untrained models."
    ), "each layer by itself"
    few = KindShares(
        ["first", "last"],
        Estimates(*(np.array([[0.9, 0.0], [0.0, 0.45]]) + by for by in (0, -0.01, 0.01))),
        np.array([0.02, 0.02]),
        {"matched": np.array([[0.0, 0.0], [0.0, 0.4]])},
    )
    [told] = finding_of("kinds of layers", {"one": few})
    assert told.endswith(" Layer 1: the last token as often as in untrained models."), "not most sinks"
    assert rest([[0.02, 1.0]] * 4 + [[0.3, 0.4]]) == ("Elsewhere, the first token (layer 4) stands out.")
    both = "In layer 1, also words (66 %; all tokens: 50 %). Elsewhere, no kind stands out."
    second = [first, [0.34, 0.66], first, neither]
    assert rest(second) == both, "a second kind of a layer is told as well"
    as_common = [neither, [0.02, 0.6], neither, neither]
    assert rest(second, matched=as_common) == "Elsewhere, no kind stands out.", "where it stands out"


def test_a_null_below_the_share_of_all_tokens_is_explained_and_no_other_is() -> None:
    lead = Lead("[MASK]", (0,), (0.9,), 0.33, {"matched": (0.14,)})
    told = finding_of("rarer untrained", [lead])
    assert "does not favour masked positions" in told
    for other in ({}, {"matched": (0.34,)}):
        assert finding_of("rarer untrained", [replace(lead, others=other)]) == ""
    assert finding_of("rarer untrained", []) == ""


def test_what_is_said_over_the_steps_and_of_prompts_is_in_the_tables() -> None:
    recordings = masked_first(0)
    [told] = finding_of("steps of sets", {"Diffusion model": recordings})
    counts = counts_over_steps(recordings, -1).sum(axis=1)
    assert told.startswith(f"The diffusion model has most sinks in step {counts.argmax()} (")
    table = prompt_table(recordings)["sinks per step and layer"]
    told = finding_of("prompts of a set", "one", recordings)
    assert told.startswith(f"All {len(table)} prompts of one have sinks: ") and f"{table.max():.2g}"[:3] in told


def test_the_headline_says_in_which_layers_more_sinks_are_new_than_under_every_null() -> None:
    births = times(a_set(0), "trained.births", [9, 1, 1, 1])
    some = masked_first(0, trained__births=births)
    told = moving(one=some)
    pattern = r"Layer 0 of one gains ([\d.]+) new sinks per step, more than every null \(at most ([\d.]+)\)\."
    gained, most = there(re.fullmatch(pattern, told)).groups()
    assert float(gained) > float(most) > 0
    every = changed(a_set(1), trained__births=a_set(1).arrays["trained.births"] * 9)
    assert moving(one=every).startswith("All 4 layers of one gain ")
    both = moving(one=some, two=every)
    assert both.startswith(told) and " All 4 layers of two gain " in both
    assert (
        moving(one=a_set(0))
        == "In no layer of one are there significantly more new sinks per step than under every null."
    )
    fewer = changed(some, matched__births=times(some, "matched.births", [1, 40, 40, 1]))
    assert re.search(
        r" Layers 1 and 2 gain [\d.]+(–[\d.]+)?, fewer than an equally sharp untrained model "
        r"\([\d.]+(–[\d.]+)?\)\.$",
        moving(one=fewer),
    )


def test_a_kind_that_is_barely_more_common_leads_no_layer() -> None:
    """16 % of the sinks are no answer where 14 % of all tokens are of the kind, however sure that is."""
    recordings = a_set(0)
    tokens = recordings.arrays["trained.tokens"].sum(axis=0) / recordings.arrays["trained.tokens"].sum()
    sinks = np.zeros_like(recordings.arrays["trained.sinks"])
    for layer, more in enumerate((0.5, 0.02, 0.02, 0.02)):
        sinks[:, layer] = 1000 * tokens
        sinks[:, layer, 0] += 1000 * more
    answer = answer_of(changed(recordings, trained__sinks=sinks))
    assert [lead.layers for lead in answer.leads if lead.kind == KINDS[0]] == [(0,)]


def test_the_headline_of_few_prompts_or_of_no_sinks_claims_nothing() -> None:
    few = moving(one=a_set(1, prompts=5))
    assert few == "5 prompts of one are too few to tell whether its sinks move more than chance (30 needed)."
    recordings = a_set(2)
    sinks, share = (recordings.arrays[f"trained.{name}"] * 0 for name in ("sinks", "share"))
    nothing = changed(recordings, trained__sinks=sinks, trained__share=share)
    assert headline(one=nothing) == "No layer of one has a sink by this definition." == moving(one=nothing)
    assert finding_of("strengths of sets", {"one": nothing}, answers({"one": nothing})) == ""
    sets = {"one": a_set(0), "two": a_set(1)}
    assert "in two" in finding_of("strengths of sets", sets, answers(sets))
