"""Measuring inside a model what claims are about: every measure, with other weights, resuming."""

import json

import pytest

from analysis.engine.studies import claim_children, new_claims
from analysis.job_context import SilentContext
from analysis.jobs.claim_measures import NULLS, SCORED, TRAINED, measure_claims, text_sampling
from analysis.recording.claim_looks import LOOKS, TOGETHER, steps_of
from analysis.sinks.movement import WEIGHT_NULLS, weight_nulls
from analysis.specs import (
    CLAIM_MEASURES,
    CLAIMS,
    AutoregressiveSampling,
    ClaimMeasuresSpec,
    ClaimsSpec,
    LLaDASampling,
    ModelSpec,
)
from analysis.study.cost_estimate import forwards
from tests.helpers import there

PROMPTS = ("mia has a dog .", "leo has a cat .", "The river is not deep. It is")


def spec_of(measures: tuple[str, ...] = tuple(CLAIM_MEASURES)) -> ClaimMeasuresSpec:
    return ClaimMeasuresSpec(
        model=ModelSpec(source="bundled", device="cpu"),
        prompts=PROMPTS,
        measures=measures,
        random_models=1,
        null_prompts=2,
        looks=2,
        limit=2,
        sampling=LLaDASampling(gen_length=4, steps=4, block_length=4),
    )


def test_every_measure_has_a_number_and_a_null_in_every_network_and_is_kept(tmp_path, monkeypatch):
    context = SilentContext(tmp_path)
    summary = measure_claims(spec_of(), context).summary
    assert set(summary["networks"]) == {TRAINED, *NULLS} and {*LOOKS, TOGETHER, SCORED} == set(CLAIM_MEASURES)
    of_prompts = {name for name, row in CLAIM_MEASURES.items() if not row.items}
    for name, networks in summary["networks"].items():
        [network] = networks
        assert set(network) == of_prompts
        assert all(len(pairs) == (len(PROMPTS) if name == TRAINED else 2) for pairs in network.values())
    trained = summary["networks"][TRAINED][0]
    assert all(pair is None or pair[0] >= 0 for pair in trained["hiding"])
    for measure in of_prompts:
        assert any(pair is not None for pair in trained[measure]) or measure in ("variable", "lens"), measure
    assert trained != summary["networks"]["random"][0]
    assert all(pair is None or 0 <= min(pair) <= max(pair) <= 1 for pair in trained["text"])
    answers = there(summary.get("accuracy"))
    assert len(answers["keys"]) == 6 * 2 and {*answers["untouched"], *answers["hidden"], *answers["others"]} <= {0, 1}
    kept = {path.name for path in context.scratch.iterdir()}
    names = [f"{TRAINED}-2"]
    names += [f"{name}-{index}" for name in (TRAINED, "random-0", "permuted-0") for index in range(2)]
    assert kept == {f"{name}.{ending}" for name in names for ending in ("json", "npy")}
    first = context.scratch / f"{TRAINED}-0.json"
    told = json.loads(first.read_text())
    first.write_text(json.dumps(told | {"massive": [0.25, 0.5]}))
    again = measure_claims(spec_of(), context).summary
    assert again["networks"][TRAINED][0]["massive"][0] == [0.25, 0.5]


def test_steps_looked_at_are_pairs_of_neighbours_and_include_the_ends():
    assert steps_of(48, 6) == [0, 1, 23, 24, 46, 47]
    assert steps_of(3, 6) == [0, 1, 2] and steps_of(1, 6) == [0]


def test_texts_of_a_claim_are_a_quarter_as_long_and_take_two_tokens_per_step_where_steps_are_chosen():
    assert text_sampling(LLaDASampling(gen_length=48, steps=48)) == LLaDASampling(gen_length=12, steps=6)
    assert text_sampling(AutoregressiveSampling(gen_length=48)).gen_length == 12
    blocks = LLaDASampling(gen_length=64, steps=64, block_length=32)
    assert text_sampling(blocks) == blocks, "16 tokens are no multiple of a block"


def test_a_run_asks_for_what_its_claims_are_told_from_and_no_more():
    spec = new_claims(ModelSpec(source="bundled"))
    children = claim_children(spec)
    assert {name: [child.kind for child in some] for name, some in children.items()} == {
        "set": ["record_set"],
        "inside": ["measure_claims"],
        "twin": ["measure_claims"],
        "sweep": ["sweep"],
    }
    shown = weight_nulls(children["set"][0].spec.skip_matched)
    assert shown == NULLS and weight_nulls(False) == WEIGHT_NULLS, "nulls that no claim is held against take no time"
    assert children["sweep"][0].size == 12 and children["twin"][0].spec.measures == ("hiding", "text", "accuracy")
    one = spec.model_copy(update={"only": ("small-values",)})
    asked = {name: some for name, some in claim_children(one).items() if some}
    assert list(asked) == ["inside"] and asked["inside"][0].spec.measures == ("value-norm",)
    alone = spec.model_copy(update={"reference": None, "only": ("hiding-costs-less",)})
    assert [name for name, some in claim_children(alone).items() if some] == ["inside"]


def test_a_claim_that_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="only"):
        ClaimsSpec(model=ModelSpec(source="bundled"), only=("sinks-sing",))
    assert ClaimsSpec(model=ModelSpec(source="bundled")).claims == tuple(CLAIMS.values())


def test_an_estimate_counts_the_prompts_that_other_weights_see():
    few = spec_of(("value-norm", "clamped"))
    every = few.model_copy(update={"null_prompts": 3})
    # Two steps looked at: one pass and two clamped ones, and one text beside; a random model and a permuted one.
    assert forwards(every) - forwards(few) == 2 * (2 * 3 + 1)
