"""Measures inside a network on recorded prompts: on made inputs against plain arithmetic, and on the bundled model and
other weights in its place.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.attention import AttentionInputs, MapObserver, MassObserver
from analysis.errors import UserError
from analysis.models.load import load, random_like
from analysis.recording import prompt_measures
from analysis.recording.batches import alike_steps, recorded, show_steps
from analysis.recording.interventions import AddedKey
from analysis.recording.observers import BlockStates, ClampedChannels, DriftObserver, LikenessObserver, other_channels
from analysis.recording.prompt_measures import channels_of
from analysis.recording.weight_nulls import permuted_like
from analysis.sinks.pairing import explained_by_position, lost_attention
from analysis.sinks.step_inputs import TokenState
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, SinkParams

PROMPTS = ("mia has a dog .", "leo has a cat .")


def inputs(seed: int, causal: bool = False, masked: bool = False, batch: int = 2) -> AttentionInputs:
    """Four query heads over two key heads, 9 tokens."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(batch, heads, 9, 8, generator=generator) for heads in (4, 2, 2))
    mask = None
    if masked:
        mask = (torch.rand(1, 1, 9, 9, generator=generator) < 0.6) | torch.eye(9, dtype=torch.bool)
    return AttentionInputs(query, key, value, mask, 0.3, causal)


@given(st.integers(0, 2**31), st.booleans(), st.booleans())
@settings(max_examples=20)
def test_groups_of_queries_pay_what_their_rows_of_the_map_hold(seed, causal, masked):
    given_to = inputs(seed, causal and not masked, masked)
    maps = torch.cat(list(given_to.probabilities()), dim=2)
    group = torch.rand(2, 9, generator=torch.Generator().manual_seed(seed)) < 0.5
    expected = (maps * group[:, None, :, None]).sum(dim=2)
    torch.testing.assert_close(given_to.paid_by(group), expected, atol=1e-5, rtol=1e-4)
    scores = 0.3 * given_to.query @ given_to.key.repeat_interleave(2, dim=1).transpose(2, 3)
    if given_to.mask is not None:
        scores = scores.masked_fill(~given_to.mask, -torch.inf)
    if given_to.causal:
        scores = scores.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), -torch.inf)
    known = replace(given_to, log_sum_exp=lambda: scores.logsumexp(dim=-1))
    torch.testing.assert_close(known.paid_by(group), expected, atol=1e-5, rtol=1e-4)


