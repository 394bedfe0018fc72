"""Keeping a part of the keys and values: which, that they are really gone, and what a set of prompts shows of it."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import jobs
from analysis.attention import AttentionInputs
from analysis.evaluation.eviction_effects import effects, mean_of
from analysis.exhibits.eviction import conditions, effects_of, frontier_of, means, single_prompts
from analysis.findings.evictions import policies
from analysis.models.kept_keys import KeptKeys, PrefixCache
from analysis.models.layout import layout_of
from analysis.recording.evicting import Call, Evicting, HiddenKeys, KeyAttention
from analysis.recording.eviction import caches, evicted
from analysis.recording.keeping import RANKINGS, Held, Keeper, count_kept, distances, states_of
from analysis.sinks.definitions import find_sinks
from analysis.sinks.step_inputs import TokenState
from analysis.specs import POLICIES, EvictSpec, Keeping, LLaDASampling, ModelSpec, SinkParams, keepings
from analysis.words import percent
from tests.conftest import golden_model
from tests.helpers import QuietContext

CPU = ModelSpec(device="cpu")
PROMPTS = ("one day ben goes to the zoo .", "mia has a dog .", "leo is in the park .")
SAMPLING = LLaDASampling(gen_length=8, steps=4, block_length=4)


def held(seed: int, positions: int) -> Held:
    """Random positions of one layer."""
    rng = np.random.default_rng(seed)
    now, masked, accumulated = rng.random((3, positions))
    state = rng.choice([TokenState.GIVEN, TokenState.COMMITTED, TokenState.UNDECIDED], positions)
    sinks, distance = rng.random(positions) < 0.2, rng.permutation(positions)
    return Held(np.arange(positions), state, sinks, distance, now, masked, accumulated, positions)


def test_policies_keep_what_they_say():
    at = Held(
        np.arange(5),
        np.full(5, TokenState.GIVEN),
        np.array([True, False, True, False, False]),
        np.array([5, 4, 3, 2, 1]),
        *np.array([[1.0, 2, 9, 4, 5], [5, 9, 3, 2, 1], [1, 1, 1, 8, 9]]),
        5,
    )
    kept = {name: ranking(at).tolist() for name, ranking in RANKINGS.items()}
    assert kept["sinks"] == [2, 0, 4, 3, 1], "sinks, heaviest first, then the nearest"
    assert kept["masked-queries"][:2] == [1, 0] and kept["accumulated"][:2] == [4, 3]
    assert kept["recent"] == [4, 3, 2, 1, 0] and sorted(kept["everything"]) == [0, 1, 2, 3, 4]
    assert [count_kept(share, 10) for share in (0.01, 0.3, 0.31, 1.0)] == [1, 3, 4, 10] and count_kept(0.5, 0) == 0


def test_distance_is_to_where_text_is_written():
    undecided = np.array([False, False, True, True])
    assert distances(np.arange(4), (0, 4), undecided).tolist() == [2, 1, 0, 1]
    assert distances(np.arange(4), (0, 4), np.zeros(4, bool)).tolist() == [4, 3, 2, 1], "the last ones of a causal text"
    assert distances(np.array([0, 1, 4, 5]), (2, 4), np.zeros(6, bool)).tolist() == [2, 1, 1, 2], "on both sides"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.floats(0.01, 1),
    st.sampled_from([name for name, row in POLICIES.items() if row.controls]),
)
def test_the_random_control_keeps_as_many_of_each_state_in_every_step_and_layer(seed, positions, budget, policy):
    kept_before: dict = {}
    keepers = [Keeper(Keeping(policy, budget, control), (seed,), kept_before) for control in ("", "random")]
    chosen: list[list[list[np.ndarray]]] = [[], []]
    for step in range(3):
        layers = [held(seed + 7 * step + layer, positions + step) for layer in range(2)]
        for keeper, of_keeper in zip(keepers, chosen, strict=True):
            of_keeper.append(keeper.choose(layers))
        for layer, own, control in zip(layers, chosen[0][-1], chosen[1][-1], strict=True):
            assert states_of(layer.state[own]) == states_of(layer.state[control])
            assert len(set(control.tolist())) == len(control) == count_kept(budget, positions + step)


def test_the_random_control_is_drawn_once_for_all_steps():
    layer = held(0, 30)
    keeper = Keeper(Keeping("recent", 0.5, "random"), (1,))
    first, second = (keeper.choose([layer])[0] for _ in range(2))
    assert first.tolist() == second.tolist()
    other = Keeper(Keeping("recent", 0.5, "random"), (2,)).choose([layer])[0]
    assert first.tolist() != other.tolist() != RANKINGS["recent"](layer)[:15].tolist()


# --- caches -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HiddenFromBlock:
    """An edit: queries from `first` on do not attend to these keys (1, L, S)."""

    hidden: np.ndarray
    first: int

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        edited = HiddenKeys(self.hidden)(layer, inputs)
        assert edited.mask is not None and inputs.mask is not None
        mask = torch.cat([inputs.mask[:, :, : self.first], edited.mask[:, :, self.first :]], dim=2)
        return AttentionInputs(edited.query, edited.key, edited.value, mask, edited.scaling, False)


def some_hidden(layers: int, length: int, among: np.ndarray) -> np.ndarray:
    """A third of some positions, others in each layer, (1, L, S)."""
    hidden = np.zeros((1, layers, length), bool)
    for layer in range(layers):
        hidden[0, layer, among[layer % 2 :: 3][: len(among) // 3]] = True
    return hidden


@pytest.mark.parametrize("queries", [(8, 20), (8, 12)])
def test_what_leaves_the_cache_of_a_whole_forward_is_as_if_it_was_hidden(bundled, queries):
    first, end = queries
    tokens = torch.arange(5, 25)[None]
    outside = np.array([position for position in range(20) if not first <= position < end])
    hidden = some_hidden(bundled.geometry.layers, 20, outside)
    whole, part = KeptKeys(bundled), KeptKeys(bundled)
    for cache in (whole, part):
        cache.predict(tokens, (0, 20))
    full = part.bytes
    part.keep([np.setdiff1d(outside, np.flatnonzero(row)) for row in hidden[0]])
    assert part.bytes == full * (len(outside) - len(outside) // 3) // 20
    for _ in range(2):
        expected = whole.predict(tokens, queries, edit=HiddenKeys(hidden))
        torch.testing.assert_close(part.predict(tokens, queries), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(part.predict(tokens, (0, 20)), whole.predict(tokens, (0, 20)), atol=1e-4, rtol=1e-4)


def test_sinks_behind_a_cache_are_those_of_the_whole_forward_that_was_looked_at(bundled, monkeypatch):
    params = SinkParams(definition="mean-attention", attention_level=0.06)
    tokens, found = torch.arange(5, 25)[None], []
    monkeypatch.setattr(Keeper, "choose", lambda keeper, held: found.extend(held) or [np.arange(4)] * len(held))
    evicting = Evicting(bundled, 5, params, Keeper(Keeping("sinks", 0.25), (0,)))
    evicting.predict(Call(tokens, 1, queries=(0, 20)))
    evicting.predict(Call(tokens, 1, queries=(8, 12)))
    seen = KeyAttention(np.zeros((1, 20), bool))
    bundled.predict(tokens, seen)
    expected = [find_sinks(drawn, params, np.full(20, 20))[np.r_[0:8, 12:20]] for (drawn,) in seen.now]
    assert [held.sinks.tolist() for held in found] == [sinks.tolist() for sinks in expected]
    assert 0 < np.sum(expected) < 16 * len(expected)


@pytest.mark.parametrize("name", ["sdar", "nemotron"])
def test_what_leaves_the_cache_of_a_block_family_is_as_if_it_was_hidden_from_the_block(name):
    model = golden_model(name)
    block = model.architecture.block_size
    length = 3 * block
    tokens = torch.arange(5, 5 + length)[None]
    layout = layout_of(model.architecture, 2 * block)
    first = 2 * block
    opened = layout if model.architecture.attention == "block-causal" else type(layout)(block, layout.border, first)
    hidden = some_hidden(model.geometry.layers, length, np.arange(first))
    cache = PrefixCache(model)
    untouched = cache.predict(tokens, first, opened)
    full = cache.bytes
    cache.keep([np.flatnonzero(~row[:first]) for row in hidden[0]])
    assert cache.bytes == full * (first - first // 3) // first and cache.read == first
    expected = model.predict(tokens, edit=HiddenFromBlock(hidden, first), layout=opened)[:, first:]
    got = cache.predict(tokens, first, opened)
    start = model.architecture.shift
    torch.testing.assert_close(got[:, start:], expected[:, start:], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(got, untouched, atol=1e-3)


@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
def test_texts_and_bytes_under_a_budget(bundled, cache):
    ids = bundled.encode(PROMPTS[0], "auto")[0]
    sampling = caches(bundled, SAMPLING.model_copy(update={"cache": cache}))
    kept = [Keeping("everything", 1.0), Keeping("sinks", 1.0), Keeping("recent", 0.3), Keeping("recent", 0.3, "random")]
    found = evicted(bundled, ids, sampling, kept, SinkParams(), 0, 0, lambda length: 2, lambda: None)
    for text, told in zip(found.texts[:2], found.told[:2], strict=True):
        assert text.tolist() == found.text.tolist() and told["bytes"] == told["full_bytes"]
        assert abs(told["divergence"]) < 1e-6 and told["share"] == 1
    part, control = found.told[2:]
    assert part["share"] == control["share"] < 0.4 and part["divergence"] > 0 < control["divergence"]
    assert part["bytes"] == pytest.approx(part["share"] * part["full_bytes"], rel=0.05)
    assert [told["milliseconds"] is None for told in found.told] == [cache == "none"] * 4, "no time where none is saved"


# --- over a set -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    spec = EvictSpec(
        model=CPU, prompts=PROMPTS, sampling=SAMPLING, policies=("sinks", "accumulated"), budgets=(0.3, 1.0)
    )
    context = QuietContext(tmp_path_factory.mktemp("study"))
    return spec, context, jobs.JOBS["evict"].run(spec, context)


def test_a_set_is_evicted_under_every_policy_beside_its_controls(study):
    spec, _, outcome = study
    summary = outcome.summary
    assert json.loads(json.dumps(summary)) == summary
    named = [(row["policy"], row["budget"], row["control"]) for row in summary["rows"]]
    assert named == [(keeping.policy, keeping.budget, keeping.control) for keeping in keepings(spec)]
    assert named[0] == ("everything", 1.0, "") and ("recent", 0.3, "") in named, "a control that is a policy runs too"
    rows = dict(zip(named, summary["rows"], strict=True))
    for budget_one in (name for name in named if name[1] == 1):
        assert rows[budget_one]["agreement"] == [1.0] * 3, "with everything kept the text is the same"
    found = {
        (effect["policy"], effect["budget"], effect["against"], effect["measure"]) for effect in summary["effects"]
    }
    pairs = [("sinks", "random"), ("sinks", "recent"), ("accumulated", "random")]
    assert found == {(a, 0.3, b, measure) for a, b in pairs for measure in ("aligned", "divergence")}
    effect = next(one for one in summary["effects"] if one["against"] == "recent" and one["measure"] == "divergence")
    expected = np.mean(np.subtract(rows["sinks", 0.3, ""]["divergence"], rows["recent", 0.3, ""]["divergence"]))
    assert effect["value"] == pytest.approx(expected, abs=1e-5) and effect["detectable"] > 0
    assert len(policies(summary)) == 5 and "No time is given" in conditions(summary)


def test_figures_and_tables_hold_every_policy_and_prompt(study):
    summary = study[2].summary
    rows = {(row["policy"], row["budget"], row["control"]): row for row in summary["rows"]}
    frontier = frontier_of(summary, "aligned")
    told = [trace.name for trace in frontier.figure.data if trace.showlegend is not False]
    assert sum(": " in name for name in told) == 2, "the controls of the two that have drawn ones"
    assert [name for name in told if ": " not in name] == [
        *(POLICIES[name].title for name in ("sinks", "accumulated", "recent")),
        "everything",
    ]
    kept, control = (mean_of(rows[at], "aligned")[0] for at in (("sinks", 0.3, ""), ("sinks", 0.3, "random")))
    assert frontier.finding.startswith(
        f"At 30 %, keeping sinks and a window preserves {percent(kept, 0)} of the text; random "
    )
    assert f"preserve {percent(control, 0)}." in frontier.finding
    assert "Sinks and a window against the nearest positions: " in effects_of(summary, "divergence").finding
    assert effects_of(summary, "divergence").table["against"].tolist().count(POLICIES["random"].title) == 2
    assert len(means(summary["rows"])) == len(summary["rows"])
    assert len(single_prompts(summary["rows"], PROMPTS)) == 3 * len(summary["rows"])
    assert "ms per forward over the cache" not in means(summary["rows"]).columns


def test_one_that_was_cut_off_goes_on_and_one_that_is_stopped_tests_nothing(study, tmp_path, monkeypatch):
    spec, context, outcome = study
    from analysis.jobs import eviction

    stopped = QuietContext(tmp_path)
    stopped.stop = True
    part = eviction.evict(spec, stopped)
    assert part.stopped and (part.summary["prompts"], part.summary["planned"]) == (2, 3)
    assert all(effect["p"] is None for effect in part.summary["effects"]) and not policies(part.summary)
    monkeypatch.setattr(eviction, "_one_prompt", lambda *_: pytest.fail("what is done is not done again"))
    assert eviction.evict(spec, context).summary["rows"] == outcome.summary["rows"]


def rows_of(gain: np.ndarray) -> list[dict]:
    """Rows in which keeping sinks agrees better than its control by so much, a number per prompt."""
    rng = np.random.default_rng(0)
    control = 0.5 + 0.05 * rng.standard_normal(len(gain))
    return [
        {"policy": "sinks", "budget": 0.6, "control": name, "aligned": values.tolist(), "divergence": values.tolist()}
        for name, values in (("", control + gain), ("random", control))
    ]


def test_the_headline_says_what_is_gained_or_what_would_have_been_seen():
    rng = np.random.default_rng(1)
    gained = effects(rows_of(0.02 + 0.01 * rng.standard_normal(40)))
    first = policies({"effects": gained, "prompts": 40, "gone": True})[0]
    assert first.startswith("At 60 % of the cache, keeping sinks and a window gains ") and "[" in first
    assert "compared with keeping random positions of the same state, over 40 prompts" in first
    lost = policies({"effects": effects(rows_of(-0.02 + 0.01 * rng.standard_normal(40))), "prompts": 40, "gone": True})[
        0
    ]
    assert " loses 2." in lost or " loses 1." in lost
    assert "[−" not in lost, "of a loss both ends are positive"
    nothing = policies({"effects": effects(rows_of(0.03 * rng.standard_normal(40))), "prompts": 40, "gone": False})[0]
    assert (
        "preserves neither significantly more nor less of the text than keeping" in nothing
        and "would have been seen" in nothing
        and "of the keys" in nothing
    )
    few = effects(
        [
            {name: value[:2] if isinstance(value, list) else value for name, value in row.items()}
            for row in rows_of(rng.standard_normal(40))
        ]
    )
    assert "with so few prompts none would have been" in policies({"effects": few, "prompts": 2, "gone": False})[0]
    shared = [row | {"keys": ["a", "b"] * 20} for row in rows_of(0.02 + 0.01 * rng.standard_normal(40))]
    assert effects(shared)[0]["clusters"] == 2 and mean_of(shared[0], "aligned")[0] > 0.5


def test_controls_alone_are_no_policy():
    with pytest.raises(ValueError, match="Choose a policy"):
        EvictSpec(prompts=PROMPTS, policies=("random", "everything"))
    with pytest.raises(ValueError, match="name one twice"):
        EvictSpec(prompts=PROMPTS, budgets=(0.5, 0.5))
    assert keepings(EvictSpec(prompts=PROMPTS, policies=("sinks", "random"), budgets=(0.5,))) == [
        Keeping("everything", 1.0),
        Keeping("sinks", 0.5),
        Keeping("sinks", 0.5, "random"),
        Keeping("recent", 0.5),
    ]
