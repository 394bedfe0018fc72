"""Verdicts on claims: every row holds on a result built to satisfy it, and does not on one built to break it."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from analysis.claims.evidence import FEW_PROMPTS
from analysis.claims.verdicts import (
    CANNOT_TELL,
    DOES_NOT_HOLD,
    HOLDS,
    HOLDS_WEAKLY,
    UNITS,
    VERDICTS,
    ClaimVerdict,
    claim_verdicts,
)
from analysis.exhibits.claims import as_document, claim_figure, claims_figure, claims_table, summary_line, untold
from analysis.jobs.claim_measures import NULLS
from analysis.specs import CLAIM_DATA, CLAIM_MEASURES, CLAIMS, ClaimsSpec, ModelSpec
from docs import claims as claims_page
from tests.claims.helpers import BASE, found_for, measured_with, recordings_with, without

WORN = re.compile(r"\b(a step|a prompt as|is no |beside|asked for|has it|stands by|wander)\b")


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds_where_it_was_built_to(name):
    [told] = claim_verdicts([CLAIMS[name]], found_for(CLAIMS[name], 1), "built")
    assert told.verdict == HOLDS, told.sentence


@pytest.mark.parametrize("sign", [0, -1])
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_fails_where_it_was_built_to(name, sign):
    [told] = claim_verdicts([CLAIMS[name]], found_for(CLAIMS[name], sign), "built")
    assert told.verdict == DOES_NOT_HOLD, told.sentence


@pytest.mark.parametrize("name", [name for name, claim in CLAIMS.items() if claim.data == ("inside",)])
def test_a_claim_holds_weakly_at_most_where_other_weights_show_as_much(name):
    """The named null is beaten, and random and shuffled weights beat it as well."""
    claim = CLAIMS[name]
    found = found_for(claim, 1)
    assert found.inside is not None
    trained = found.inside["networks"]["trained"][0]
    alike = {**found.inside, "networks": {name: [trained] * 3 for name in ("trained", *NULLS)}}
    [told] = claim_verdicts([claim], without(found, inside=alike), "built")
    assert told.verdict == HOLDS_WEAKLY and "from any of 3 models" in told.sentence


def test_a_claim_holds_weakly_where_its_interval_reaches_below_the_size_asked_about():
    claim = CLAIMS["sinks-move"]
    found = found_for(claim, 1)
    uneven = np.where(np.arange(40) % 4 == 0, 0.12, 0.02)  # 0.045 on average, more than its null in every prompt
    recordings = recordings_with(0.0)
    arrays = {**recordings.arrays}
    arrays["trained.change_squares"] = 100 * np.repeat((BASE + uneven)[:, None] ** 2, 3, axis=1)
    recordings.arrays = arrays
    [told] = claim_verdicts([claim], without(found, recordings=recordings), "built")
    assert told.verdict == HOLDS_WEAKLY, told.sentence
    assert told.excess is not None and told.excess.low < claim.margin


def test_without_data_a_claim_cannot_be_told_and_says_what_would_tell():
    found = without(found_for(CLAIMS["sinks-move"], 1), recordings=None, inside=None, twin=None, settings=())
    for told in claim_verdicts(list(CLAIMS.values()), found, "built"):
        assert told.verdict == CANNOT_TELL and told.needed
        assert told.needed in {CLAIM_DATA[data].without for data in told.claim.data}


def test_few_prompts_or_no_other_weights_give_no_verdict():
    claim = CLAIMS["small-values"]
    found = found_for(claim, 1)
    [few] = claim_verdicts([claim], without(found, clusters=np.arange(40) // 4), "built")
    assert few.verdict == CANNOT_TELL and few.needed == f"{FEW_PROMPTS} 10 count here."
    assert found.inside is not None
    alone = {**found.inside, "networks": {**found.inside["networks"], "permuted": []}}
    [told] = claim_verdicts([claim], without(found, inside=alone), "built")
    assert told.verdict == CANNOT_TELL and "shuffled weights" in told.needed


def test_why_claims_have_no_verdict_is_said_once_for_all():
    def few(name, count):
        return ClaimVerdict(CLAIMS[name], "built", CANNOT_TELL, "", f"{FEW_PROMPTS} {count} count here.")

    one, other = (CLAIMS[name].sentence for name in ("sinks-move", "small-values"))
    assert untold([few("sinks-move", 4), few("small-values", 4)]) == {
        f"{FEW_PROMPTS} 4 count here.": {one: "", other: ""}
    }
    assert untold([few("sinks-move", 4), few("small-values", 3)]) == {
        FEW_PROMPTS: {one: " 4 count here.", other: " 3 count here."}
    }


def test_noise_cannot_be_told_and_names_the_effect_that_would_have_been_seen():
    claim = CLAIMS["small-values"]
    summary = measured_with(0.0)
    wild = np.random.default_rng(3).standard_normal(40)
    summary["networks"]["trained"][0]["value-norm"] = [[BASE + value, BASE] for value in wild]
    [told] = claim_verdicts([claim], without(found_for(claim, 0), inside=summary), "built")
    assert told.verdict == CANNOT_TELL
    assert "would have been detected" in told.needed and "prompts would show one of" in told.needed


def test_holm_is_over_all_claims_of_the_table():
    """Those without data count, so that a verdict stays when they arrive."""
    claim = CLAIMS["small-values"]
    alone, among = (
        claim_verdicts(some, without(found_for(claim, 1), recordings=None, settings=()), "built")
        for some in ([claim], list(CLAIMS.values()))
    )
    assert alone[0].excess is not None and alone[0].excess.tests == 1
    told = next(one for one in among if one.claim is claim)
    assert told.excess is not None and told.excess.tests == len(CLAIMS)


def test_rows_and_sentences_are_plain_and_name_the_model():
    for claim in CLAIMS.values():
        assert claim.sources and all(re.fullmatch(r"\d{4}\.\d{5}", source) for source in claim.sources)
        assert claim.margin > 0 and set(claim.data) <= set(CLAIM_DATA)
        assert not claim.measure or claim.measure in CLAIM_MEASURES
        texts = [claim.sentence, claim.supports, claim.refutes, claim.not_meant]
        for sign in (1, -1, 0):
            [told] = claim_verdicts([claim], found_for(claim, sign), "tiny-model")
            assert "tiny-model" in told.sentence and ("twin-model" in told.sentence) == ("twin" in claim.data)
            texts.append(told.sentence)
        for text in (*texts, *(rule.help for rule in VERDICTS.values())):
            assert text.endswith(".") and text[0].isupper() and "  " not in text, text
            assert not WORN.search(text), text
            assert max(len(sentence.split()) for sentence in re.split(r"(?<=[.:;]) ", text)) <= 40, text
        assert len(claim.sentence.split()) <= 20 and "null" not in claim.sentence


def test_table_figure_and_document_hold_every_number():
    claims = list(CLAIMS.values())
    found = without(found_for(CLAIMS["small-values"], 1), settings=())
    verdicts = claim_verdicts(claims, found, "built")
    table = claims_table(verdicts)
    assert table["claim"].tolist() == [claim.sentence for claim in claims]
    assert table.set_index("claim").loc[CLAIMS["discount-helps"].sentence, "estimate"] == ""
    assert "LLaDA-8B" in table.set_index("claim").loc[CLAIMS["discount-helps"].sentence, "published"]
    shown = {one.claim.name: claim_figure(one) for one in verdicts}
    assert shown["discount-helps"] is None
    overview = claims_figure(verdicts)
    assert overview is not None and overview.title == summary_line(verdicts).removesuffix(".")
    drawn = Counter(place for trace in overview.figure.data for place in trace.y)
    assert len(drawn) == sum(drawn.values()) == sum(one.excess is not None for one in verdicts)
    assert max(abs(x) for trace in overview.figure.data for x in trace.x) <= 4, "at the edge, its number beside it"
    written = {note.text for note in overview.figure.layout.annotations}
    assert {f"<b>{one.verdict.capitalize()}</b>" for one in verdicts if one.excess is not None} <= written
    assert claims_figure([one for one in verdicts if one.excess is None]) is None
    figure = shown["small-values"]
    assert figure is not None and len(figure.table) == 1 + 2 * 3 and figure.finding
    margin = CLAIMS["small-values"].margin
    assert margin and margin in {
        shape.x1 / UNITS[CLAIMS["small-values"].unit].scale for shape in figure.figure.layout.shapes
    }
    document = as_document(ClaimsSpec(model=ModelSpec(source="bundled")), verdicts, found.fingerprint, "command")
    assert len(json.loads(json.dumps(document))["claims"]) == len(CLAIMS), "as a command writes it"
    assert [row["verdict"] for row in document["claims"]] == [one.verdict for one in verdicts]
    assert len(document["claims"][list(CLAIMS).index("small-values")]["values"]) == 40
    untold = [one for one in verdicts if one.excess is None]
    some, of = len(claims) - len(untold), len(claims)
    assert untold and summary_line(verdicts).startswith(f"{some} of {of} claims tested on built: ")
    assert summary_line(verdicts[:1]) == f"1 claim tested on built: 1 {verdicts[0].verdict}."
    assert summary_line(untold[:1]) == "0 of 1 claim tested on built."


def test_the_docs_hold_what_the_program_writes():
    assert claims_page.document() == claims_page.PATH.read_text(encoding="utf-8")


def test_accuracy_counts_only_where_both_models_are_above_chance_and_names_what_kept_it_from_being_measured():
    claim = CLAIMS["hiding-keeps-accuracy"]
    found = found_for(claim, 1)
    assert found.inside is not None and found.twin is not None
    answers = found.twin["accuracy"]
    blind = {**found.twin, "accuracy": {**answers, "untouched": [0.0, 0.0, 1.0, 0.0] * (len(answers["keys"]) // 4)}}
    [told] = claim_verdicts([claim], without(found, twin=blind), "built")
    assert told.verdict == CANNOT_TELL and "above chance" in told.needed
    few = {**found.inside, "accuracy": {**answers, "clusters": ["one", "two"] * (len(answers["keys"]) // 2)}}
    [told] = claim_verdicts([claim], without(found, inside=few), "built")
    assert told.verdict == CANNOT_TELL and "2 clusters of items" in told.needed
    lacks = {name: value for name, value in found.inside.items() if name != "accuracy"} | {"notes": ["No such task."]}
    [told] = claim_verdicts([claim], without(found, inside=lacks), "built")
    assert told.needed == "No such task."


@pytest.mark.parametrize("name", ["small-values", "hiding-costs-less"])
def test_other_weights_that_saw_fewer_prompts_or_have_nothing_to_measure_count_as_no_effect_there(name):
    found = found_for(CLAIMS[name], 1)
    whole = claim_verdicts([CLAIMS[name]], found, "built")[0].evidence
    for data in (found.inside, found.twin):
        assert data is not None
        for null in NULLS:
            for network in data["networks"][null]:
                network |= {measure: [*pairs[:20], *[None] * 8] for measure, pairs in network.items()}
    [told] = claim_verdicts([CLAIMS[name]], found, "built")
    assert told.verdict == HOLDS and told.evidence is not None and whole is not None, told.sentence
    for null in NULLS:
        for before, after in zip(whole.others[null], told.evidence.others[null], strict=True):
            assert (before.n, after.n) == (40, 28) and after.value == pytest.approx(before.value, abs=0.01)