def test_the_model_s_groups_add_up_to_its_mass(bundled):
    observer = MassObserver()
    group = torch.arange(12) < 5
    observer.groups = torch.stack([group, ~group])[:, None]
    bundled.predict(torch.arange(5, 17)[None], observer)
    seen = observer.take()
    torch.testing.assert_close(seen.paid.sum(dim=0), seen.mass, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen.paid[0].sum(dim=-1), torch.full(seen.mass.shape[:-1], 5.0))


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_drift_is_the_cosine_distance_and_the_relative_change(seed):
    observer, old, new = DriftObserver(), inputs(seed, batch=1), inputs(seed + 1, batch=1)
    observer(0, old)
    assert observer.take().isnan().all()
    observer(0, replace(new, key=torch.cat([new.key, new.key], dim=2), value=torch.cat([new.value] * 2, dim=2)))
    drift = observer.take()[:, 0]
    assert drift.shape == (1, 4, 18) and drift[..., 9:].isnan().all(), "tokens that were not there before"
    before, after = (states.key.transpose(1, 2).flatten(2) for states in (old, new))
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    torch.testing.assert_close(drift[:, 0, :9], 1 - cosine, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(drift[:, 1, :9], (after - before).norm(dim=-1) / before.norm(dim=-1))
    assert not torch.equal(drift[:, 0], drift[:, 2])


def test_drift_within_a_batch_of_successive_steps_is_that_of_forwards_one_by_one():
    one_by_one, batched = DriftObserver(), DriftObserver(successive=True)
    whole = inputs(7, batch=5)
    expected = []
    for row in range(5):
        one_by_one(0, whole.sequences([row]))
        expected.append(one_by_one.take())
    for rows in ([0, 1, 2], [3, 4]):
        batched(0, whole.sequences(rows))
        found = batched.take()
        torch.testing.assert_close(found, torch.cat([expected[row] for row in rows]), equal_nan=True)


def test_likeness_is_the_overlap_of_maps():
    observer, old, new = LikenessObserver(), inputs(0), inputs(1)
    observer.kept, observer.compared = (0, 1), (0,)
    observer(0, old)
    same = observer.take()[:, 0]
    torch.testing.assert_close(same[..., 0], torch.ones(1, 4))
    assert (same[..., 1:] < 1).all()
    observer.kept, observer.compared = (), (0, 1)
    observer(0, new)
    found = observer.take()[:, 0]
    first, second = (torch.cat(list(part.probabilities()), dim=2) for part in (old, new))
    own = torch.minimum(first[:1], second).sum(dim=-1).mean(dim=-1)
    torch.testing.assert_close(found[..., 0], own)
    others = [torch.minimum(first[:1, [h for h in range(4) if h != head]], second[:, [head]]) for head in range(4)]
    others = torch.stack([part.sum(dim=-1).mean(dim=(1, 2)) for part in others], dim=1)
    torch.testing.assert_close(found[..., 1], others)
    torch.testing.assert_close(found[..., 2], torch.minimum(first[1:], second).sum(dim=-1).mean(dim=-1))
    with pytest.raises(ValueError, match="as many tokens"):
        observer(0, replace(new, query=new.query[:, :, :5]))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_an_added_key_is_one_more_in_the_softmax_and_adds_no_value(causal, masked):
    plain = inputs(3, causal and not masked, masked)
    source = torch.tensor([2, 5])
    edited = AddedKey(source, silent=True)(0, plain)
    assert not edited.value[:, :, -1].any() and edited.key.shape[2] == 10
    torch.testing.assert_close(edited.key[1, :, -1], plain.key[1, :, 5])
    maps = torch.cat(list(edited.probabilities()), dim=2)
    rest = maps[..., :9] / maps[..., :9].sum(dim=-1, keepdim=True)
    torch.testing.assert_close(rest, torch.cat(list(plain.probabilities()), dim=2))
    assert (maps[..., 9] > 0).all(), "every query sees it"
    loud = AddedKey(source, silent=False)(0, plain)
    torch.testing.assert_close(loud.value[0, :, -1], plain.value[0, :, 2])


# --- on a model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(bundled):
    ids = [bundled.encode(text, "off")[0] for text in PROMPTS]
    found = recorded(bundled, ids, LLaDASampling(gen_length=6, steps=6), 0, 2, lambda rows: None)
    return sorted(found, key=lambda run: run.index)


@pytest.fixture(scope="module")
def measured(bundled, runs):
    return prompt_measures.measure(bundled, runs[0], SinkParams(), beside=runs[1])


def test_what_is_measured_again_is_what_was_recorded(measured, runs, bundled):
    recording = runs[0]
    np.testing.assert_allclose(measured.mass, recording.heads, atol=2e-3)
    assert np.array_equal(
        recording.run.with_mass(measured.by_layer).sinks(SinkParams()), recording.run.sinks(SinkParams())
    )
    assert measured.value_norm.shape == measured.mass.shape
    assert ((measured.apart.value[1:] > 0) & (measured.apart.value[1:] < 1)).all()
    for name, drift in measured.drift.items():
        assert np.isnan(drift[0]).all() and (drift[1:] >= 0).all(), name
    states = {}
    with BlockStates(bundled, lambda layer, found: states.setdefault(layer, []).append(found)):
        for step in (0, 1):
            show_steps(bundled, recording, [step], keep=None)
    unchanged = recording.tokens[0] == recording.tokens[1]
    assert (measured.drift["key_change"][1, 0, unchanged] < 1e-5).all(), "the first keys are of the tokens alone"
    assert (measured.drift["key_change"][1, 1:, unchanged] > 1e-4).any()
    assert measured.drift["value_change"][1, 0, ~unchanged].min() > 0.1


def test_maps_are_those_of_whole_forwards(measured, runs, bundled):
    recording, maps = runs[0], {}
    for step in (1, 2, 5):
        observer = MapObserver(3, 1)
        show_steps(bundled, recording, [step], observer, keep=None)
        maps[step] = observer.map
    likeness = LikenessObserver()
    likeness.kept = (0,)
    show_steps(bundled, recording, [1], likeness, keep=None)
    likeness.kept, likeness.compared = (), (0,)
    show_steps(bundled, recording, [5], likeness, keep=None)
    overlap = torch.minimum(maps[1], maps[5]).sum(dim=-1).mean()
    torch.testing.assert_close(likeness.take()[0, 3, 1, 0], overlap, atol=1e-5, rtol=1e-4)
    assert np.isfinite(measured.other_heads.null).all() and np.isfinite(measured.other_prompt.null).all()
    assert (measured.other_heads.value > measured.other_heads.null).all(), "a head is most like itself"
    alone = prompt_measures.measure(bundled, recording, SinkParams())
    assert np.isnan(alone.other_prompt.null).all()
    np.testing.assert_allclose(alone.other_heads.value, measured.other_heads.value, atol=1e-5)


def test_logits_of_the_pass_are_those_of_the_steps(bundled, runs):
    found = {}
    prompt_measures.measure(bundled, runs[0], SinkParams(), beside=runs[1], on_logits=found.__setitem__)
    for step, logits in found.items():
        torch.testing.assert_close(logits, show_steps(bundled, runs[0], [step], keep=None)[0], atol=1e-3, rtol=1e-3)
    assert list(found) == list(range(runs[0].run.steps))


def test_clamping_acts_while_it_is_open_and_on_its_channels_alone(bundled, runs):
    channels, states = torch.tensor([3, 50]), {}
    plain = show_steps(bundled, runs[0], [2], keep=None)
    with ClampedChannels(bundled, channels), BlockStates(bundled, states.__setitem__):
        changed = show_steps(bundled, runs[0], [2], keep=None)
    assert not torch.equal(plain, changed)
    assert torch.equal(plain, show_steps(bundled, runs[0], [2], keep=None))
    first = {}
    with BlockStates(bundled, first.__setitem__):
        show_steps(bundled, runs[0], [2], keep=None)
    others = np.setdiff1d(np.arange(bundled.geometry.hidden), channels)
    torch.testing.assert_close(states[0][:, others], first[0][:, others])
    bound = first[0].abs().median()
    assert states[0][:, channels].abs().max() <= bound < first[0][:, channels].abs().max()
    drawn = other_channels(channels, 192, 0)
    assert len(drawn) == 2 and not set(drawn.tolist()) & {3, 50}
    with pytest.raises(ValueError, match="hold no"):
        other_channels(torch.tensor([0, 1]), 3, 0)


def test_an_added_token_changes_attention_to_the_rest_beyond_dilution(bundled, runs):
    recording = runs[0]
    plain = prompt_measures.mass_of(bundled, recording)
    np.testing.assert_allclose(plain, recording.run.mass, atol=1e-3, err_msg="steps as one batch are as steps alone")
    assert list(alike_steps(bundled, recording)) == [[0, 1, 2, 3, 4, 5]]
    together = recording.run.sinks(SinkParams())[:, -1]
    own, drawn = prompt_measures.added_sources(
        plain.mean(axis=1), together, recording.run.state, np.random.default_rng(0)
    )
    assert (own != drawn).all()
    rest = prompt_measures.with_added_token(bundled, recording, own, silent=True)
    np.testing.assert_allclose(rest.sum(axis=2), recording.run.lengths[0], rtol=1e-4)
    np.testing.assert_allclose(rest[:, 0], plain[:, 0], atol=1e-3, err_msg="layer 0 has seen no change yet")
    assert np.abs(rest[:, -1] - plain[:, -1]).max() > 0.01
    other = prompt_measures.with_added_token(bundled, recording, drawn, silent=True)
    assert np.abs(other[:, -1] - rest[:, -1]).max() > 1e-3, "which key is added decides"
    heard = prompt_measures.with_added_token(bundled, recording, own, silent=False)
    assert np.abs(heard[:, -1] - rest[:, -1]).max() > 1e-3, "so does its value"


@pytest.mark.parametrize("draw", [random_like, permuted_like])
def test_every_measure_is_told_of_other_weights_too(bundled, runs, draw):
    network, recording = draw(bundled, 1), runs[0]
    measured = prompt_measures.measure(network, recording, SinkParams(), beside=runs[1])
    for pair in (measured.apart, measured.carried, measured.other_heads, measured.other_prompt):
        assert pair.value.shape == (network.geometry.layers,) and np.isfinite(pair.means()).all()
    channels = channels_of(network, runs[:1], 0)
    assert not set(channels.massive.tolist()) & set(channels.others.tolist())
    masses = [prompt_measures.clamped(network, recording, which) for which in (channels.massive, channels.others)]
    sinks = recording.run.with_mass(measured.by_layer).sinks(SinkParams())[:, :-1]
    assert np.isfinite(lost_attention(measured.by_layer, *masses, sinks).means()).all()
    together = recording.run.with_mass(measured.by_layer).sinks(SinkParams())[:, -1]
    assert prompt_measures.lens_at_sinks(network, recording, together).value.shape == (network.geometry.layers,)
    three = np.stack([measured.mass, measured.mass, recording.heads])
    assert explained_by_position(three).shape == (3, network.geometry.layers)


def test_undecided_sinks_are_read_as_the_model_would_write_them(bundled, runs):
    recording = runs[0]
    step = round(0.5 * (recording.run.steps - 1))
    undecided = recording.run.state[step] == TokenState.UNDECIDED
    flags = np.zeros(recording.run.state.shape, bool)
    flags[step, np.flatnonzero(undecided)[0]] = True
    pair = prompt_measures.lens_at_sinks(bundled, recording, flags)
    read = show_steps(bundled, recording, [step], keep=None)[0].argmax(dim=-1).numpy() == recording.run.final
    assert pair.value[-1] == read[undecided][0] and pair.null[-1] == pytest.approx(read[undecided][1:].mean())
    assert np.isnan(prompt_measures.lens_at_sinks(bundled, recording, flags & False).value).all()


def test_texts_written_over_kept_keys_are_refused(bundled):
    ids = bundled.encode(PROMPTS[0], "off")[0]
    [recording] = recorded(
        bundled, [ids], LLaDASampling(gen_length=6, steps=6, cache="prefix"), 0, 1, lambda rows: None
    )
    with pytest.raises(UserError, match="cache set to none"):
        prompt_measures.measure(bundled, recording, SinkParams())


def test_texts_that_grow_run_step_by_step():
    model = load(ModelSpec(source="bundled-ar", device="cpu"))
    ids = model.encode(PROMPTS[0], "off")[0]
    [recording] = recorded(model, [ids], AutoregressiveSampling(gen_length=4), 0, 1, lambda rows: None)
    assert list(alike_steps(model, recording)) == [[step] for step in range(recording.run.steps)]
    mass = prompt_measures.mass_of(model, recording)
    np.testing.assert_allclose(mass, recording.run.mass, atol=1e-3)
    sources = np.zeros(recording.run.steps, np.int64)
    rest = prompt_measures.with_added_token(model, recording, sources, silent=True)
    assert np.isfinite(rest[recording.run.present[:, None].repeat(mass.shape[1], 1)]).all()
    measured = prompt_measures.measure(model, recording, SinkParams())
    assert np.isnan(measured.apart.value).all() and np.isnan(measured.other_heads.value).all()
