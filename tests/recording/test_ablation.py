"""What an ablation chooses, what it does to attention there, and what a set of prompts shows of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import jobs
from analysis.attention import AttentionInputs, BlockedKeys
from analysis.errors import UserError
from analysis.evaluation.ablation_effects import (
    MEASURES,
    changes_of,
    effect_of,
    effects,
    levels_of,
    shown,
    timing_of,
    values_of,
)
from analysis.exhibits.ablation import effects_of, levels_beside, timing
from analysis.findings import finding_of, said_of
from analysis.findings.ablations import (
    THAN,
    answer,
    answer_in_numbers,
    could_show,
    disagreement,
    disagreements,
    perplexity,
    perplexity_change,
    without_sinks,
)
from analysis.findings.effects import contrasts, strongest
from analysis.findings.shifts import when_alike
from analysis.jobs.prompt_by_prompt import _typical, untested
from analysis.recording.ablation import (
    CHOOSERS,
    Ablation,
    Candidates,
    Condition,
    Drawn,
    Told,
    control_masked,
    equal_mass,
    matched,
)
from analysis.recording.denoising import Forward, denoise
from analysis.recording.interventions import EDITS, HeldKeys, InLayers, MeanKeys, ZeroValues
from analysis.sinks.definitions import KINDS
from analysis.sinks.step_inputs import TokenState
from analysis.specs import (
    CONTROLS,
    EARLY_SHARE,
    INTERVENTIONS,
    MASS_TOLERANCE,
    QUARTERS,
    TARGETS,
    AblateSetSpec,
    AutoregressiveSampling,
    LLaDASampling,
    ModelSpec,
    SinkParams,
    controls_drawn,
)
from analysis.statistics.decisions import NATS, interval_words
from analysis.statistics.differences import Difference
from tests.helpers import QuietContext

CPU = ModelSpec(device="cpu")
SAMPLING = LLaDASampling(gen_length=8, steps=4)
PROMPTS = ("one day ben goes to the zoo .", "mia has a dog .", "leo is in the park .")


def at_step(**changes) -> Candidates:
    """Ten positions: five given, then five undecided; the first of each has most mass."""
    total = np.array([9, 2, 3, 1, 2, 8, 1, 2, 1, 7], float)
    state = np.array([TokenState.GIVEN] * 5 + [TokenState.UNDECIDED] * 5)
    kinds = np.array([KINDS.index("word")] * 4 + [KINDS.index("punctuation")] + [KINDS.index("[MASK]")] * 5)
    variance = np.array([0.1, 5, 5, 5, 5, 0.9, 5, 5, 5, 0.5])
    made = Candidates(total, total > 6, state, kinds, variance, np.ones(10, bool), 2, np.random.default_rng(0))
    return replace(made, **changes)


def test_targets_are_the_sinks_by_definition_and_what_stands_beside_them():
    at = at_step(count=3)
    assert CHOOSERS["sinks"](at).tolist() == [0, 5, 9], "all of them, the heaviest first"
    assert CHOOSERS["sinks"](at_step()).tolist() == [0, 5], "no more than asked for"
    assert CHOOSERS["others"](at).tolist() == [2, 1, 4] and CHOOSERS["first"](at).tolist() == [0]
    assert not at.sinks[CHOOSERS["random"](at)].any()
    assert len(CHOOSERS["random"](at)) == 3
    assert CHOOSERS["moving"](at).tolist() == [5], "of the sinks alone, though others vary more"
    assert CHOOSERS["steady"](at).tolist() == [0]
    equal = at_step(count=3, total=np.where(at.total == 9, 8.5, at.total))
    assert [CHOOSERS[target](equal).tolist() for target in ("most-variable", "least-variable")] == [[5], [0]]
    assert len(CHOOSERS["most-variable"](at)) == 0, "9 is more than a tenth above 8"
    assert CHOOSERS["undecided"](at).tolist() == [5, 9, 7]
    assert CHOOSERS["words"](at).tolist() == [0, 2, 1]
    assert CHOOSERS["punctuation"](at).tolist() == [4]


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
@settings(max_examples=40)
def test_most_and_least_variable_sinks_draw_as_much_attention_and_are_the_heaviest_such_sets(seed, count):
    rng = np.random.default_rng(seed)
    at = at_step(
        total=rng.random(30) ** 3,
        sinks=rng.permutation(30) < count,
        state=np.zeros(30),
        kinds=np.zeros(30),
        variance=rng.random(30),
        allowed=np.ones(30, bool),
        count=count,
    )
    most, least = (CHOOSERS[target](at) for target in ("most-variable", "least-variable"))
    assert at.sinks[most].all() and at.sinks[least].all() and not set(most) & set(least)
    assert bool(len(most)) == bool(len(least))
    masses = [at.total[chosen].sum() for chosen in (most, least)]
    assert abs(masses[0] - masses[1]) <= MASS_TOLERANCE * min(masses) + 1e-12
    if len(most):
        assert at.variance[most].min() > at.variance[least].max()
    halves = [at.most_varying(sign) for sign in (1, -1)]
    if count <= 7:
        sums = [
            [at.total[list(part)].sum() for size in range(1, len(half) + 1) for part in combinations(half, size)]
            for half in halves
        ]
        fitting = [a + b for a in sums[0] for b in sums[1] if abs(a - b) <= MASS_TOLERANCE * min(a, b)]
        assert sum(masses) == pytest.approx(max(fitting, default=0))


@pytest.mark.parametrize("target", TARGETS)
def test_without_sinks_nothing_is_chosen(target):
    assert len(CHOOSERS[target](at_step(sinks=np.zeros(10, bool), count=0))) == 0


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_chosen_that_may_not_be(target):
    allowed = np.zeros(10, bool)
    allowed[[1, 4, 6]] = True
    assert set(CHOOSERS[target](at_step(allowed=allowed))) <= {1, 4, 6}


def test_controls_have_the_states_of_what_they_stand_beside():
    at = at_step()
    for _ in range(20):
        drawn = matched(at, np.array([0, 5]), 2)
        assert len(set(drawn)) == 2
        assert sorted(at.state[drawn]) == [TokenState.GIVEN, TokenState.UNDECIDED]
        assert not at.sinks[drawn].any(), "there are enough others"
    few = at_step(allowed=np.array([True, True] + [False] * 6 + [True, True]))
    assert set(matched(few, np.array([0, 1]), 2)) == {8, 9}, "there is no other given token"
    assert matched(at, np.array([0]), 1).tolist() not in ([0], [5], [9])
    assert matched(at, np.empty(0, int), 0).tolist() == []
    assert len(matched(at, np.array([0, 5]), 1)) == 1 and len(matched(at, np.array([0]), 3)) == 3, "as its target drew"


def test_the_masked_control_is_of_masked_positions_alone_that_are_no_sinks():
    at = at_step()
    undecided = set(np.flatnonzero((at.state == TokenState.UNDECIDED) & ~at.sinks))
    sinks = np.flatnonzero(at.sinks)
    held = at.total[sorted(undecided)].sum() / at.total.sum()
    for share in (0.5 * held, held, min(1.0, 2 * held)):
        drawn = control_masked(at, sinks, Drawn(1, share))
        assert len(set(drawn)) == len(drawn) and set(drawn) <= undecided, "less, never others"
        assert at.total[drawn].sum() / at.total.sum() <= share * (1 + MASS_TOLERANCE) or len(drawn) == 1
        assert share < held or set(drawn) == undecided, "all, where they draw no more"
    assert controls_drawn("sinks") == ["matched", "masked", "mass"]
    assert controls_drawn("moving") == controls_drawn("sinks", masks=False) == ["matched", "mass"]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(1, 4))
def test_positions_of_equal_mass_are_no_sinks_and_draw_as_much_where_that_can_be(seed, length, sinks):
    rng = np.random.default_rng(seed)
    total = rng.lognormal(sigma=rng.uniform(0.1, 1.5), size=length)
    is_sink = np.zeros(length, bool)
    is_sink[np.argsort(-total)[:sinks]] = True
    state = rng.choice([TokenState.GIVEN, TokenState.UNDECIDED], length)
    at = Candidates(total, is_sink, state, state, total, np.ones(length, bool), sinks, rng)
    chosen = np.flatnonzero(is_sink)
    states = np.isin(state, state[chosen]), np.ones(length, bool)
    drawn = equal_mass(at, chosen, float(total[chosen].sum()), states)
    assert len(set(drawn)) == len(drawn) and not is_sink[drawn].any()
    wanted, others = total[chosen].sum(), total[~is_sink]
    if others.sum() < (1 - MASS_TOLERANCE) * wanted:
        assert abs(total[drawn].sum() - others.sum()) < 1e-9, "all there are"
    elif others.max() < MASS_TOLERANCE * wanted:
        assert abs(total[drawn].sum() - wanted) <= MASS_TOLERANCE * wanted
    same = others[np.isin(state[~is_sink], state[chosen])]
    if len(same) and same.max() < MASS_TOLERANCE * wanted and same.sum() >= wanted:
        assert set(state[drawn]) <= set(state[chosen])


# --- what is done -----------------------------------------------------------------------------------------------


@pytest.fixture
def inputs() -> AttentionInputs:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 5, 3, generator=generator) for _ in range(3))
    return AttentionInputs(query, key, value, None, 0.5, False)


POSITIONS = torch.tensor([[False, True, False, False, True], [True, False, False, False, False]])


def probabilities(inputs: AttentionInputs) -> torch.Tensor:
    return torch.cat(list(inputs.probabilities()), dim=2)


def test_each_row_of_a_batch_has_blocked_keys_of_its_own(inputs):
    paid = probabilities(BlockedKeys(POSITIONS)(0, inputs))
    for row in range(2):
        assert paid[row][..., POSITIONS[row]].max() == 0
        kept = probabilities(inputs)[row][..., ~POSITIONS[row]]
        torch.testing.assert_close(paid[row][..., ~POSITIONS[row]], kept / kept.sum(-1, keepdim=True))


def test_a_replaced_key_draws_as_an_average_one_and_keeps_its_value(inputs):
    edited = MeanKeys(POSITIONS)(0, inputs)
    assert edited.value is inputs.value
    torch.testing.assert_close(edited.key[1, :, 0], inputs.key[1, :, 1:].mean(dim=1))
    torch.testing.assert_close(edited.key[0, :, [0, 2, 3]], inputs.key[0, :, [0, 2, 3]])


def test_a_zeroed_value_leaves_attention_as_it_was(inputs):
    edited = ZeroValues(POSITIONS)(0, inputs)
    torch.testing.assert_close(probabilities(edited), probabilities(inputs))
    assert edited.value[1, :, 0].abs().max() == 0
    torch.testing.assert_close(edited.value[1, :, 1:], inputs.value[1, :, 1:])


def test_held_keys_stay_those_of_the_first_forward_of_their_layer(inputs):
    edit = HeldKeys(POSITIONS)
    assert edit(0, inputs) is inputs
    later = replace(inputs, key=inputs.key + 1, value=inputs.value + 1)
    edited = edit(0, later)
    torch.testing.assert_close(edited.key[1, :, 0], inputs.key[1, :, 0])
    torch.testing.assert_close(edited.value[0, :, 4], inputs.value[0, :, 4])
    torch.testing.assert_close(edited.key[1, :, 1:], later.key[1, :, 1:])
    longer = replace(later, key=torch.nn.functional.pad(later.key, (0, 0, 0, 2)), value=later.value[:, :, [0] * 7])
    assert edit(0, longer).key.shape[2] == 7
    assert InLayers(edit, range(1, 2))(0, later) is later


@pytest.mark.parametrize("intervention", INTERVENTIONS)
def test_acting_on_nothing_changes_nothing_and_on_sinks_something(bundled, intervention):
    ids = torch.arange(5, 25)[None]
    plain = bundled.predict(ids)
    nothing = EDITS[intervention](torch.zeros(1, 20, dtype=torch.bool))
    torch.testing.assert_close(bundled.predict(ids, edit=nothing), plain, atol=1e-4, rtol=1e-4)
    some = torch.zeros(1, 20, dtype=torch.bool)
    some[0, :3] = True
    edit = EDITS[intervention](some)
    first = bundled.predict(ids, edit=edit)
    changed = ids.clone()
    changed[0, 1] = 40
    if intervention == "hold":
        torch.testing.assert_close(first, plain, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(bundled.predict(changed, edit=edit), bundled.predict(changed), atol=1e-3)
    else:
        assert not torch.allclose(first, plain, atol=1e-3)


def test_rows_of_a_batch_come_out_as_they_do_alone(bundled):
    prompt = torch.tensor([bundled.encode(PROMPTS[0], "auto")[0]])
    conditions = [Condition("sinks"), Condition("sinks", control="matched"), Condition("first")]

    def run(rows: list[Condition], drawn: dict) -> tuple[torch.Tensor, list[dict[str, float]]]:
        prompt_by_prompt = Ablation(bundled, prompt.shape[1], rows, None, SinkParams(), 3, drawn=drawn)
        *_, last = denoise(bundled, prompt.expand(len(rows), -1), SAMPLING, 0, prompt_by_prompt)
        return last.choice.output, [told.means() for told in prompt_by_prompt.told]

    together, told = run(conditions, {})
    before: dict = {}
    for row, condition in enumerate(conditions):
        alone, told_alone = run([condition], before)
        assert together[row].tolist() == alone[0].tolist()
        assert told[row] == pytest.approx(told_alone[0], rel=1e-3)
    assert told[0]["share"] > told[1]["share"] > 0
    assert told[0]["count"] == told[1]["count"] >= 1 >= told[2]["count"] > 0


def test_guidance_is_acted_on_in_both_of_its_halves(bundled):
    prompt = torch.tensor([bundled.encode(PROMPTS[0], "auto")[0]])
    seen = []

    class Spy(Ablation):
        def __call__(self, forward: Forward, again):
            def looked(edit):
                seen.append((len(forward.tokens), edit.keys.shape[0]))
                return again(edit)

            return super().__call__(forward, looked)

    sampling = LLaDASampling(gen_length=8, steps=4, cfg=1.0)
    list(denoise(bundled, prompt, sampling, 0, Spy(bundled, prompt.shape[1], [Condition("sinks")], 1, SinkParams(), 0)))
    assert seen and set(seen) == {(2, 2)}


def test_keeping_acts_on_the_prefix_without_what_is_kept_and_its_last_tokens(bundled):
    prompt_by_prompt = Ablation(bundled, 5, [Condition("sinks")], 2, SinkParams(), 0, "keep", window=1)
    acted = prompt_by_prompt._acted(at_step(), Condition("sinks"), 0)
    assert np.flatnonzero(acted).tolist() == [1, 2, 3], "0 is kept as the sink of the prefix, 4 as its last"
    control = prompt_by_prompt._acted(at_step(), Condition("sinks", control="matched"), 0)
    assert np.flatnonzero(control)[0] == 0 and control.sum() == 3
    nothing = prompt_by_prompt._acted(at_step(sinks=np.zeros(10, bool)), Condition("sinks"), 1)
    assert not nothing.any(), "without sinks a step is left alone"


# --- over a set -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    spec = AblateSetSpec(
        model=CPU,
        prompts=PROMPTS,
        sampling=SAMPLING.model_copy(update={"steps": 2}),
        targets=("sinks", "moving", "steady"),
        interventions=("attention", "keep"),
        window=1,
        random_model=True,
    )
    context = QuietContext(tmp_path_factory.mktemp("study"))
    return spec, context, jobs.ablate_set(spec, context)


def test_a_set_is_ablated_under_every_condition_beside_its_control(study):
    spec, _, outcome = study
    summary = outcome.summary
    assert json.loads(json.dumps(summary)) == summary
    assert len(summary["rows"]) == 2 * (3 * 3 + 1) and summary["prompts"] == 3
    for row in summary["rows"]:
        assert all(len(row[name]) == 3 for name in (*MEASURES, "share", "count", "undecided"))
        assert all(within <= count for within, count in zip(row["undecided"], row["count"], strict=True))
        assert all(0 <= value <= 1 for name in ("aligned", "agreement", "repeated", "share") for value in row[name])
        assert all(value > 0 for name in ("nll", "nll_before") for value in row[name])
        assert all(value >= -1e-6 for value in row["divergence"])
    by_name = {(row["intervention"], row["target"], row["control"]): row for row in summary["rows"]}
    sinks, control, equal = (by_name["attention", "sinks", control] for control in ("", "matched", "mass"))
    assert equal["share"] == pytest.approx(sinks["share"], rel=MASS_TOLERANCE)
    assert all(first > second for first, second in zip(sinks["share"], control["share"], strict=True))
    named = {(effect["target"], effect["against"]) for effect in summary["effects"]}
    masked = by_name["attention", "sinks", "masked"]
    assert masked["undecided"] == masked["count"] and max(masked["count"]) > 0
    assert np.mean(masked["share"]) == pytest.approx(np.mean(sinks["share"]), rel=0.1) and np.mean(
        control["share"]
    ) < 0.8 * np.mean(masked["share"]), "nearer than as many random tokens"
    assert 0 < summary["unrelated"] < 1
    beside = {(name, row) for name in spec.targets for row in CONTROLS if row != "masked" or name == "sinks"}
    assert named == beside | {("moving", "steady")}
    effect = next(e for e in summary["effects"] if e["measure"] == "divergence" and e["target"] == "sinks")
    expected = np.mean(np.subtract(sinks["divergence"], control["divergence"]))
    assert effect["value"] == pytest.approx(expected, abs=1e-5) and effect["low"] < effect["value"] < effect["high"]


def test_the_texts_of_the_prompt_with_the_median_change_are_kept(study):
    summary = study[2].summary
    sinks = ("attention", "sinks", "")
    (agreement,) = (
        row["aligned"] for row in summary["rows"] if (row["intervention"], row["target"], row["control"]) == sinks
    )
    assert agreement[summary["shown"]] == np.median(agreement)  # of three
    named = [(row["intervention"], row["target"], row["control"]) for row in summary["rows"]]
    assert [(text["intervention"], text["target"], text["control"]) for text in summary["texts"]] == named
    untouched = summary["untouched"]
    assert len(untouched) == SAMPLING.gen_length
    for text, row in zip(summary["texts"], summary["rows"], strict=True):
        same = [one == other for one, other in zip(untouched, text["words"], strict=True)]
        assert np.mean(same) == pytest.approx(row["agreement"][summary["shown"]], abs=1e-6)


def test_the_prompt_shown_is_the_one_nearest_the_medians_never_the_strongest():
    def done(*agreement: float) -> list[list[dict]]:
        named = {"intervention": "attention", "control": "", "nll": 1.0, "tokens": 8}
        return [
            [named | {"target": "first", "aligned": 0.0}, named | {"target": "sinks", "aligned": one}]
            for one in agreement
        ]

    def beside(*mass: float) -> list[dict]:
        named = {"intervention": "attention", "target": "sinks", "control": "mass", "nll": 1.0, "tokens": 8}
        return [named | {"aligned": one} for one in mass]

    assert _typical(done(0.1, 0.6, 0.4)) == 2
    both = [[*rows, other] for rows, other in zip(done(0.4, 0.5, 0.6), beside(0.8, 0.9, 0.2), strict=True)]
    assert _typical(both) == 0, "the median of one alone is further from that of the other: medians 0.5 and 0.8"
    assert _typical(done(0.9, 0.2, 0.5, 0.4)) == 2, "the first of two as near"
    assert _typical([rows[:1] for rows in done(0.9, 0.2)]) == 0, "sinks are not hidden"
    surprising = [[*rows[:1], rows[1] | {"nll": one}] for rows, one in zip(done(0.4, 0.5, 0.6), (1, 3, 1), strict=True)]
    assert _typical(surprising) == 0, "the agreement of the second is the median, its perplexity is far from it"
    breaking = [
        [*rows[:1], rows[1] | {"tokens": one}] for rows, one in zip(done(0.4, 0.5, 0.6), (8, 2, 8), strict=True)
    ]
    assert _typical(breaking) == 0, "so is where it ends"


def test_texts_are_scored_over_the_tokens_that_all_of_a_prompt_reach(study):
    rows = study[2].summary["rows"]
    reached = np.min([row["tokens"] for row in rows] + [row["tokens_before"] for row in rows], axis=0)
    assert all(row["tokens_alike"] == reached.tolist() for row in rows)
    for row in rows:
        for whole, alike, tokens, shortest in zip(
            row["nll"], row["nll_alike"], row["tokens"], row["tokens_alike"], strict=True
        ):
            assert alike > 0 and (tokens > shortest or alike == pytest.approx(whole, abs=1e-5))


def test_texts_of_unequal_length_are_compared_over_what_they_share_as_well():
    rng = np.random.default_rng(3)
    values = {("sinks", control): rng.normal(0.5, 0.1, 30).tolist() for control in ("", "matched")}
    rows = rows_of(values, nll=[rng.normal(mean, 0.02, 30).tolist() for mean in (1.4, 1.0)])
    for row, mean in zip(rows, (1.2, 1.1), strict=True):
        row |= {"nll_alike": rng.normal(mean, 0.02, 30).tolist(), "tokens_alike": [4, 20] * 15}
    (told,) = (each for each in answer(summary_of(rows)) if "reach" in each)
    assert re.fullmatch(
        r"Over the tokens that all texts of a prompt reach \(mean: 12\): \+1[01] % \[\+9, \+1[12]\] against as many "
        r"random tokens\.",
        told,
    )
    for row in rows:
        row["tokens"] = [4, 20] * 15
    assert "reach" not in " ".join(answer(summary_of(rows))), "they are as long"


def test_random_weights_stand_beside_on_the_same_prompts(study):
    summary = study[2].summary
    named = [(effect["target"], effect["against"], effect["measure"]) for effect in summary["effects"]]
    assert [(effect["target"], effect["against"], effect["measure"]) for effect in summary["untrained"]] == named
    trained, untrained = (
        next(one for one in summary[name] if one["measure"] == "divergence" and one["target"] == "sinks")
        for name in ("effects", "untrained")
    )
    assert trained["n"] == 3 == untrained["n"] + untrained["left_out"] + untrained["unmatched"]
    assert abs(untrained["value"]) < 0.1 * abs(trained["value"]), "random weights attend almost uniformly"


def test_prompts_that_are_done_are_told_while_others_run_and_nothing_is_tested_of_them(study):
    _, context, outcome = study
    told = {details["prompts"]: details for *_, details in context.said if "prompts" in details}
    assert list(told) == [2, 3]
    assert all(len(row["divergence"]) == 1 for row in told[2]["rows"]), "the means alone"
    first_two = np.mean(outcome.summary["rows"][0]["divergence"][:2])
    assert told[2]["rows"][0]["divergence"][0] == pytest.approx(first_two, abs=1e-6)
    assert all(effect["p"] is None for effect in told[2]["effects"]) and told[2]["effects"][0]["low"] is not None
    assert effects_of(told[2], "divergence") is not None and not any(map(shown, told[2]["effects"]))


def test_a_set_that_was_cut_off_goes_on_where_it_was(study, monkeypatch):
    spec, context, outcome = study
    from analysis.jobs import prompt_by_prompt

    monkeypatch.setattr(prompt_by_prompt, "_one_prompt", lambda *_: pytest.fail("what is done is not done again"))
    again = prompt_by_prompt.ablate_set(spec, context)
    assert again.summary["rows"] == outcome.summary["rows"]


def test_a_set_that_is_stopped_keeps_what_is_finished_and_the_rest_goes_on_from_there(
    small, tmp_path_factory, monkeypatch
):
    from analysis.jobs import prompt_by_prompt

    spec = AblateSetSpec(
        model=small.spec,
        prompts=PROMPTS,
        sampling=LLaDASampling(gen_length=4, steps=2),
        targets=("sinks",),
        interventions=("attention", "hold"),
        random_model=True,
    )
    whole = prompt_by_prompt.ablate_set(spec, QuietContext(tmp_path_factory.mktemp("whole")))
    context = QuietContext(tmp_path_factory.mktemp("parts"))
    context.stop = True  # from the first step on
    outcome = prompt_by_prompt.ablate_set(spec, context)
    assert outcome.stopped and (outcome.summary["prompts"], outcome.summary["planned"]) == (2, 3)
    assert outcome.key == f"{whole.key}-2", "it is not taken for the answer of all"
    assert all(row["divergence"] == all_[:2] for row, all_ in _divergences(outcome, whole))
    assert outcome.summary["effects"] and all(effect["p"] is None for effect in outcome.summary["effects"])
    done, one = [], prompt_by_prompt._one_prompt
    monkeypatch.setattr(prompt_by_prompt, "_one_prompt", lambda *given: (done.append(given[-1]), one(*given))[1])
    context.stop = False
    rest = prompt_by_prompt.ablate_set(spec, context)
    assert done == [2, 3, 4, 5], "the third prompt, and all three with random weights"
    assert rest.summary["rows"] == whole.summary["rows"] and rest.key == whole.key
    assert rest.summary["environment"]["hardware"]["threads"] >= 1


def _divergences(outcome, whole):
    rows = zip(outcome.summary["rows"], whole.summary["rows"], strict=True)
    return [(row, all_["divergence"]) for row, all_ in rows]


def test_layers_of_a_study_are_those_of_the_model(tmp_path):
    spec = AblateSetSpec(model=CPU, prompts=PROMPTS[:2], sampling=SAMPLING, first_layer=99)
    with pytest.raises(UserError, match="From layer is 99; this model's layers are 0 to"):
        jobs.ablate_set(spec, QuietContext(tmp_path))


def test_an_autoregressive_model_is_ablated_over_token_ids(tmp_path):
    spec = AblateSetSpec(
        model=ModelSpec(source="bundled-ar", device="cpu"),
        prompts=((7, 8, 9), (7, 10, 11)),
        sampling=AutoregressiveSampling(gen_length=3),
        targets=("sinks",),
        last_layer=0,
    )
    summary = jobs.ablate_set(spec, QuietContext(tmp_path)).summary
    assert summary["layers"] == [0, 0] and len(summary["rows"]) == 3


# --- what is said -----------------------------------------------------------------------------------------------


def rows_of(divergence: dict[tuple[str, str], np.ndarray], **others: list) -> list[dict]:
    return [
        {"intervention": "attention", "target": target, "control": control, "aligned": [0.5] * len(values)}
        | {"agreement": [0.4 - 0.1 * bool(control)] * len(values)}
        | {"nll": [1.0] * len(values), "divergence": values, "share": [0.1] * len(values)}
        | {"count": [2] * len(values), "undecided": [0] * len(values), "nll_before": [0.5] * len(values)}
        | {"repeated": [0.0] * len(values), "repeated_before": [0.0] * len(values)}
        | dict.fromkeys(("tokens", "tokens_before"), [48] * len(values))
        | dict.fromkeys(QUARTERS, values)
        | {EARLY_SHARE: [0.1] * len(values)}
        | {name: given[bool(control)] for name, given in others.items()}
        for (target, control), values in divergence.items()
    ]


def summary_of(rows: list[dict]) -> dict:
    text: dict = {"unrelated": None, "shown": 0, "untouched": [], "texts": []}
    return {"rows": rows, "effects": effects(rows)} | text


def test_an_effect_is_said_with_its_interval_and_nothing_is_said_of_none():
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.1, 40).tolist() for _ in range(2)]
    summary = summary_of(rows_of({("sinks", ""): (np.array(noise[0]) + 1).tolist(), ("sinks", "matched"): noise[1]}))
    told, found = strongest(summary), summary["effects"]
    effect = found[0]
    assert f"[{effect['low']:+.3f}, {effect['high']:+.3f}]" in told and "40 prompts" in told
    assert f"Per unit of attention the difference is {found[1]['value']:+.3f}" in told and "equal attention" not in told
    assert {effect["measure"] for effect in found} == {"divergence", "aligned", "nll"}, "by position: no test"
    assert [row.get("by_position") for row in found if row["against"] == "matched"] == [None, pytest.approx(0.1), None]
    assert strongest(summary_of(rows_of({("sinks", ""): noise[0], ("sinks", "matched"): noise[1]}))) == ""


SIDES = {"more": 1, "less": -1, "neither": 0}


@pytest.mark.parametrize("text", SIDES)
@pytest.mark.parametrize("predictions", SIDES)
def test_where_predictions_and_perplexity_disagree_one_sentence_says_so_and_else_none(predictions, text):
    rng = np.random.default_rng(1)

    def values(side: float, scale: float) -> list[float]:
        return (0.5 + scale * (side + 0.1 * rng.normal(size=40))).tolist()

    rows = rows_of(
        {("sinks", ""): values(SIDES[predictions], 0.1), ("sinks", "mass"): values(0, 0.1)},
        nll=[values(SIDES[text], 0.1), values(0, 0.1)],
    )
    told = disagreements(summary_of(rows))
    if predictions == text:
        assert told == []
        return
    [sentence] = told
    shifts = {"neither": "not significantly more or less", "more": "significantly more", "less": "significantly less"}
    is_now = {"neither": "does not differ significantly", "more": "is higher", "less": "is lower"}
    assert sentence.startswith(f"At equal attention, hiding the sinks shifts predictions {shifts[predictions]} (")
    assert f"; perplexity {is_now[text]} (" in sentence and " nats [" in sentence and " % [" in sentence


def test_an_untested_difference_is_judged_by_its_interval_and_a_tested_one_by_both():
    up, down = Difference(0.2, 0.1, 0.3, 40, 40), Difference(-0.2, -0.3, -0.1, 40, 40)
    assert disagreement(up, up, "At equal attention") == "" != disagreement(up, down, "At equal attention")
    assert "perplexity does not differ significantly" in disagreement(up, replace(down, p=0.2, p_holm=0.2), "Here")


def test_hiding_nothing_changes_no_token_where_decoding_is_deterministic(tmp_path):
    """The floor that Causes states: rows of a batch write what a text alone does."""
    none = SinkParams(k=6.0)
    spec = AblateSetSpec(model=CPU, prompts=PROMPTS[:2], sampling=SAMPLING, targets=("sinks",), sinks=none)
    rows = jobs.ablate_set(spec, QuietContext(tmp_path)).summary["rows"]
    assert spec.sampling.same_alone and {count for row in rows for count in row["count"]} == {0}
    assert {kept for row in rows for kept in row["aligned"]} == {1.0}


def test_prompts_without_sinks_are_left_out_and_counted_and_so_are_those_without_a_match():
    count = [[2, 2, 0, 2, 2, 2], [2] * 6]
    share = [[0.1, 0.1, 0.0, 0.1, 0.1, 0.4], [0.1, 0.11, 0.1, 0.095, 0.1, 0.3]]
    values = [[1.0, 1.2, 0.0, 1.1, 0.9, 5.0], [0.1] * 6]
    rows = rows_of({("sinks", ""): values[0], ("sinks", "mass"): values[1]}, count=count, share=share)
    effect = effects(rows)[0]
    assert (effect["n"], effect["left_out"], effect["unmatched"]) == (4, 1, 1)
    assert effect["value"] == pytest.approx(np.mean([0.9, 1.1, 1.0, 0.8]))
    assert without_sinks(effect) == " 1 prompt had no sinks and is left out."
    assert "no sink" not in answer(summary_of(rows))[0]
    nothing = rows_of({("sinks", ""): [0.0] * 3, ("sinks", "matched"): [0.0] * 3}, count=[[0] * 3, [0] * 3])
    assert answer(summary_of(nothing)) == [
        "None of the 3 prompts has a sink by this definition, so nothing was compared."
    ]
    assert all(effect["n"] == 0 for effect in effects(nothing))


def test_an_effect_per_unit_of_attention_is_that_of_the_ratio():
    """A proportional effect is none per unit, and the interval covers the true ratio."""
    rng = np.random.default_rng(3)
    covered = rejected = 0
    for _ in range(60):
        share = rng.uniform(0.1, 0.2, 40), rng.uniform(0.05, 0.1, 40)
        change = [0.7 * one + rng.normal(0, 0.01, 40) for one in share]
        rows = rows_of(
            {("sinks", ""): change[0], ("sinks", "matched"): change[1]}, share=[one.tolist() for one in share]
        )
        counted, unit = (row for row in effects(rows) if row["measure"] == "divergence")
        expected = change[0].mean() - share[0].mean() * change[1].mean() / share[1].mean()
        assert unit["against"] == "unit" and unit["value"] == pytest.approx(expected)
        covered += unit["low"] <= 0 <= unit["high"]
        rejected += counted["low"] > 0
    assert rejected == 60 and covered >= 52, covered


def test_high_and_low_variance_are_compared_whatever_it_shows():
    rng = np.random.default_rng(1)
    values = {
        (target, control): rng.normal(1, 0.1, 30).tolist()
        for target in ("moving", "steady")
        for control in ("", "matched")
    }
    assert "no significant difference from" in contrasts(summary_of(rows_of(values)))[0]
    values["moving", ""] = (np.array(values["moving", ""]) + 1).tolist()
    assert "predictions change more than with" in contrasts(summary_of(rows_of(values)))[0]
    equal = {
        ({"moving": "most-variable", "steady": "least-variable"}[target], control): row
        for (target, control), row in values.items()
    }
    [told] = contrasts(summary_of(rows_of(equal)))
    assert "most variable sinks at equal attention: predictions change more than with least variable" in told
    assert "they may differ in more" not in told


def test_the_answer_names_both_controls_and_what_the_effect_is_a_share_of():
    rng = np.random.default_rng(5)
    share = [rng.uniform(low, 1.1 * low, 30).tolist() for low in (0.2, 0.1, 0.2)]
    share[2] = [1.02 * one for one in share[0]]
    values = {
        ("sinks", control): rng.normal(mean, 0.02, 30).tolist()
        for control, mean in (("", 0.5), ("matched", 0.25), ("mass", 0.9))
    }
    nats = rng.normal(1.0, 0.002, 30).tolist()
    rows = rows_of(values, share=share, nll=[nats, nats[::-1]])
    rows[2]["share"] = share[2]
    summary = summary_of(rows) | {"layers": [0, 3], "prompts": 30}
    text, changed, told, unit, *_, corrected = said_of("ablate_set", summary)
    assert "Holm correction over 3 tests per measure" in corrected and "not the seed" in corrected
    assert re.fullmatch(
        r"With the sinks hidden, predictions shift by 0\.5 nats \(KL\), more than with as many random tokens "
        r"\(0\.2\d\), less than with random tokens of equal attention \(0\.9\)\.",
        told,
    )
    assert text.startswith(
        "Hiding the sinks raises perplexity from 1.6 to 2.7: not significantly higher or lower than with as many "
        "random tokens (2.7) and random tokens of equal attention (2.7)."
    )
    assert changed == (
        "Hiding the sinks changes 50 of 100 tokens, 50 with as many random tokens and 50 with random tokens of equal "
        "attention."
    )
    assert unit.startswith("Per unit of attention, sinks ") and " as many random tokens" in unit
    for effect in summary["effects"]:
        levels = levels_of(rows, effect)
        measured = effect["measure"]
        assert levels.target == pytest.approx(np.mean(rows[0][measured]))
        if effect["against"] != "unit":
            row = next(row for row in rows if row["control"] == effect["against"])
            assert levels.control == pytest.approx(np.mean(row[measured]))
        for change, row in zip(
            changes_of(rows, effect), (rows[0], rows[1 + (effect["against"] == "mass")]), strict=True
        ):
            found = 1 - np.array(row[measured]) if measured == "aligned" else np.array(row[measured])
            assert change.value == pytest.approx(found.mean()) and change.n == 30
            assert change.share == pytest.approx(np.mean(row["share"])) and change.low <= change.value <= change.high
    drawn = levels_beside(summary, "divergence")
    assert drawn.table["hidden"].tolist() == ["sinks", "as many random tokens", "random tokens of equal attention"]
    assert (drawn.table["tokens"] == np.mean(rows[0]["count"])).all()
    (sinks,), controls = drawn.figure.data[0].x, drawn.figure.data[1]
    assert controls.x[1] < sinks < controls.x[0] and controls.marker.symbol == ("circle", "circle")
    written = [note.text for note in drawn.figure.layout.annotations]
    assert (
        "<b>sinks</b><br>2.0 tokens, 21 % of attention" in written
        and "<b>value</b><br>sinks minus<br>control, nats" in written
    )
    assert any("<br>+0.2" in note for note in written) and any("<br>−0." in note for note in written)
    assert "Holm correction over 3 tests" in drawn.sentence and "4 % less likely" in drawn.sentence
    kept = levels_beside(summary, "aligned")
    assert kept.figure.data[0].x[0] == pytest.approx(50) and set(kept.figure.data[1].marker.symbol) == {"circle-open"}
    perplexities = levels_beside(summary, "nll")
    assert perplexities.figure.data[0].x[0] == pytest.approx(np.exp(np.mean(nats))), "of nats per token"
    assert "nothing hidden: 1.6" in [note.text for note in perplexities.figure.layout.annotations]
    assert "lower is better" in perplexities.sentence and perplexities.table["value"].tolist() == pytest.approx(
        [np.mean(nats)] * 3
    )
    effect = effects_of(summary, "aligned")
    assert effect.figure.data[0].x[0] == pytest.approx(-100 * effect.table["value"][0]), "right: more tokens change"
    further = rows + rows_of({("moving", ""): values["sinks", ""], ("moving", "matched"): values["sinks", "matched"]})
    several = summary | {"effects": effects(further), "rows": further}
    assert len(levels_beside(several, "divergence").table) == 3
    assert len(effects_of(several, "divergence").table) == 5


def test_the_answer_tells_perplexity_beside_every_control_by_the_side_on_which_it_lies():
    rng = np.random.default_rng(7)
    kept = {"": 0.3, "matched": 0.6, "mass": 0.5}
    nats = {"": 1.4, "matched": 1.0, "mass": 1.6}
    changes = {"": 0.5, "matched": 0.25, "mass": 0.9}
    rows = rows_of({("sinks", control): rng.normal(mean, 0.02, 30).tolist() for control, mean in changes.items()})
    for row in rows:
        row["aligned"] = rng.normal(kept[row["control"]], 0.02, 30).tolist()
        row["nll"] = rng.normal(nats[row["control"]], 0.02, 30).tolist()
    assert answer(summary_of(rows)) == [
        "Hiding the sinks hurts the text more than hiding as many random tokens: perplexity 4.0 against 2.7 (nothing "
        "hidden: 1.6).",
        "Perplexity is lower than with random tokens of equal attention (4.9).",
    ]
    assert disagreements(summary_of(rows)) == [], "predictions lie on the same sides"
    changed, told, unit = finding_of("answer in numbers", summary_of(rows))
    assert re.match(r"Hiding the sinks changes 70 of 100 tokens, 4\d with as many random tokens and 5\d with", changed)
    assert told.endswith("), less than with random tokens of equal attention (0.9).")
    assert unit.startswith(
        "Per unit of attention, sinks change perplexity and the predictions significantly more than as "
    )
    first = round(100 * (1 - rows[0]["aligned"][0]))
    assert (
        finding_of("first text", summary_of(rows))
        == f"Hiding sinks changes {first} % of tokens (over all prompts 70 %)."
    )
    whole = summary_of(rows) | {"untouched": ["a"] * 200}
    whole["texts"] = [{"words": ["b"] * 200, "intervention": "attention", "target": "sinks", "control": ""}]
    changed = round(200 * (1 - rows[0]["aligned"][0]))
    told_first = f"Hiding sinks changes {changed} of 200 tokens ({first} %; over all prompts 70 %)."
    assert finding_of("first text", whole) == told_first
    whole["texts"][0]["words"].pop()
    assert finding_of("first text", whole) == f"Hiding sinks changes {first} % of tokens (over all prompts 70 %).", (
        "one is shorter"
    )
    third = round(100 * (1 - rows[0]["aligned"][2]))
    assert finding_of("first text", summary_of(rows) | {"shown": 2}).startswith(
        f"Hiding sinks changes {third} % of tokens"
    )
    rows[2]["nll"] = rows[0]["nll"]
    open_one = "Perplexity is not significantly higher or lower than with random tokens of equal attention (4.0)."
    assert answer(summary_of(rows))[1].startswith(open_one)
    masked = rows_of({("sinks", "masked"): rows[0]["divergence"]})
    masked[0]["aligned"] = rng.normal(0.3, 0.02, 30).tolist()
    masked[0]["nll"] = rng.normal(1.1, 0.02, 30).tolist()
    with_masks = [rows[0], rows[1], masked[0], rows[2]]
    assert " more than hiding other masked positions: perplexity 4.0 against 3.0 " in answer(summary_of(with_masks))[0]
    masked[0]["nll"] = rows[0]["nll"]
    hurt, rest = answer(summary_of(with_masks))
    assert " more than hiding as many random tokens: perplexity 4.0 against 2.7 " in hurt
    assert rest.startswith(
        "Perplexity is not significantly higher or lower than with other masked positions (4.0) and random tokens of "
        "equal attention (4.0)."
    )
    masked[0]["nll"] = rng.normal(1.1, 0.02, 30).tolist()
    of_set, less = {"layers": [0, 3], "prompts": 30}, "They draw less attention, 6 % beside 10 %: part of that"
    assert less not in levels_beside(summary_of(with_masks) | of_set, "aligned").sentence
    masked[0]["share"] = [0.05] * 15 + [0.07] * 15
    lighter = summary_of(with_masks)
    drawn = levels_beside(lighter | of_set | {"unrelated": 0.25}, "aligned")
    assert (
        less in drawn.sentence and "By position, where one token more shifts all that follow: sinks " in drawn.sentence
    )
    assert "two unrelated texts: 75" in [note.text for note in drawn.figure.layout.annotations]
    lines = [line.x0 for line in drawn.figure.layout.shapes if line.x0 == line.x1]
    assert lines == [75]
    assert finding_of("caveats", lighter) == "", "none is masked"
    assert drawn.figure.layout.xaxis.range[1] > 75
    masked[0]["share"] = [0.1] * 30
    for row, undecided in zip(with_masks, (2.0, 1.0, 0.0, 0.5), strict=True):
        row["undecided"] = [undecided if row["control"] != "masked" else count for count in row["count"]]
    drawn = levels_beside(summary_of(with_masks) | of_set, "aligned").figure
    written = " ".join(str(note.text) for note in drawn.layout.annotations)
    assert finding_of("caveats", summary_of(with_masks)) == "", "masked ones match in both"
    masked[0]["share"] = [0.06] * 30
    assert finding_of("caveats", summary_of(with_masks)) == (
        "No control matches the sinks in both masking and attention."
    )
    with_masks[0]["repeated"], with_masks[3]["repeated"] = [0.11] * 30, [0.03] * 30
    with_masks[0]["tokens"] = [20, 22] * 15
    assert finding_of("caveats", summary_of(with_masks)).startswith(
        "With sinks hidden, texts end at token 21 (nothing hidden: 48), earlier than with any control (48). "
        "Repetition lowers perplexity: 11 % of tokens repeat the one before, 3 % with random tokens of equal "
        "attention. No control matches"
    )
    assert "50 % of these random tokens are masked, 100 % of the sinks." in (
        levels_beside(summary_of(with_masks) | of_set, "aligned").sentence
    )
    held = re.findall(r"(\d) tokens, (\d+) % masked, 10 % of attention", written)
    assert sorted(held) == [("0", "100"), ("0", "100"), ("0", "25"), ("0", "50")] and held[0] == ("0", "100")
    (mass,) = (row for row in lighter["effects"] if (row["against"], row["measure"]) == ("mass", "aligned"))
    assert [side.masked for side in changes_of(with_masks, mass)] == [1.0, 0.25]
    assert answer({"rows": [], "effects": []}) == [] and finding_of("first text", {"rows": [], "effects": []}) == ""


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_every_step_counts_in_the_quarter_of_the_steps_that_it_is_in(divergence):
    told = Told([0.1], [2], [1], divergence)
    found, steps = [told.means()[name] for name in QUARTERS], len(divergence)
    assert all(min(divergence) - 1e-9 <= each <= max(divergence) + 1e-9 for each in found)
    if steps % 4 == 0:
        assert found == pytest.approx([np.mean(part) for part in np.split(np.array(divergence), 4)])
        assert np.mean(found) == pytest.approx(told.means()["divergence"])
    elif steps < 4:
        assert found[0] == divergence[0] and found[-1] == divergence[-1]
    told = Told(divergence, [2] * steps, [1] * steps, divergence)
    assert told.means()[EARLY_SHARE] == pytest.approx(np.mean(divergence[: max(1, steps // 2)]))


def timed(
    sinks: tuple[float, ...], equal: tuple[float, ...], noise: float = 0.01, masked: tuple[float, ...] = ()
) -> dict:
    """The summary of an ablation with these divergences in each quarter of the steps."""
    rng, kept = np.random.default_rng(8), {"": 0.3, "mass": 0.5, "masked": 0.5}
    rows = rows_of({("sinks", control): np.zeros(30) for control in kept if control != "masked" or masked})
    for row, means in zip(rows, filter(None, (sinks, equal, masked)), strict=True):
        row["aligned"] = rng.normal(kept[row["control"]], 0.02, 30).tolist()
        row |= {name: rng.normal(mean, noise, 30).tolist() for name, mean in zip(QUARTERS, means, strict=True)}
        row["divergence"] = np.mean([row[name] for name in QUARTERS], axis=0).tolist()
    return summary_of(rows) | {"layers": [0, 3], "prompts": 30}


def test_the_shift_of_predictions_is_told_for_each_half_of_the_steps():
    early = timed((0.4, 0.2, 0.1, 0.1), (0.05, 0.05, 0.2, 0.9))
    (mass,) = (row for row in early["effects"] if row["against"] == "mass" and row["measure"] == "divergence")
    found = timing_of(json.loads(json.dumps(mass)))
    quarters = {row["control"]: np.array([row[name] for name in QUARTERS]) for row in early["rows"]}
    assert found.target == pytest.approx(quarters[""].mean(axis=1))
    assert found.control == pytest.approx(quarters["mass"].mean(axis=1))
    halves = quarters[""].reshape(2, 2, 30).mean(axis=1) - quarters["mass"].reshape(2, 2, 30).mean(axis=1)
    assert (found.early.value, found.late.value) == pytest.approx(tuple(halves.mean(axis=1)))
    assert found.early.tests == found.late.tests == 2 and found.early.shown and found.late.shown
    _, row = finding_of("shifts of predictions", early)
    ends = [interval_words(each, NATS).replace(" nats", "") for each in (found.early, found.late, effect_of(mass))]
    assert row == ("sinks minus random tokens of equal attention", *ends)
    assert "timing" not in untested(early["effects"])[0] and timing_of({}) is None


def test_masked_positions_are_told_in_the_half_of_the_steps_in_which_they_draw_as_much_attention():
    early = timed((0.4, 0.2, 0.1, 0.1), (0.05, 0.05, 0.2, 0.9), masked=(0.05, 0.05, 0.1, 0.1))
    hidden, *others = finding_of("shifts of predictions", early)
    quarters = np.mean([early["rows"][0][name] for name in QUARTERS], axis=1)
    levels = quarters[:2].mean(), quarters[2:].mean(), quarters.mean()
    assert hidden == ("sinks", *(f"{level:.3f}" for level in levels))
    assert [row[0] for row in others] == [
        "sinks minus other masked positions (equal attention in the first half)",
        "sinks minus random tokens of equal attention",
    ]
    for row, share in zip(early["rows"], (0.04, 0.08, 0.041), strict=True):
        row[EARLY_SHARE] = [share] * 30
    _, masked, _ = finding_of("shifts of predictions", early | {"effects": effects(early["rows"])})
    assert masked[0] == "sinks minus other masked positions (equal attention in the first half)" and masked[
        1
    ].startswith("+0.2")
    (alike,) = (row for row in effects(early["rows"]) if (row["against"], row["measure"]) == ("masked", "divergence"))
    held = {"masked": ((0.1, 0.95), (0.06, 1.0)), "mass": ((0.1, 0.95), (0.1, 0.35))}
    assert finding_of("caveats of each", held, {}, (0.0, 0.0), {}) == (
        "No control matches the sinks in both masking and attention."
    )
    said = when_alike(timing_of(alike))
    assert said.startswith(
        "In the first half of the steps hiding sinks shifts predictions more than hiding other masked "
    )
    early["rows"][2][EARLY_SHARE] = [0.03] * 30
    _, masked, _ = finding_of("shifts of predictions", early | {"effects": effects(early["rows"])})
    assert masked[0] == "sinks minus other masked positions", "they draw less"
    assert finding_of("shifts of predictions", {"rows": [], "effects": []}) == []


def test_the_shift_of_predictions_is_drawn_by_quarter_of_the_steps():
    early = timed((0.4, 0.2, 0.1, 0.1), (0.05, 0.05, 0.2, 0.9))
    drawn = timing(early)
    lines = [trace for trace in drawn.figure.data if trace.name]
    assert [line.name for line in lines] == ["sinks", "random tokens of equal attention"]
    for line, row in zip(lines, early["rows"], strict=True):
        assert line.y == pytest.approx([np.mean(row[name]) for name in QUARTERS])
    assert (drawn.table["low"] < drawn.table["value"]).all() and len(drawn.table) == 8
    assert timing(early | {"effects": untested(early["effects"])}) is None


def test_a_control_that_only_some_prompts_have_is_told_beside_the_sinks_of_these():
    every, some = Difference(0.45, 0.35, 0.56, 30, 30), Difference(-0.07, -0.25, 0.11, 15, 15)
    others = {"matched": (0.95, every), "mass": (1.5, some)}

    def told(nats: float, rise: float, others: Mapping[str, tuple[float, Difference]], done: str = "attention") -> str:
        """Return it where hiding the sinks takes the negative log-likelihood by a rise, ± 0.1, to so many nats."""
        rises = Difference(rise, rise - 0.1, rise + 0.1, 30, 30)
        return " ".join(finding_of("perplexity with each", rises, nats, others, {}, done))

    assert told(1.4, 0.5, others) == (
        "Hiding the sinks hurts the text more than hiding as many random tokens: perplexity 4.1 against 2.6 (nothing "
        "hidden: 2.5). Perplexity is not significantly higher or lower than with random tokens of equal attention "
        "(4.5 beside 4.2 over 15 prompts)."
    )
    alone = {"matched": (0.95, every)}
    unclear = "Hiding the sinks does not significantly change perplexity (2.5 to 2.6):"
    assert told(0.95, 0.05, alone).startswith(unclear)
    assert "lowers perplexity from 2.5 to 1.0" in told(0.01, -0.89, alone)
    replaced = told(1.4, 0.5, alone, "key")
    assert replaced.startswith("Sinks, key alone replaced: this hurts the text more than with as many random tokens")


def test_perplexity_and_its_changes_are_told_in_the_digits_that_are_read():
    assert [perplexity(nats) for nats in (0.0, 0.945, 2.5, 5.3, 9.0)] == ["1.0", "2.6", "12", "200", "8,100"]
    lower = Difference(-0.201, -0.385, -0.017, 30, 30)
    assert perplexity_change(lower) == "−18 % [−32, −2]"
    assert perplexity_change(Difference(0.05, -0.04, 0.14, 30, 30)) == "+5 % [−4, +15]"
    assert perplexity_change(Difference(1.5, 1.0, 2.5, 30, 30)) == "+348 % [+172, +1,118]"
    for half, seen in (
        (0.1, r"\d\d % of perplexity"),
        (0.6, r"\d{3} % of perplexity"),
        (3.0, r"\d+ times the perplexity"),
    ):
        one = Difference(0.05, 0.05 - half, 0.05 + half, 30, 30, cluster_variance=(half / 2) ** 2, cluster_freedom=29.0)
        assert re.fullmatch(
            f" A difference of {seen} from as many random tokens .*", could_show({next(iter(THAN)): one})
        )


@given(st.floats(-3, 3), st.floats(0.01, 1))
def test_a_change_of_perplexity_keeps_the_sides_of_its_interval(value, half):
    difference = Difference(value, value - half, value + half, 30, 30)
    numbers = [
        float(each.replace("−", "-").replace(",", ""))
        for each in re.findall(
            r"[−+]?[\d,]+(?= %)|(?<=\[)[−+\d,]+?(?=, )|(?<=, )[−+\d,]+(?=\])", perplexity_change(difference)
        )
    ]
    expected = [100 * np.expm1(end) for end in (value, value - half, value + half)]
    assert numbers == pytest.approx(expected, abs=0.501)


@given(st.lists(st.tuples(st.floats(0, 12), st.integers(1, 64)), min_size=2, max_size=30))
def test_a_number_per_token_is_that_over_all_tokens_of_all_texts(texts):
    values, tokens = map(np.array, zip(*texts, strict=True))
    found = values_of({"nll": values, "tokens": tokens}, "nll")
    rate = (values * tokens).sum() / tokens.sum()
    assert found.mean() == pytest.approx(rate, abs=1e-9)
    residuals = values * tokens - rate * tokens  # of the ratio, whose variance is that of their mean over the mean size
    assert found - rate == pytest.approx(residuals / tokens.mean(), abs=1e-9)
    assert values_of({"aligned": values}, "aligned").tolist() == values.tolist()


def test_an_answer_without_significance_says_what_would_have_been_detected():
    rng = np.random.default_rng(6)
    values = {("sinks", control): rng.normal(0.5, 0.1, 20).tolist() for control in ("", "matched")}
    rows = rows_of(values, nll=[rng.normal(1.0, 0.1, 20).tolist() for _ in range(2)])
    [text], (_, told, unit) = (rule(summary_of(rows)) for rule in (answer, answer_in_numbers))
    assert re.search(r"not significantly more or less than with as many random tokens \(0\.\d+\)\. A diff", told)
    assert re.search(r": not significantly higher or lower than with as many random tokens \([\d.]+\)\. A diff", text)
    assert unit == "Per unit of attention, sinks and as many random tokens do not differ significantly."
    assert "nats from as many random tokens would have been detected." in told
    assert re.search(r"A difference of [\d.]+ % of perplexity from as many random tokens would have been", text)


def test_effects_on_the_text_are_told_by_position_too():
    ones = rows_of({("sinks", ""): [1.0, 1.2, 0.9, 1.1], ("sinks", "matched"): [0.1, 0.0, 0.2, 0.1]})
    now = {"effects": effects(ones), "rows": ones, "layers": [0, 3], "prompts": 4}
    assert effects_of(now, "agreement") is None and effects_of(now, "aligned").table["by position"].iloc[
        0
    ] == pytest.approx(0.1)


def test_prompts_of_one_key_count_as_one_cluster():
    """Twenty prompts, each of them four times: as sure as twenty, not as eighty."""
    rng = np.random.default_rng(0)
    one, other = rng.random(20) + 0.3, rng.random(20)
    four = {("sinks", ""): np.repeat(one, 4), ("sinks", "matched"): np.repeat(other, 4)}
    keys = [f"key {number // 4}" for number in range(80)]
    once, alone, keyed = (
        next(effect for effect in effects(rows) if (effect["measure"], effect["against"]) == ("divergence", "matched"))
        for rows in (
            rows_of({("sinks", ""): one, ("sinks", "matched"): other}),
            rows_of(four),
            [row | {"keys": keys} for row in rows_of(four)],
        )
    )
    assert (keyed["n"], keyed["clusters"], alone["clusters"]) == (80, 20, 80)
    assert (keyed["low"], keyed["high"]) == pytest.approx((once["low"], once["high"]))
    assert alone["high"] - alone["low"] < 0.6 * (keyed["high"] - keyed["low"])


def test_a_causal_text_that_grows_comes_out_as_one_that_is_run_anew_at_every_step(tmp_path_factory, monkeypatch):
    sampling = AutoregressiveSampling(gen_length=10)
    ar = ModelSpec(source="bundled-ar", device="cpu")
    spec = AblateSetSpec(model=ar, prompts=PROMPTS[:2], sampling=sampling, targets=("sinks",))
    grown = jobs.ablate_set(spec, QuietContext(tmp_path_factory.mktemp("grown"))).summary
    for where in ("analysis.models.kept_keys.can_grow", "analysis.recording.denoising.can_grow"):
        monkeypatch.setattr(where, lambda model: False)
    whole = jobs.ablate_set(spec, QuietContext(tmp_path_factory.mktemp("whole"))).summary
    assert grown["texts"] == whole["texts"] and grown["untouched"] == whole["untouched"]
    lengths = {len(text["words"]) for text in grown["texts"]} | {len(grown["untouched"])}
    assert len(lengths) > 1, "a text of the batch ends before the others"
    for one, other in zip(grown["rows"], whole["rows"], strict=True):
        for name, values in one.items():
            told = pytest.approx(other[name], rel=1e-3, abs=2e-5) if isinstance(values, list) else other[name]
            assert values == told, name
