"""Scoring models that keep a part of their keys and values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from pydantic import ValidationError

from analysis.evaluation import comparing, conditions, results
from analysis.evaluation.language_model import LanguageModel, Settings
from analysis.evaluation.likelihood import Request, greedy_match, log_likelihoods
from analysis.jobs.evaluation import evaluate
from analysis.models.load import load
from analysis.models.loaded import LoadedModel, Remembered
from analysis.recording.evicting import Call, token_states
from analysis.recording.eviction import EvictedForwards, caches, evicted, written
from analysis.recording.keeping import Held, Keeper, distances
from analysis.sinks.definitions import find_sinks
from analysis.sinks.step_inputs import TokenState
from analysis.specs import POLICIES, SAMPLINGS, EvaluateSpec, Keeping, ModelSpec, SinkParams, kept_of
from tests.conftest import GOLDEN
from tests.helpers import QuietContext

CONTEXT = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14)


def forwards(model, policy: str = "sinks", budget: float = 0.4, control: str = "", draw: int = 0) -> EvictedForwards:
    return EvictedForwards(model, Keeping(policy, budget, control, draw))


@pytest.mark.parametrize("text", ["sinks:0.6", "recent:1", "masked-queries:0.25:random:3", "everything"])
def test_what_is_kept_is_read_as_it_is_written(text):
    assert str(kept_of(text)) == text


@pytest.mark.parametrize(
    "text", ["", "sinks", "sinks:0", "sinks:2", "random:0.5", "sinks:0.5:recent:0", "sinks:0.5:random:-1"]
)
def test_what_says_nothing_that_can_be_kept_is_refused(text):
    with pytest.raises(ValueError):
        kept_of(text)


@pytest.mark.parametrize("source", ["bundled", "bundled-ar", str(GOLDEN / "sdar"), str(GOLDEN / "dream-gqa")])
def test_with_a_budget_of_one_likelihoods_are_those_of_the_whole_model(source):
    model = load(ModelSpec(source=source, device="cpu"))
    asked = [Request(CONTEXT, (15, 16, 17)), Request(CONTEXT[:7], (18,))]
    whole = log_likelihoods(model, asked, draws=4)
    kept = log_likelihoods(model, asked, draws=4, kept=forwards(model, budget=1.0))
    fewer = log_likelihoods(model, asked, draws=4, kept=forwards(model, budget=0.3))
    for one, same, other in zip(whole, kept, fewer, strict=True):
        assert same.value == pytest.approx(one.value, rel=1e-4) and other.value != pytest.approx(one.value, rel=1e-4)


def test_guidance_leaves_the_same_keys_out_of_both_halves(bundled):
    asked = [Request(CONTEXT, (15, 16)), Request((*CONTEXT[1:], 20), (15, 16))]
    whole = log_likelihoods(bundled, asked, guidance=1.0)
    same = log_likelihoods(bundled, asked, guidance=1.0, kept=forwards(bundled, budget=1.0))
    assert [one.value for one in same] == pytest.approx([one.value for one in whole], rel=1e-4)
    together = log_likelihoods(bundled, asked, guidance=1.0, kept=forwards(bundled))
    alone = [log_likelihoods(bundled, [one], guidance=1.0, kept=forwards(bundled))[0] for one in asked]
    assert [one.value for one in together] == pytest.approx([one.value for one in alone], rel=1e-4)


@pytest.mark.parametrize("policy", [name for name, row in POLICIES.items() if row.asked])
def test_a_control_keeps_as_many_of_each_state_and_draws_once_for_an_item(bundled, policy):
    texts = torch.tensor([[*CONTEXT, bundled.mask_token, 16], [*CONTEXT, 15, bundled.mask_token]])
    given = [len(CONTEXT)] * 2
    state = token_states(bundled, texts, given)
    hidden = forwards(bundled, policy).edit(texts, given, None, True).hidden
    drawn = forwards(bundled, policy, control="random").edit(texts, given, None, True).hidden
    for kind in np.unique(state):
        counts = [(~edit & (state == kind)[:, None]).sum(axis=-1) for edit in (hidden, drawn)]
        np.testing.assert_array_equal(*counts)
    other = forwards(bundled, policy, control="random", draw=1).edit(texts, given, None, True).hidden
    assert (other != drawn).any()
    # As many given ones are kept of both texts in a layer: then they are the same.
    alike = (drawn[0, :, :10].sum(axis=-1) == drawn[1, :, :10].sum(axis=-1)).nonzero()[0]
    assert (drawn[0, alike, :10] == drawn[1, alike, :10]).all()


def random_texts(model, rows: int, length: int, seed: int) -> torch.Tensor:
    """Words with [MASK] among the later ones, (rows, length)."""
    rng = np.random.default_rng(seed)
    words = rng.integers(5, 200, (rows, length))
    hidden = rng.random((rows, length)) < 0.3 * (np.arange(length) >= length // 2)
    return torch.from_numpy(np.where(hidden, model.mask_token, words))


def test_texts_that_are_looked_at_together_show_what_each_shows_alone(bundled, monkeypatch):
    found: list[list[Held]] = []
    choose = Keeper.choose
    monkeypatch.setattr(Keeper, "choose", lambda keeper, held: found.append(held) or choose(keeper, held))
    for length in (3, 17, 40):
        texts, given, kept = random_texts(bundled, 4, length, length), [length // 2] * 4, forwards(bundled)
        found.clear()
        kept.edit(texts, given, None, True)
        state = token_states(bundled, texts, given)
        seen = kept._seen(Call(texts, 4), state)
        for row, layers in enumerate(found):
            for layer, held in enumerate(layers):  # bit by bit: the sums of a row do not depend on those beside it
                drawn = seen.now[layer][row]
                np.testing.assert_array_equal(held.now, drawn)
                np.testing.assert_array_equal(held.masked, seen.masked[layer][row])
                np.testing.assert_array_equal(held.sinks, find_sinks(drawn, SinkParams(), np.full(length, length)))
                away = distances(held.positions, (0, length), state[row] == TokenState.UNDECIDED)
                np.testing.assert_array_equal(held.distance, away)


def test_policies_that_score_the_same_items_share_the_untouched_forward(bundled, monkeypatch):
    model, texts, given = replace(bundled), random_texts(bundled, 3, 12, 0), [6] * 3
    asked: list[torch.Tensor] = []
    predict = LoadedModel.predict

    def counted(self: LoadedModel, tokens: torch.Tensor, *more, **named) -> torch.Tensor:
        asked.append(tokens)
        return predict(self, tokens, *more, **named)

    monkeypatch.setattr(LoadedModel, "predict", counted)
    first = forwards(model, "recent").edit(texts, given, None, True).hidden
    second = forwards(model, "sinks").edit(texts.clone(), given, None, True).hidden
    assert len(asked) == 1, "the second policy looks at what the first one saw"
    fresh = forwards(replace(bundled), "sinks").edit(texts, given, None, True).hidden
    assert len(asked) == 2, "another model shares nothing"
    np.testing.assert_array_equal(second, fresh)
    assert (first != second).any()
    forwards(model).edit(texts[:2], given[:2], None, True)
    forwards(model).edit(texts, given, None, False)
    assert len(asked) == 4, "another input is looked at anew"


def test_what_is_remembered_stays_within_its_bound_and_the_last_used_stay():
    held = Remembered(10)
    for name in "abc":
        held.put(name, name.upper(), 4)
    assert [held.get(name) for name in "abc"] == [None, "B", "C"] and held.bytes == 8
    held.get("b")
    held.put("d", "D", 4)
    assert [held.get(name) for name in "bcd"] == ["B", None, "D"]
    held.put("e", "E", 11)
    held.put("d", "more", 6)
    assert held.get("e") is None and held.get("d") == "more" and held.bytes == 10


def test_greedy_decoding_and_texts_go_by_what_is_kept(bundled):
    (written,) = LanguageModel(bundled, Settings(gen_length=6)).generate_until([_asks()])
    everything = LanguageModel(bundled, Settings(gen_length=6), kept=kept_of("everything"))
    assert everything.kept is None and everything.generate_until([_asks()]) == [written]
    few = LanguageModel(bundled, Settings(gen_length=6), kept=kept_of("recent:0.1"))
    assert few.generate_until([_asks()]) != [written]
    answer = tuple(bundled.tokenizer(" " + written, add_special_tokens=False)["input_ids"])
    context = tuple(few.tok_encode(_asks().args[0]))
    assert isinstance(greedy_match(bundled, Request(context, answer), forwards(bundled, "recent", 0.1)), bool)


@pytest.mark.parametrize("source", ["bundled", str(GOLDEN / "sdar")])
def test_texts_are_those_that_an_eviction_writes(source):
    model = load(ModelSpec(source=source, device="cpu"))
    few = forwards(model, "recent", 0.2)
    usual = {"gen_length": 8} | ({"steps": 8} if source == "bundled" else {})
    sampling = caches(model, SAMPLINGS[model.architecture.sampler].model_validate(usual))
    assert sampling.keeps_keys == (source != "bundled"), "positions really go where they can"
    prompt = torch.tensor([CONTEXT])
    text = written(model, prompt, sampling, 0, few.writer(prompt, sampling), lambda: None)
    keeping = [few.kept]
    found = evicted(model, CONTEXT, sampling, keeping, SinkParams(), 0, 0, lambda length: 1, lambda: None)
    assert text[0].tolist() == found.texts[0].tolist() != found.text.tolist()


def _asks() -> Instance:
    return Instance("generate_until", {}, ("One day Mia goes to the zoo.", {"until": ["\n"]}), 0, ("t", 0, 1))


def test_an_evaluation_scores_one_model_under_several_keepings(tmp_path):
    kept = ("everything", "sinks:0.3", "sinks:0.3:random:1", "sinks:1")
    dense = ModelSpec(device="cpu")
    tasks = {"tasks": ("bundled_story",), "limit": 6, "draws": 2}
    found = []
    for folder, spec in {
        "plain": EvaluateSpec(model=dense, **tasks),
        "kept": EvaluateSpec(model=dense, compare=(dense,) * 3, kept=kept, **tasks),
    }.items():
        (tmp_path / folder).mkdir()
        outcome = evaluate(spec, QuietContext(tmp_path / folder, tmp_path / "home"))
        found.append(results.read(outcome.file))
    plain, several = found
    values = np.array([[several.answers[key, model].values for key in several.documents] for model in range(4)])
    np.testing.assert_allclose(values[0], [plain.answers[key, 0].values for key in several.documents])
    np.testing.assert_allclose(values[3], values[0])
    assert all(several.answers[key, 3].restored for key in several.documents), "everything was scored before"
    assert (values[1] != values[0]).any() and (values[2] != values[1]).any()
    assert [model.kept for model in several.models] == ["", "sinks:0.3", "sinks:0.3:random:1", ""]
    assert several.names[1:3] == ("bundled sinks 30 % kept", "bundled random 30 % kept as sinks seed 1")
    rows = [conditions.scoring(several.header, model, {}) for model in several.models]
    assert conditions.differing_settings(rows[:2], ("first", "second")) == [
        {"setting": "Keys and values kept", "first": "everything kept", "second": "sinks 30 % kept"}
    ]
    assert comparing.related_pairs(several)["control"] == [(1, 2)]
    assert not comparing.mismatch(several, (1, 2)), "what is compared is no other condition"


def test_what_is_kept_is_said_for_every_model():
    with pytest.raises(ValidationError, match="what 2 keep"):
        EvaluateSpec(kept=("sinks:0.5", "everything"))
    with pytest.raises(ValidationError, match="keys are left out"):
        EvaluateSpec(kept=("sinks:0.5",), early_draws=True)
