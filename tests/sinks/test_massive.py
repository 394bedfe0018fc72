"""The largest residual channels: in a recording's file, against the network's own states, and beside sinks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis import jobs
from analysis.errors import UserError
from analysis.recording.observers import LargestChannels
from analysis.recording.trajectory_file import open_trajectory, save
from analysis.sinks.massive import chance_on_sinks, channels, massive, on_sinks, ratios, sentence
from analysis.sinks.step_inputs import TokenState
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from tests.helpers import QuietContext


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    spec = RecordSpec(
        model=ModelSpec(device="cpu"),
        prompt="mia has a dog .",
        sampling=LLaDASampling(gen_length=6, steps=3),
        channels=3,
    )
    outcome = jobs.record(spec, QuietContext(tmp_path_factory.mktemp("channels")))
    return open_trajectory(outcome.file)


def test_the_channels_kept_are_the_largest_of_the_states(recorded, bundled):
    assert recorded.largest_channel.shape == (3, recorded.layers, 3)
    states = bundled.network.base_model(
        input_ids=torch.tensor([recorded.input_tokens(1)]), output_hidden_states=True, use_cache=False
    ).hidden_states
    # The last of transformers' states is normalised; those before it are what each block left.
    for layer in range(recorded.layers - 1):
        found = states[layer + 1][0].detach().numpy()
        largest = np.abs(found).max(axis=0)
        order = np.argsort(-largest)[:3]
        assert recorded.largest_channel[1, layer].tolist() == order.tolist()
        at = recorded.largest_position[1, layer]
        np.testing.assert_allclose(recorded.largest_value[1, layer], found[at, order], rtol=1e-4)
        np.testing.assert_allclose(np.abs(found[at, order]), largest[order], rtol=1e-4)
        np.testing.assert_allclose(recorded.largest_median[1, layer], np.median(np.abs(found)), rtol=1e-2)


def test_watching_changes_nothing_and_ends(bundled):
    ids = torch.arange(5, 15)[None]
    plain = bundled.predict(ids)
    with LargestChannels(bundled, 2) as watched:
        assert torch.equal(bundled.predict(ids), plain)
        assert watched.take().channel.shape == (bundled.geometry.layers, 2)
    bundled.predict(ids)
    assert not watched._noted


def test_a_recording_without_channels_opens_and_one_with_damaged_ones_does_not(recorded, trajectory, tmp_path):
    assert trajectory.largest_channel is None
    beyond = replace(recorded, largest_position=recorded.largest_position + 1000)
    with pytest.raises(UserError, match="no position of the text"):
        save(beyond, tmp_path / "beyond.safetensors")
    with pytest.raises(UserError, match="'largest_value' has shape"):
        save(replace(recorded, largest_value=recorded.largest_value[:1]), tmp_path / "short.safetensors")


STATE = np.array([[TokenState.GIVEN] * 2 + [TokenState.UNDECIDED] * 4])
SINKS = np.array([[True, False, True, False, False, False]])


def test_chance_is_the_share_of_sinks_among_tokens_of_the_same_state():
    position = np.array([[[0, 5]]])
    assert on_sinks(position, SINKS).tolist() == [[[True, False]]]
    assert chance_on_sinks(position, SINKS, STATE).tolist() == [[[0.5, 0.25]]]


def test_massive_is_what_the_published_rule_says():
    value, median = np.array([[[150.0], [-150.0], [90.0], [150.0]]]), np.array([[0.1, 0.1, 0.01, 1.0]])
    assert massive(value, median).tolist() == [[True, True, False, False]]
    np.testing.assert_allclose(ratios(value, median), [[1500, 1500, 9000, 150]])


def test_what_is_said_names_the_channel_and_is_silent_at_chance():
    channel, position = np.array([[[7], [7]]]), np.array([[[2], [2]]])
    value, median = np.array([[[-300.0], [200.0]]]), np.array([[0.1, 0.1]])
    found = channels(channel, position, value, median, SINKS, STATE)
    carried, chance = on_sinks(position, SINKS)[..., 0], chance_on_sinks(position, SINKS, STATE)[..., 0]
    told = sentence(found, carried, chance, 1.0)
    assert "In 100 % of the layers and steps a sink carries" in told and "would be a sink in 25 %" in told
    assert "Channel 7 is the largest in 100 % of them, up to 3,000 times the median" in told
    told = sentence(found, ~carried, chance, 0.0)
    assert "In 0 % of the layers and steps a sink carries" in told and "None is massive by the published rule" in told
